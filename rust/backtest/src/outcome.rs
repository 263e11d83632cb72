//! What a run leaves.

use rust_decimal::Decimal;

use crate::Journal;
use crate::strategy::Side;

/// Worth of the account at the end of each minute of the regular session in which a bar ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Ns since the epoch.
    pub at: Vec<i64>,
    /// Dollars.
    pub equity: Vec<f64>,
    /// Dollars held, longs and shorts added up.
    pub gross: Vec<f64>,
}

/// An order as it was sent. Prices in dollars.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    pub at: i64,
    /// Its number in the run, from 1.
    pub client_order_id: String,
    pub symbol: usize,
    pub side: Side,
    pub qty: Decimal,
    /// The quote that stood when it was sent.
    pub bid: f64,
    pub ask: f64,
}

/// One execution; `order` is its order's place among the orders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillRow {
    pub at: i64,
    pub order: usize,
    pub symbol: usize,
    pub side: Side,
    pub qty: Decimal,
    pub price: Decimal,
    /// The position after it, signed.
    pub position: Decimal,
}

/// An order that was not sent, or that the exchange refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalRow {
    pub at: i64,
    pub symbol: usize,
    pub check: String,
    pub why: String,
}

/// Everything a run leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub symbols: Vec<String>,
    /// Sessions that were played.
    pub sessions: usize,
    /// Minute bars that went through exchange and features, with those outside of the regular session.
    pub bars: u64,
    /// Bars that the strategy was shown.
    pub shown: u64,
    pub signals: u64,
    /// Signals that asked for nothing new.
    pub idle_signals: u64,
    pub orders: Vec<OrderRow>,
    pub fills: Vec<FillRow>,
    pub refusals: Vec<RefusalRow>,
    pub curve: Curve,
    /// Ends of the sessions, and the equity there.
    pub closes: Vec<(i64, Decimal)>,
    pub cash: Decimal,
    /// Signed quantity and last price of what is held at the end.
    pub positions: Vec<(String, Decimal, Decimal)>,
    /// A drawdown stopped it: what came after was refused, as the risk-manager does.
    pub halted: bool,
    pub journal: Journal,
}
