//! The batch path: a series in blocks that stay in the cache, many small passes over each.
//!
//! Each block reads its look-back from the inputs themselves; in front of the first one stand
//! copies of the first bar, which nothing valid looks at. Sums, folds and seeds are made in
//! streaming's own order, so both paths give the same bits.

mod finish;
mod room;

use crate::batch::Columns;
use crate::node::Kind;
use crate::passes;
use crate::recursions::{self, Rule, Run};
use crate::store::Store;
use crate::stream::Plan;
use crate::window::{Highest, Lowest};
use room::{Needs, Room, Stretch};

/// Bars a block, or as many as the windows look back on: what is read and written of it stays in
/// the second-level cache.
const BLOCK: usize = 512;

/// A plan with room to work in, for one series after another.
pub(crate) struct Blocks<'p> {
    plan: &'p Plan,
    indicators: Vec<Indicator>,
    runs: Vec<Run>,
    /// Bars before a block that its windows look back on.
    history: usize,
    block: usize,
    extremes: Vec<Extreme>,
    needs: Needs,
    room: Room,
    /// High, low, close and volume of the first block with what stands in front of it.
    front: [Vec<f64>; 4],
    store: Store,
}

/// One indicator of the plan.
struct Indicator {
    kind: Kind,
    /// Its recursions among `Blocks::runs`; two indicators may share one.
    runs: Vec<usize>,
    second: Option<Second>,
}

/// A recursion on numbers made of other recursions, with those numbers.
struct Second {
    run: Run,
    input: Vec<f64>,
    /// What comes off on the way to them.
    beside: [Vec<f64>; 2],
}

/// Highest and lowest over one window, for whoever reads them.
struct Extreme {
    window: usize,
    /// Bars before the block for which they are wanted too.
    before: usize,
    high: Vec<f64>,
    low: Vec<f64>,
}

impl<'p> Blocks<'p> {
    /// For results that suit `store`.
    pub(crate) fn new(plan: &'p Plan, store: Store) -> Self {
        // One bar more, which the first of the history is compared with.
        let looked_back = plan.kinds.iter().map(|kind| kind.look_back()).max();
        let history = 1 + looked_back.unwrap_or(0);
        let block = BLOCK.max(history);
        let mut runs: Vec<Run> = Vec::new();
        let mut extremes: Vec<Extreme> = Vec::new();
        let mut needs = Needs::default();
        let mut indicators = Vec::with_capacity(plan.kinds.len());
        for kind in &plan.kinds {
            needs.add(*kind);
            if let Some((window, before)) = kind.extremes() {
                match extremes.iter_mut().find(|known| known.window == window) {
                    Some(known) => known.before = known.before.max(before),
                    None => extremes.push(Extreme {
                        window,
                        before,
                        high: vec![],
                        low: vec![],
                    }),
                }
            }
            let places = kind.recursions().into_iter().map(|recursion| {
                let known = runs.iter().position(|run| run.recursion == recursion);
                known.unwrap_or_else(|| {
                    runs.push(Run::new(recursion, block));
                    runs.len() - 1
                })
            });
            let places = places.collect();
            let second = kind.second_recursion().map(|recursion| Second {
                run: Run::new(recursion, block),
                input: vec![0.0; block],
                beside: [vec![0.0; block], vec![0.0; block]],
            });
            indicators.push(Indicator {
                kind: *kind,
                runs: places,
                second,
            });
        }
        for extreme in &mut extremes {
            extreme.high = vec![0.0; extreme.before + block];
            extreme.low = vec![0.0; extreme.before + block];
        }
        let longest = plan.kinds.iter().map(|kind| kind.longest_window()).max();
        Self {
            plan,
            indicators,
            runs,
            history,
            block,
            extremes,
            needs,
            room: Room::new(longest.unwrap_or(1), history + block, block),
            front: std::array::from_fn(|_| vec![0.0; history + block]),
            store,
        }
    }

