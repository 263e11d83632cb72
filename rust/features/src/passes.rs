//! The loops of the batch path: each one plain operation over slices, which the compiler turns into
//! SIMD. Everything is inlined into the caller, so that it is compiled for the caller's CPU.

use crate::formulas as f;
use crate::window::{Fold, Window};
use crate::windowed::{window_channel, window_moments};

#[inline(always)]
pub(crate) fn map2(out: &mut [f64], a: &[f64], b: &[f64], op: impl Fn(f64, f64) -> f64) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = op(*a, *b);
    }
}

#[inline(always)]
pub(crate) fn map3(
    out: &mut [f64],
    a: &[f64],
    b: &[f64],
    c: &[f64],
    op: impl Fn(f64, f64, f64) -> f64,
) {
    for (((out, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
        *out = op(*a, *b, *c);
    }
}

/// Two results from four inputs.
#[inline(always)]
pub(crate) fn map4_2(
    first: &mut [f64],
    second: &mut [f64],
    [a, b, c, d]: [&[f64]; 4],
    op: impl Fn(f64, f64, f64, f64) -> (f64, f64),
) {
    let outs = first.iter_mut().zip(second);
    for (((((first, second), a), b), c), d) in outs.zip(a).zip(b).zip(c).zip(d) {
        (*first, *second) = op(*a, *b, *c, *d);
    }
}

/// Blocks twice as long: the fold of each block with the one `size` before it. The first `size`
/// places keep what they had; nothing in the block proper looks that far back.
#[inline(always)]
fn doubled<F: Fold>(out: &mut [f64], blocks: &[f64], size: usize) {
    let newer = &blocks[size..];
    map2(&mut out[size..], newer, blocks, |newer, older| {
        F::fold(newer, older)
    });
}

/// Blocks of 1, 2, 4, … values of one series over a stretch of bars.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    blocks: Vec<Vec<f64>>,
}

impl Levels {
    /// Room for windows up to `longest` over stretches of `len` bars.
    pub(crate) fn new(longest: usize, len: usize) -> Self {
        Self {
            blocks: vec![vec![0.0; len]; longest.ilog2() as usize + 1],
        }
    }

    /// Makes the blocks of `series` that windows up to `longest` need.
    #[inline(always)]
    pub(crate) fn build<F: Fold>(&mut self, series: &[f64], longest: usize) {
        let len = series.len();
        self.blocks[0][..len].copy_from_slice(series);
        for level in 0..longest.ilog2() as usize {
            let (built, next) = self.blocks.split_at_mut(level + 1);
            doubled::<F>(&mut next[0][..len], &built[level][..len], 1 << level);
        }
    }

    /// The fold over `window` values up to each of the last `out.len()` bars of the stretch, in the
    /// order of [`crate::window::Tree::over`].
    #[inline(always)]
    pub(crate) fn over<F: Fold>(&self, len: usize, window: usize, out: &mut [f64]) {
        let start = len - out.len();
        let mut covered = 0;
        // Up to three blocks in one pass; longer windows add the others one by one.
        let mut found: [&[f64]; 3] = [&[]; 3];
        let mut count = 0;
        for (level, blocks) in self.blocks.iter().enumerate() {
            if window & (1 << level) == 0 {
                continue;
            }
            let blocks = &blocks[start - covered..len - covered];
            covered += 1 << level;
            if count < 3 {
                found[count] = blocks;
                count += 1;
                continue;
            }
            if count == 3 {
                Self::fold_found::<F>(&found, 3, out);
                count = 4;
            }
            for (out, older) in out.iter_mut().zip(blocks) {
                *out = F::fold(*out, *older);
            }
        }
        if count < 4 {
            Self::fold_found::<F>(&found, count, out);
        }
    }

    #[inline(always)]
    fn fold_found<F: Fold>(found: &[&[f64]; 3], count: usize, out: &mut [f64]) {
        match count {
            1 => out.copy_from_slice(found[0]),
            2 => map2(out, found[0], found[1], F::fold),
            _ => map3(out, found[0], found[1], found[2], |a, b, c| {
                F::fold(F::fold(a, b), c)
            }),
        }
    }
}

/// Mean and deviation over the window up to each bar; `series` begins a window less one before
/// the first.
#[inline(always)]
pub(crate) fn moments<W: Window>(
    window: W,
    series: &[f64],
    mean: &mut [f64],
    deviation: &mut [f64],
) {
    let outs = mean.iter_mut().zip(deviation);
    for ((mean, deviation), values) in outs.zip(series.windows(window.len())) {
        let (newest, others) = (values[window.len() - 1], &values[..window.len() - 1]);
        (*mean, *deviation) = window_moments(newest, others, window);
    }
}

/// Commodity channel index from typical prices that begin a window less one before the first bar,
/// and their sums over the window.
#[inline(always)]
pub(crate) fn commodity_channel<W: Window>(
    window: W,
    typical: &[f64],
    sums: &[f64],
    out: &mut [f64],
) {
    for ((out, sum), values) in out.iter_mut().zip(sums).zip(typical.windows(window.len())) {
        let (newest, others) = (values[window.len() - 1], &values[..window.len() - 1]);
        *out = window_channel(newest, others, *sum, window);
    }
}

/// `M` exponential averages of one series, interleaved: each waits for itself, not for the others.
#[inline(always)]
pub(crate) fn emas<const M: usize>(
    values: &mut [f64; M],
    k: [f64; M],
    series: &[f64],
    outs: [&mut [f64]; M],
) {
    let len = series.len();
    let outs = outs.map(|out| &mut out[..len]);
    for at in 0..len {
        let x = series[at];
        for m in 0..M {
            values[m] = f::ema_step(values[m], x, k[m]);
            outs[m][at] = values[m];
        }
    }
}

/// `M` fading sums, each of its own series, interleaved.
#[inline(always)]
pub(crate) fn fades<const M: usize>(
    values: &mut [f64; M],
    keep: [f64; M],
    take: [f64; M],
    series: [&[f64]; M],
    outs: [&mut [f64]; M],
) {
    let len = series[0].len();
    let outs = outs.map(|out| &mut out[..len]);
    let series = series.map(|series| &series[..len]);
    for at in 0..len {
        for m in 0..M {
            values[m] = f::fade_step(values[m], series[m][at], keep[m], take[m]);
            outs[m][at] = values[m];
        }
    }
}

/// ADX: a fading average that keeps its value where an index doesn't count.
#[inline(always)]
pub(crate) fn index_average(
    value: &mut f64,
    window: usize,
    plus: &[f64],
    minus: &[f64],
    index: &mut [f64],
    out: &mut [f64],
) {
    map2(index, plus, minus, |plus, minus| {
        let (index, counts) = f::directional_index(plus, minus);
        if counts { index } else { f64::NAN }
    });
    let (keep, take) = (f::wilder_keep(window), 1.0 / window as f64);
    let mut average = *value;
    for (out, index) in out.iter_mut().zip(index) {
        let next = f::fade_step(average, *index, keep, take);
        average = if index.is_nan() { average } else { next };
        *out = average;
    }
    *value = average;
}
