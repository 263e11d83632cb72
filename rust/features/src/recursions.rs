//! Recursions side by side: each waits for its own last value only, so a dozen together take hardly
//! longer than one.

use crate::formulas as f;
use crate::indicators::Seed;
use crate::passes;

/// What a recursion takes in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Input {
    Close,
    Gain,
    Loss,
    TrueRange,
    Up,
    Down,
    SignedVolume,
    /// Numbers that are made of other recursions.
    Second,
}

/// How it goes on once its seed is grown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Ema {
        k: f64,
    },
    Fade {
        keep: f64,
        take: f64,
    },
    /// A fade that keeps its value where the input is [`passes::UNCOUNTED`].
    Held {
        keep: f64,
        take: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Recursion {
    pub(crate) input: Input,
    pub(crate) seed: Seed,
    pub(crate) rule: Rule,
}

/// A recursion at work: where it stands, and its numbers of the block.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) recursion: Recursion,
    value: f64,
    pub(crate) out: Vec<f64>,
}

impl Run {
    pub(crate) fn new(recursion: Recursion, block: usize) -> Self {
        Self {
            recursion,
            value: 0.0,
            out: vec![0.0; block],
        }
    }

    /// Takes it back to before the first bar.
    pub(crate) fn reset(&mut self) {
        self.value = 0.0;
    }

    /// Bars until the seed is grown.
    pub(crate) fn seeded(&self) -> usize {
        self.recursion.seed.last + 1
    }

    /// The bars of a block, from bar `first` of the series on, while the seed may still grow.
    #[inline(always)]
    fn grow(&mut self, first: usize, series: &[f64]) {
        let seed = self.recursion.seed;
        let mut value = self.value;
        match self.recursion.rule {
            Rule::Ema { k } => {
                for (n, (out, x)) in (first..).zip(self.out.iter_mut().zip(series)) {
                    value = seed.step::<true>(n, value, *x, |value, x| f::ema_step(value, x, k));
                    *out = value;
                }
            }
            Rule::Fade { keep, take } => {
                for (n, (out, x)) in (first..).zip(self.out.iter_mut().zip(series)) {
                    value = seed
                        .step::<true>(n, value, *x, |value, x| f::fade_step(value, x, keep, take));
                    *out = value;
                }
            }
            Rule::Held { keep, take } => {
                for (n, (out, x)) in (first..).zip(self.out.iter_mut().zip(series)) {
                    // In the seed it counts as nothing.
                    let x = if *x < 0.0 && n <= seed.last { 0.0 } else { *x };
                    value = seed.step::<true>(n, value, x, |value, x| {
                        passes::held_step(value, x, keep, take)
                    });
                    *out = value;
                }
            }
        }
        self.value = value;
    }
}

type Chain<'a> = (&'a [f64], &'a mut Run);

/// Runs recursions on a bar's own numbers over one block that begins with bar `first`. `series`
/// gives the input of the block.
#[inline(always)]
pub(crate) fn advance<'a>(
    runs: &'a mut [Run],
    first: usize,
    close: &'a [f64],
    series: impl Fn(Input) -> &'a [f64],
) {
    let growing = growing(runs, first, close.len());
    let (mut emas, mut fades) = (Vec::with_capacity(8), Vec::with_capacity(16));
    for run in runs {
        let input = series(run.recursion.input);
        if growing > 0 {
            run.grow(first, &input[..growing]);
        }
        match run.recursion.rule {
            Rule::Ema { .. } => emas.push((input, run)),
            Rule::Fade { .. } | Rule::Held { .. } => fades.push((input, run)),
        }
    }
    let (mut emas, mut fades) = (emas.into_iter(), fades.into_iter());
    loop {
        let range = growing..close.len();
        match (emas.len(), fades.len()) {
            (0, 0) => return,
            (4.., 8..) => group::<4, 8>(&mut emas, &mut fades, range, close),
            (4.., _) => group::<4, 0>(&mut emas, &mut fades, range, close),
            (2.., _) => group::<2, 0>(&mut emas, &mut fades, range, close),
            (1, _) => group::<1, 0>(&mut emas, &mut fades, range, close),
            (0, 8..) => group::<0, 8>(&mut emas, &mut fades, range, close),
            (0, 4..) => group::<0, 4>(&mut emas, &mut fades, range, close),
            (0, 3) => group::<0, 3>(&mut emas, &mut fades, range, close),
            (0, 2) => group::<0, 2>(&mut emas, &mut fades, range, close),
            (0, 1) => group::<0, 1>(&mut emas, &mut fades, range, close),
        }
    }
}