    /// Computes the whole series.
    #[inline(always)]
    pub(crate) fn run(&mut self, columns: &Columns<'_>, out: &mut [f64]) {
        let bars = columns.len();
        if bars == 0 {
            return;
        }
        // A series before this one left its state.
        self.runs.iter_mut().for_each(Run::reset);
        for indicator in &mut self.indicators {
            indicator.second.iter_mut().for_each(|s| s.run.reset());
        }
        let mut rows: Vec<&mut [f64]> = out.chunks_exact_mut(bars).collect();
        // The first block stands behind copies of its first bar.
        let mut front = std::mem::take(&mut self.front);
        let sources = [columns.high, columns.low, columns.close, columns.volume];
        for (column, source) in front.iter_mut().zip(sources) {
            let len = self.block.min(bars);
            column[..self.history].fill(source[0]);
            column[self.history..self.history + len].copy_from_slice(&source[..len]);
        }
        let mut done = 0;
        while done < bars {
            let len = self.block.min(bars - done);
            let (from, inputs) = if done == 0 {
                (0, front.each_ref().map(Vec::as_slice))
            } else {
                (done - self.history, sources)
            };
            let [high, low, close, volume] = inputs.map(|x| &x[from..from + self.history + len]);
            let stretch = Stretch {
                high,
                low,
                close,
                volume,
                start: self.history,
            };
            self.block(&stretch, &mut rows, done);
            done += len;
        }
        self.front = front;
        self.store.finish();
    }

    /// A block that begins with bar `done`.
    #[inline(always)]
    fn block(&mut self, stretch: &Stretch<'_>, rows: &mut [&mut [f64]], done: usize) {
        let len = stretch.len() - stretch.start;
        self.room.derive(stretch, self.needs);
        if done == 0 {
            self.room.begin_volume(stretch);
        }
        self.extremes(stretch, len);
        let room = &self.room;
        let close = &stretch.close[stretch.start..];
        recursions::advance(&mut self.runs, done, close, |input| {
            room.series(input, stretch)
        });
        self.second_recursions(done, len);
        for at in 0..self.indicators.len() {
            self.finish(at, stretch, rows, done);
        }
    }

    /// Highest and lowest over every window that is asked for.
    #[inline(always)]
    fn extremes(&mut self, stretch: &Stretch<'_>, len: usize) {
        let Some(longest) = self.extremes.iter().map(|extreme| extreme.window).max() else {
            return;
        };
        let total = stretch.len();
        self.room.levels.build::<Highest>(stretch.high, longest);
        for extreme in &mut self.extremes {
            let out = &mut extreme.high[..extreme.before + len];
            self.room.levels.over::<Highest>(total, extreme.window, out);
        }
        self.room.levels.build::<Lowest>(stretch.low, longest);
        for extreme in &mut self.extremes {
            let out = &mut extreme.low[..extreme.before + len];
            self.room.levels.over::<Lowest>(total, extreme.window, out);
        }
    }

    /// MACD's signal on its lines, ADX on its indices.
    #[inline(always)]
    fn second_recursions(&mut self, done: usize, len: usize) {
        let (mut emas, mut held) = (Vec::new(), Vec::new());
        for indicator in &mut self.indicators {
            let Some(second) = &mut indicator.second else {
                continue;
            };
            let input = &mut second.input[..len];
            let numbers = |at: usize| &self.runs[indicator.runs[at]].out[..len];
            match second.run.recursion.rule {
                Rule::Ema { .. } => {
                    passes::map2(input, numbers(0), numbers(1), |fast, slow| fast - slow);
                    emas.push((&mut second.run, &second.input[..len]));
                }
                Rule::Fade { .. } | Rule::Held { .. } => {
                    let [plus, minus] = &mut second.beside;
                    let sums = [numbers(0), numbers(1), numbers(2)];
                    passes::directional_index(sums, &mut plus[..len], &mut minus[..len], input);
                    held.push((&mut second.run, &second.input[..len]));
                }
            }
        }
        let (mut emas, mut held) = (emas.into_iter(), held.into_iter());
        loop {
            match (emas.next(), held.next()) {
                (Some((ema, lines)), Some((held, indices))) => {
                    recursions::advance_second_pair([ema, held], done, [lines, indices]);
                }
                (Some((run, series)), None) | (None, Some((run, series))) => {
                    recursions::advance_second(run, done, series);
                }
                (None, None) => return,
            }
        }
    }
}
