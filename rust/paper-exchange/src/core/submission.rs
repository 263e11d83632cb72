//! Requests of a client: submit, cancel, replace, close.

use std::sync::Arc;

use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use super::account::cost_of;
use super::exchange::Place;
use super::matching::trail;
use super::rules::{self, Checked};
use super::{
    CloseSize, Exchange, NewOrder, Order, OrderClass, OrderType, Refusal, Role, Side, Status,
    TimeInForce, UpdateEvent,
};

/// An order as it was accepted, before the market saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    pub order: Order,
    pub legs: Vec<Order>,
}

impl Exchange {
    /// Takes a new order.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed.
    pub fn submit(&mut self, account: usize, request: &NewOrder) -> Result<Receipt, Refusal> {
        let checked = rules::check(request, self.market.find(&request.symbol), self)?;
        if let Some(id) = &request.client_order_id {
            self.check_client_id(account, id)?;
        }
        if self.accounts[account].configuration.suspend_trade {
            return Err(Refusal::forbidden(
                "trading is suspended by the account's owner",
            ));
        }
        let mut order = self.draft(request, &checked)?;
        order.closes = self.check_holding(account, &order, request.class, None)?;
        if request.class == OrderClass::Simple {
            self.check_wash(account, &order)?;
        }
        if !order.closes {
            self.check_power(account, &order, None)?;
        }
        self.number(&mut order, request.client_order_id.clone());
        let legs = self.legs_of(&mut order, request.class, &checked);
        let receipt = Receipt {
            order: order.clone(),
            legs: legs.clone(),
        };
        let place = self.enter(account, order);
        for leg in legs {
            self.enter(account, leg);
        }
        self.tell(place, UpdateEvent::PendingNew, None);
        self.arrive(place);
        Ok(receipt)
    }

    /// Cancels an open order.
    ///
    /// # Errors
    /// Not found, or no longer open.
    pub fn cancel(&mut self, account: usize, id: Uuid) -> Result<(), Refusal> {
        let place = self.known(account, id)?;
        let status = self.at(place).status;
        if !status.is_open() {
            return Err(Refusal::rule(format!(
                "order is already in \"{}\" state",
                status.word()
            )));
        }
        self.finish(place, Status::Canceled);
        Ok(())
    }

    /// Cancels all open orders and says which.
    pub fn cancel_all(&mut self, account: usize) -> Vec<Uuid> {
        let ids: Vec<Uuid> = self.accounts[account]
            .open_orders()
            .map(|order| order.id)
            .collect();
        for id in &ids {
            // An order that went with another of its group is canceled as asked.
            let _ = self.cancel(account, *id);
        }
        ids
    }

    /// Closes a position, or part of it, at the market.
    ///
    /// # Errors
    /// Not found, or shares are held for other orders.
    pub fn close_position(
        &mut self,
        account: usize,
        symbol: &str,
        size: CloseSize,
    ) -> Result<Receipt, Refusal> {
        let symbol = self
            .market
            .find(symbol)
            .map(|quoted| Arc::clone(&quoted.symbol));
        let held = symbol
            .as_ref()
            .map(|symbol| self.accounts[account].position_qty(symbol))
            .unwrap_or_default();
        let Some(symbol) = symbol.filter(|_| !held.is_zero()) else {
            return Err(Refusal::not_found("position does not exist"));
        };
        let whole = held.fract().is_zero();
        let qty = match size {
            CloseSize::All => held.abs(),
            CloseSize::Quantity(qty) if qty <= Decimal::ZERO => {
                return Err(Refusal::malformed("qty must be > 0"));
            }
            CloseSize::Quantity(qty) => qty,
            CloseSize::Percentage(percent)
                if percent <= Decimal::ZERO || percent > Decimal::ONE_HUNDRED =>
            {
                return Err(Refusal::malformed("percentage must be > 0 and <= 100"));
            }
            CloseSize::Percentage(percent) => (held.abs() * percent / Decimal::ONE_HUNDRED)
                .round_dp_with_strategy(if whole { 0 } else { 9 }, RoundingStrategy::ToZero),
        };
        if qty.is_zero() {
            return Err(Refusal::rule(
                "percentage of the position is less than one share",
            ));
        }
        let side = if held.is_sign_negative() {
            Side::Buy
        } else {
            Side::Sell
        };
        self.submit(account, &NewOrder::market(&symbol, side, qty))
    }

