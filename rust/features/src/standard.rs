//! The full set with its usual windows, fused: one straight run of the same indicators, with
//! every length known to the compiler and what two of them need computed once.

use crate::codec::{Codec, Saved};
use crate::formulas as f;
use crate::indicators::{Adx, Ema, Macd, Obv, Previous, Rsi, Wilder};
use crate::names::{BAND_FACTOR, STANDARD};
use crate::window::Fixed;
use crate::windowed::{Cci, Extremes, Mfi, Moments, Roc, Stochastic, Vwap};

/// Numbers a bar.
pub(crate) const WIDTH: usize = STANDARD.len();
/// From this bar on every number is there and every seed is grown: the slowest is MACD's signal.
pub(crate) const WARM: usize = 34;
/// Index of the first bar with a value, by feature.
const FIRST: [usize; WIDTH] = [
    19, 11, 25, 14, 33, 33, 33, 19, 19, 19, 14, 27, 14, 14, 17, 17, 0, 14, 19, 10, 13, 19, 19, 19,
    19, 19, 19, 19, 19, 1, 20,
];

/// State of one symbol.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    previous: Previous,
    ema_12: Ema<Fixed<12>>,
    ema_26: Ema<Fixed<26>>,
    ema_20: Ema<Fixed<20>>,
    macd: Macd<Fixed<12>, Fixed<26>, Fixed<9>>,
    rsi: Rsi<Fixed<14>>,
    atr_14: Wilder<Fixed<14>>,
    atr_10: Wilder<Fixed<10>>,
    adx: Adx<Fixed<14>>,
    obv: Obv,
    closes: Moments<Fixed<20>>,
    returns: Moments<Fixed<20>>,
    extremes: Extremes<Fixed<20>>,
    stochastic: Stochastic<Fixed<3>, Fixed<3>>,
    mfi: Mfi<Fixed<14>>,
    cci: Cci<Fixed<20>>,
    roc: Roc<Fixed<10>>,
    vwap: Vwap<Fixed<20>>,
}

impl Default for Standard {
    fn default() -> Self {
        Self {
            previous: Previous::default(),
            ema_12: Ema::new(Fixed),
            ema_26: Ema::new(Fixed),
            ema_20: Ema::new(Fixed),
            macd: Macd::new(Fixed, Fixed, Fixed),
            rsi: Rsi::new(Fixed),
            atr_14: Wilder::new(Fixed),
            atr_10: Wilder::new(Fixed),
            adx: Adx::new(Fixed),
            obv: Obv::default(),
            closes: Moments::new(Fixed),
            returns: Moments::new(Fixed),
            extremes: Extremes::new(Fixed),
            stochastic: Stochastic::new(Fixed, Fixed),
            mfi: Mfi::new(Fixed),
            cci: Cci::new(Fixed),
            roc: Roc::new(Fixed),
            vwap: Vwap::new(Fixed),
        }
    }
}

impl Standard {
    /// Bars seen.
    pub(crate) fn bars(&self) -> usize {
        self.previous.n
    }

    /// Takes in a bar and writes the numbers in the order of [`STANDARD`]; NaN before their time.
    #[inline(always)]
    pub(crate) fn update(
        &mut self,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
        out: &mut [f64; WIDTH],
    ) {
        if self.previous.n < WARM {
            self.warm(high, low, close, volume, out);
        } else {
            self.step::<false>(high, low, close, volume, out);
        }
    }

    #[cold]
    #[inline(never)]
    fn warm(&mut self, high: f64, low: f64, close: f64, volume: f64, out: &mut [f64; WIDTH]) {
        self.step::<true>(high, low, close, volume, out);
        let n = self.previous.n - 1;
        for (value, first) in out.iter_mut().zip(FIRST) {
            if n < first {
                *value = f64::NAN;
            }
        }
    }

    #[inline(always)]
    fn step<const SEEDING: bool>(
        &mut self,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
        out: &mut [f64; WIDTH],
    ) {
        let step = self.previous.step::<SEEDING>(high, low, close, volume);
        let n = step.n;

        let ema_12 = self.ema_12.update::<SEEDING>(n, close);
        let ema_26 = self.ema_26.update::<SEEDING>(n, close);
        let keltner = self.ema_20.update::<SEEDING>(n, close);
        let [macd, signal, histogram] = self.macd.update_beside::<SEEDING>(n, close, ema_26);
        let rsi = self.rsi.update::<SEEDING>(&step);
        let atr_14 = self.atr_14.update::<SEEDING>(n, step.true_range);
        let atr_10 = self.atr_10.update::<SEEDING>(n, step.true_range);
        let [adx, plus_di, minus_di] = self.adx.update::<SEEDING>(&step);
        let obv = self.obv.update::<SEEDING>(&step);

        let [mean, deviation] = self.closes.update(n, close);
        let log_return = f::log_return(close, step.previous_close);
        let [_, volatility] = self.returns.update(n, log_return);

        self.extremes.push(&step);
        let (highest_14, lowest_14) = self.extremes.over(n, 14);
        let (highest_20, lowest_20) = self.extremes.over(n, 20);
        let scale = f::range_scale(highest_14, lowest_14);
        let fast_k = f::fast_k(close, lowest_14, scale);
        let [k, d] = self.stochastic.update(n, fast_k);

        *out = [
            mean,
            ema_12,
            ema_26,
            rsi,
            macd,
            signal,
            histogram,
            f::band(mean, deviation, BAND_FACTOR),
            mean,
            f::band(mean, deviation, -BAND_FACTOR),
            atr_14,
            adx,
            plus_di,
            minus_di,
            k,
            d,
            obv,
            self.mfi.update(&step),
            self.cci.update(&step),
            self.roc.update(close),
            f::williams_r(close, highest_14, scale),
            self.vwap.update(&step),
            deviation,
            highest_20,
            f::middle(highest_20, lowest_20),
            lowest_20,
            f::band(keltner, atr_10, BAND_FACTOR),
            keltner,
            f::band(keltner, atr_10, -BAND_FACTOR),
            log_return,
            volatility,
        ];
    }
}

impl Saved for Standard {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.previous.exchange(codec);
        self.ema_12.exchange(codec);
        self.ema_26.exchange(codec);
        self.ema_20.exchange(codec);
        self.macd.exchange(codec);
        self.rsi.exchange(codec);
        self.atr_14.exchange(codec);
        self.atr_10.exchange(codec);
        self.adx.exchange(codec);
        self.obv.exchange(codec);
        self.closes.exchange(codec);
        self.returns.exchange(codec);
        self.extremes.exchange(codec);
        self.stochastic.exchange(codec);
        self.mfi.exchange(codec);
        self.cci.exchange(codec);
        self.roc.exchange(codec);
        self.vwap.exchange(codec);
    }
}
