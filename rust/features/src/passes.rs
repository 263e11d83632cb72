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

/// Values, factors and series of some exponential averages of one series.
type Emas<'a, const E: usize> = (&'a mut [f64; E], [f64; E], &'a [f64]);
/// Values, what is kept and taken, and series of some fading sums.
type Fades<'a, const F: usize> = (&'a mut [f64; F], [(f64, f64); F], [&'a [f64]; F]);

/// Exponential averages of one series and fading sums, each of its own, interleaved: each waits for
/// itself, not for the others.
#[inline(always)]
pub(crate) fn recursions<const E: usize, const F: usize>(
    (averages, k, close): Emas<'_, E>,
    mut ema_outs: [&mut [f64]; E],
    (sums, factors, series): Fades<'_, F>,
    mut fade_outs: [&mut [f64]; F],
) {
    let whole = close.len() - close.len() % STRIDE;
    // A number of bars that the compiler knows leaves no bounds to check between them.
    for start in (0..whole).step_by(STRIDE) {
        stride::<E, F>(
            (averages, k, stretch(close, start)),
            ema_outs.each_mut().map(|out| stretch_mut(out, start)),
            (sums, factors, series.map(|series| stretch(series, start))),
            fade_outs.each_mut().map(|out| stretch_mut(out, start)),
        );
    }
    for at in whole..close.len() {
        for m in 0..E {
            averages[m] = f::ema_step(averages[m], close[at], k[m]);
            ema_outs[m][at] = averages[m];
        }
        for m in 0..F {
            let (keep, take) = factors[m];
            sums[m] = f::fade_step(sums[m], series[m][at], keep, take);
            fade_outs[m][at] = sums[m];
        }
    }
}

/// Bars between two looks at the bounds.
const STRIDE: usize = 16;
type Stride = [f64; STRIDE];

#[inline(always)]
fn stretch(series: &[f64], start: usize) -> &Stride {
    let stretch = series[start..].first_chunk();
    stretch.expect("whole strides were counted")
}

#[inline(always)]
fn stretch_mut(series: &mut [f64], start: usize) -> &mut Stride {
    let stretch = series[start..].first_chunk_mut();
    stretch.expect("whole strides were counted")
}

#[inline(always)]
fn stride<const E: usize, const F: usize>(
    (averages, k, close): (&mut [f64; E], [f64; E], &Stride),
    ema_outs: [&mut Stride; E],
    (sums, factors, series): (&mut [f64; F], [(f64, f64); F], [&Stride; F]),
    fade_outs: [&mut Stride; F],
) {
    for at in 0..STRIDE {
        for m in 0..E {
            averages[m] = f::ema_step(averages[m], close[at], k[m]);
            ema_outs[m][at] = averages[m];
        }
        for m in 0..F {
            let (keep, take) = factors[m];
            sums[m] = f::fade_step(sums[m], series[m][at], keep, take);
            fade_outs[m][at] = sums[m];
        }
    }
}

/// One exponential average.
#[inline(always)]
pub(crate) fn ema(value: &mut f64, k: f64, series: &[f64], out: &mut [f64]) {
    let mut average = *value;
    for (out, x) in out.iter_mut().zip(series) {
        average = f::ema_step(average, *x, k);
        *out = average;
    }
    *value = average;
}

/// In place of an index that doesn't count; those that do aren't negative.
pub(crate) const UNCOUNTED: f64 = -1.0;

/// A step of a fading average that keeps its value where the input is [`UNCOUNTED`].
#[inline(always)]
pub(crate) fn held_step(value: f64, x: f64, keep: f64, take: f64) -> f64 {
    let next = f::fade_step(value, x, keep, take);
    if x < 0.0 { value } else { next }
}

/// One fading average of [`held_step`]s.
#[inline(always)]
pub(crate) fn held(value: &mut f64, keep: f64, take: f64, series: &[f64], out: &mut [f64]) {
    let mut average = *value;
    for (out, x) in out.iter_mut().zip(series) {
        average = held_step(average, *x, keep, take);
        *out = average;
    }
    *value = average;
}

/// Value, factors, series and numbers of one recursion.
type Single<'a, K> = (&'a mut f64, K, &'a [f64], &'a mut [f64]);

/// [`ema`] and [`held`] of two series, interleaved.
#[inline(always)]
pub(crate) fn ema_and_held(
    (ema, k, of_ema, ema_out): Single<'_, f64>,
    (held, (keep, take), of_held, held_out): Single<'_, (f64, f64)>,
) {
    let (mut first, mut second) = (*ema, *held);
    let outs = ema_out.iter_mut().zip(held_out);
    for ((ema_out, held_out), (x, y)) in outs.zip(of_ema.iter().zip(of_held)) {
        first = f::ema_step(first, *x, k);
        second = held_step(second, *y, keep, take);
        (*ema_out, *held_out) = (first, second);
    }
    (*ema, *held) = (first, second);
}

/// ADX's index from the faded sums, and the two indicators.
#[inline(always)]
pub(crate) fn directional_index(
    [up, down, range]: [&[f64]; 3],
    plus: &mut [f64],
    minus: &mut [f64],
    index: &mut [f64],
) {
    map2(plus, up, range, f::directional_indicator);
    map2(minus, down, range, f::directional_indicator);
    map2(index, plus, minus, |plus, minus| {
        let (index, counts) = f::directional_index(plus, minus);
        if counts { index } else { UNCOUNTED }
    });
}
