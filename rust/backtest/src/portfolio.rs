//! What a strategy may know of the account. Numbers are floats, for deciding; the exchange's own books are exact.

/// One symbol: `qty` is signed, negative is short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holding {
    pub qty: f64,
    /// Average price of what is held, NaN when flat.
    pub avg_price: f64,
    /// The last print, NaN before the first.
    pub price: f64,
}

impl Default for Holding {
    fn default() -> Self {
        Self {
            qty: 0.0,
            avg_price: f64::NAN,
            price: f64::NAN,
        }
    }
}

/// Cash, holdings and what they are worth, in dollars. Symbols are numbered as the run was given them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Portfolio {
    cash: f64,
    equity: f64,
    gross: f64,
    holdings: Vec<Holding>,
    stamp: u64,
}

impl Portfolio {
    #[must_use]
    pub fn new(symbols: usize, cash: f64) -> Self {
        Self {
            cash,
            equity: cash,
            gross: 0.0,
            holdings: vec![Holding::default(); symbols],
            stamp: 0,
        }
    }

    #[must_use]
    pub fn cash(&self) -> f64 {
        self.cash
    }

    /// Cash and what is held at the last prints.
    #[must_use]
    pub fn equity(&self) -> f64 {
        self.equity
    }

    /// What is held, longs and shorts added up.
    #[must_use]
    pub fn gross(&self) -> f64 {
        self.gross
    }

    #[must_use]
    pub fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    #[must_use]
    pub fn qty(&self, symbol: usize) -> f64 {
        self.holdings[symbol].qty
    }

    /// Changes whenever anything here does.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// A new last print; [`Portfolio::reckon`] when all are told.
    #[inline]
    pub fn mark(&mut self, symbol: usize, price: f64) {
        self.holdings[symbol].price = price;
    }

    /// What is held of a symbol now; [`Portfolio::reckon`] when all are told.
    pub fn hold(&mut self, symbol: usize, qty: f64, avg_price: f64) {
        let holding = &mut self.holdings[symbol];
        holding.qty = qty;
        holding.avg_price = if qty == 0.0 { f64::NAN } else { avg_price };
    }

    pub fn set_cash(&mut self, cash: f64) {
        self.cash = cash;
    }

    /// What the broker says the equity is, where more is held than the symbols here.
    pub fn set_equity(&mut self, equity: f64) {
        self.equity = equity;
        self.stamp += 1;
    }

    /// Adds everything up anew.
    pub fn reckon(&mut self) {
        let (mut net, mut gross) = (0.0, 0.0);
        for holding in &self.holdings {
            if holding.qty != 0.0 {
                let value = holding.qty * holding.price;
                net += value;
                gross += value.abs();
            }
        }
        self.equity = self.cash + net;
        self.gross = gross;
        self.stamp += 1;
    }
}
