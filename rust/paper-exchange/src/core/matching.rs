//! Orders meet prices.

use rust_decimal::{Decimal, RoundingStrategy};
use std::sync::Arc;

use super::exchange::Place;
use super::{
    Exchange, Fact, Fill, Nanos, Order, OrderType, Phase, SECOND, Side, Status, SymbolId,
    TimeInForce, UpdateEvent,
};
use crate::replay::{Print, Tick};

impl Exchange {
    /// Takes in what the market did.
    pub fn tick(&mut self, tick: &Tick) {
        self.advance(tick.at());
        match tick {
            Tick::Quote(quote) => {
                let symbol = quote.symbol.index();
                let known = |price: Decimal| (price > Decimal::ZERO).then_some(price);
                let quoted = self.market.get_mut(symbol);
                quoted.bid = known(quote.bid.to_decimal());
                quoted.ask = known(quote.ask.to_decimal());
                quoted.quoted_at = quote.at;
                self.match_symbol(symbol, None);
            }
            Tick::Trade(trade) => {
                let symbol = trade.symbol.index();
                let price = trade.price.to_decimal();
                self.print(symbol, price, trade.at);
                let opening = self.phase == Phase::Regular && !self.market.get(symbol).opened;
                if opening || trade.print == Print::Opening {
                    self.market.get_mut(symbol).opened = true;
                    self.opening_auction(symbol, price);
                }
                self.match_symbol(symbol, Some(price));
            }
            Tick::Open { .. } | Tick::Close { .. } | Tick::Bar(_) => {}
        }
    }

    /// Takes in a tick from before the exchange began: prices only, no order is touched.
    pub fn prime(&mut self, tick: &Tick) {
        match tick {
            Tick::Quote(quote) => {
                let quoted = self.market.get_mut(quote.symbol.index());
                quoted.bid = Some(quote.bid.to_decimal()).filter(|price| *price > Decimal::ZERO);
                quoted.ask = Some(quote.ask.to_decimal()).filter(|price| *price > Decimal::ZERO);
                quoted.quoted_at = quote.at;
            }
            Tick::Trade(trade) => {
                let regular = trade.print != Print::Plain
                    || Phase::of(&self.session, trade.at) == Phase::Regular;
                self.print(trade.symbol.index(), trade.price.to_decimal(), trade.at);
                if regular {
                    self.market.get_mut(trade.symbol.index()).opened = true;
                }
            }
            Tick::Close { at, .. } => self.market.end_session(*at),
            Tick::Open { .. } => self.market.start_session(),
            Tick::Bar(_) => {}
        }
    }

    fn print(&mut self, symbol: SymbolId, price: Decimal, at: Nanos) {
        let quoted = self.market.get_mut(symbol);
        quoted.last = Some(price);
        quoted.last_at = at;
    }

    fn match_symbol(&mut self, symbol: SymbolId, print: Option<Decimal>) {
        for place in self.book[symbol].concerned(self.market.get(symbol), print) {
            self.try_match(place, print);
        }
    }

    /// Looks at the orders whose time has come though no price moved.
    pub(super) fn release(&mut self) {
        while let Some(&(at, place)) = self.timers.first().filter(|(at, _)| *at <= self.now) {
            self.timers.remove(&(at, place));
            match self.at(place).status {
                Status::PendingNew => self.activate(place),
                status if status.is_open() => self.try_match(place, None),
                _ => {}
            }
        }
    }

    /// Whether the present phase is one in which the order trades.
    pub(super) fn may_trade(&self, order: &Order) -> bool {
        match self.phase {
            Phase::Regular => true,
            Phase::Pre | Phase::Post => order.extended_hours,
            Phase::Closed => false,
        }
    }

    /// Brings the orders that waited for this phase into the market.
    pub(super) fn activate_queued(&mut self, extended_only: bool) {
        for symbol in 0..self.book.len() {
            for place in self.book[symbol].all() {
                let order = self.at(place);
                if order.status == Status::Accepted
                    && !order.waiting
                    && (order.extended_hours || !extended_only)
                {
                    self.activate(place);
                }
            }
        }
    }

