//! Market microstructure from quotes and trades, streaming and batch.

mod quotes;

pub use quotes::{QUOTE_FEATURES, Quote, QuoteFlow, QuoteNumbers};
