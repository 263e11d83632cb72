//! The order against the market: open or closed, how old the quote is, what it would give away.

use rust_decimal::Decimal;

use super::{Judge, cents};
use crate::gate::order::{OrderType, Side, TimeInForce};

impl Judge<'_> {
    /// A closed market is no reason to refuse what is meant to wait for it: good-till-canceled, at the
    /// open, at the close, or for extended hours; nor what only reduces, which the broker queues.
    pub(super) fn market_closed(&mut self) {
        self.begin();
        if self.gate.is_open == Some(true) {
            return;
        }
        let value = match self.gate.is_open {
            Some(_) => "closed",
            None => "not known yet",
        };
        if self.waits_for_the_open() {
            self.warn(
                "market_closed",
                "open",
                value,
                "the market is closed: the order waits at the broker",
            );
        } else {
            self.refuse(
                "market_closed",
                "open",
                value,
                format!("the market is {value}"),
                "wait for the open, or make it gtc, opg, cls or an extended-hours limit",
            );
        }
    }

    fn waits_for_the_open(&self) -> bool {
        let tif = self.order.time_in_force;
        matches!(tif, TimeInForce::Gtc | TimeInForce::Opg | TimeInForce::Cls)
            || (self.order.extended_hours && self.order.order_type == OrderType::Limit)
            || self.reduces
    }

    /// Whether a quote of now can be asked for: the market is open, and the order isn't the way out.
    pub(super) fn stale_quote(&mut self) {
        self.begin();
        let limit = self.limits.quote_stale_s;
        let age = self.book.quote().map(|quote| self.now - quote.at);
        if age.is_some_and(|age| age <= limit) {
            return;
        }
        let value = age.map_or("no quote".to_owned(), |age| format!("{age:.1} s old"));
        let message = match age {
            Some(age) => format!("the quote of {} is {age:.1} s old", self.order.symbol),
            None => format!("there is no quote of {}", self.order.symbol),
        };
        if self.reduces || (self.gate.is_open != Some(true) && self.price.is_some()) {
            self.warn("stale_quote", format!("{limit} s"), value, message);
        } else {
            self.refuse(
                "stale_quote",
                format!("{limit} s"),
                value,
                message,
                "wait for a fresh quote; is the market data connected?",
            );
        }
    }

    pub(super) fn price_collar(&mut self) {
        self.begin();
        let Some(quote) = self.book.quote() else {
            return;
        };
        let (Some(bid), Some(ask)) = (quote.bid, quote.ask) else {
            return;
        };
        let width = self.limits.price_collar_pct / Decimal::ONE_HUNDRED;
        let (lowest, highest) = (bid * (Decimal::ONE - width), ask * (Decimal::ONE + width));
        let collar = format!("{} %", self.limits.price_collar_pct);
        let order = self.order;
        match (order.order_type, order.limit_price) {
            (OrderType::Market, _) if ask > bid * (Decimal::ONE + width) && !self.reduces => {
                let wide = format!("{bid} × {ask}");
                self.refuse(
                    "price_collar",
                    collar,
                    wide,
                    format!("the quote is wider than the collar: a market order would pay {ask} for what bids {bid}"),
                    "use a limit order",
                );
            }
            (OrderType::Limit, Some(limit)) => {
                let gives_away = match order.side {
                    Side::Buy => limit > highest,
                    Side::Sell => limit < lowest,
                };
                let passive = match order.side {
                    Side::Buy => limit < lowest,
                    Side::Sell => limit > highest,
                };
                if gives_away {
                    let (touch, edge) = match order.side {
                        Side::Buy => (ask, highest),
                        Side::Sell => (bid, lowest),
                    };
                    self.refuse(
                        "price_collar",
                        collar,
                        limit,
                        format!("a limit of {limit} gives money away: the market is at {touch}"),
                        format!("a limit of {} or better", cents(edge)),
                    );
                } else if passive {
                    let message =
                        format!("a limit of {limit} is far from the market, {bid} × {ask}");
                    self.warn("price_collar", collar, limit, message);
                }
            }
            (OrderType::StopLimit, Some(limit)) => self.stop_limit_collar(limit, width, &collar),
            _ => {}
        }
        self.stop_side(bid, ask);
    }

    fn stop_limit_collar(&mut self, limit: Decimal, width: Decimal, collar: &str) {
        let Some(stop) = self.order.stop_price else {
            return;
        };
        let gives_away = match self.order.side {
            Side::Buy => limit > stop * (Decimal::ONE + width),
            Side::Sell => limit < stop * (Decimal::ONE - width),
        };
        if gives_away {
            self.refuse(
                "price_collar",
                collar,
                limit,
                format!("a limit of {limit} gives money away beyond the stop of {stop}"),
                "bring the limit nearer to the stop",
            );
        }
    }

    fn stop_side(&mut self, bid: Decimal, ask: Decimal) {
        let order = self.order;
        let Some(stop) = order
            .stop_price
            .filter(|_| matches!(order.order_type, OrderType::Stop | OrderType::StopLimit))
        else {
            return;
        };
        let at_once = match order.side {
            Side::Buy => stop <= ask,
            Side::Sell => stop >= bid,
        };
        if at_once {
            let message = format!(
                "a {} stop of {stop} triggers at once: the market is {bid} × {ask}",
                order.side.as_str()
            );
            self.warn("price_collar", "beyond the market", stop, message);
        }
    }

    /// An order that would meet one's own on the other side.
    pub(super) fn self_match(&mut self) {
        self.begin();
        let (Some(price), false) = (self.price, self.order.order_type.is_triggered()) else {
            return;
        };
        let own = self.book.orders().find(|(_, other)| {
            other.side != self.order.side
                && !other.order_type.is_triggered()
                && match (other.price, self.order.side) {
                    (None, _) => true,
                    (Some(theirs), Side::Buy) => price >= theirs,
                    (Some(theirs), Side::Sell) => price <= theirs,
                }
        });
        if let Some((id, other)) = own {
            let at = other
                .price
                .map_or("market".to_owned(), |price| price.to_string());
            let message = format!(
                "it would trade with your own {} order {id} at {at}",
                other.side.as_str()
            );
            let remedy = format!("cancel {id} first");
            self.refuse("self_match", at, price, message, remedy);
        }
    }
}
