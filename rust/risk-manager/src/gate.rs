//! The pre-trade gate: every order passes it, whoever sends it, on the engine's own state.
//!
//! Pure: what is known is told to it ([`Gate::set_account`] and so on), time is an argument, and
//! [`Gate::check`] answers with a verdict in which each refusal names the check, the limit, the
//! value and the way out. Open orders count as if they were filled, and so do orders in doubt.

mod book;
mod checks;
mod limits;
mod order;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{HashMap, VecDeque};

use common::messages::TradingState;
use rust_decimal::Decimal;

pub use book::OpenOrder;
use book::{Book, Quote};
pub(crate) use limits::exact;
pub use limits::{Limits, SymbolLimits};
pub use order::{Order, OrderType, Side, TimeInForce};
pub use verdict::{Refusal, Verdict};

/// The account as the broker last told it, in dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub equity: Decimal,
    /// Equity at the last close: what the daily loss is measured from.
    pub last_equity: Decimal,
    pub cash: Decimal,
    pub buying_power: Decimal,
    pub multiplier: Decimal,
}

/// What it takes to judge an order.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    state: TradingState,
    state_reason: String,
    is_open: Option<bool>,
    account: Option<Account>,
    books: HashMap<String, Book>,
    /// Symbol of each open order, by client order id.
    symbols: HashMap<String, String>,
    gross: Decimal,
    /// Dollars in all books that the account's buying power may not know of.
    unknown: Decimal,
    recent: VecDeque<Recent>,
}

/// An order that was let through: for duplicates and the rate.
#[derive(Clone, Debug)]
struct Recent {
    at: f64,
    order: Order,
}

impl Gate {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: TradingState::Active,
            state_reason: String::new(),
            is_open: None,
            account: None,
            books: HashMap::new(),
            symbols: HashMap::new(),
            gross: Decimal::ZERO,
            unknown: Decimal::ZERO,
            recent: VecDeque::new(),
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn set_trading_state(&mut self, state: TradingState, reason: impl Into<String>) {
        self.state = state;
        self.state_reason = reason.into();
    }

    /// Whether the regular session is open; until this is told, the market counts as closed.
    pub fn set_session(&mut self, is_open: bool) {
        self.is_open = Some(is_open);
    }

    /// What the broker says includes the orders that were open and the fills counted by then.
    pub fn set_account(&mut self, account: Account) {
        self.account = Some(account);
        for book in self.books.values_mut() {
            book.reserve_is_known();
        }
        self.unknown = self.books.values().map(Book::unknown_reserve).sum();
    }

    /// The holding, signed, at its price; 0 removes it.
    pub fn set_position(&mut self, symbol: &str, qty: Decimal, price: Decimal) {
        self.change(symbol, |book| book.set_position(qty, price));
    }

    /// The quote at monotonic second `at`; sides of 0 or NaN are missing.
    pub fn set_quote(&mut self, symbol: &str, bid: f64, ask: f64, last: f64, at: f64) {
        let quote = Quote::new(bid, ask, last, at);
        self.change(symbol, |book| book.set_quote(quote));
    }

    /// The same where the prices are exact already.
    pub fn set_exact_quote(
        &mut self,
        symbol: &str,
        bid: Option<Decimal>,
        ask: Option<Decimal>,
        last: Option<Decimal>,
        at: f64,
    ) {
        let quote = Quote { bid, ask, last, at };
        self.change(symbol, |book| book.set_quote(quote));
    }

    /// An order that is open or may be; told again, it replaces what was known.
    pub fn set_order(&mut self, client_order_id: &str, symbol: &str, order: OpenOrder) {
        if self
            .symbols
            .get(client_order_id)
            .is_some_and(|known| known != symbol)
        {
            self.remove_order(client_order_id);
        }
        self.symbols
            .insert(client_order_id.to_owned(), symbol.to_owned());
        self.change(symbol, |book| book.set_order(client_order_id, order));
    }

    /// An order that is open no more.
    pub fn remove_order(&mut self, client_order_id: &str) {
        if let Some(symbol) = self.symbols.remove(client_order_id) {
            self.change(&symbol, |book| book.remove_order(client_order_id));
        }
    }

    /// A fill that the account's figures may not know of; before the order and the position are told.
    pub fn count_fill(
        &mut self,
        client_order_id: &str,
        symbol: &str,
        side: Side,
        qty: Decimal,
        price: Decimal,
    ) {
        self.change(symbol, |book| {
            book.count_fill(client_order_id, side, qty, price);
        });
    }

    /// Gross exposure in dollars, open orders and those in doubt counted as filled.
    pub fn gross_exposure(&self) -> Decimal {
        self.gross
    }

    /// Exposure in one symbol, counted alike.
    pub fn exposure(&self, symbol: &str) -> Decimal {
        self.books.get(symbol).map_or(Decimal::ZERO, Book::exposure)
    }

    /// Judge an order at monotonic second `now`. With `record` and when it is let through, it counts
    /// for duplicates and the rate from now on.
    pub fn check(&mut self, order: &Order, now: f64, record: bool) -> Verdict {
        self.judge(order, now, record, true)
    }

    /// The same of an order to be sent where nobody asks for the largest one that would pass.
    pub fn admit(&mut self, order: &Order, now: f64) -> Verdict {
        self.judge(order, now, true, false)
    }

    fn judge(&mut self, order: &Order, now: f64, record: bool, largest: bool) -> Verdict {
        while self
            .recent
            .front()
            .is_some_and(|recent| now - recent.at > self.memory())
        {
            self.recent.pop_front();
        }
        let verdict = checks::run(self, order, now, largest);
        if record && verdict.allowed() {
            self.recent.push_back(Recent {
                at: now,
                order: order.clone(),
            });
        }
        verdict
    }

    /// How long an order is remembered, in seconds.
    fn memory(&self) -> f64 {
        self.limits.duplicate_window_s.max(60.0)
    }

    fn change(&mut self, symbol: &str, change: impl FnOnce(&mut Book)) {
        if !self.books.contains_key(symbol) {
            self.books.insert(symbol.to_owned(), Book::default());
        }
        let Some(book) = self.books.get_mut(symbol) else {
            return;
        };
        let (exposure, unknown) = (book.exposure(), book.unknown_reserve());
        change(book);
        self.gross += book.exposure() - exposure;
        self.unknown += book.unknown_reserve() - unknown;
    }
}
