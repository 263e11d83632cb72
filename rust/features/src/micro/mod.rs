//! Market microstructure from quotes and trades, streaming and batch.

mod batch;
mod market;
mod quotes;
mod sums;
mod trades;

pub use batch::{EventError, QuoteColumns, TradeColumns, compute};
pub use market::Market;
pub use quotes::{QUOTE_FEATURES, Quote, QuoteFlow, QuoteNumbers};
pub use trades::{MicroError, MicroSettings, TRADE_FEATURES, Trade, TradeNumbers};
