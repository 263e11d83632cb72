//! Indicators that recur: their state and what the next bar makes of it.
//!
//! `update::<WARM>` with `WARM = true` minds the seeds and is right for every bar; with `false` it
//! leaves out the questions that only the first bars answer with yes.

use crate::codec::{Codec, Saved};
use crate::formulas as f;
use crate::recursions::{Input, Recursion, Rule};
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seed {
    first: usize,
    pub(crate) last: usize,
    divisor: f64,
}

impl Seed {
    #[inline(always)]
    pub(crate) fn mean(first: usize, window: usize) -> Self {
        Self {
            first,
            last: first + window - 1,
            divisor: window as f64,
        }
    }

    #[inline(always)]
    pub(crate) fn sum(first: usize, window: usize) -> Self {
        Self {
            divisor: 1.0,
            ..Self::mean(first, window)
        }
    }

    /// The value after bar `n`: while the seed grows a plain sum, then `next` of it.
    #[inline(always)]
    pub(crate) fn step<const WARM: bool>(
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
                return (value + x) / self.divisor;
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
        let seed = self.seed();
        self.value = seed.step::<WARM>(n, self.value, x, |value, x| f::ema_step(value, x, k));
        self.value
    }

    #[inline(always)]
    fn seed(&self) -> Seed {
        Seed::mean(self.first, self.window.len())
    }

    pub(crate) fn recursion(&self, input: Input) -> Recursion {
        Recursion {
            input,
            seed: self.seed(),
            rule: Rule::Ema {
                k: f::ema_factor(self.window.len()),
            },
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
        let seed = self.seed();
        self.value = seed.step::<WARM>(n, self.value, x, |value, x| {
            f::fade_step(value, x * take, keep)
        });
        self.value
    }

    #[inline(always)]
    fn seed(&self) -> Seed {
        Seed::mean(1, self.window.len())
    }

    pub(crate) fn recursion(&self, input: Input) -> Recursion {
        let len = self.window.len();
        Recursion {
            input,
            seed: self.seed(),
            rule: Rule::Fade {
                keep: f::wilder_keep(len),
                take: 1.0 / len as f64,
            },
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

    /// Fast and slow average, and the signal on their difference.
    pub(crate) fn recursions(&self) -> [Recursion; 3] {
        [
            self.fast.recursion(Input::Close),
            self.slow.recursion(Input::Close),
            self.signal.recursion(Input::Second),
        ]
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

    pub(crate) fn recursions(&self) -> [Recursion; 2] {
        [
            self.gain.recursion(Input::Gain),
            self.loss.recursion(Input::Loss),
        ]
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
        let keep = f::wilder_keep(len);
        let (sums, n) = (self.sums_seed(), step.n);
        let fade = |sum, x| f::fade_step(sum, x, keep);
        self.plus = sums.step::<WARM>(n, self.plus, step.movement.0, fade);
        self.minus = sums.step::<WARM>(n, self.minus, step.movement.1, fade);
        self.range = sums.step::<WARM>(n, self.range, step.true_range, fade);
        let scale = f::directional_scale(self.range);
        let (plus, minus) = (self.plus * scale, self.minus * scale);
        let (index, counts) = f::directional_index(plus, minus);
        self.adx = self.seed().step::<WARM>(n, self.adx, index, |adx, index| {
            let (keep, taken) = f::held_weights(index * (1.0 / len as f64), counts, keep);
            f::fade_step(adx, taken, keep)
        });
        [self.adx, plus, minus]
    }

    #[inline(always)]
    fn sums_seed(&self) -> Seed {
        Seed::sum(1, self.window.len() - 1)
    }

    #[inline(always)]
    fn seed(&self) -> Seed {
        Seed::mean(self.window.len(), self.window.len())
    }

    /// The three sums.
    pub(crate) fn sums(&self) -> [Recursion; 3] {
        let keep = f::wilder_keep(self.window.len());
        [Input::Up, Input::Down, Input::TrueRange].map(|input| Recursion {
            input,
            seed: self.sums_seed(),
            rule: Rule::Fade { keep, take: 1.0 },
        })
    }

    /// The average on the index that is made of the sums.
    pub(crate) fn average(&self) -> Recursion {
        let len = self.window.len();
        Recursion {
            input: Input::Second,
            seed: self.seed(),
            rule: Rule::Held {
                keep: f::wilder_keep(len),
                take: 1.0 / len as f64,
            },
        }
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

    /// As a recursion, whose first input is the volume of the first bar.
    pub(crate) fn recursion() -> Recursion {
        Recursion {
            input: Input::SignedVolume,
            seed: Seed::sum(0, 1),
            rule: Rule::Fade {
                keep: 1.0,
                take: 1.0,
            },
        }
    }
}

impl Saved for Obv {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        codec.float(&mut self.value);
    }
}
