//! The batch path: a series in blocks that stay in the cache, many small passes over each.
//!
//! Each block reads its look-back from the inputs themselves; in front of the first one stand
//! copies of the first bar, behind the last one copies of the last, which nothing valid looks at.
//! Sums, folds and seeds are made in streaming's own order, so both paths give the same bits.

mod finish;
mod room;
mod series;

use crate::batch::{BatchError, Columns};
use crate::formulas as f;
use crate::levels::Levels;
use crate::node::{Kind, Part};
use crate::passes::{self, map2};
use crate::recursions::{Pair, Place, Rule, Runs, Single};
use crate::store::{Out, Store, prefetch};
use crate::stream::{Plan, Reading};
use crate::window::{Highest, Lowest};
use crate::windowed::ANCHORED;
use finish::Sources;
pub(crate) use room::Inputs;
use room::{Needs, Room, Stretch};
pub(crate) use series::{Row, Series};

/// Bars a block, a multiple of sixteen: what a few passes read and write of it stays in the first-level
/// cache, and the 390 minutes of a session are one.
pub(crate) const BLOCK: usize = 400;

/// A plan with room to work in, for one series after another.
pub(crate) struct Blocks<'p> {
    plan: &'p Plan,
    indicators: Vec<Indicator>,
    /// In which they are written, those with a recursion on others' numbers apart.
    order: Vec<usize>,
    runs: Runs,
    /// Bars before a block that its windows look back on, a multiple of eight as all of a block is.
    history: usize,
    extremes: Vec<Extreme>,
    needs: Needs,
    room: Room,
    /// Numbers on their way to a row.
    made: Row,
    /// High, low, close and volume of a block that needs bars before the first or after the last.
    edge: [Series; 4],
    store: Store,
}

/// One indicator of the plan.
struct Indicator {
    kind: Kind,
    /// The places of its recursions; two indicators may share one.
    runs: Vec<Place>,
    second: Option<Second>,
}

/// A recursion on numbers made of other recursions.
struct Second {
    own: Single,
    /// What comes off on the way to them.
    beside: [Row; 2],
}

impl Second {
    /// Writes those of its indicator's numbers that come off on the way.
    #[inline(always)]
    fn write_beside(&self, mut page: Page<'_, '_>) {
        let [one, two] = self.beside.each_ref().map(|row| &row.numbers[..]);
        match self.own.run.recursion.rule {
            Rule::Ema { .. } => page.part(Part::First, one),
            Rule::Fade { .. } | Rule::Held { .. } => {
                page.part(Part::Second, one);
                page.part(Part::Third, two);
            }
        }
    }

    /// Writes the others, once its own recursion has run.
    #[inline(always)]
    fn write(&self, mut page: Page<'_, '_>) {
        let (line, own) = (&self.beside[0].numbers[..], &self.own.row.numbers[..]);
        match self.own.run.recursion.rule {
            Rule::Ema { .. } => {
                page.part(Part::Second, own);
                page.made(Part::Third, [line, own], |[line, signal]| line - signal);
            }
            Rule::Fade { .. } | Rule::Held { .. } => page.part(Part::First, own),
        }
    }
}

/// Highest and lowest over one window, for whoever reads them.
struct Extreme {
    window: usize,
    /// Bars before the block for which they are wanted too.
    before: usize,
    high: Series,
    low: Series,
    /// What makes percent of a distance between them, for those who want it.
    scale: Option<Series>,
}

impl Extreme {
    fn scale(&self) -> &[f64] {
        self.scale.as_ref().expect("whoever wants it was planned")
    }
}

