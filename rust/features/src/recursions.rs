//! Recursions side by side: each waits for its own last value only, so a dozen together take hardly
//! longer than one.
//!
//! A row holds what its recursion takes in, and then, in the same place, its numbers. Rows lie one
//! behind the other, so that the compiler knows how far, and one address is enough for all.

use std::ops::Range;

use crate::blocks::Row;
use crate::formulas as f;
use crate::indicators::Seed;
use crate::passes::UNCOUNTED;

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

/// A recursion at work: how it goes on, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) recursion: Recursion,
    value: f64,
}

impl Run {
    pub(crate) fn new(recursion: Recursion) -> Self {
        Self {
            recursion,
            value: 0.0,
        }
    }

    /// Takes it back to before the first bar.
    pub(crate) fn reset(&mut self) {
        self.value = 0.0;
    }

    /// How many bars of the block that begins with bar `first` its seed is still growing in.
    #[inline(always)]
    pub(crate) fn growing(&self, first: usize, len: usize) -> usize {
        (self.recursion.seed.last + 1)
            .saturating_sub(first)
            .min(len)
    }

    /// The bars of a block, from bar `first` of the series on, while the seed may still grow.
    pub(crate) fn grow(&mut self, first: usize, row: &mut [f64]) {
        let seed = self.recursion.seed;
        for (n, x) in (first..).zip(row) {
            let counts = *x != UNCOUNTED;
            let value = match self.recursion.rule {
                Rule::Ema { k } => {
                    seed.step::<true>(n, self.value, *x, |value, x| f::ema_step(value, x, k))
                }
                Rule::Fade { keep, take } => seed.step::<true>(n, self.value, *x, |value, x| {
                    f::fade_step(value, x * take, keep)
                }),
                Rule::Held { keep, take } => {
                    // In the seed it counts as nothing.
                    let x = if counts { *x } else { 0.0 };
                    seed.step::<true>(n, self.value, x, |value, x| {
                        f::held_step(value, x * take, counts, keep)
                    })
                }
            };
            self.value = value;
            *x = value;
        }
    }
}

/// Recursions with their rows, exponential averages first.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    rows: Vec<Row>,
    averages: usize,
}

impl Runs {
    /// Of all that are asked for, each once.
    pub(crate) fn new(wanted: impl Iterator<Item = Recursion>) -> Self {
        let (mut averages, mut fades) = (Vec::new(), Vec::new());
        for recursion in wanted {
            let kind = match recursion.rule {
                Rule::Ema { .. } => &mut averages,
                Rule::Fade { .. } | Rule::Held { .. } => &mut fades,
            };
            if !kind.contains(&recursion) {
                kind.push(recursion);
            }
        }
        Self {
            averages: averages.len(),
            rows: vec![Row::default(); averages.len() + fades.len()],
            runs: averages.into_iter().chain(fades).map(Run::new).collect(),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.runs.iter_mut().for_each(Run::reset);
    }

    /// Where a recursion's row is.
    pub(crate) fn place(&self, recursion: &Recursion) -> usize {
        let place = self.runs.iter().position(|run| run.recursion == *recursion);
        place.expect("all that are asked for are here")
    }

    pub(crate) fn numbers(&self, place: usize) -> &[f64] {
        &self.rows[place].numbers
    }

    /// Runs all over a block that begins with bar `first` and has these closes. `fill((input, take),
    /// bars, out)` gives so much of the input of some of its bars. `beside` runs in the same time,
    /// if it can.
    #[inline(always)]
    pub(crate) fn advance(
        &mut self,
        first: usize,
        close: &[f64],
        fill: impl Fn((Input, f64), Range<usize>, &mut [f64]),
        mut beside: Option<Pair<'_>>,
    ) {
        let len = close.len();
        let growing = self.runs.iter().map(|run| run.growing(first, len)).max();
        let growing = growing.unwrap_or(0);
        for (run, row) in self.runs.iter_mut().zip(&mut self.rows) {
            let Recursion { input, rule, .. } = run.recursion;
            if growing > 0 {
                fill((input, 1.0), 0..growing, &mut row.numbers[..growing]);
                run.grow(first, &mut row.numbers[..growing]);
            }
            // Averages are all of the close, which they take from where it is.
            if let Rule::Fade { take, .. } = rule {
                fill((input, take), growing..len, &mut row.numbers[growing..len]);
            }
        }
        let (mut averages, mut fades) = self.runs.split_at_mut(self.averages);
        let (mut average_rows, mut fade_rows) = self.rows.split_at_mut(self.averages);
        let range = growing..len;
        while averages.len() + fades.len() > 0 {
            let (averages, fades) = (
                (&mut averages, &mut average_rows),
                (&mut fades, &mut fade_rows),
            );
            match (averages.0.len(), fades.0.len()) {
                (4.., 8..) => match beside.take_if(|pair| pair.left == range) {
                    Some(mut pair) => {
                        group::<4, 8>(averages, fades, &range, close, |at| pair.step(at));
                        pair.finish();
                    }
                    None => group::<4, 8>(averages, fades, &range, close, |_| ()),
                },
                (4.., _) => group::<4, 0>(averages, fades, &range, close, |_| ()),
                (2.., _) => group::<2, 0>(averages, fades, &range, close, |_| ()),
                (1, _) => group::<1, 0>(averages, fades, &range, close, |_| ()),
                (0, 8..) => group::<0, 8>(averages, fades, &range, close, |_| ()),
                (0, 4..) => group::<0, 4>(averages, fades, &range, close, |_| ()),
                (0, 2..) => group::<0, 2>(averages, fades, &range, close, |_| ()),
                (0, _) => group::<0, 1>(averages, fades, &range, close, |_| ()),
            }
        }
        if let Some(pair) = beside {
            pair.run();
        }
    }
}

/// What is left of some runs and their rows.
type Left<'l, 'r> = (&'l mut &'r mut [Run], &'l mut &'r mut [Row]);

/// Takes so many of each from what is left and runs them over `range`, and `beside` with each bar.
#[inline(always)]
fn group<const E: usize, const F: usize>(
    averages: Left<'_, '_>,
    fades: Left<'_, '_>,
    range: &Range<usize>,
    close: &[f64],
    mut beside: impl FnMut(usize),
) {
    let (averages, average_rows) = taken::<E>(averages);
    let (fades, fade_rows) = taken::<F>(fades);
    let k = averages.each_ref().map(|run| match run.recursion.rule {
        Rule::Ema { k } => k,
        Rule::Fade { .. } | Rule::Held { .. } => unreachable!("averages stand apart"),
    });
    let keep = fades.each_ref().map(|run| match run.recursion.rule {
        Rule::Fade { keep, .. } => keep,
        Rule::Ema { .. } | Rule::Held { .. } => unreachable!("they stand apart"),
    });
    let mut average = averages.each_ref().map(|run| run.value);
    let mut sum = fades.each_ref().map(|run| run.value);
    for (at, close) in range.clone().zip(&close[range.clone()]) {
        for m in 0..E {
            average[m] = f::ema_step(average[m], *close, k[m]);
            average_rows[m].numbers[at] = average[m];
        }
        for m in 0..F {
            let number = &mut fade_rows[m].numbers[at];
            sum[m] = f::fade_step(sum[m], *number, keep[m]);
            *number = sum[m];
        }
        beside(at);
    }
    averages
        .iter_mut()
        .zip(average)
        .for_each(|(run, value)| run.value = value);
    fades
        .iter_mut()
        .zip(sum)
        .for_each(|(run, value)| run.value = value);
}

#[inline(always)]
fn taken<'r, const M: usize>((runs, rows): Left<'_, 'r>) -> (&'r mut [Run; M], &'r mut [Row; M]) {
    let (these, others) = std::mem::take(runs)
        .split_first_chunk_mut()
        .expect("they were counted");
    let (their_rows, other_rows) = std::mem::take(rows)
        .split_first_chunk_mut()
        .expect("each run has one");
    (*runs, *rows) = (others, other_rows);
    (these, their_rows)
}

