//! What trades say: who was the aggressor, what it cost, how far it moved the price.

use std::collections::VecDeque;

use thiserror::Error;

use super::quotes::Quote;
use super::sums::Sums;
use crate::formulas;

/// Trades that wait for their realised spread; beyond that the oldest is given up.
const MAX_WAITING: usize = 4096;
/// The longest window, in trades or buckets.
const MAX_WINDOW: usize = 1_000_000;
const SECOND: f64 = 1e9;

/// One print; the price in dollars, the size in shares, `timestamp` in ns since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trade {
    pub price: f64,
    pub size: f64,
    pub timestamp: i64,
}

/// Over how much the measures reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MicroSettings {
    /// Trades in the windows of Kyle's lambda, Amihud, Roll, realised and bipower variation.
    pub window: usize,
    /// Shares in a bucket of VPIN.
    pub bucket_volume: f64,
    /// Buckets in VPIN's window.
    pub buckets: usize,
    /// Seconds from a trade to the middle that its realised spread is measured against.
    pub delay_s: f64,
    /// Seconds over which the intensity fades to 1/e.
    pub decay_s: f64,
}

impl Default for MicroSettings {
    fn default() -> Self {
        Self {
            window: 50,
            bucket_volume: 10_000.0,
            buckets: 50,
            delay_s: 5.0,
            decay_s: 60.0,
        }
    }
}

/// A setting that can't be.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{setting} = {value}; {rule}")]
pub struct MicroError {
    pub setting: &'static str,
    pub value: f64,
    pub rule: &'static str,
}

impl MicroSettings {
    pub fn check(&self) -> Result<(), MicroError> {
        let count = |setting, value: usize| {
            if (2..=MAX_WINDOW).contains(&value) {
                return Ok(());
            }
            Err(MicroError {
                setting,
                value: value as f64,
                rule: "2 to 1000000 can be kept",
            })
        };
        let amount = |setting, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(MicroError {
                setting,
                value,
                rule: "a finite number above 0 is wanted",
            })
        };
        count("window", self.window)?;
        count("buckets", self.buckets)?;
        amount("bucket_volume", self.bucket_volume)?;
        amount("delay_s", self.delay_s)?;
        amount("decay_s", self.decay_s)
    }
}

/// Names of the numbers after a trade, in the order of [`TradeNumbers`].
///
/// - `trade_sign`: 1 bought, −1 sold by the aggressor (Lee and Ready 1991): against the middle
///   that stood when it traded, at the middle against the last different price; 0 before any.
/// - `effective_spread` (dollars), `effective_spread_bp`: `2·sign·(price − mid)`.
/// - `realised_spread` (dollars), `realised_spread_bp`: `2·sign·(price − mid after delay_s)` of the
///   newest trade old enough (Huang and Stoll 1996).
/// - `kyle_lambda` (dollars a share): slope of the middle's changes on signed sizes (Kyle 1985).
/// - `amihud` (1/dollars): mean of `|log return| / dollars traded` (Amihud 2002).
/// - `roll_spread` (dollars): `2·√−cov(Δp, Δp before)`, 0 where that is positive (Roll 1984).
/// - `vpin` (0 to 1): mean of `|bought − sold| / bucket_volume` over buckets of equal volume
///   (Easley, López de Prado, O'Hara 2012), bought and sold by `trade_sign`.
/// - `trade_intensity` (trades a second): a Poisson rate whose memory fades with `decay_s`.
/// - `realised_variance`: sum of squared log returns of trades (Andersen and Bollerslev 1998).
/// - `bipower_variation`: `π/2 · Σ|r||r before|` (Barndorff-Nielsen and Shephard 2004): what of it
///   isn't jumps.
pub const TRADE_FEATURES: [&str; 12] = [
    "trade_sign",
    "effective_spread",
    "effective_spread_bp",
    "realised_spread",
    "realised_spread_bp",
    "kyle_lambda",
    "amihud",
    "roll_spread",
    "vpin",
    "trade_intensity",
    "realised_variance",
    "bipower_variation",
];

/// The numbers after one trade, in the order of [`TRADE_FEATURES`].
pub type TradeNumbers = [f64; TRADE_FEATURES.len()];

/// Lee and Ready's sign: by the quote, else by the tick.
#[inline]
fn trade_sign(price: f64, mid: f64, tick: f64) -> f64 {
    if price > mid {
        1.0
    } else if price < mid {
        -1.0
    } else {
        tick
    }
}

/// What `sign` paid beyond the middle, both ways.
#[inline]
fn spread_paid(sign: f64, price: f64, mid: f64) -> f64 {
    2.0 * sign * (price - mid)
}

/// Covariance of x and y from their sums over `n`.
#[inline]
fn covariance(xy: f64, x: f64, y: f64, n: f64) -> f64 {
    xy / n - (x / n) * (y / n)
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    due: i64,
    price: f64,
    sign: f64,
}

/// Trades of one symbol, one after the other, with the quotes between them.
#[derive(Clone, Debug)]
pub(super) struct Trades {
    settings: MicroSettings,
    delay: i64,
    mid: f64,
    last: Option<Trade>,
    tick: f64,
    last_mid: f64,
    last_change: f64,
    last_return: f64,
    /// Signed size, change of the middle, their product, the size squared.
    impact: Sums<4>,
    /// Amihud's ratio, squared return.
    returns: Sums<2>,
    /// Change of the price, the one before, their product; |r||r before|.
    pairs: Sums<4>,
    waiting: VecDeque<Waiting>,
    realised: (f64, f64),
    bucket: (f64, f64),
    imbalances: Sums<1>,
    vpin: f64,
    intensity: f64,
}