impl<'p> Blocks<'p> {
    /// For results that suit `store`.
    pub(crate) fn new(plan: &'p Plan, store: Store) -> Self {
        let kinds = || plan.kinds.iter();
        // One bar more, which the first of the history is compared with, and eight in front of
        // what is looked back on, where blocks of four and more begin.
        let looked_back = kinds().map(|kind| kind.look_back()).max().unwrap_or(0);
        let history = (1 + looked_back).next_multiple_of(8) + 8;
        let len = history + BLOCK;
        let mut needs = Needs::default();
        kinds().for_each(|kind| needs.add(*kind));
        let mut extremes: Vec<Extreme> = Vec::new();
        for kind in kinds() {
            let Some((window, before)) = kind.extremes() else {
                continue;
            };
            let known = extremes.iter().position(|known| known.window == window);
            let known = known.unwrap_or_else(|| {
                extremes.push(Extreme {
                    window,
                    before: 0,
                    high: Series::new(len),
                    low: Series::new(len),
                    scale: None,
                });
                extremes.len() - 1
            });
            let extreme = &mut extremes[known];
            extreme.before = extreme.before.max(before.next_multiple_of(8));
            if !matches!(kind, Kind::Donchian(_)) {
                extreme.scale.get_or_insert_with(|| Series::new(len));
            }
        }
        let runs = Runs::new(kinds().flat_map(|kind| kind.recursions()));
        let indicators = kinds().map(|kind| Indicator {
            kind: *kind,
            runs: kind
                .recursions()
                .iter()
                .map(|one| runs.place(one))
                .collect(),
            second: kind.second_recursion().map(|recursion| Second {
                own: Single::new(recursion),
                beside: [Row::default(), Row::default()],
            }),
        });
        let depth = kinds().map(|kind| kind.folded().into_iter().map(Levels::depth).max());
        let depth = depth.flatten().max().unwrap_or(0);
        Self {
            plan,
            order: order(&plan.kinds),
            indicators: indicators.collect(),
            runs,
            history,
            extremes,
            needs,
            room: Room::new(depth, len),
            made: Row::default(),
            edge: std::array::from_fn(|_| Series::new(len)),
            store,
        }
    }

    /// Computes the whole series, up to the first block with a number that isn't finite.
    #[inline(always)]
    pub(crate) fn run(&mut self, columns: &Columns<'_>, out: &mut [f64]) -> Result<(), BatchError> {
        let bars = columns.len();
        if bars == 0 {
            return Ok(());
        }
        // A series before this one left its state.
        self.runs.reset();
        for indicator in &mut self.indicators {
            indicator.second.iter_mut().for_each(|s| s.own.reset());
        }
        let mut rows: Vec<Out<'_>> = out.chunks_exact_mut(bars).map(Out::new).collect();
        let sources = [columns.high, columns.low, columns.close, columns.volume];
        let mut waiting = None;
        for first in (0..bars).step_by(BLOCK) {
            let len = BLOCK.min(bars - first);
            let next = first + len..bars.min(first + len + BLOCK);
            sources
                .iter()
                .for_each(|source| prefetch(&source[next.clone()]));
            columns.check_finite(first..first + len)?;
            // Whole anchors, so that no pass has a remainder.
            let end = first + len.next_multiple_of(ANCHORED);
            let mut edge = None;
            let inputs = match first.checked_sub(self.history) {
                Some(from) if end <= bars => sources.map(|source| &source[from..end]),
                _ => {
                    let edge = edge.insert(std::mem::take(&mut self.edge));
                    let before = self.history.min(first);
                    for (column, source) in edge.iter_mut().zip(sources) {
                        let known = self.history - before..self.history + len;
                        column[..known.start].fill(source[0]);
                        column[known.clone()].copy_from_slice(&source[first - before..first + len]);
                        column[known.end..].fill(source[bars - 1]);
                    }
                    edge.each_ref()
                        .map(|column| &column[..self.history + end - first])
                }
            };
            let stretch = Stretch::new(inputs, self.history, first);
            self.block(&stretch, waiting);
            if let Some(before) = waiting {
                self.write_second(before, BLOCK, &mut rows);
            }
            self.write(&stretch, len, &mut rows);
            self.second_inputs(first, len, &mut rows);
            waiting = Some(first);
            if let Some(edge) = edge {
                self.edge = edge;
            }
        }
        if let Some(last) = waiting {
            let len = bars - last;
            if let Some(pair) = pair(&mut self.indicators, last, len) {
                pair.run();
            }
            self.write_second(last, len, &mut rows);
        }
        rows.iter_mut().for_each(Out::finish);
        self.store.finish();
        Ok(())
    }

