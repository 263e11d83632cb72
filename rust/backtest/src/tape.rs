//! One symbol's prices of a day, and how they reach the exchange: each in its turn, or the newest alone.

use std::sync::Arc;

use paper_exchange::core::Exchange;
use paper_exchange::recording::Recording;
use paper_exchange::replay::{Bar, PlayDay, Quote, SymbolDay, SymbolId, Tick, Trade};

/// At one instant quotes come before trades, and these before bars; then by symbol.
pub(crate) type Key = (i64, u8, u16);

const QUOTE: u8 = 1;
const TRADE: u8 = 2;
const BAR: u8 = 3;

/// A symbol on its way through the recording.
pub(crate) struct Lane {
    /// Its number in the recording, which is the exchange's too.
    pub(crate) id: SymbolId,
    ticks: Option<SymbolDay>,
    pub(crate) quote: Option<Quote>,
    pub(crate) trade: Option<Trade>,
    quote_is_news: bool,
    trade_is_news: bool,
}

impl Lane {
    pub(crate) fn new(id: SymbolId) -> Self {
        Self {
            id,
            ticks: None,
            quote: None,
            trade: None,
            quote_is_news: false,
            trade_is_news: false,
        }
    }

    pub(crate) fn begin(&mut self, recording: &Arc<Recording>, day: PlayDay) {
        self.ticks = Some(SymbolDay::new(Arc::clone(recording), self.id, day));
    }

    /// When the next minute bar ends; `None` after the day's last.
    pub(crate) fn next_bar_at(&self) -> Option<i64> {
        self.ticks.as_ref()?.next_bar_at()
    }

    /// What comes next.
    pub(crate) fn key(&self) -> Option<Key> {
        Some(match self.ticks.as_ref()?.peek()? {
            Tick::Quote(quote) => (quote.at, QUOTE, quote.symbol.0),
            Tick::Trade(trade) => (trade.at, TRADE, trade.symbol.0),
            Tick::Bar(bar) => (bar.at, BAR, bar.symbol.0),
            Tick::Open { at, .. } | Tick::Close { at, .. } => (*at, 0, 0),
        })
    }

    /// Passes over quotes and prints up to `until`, keeping the newest; a bar stays where it is.
    pub(crate) fn skim(&mut self, until: i64) {
        let Some(ticks) = &mut self.ticks else { return };
        let (quote, trade) = ticks.skim(until);
        if quote.is_some() {
            self.quote = quote;
            self.quote_is_news = true;
        }
        if trade.is_some() {
            self.trade = trade;
            self.trade_is_news = true;
        }
    }

    /// The next quote or print, if it comes no later than `until`.
    pub(crate) fn tick(&mut self, until: i64) -> Option<Tick> {
        let ticks = self.ticks.as_mut()?;
        match ticks.peek()? {
            Tick::Quote(quote) if quote.at <= until => self.quote = Some(*quote),
            Tick::Trade(trade) if trade.at <= until => self.trade = Some(*trade),
            _ => return None,
        }
        ticks.next()
    }

    /// The bar that ends at `at`, when everything before it has been taken.
    pub(crate) fn bar(&mut self, at: i64) -> Option<Bar> {
        let ticks = self.ticks.as_mut()?;
        match ticks.peek()? {
            Tick::Bar(bar) if bar.at == at => {
                let bar = *bar;
                ticks.next();
                Some(bar)
            }
            _ => None,
        }
    }

    /// Tells the exchange what was passed over: as long as no order is open, the newest is all that counts.
    pub(crate) fn tell(&mut self, exchange: &mut Exchange) {
        let quote = self.quote.filter(|_| self.quote_is_news);
        let trade = self.trade.filter(|_| self.trade_is_news);
        self.quote_is_news = false;
        self.trade_is_news = false;
        match (quote, trade) {
            (Some(quote), Some(trade)) if trade.at < quote.at => {
                exchange.tick(&Tick::Trade(trade));
                exchange.tick(&Tick::Quote(quote));
            }
            (quote, trade) => {
                if let Some(quote) = quote {
                    exchange.tick(&Tick::Quote(quote));
                }
                if let Some(trade) = trade {
                    exchange.tick(&Tick::Trade(trade));
                }
            }
        }
    }
}
