//! The loops of the batch path: each one plain operation over slices, which the compiler turns into
//! SIMD. Everything is inlined into the caller, so that it is compiled for the caller's CPU.

use crate::formulas as f;
use crate::window::Window;
use crate::windowed::{ANCHORED, window_channel, window_moments};

#[inline(always)]
pub(crate) fn map1(out: &mut [f64], a: &[f64], op: impl Fn(f64) -> f64) {
    for (out, a) in out.iter_mut().zip(a) {
        *out = op(*a);
    }
}

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

#[inline(always)]
pub(crate) fn map4(
    out: &mut [f64],
    [a, b, c, d]: [&[f64]; 4],
    op: impl Fn(f64, f64, f64, f64) -> f64,
) {
    for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *out = op(*a, *b, *c, *d);
    }
}

/// Positive and negative flow of money.
#[inline(always)]
pub(crate) fn money_flow(
    [now, then, volume]: [&[f64]; 3],
    positive: &mut [f64],
    negative: &mut [f64],
) {
    let outs = positive.iter_mut().zip(negative);
    for ((((positive, negative), now), then), volume) in outs.zip(now).zip(then).zip(volume) {
        (*positive, *negative) = f::money_flow(*now, *then, *volume);
    }
}

/// In place of an index that doesn't count; those that do aren't negative.
pub(crate) const UNCOUNTED: f64 = -1.0;

/// ADX's index from the faded sums, and the two indicators.
#[inline(always)]
pub(crate) fn directional_index(
    [up, down, range]: [&[f64]; 3],
    plus: &mut [f64],
    minus: &mut [f64],
    index: &mut [f64],
) {
    let outs = plus.iter_mut().zip(minus).zip(index);
    for ((((plus, minus), index), (up, down)), range) in outs.zip(up.iter().zip(down)).zip(range) {
        let scale = f::directional_scale(*range);
        (*plus, *minus) = (up * scale, down * scale);
        let (found, counts) = f::directional_index(*plus, *minus);
        *index = if counts { found } else { UNCOUNTED };
    }
}

/// Mean and deviation over the window up to each bar, from bar `first` of the series on; `series`
/// begins a window before it.
#[inline(always)]
pub(crate) fn moments<W: Window>(
    window: W,
    first: usize,
    series: &[f64],
    mean: &mut [f64],
    deviation: &mut [f64],
) {
    let outs = mean.iter_mut().zip(deviation).zip(first..);
    for (((mean, deviation), n), values) in outs.zip(series[1..].windows(window.len())) {
        let (newest, others) = (values[window.len() - 1], &values[..window.len() - 1]);
        (*mean, *deviation) = window_moments(newest, others, n, window);
    }
}

/// Values that windows take in at a time.
const LANES: usize = 4;
/// The lanes that the windows of one anchor's bars end with, and one before them.
const ENDS: usize = 1 + ANCHORED / LANES;
type Lanes = [[f64; LANES]; ENDS];
/// Differences to an anchor and their squares, added up in lanes.
pub(crate) type Around = [Lanes; 2];

/// As [`moments`], for whole anchors and a window of whole lanes that the compiler knows: what the
/// windows around one anchor share is added up once.
#[inline(always)]
pub(crate) fn shared_moments<W: Window>(
    window: W,
    series: &[f64],
    around: &mut [Around],
    anchors: &mut [f64],
    mean: &mut [f64],
    deviation: &mut [f64],
) {
    let before = window.len();
    let around = &mut around[..mean.len() / ANCHORED];
    let anchored = anchors.as_chunks_mut::<ANCHORED>().0.iter_mut();
    for (at, (around, anchors)) in around.iter_mut().zip(anchored).enumerate() {
        let values = &series[at * ANCHORED..][..before + ANCHORED];
        let anchor = values[before];
        let [differences, squares] = around;
        for (end, (differences, squares)) in differences.iter_mut().zip(squares).enumerate() {
            let mut sums = [[-0.0; LANES]; 2];
            for block in end..end + before / LANES {
                for lane in 0..LANES {
                    let difference = values[block * LANES + lane] - anchor;
                    sums[0][lane] += difference;
                    sums[1][lane] += difference * difference;
                }
            }
            [*differences, *squares] = sums;
        }
        anchors.fill(anchor);
    }
    let outs = mean
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(deviation.as_chunks_mut().0);
    for ((differences, squares), [of_differences, of_squares]) in outs.zip(around) {
        over_lanes(of_differences, differences);
        over_lanes(of_squares, squares);
    }
    let reciprocal = 1.0 / before as f64;
    for ((mean, deviation), anchor) in mean.iter_mut().zip(deviation).zip(anchors) {
        (*mean, *deviation) = f::moments(*anchor, *mean, *deviation, reciprocal);
    }
}

/// The sums over windows from their four lanes, in the order of [`crate::window::lanes`].
#[inline(always)]
fn over_lanes(lanes: &Lanes, out: &mut [f64; ANCHORED]) {
    let lane = lanes.as_flattened();
    // Written at once: nothing that is read can lie where something was written already.
    let mut sums = [0.0; ANCHORED];
    for at in 0..ANCHORED {
        sums[at] = (lane[at + 1] + lane[at + 2]) + (lane[at + 3] + lane[at + 4]);
    }
    *out = sums;
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