    /// What the indicators of a block are made from. Recursions on others' numbers of the block
    /// before it, which begins with bar `waiting`, run beside the block's own.
    #[inline(always)]
    fn block(&mut self, stretch: &Stretch<'_>, waiting: Option<usize>) {
        self.room.derive(stretch, self.needs);
        self.extremes(stretch);
        let close = &stretch.close[stretch.start..];
        let room = &self.room;
        // Not in a closure, see `Inputs`.
        let pair = match waiting {
            Some(before) => pair(&mut self.indicators, before, BLOCK),
            None => None,
        };
        self.runs
            .advance(stretch.first, close, &Inputs { room, stretch }, pair);
    }

    /// Highest and lowest over every window that is asked for.
    #[inline(always)]
    fn extremes(&mut self, stretch: &Stretch<'_>) {
        let depths = self
            .extremes
            .iter()
            .map(|extreme| Levels::depth(extreme.window));
        let Some(depth) = depths.max() else {
            return;
        };
        let (start, total) = (stretch.start, stretch.total());
        self.room.levels.build::<Highest>(stretch.high, depth);
        for extreme in &mut self.extremes {
            let out = &mut extreme.high[start - extreme.before..total];
            self.room
                .levels
                .over::<Highest>(stretch.high, extreme.window, out);
        }
        self.room.levels.build::<Lowest>(stretch.low, depth);
        for extreme in &mut self.extremes {
            let range = start - extreme.before..total;
            let out = &mut extreme.low[range.clone()];
            self.room
                .levels
                .over::<Lowest>(stretch.low, extreme.window, out);
            let (high, low) = (&extreme.high[range.clone()], &extreme.low[range.clone()]);
            if let Some(scale) = &mut extreme.scale {
                map2(&mut scale[range], high, low, f::range_scale);
            }
        }
    }

    /// What MACD's signal and ADX are made of: lines and indices. Writes what comes off on the way.
    #[inline(always)]
    fn second_inputs(&mut self, first: usize, len: usize, rows: &mut [Out<'_>]) {
        for (indicator, readings) in self.indicators.iter_mut().zip(&self.plan.readings) {
            let Some(second) = &mut indicator.second else {
                continue;
            };
            let Second { own, beside } = second;
            let numbers = |at: usize| &self.runs.numbers(indicator.runs[at])[..len];
            let [one, two] = beside.each_mut().map(|row| &mut row.numbers[..len]);
            let row = &mut own.row;
            match own.run.recursion.rule {
                Rule::Ema { .. } => {
                    map2(one, numbers(0), numbers(1), |fast, slow| fast - slow);
                    row.numbers[..len].copy_from_slice(one);
                }
                Rule::Fade { .. } | Rule::Held { .. } => {
                    let sums = [numbers(0), numbers(1), numbers(2)];
                    passes::directional_index(sums, one, two, &mut row.numbers[..len]);
                }
            }
            second.write_beside(Page {
                first,
                len,
                store: self.store,
                readings,
                rows,
                room: &mut self.made.numbers,
            });
        }
    }

    /// Writes the numbers that are made of others' for the block that begins with bar `first`.
    #[inline(always)]
    fn write_second(&mut self, first: usize, len: usize, rows: &mut [Out<'_>]) {
        let readings = self.plan.readings.iter();
        for (indicator, readings) in self.indicators.iter().zip(readings) {
            if let Some(second) = &indicator.second {
                second.write(Page {
                    first,
                    len,
                    store: self.store,
                    readings,
                    rows,
                    room: &mut self.made.numbers,
                });
            }
        }
    }

    /// Writes the others for the `len` bars of the block that are the series' own.
    #[inline(always)]
    fn write(&mut self, stretch: &Stretch<'_>, len: usize, rows: &mut [Out<'_>]) {
        for at in &self.order {
            let (indicator, readings) = (&self.indicators[*at], &self.plan.readings[*at]);
            let sources = Sources {
                runs: &self.runs,
                extremes: &self.extremes,
                room: &mut self.room,
            };
            let page = Page {
                first: stretch.first,
                len,
                store: self.store,
                readings,
                rows,
                room: &mut self.made.numbers,
            };
            sources.write(indicator, stretch, page);
        }
    }
}

/// In which order indicators are written: the memory takes in the rows of those that are there
/// already while the windows of others are computed.
fn order(kinds: &[Kind]) -> Vec<usize> {
    let firsts = (0..kinds.len()).filter(|at| kinds[*at].second_recursion().is_none());
    let (windows, others): (Vec<_>, Vec<_>) = firsts.partition(|at| kinds[*at].is_folded());
    let mut others = others.chunks(2);
    let mut order = Vec::new();
    for window in windows {
        order.push(window);
        order.extend(others.next().into_iter().flatten());
    }
    order.extend(others.flatten());
    order
}

/// Where the numbers of one indicator are written for a block.
struct Page<'a, 'o> {
    first: usize,
    len: usize,
    store: Store,
    readings: &'a [Reading],
    rows: &'a mut [Out<'o>],
    room: &'a mut [f64],
}

