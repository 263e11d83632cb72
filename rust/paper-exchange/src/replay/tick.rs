//! What the replay says, one tick at a time: the only form in which prices reach the exchange's core and its clients.

use std::fmt;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::recording::BarRow;

/// A price in millionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(i64);

impl Price {
    pub const ZERO: Price = Price(0);

    pub const fn from_micros(micros: i64) -> Price {
        Price(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.0, 6).normalize()
    }

    /// For JSON and msgpack, whose numbers are doubles.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_decimal().fmt(f)
    }
}

/// Index into [`crate::recording::Recording::symbols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub u16);

impl SymbolId {
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Best bid and offer from `at` on, until the next quote of the symbol. Sizes in shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    pub at: i64,
    pub symbol: SymbolId,
    pub bid: Price,
    pub ask: Price,
    pub bid_size: u32,
    pub ask_size: u32,
    /// The same quote as before, said again with a fresh time: nothing moved.
    pub restated: bool,
}

/// Which print of the regular session a trade is; auctions take place at its first and its last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Print {
    #[default]
    Plain,
    Opening,
    Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    pub at: i64,
    pub symbol: SymbolId,
    pub price: Price,
    /// Shares.
    pub size: u32,
    pub print: Print,
    /// Unique per symbol and day.
    pub id: u64,
}

/// A finished one-minute bar. `at` is its end, `start` its beginning (the timestamp that clients see).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    pub at: i64,
    pub start: i64,
    pub symbol: SymbolId,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    pub vwap: Price,
    /// Shares.
    pub volume: u64,
    pub trade_count: u32,
}

impl Bar {
    /// The bar as recordings and clients have it: without its end and its symbol.
    pub fn row(&self) -> BarRow {
        let Bar {
            start,
            open,
            high,
            low,
            close,
            vwap,
            volume,
            trade_count,
            ..
        } = *self;
        BarRow {
            start,
            open,
            high,
            low,
            close,
            vwap,
            volume,
            trade_count,
        }
    }
}

/// `at` is market time in nanoseconds since the epoch. Ticks come in the order of `at`. At one
/// instant `Open` comes first, then quotes, trades and bars, then `Close`; only where a symbol has
/// several trades at one instant may a quote that the second one moved stand between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// The regular session of `date` begins.
    Open {
        at: i64,
        date: NaiveDate,
    },
    Quote(Quote),
    Trade(Trade),
    Bar(Bar),
    /// The regular session of `date` is over (13:00 on a half day).
    Close {
        at: i64,
        date: NaiveDate,
    },
}

impl Tick {
    pub const fn at(&self) -> i64 {
        match self {
            Tick::Open { at, .. } | Tick::Close { at, .. } => *at,
            Tick::Quote(quote) => quote.at,
            Tick::Trade(trade) => trade.at,
            Tick::Bar(bar) => bar.at,
        }
    }

    pub const fn symbol(&self) -> Option<SymbolId> {
        match self {
            Tick::Open { .. } | Tick::Close { .. } => None,
            Tick::Quote(quote) => Some(quote.symbol),
            Tick::Trade(trade) => Some(trade.symbol),
            Tick::Bar(bar) => Some(bar.symbol),
        }
    }
}