    pub(super) fn known(&self, account: usize, id: Uuid) -> Result<Place, Refusal> {
        self.place_of(account, id)
            .ok_or_else(|| Refusal::not_found(format!("order not found for {id}")))
    }

    pub(super) fn check_client_id(&self, account: usize, id: &str) -> Result<(), Refusal> {
        if self.accounts[account].by_client_id.contains_key(id) {
            return Err(Refusal::malformed("client_order_id must be unique"));
        }
        Ok(())
    }

    /// The order that a request describes, without identity.
    fn draft(&self, request: &NewOrder, checked: &Checked) -> Result<Order, Refusal> {
        let quoted = self
            .market
            .find(&request.symbol)
            .ok_or_else(|| Refusal::not_found("asset not found"))?;
        let trailing = request.kind == OrderType::TrailingStop;
        let entry = matches!(request.class, OrderClass::Bracket | OrderClass::Oto);
        let role = match request.class {
            OrderClass::Oco => Some(Role::TakeProfit),
            _ => entry.then_some(Role::Entry),
        };
        let mut order = Order {
            id: Uuid::nil(),
            client_order_id: String::new(),
            symbol: Arc::clone(&quoted.symbol),
            side: checked.side,
            kind: request.kind,
            tif: request.tif,
            class: request.class,
            status: Status::PendingNew,
            qty: request.qty.map(|qty| qty.normalize()),
            notional: request.notional.map(|notional| notional.normalize()),
            limit: checked.limit,
            stop: request.stop,
            trail_price: request.trail_price,
            trail_percent: request.trail_percent,
            hwm: trailing.then_some(quoted.last).flatten(),
            extended_hours: request.extended_hours,
            filled_qty: Decimal::ZERO,
            filled_value: Decimal::ZERO,
            created_at: self.now,
            updated_at: self.now,
            submitted_at: self.now,
            filled_at: None,
            canceled_at: None,
            expired_at: None,
            replaced_at: None,
            failed_at: None,
            expires_at: rules::expiry(self, request.tif, request.extended_hours),
            replaces: None,
            replaced_by: None,
            group: None,
            role,
            parent: None,
            legs: Vec::new(),
            triggered: false,
            waiting: false,
            not_before: self.now + self.settings.latency,
            split: false,
            closes: false,
        };
        order.stop = match (order.hwm, trailing) {
            (Some(mark), true) => Some(trail(&order, mark)),
            _ => order.stop,
        };
        if !self.may_trade(&order) || order.tif == TimeInForce::Opg {
            order.status = Status::Accepted;
        }
        Ok(order)
    }