impl Page<'_, '_> {
    /// Writes what is read from an indicator's three numbers.
    #[inline(always)]
    fn parts(&mut self, parts: [&[f64]; 3]) {
        for reading in self.readings {
            match reading.part {
                Part::First => self.copied(reading, parts[0]),
                Part::Second => self.copied(reading, parts[1]),
                Part::Third => self.copied(reading, parts[2]),
                Part::Band(factor) => {
                    self.row(reading, [parts[0], parts[1]], |[middle, width]| {
                        f::band(middle, width, factor)
                    });
                }
            }
        }
    }

    /// Writes one of its numbers, which are there.
    #[inline(always)]
    fn part(&mut self, part: Part, numbers: &[f64]) {
        for reading in self.readings {
            if reading.part == part {
                self.copied(reading, numbers);
            }
        }
    }

    /// Writes one of its numbers, which is made of some series only where it is read.
    #[inline(always)]
    fn made<const N: usize>(
        &mut self,
        part: Part,
        sources: [&[f64]; N],
        op: impl Fn([f64; N]) -> f64,
    ) {
        for reading in self.readings {
            if reading.part == part {
                self.row(reading, sources, &op);
            }
        }
    }

    #[inline(always)]
    fn copied(&mut self, reading: &Reading, numbers: &[f64]) {
        let cold = self.begin(reading);
        self.rows[reading.slot].write(self.store, &numbers[cold..self.len]);
    }

    #[inline(always)]
    fn row<const N: usize>(
        &mut self,
        reading: &Reading,
        sources: [&[f64]; N],
        op: impl Fn([f64; N]) -> f64,
    ) {
        let cold = self.begin(reading);
        let made = &mut self.room[..sources[0].len()];
        let sources = sources.map(|source| &source[..made.len()]);
        for (at, made) in made.iter_mut().enumerate() {
            *made = op(sources.map(|source| source[at]));
        }
        self.rows[reading.slot].write(self.store, &made[cold..self.len]);
    }

    /// Writes the bars of the block that have no number yet, and says how many they are.
    #[inline(always)]
    fn begin(&mut self, reading: &Reading) -> usize {
        let cold = reading.first_valid.saturating_sub(self.first).min(self.len);
        if cold > 0 {
            self.room[..cold].fill(f64::NAN);
            self.rows[reading.slot].write(self.store, &self.room[..cold]);
        }
        cold
    }
}

/// The recursions on numbers made of others, for the first `len` bars of a block that begins with
/// bar `first`: the first two of different kinds, all others being done.
#[inline(always)]
fn pair(indicators: &mut [Indicator], first: usize, len: usize) -> Option<Pair<'_>> {
    let seconds = indicators.iter_mut().flat_map(|one| &mut one.second);
    let (averages, held): (Vec<_>, Vec<_>) = seconds
        .map(|second| &mut second.own)
        .partition(|own| matches!(own.run.recursion.rule, Rule::Ema { .. }));
    let (mut averages, mut held) = (averages.into_iter(), held.into_iter());
    let pair = match (averages.next(), held.next()) {
        (Some(average), Some(held)) => Some(Pair::new(first, len, average, held)),
        (one, other) => {
            one.into_iter()
                .chain(other)
                .for_each(|one| one.advance(first, len));
            None
        }
    };
    averages.chain(held).for_each(|one| one.advance(first, len));
    pair
}