/// Two recursions on numbers that are made of others, an exponential average and a held one, with
/// their rows of one block.
pub(crate) struct Pair<'a> {
    average: Single<'a>,
    held: Single<'a>,
    k: f64,
    keep: f64,
    take: f64,
    values: (f64, f64),
    /// What is left of the block when the seeds are grown.
    left: Range<usize>,
}

/// A recursion and its row.
pub(crate) type Single<'a> = (&'a mut Run, &'a mut Row);

impl<'a> Pair<'a> {
    /// For the first `len` bars of a block that begins with bar `first`.
    pub(crate) fn new(first: usize, len: usize, average: Single<'a>, held: Single<'a>) -> Self {
        let seeds = average.0.growing(first, len);
        let growing = seeds.max(held.0.growing(first, len));
        let (Rule::Ema { k }, Rule::Held { keep, take }) =
            (average.0.recursion.rule, held.0.recursion.rule)
        else {
            unreachable!("the caller pairs one of each")
        };
        average.0.grow(first, &mut average.1.numbers[..growing]);
        held.0.grow(first, &mut held.1.numbers[..growing]);
        Self {
            values: (average.0.value, held.0.value),
            left: growing..len,
            average,
            held,
            k,
            keep,
            take,
        }
    }

    #[inline(always)]
    fn step(&mut self, at: usize) {
        let (average, held) = (
            &mut self.average.1.numbers[at],
            &mut self.held.1.numbers[at],
        );
        let (x, index) = (*average, *held);
        self.values = (
            f::ema_step(self.values.0, x, self.k),
            f::held_step(
                self.values.1,
                index * self.take,
                index != UNCOUNTED,
                self.keep,
            ),
        );
        (*average, *held) = self.values;
    }

    /// Keeps where both stand.
    #[inline(always)]
    fn finish(self) {
        (self.average.0.value, self.held.0.value) = self.values;
    }

    /// Runs both over what is left.
    #[inline(always)]
    pub(crate) fn run(mut self) {
        for at in self.left.clone() {
            self.step(at);
        }
        self.finish();
    }
}

/// As [`Pair::run`] for one alone.
#[inline(always)]
pub(crate) fn advance_one(first: usize, len: usize, (run, row): Single<'_>) {
    let growing = run.growing(first, len);
    run.grow(first, &mut row.numbers[..growing]);
    let mut value = run.value;
    for x in &mut row.numbers[growing..len] {
        value = match run.recursion.rule {
            Rule::Ema { k } => f::ema_step(value, *x, k),
            Rule::Fade { keep, take } => f::fade_step(value, *x * take, keep),
            Rule::Held { keep, take } => f::held_step(value, *x * take, *x != UNCOUNTED, keep),
        };
        *x = value;
    }
    run.value = value;
}