/// How many bars of the block some seed is still growing in.
#[inline(always)]
fn growing(runs: &[Run], first: usize, len: usize) -> usize {
    let seeded = runs.iter().map(Run::seeded).max().unwrap_or(0);
    seeded.saturating_sub(first).min(len)
}

#[inline(always)]
fn group<'a, const E: usize, const F: usize>(
    emas: &mut impl Iterator<Item = Chain<'a>>,
    fades: &mut impl Iterator<Item = Chain<'a>>,
    range: std::ops::Range<usize>,
    close: &[f64],
) {
    let emas: [Chain<'a>; E] = std::array::from_fn(|_| emas.next().expect("they were counted"));
    let fades: [Chain<'a>; F] = std::array::from_fn(|_| fades.next().expect("they were counted"));
    let (ema_runs, k) = unzip(emas.map(|(_, run)| {
        let Rule::Ema { k } = run.recursion.rule else {
            unreachable!("they were told apart")
        };
        (run, k)
    }));
    let (sources, fading) = unzip(fades);
    let (fade_runs, factors) = unzip(fading.map(|run| {
        let Rule::Fade { keep, take } = run.recursion.rule else {
            unreachable!("they were told apart")
        };
        (run, (keep, take))
    }));
    let (ema_values, ema_outs) = unzip(ema_runs.map(|run| (&mut run.value, &mut run.out)));
    let (fade_values, fade_outs) = unzip(fade_runs.map(|run| (&mut run.value, &mut run.out)));
    let mut averages = std::array::from_fn(|at| *ema_values[at]);
    let mut sums = std::array::from_fn(|at| *fade_values[at]);
    passes::recursions(
        (&mut averages, k, &close[range.clone()]),
        ema_outs.map(|out| &mut out[range.clone()]),
        (
            &mut sums,
            factors,
            sources.map(|source| &source[range.clone()]),
        ),
        fade_outs.map(|out| &mut out[range.clone()]),
    );
    for (kept, value) in ema_values.into_iter().zip(averages) {
        *kept = value;
    }
    for (kept, value) in fade_values.into_iter().zip(sums) {
        *kept = value;
    }
}

/// Runs one recursion on numbers made of others; see [`Input::Second`].
#[inline(always)]
pub(crate) fn advance_second(run: &mut Run, first: usize, series: &[f64]) {
    let growing = growing(std::slice::from_ref(run), first, series.len());
    if growing > 0 {
        run.grow(first, &series[..growing]);
    }
    let out = &mut run.out[growing..series.len()];
    let series = &series[growing..];
    match run.recursion.rule {
        Rule::Ema { k } => passes::ema(&mut run.value, k, series, out),
        Rule::Fade { keep, take } | Rule::Held { keep, take } => {
            passes::held(&mut run.value, keep, take, series, out);
        }
    }
}

/// As [`advance_second`] for an exponential and a fading average together.
#[inline(always)]
pub(crate) fn advance_second_pair(
    [ema, held]: [&mut Run; 2],
    first: usize,
    [of_ema, of_held]: [&[f64]; 2],
) {
    let len = of_ema.len();
    let growing = growing(std::slice::from_ref(ema), first, len).max(growing(
        std::slice::from_ref(held),
        first,
        len,
    ));
    if growing > 0 {
        ema.grow(first, &of_ema[..growing]);
        held.grow(first, &of_held[..growing]);
    }
    let (Rule::Ema { k }, Rule::Held { keep, take }) = (ema.recursion.rule, held.recursion.rule)
    else {
        unreachable!("the caller pairs one of each")
    };
    passes::ema_and_held(
        (
            &mut ema.value,
            k,
            &of_ema[growing..],
            &mut ema.out[growing..len],
        ),
        (
            &mut held.value,
            (keep, take),
            &of_held[growing..],
            &mut held.out[growing..len],
        ),
    );
}

#[inline(always)]
fn unzip<A, B, const M: usize>(pairs: [(A, B); M]) -> ([A; M], [B; M]) {
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
