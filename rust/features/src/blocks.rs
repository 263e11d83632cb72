//! The batch path: a series in blocks that stay in the cache, many small passes over each.
//!
//! The first bars run through streaming, which minds the seeds; then each block reads its look-back
//! from the inputs themselves. Sums and folds are made in streaming's own order, so both paths give
//! the same bits.

use crate::batch::Columns;
use crate::chains::{self, EmaChain, FadeChain};
use crate::formulas as f;
use crate::indicators::Previous;
use crate::node::{Chain, Input, Kind, Node};
use crate::passes::{self, Levels, map2, map3, map4_2};
use crate::stream::{Plan, Reading};
use crate::window::{Any, Fixed, Highest, Lowest, Sum};

/// Bars a block: what is read and written of it stays in the second-level cache.
const BLOCK: usize = 512;

/// Numbers of a node before they are read into columns.
type Parts = [Vec<f64>; 3];

/// A plan with room to work in; made once a call.
pub(crate) struct Blocks<'p> {
    plan: &'p Plan,
    nodes: Vec<Node>,
    /// Bars before a block that its windows look back on.
    history: usize,
    /// Bars that streaming does first.
    warm: usize,
    extremes: Vec<Extreme>,
    needs: Needs,
    room: Room,
}

/// Highest and lowest over one window, for whoever reads them.
struct Extreme {
    window: usize,
    /// Bars before the block for which they are wanted too.
    before: usize,
    high: Vec<f64>,
    low: Vec<f64>,
}

/// Which series beside the inputs are made for each block.
#[derive(Clone, Copy, Default)]
struct Needs {
    typical: bool,
    returns: bool,
    change: bool,
    range: bool,
    movement: bool,
    signed_volume: bool,
}

/// Series of a block with its history, and what is made on the way.
struct Room {
    typical: Vec<f64>,
    returns: Vec<f64>,
    gain: Vec<f64>,
    loss: Vec<f64>,
    range: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
    signed_volume: Vec<f64>,
    levels: Levels,
    first: Vec<f64>,
    second: Vec<f64>,
    chains: Vec<Vec<f64>>,
    parts: Parts,
}

/// The inputs from some bars before the block to its end.
struct Stretch<'a> {
    high: &'a [f64],
    low: &'a [f64],
    close: &'a [f64],
    volume: &'a [f64],
    /// Where the block begins in them.
    start: usize,
}

impl Stretch<'_> {
    fn len(&self) -> usize {
        self.close.len()
    }
}

