//! Recursions side by side: each waits for its own last value only, so a dozen together take hardly
//! longer than one.
//!
//! A row holds what its recursion takes in, and then, in the same place, its numbers. Rows lie one
//! behind the other, so that the compiler knows how far, and one address is enough for all.

use std::ops::Range;

use crate::blocks::{Inputs, Row};
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
        // They go on by twos.
        let growing = (self.recursion.seed.last + 1).saturating_sub(first);
        growing.next_multiple_of(2).min(len)
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
                        let (keep, taken) = f::held_weights(x * take, counts, keep);
                        f::fade_step(value, taken, keep)
                    })
                }
            };
            self.value = value;
            *x = value;
        }
    }
}

/// The numbers of bar `at` and the next.
#[inline(always)]
fn two_of(row: &Row, at: usize) -> [f64; 2] {
    [row.numbers[at], row.numbers[at + 1]]
}

/// Writes both at once: a core stores one number or some side by side in the same time, and so many
/// recursions would wait for that.
#[inline(always)]
fn put_two(row: &mut Row, at: usize, numbers: [f64; 2]) {
    let out = &mut row.numbers[at..at + 2];
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `out` is two writable numbers; every x86-64 has the instructions.
    unsafe {
        use std::arch::x86_64::{_mm_set_pd, _mm_storeu_pd};
        _mm_storeu_pd(out.as_mut_ptr(), _mm_set_pd(numbers[1], numbers[0]));
    }
    #[cfg(not(target_arch = "x86_64"))]
    out.copy_from_slice(&numbers);
}

/// Exponential averages of the close that go on in one vector.
const AVERAGES: usize = 4;
/// Fading sums that go on beside them.
const FADES: usize = 8;

/// Recursions that run side by side, with their rows; a group that isn't full runs as if it were.
#[derive(Debug, Default)]
struct Group {
    averages: Vec<Run>,
    fades: Vec<Run>,
    average_rows: [Row; AVERAGES],
    fade_rows: [Row; FADES],
}

impl Group {
    fn runs(&mut self) -> impl Iterator<Item = (&mut Run, &mut Row)> {
        let averages = self.averages.iter_mut().zip(&mut self.average_rows);
        averages.chain(self.fades.iter_mut().zip(&mut self.fade_rows))
    }

    /// Runs all over some bars of the block with these closes, and `beside` with each bar.
    #[inline(always)]
    fn advance(&mut self, bars: Range<usize>, close: &[f64], mut beside: impl FnMut(usize)) {
        let (mut k, mut average) = ([0.0; AVERAGES], [0.0; AVERAGES]);
        for (at, run) in self.averages.iter().enumerate() {
            if let Rule::Ema { k: factor } = run.recursion.rule {
                (k[at], average[at]) = (factor, run.value);
            }
        }
        let (mut keep, mut sum) = ([0.0; FADES], [0.0; FADES]);
        for (at, run) in self.fades.iter().enumerate() {
            if let Rule::Fade { keep: factor, .. } = run.recursion.rule {
                (keep[at], sum[at]) = (factor, run.value);
            }
        }
        let Self {
            average_rows,
            fade_rows,
            ..
        } = self;
        for at in bars.step_by(2) {
            let [one, two] = [close[at], close[at + 1]];
            for m in 0..AVERAGES {
                let first = f::ema_step(average[m], one, k[m]);
                average[m] = f::ema_step(first, two, k[m]);
                put_two(&mut average_rows[m], at, [first, average[m]]);
            }
            for m in 0..FADES {
                let [one, two] = two_of(&fade_rows[m], at);
                let first = f::fade_step(sum[m], one, keep[m]);
                sum[m] = f::fade_step(first, two, keep[m]);
                put_two(&mut fade_rows[m], at, [first, sum[m]]);
            }
            beside(at);
        }
        let averages = self.averages.iter_mut().zip(average);
        for (run, value) in averages.chain(self.fades.iter_mut().zip(sum)) {
            run.value = value;
        }
    }
}

/// Recursions on a bar's own numbers.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    groups: Vec<Group>,
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
        let (mut averages, mut fades) = (averages.chunks(AVERAGES), fades.chunks(FADES));
        let runs = |some: Option<&[Recursion]>| -> Vec<Run> {
            some.into_iter().flatten().copied().map(Run::new).collect()
        };
        let groups = std::iter::from_fn(|| {
            let (averages, fades) = (runs(averages.next()), runs(fades.next()));
            (averages.len() + fades.len() > 0).then(|| Group {
                averages,
                fades,
                ..Group::default()
            })
        });
        Self {
            groups: groups.collect(),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.groups
            .iter_mut()
            .for_each(|group| group.runs().for_each(|(run, _)| run.reset()));
    }

    /// Where a recursion's numbers are.
    pub(crate) fn place(&self, recursion: &Recursion) -> Place {
        let groups = self.groups.iter().enumerate();
        let mut places = groups.filter_map(|(group, runs)| {
            let position = |runs: &[Run]| runs.iter().position(|run| run.recursion == *recursion);
            let place = |average| move |at| Place { group, average, at };
            let among = position(&runs.averages).map(place(true));
            among.or_else(|| position(&runs.fades).map(place(false)))
        });
        places.next().expect("all that are asked for are here")
    }

    pub(crate) fn numbers(&self, place: Place) -> &[f64] {
        let group = &self.groups[place.group];
        let rows: &[Row] = if place.average {
            &group.average_rows
        } else {
            &group.fade_rows
        };
        &rows[place.at].numbers
    }

    /// Runs all over a block that begins with bar `first` and has these closes and inputs.
    /// `beside` runs in the same time, if it can.
    #[inline(always)]
    pub(crate) fn advance(
        &mut self,
        first: usize,
        close: &[f64],
        inputs: &Inputs<'_>,
        mut beside: Option<Pair<'_>>,
    ) {
        let len = close.len();
        for group in &mut self.groups {
            let growing = group.runs().map(|(run, _)| run.growing(first, len)).max();
            let left = growing.unwrap_or(0)..len;
            for (run, row) in group.runs() {
                let Recursion { input, rule, .. } = run.recursion;
                if left.start > 0 {
                    inputs.fill((input, 1.0), 0..left.start, &mut row.numbers[..left.start]);
                    run.grow(first, &mut row.numbers[..left.start]);
                }
                // Averages are all of the close, which they take from where it is.
                if let Rule::Fade { take, .. } = rule {
                    inputs.fill((input, take), left.clone(), &mut row.numbers[left.clone()]);
                }
            }
            match beside.take_if(|pair| pair.left == left) {
                Some(mut pair) => {
                    let mut values = pair.values();
                    group.advance(left, close, |at| values = pair.step(at, values));
                    pair.keep(values);
                }
                None => group.advance(left, close, |_| ()),
            }
        }
        if let Some(pair) = beside {
            pair.run();
        }
    }
}

