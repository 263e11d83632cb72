//! A changed order takes the place of an open one.

use rust_decimal::Decimal;
use uuid::Uuid;

use super::matching::trail;
use super::rules;
use super::{Exchange, Order, OrderType, Receipt, Refusal, Replacement, Status, TimeInForce};

impl Exchange {
    /// Puts a changed order in the place of an open one. A quantity is that of the whole order, fills
    /// of the old one included; the new order is for what is left.
    ///
    /// # Errors
    /// A [`Refusal`]; then the old order works on unchanged.
    pub fn replace(
        &mut self,
        account: usize,
        id: Uuid,
        change: &Replacement,
    ) -> Result<Receipt, Refusal> {
        let place = self.known(account, id)?;
        let old = self.at(place).clone();
        let order = self.changed(&old, change)?;
        if let Some(id) = &change.client_order_id {
            self.check_client_id(account, id)?;
        }
        let mut order = order;
        if !order.waiting {
            order.closes = self.check_holding(account, &order, order.class, Some(id))?;
            if !order.closes {
                self.check_power(account, &order, Some(id))?;
            }
        }
        self.number(&mut order, change.client_order_id.clone());
        order.group = old.group;
        order.replaces = Some(id);
        self.edit(place, |old| old.replaced_by = Some(order.id));
        self.finish(place, Status::Replaced);
        self.rewire(account, &old, order.id);
        let held = order.status == Status::Held;
        let place = self.enter(account, order);
        let order = self.at(place).clone();
        let legs = order
            .legs
            .iter()
            .filter_map(|leg| self.accounts[account].order(*leg))
            .cloned()
            .collect();
        if !held {
            self.arrive(place);
        }
        Ok(Receipt { order, legs })
    }

    /// A copy of `old` with the changes, if they are allowed.
    fn changed(&self, old: &Order, change: &Replacement) -> Result<Order, Refusal> {
        if !old.status.is_open() {
            return Err(Refusal::rule(format!(
                "order is already in \"{}\" state",
                old.status.word()
            )));
        }
        if old.notional.is_some() {
            return Err(Refusal::rule("notional orders cannot be replaced"));
        }
        if change
            .client_order_id
            .as_ref()
            .is_some_and(|id| id.chars().count() > 128)
        {
            return Err(Refusal::malformed(
                "client_order_id must be no more than 128 characters",
            ));
        }
        rules::check_price("limit_price", change.limit)?;
        rules::check_price("stop_price", change.stop)?;
        let mut order = old.clone();
        if let Some(qty) = change.qty {
            if qty <= Decimal::ZERO {
                return Err(Refusal::malformed("qty must be > 0"));
            }
            if !qty.fract().is_zero() {
                return Err(Refusal::rule("qty of a replacement must be whole shares"));
            }
            if qty <= old.filled_qty {
                return Err(Refusal::rule(format!(
                    "qty must be > filled_qty {}",
                    old.filled_qty
                )));
            }
            order.qty = Some(qty);
        }
        if let Some(limit) = change.limit {
            if old.limit.is_none() {
                return Err(Refusal::rule(format!(
                    "{} orders must not have limit_price",
                    old.kind.word()
                )));
            }
            order.limit = Some(limit);
        }
        if let Some(stop) = change.stop {
            if !matches!(old.kind, OrderType::Stop | OrderType::StopLimit) {
                return Err(Refusal::rule(format!(
                    "{} orders must not have stop_price",
                    old.kind.word()
                )));
            }
            if let Some(last) = self.market.mark(&old.symbol).filter(|_| !old.triggered) {
                rules::check_stop_side(old.kind, old.side, Some(stop), last)?;
            }
            order.stop = Some(stop);
        }
        if let Some(distance) = change.trail {
            self.retrail(&mut order, distance)?;
        }
        if let Some(tif) = change.tif {
            if matches!(tif, TimeInForce::Opg | TimeInForce::Cls)
                != matches!(old.tif, TimeInForce::Opg | TimeInForce::Cls)
            {
                return Err(Refusal::rule(format!(
                    "time_in_force cannot be changed to {}",
                    tif.word()
                )));
            }
            order.tif = tif;
            order.expires_at = rules::expiry(self, tif, order.extended_hours);
        }
        order.qty = Some(order.remaining());
        order.filled_qty = Decimal::ZERO;
        order.filled_value = Decimal::ZERO;
        order.split = false;
        order.created_at = self.now;
        order.submitted_at = self.now;
        order.updated_at = self.now;
        order.not_before = self.now + self.settings.latency;
        order.status = match old.status {
            Status::Held => Status::Held,
            _ if self.may_trade(&order) && order.tif != TimeInForce::Opg => Status::PendingNew,
            _ => Status::Accepted,
        };
        Ok(order)
    }

    fn retrail(&self, order: &mut Order, distance: Decimal) -> Result<(), Refusal> {
        if order.kind != OrderType::TrailingStop {
            return Err(Refusal::rule(format!(
                "{} orders must not have trail",
                order.kind.word()
            )));
        }
        if distance <= Decimal::ZERO
            || (order.trail_percent.is_some() && distance >= Decimal::ONE_HUNDRED)
        {
            return Err(Refusal::malformed(
                "trail must be > 0, and < 100 for a percentage",
            ));
        }
        if order.trail_price.is_some() {
            rules::check_price("trail", Some(distance))?;
            order.trail_price = Some(distance);
        } else {
            order.trail_percent = Some(distance);
        }
        order.stop = order.hwm.map(|mark| trail(order, mark));
        Ok(())
    }

    /// Points parent and legs of a replaced order at the new one.
    fn rewire(&mut self, account: usize, old: &Order, new: Uuid) {
        if let Some(parent) = old.parent.and_then(|id| self.place_of(account, id)) {
            self.edit(parent, |parent| {
                for leg in parent.legs.iter_mut().filter(|leg| **leg == old.id) {
                    *leg = new;
                }
            });
        }
        for leg in &old.legs {
            if let Some(place) = self.place_of(account, *leg) {
                self.edit(place, |leg| leg.parent = Some(new));
            }
        }
    }
}
