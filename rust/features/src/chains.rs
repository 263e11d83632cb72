//! Recursions side by side: each waits for its own last value only, so several together take hardly
//! longer than one.

use crate::passes;

/// Factor, state and output of an exponential average of the close.
pub(crate) type EmaChain<'a> = (f64, &'a mut f64, &'a mut [f64]);
/// What is kept and taken, the series, state and output of a fading sum.
pub(crate) type FadeChain<'a> = (f64, f64, &'a [f64], &'a mut f64, &'a mut [f64]);

/// Runs exponential averages of one series, four at a time.
#[inline(always)]
pub(crate) fn emas(chains: Vec<EmaChain<'_>>, series: &[f64]) {
    let mut chains = chains.into_iter();
    loop {
        match chains.len() {
            0 => return,
            1 => ema_group::<1>(&mut chains, series),
            2 => ema_group::<2>(&mut chains, series),
            3 => ema_group::<3>(&mut chains, series),
            _ => ema_group::<4>(&mut chains, series),
        }
    }
}

/// Runs fading sums, eight at a time.
#[inline(always)]
pub(crate) fn fades(chains: Vec<FadeChain<'_>>) {
    let mut chains = chains.into_iter();
    loop {
        match chains.len() {
            0 => return,
            1 => fade_group::<1>(&mut chains),
            2 => fade_group::<2>(&mut chains),
            3 => fade_group::<3>(&mut chains),
            4..8 => fade_group::<4>(&mut chains),
            _ => fade_group::<8>(&mut chains),
        }
    }
}

#[inline(always)]
fn ema_group<'a, const M: usize>(chains: &mut impl Iterator<Item = EmaChain<'a>>, series: &[f64]) {
    let group: [_; M] = std::array::from_fn(|_| chains.next().expect("as many as were counted"));
    let mut values = std::array::from_fn(|m| *group[m].1);
    let k = std::array::from_fn(|m| group[m].0);
    let (states, outs) = split(group.map(|(_, state, out)| (state, out)));
    passes::emas(&mut values, k, series, outs);
    for (state, value) in states.into_iter().zip(values) {
        *state = value;
    }
}

#[inline(always)]
fn fade_group<'a, const M: usize>(chains: &mut impl Iterator<Item = FadeChain<'a>>) {
    let group: [_; M] = std::array::from_fn(|_| chains.next().expect("as many as were counted"));
    let mut values = std::array::from_fn(|m| *group[m].3);
    let keep = std::array::from_fn(|m| group[m].0);
    let take = std::array::from_fn(|m| group[m].1);
    let series = std::array::from_fn(|m| group[m].2);
    let (states, outs) = split(group.map(|(_, _, _, state, out)| (state, out)));
    passes::fades(&mut values, keep, take, series, outs);
    for (state, value) in states.into_iter().zip(values) {
        *state = value;
    }
}

fn split<A, B, const M: usize>(pairs: [(A, B); M]) -> ([A; M], [B; M]) {
    let mut seconds: [Option<B>; M] = std::array::from_fn(|_| None);
    let mut at = 0;
    let firsts = pairs.map(|(first, second)| {
        seconds[at] = Some(second);
        at += 1;
        first
    });
    (
        firsts,
        seconds.map(|second| second.expect("every pair had one")),
    )
}
