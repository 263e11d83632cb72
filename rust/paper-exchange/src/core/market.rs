//! What the market looks like now: the best bid and offer, the last print, the day's reference prices.

use std::collections::HashMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::{Asset, Nanos, Side};

/// A symbol's number in the market.
pub type SymbolId = usize;

/// One symbol's prices.
#[derive(Clone, Debug)]
pub struct Quoted {
    pub asset: Asset,
    pub symbol: Arc<str>,
    /// Whether there are recorded prices, and so whether it can be traded.
    pub tradable: bool,
    pub bid: Option<Decimal>,
    pub ask: Option<Decimal>,
    pub quoted_at: Nanos,
    pub last: Option<Decimal>,
    pub last_at: Nanos,
    /// The newest regular session's closing price, and when that was; `Nanos::MIN` where unknown.
    pub previous_close: Option<Decimal>,
    pub closed_at: Nanos,
    /// The closing price of the session before that one.
    pub close_before: Option<Decimal>,
    /// Whether the opening auction of the present session has been.
    pub opened: bool,
}

impl Quoted {
    /// The price at which `side` trades at once.
    #[must_use]
    pub fn touch(&self, side: Side) -> Option<Decimal> {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }

    /// The closing price that a day is measured from which began at `began`: today's own counts from
    /// the next day on.
    #[must_use]
    pub fn close_until(&self, began: Nanos) -> Option<Decimal> {
        if self.closed_at < began {
            self.previous_close
        } else {
            self.close_before
        }
    }

    /// A regular session ended at `at` with this price.
    pub(super) fn closed(&mut self, at: Nanos, price: Decimal) {
        if at > self.closed_at {
            self.close_before = self.previous_close;
            self.closed_at = at;
        }
        self.previous_close = Some(price);
    }

    /// What a share is worth: the last print, else the middle of the quote.
    #[must_use]
    pub fn mark(&self) -> Option<Decimal> {
        self.last.or_else(|| match (self.bid, self.ask) {
            (Some(bid), Some(ask)) => Some((bid + ask) / Decimal::TWO),
            (one, other) => one.or(other),
        })
    }
}

/// All symbols.
#[derive(Clone, Debug, Default)]
pub struct Market {
    symbols: Vec<Quoted>,
    by_name: HashMap<Arc<str>, SymbolId>,
}

impl Market {
    #[must_use]
    pub fn new<S: AsRef<str>>(symbols: &[S]) -> Self {
        let mut market = Self::default();
        for symbol in symbols {
            let id = market.register(symbol.as_ref());
            market.symbols[id].tradable = true;
        }
        market
    }

    /// The number of `symbol`, given to it now if it has none. A stored account may hold what the
    /// present recording lacks.
    pub fn register(&mut self, symbol: &str) -> SymbolId {
        if let Some(&id) = self.by_name.get(symbol) {
            return id;
        }
        let id = self.symbols.len();
        let name: Arc<str> = Arc::from(symbol);
        self.symbols.push(Quoted {
            asset: Asset::of(symbol),
            symbol: Arc::clone(&name),
            tradable: false,
            bid: None,
            ask: None,
            quoted_at: Nanos::MIN,
            last: None,
            last_at: Nanos::MIN,
            previous_close: None,
            closed_at: Nanos::MIN,
            close_before: None,
            opened: false,
        });
        self.by_name.insert(name, id);
        id
    }

    #[must_use]
    pub fn id(&self, symbol: &str) -> Option<SymbolId> {
        self.by_name.get(symbol).copied()
    }

    /// By symbol or by the asset's UUID.
    #[must_use]
    pub fn find(&self, symbol_or_id: &str) -> Option<&Quoted> {
        if let Some(id) = self.id(symbol_or_id) {
            return self.symbols.get(id);
        }
        let uuid = uuid::Uuid::try_parse(symbol_or_id).ok()?;
        self.symbols.iter().find(|quoted| quoted.asset.id == uuid)
    }

    #[must_use]
    pub fn get(&self, id: SymbolId) -> &Quoted {
        &self.symbols[id]
    }

    pub(super) fn get_mut(&mut self, id: SymbolId) -> &mut Quoted {
        &mut self.symbols[id]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Quoted> {
        self.symbols.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The value of one share of `symbol`, if any price is known.
    #[must_use]
    pub fn mark(&self, symbol: &str) -> Option<Decimal> {
        self.id(symbol).and_then(|id| self.symbols[id].mark())
    }

    pub(super) fn start_session(&mut self) {
        for quoted in &mut self.symbols {
            quoted.opened = false;
        }
    }

    pub(super) fn end_session(&mut self, at: Nanos) {
        for quoted in &mut self.symbols {
            if let Some(last) = quoted.last {
                quoted.closed(at, last);
            }
        }
    }
}