    pub(super) fn number(&mut self, order: &mut Order, client_order_id: Option<String>) {
        order.id = self.ids.take();
        order.client_order_id = client_order_id
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| self.ids.take().to_string());
    }

    fn legs_of(&mut self, parent: &mut Order, class: OrderClass, checked: &Checked) -> Vec<Order> {
        if class == OrderClass::Simple {
            return Vec::new();
        }
        parent.group = Some(self.ids.take());
        let oco = class == OrderClass::Oco;
        let template = Order {
            parent: Some(parent.id),
            side: if oco {
                parent.side
            } else {
                parent.side.opposite()
            },
            status: Status::Held,
            waiting: !oco,
            closes: true,
            stop: None,
            limit: None,
            ..parent.clone()
        };
        let profit = checked.take_profit.filter(|_| !oco).map(|limit| Order {
            role: Some(Role::TakeProfit),
            kind: OrderType::Limit,
            limit: Some(limit),
            ..template.clone()
        });
        let loss = checked.stop_loss.map(|(stop, limit)| Order {
            role: Some(Role::StopLoss),
            kind: if limit.is_some() {
                OrderType::StopLimit
            } else {
                OrderType::Stop
            },
            stop: Some(stop),
            limit,
            ..template
        });
        let mut legs: Vec<Order> = profit.into_iter().chain(loss).collect();
        for leg in &mut legs {
            self.number(leg, None);
            parent.legs.push(leg.id);
        }
        legs
    }

    /// The order goes to the market now, or when its session begins, or after the latency.
    pub(super) fn arrive(&mut self, place: Place) {
        let order = self.at(place);
        if order.status == Status::PendingNew && order.not_before <= self.now {
            self.activate(place);
        }
    }

    /// Whether the order closes what is held; if it asks for more than is free, it is refused.
    pub(super) fn check_holding(
        &self,
        account: usize,
        order: &Order,
        class: OrderClass,
        except: Option<Uuid>,
    ) -> Result<bool, Refusal> {
        let account = &self.accounts[account];
        let position = account.position_qty(&order.symbol);
        let closes =
            !position.is_zero() && (position.is_sign_negative() == (order.side == Side::Buy));
        if class == OrderClass::Oco && !closes {
            return Err(Refusal::rule("oco orders must be exit orders"));
        }
        if closes {
            let held = match order.group {
                // A leg's own group is what holds the shares.
                Some(group) => account.held_outside(&order.symbol, order.side, group),
                None => account.held(&order.symbol, order.side, except),
            };
            let free = position.abs() - held;
            let asked = match order.notional {
                Some(notional) => {
                    let price = self.market.mark(&order.symbol).unwrap_or(Decimal::ONE);
                    (notional / price).round_dp_with_strategy(9, RoundingStrategy::ToZero)
                }
                None => order.remaining(),
            };
            if asked > free {
                return Err(Refusal::quantity(&order.symbol, asked, position, held));
            }
            return Ok(true);
        }
        let fractional = order.notional.is_some() || !order.remaining().fract().is_zero();
        if order.side == Side::Sell {
            if account.configuration.no_shorting {
                return Err(Refusal::quantity(
                    &order.symbol,
                    order.remaining(),
                    position,
                    Decimal::ZERO,
                ));
            }
            if fractional {
                return Err(Refusal::rule("fractional orders cannot be sold short"));
            }
        } else if fractional && !account.configuration.fractional_trading {
            return Err(Refusal::forbidden(
                "fractional trading is not enabled for this account",
            ));
        }
        Ok(false)
    }

    fn check_wash(&self, account: usize, order: &Order) -> Result<(), Refusal> {
        let limit = order.limit.filter(|_| !order.is_stop());
        let holder = &self.accounts[account];
        let crossed = holder
            .commitments
            .crossed(&order.symbol, order.side.opposite(), limit);
        match crossed.map(|index| &holder.orders[index]) {
            None => Ok(()),
            Some(other) => {
                let reason = if other.limit.is_some()
                    && !other.is_stop()
                    && order.kind == OrderType::Limit
                {
                    "opposite side limit order exists"
                } else {
                    "opposite side market/stop order exists"
                };
                Err(
                    Refusal::forbidden("potential wash trade detected. use complex orders")
                        .with("existing_order_id", other.id.to_string())
                        .with("reject_reason", reason),
                )
            }
        }
    }

    pub(super) fn check_power(
        &self,
        account: usize,
        order: &Order,
        except: Option<Uuid>,
    ) -> Result<(), Refusal> {
        let available = self.accounts[account]
            .balances_without(&self.market, except)
            .buying_power;
        let cost = cost_of(order, &self.market);
        if cost > available {
            return Err(Refusal::buying_power(available, cost));
        }
        Ok(())
    }
}