impl Trades {
    pub(super) fn new(settings: MicroSettings) -> Self {
        Self {
            delay: (settings.delay_s * SECOND) as i64,
            mid: f64::NAN,
            last: None,
            tick: 0.0,
            last_mid: f64::NAN,
            last_change: f64::NAN,
            last_return: f64::NAN,
            impact: Sums::new(settings.window),
            returns: Sums::new(settings.window),
            pairs: Sums::new(settings.window),
            waiting: VecDeque::with_capacity(64),
            realised: (f64::NAN, f64::NAN),
            bucket: (0.0, 0.0),
            imbalances: Sums::new(settings.buckets),
            vpin: f64::NAN,
            intensity: 0.0,
            settings,
        }
    }

    /// The middle changes at `timestamp`; what fell due before is measured against the old one.
    pub(super) fn quote(&mut self, quote: &Quote, timestamp: i64) {
        self.settle(timestamp.saturating_sub(1));
        self.mid = quote.mid();
    }

    /// Realised spreads of the trades that fell due up to `now`, at the middle that stands.
    fn settle(&mut self, now: i64) {
        while let Some(trade) = self.waiting.front().copied()
            && trade.due <= now
        {
            self.waiting.pop_front();
            let paid = spread_paid(trade.sign, trade.price, self.mid);
            self.realised = (paid, 10_000.0 * paid / self.mid);
        }
    }

    pub(super) fn update(&mut self, trade: Trade) -> TradeNumbers {
        let Trade {
            price,
            size,
            timestamp,
        } = trade;
        self.settle(timestamp);
        if let Some(last) = self.last
            && price != last.price
        {
            self.tick = if price > last.price { 1.0 } else { -1.0 };
        }
        let sign = trade_sign(price, self.mid, self.tick);
        let effective = spread_paid(sign, price, self.mid);
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting {
            due: timestamp.saturating_add(self.delay),
            price,
            sign,
        });

        let mut kyle = f64::NAN;
        let mut amihud = f64::NAN;
        let mut roll = f64::NAN;
        let mut variance = f64::NAN;
        let mut bipower = f64::NAN;
        let n = self.settings.window as f64;
        if let Some(last) = self.last {
            let change = price - last.price;
            let log_return = formulas::log_return(price, last.price);
            if let Some([ratios, squares]) = self.returns.step([
                ratio(log_return.abs(), price * size),
                log_return * log_return,
            ]) {
                amihud = ratios / n;
                variance = squares;
            }
            if !self.last_change.is_nan() {
                let pair = [
                    change,
                    self.last_change,
                    change * self.last_change,
                    log_return.abs() * self.last_return.abs(),
                ];
                if let Some([now, before, product, powers]) = self.pairs.step(pair) {
                    let covariance = covariance(product, now, before, n);
                    roll = 2.0 * formulas::greater(-covariance, 0.0).sqrt();
                    bipower = std::f64::consts::FRAC_PI_2 * powers;
                }
            }
            if !self.last_mid.is_nan() {
                let signed = sign * size;
                let moved = self.mid - self.last_mid;
                if let Some([x, y, xy, xx]) =
                    self.impact
                        .step([signed, moved, signed * moved, signed * signed])
                {
                    kyle = ratio(covariance(xy, x, y, n), covariance(xx, x, x, n));
                }
            }
            self.last_change = change;
            self.last_return = log_return;
        }
        self.fill(sign, size);
        self.intensity = self.intensity_at(timestamp) + 1.0 / self.settings.decay_s;
        self.last_mid = self.mid;
        self.last = Some(trade);
        [
            sign,
            effective,
            10_000.0 * effective / self.mid,
            self.realised.0,
            self.realised.1,
            kyle,
            amihud,
            roll,
            self.vpin,
            self.intensity,
            variance,
            bipower,
        ]
    }

    /// The rate at `now`, faded since the last trade.
    fn intensity_at(&self, now: i64) -> f64 {
        let quiet = self
            .last
            .map_or(0, |last| now.saturating_sub(last.timestamp).max(0)) as f64
            / SECOND;
        self.intensity * (-quiet / self.settings.decay_s).exp()
    }

    /// Puts a trade into VPIN's buckets; a large one fills several.
    fn fill(&mut self, sign: f64, size: f64) {
        let whole = self.settings.bucket_volume;
        let mut left = size;
        // More buckets than the window holds would only push out their own like.
        let most = whole * (self.settings.buckets + 1) as f64;
        if left > most {
            left = most;
        }
        while left > 0.0 {
            let room = whole - self.bucket.0;
            let taken = if left < room { left } else { room };
            self.bucket.0 += taken;
            self.bucket.1 += sign * taken;
            left -= taken;
            if taken < room {
                return;
            }
            if let Some([imbalance]) = self.imbalances.step([self.bucket.1.abs()]) {
                self.vpin = imbalance / (self.settings.buckets as f64 * whole);
            }
            self.bucket = (0.0, 0.0);
        }
    }
}

/// A ratio that is 0 over nothing.
#[inline]
fn ratio(amount: f64, over: f64) -> f64 {
    if over > 0.0 { amount / over } else { 0.0 }
}
