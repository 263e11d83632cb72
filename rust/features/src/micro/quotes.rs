//! What the best bid and ask say: spread, middle, pressure.

/// The best bid and ask; prices in dollars, sizes in shares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quote {
    pub bid: f64,
    pub bid_size: f64,
    pub ask: f64,
    pub ask_size: f64,
}

impl Quote {
    /// Ask less bid, in dollars; below zero where the market is crossed.
    #[inline(always)]
    pub fn spread(&self) -> f64 {
        self.ask - self.bid
    }

    /// Halfway between bid and ask, in dollars.
    #[inline(always)]
    pub fn mid(&self) -> f64 {
        (self.bid + self.ask) * 0.5
    }

    /// The spread in basis points of the middle; NaN where there is no middle.
    #[inline(always)]
    pub fn spread_bp(&self) -> f64 {
        10_000.0 * self.spread() / self.mid()
    }

    /// Bid and ask weighted by the *opposite* size: where the next trade pulls the price, in
    /// dollars (Stoikov 2018). Without any size it is the middle.
    #[inline(always)]
    pub fn microprice(&self) -> f64 {
        let size = self.bid_size + self.ask_size;
        if size > 0.0 {
            (self.bid * self.ask_size + self.ask * self.bid_size) / size
        } else {
            self.mid()
        }
    }

    /// Bid size less ask size, over both: −1 (all offered) to 1 (all bid); 0 without any size.
    #[inline(always)]
    pub fn imbalance(&self) -> f64 {
        let size = self.bid_size + self.ask_size;
        if size > 0.0 {
            (self.bid_size - self.ask_size) / size
        } else {
            0.0
        }
    }

    /// Order flow imbalance against the quote before, in shares (Cont, Kukanov, Stoikov 2014): what
    /// was added to the bid less what was added to the ask.
    #[inline(always)]
    pub fn order_flow(&self, before: &Self) -> f64 {
        let gained = if self.bid >= before.bid {
            self.bid_size
        } else {
            0.0
        };
        let lost = if self.bid <= before.bid {
            before.bid_size
        } else {
            0.0
        };
        let offered = if self.ask <= before.ask {
            self.ask_size
        } else {
            0.0
        };
        let lifted = if self.ask >= before.ask {
            before.ask_size
        } else {
            0.0
        };
        gained - lost - offered + lifted
    }

    pub fn is_finite(&self) -> bool {
        self.bid.is_finite()
            && self.bid_size.is_finite()
            && self.ask.is_finite()
            && self.ask_size.is_finite()
    }
}

/// Names of the numbers of a quote, in the order of [`QuoteNumbers`].
pub const QUOTE_FEATURES: [&str; 6] = [
    "spread",
    "spread_bp",
    "mid",
    "microprice",
    "imbalance",
    "ofi",
];

/// The numbers of one quote, in the order of [`QUOTE_FEATURES`].
pub type QuoteNumbers = [f64; QUOTE_FEATURES.len()];

/// Quotes of one symbol, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuoteFlow {
    last: Option<Quote>,
}

impl QuoteFlow {
    /// Takes in the next quote; the first one's order flow is NaN.
    #[inline]
    pub fn update(&mut self, quote: Quote) -> QuoteNumbers {
        let flow = self.last.map_or(f64::NAN, |last| quote.order_flow(&last));
        self.last = Some(quote);
        [
            quote.spread(),
            quote.spread_bp(),
            quote.mid(),
            quote.microprice(),
            quote.imbalance(),
            flow,
        ]
    }
}
