//! What the parts of the service know together: counts, prices, the signals seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::bus::Subscriber;
use common::messages::{Message, parse};
use rust_decimal::Decimal;

use crate::seen::Seen;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) malformed: u64,
    pub(crate) repeated: u64,
    pub(crate) overflowed: u64,
    pub(crate) nothing: u64,
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) in_doubt: u64,
    pub(crate) unsent: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    counts: Mutex<Counts>,
    prices: Mutex<HashMap<String, f64>>,
    last: Mutex<String>,
    seen: Mutex<Seen>,
}

impl Shared {
    /// With the signals that are known from an earlier run.
    pub(crate) fn knowing(seen: Seen) -> Self {
        Self {
            seen: Mutex::new(seen),
            ..Self::default()
        }
    }

    /// The signals that are known, locked: hold it for a moment only.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of the newest signal; empty before the first.
    pub(crate) fn last(&self) -> String {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn price(&self, symbol: &str) -> Option<Decimal> {
        let prices = self.prices.lock().unwrap_or_else(PoisonError::into_inner);
        prices
            .get(symbol)
            .and_then(|price| Decimal::try_from(*price).ok())
    }

    pub(crate) fn tell(&self, what: String) {
        tracing::info!("{what}");
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// Keep the newest price of each symbol, until the market's socket is closed.
pub(crate) async fn follow_prices(mut market: Subscriber, shared: Arc<Shared>) {
    while let Some(frame) = market.recv().await {
        let Ok(received) = parse(frame.bytes()) else {
            continue;
        };
        let (symbol, price) = match received.message {
            Message::TradeUpdate(trade) => (trade.symbol, trade.price),
            Message::BarUpdate(bar) => (bar.symbol, bar.close),
            Message::QuoteUpdate(quote) if quote.bid_price > 0.0 && quote.ask_price > 0.0 => {
                (quote.symbol, (quote.bid_price + quote.ask_price) / 2.0)
            }
            _ => continue,
        };
        shared
            .prices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(symbol, price);
    }
}
