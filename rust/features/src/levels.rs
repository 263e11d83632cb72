//! Folds over windows for a whole block: sums, highest and lowest, each made anew from blocks of
//! 1, 4, 16, … values in the order of [`crate::window::Tree`].

use crate::blocks::Series;
use crate::passes::{map2, map4};
use crate::window::Fold;

/// Room for the blocks of 4, 16, … values of one series.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    blocks: Vec<Series>,
}

/// Of how many smaller blocks a larger one is made.
const RADIX: usize = 4;

impl Levels {
    /// Room for `depth` sizes of blocks over stretches of `len` bars.
    pub(crate) fn new(depth: usize, len: usize) -> Self {
        Self {
            blocks: (0..depth).map(|_| Series::new(len)).collect(),
        }
    }

    /// How many sizes of blocks a window is folded from, beside the values themselves.
    pub(crate) fn depth(window: usize) -> usize {
        match window {
            14 | 20 => 1,
            _ => window.ilog(RADIX) as usize,
        }
    }

    /// Makes the blocks of `series`, of so many sizes.
    #[inline(always)]
    pub(crate) fn build<F: Fold>(&mut self, series: &[f64], depth: usize) {
        let len = series.len();
        let mut size = 1_usize;
        for level in 0..depth {
            let (smaller, larger) = self.blocks.split_at_mut(level);
            let smaller = smaller.last().map_or(series, |blocks| &blocks[..len]);
            // No window looks back on the first bars; a multiple of eight keeps the stores aligned.
            let first = (3 * size).next_multiple_of(8);
            let parts = [0, 1, 2, 3].map(|part| &smaller[first - part * size..]);
            map4(&mut larger[0][first..len], parts, |a, b, c, d| {
                F::fold(F::fold(a, b), F::fold(c, d))
            });
            size *= RADIX;
        }
    }

    /// The fold over `window` values up to each of the last `out.len()` bars of `series`, the one
    /// that the blocks were built of.
    #[inline(always)]
    pub(crate) fn over<F: Fold>(&self, series: &[f64], window: usize, out: &mut [f64]) {
        match window {
            // The usual ones, at once; a window this short has no blocks.
            3 => short::<F, 3>(series, series, out),
            14 => short::<F, 14>(series, &self.blocks[0], out),
            20 => short::<F, 20>(series, &self.blocks[0], out),
            _ => self.any::<F>(series, window, out),
        }
    }

    /// Digit by digit of the window's length.
    #[inline(always)]
    fn any<F: Fold>(&self, series: &[f64], window: usize, out: &mut [f64]) {
        let (len, start) = (series.len(), series.len() - out.len());
        let (mut covered, mut size, mut level) = (0, 1, 0);
        while size <= window {
            let blocks = if level == 0 {
                series
            } else {
                &self.blocks[level - 1]
            };
            for (count, digit) in [(1, size), (2, 2 * size)] {
                if window & digit == 0 {
                    continue;
                }
                let newer = &blocks[start - covered..len - covered];
                let older = &blocks[start - covered - (count - 1) * size..];
                match (covered, count) {
                    (0, 1) => out.copy_from_slice(newer),
                    (0, _) => map2(out, newer, older, F::fold),
                    (_, 1) => out
                        .iter_mut()
                        .zip(newer)
                        .for_each(|(out, x)| *out = F::fold(*out, *x)),
                    _ => {
                        let pairs = newer.iter().zip(older);
                        out.iter_mut()
                            .zip(pairs)
                            .for_each(|(out, (x, y))| *out = F::fold(*out, F::fold(*x, *y)));
                    }
                }
                covered += digit;
            }
            size *= RADIX;
            level += 1;
        }
    }
}

/// A window whose length the compiler knows, below 32, from the series and its blocks of four.
#[inline(always)]
fn short<F: Fold, const W: usize>(series: &[f64], fours: &[f64], out: &mut [f64]) {
    let first = series.len() - out.len() + 1 - W;
    let windows = series[first..].windows(W).zip(fours[first..].windows(W));
    for (out, (values, fours)) in out.iter_mut().zip(windows) {
        *out = fold::<F, W>(values, fours);
    }
}

/// As [`crate::window::Tree::over`]: the newest block is the smallest.
#[inline(always)]
fn fold<F: Fold, const W: usize>(values: &[f64], fours: &[f64]) -> f64 {
    let block = |size: usize, end: usize| match size {
        1 => values[end],
        2 => F::fold(values[end], values[end - 1]),
        4 => fours[end],
        8 => F::fold(fours[end], fours[end - 4]),
        _ => F::fold(
            F::fold(fours[end], fours[end - 4]),
            F::fold(fours[end - 8], fours[end - 12]),
        ),
    };
    let mut total = F::IDENTITY;
    let mut covered = 0;
    for size in [1, 2, 4, 8, 16] {
        if W & size != 0 {
            let block = block(size, W - 1 - covered);
            total = if covered == 0 {
                block
            } else {
                F::fold(total, block)
            };
            covered += size;
        }
    }
    total
}
