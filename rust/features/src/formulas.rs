//! Every formula once, on plain numbers. Streaming and batch call these and nothing else, so that
//! both give the same bits.
//!
//! Conventions follow TA-Lib, dead zones included: where it compares with a small number instead
//! of zero, so do we.

/// TA-Lib's smallest distinguishable amount, absolute for sums, relative where scaled by prices.
pub const EPSILON: f64 = 1e-14;

#[inline(always)]
pub fn typical_price(high: f64, low: f64, close: f64) -> f64 {
    (high + low + close) / 3.0
}

/// A mean from its sum.
#[inline(always)]
pub fn mean(sum: f64, count: usize) -> f64 {
    sum * (1.0 / count as f64)
}

#[inline(always)]
pub fn true_range(high: f64, low: f64, previous_close: f64) -> f64 {
    greater(
        greater(high - low, (high - previous_close).abs()),
        (low - previous_close).abs(),
    )
}

/// Wilder's directional movement of a bar: `(up, down)`, at most one of them above zero.
#[inline(always)]
pub fn directional_movement(
    high: f64,
    previous_high: f64,
    low: f64,
    previous_low: f64,
) -> (f64, f64) {
    let up = high - previous_high;
    let down = previous_low - low;
    (
        select(up > down, greater(up, 0.0), 0.0),
        select(down > up, greater(down, 0.0), 0.0),
    )
}

/// One step of an exponential average. Written so, and not as `x·k + previous·(1 − k)`, it keeps
/// MACD's digits near zero.
#[inline(always)]
pub fn ema_step(previous: f64, x: f64, k: f64) -> f64 {
    previous + (x - previous) * k
}

/// The smoothing factor of an exponential average over `window` bars.
#[inline(always)]
pub fn ema_factor(window: usize) -> f64 {
    2.0 / (window as f64 + 1.0)
}

/// A sum or average that fades: Wilder's average where `1/window` of the input is taken, his sum
/// where all of it is.
#[inline(always)]
pub fn fade_step(previous: f64, taken: f64, keep: f64) -> f64 {
    previous * keep + taken
}

/// What is kept and taken in a [`fade_step`] that an input that doesn't count leaves as it was.
#[inline(always)]
pub fn held_weights(taken: f64, counts: bool, keep: f64) -> (f64, f64) {
    (select(counts, keep, 1.0), select(counts, taken, 0.0))
}

/// What Wilder keeps of yesterday over `window` bars.
#[inline(always)]
pub fn wilder_keep(window: usize) -> f64 {
    (window as f64 - 1.0) / window as f64
}

#[inline(always)]
pub fn gain(change: f64) -> f64 {
    greater(change, 0.0)
}

#[inline(always)]
pub fn loss(change: f64) -> f64 {
    greater(-change, 0.0)
}

/// Relative strength from average gain and loss; a market that doesn't move has 0.
#[inline(always)]
pub fn relative_strength(gain: f64, loss: f64) -> f64 {
    let both = gain + loss;
    select(both > 0.0, 100.0 * gain / both, 0.0)
}

/// What makes ±DI of a faded movement: percent of the faded true range.
#[inline(always)]
pub fn directional_scale(range: f64) -> f64 {
    select(range > 0.0, 100.0 / range, 0.0)
}

/// DX and whether it counts: where neither direction moves, ADX keeps its value.
#[inline(always)]
pub fn directional_index(plus: f64, minus: f64) -> (f64, bool) {
    let both = plus + minus;
    let counts = both > EPSILON;
    (
        select(counts, (plus - minus).abs() * 100.0 / both, 0.0),
        counts,
    )
}

/// What a bar adds to on-balance volume.
#[inline(always)]
pub fn signed_volume(change: f64, volume: f64) -> f64 {
    select(change > 0.0, volume, select(change < 0.0, -volume, 0.0))
}

/// Money flow of a bar as `(positive, negative)`.
#[inline(always)]
pub fn money_flow(typical: f64, previous_typical: f64, volume: f64) -> (f64, f64) {
    let change = typical - previous_typical;
    let dead = EPSILON * (typical + previous_typical);
    let flow = typical * volume;
    (
        select(change > dead, flow, 0.0),
        select(change < -dead, flow, 0.0),
    )
}

