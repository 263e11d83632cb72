//! Quotes and trades of one symbol together.

use super::quotes::{Quote, QuoteFlow, QuoteNumbers};
use super::trades::{MicroError, MicroSettings, Trade, TradeNumbers, Trades};

/// The microstructure of one symbol, event by event in the order of time.
#[derive(Clone, Debug)]
pub struct Market {
    quotes: QuoteFlow,
    trades: Trades,
    pub quote_numbers: QuoteNumbers,
    pub trade_numbers: TradeNumbers,
}

impl Market {
    pub fn new(settings: MicroSettings) -> Result<Self, MicroError> {
        settings.check()?;
        Ok(Self {
            quotes: QuoteFlow::default(),
            trades: Trades::new(settings),
            quote_numbers: [f64::NAN; _],
            trade_numbers: [f64::NAN; _],
        })
    }

    /// Takes in a quote of finite numbers that stands from `timestamp` (ns) on.
    pub fn quote(&mut self, quote: Quote, timestamp: i64) -> &QuoteNumbers {
        self.trades.quote(&quote, timestamp);
        self.quote_numbers = self.quotes.update(quote);
        &self.quote_numbers
    }

    /// Takes in a trade of finite numbers.
    pub fn trade(&mut self, trade: Trade) -> &TradeNumbers {
        self.trade_numbers = self.trades.update(trade);
        &self.trade_numbers
    }
}
