//! Indicators over a window of the last bars, which they forget bar by bar.

use crate::codec::{Codec, Saved};
use crate::formulas as f;
use crate::indicators::Step;
use crate::window::{Highest, Lowest, Recent, Sum, Tree, Window, lanes};

/// Mean and population deviation of the last values: `[mean, deviation]`.
#[derive(Clone, Debug)]
pub(crate) struct Moments<W: Window> {
    window: W,
    recent: Recent<W>,
}

impl<W: Window> Moments<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            window,
            recent: Recent::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn update(&mut self, n: usize, x: f64) -> [f64; 2] {
        // The oldest of the slice leaves the window.
        let others = &self.recent.slice()[1..];
        let (mean, deviation) = window_moments(x, others, n, self.window);
        self.recent.push(x);
        [mean, deviation]
    }
}

impl<W: Window> Saved for Moments<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.recent.exchange(codec);
    }
}

/// Bars that share the value which their windows' moments are taken around.
pub(crate) const ANCHORED: usize = 16;

/// How many bars before bar `n` the value stands that the moments of its window are taken around:
/// the same one for all of some bars, so that they share the differences to it, and in the window
/// of each.
#[inline(always)]
fn anchor_age<W: Window>(n: usize, window: W) -> usize {
    n & (ANCHORED.min(1 << window.len().ilog2()) - 1)
}

/// Mean and deviation over the window that ends with bar `n`: of the newest value and the others,
/// oldest first.
#[inline(always)]
pub(crate) fn window_moments<W: Window>(
    newest: f64,
    others: &[f64],
    n: usize,
    window: W,
) -> (f64, f64) {
    let anchor = match anchor_age(n, window) {
        0 => newest,
        age => others[others.len() - age],
    };
    let differences = lanes(others, newest, |y| y - anchor);
    let squares = lanes(others, newest, |y| (y - anchor) * (y - anchor));
    f::moments(anchor, differences, squares, 1.0 / window.len() as f64)
}

/// Commodity channel index of the newest typical price, the others of its window, oldest first, and
/// the sum of all.
#[inline(always)]
pub(crate) fn window_channel<W: Window>(newest: f64, others: &[f64], sum: f64, window: W) -> f64 {
    let reciprocal = 1.0 / window.len() as f64;
    let mean = f::mean(sum, window.len());
    let around = lanes(others, newest, |y| (y - mean).abs());
    f::commodity_channel(newest, mean, around * reciprocal)
}

/// Highest high and lowest low, over any window up to `W`.
#[derive(Clone, Debug)]
pub(crate) struct Extremes<W: Window> {
    high: Tree<Highest, W>,
    low: Tree<Lowest, W>,
}

impl<W: Window> Extremes<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            high: Tree::new(window),
            low: Tree::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, step: &Step) {
        self.high.push(step.n, step.high);
        self.low.push(step.n, step.low);
    }

    /// `(highest, lowest)` of the `len` bars up to bar `n`.
    #[inline(always)]
    pub(crate) fn over(&self, n: usize, len: usize) -> (f64, f64) {
        (self.high.over(n, len), self.low.over(n, len))
    }
}

impl<W: Window> Saved for Extremes<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.high.exchange(codec);
        self.low.exchange(codec);
    }
}

/// Plain mean of the last values, made anew from blocks.
#[derive(Clone, Debug)]
pub(crate) struct Smoothed<W: Window> {
    window: W,
    sum: Tree<Sum, W>,
}

impl<W: Window> Smoothed<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            window,
            sum: Tree::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn update(&mut self, n: usize, x: f64) -> f64 {
        f::mean(self.sum.step(n, x), self.window.len())
    }
}

impl<W: Window> Saved for Smoothed<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.sum.exchange(codec);
    }
}

/// Slow stochastic: fast %K smoothed to `%K`, and that to `%D`.
#[derive(Clone, Debug)]
pub(crate) struct Stochastic<K: Window, D: Window> {
    k: Smoothed<K>,
    d: Smoothed<D>,
}

impl<K: Window, D: Window> Stochastic<K, D> {
    pub(crate) fn new(k: K, d: D) -> Self {
        Self {
            k: Smoothed::new(k),
            d: Smoothed::new(d),
        }
    }

    #[inline(always)]
    pub(crate) fn update(&mut self, n: usize, fast_k: f64) -> [f64; 2] {
        let k = self.k.update(n, fast_k);
        [k, self.d.update(n, k)]
    }
}

impl<K: Window, D: Window> Saved for Stochastic<K, D> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.k.exchange(codec);
        self.d.exchange(codec);
    }
}

/// Money flow index.
#[derive(Clone, Debug)]
pub(crate) struct Mfi<W: Window> {
    positive: Tree<Sum, W>,
    negative: Tree<Sum, W>,
}

impl<W: Window> Mfi<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            positive: Tree::new(window),
            negative: Tree::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn update(&mut self, step: &Step) -> f64 {
        let (positive, negative) = f::money_flow(step.typical, step.previous_typical, step.volume);
        f::money_flow_index(
            self.positive.step(step.n, positive),
            self.negative.step(step.n, negative),
        )
    }
}

impl<W: Window> Saved for Mfi<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.positive.exchange(codec);
        self.negative.exchange(codec);
    }
}

/// Commodity channel index, its mean deviation taken over the window itself.
#[derive(Clone, Debug)]
pub(crate) struct Cci<W: Window> {
    window: W,
    sum: Tree<Sum, W>,
    recent: Recent<W>,
}

impl<W: Window> Cci<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            window,
            sum: Tree::new(window),
            recent: Recent::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn update(&mut self, step: &Step) -> f64 {
        let sum = self.sum.step(step.n, step.typical);
        let channel = window_channel(step.typical, &self.recent.slice()[1..], sum, self.window);
        self.recent.push(step.typical);
        channel
    }
}

impl<W: Window> Saved for Cci<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.sum.exchange(codec);
        self.recent.exchange(codec);
    }
}

/// Rate of change against the close `W` bars ago.
#[derive(Clone, Debug)]
pub(crate) struct Roc<W: Window> {
    recent: Recent<W>,
}

impl<W: Window> Roc<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            recent: Recent::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn update(&mut self, close: f64) -> f64 {
        let base = self.recent.slice()[0];
        self.recent.push(close);
        f::rate_of_change(close, base)
    }
}

impl<W: Window> Saved for Roc<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.recent.exchange(codec);
    }
}

/// Volume-weighted average of the typical price.
#[derive(Clone, Debug)]
pub(crate) struct Vwap<W: Window> {
    flow: Tree<Sum, W>,
    volume: Tree<Sum, W>,
}

impl<W: Window> Vwap<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            flow: Tree::new(window),
            volume: Tree::new(window),
        }
    }

    #[inline(always)]
    pub(crate) fn update(&mut self, step: &Step) -> f64 {
        f::weighted_price(
            self.flow.step(step.n, step.typical * step.volume),
            self.volume.step(step.n, step.volume),
            step.close,
        )
    }
}

impl<W: Window> Saved for Vwap<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        self.flow.exchange(codec);
        self.volume.exchange(codec);
    }
}
