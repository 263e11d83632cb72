//! What a strategy is: bars, quotes and fills in, signals out. It has no clock; time is in what it is told.

pub use common::messages::Direction;
pub use paper_exchange::core::Side;

use crate::Portfolio;

/// A finished minute of the regular session. Symbols are numbered as the run was given them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    pub symbol: usize,
    /// When it began, ns since the epoch.
    pub start: i64,
    /// When it was over, which is when the strategy is told.
    pub end: i64,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
    /// Whole minutes from the session's open to the bar's start: 0 is the first.
    pub minute: i32,
    /// Whole minutes from the bar's end to the session's close.
    pub minutes_left: i32,
}

/// A new best bid and offer; sizes in shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quote {
    pub symbol: usize,
    pub at: i64,
    pub bid: f64,
    pub ask: f64,
    pub bid_size: f64,
    pub ask_size: f64,
}

/// An execution of one's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    pub symbol: usize,
    pub at: i64,
    pub side: Side,
    pub qty: f64,
    pub price: f64,
}

/// What the strategy wants to hold: `strength`, 0 to 1, is the share of `notional_per_signal`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    pub symbol: usize,
    pub direction: Direction,
    pub strength: f64,
}

/// A strategy. The same answers to the same calls, whatever the clock says.
pub trait Strategy {
    type Error;

    /// A bar is over and all features have a value.
    ///
    /// # Errors
    /// Its own; it ends the run.
    fn on_bar(
        &mut self,
        bar: &Bar,
        features: &[f64],
        portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> Result<(), Self::Error>;

    /// Whether [`Strategy::on_quote`] wants to be called: each quote then takes its time.
    fn wants_quotes(&self) -> bool {
        false
    }

    /// A quote of a symbol that is followed.
    ///
    /// # Errors
    /// Its own; it ends the run.
    fn on_quote(
        &mut self,
        _quote: &Quote,
        _portfolio: &Portfolio,
        _signals: &mut Vec<Signal>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// An execution; the portfolio includes it.
    ///
    /// # Errors
    /// Its own; it ends the run.
    fn on_fill(
        &mut self,
        _fill: &Fill,
        _portfolio: &Portfolio,
        _signals: &mut Vec<Signal>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}