#[inline(always)]
pub fn money_flow_index(positive: f64, negative: f64) -> f64 {
    let both = positive + negative;
    select(both > 0.0, 100.0 * positive / both, 0.0)
}

/// Percent of the range from `low` to `high`; 0 where there is no range.
#[inline(always)]
pub fn range_scale(high: f64, low: f64) -> f64 {
    let range = high - low;
    select(range > EPSILON * (high + low), 100.0 / range, 0.0)
}

/// Where the close stands above the lowest, 0 to 100, with the window's [`range_scale`].
#[inline(always)]
pub fn fast_k(close: f64, low: f64, scale: f64) -> f64 {
    (close - low) * scale
}

/// Williams %R, −100 to 0, with the window's [`range_scale`].
#[inline(always)]
pub fn williams_r(close: f64, high: f64, scale: f64) -> f64 {
    (close - high) * scale
}

/// Commodity channel index: `deviation` is the mean absolute deviation of the typical price.
#[inline(always)]
pub fn commodity_channel(typical: f64, mean: f64, deviation: f64) -> f64 {
    let distance = typical - mean;
    let counts = deviation > EPSILON * mean && distance.abs() > EPSILON * (typical + mean);
    select(counts, distance / (0.015 * deviation), 0.0)
}

/// Rate of change in percent; of a base of zero it is 0.
#[inline(always)]
pub fn rate_of_change(close: f64, base: f64) -> f64 {
    select(base != 0.0, (close / base - 1.0) * 100.0, 0.0)
}

/// Volume-weighted price; without volume, the close.
#[inline(always)]
pub fn weighted_price(flow: f64, volume: f64, close: f64) -> f64 {
    select(volume > 0.0, flow / volume, close)
}

#[inline(always)]
pub fn middle(upper: f64, lower: f64) -> f64 {
    (upper + lower) * 0.5
}

/// A band `factor` widths away from the middle.
#[inline(always)]
pub fn band(middle: f64, width: f64, factor: f64) -> f64 {
    middle + factor * width
}

/// Mean and population deviation, from the sums of differences to a value `anchor` of the window
/// and of their squares: zero to the bit on a flat window, and no digits lost to a large offset.
#[inline(always)]
pub fn moments(anchor: f64, differences: f64, squares: f64, reciprocal: f64) -> (f64, f64) {
    let shift = differences * reciprocal;
    let variance = squares * reciprocal - shift * shift;
    // In this order a NaN stays one.
    (anchor + shift, greater(0.0, variance).sqrt())
}

#[inline(always)]
pub fn log_return(close: f64, previous_close: f64) -> f64 {
    ln(close / previous_close)
}

/// Natural logarithm, within one unit in the last place of the correctly rounded one.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    if (f64::MIN_POSITIVE..f64::INFINITY).contains(&x) {
        ln_normal(x)
    } else {
        x.ln()
    }
}

/// `ln` of a positive normal number without a branch, so that it runs in SIMD lanes: fdlibm's
/// reduction to `2^k · (1 + f)` with `√½ ≤ 1 + f < √2`, and its polynomial in `f/(2 + f)`.
#[inline(always)]
pub fn ln_normal(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;
    // 2^52: an integer below it, put into the mantissa, is a float by one subtraction.
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    let shifted = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    let k = f64::from_bits((shifted >> 52) | TWO_52) - (4_503_599_627_370_496.0 + 1023.0);
    let f = f64::from_bits((shifted & MANTISSA) + SQRT_HALF) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w
        * (3.999_999_999_940_942e-1
            + w * (2.222_219_843_214_978_4e-1 + w * 1.531_383_769_920_937_3e-1));
    let odd = z
        * (6.666_666_666_666_735e-1
            + w * (2.857_142_874_366_239e-1
                + w * (1.818_357_216_161_805e-1 + w * 1.479_819_860_511_658_6e-1)));
    let half_square = 0.5 * f * f;
    let low = s * (half_square + (even + odd)) + k * 1.908_214_929_270_587_7e-10;
    k * 6.931_471_803_691_238e-1 - ((half_square - low) - f)
}

/// The greater of two, without the NaN rules of `f64::max`: one instruction.
#[inline(always)]
pub fn greater(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

#[inline(always)]
pub fn lesser(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// Both values exist already: a blend, not a jump.
#[inline(always)]
fn select(condition: bool, yes: f64, no: f64) -> f64 {
    if condition { yes } else { no }
}