impl<'p> Blocks<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        let nodes: Vec<Node> = plan.kinds.iter().map(|kind| Node::new(*kind)).collect();
        let mut extremes: Vec<Extreme> = Vec::new();
        let mut longest = 1;
        let mut needs = Needs::default();
        for kind in &plan.kinds {
            longest = longest.max(kind.longest_window());
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
            match kind {
                Kind::Rsi(_) => needs.change = true,
                Kind::Atr(_) | Kind::Keltner(..) => needs.range = true,
                Kind::Adx(_) => (needs.range, needs.movement) = (true, true),
                Kind::Obv => needs.signed_volume = true,
                Kind::Mfi(_) | Kind::Cci(_) | Kind::Vwap(_) => needs.typical = true,
                Kind::LogReturn | Kind::Returns(_) => needs.returns = true,
                _ => {}
            }
        }
        // One bar more, which the first of the history is compared with.
        let history = 1 + plan
            .kinds
            .iter()
            .map(|kind| kind.look_back())
            .max()
            .unwrap_or(0);
        let seeded = plan
            .readings
            .iter()
            .flatten()
            .map(|reading| reading.first_valid + 1)
            .max();
        let warm = history.max(seeded.unwrap_or(0));
        let len = history + BLOCK;
        for extreme in &mut extremes {
            extreme.high = vec![0.0; extreme.before + BLOCK];
            extreme.low = vec![0.0; extreme.before + BLOCK];
        }
        let series = || vec![0.0; len];
        let chains = nodes.iter().map(|node| node.chains().len()).sum();
        let room = Room {
            typical: series(),
            returns: series(),
            gain: series(),
            loss: series(),
            range: series(),
            up: series(),
            down: series(),
            signed_volume: series(),
            levels: Levels::new(longest, len),
            first: series(),
            second: series(),
            chains: vec![vec![0.0; BLOCK]; chains],
            parts: std::array::from_fn(|_| vec![0.0; BLOCK]),
        };
        Self {
            plan,
            nodes,
            history,
            warm,
            extremes,
            needs,
            room,
        }
    }

    /// Computes the whole series.
    #[inline(always)]
    pub(crate) fn run(&mut self, columns: &Columns<'_>, out: &mut [f64]) {
        // A series before this one left its state.
        for (node, kind) in self.nodes.iter_mut().zip(&self.plan.kinds) {
            *node = Node::new(*kind);
        }
        let bars = columns.len();
        let mut done = self.warm.min(bars);
        self.stream(columns, done, out);
        while done < bars {
            let len = BLOCK.min(bars - done);
            let from = done - self.history;
            let stretch = Stretch {
                high: &columns.high[from..done + len],
                low: &columns.low[from..done + len],
                close: &columns.close[from..done + len],
                volume: &columns.volume[from..done + len],
                start: self.history,
            };
            self.block(&stretch, out, bars, done, len);
            done += len;
        }
    }

    /// The first bars, one by one.
    #[inline(always)]
    fn stream(&mut self, columns: &Columns<'_>, count: usize, out: &mut [f64]) {
        let bars = columns.len();
        let mut previous = Previous::default();
        for at in 0..count {
            let step = previous.step::<true>(
                columns.high[at],
                columns.low[at],
                columns.close[at],
                columns.volume[at],
            );
            for (node, readings) in self.nodes.iter_mut().zip(&self.plan.readings) {
                let numbers = node.update(&step);
                for reading in readings {
                    out[reading.slot * bars + at] = reading.of(at, numbers);
                }
            }
        }
    }

    #[inline(always)]
    fn block(
        &mut self,
        stretch: &Stretch<'_>,
        out: &mut [f64],
        bars: usize,
        done: usize,
        len: usize,
    ) {
        self.room.derive(stretch, self.needs);
        self.extremes(stretch, len);
        self.recursions(stretch, len);
        let mut chain = 0;
        for at in 0..self.nodes.len() {
            let used = self.nodes[at].chains().len();
            self.finish(at, chain, stretch, len);
            chain += used;
            for reading in &self.plan.readings[at] {
                let start = reading.slot * bars + done;
                read(reading, &self.room.parts, &mut out[start..start + len]);
            }
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

    /// All recursions on inputs, four side by side.
    #[inline(always)]
    fn recursions(&mut self, stretch: &Stretch<'_>, len: usize) {
        let Room {
            gain,
            loss,
            range,
            up,
            down,
            signed_volume,
            chains: buffers,
            ..
        } = &mut self.room;
        let start = stretch.start;
        let close = &stretch.close[start..];
        let mut emas: Vec<EmaChain<'_>> = Vec::new();
        let mut fades: Vec<FadeChain<'_>> = Vec::new();
        let mut buffers = buffers.iter_mut();
        for node in &mut self.nodes {
            for chain in node.chains_mut().into_iter().flatten() {
                let Some(out) = buffers.next() else { continue };
                let out = &mut out[..len];
                match chain {
                    Chain::Ema { k, value } => emas.push((k, value, out)),
                    Chain::Fade {
                        keep,
                        take,
                        input,
                        value,
                    } => {
                        let series: &[f64] = match input {
                            Input::Gain => gain,
                            Input::Loss => loss,
                            Input::TrueRange => range,
                            Input::Up => up,
                            Input::Down => down,
                            Input::SignedVolume => signed_volume,
                        };
                        fades.push((keep, take, &series[start..start + len], value, out));
                    }
                }
            }
        }
        chains::emas(emas, close);
        chains::fades(fades);
    }

    /// The numbers of one node for the block, into `room.parts`.
    #[inline(always)]
    fn finish(&mut self, at: usize, chain: usize, stretch: &Stretch<'_>, len: usize) {
        let start = stretch.start;
        let total = stretch.len();
        let close = &stretch.close[start..];
        let room = &mut self.room;
        let chains = &room.chains[chain..];
        let [one, two, three] = &mut room.parts;
        let (one, two, three) = (&mut one[..len], &mut two[..len], &mut three[..len]);
        let before = |window: usize| start + 1 - window;
        match (self.plan.kinds[at], &mut self.nodes[at]) {
            (Kind::Ema(_) | Kind::Atr(_) | Kind::Obv, _) => one.copy_from_slice(&chains[0][..len]),
            (Kind::Keltner(..), _) => {
                one.copy_from_slice(&chains[0][..len]);
                two.copy_from_slice(&chains[1][..len]);
            }
            (Kind::Rsi(_), _) => {
                map2(one, &chains[0], &chains[1], f::relative_strength);
            }
            (Kind::Macd(..), Node::Macd(macd)) => {
                map2(one, &chains[0], &chains[1], |fast, slow| fast - slow);
                let (k, value) = macd.signal_chain();
                let mut values = [*value];
                passes::emas(&mut values, [k], one, [two]);
                [*value] = values;
                map2(three, one, two, |line, signal| line - signal);
            }
            (Kind::Adx(window), Node::Adx(adx)) => {
                map2(two, &chains[0], &chains[2], f::directional_indicator);
                map2(three, &chains[1], &chains[2], f::directional_indicator);
                let index = &mut room.first[..len];
                passes::index_average(adx.average(), window, two, three, index, one);
            }
            (Kind::Closes(window), _) => {
                let series = &stretch.close[before(window)..];
                moments(window, series, one, two);
            }
            (Kind::Returns(window), _) => {
                moments(window, &room.returns[before(window)..total], one, two);
            }
            (Kind::LogReturn, _) => one.copy_from_slice(&room.returns[start..total]),
            (Kind::Roc(window), _) => {
                map2(
                    one,
                    close,
                    &stretch.close[start - window..],
                    f::rate_of_change,
                );
            }
            (Kind::Vwap(window), _) => {
                let flow = &mut room.first[..total];
                map2(flow, &room.typical, stretch.volume, |typical, volume| {
                    typical * volume
                });
                room.levels.build::<Sum>(flow, window);
                room.levels.over::<Sum>(total, window, two);
                room.levels.build::<Sum>(stretch.volume, window);
                room.levels.over::<Sum>(total, window, three);
                map3(one, two, three, close, f::weighted_price);
            }
            (Kind::Mfi(window), _) => {
                let (positive, negative) = (&mut room.first[..total], &mut room.second[..total]);
                let typical = &room.typical[..total];
                // The first bar of the history has no predecessor here and is in no window.
                (positive[0], negative[0]) = (0.0, 0.0);
                let moving = [&typical[1..], typical, &stretch.volume[1..], typical];
                map4_2(
                    &mut positive[1..],
                    &mut negative[1..],
                    moving,
                    |now, then, volume, _| f::money_flow(now, then, volume),
                );
                room.levels.build::<Sum>(positive, window);
                room.levels.over::<Sum>(total, window, two);
                room.levels.build::<Sum>(negative, window);
                room.levels.over::<Sum>(total, window, three);
                map2(one, two, three, f::money_flow_index);
            }
            (Kind::Cci(window), _) => {
                let typical = &room.typical[..total];
                room.levels.build::<Sum>(typical, window);
                room.levels.over::<Sum>(total, window, two);
                let typical = &typical[before(window)..];
                match window {
                    20 => passes::commodity_channel(Fixed::<20>, typical, two, one),
                    _ => passes::commodity_channel(Any(window), typical, two, one),
                }
            }
            (Kind::Willr(window), _) => {
                let (high, low) = found(&self.extremes, window, 0, len);
                map3(one, close, high, low, f::williams_r);
            }
            (Kind::Donchian(window), _) => {
                let (high, low) = found(&self.extremes, window, 0, len);
                one.copy_from_slice(high);
                map2(two, high, low, f::middle);
                three.copy_from_slice(low);
            }
            (Kind::Stochastic(window, k, d), _) => {
                let more = k + d - 2;
                let (high, low) = found(&self.extremes, window, more, len);
                let fast = &mut room.first[..more + len];
                map3(fast, &stretch.close[start - more..], high, low, f::fast_k);
                let smooth = &mut room.second[..d - 1 + len];
                room.levels.build::<Sum>(fast, k);
                room.levels.over::<Sum>(fast.len(), k, smooth);
                let divisor = k as f64;
                smooth.iter_mut().for_each(|sum| *sum /= divisor);
                one.copy_from_slice(&smooth[d - 1..]);
                room.levels.build::<Sum>(smooth, d);
                room.levels.over::<Sum>(smooth.len(), d, two);
                let divisor = d as f64;
                two.iter_mut().for_each(|sum| *sum /= divisor);
            }
            (Kind::Macd(..) | Kind::Adx(_), _) => unreachable!("nodes are made from their kinds"),
        }
    }
}

impl Room {
    /// The series that more than one indicator reads.
    #[inline(always)]
    fn derive(&mut self, stretch: &Stretch<'_>, needs: Needs) {
        let Stretch {
            high,
            low,
            close,
            volume,
            start,
        } = *stretch;
        let total = stretch.len();
        if needs.typical {
            map3(
                &mut self.typical[..total],
                high,
                low,
                close,
                f::typical_price,
            );
        }
        if needs.returns {
            let returns = &mut self.returns[1..total];
            map2(returns, &close[1..], close, |now, then| {
                f::ln_normal(now / then)
            });
            // Prices of 0 and below are rare enough to be done over.
            if !close
                .iter()
                .fold(true, |all, price| all & (*price >= f64::MIN_POSITIVE))
            {
                map2(returns, &close[1..], close, f::log_return);
            }
        }
        // Recursions carry their own past: the block alone is enough.
        let block = start..total;
        let now = &close[block.clone()];
        let then = &close[start - 1..];
        if needs.change {
            map2(&mut self.gain[block.clone()], now, then, |now, then| {
                f::gain(now - then)
            });
            map2(&mut self.loss[block.clone()], now, then, |now, then| {
                f::loss(now - then)
            });
        }
        if needs.range {
            let out = &mut self.range[block.clone()];
            map3(out, &high[start..], &low[start..], then, f::true_range);
        }
        if needs.movement {
            let moving = [
                &high[start..],
                &high[start - 1..],
                &low[start..],
                &low[start - 1..],
            ];
            let (up, down) = (&mut self.up[block.clone()], &mut self.down[block.clone()]);
            map4_2(up, down, moving, f::directional_movement);
        }
        if needs.signed_volume {
            let out = &mut self.signed_volume[block];
            map3(out, now, then, &volume[start..], |now, then, volume| {
                f::signed_volume(now - then, volume)
            });
        }
    }
}

/// The usual window with its length known to the compiler, which then needs no inner loop.
#[inline(always)]
fn moments(window: usize, series: &[f64], mean: &mut [f64], deviation: &mut [f64]) {
    match window {
        20 => passes::moments(Fixed::<20>, series, mean, deviation),
        _ => passes::moments(Any(window), series, mean, deviation),
    }
}

/// Highest and lowest over `window` for the block and `before` bars in front of it.
#[inline(always)]
fn found(extremes: &[Extreme], window: usize, before: usize, len: usize) -> (&[f64], &[f64]) {
    let extreme = extremes.iter().find(|extreme| extreme.window == window);
    let extreme = extreme.expect("every window that is read was planned");
    let range = extreme.before - before..extreme.before + len;
    (&extreme.high[range.clone()], &extreme.low[range])
}

/// A feature's numbers out of its node's parts.
#[inline(always)]
fn read(reading: &Reading, parts: &Parts, out: &mut [f64]) {
    use crate::node::Part;
    match reading.part {
        Part::First => out.copy_from_slice(&parts[0][..out.len()]),
        Part::Second => out.copy_from_slice(&parts[1][..out.len()]),
        Part::Third => out.copy_from_slice(&parts[2][..out.len()]),
        Part::Band(factor) => {
            map2(out, &parts[0], &parts[1], |middle, width| {
                f::band(middle, width, factor)
            });
        }
    }
}
