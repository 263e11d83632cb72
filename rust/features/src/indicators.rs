//! Indicators that recur: their state and what the next bar makes of it.
//!
//! `update::<WARM>` with `WARM = true` minds the seeds and is right for every bar; with `false` it
//! leaves out the questions that only the first bars answer with yes.

use crate::codec::{Codec, Saved};
use crate::formulas as f;
use crate::node::{Chain, Input};
use crate::window::Window;

/// A bar beside the one before it, with what more than one indicator wants to know of the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Number of the bar, from 0.
    pub(crate) n: usize,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume: f64,
    pub(crate) previous_close: f64,
    pub(crate) change: f64,
    pub(crate) typical: f64,
    pub(crate) previous_typical: f64,
    pub(crate) true_range: f64,
    pub(crate) movement: (f64, f64),
}

/// The last bar, from which the next step is made. The first bar is its own predecessor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Previous {
    pub(crate) n: usize,
    high: f64,
    low: f64,
    close: f64,
    typical: f64,
}

impl Previous {
    #[inline(always)]
    pub(crate) fn step<const WARM: bool>(
        &mut self,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
    ) -> Step {
        let typical = f::typical_price(high, low, close);
        if WARM && self.n == 0 {
            *self = Self {
                n: 0,
                high,
                low,
                close,
                typical,
            };
        }
        let step = Step {
            n: self.n,
            high,
            low,
            close,
            volume,
            previous_close: self.close,
            change: close - self.close,
            typical,
            previous_typical: self.typical,
            true_range: f::true_range(high, low, self.close),
            movement: f::directional_movement(high, self.high, low, self.low),
        };
        *self = Self {
            n: self.n + 1,
            high,
            low,
            close,
            typical,
        };
        step
    }
}

impl Saved for Previous {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        codec.count(&mut self.n);
        codec.float(&mut self.high);
        codec.float(&mut self.low);
        codec.float(&mut self.close);
        codec.float(&mut self.typical);
    }
}

/// A recursion's seed: the mean (or the sum) of the inputs of bars `first..=last`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Seed {
    #[inline(always)]
    pub(crate) fn of(first: usize, window: usize) -> Self {
        Self {
            first,
            last: first + window - 1,
        }
    }

    /// The value after bar `n`: while the seed grows a plain sum, at its end the mean, then `next`.
    #[inline(always)]
    pub(crate) fn mean<const WARM: bool>(
        self,
        n: usize,
        value: f64,
        x: f64,
        next: impl Fn(f64, f64) -> f64,
    ) -> f64 {
        if WARM {
            if n < self.first {
                return value;
            }
            if n < self.last {
                return value + x;
            }
            if n == self.last {
                return (value + x) / (self.last - self.first + 1) as f64;
            }
        }
        next(value, x)
    }
}

/// Exponential average, seeded with the mean of the window that begins with bar `first`.
#[derive(Clone, Debug)]
pub(crate) struct Ema<W> {
    window: W,
    first: usize,
    pub(crate) value: f64,
}

impl<W: Window> Ema<W> {
    pub(crate) fn new(window: W) -> Self {
        Self::starting_at(0, window)
    }

    pub(crate) fn starting_at(first: usize, window: W) -> Self {
        Self {
            window,
            first,
            value: 0.0,
        }
    }

    #[inline(always)]
    pub(crate) fn update<const WARM: bool>(&mut self, n: usize, x: f64) -> f64 {
        let k = f::ema_factor(self.window.len());
        let seed = Seed::of(self.first, self.window.len());
        self.value = seed.mean::<WARM>(n, self.value, x, |value, x| f::ema_step(value, x, k));
        self.value
    }

    pub(crate) fn chain(&mut self) -> Chain<'_> {
        Chain::Ema {
            k: f::ema_factor(self.window.len()),
            value: &mut self.value,
        }
    }
}

impl<W: Window> Saved for Ema<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        codec.float(&mut self.value);
    }
}

/// Wilder's average, seeded with the mean of the bars from 1 on (bar 0 has no predecessor).
#[derive(Clone, Debug)]
pub(crate) struct Wilder<W> {
    window: W,
    pub(crate) value: f64,
}

impl<W: Window> Wilder<W> {
    pub(crate) fn new(window: W) -> Self {
        Self { window, value: 0.0 }
    }

    #[inline(always)]
    pub(crate) fn update<const WARM: bool>(&mut self, n: usize, x: f64) -> f64 {
        let keep = f::wilder_keep(self.window.len());
        let take = 1.0 / self.window.len() as f64;
        let seed = Seed::of(1, self.window.len());
        self.value = seed.mean::<WARM>(n, self.value, x, |value, x| {
            f::fade_step(value, x, keep, take)
        });
        self.value
    }

    pub(crate) fn chain(&mut self, input: Input) -> Chain<'_> {
        let len = self.window.len();
        Chain::Fade {
            keep: f::wilder_keep(len),
            take: 1.0 / len as f64,
            input,
            value: &mut self.value,
        }
    }
}

impl<W: Window> Saved for Wilder<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        codec.float(&mut self.value);
    }
}

/// Moving average convergence/divergence: `[line, signal, histogram]`.
///
/// As in TA-Lib the fast average is seeded with the last bars of the slow one's seed, so it is not
/// the plain EMA of that window; the signal's seed is the mean of its first lines.
#[derive(Clone, Debug)]
pub(crate) struct Macd<F, S, G> {
    fast: Ema<F>,
    slow: Ema<S>,
    signal: Ema<G>,
}