    /// An order reaches the market: `new`, and perhaps a fill at once.
    pub(super) fn activate(&mut self, place: Place) {
        let now = self.now;
        if !self.may_trade(self.at(place)) {
            self.edit(place, |order| {
                order.status = Status::Accepted;
                order.updated_at = now;
            });
            return;
        }
        self.edit(place, |order| {
            order.status = Status::New;
            order.updated_at = now;
        });
        self.tell(place, UpdateEvent::New, None);
        self.try_match(place, None);
    }

    /// Fills the order if the quote allows it, or the print that has just been.
    pub(super) fn try_match(&mut self, place: Place, print: Option<Decimal>) {
        let order = self.at(place);
        let working = matches!(order.status, Status::New | Status::PartiallyFilled)
            || (order.status == Status::Held && !order.waiting);
        let auction = matches!(order.tif, TimeInForce::Opg | TimeInForce::Cls);
        if !working || auction || order.not_before > self.now || !self.may_trade(order) {
            return;
        }
        if order.is_stop() && !order.triggered {
            let Some(price) = print else { return };
            if !self.watch_stop(place, price) {
                return;
            }
        }
        let order = self.at(place);
        let quoted = self.market.get(self.symbol_of(place));
        let touch = quoted
            .touch(order.side)
            .filter(|_| quoted.quoted_at >= self.session.pre_open);
        let price = if order.is_limit_now() {
            touch
                .filter(|&price| order.accepts(price))
                .or_else(|| print.and_then(|print| through(order, print)))
        } else {
            touch.map(|price| self.slipped(order.side, price))
        };
        match price {
            Some(price) => self.fill_at(place, price),
            // An order that doesn't wait has met the market and found nothing.
            None if touch.is_some() && matches!(order.tif, TimeInForce::Ioc | TimeInForce::Fok) => {
                self.finish(place, Status::Canceled);
            }
            None => {}
        }
    }

    fn fill_at(&mut self, place: Place, price: Decimal) {
        let order = self.at(place);
        let qty = match order.notional {
            Some(notional) => ((notional - order.filled_value) / price)
                .round_dp_with_strategy(9, RoundingStrategy::ToZero),
            None => order.remaining(),
        };
        if qty <= Decimal::ZERO {
            return;
        }
        let part = self.part_of(order, qty);
        let tif = order.tif;
        match part {
            Some(part) => {
                let pause = SECOND * (1 + (self.ids.draw(order.id, 2) % 5) as Nanos);
                let again = self.now + pause;
                self.edit(place, |order| {
                    order.split = true;
                    order.not_before = again;
                });
                self.execute(place, part, price);
                if tif == TimeInForce::Ioc {
                    self.finish(place, Status::Canceled);
                } else {
                    self.timers.insert((again, place));
                }
            }
            None => self.execute(place, qty, price),
        }
    }

    /// The first part of a fill that comes in two: one in ten, by the order's own luck.
    fn part_of(&self, order: &Order, qty: Decimal) -> Option<Decimal> {
        let splits = self.settings.partial_fills
            && !order.split
            && order.notional.is_none()
            && order.tif != TimeInForce::Fok
            && qty >= Decimal::TWO
            && self.ids.draw(order.id, 0).is_multiple_of(10);
        if !splits {
            return None;
        }
        let tenths = Decimal::from(1 + self.ids.draw(order.id, 1) % 9);
        Some((qty * tenths / Decimal::TEN).floor().max(Decimal::ONE))
    }