/// Where the numbers of a recursion are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    group: usize,
    average: bool,
    at: usize,
}

/// A recursion on numbers that are made of others, with its row.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) run: Run,
    pub(crate) row: Row,
    /// What a held one keeps of its value at each bar: all of it, where the input doesn't count.
    keep: Row,
}

impl Single {
    pub(crate) fn new(recursion: Recursion) -> Self {
        Self {
            run: Run::new(recursion),
            row: Row::default(),
            keep: Row::default(),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.run.reset();
    }

    /// Makes of a held one's input what it keeps and takes.
    #[inline(always)]
    fn weigh(&mut self, bars: Range<usize>) {
        let Rule::Held { keep, take } = self.run.recursion.rule else {
            return;
        };
        let inputs = self.row.numbers[bars.clone()].iter_mut();
        for (input, kept) in inputs.zip(&mut self.keep.numbers[bars]) {
            (*kept, *input) = f::held_weights(*input * take, *input != UNCOUNTED, keep);
        }
    }

    /// Runs over the first `len` bars of a block that begins with bar `first`.
    #[inline(always)]
    pub(crate) fn advance(&mut self, first: usize, len: usize) {
        let growing = self.run.growing(first, len);
        self.run.grow(first, &mut self.row.numbers[..growing]);
        self.weigh(growing..len);
        let Self { run, row, keep } = self;
        let rows = row.numbers[growing..len]
            .iter_mut()
            .zip(&keep.numbers[growing..len]);
        for (x, kept) in rows {
            run.value = match run.recursion.rule {
                Rule::Ema { k } => f::ema_step(run.value, *x, k),
                Rule::Fade { keep, take } => f::fade_step(run.value, *x * take, keep),
                Rule::Held { .. } => f::fade_step(run.value, *x, *kept),
            };
            *x = run.value;
        }
    }
}

/// An exponential average and a held one over one block.
pub(crate) struct Pair<'a> {
    average: &'a mut Single,
    held: &'a mut Single,
    k: f64,
    /// What is left of the block when the seeds are grown.
    left: Range<usize>,
}

impl<'a> Pair<'a> {
    /// For the first `len` bars of a block that begins with bar `first`.
    #[inline(always)]
    pub(crate) fn new(
        first: usize,
        len: usize,
        average: &'a mut Single,
        held: &'a mut Single,
    ) -> Self {
        let Rule::Ema { k } = average.run.recursion.rule else {
            unreachable!("the caller pairs one of each")
        };
        let seeds = average.run.growing(first, len);
        let growing = seeds.max(held.run.growing(first, len));
        average.run.grow(first, &mut average.row.numbers[..growing]);
        held.run.grow(first, &mut held.row.numbers[..growing]);
        held.weigh(growing..len);
        Self {
            left: growing..len,
            average,
            held,
            k,
        }
    }

    /// Where both stand after bar `at` of the block and the next.
    #[inline(always)]
    fn step(&mut self, at: usize, (average, held): (f64, f64)) -> (f64, f64) {
        let [one, two] = two_of(&self.average.row, at);
        let first = f::ema_step(average, one, self.k);
        let average = f::ema_step(first, two, self.k);
        put_two(&mut self.average.row, at, [first, average]);
        let [one, two] = two_of(&self.held.row, at);
        let [keep, keep_then] = two_of(&self.held.keep, at);
        let first = f::fade_step(held, one, keep);
        let held = f::fade_step(first, two, keep_then);
        put_two(&mut self.held.row, at, [first, held]);
        (average, held)
    }

    #[inline(always)]
    fn values(&self) -> (f64, f64) {
        (self.average.run.value, self.held.run.value)
    }

    #[inline(always)]
    fn keep(self, values: (f64, f64)) {
        (self.average.run.value, self.held.run.value) = values;
    }

    /// Runs both over what is left.
    #[inline(always)]
    pub(crate) fn run(mut self) {
        let mut values = self.values();
        for at in self.left.clone().step_by(2) {
            values = self.step(at, values);
        }
        self.keep(values);
    }
}