impl<F: Window, S: Window, G: Window> Macd<F, S, G> {
    /// `fast` must be shorter than `slow`.
    pub(crate) fn new(fast: F, slow: S, signal: G) -> Self {
        Self {
            fast: Ema::starting_at(slow.len() - fast.len(), fast),
            slow: Ema::new(slow),
            signal: Ema::starting_at(slow.len() - 1, signal),
        }
    }

    #[inline(always)]
    pub(crate) fn update<const WARM: bool>(&mut self, n: usize, close: f64) -> [f64; 3] {
        let slow = self.slow.update::<WARM>(n, close);
        self.update_beside::<WARM>(n, close, slow)
    }

    /// As `update`, where the slow average is kept elsewhere already.
    #[inline(always)]
    pub(crate) fn update_beside<const WARM: bool>(
        &mut self,
        n: usize,
        close: f64,
        slow: f64,
    ) -> [f64; 3] {
        let line = self.fast.update::<WARM>(n, close) - slow;
        let signal = self.signal.update::<WARM>(n, line);
        [line, signal, line - signal]
    }

    pub(crate) fn averages(&mut self) -> (&mut Ema<F>, &mut Ema<S>) {
        (&mut self.fast, &mut self.slow)
    }

    /// Smoothing factor and value of the signal.
    pub(crate) fn signal_chain(&mut self) -> (f64, &mut f64) {
        (
            f::ema_factor(self.signal.window.len()),
            &mut self.signal.value,
        )
    }
}

impl<F: Window, S: Window, G: Window> Saved for Macd<F, S, G> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.fast.exchange(codec);
        self.slow.exchange(codec);
        self.signal.exchange(codec);
    }
}

/// Relative strength index.
#[derive(Clone, Debug)]
pub(crate) struct Rsi<W> {
    gain: Wilder<W>,
    loss: Wilder<W>,
}

impl<W: Window> Rsi<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            gain: Wilder::new(window),
            loss: Wilder::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn update<const WARM: bool>(&mut self, step: &Step) -> f64 {
        f::relative_strength(
            self.gain.update::<WARM>(step.n, f::gain(step.change)),
            self.loss.update::<WARM>(step.n, f::loss(step.change)),
        )
    }

    pub(crate) fn averages(&mut self) -> (&mut Wilder<W>, &mut Wilder<W>) {
        (&mut self.gain, &mut self.loss)
    }
}

impl<W: Window> Saved for Rsi<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.gain.exchange(codec);
        self.loss.exchange(codec);
    }
}

/// Average directional index with its indicators: `[ADX, +DI, −DI]`.
///
/// The three sums add the bars 1 to W−1 plainly and fade from bar W on; ADX is seeded with the
/// mean of the first W indices.
#[derive(Clone, Debug)]
pub(crate) struct Adx<W> {
    window: W,
    plus: f64,
    minus: f64,
    range: f64,
    adx: f64,
}

impl<W: Window> Adx<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            window,
            plus: 0.0,
            minus: 0.0,
            range: 0.0,
            adx: 0.0,
        }
    }

    #[inline(always)]
    pub(crate) fn update<const WARM: bool>(&mut self, step: &Step) -> [f64; 3] {
        let len = self.window.len();
        let keep = if WARM && step.n < len {
            1.0
        } else {
            f::wilder_keep(len)
        };
        if !WARM || step.n > 0 {
            self.plus = f::fade_step(self.plus, step.movement.0, keep, 1.0);
            self.minus = f::fade_step(self.minus, step.movement.1, keep, 1.0);
            self.range = f::fade_step(self.range, step.true_range, keep, 1.0);
        }
        let plus = f::directional_indicator(self.plus, self.range);
        let minus = f::directional_indicator(self.minus, self.range);
        let (index, counts) = f::directional_index(plus, minus);
        let seed = Seed::of(len, len);
        self.adx = if WARM && step.n <= seed.last {
            seed.mean::<true>(step.n, self.adx, index, |value, _| value)
        } else {
            let (keep, take) = if counts {
                (f::wilder_keep(len), 1.0 / len as f64)
            } else {
                (1.0, 0.0)
            };
            f::fade_step(self.adx, index, keep, take)
        };
        [self.adx, plus, minus]
    }

    /// The three sums, as they go on from bar W.
    pub(crate) fn chains(&mut self) -> [Chain<'_>; 3] {
        let keep = f::wilder_keep(self.window.len());
        [
            (Input::Up, &mut self.plus),
            (Input::Down, &mut self.minus),
            (Input::TrueRange, &mut self.range),
        ]
        .map(|(input, value)| Chain::Fade {
            keep,
            take: 1.0,
            input,
            value,
        })
    }

    pub(crate) fn average(&mut self) -> &mut f64 {
        &mut self.adx
    }
}

impl<W: Window> Saved for Adx<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        for value in [
            &mut self.plus,
            &mut self.minus,
            &mut self.range,
            &mut self.adx,
        ] {
            codec.float(value);
        }
    }
}

/// On-balance volume; it begins with the first bar's volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Obv {
    value: f64,
}

impl Obv {
    #[inline(always)]
    pub(crate) fn update<const WARM: bool>(&mut self, step: &Step) -> f64 {
        self.value += if WARM && step.n == 0 {
            step.volume
        } else {
            f::signed_volume(step.change, step.volume)
        };
        self.value
    }

    pub(crate) fn chain(&mut self) -> Chain<'_> {
        Chain::Fade {
            keep: 1.0,
            take: 1.0,
            input: Input::SignedVolume,
            value: &mut self.value,
        }
    }
}

impl Saved for Obv {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        codec.float(&mut self.value);
    }
}
