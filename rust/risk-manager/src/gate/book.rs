//! What is held, quoted and open in one symbol.

use rust_decimal::Decimal;

use super::order::{OrderType, Side};

/// An order that is at the broker, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    pub side: Side,
    /// What is not filled yet.
    pub open_qty: Decimal,
    /// Its limit or stop; None for a market order.
    pub price: Option<Decimal>,
    pub order_type: OrderType,
    /// Whether the broker has it is unknown: it counts, and blocks its symbol.
    pub in_doubt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quote {
    pub(super) bid: Option<Decimal>,
    pub(super) ask: Option<Decimal>,
    pub(super) last: Option<Decimal>,
    /// Monotonic seconds.
    pub(super) at: f64,
}

impl Quote {
    pub(super) fn new(bid: f64, ask: f64, last: f64, at: f64) -> Self {
        let price = |value: f64| {
            if value > 0.0 {
                Decimal::try_from(value).ok()
            } else {
                None
            }
        };
        Self {
            bid: price(bid),
            ask: price(ask),
            last: price(last),
            at,
        }
    }

    fn mid(&self) -> Option<Decimal> {
        Some((self.bid? + self.ask?) / Decimal::TWO)
    }
}

#[derive(Debug, Default)]
pub(super) struct Book {
    position: Decimal,
    position_price: Decimal,
    quote: Option<Quote>,
    orders: Vec<(String, OpenOrder, bool)>,
    exposure: Decimal,
    /// Dollars of fills that are newer than the account's figures.
    spent: Decimal,
    /// What [`Book::unknown_reserve`] answers.
    unknown: Decimal,
}

impl Book {
    pub(super) fn position(&self) -> Decimal {
        self.position
    }

    pub(super) fn quote(&self) -> Option<&Quote> {
        self.quote.as_ref()
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = (&str, &OpenOrder)> {
        self.orders
            .iter()
            .map(|(id, order, _)| (id.as_str(), order))
    }

    /// What one share is worth: the middle of the quote, else the last print, else the position's price.
    pub(super) fn mark(&self) -> Option<Decimal> {
        self.quote
            .as_ref()
            .and_then(|quote| quote.mid().or(quote.last))
            .or((self.position_price > Decimal::ZERO).then_some(self.position_price))
    }

    /// Dollars at risk when every open order fills, on the worse side.
    pub(super) fn exposure(&self) -> Decimal {
        self.exposure
    }

    /// Shares in open orders of a side.
    pub(super) fn open_qty(&self, side: Side) -> Decimal {
        self.side(side).map(|order| order.open_qty).sum()
    }

    /// Exposure on the side of `side` after its open orders and `qty` more at `price` are filled.
    pub(super) fn exposure_after(&self, side: Side, qty: Decimal, price: Decimal) -> Decimal {
        let mark = self.mark().unwrap_or(price);
        let held = self.position * side.sign() * mark;
        held + self.open_notional(side, mark) + qty * price.max(mark)
    }

    /// Dollars that the broker's buying power may not know of yet: orders in doubt, orders newer
    /// than the account's figures, and what has been filled of these since.
    pub(super) fn unknown_reserve(&self) -> Decimal {
        self.unknown
    }

    fn reckon_unknown(&mut self) {
        let open: Decimal = self
            .orders
            .iter()
            .filter(|(_, order, known)| order.in_doubt || !known)
            .map(|(_, order, _)| {
                let price = order.price.or_else(|| self.mark()).unwrap_or_default();
                let opening = (order.open_qty - self.closable(order.side)).max(Decimal::ZERO);
                opening * price
            })
            .sum();
        self.unknown = open + self.spent;
    }

    /// So much of an order is filled; told before the order and the position are changed by it. The
    /// account's figures include it already if they include the order.
    pub(super) fn count_fill(&mut self, id: &str, side: Side, qty: Decimal, price: Decimal) {
        let included = self
            .orders
            .iter()
            .any(|(known, order, included)| known == id && *included && !order.in_doubt);
        if !included {
            self.spent += (qty - self.closable(side)).max(Decimal::ZERO) * price;
            self.reckon_unknown();
        }
    }

    /// Shares that `side` can trade until the position is flat, open orders left aside.
    fn closable(&self, side: Side) -> Decimal {
        (-self.position * side.sign()).max(Decimal::ZERO)
    }

    /// Shares that `side` can still trade and only reduce, open orders counted.
    pub(super) fn reducible(&self, side: Side) -> Decimal {
        (self.closable(side) - self.open_qty(side)).max(Decimal::ZERO)
    }

    pub(super) fn set_position(&mut self, qty: Decimal, price: Decimal) {
        self.position = qty;
        self.position_price = price;
        self.reckon();
    }

    pub(super) fn set_quote(&mut self, quote: Quote) {
        self.quote = Some(quote);
        self.reckon();
    }

    pub(super) fn set_order(&mut self, id: &str, order: OpenOrder) {
        match self.orders.iter_mut().find(|(known, ..)| known == id) {
            Some((_, known, _)) => *known = order,
            None => self.orders.push((id.to_owned(), order, false)),
        }
        self.reckon();
    }

    pub(super) fn remove_order(&mut self, id: &str) {
        self.orders.retain(|(known, ..)| known != id);
        self.reckon();
    }

    pub(super) fn reserve_is_known(&mut self) {
        self.spent = Decimal::ZERO;
        for (_, _, known) in &mut self.orders {
            *known = true;
        }
        self.reckon_unknown();
    }

    fn side(&self, side: Side) -> impl Iterator<Item = &OpenOrder> {
        self.orders
            .iter()
            .map(|(_, order, _)| order)
            .filter(move |order| order.side == side)
    }

    fn open_notional(&self, side: Side, mark: Decimal) -> Decimal {
        self.side(side)
            .map(|order| order.open_qty * order.price.unwrap_or(mark).max(mark))
            .sum()
    }

    fn reckon(&mut self) {
        let mark = self.mark().unwrap_or_default();
        let held = self.position * mark;
        let long = held + self.open_notional(Side::Buy, mark);
        let short = -held + self.open_notional(Side::Sell, mark);
        self.exposure = held.abs().max(long).max(short);
        self.reckon_unknown();
    }
}