    /// A fill: shares and money move, the order changes, everybody is told.
    pub(super) fn execute(&mut self, place: Place, qty: Decimal, price: Decimal) {
        let now = self.now;
        let execution_id = self.ids.take();
        let complete = self.edit(place, |order| {
            order.filled_qty += qty;
            order.filled_value += qty * price;
            order.updated_at = now;
            let complete = order.notional.is_some() || order.remaining().is_zero();
            if complete {
                order.status = Status::Filled;
                order.filled_at = Some(now);
            } else {
                order.status = Status::PartiallyFilled;
            }
            complete
        });
        let order = self.at(place);
        let (side, symbol) = (order.side, Arc::clone(&order.symbol));
        let fill = Fill {
            execution_id,
            order_id: order.id,
            side,
            qty,
            price,
            at: now,
            cum_qty: order.filled_qty,
            leaves_qty: order.remaining().max(Decimal::ZERO),
            order_status: order.status,
            position_qty: self.accounts[place.0].position_qty(&symbol) + side.signed(qty),
            symbol,
        };
        self.accounts[place.0].book(fill.clone());
        self.facts.push(Fact::Fill {
            account: self.key(place.0),
            fill: fill.clone(),
        });
        self.tell(
            place,
            if complete {
                UpdateEvent::Fill
            } else {
                UpdateEvent::PartialFill
            },
            Some(fill),
        );
        self.group_after_fill(place, complete);
    }

    /// Ends an order without a fill.
    pub(super) fn finish(&mut self, place: Place, status: Status) {
        if !self.at(place).status.is_open() {
            return;
        }
        let now = self.now;
        let event = self.edit(place, |order| {
            order.status = status;
            order.updated_at = now;
            match status {
                Status::Expired => {
                    order.expired_at = Some(now);
                    UpdateEvent::Expired
                }
                Status::Replaced => {
                    order.replaced_at = Some(now);
                    UpdateEvent::Replaced
                }
                Status::Rejected => {
                    order.failed_at = Some(now);
                    UpdateEvent::Rejected
                }
                _ => {
                    order.canceled_at = Some(now);
                    UpdateEvent::Canceled
                }
            }
        });
        self.tell(place, event, None);
        if status != Status::Replaced {
            self.group_after_end(place);
        }
    }

    /// Moves a trailing stop with the price and says whether the stop is touched.
    fn watch_stop(&mut self, place: Place, price: Decimal) -> bool {
        let order = self.at(place);
        let side = order.side;
        if order.kind == OrderType::TrailingStop {
            let better = order.hwm.is_none_or(|mark| match side {
                Side::Sell => price > mark,
                Side::Buy => price < mark,
            });
            if better {
                let stop = trail(order, price);
                self.edit(place, |order| {
                    order.hwm = Some(price);
                    order.stop = Some(stop);
                });
            }
        }
        let order = self.at(place);
        let touched = order.stop.is_some_and(|stop| match side {
            Side::Sell => price <= stop,
            Side::Buy => price >= stop,
        });
        if touched {
            let held = order.status == Status::Held;
            let now = self.now;
            self.edit(place, |order| {
                order.triggered = true;
                order.updated_at = now;
                if held {
                    order.status = Status::New;
                }
            });
            if held {
                self.tell(place, UpdateEvent::New, None);
            }
        }
        touched
    }

    fn slipped(&self, side: Side, price: Decimal) -> Decimal {
        if self.settings.slippage_bp.is_zero() {
            return price;
        }
        let slip = price * self.settings.slippage_bp / Decimal::from(10_000);
        (price + side.signed(slip))
            .round_dp(decimals(price))
            .max(Decimal::new(1, 4))
    }
}

/// How many decimals a price may have: two from a dollar on, four below.
pub(super) fn decimals(price: Decimal) -> u32 {
    if price >= Decimal::ONE { 2 } else { 4 }
}

/// Where a trailing stop lies when the best price seen is `mark`.
pub(super) fn trail(order: &Order, mark: Decimal) -> Decimal {
    let distance = match (order.trail_price, order.trail_percent) {
        (Some(price), _) => price,
        (None, Some(percent)) => mark * percent / Decimal::ONE_HUNDRED,
        (None, None) => Decimal::ZERO,
    };
    (mark - order.side.opposite().signed(distance)).round_dp(decimals(mark))
}

/// A resting limit order trades at its limit when others traded at a better price.
fn through(order: &Order, print: Decimal) -> Option<Decimal> {
    order.limit.filter(|&limit| match order.side {
        Side::Buy => print < limit,
        Side::Sell => print > limit,
    })
}
