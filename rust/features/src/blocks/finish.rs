//! The numbers of one indicator for a block, written into the features' rows.

use super::room::Stretch;
use super::{Blocks, Extreme};
use crate::formulas as f;
use crate::node::{Kind, Part};
use crate::passes::{self, map2, map3, map4_2};
use crate::window::{Any, Fixed, Sum};

impl Blocks<'_> {
    /// Writes what is read from indicator `at` for the block that begins with bar `done`.
    #[inline(always)]
    pub(super) fn finish(
        &mut self,
        at: usize,
        stretch: &Stretch<'_>,
        rows: &mut [&mut [f64]],
        done: usize,
    ) {
        let len = stretch.len() - stretch.start;
        // The room is taken out while the numbers go there.
        let mut room = std::mem::take(&mut self.room.parts);
        let mut parts = room.each_mut().map(|part| &mut part[..len]);
        self.numbers(at, stretch, &mut parts);
        let band = &mut self.room.first[..len];
        for reading in &self.plan.readings[at] {
            // Bands begin no earlier than what they are made of.
            let cold = reading.first_valid.saturating_sub(done).min(len);
            let numbers: &mut [f64] = match reading.part {
                Part::First => parts[0],
                Part::Second => parts[1],
                Part::Third => parts[2],
                Part::Band(factor) => {
                    map2(band, parts[0], parts[1], |middle, width| {
                        f::band(middle, width, factor)
                    });
                    band
                }
            };
            numbers[..cold].fill(f64::NAN);
            let out = &mut rows[reading.slot][done..done + len];
            self.store.copy(out, numbers);
        }
        self.room.parts = room;
    }

    /// The indicator's three numbers, as far as its kind has so many.
    #[inline(always)]
    fn numbers(&mut self, at: usize, stretch: &Stretch<'_>, parts: &mut [&mut [f64]; 3]) {
        let [one, two, three] = parts;
        let start = stretch.start;
        let total = stretch.len();
        let len = total - start;
        let close = &stretch.close[start..];
        let room = &mut self.room;
        let indicator = &self.indicators[at];
        let recursed = |run: usize| &self.runs[indicator.runs[run]].out[..len];
        let before = |window: usize| start + 1 - window;
        match indicator.kind {
            Kind::Ema(_) | Kind::Atr(_) | Kind::Obv => one.copy_from_slice(recursed(0)),
            Kind::Keltner(..) => {
                one.copy_from_slice(recursed(0));
                two.copy_from_slice(recursed(1));
            }
            Kind::Rsi(_) => map2(one, recursed(0), recursed(1), f::relative_strength),
            Kind::Macd(..) => {
                if let Some(second) = &indicator.second {
                    one.copy_from_slice(&second.input[..len]);
                    two.copy_from_slice(&second.run.out[..len]);
                }
                map2(three, one, two, |line, signal| line - signal);
            }
            Kind::Adx(_) => {
                if let Some(second) = &indicator.second {
                    one.copy_from_slice(&second.run.out[..len]);
                    two.copy_from_slice(&second.beside[0][..len]);
                    three.copy_from_slice(&second.beside[1][..len]);
                }
            }
            Kind::Closes(window) => {
                let series = &stretch.close[before(window)..];
                moments(window, series, one, two);
            }
            Kind::Returns(window) => {
                moments(window, &room.returns[before(window)..total], one, two);
            }
            Kind::LogReturn => one.copy_from_slice(&room.returns[start..total]),
            Kind::Roc(window) => {
                let base = &stretch.close[start - window..];
                map2(one, close, base, f::rate_of_change);
            }
            Kind::Vwap(window) => {
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
            Kind::Mfi(window) => {
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
            Kind::Cci(window) => {
                let typical = &room.typical[..total];
                room.levels.build::<Sum>(typical, window);
                room.levels.over::<Sum>(total, window, two);
                let typical = &typical[before(window)..];
                match window {
                    20 => passes::commodity_channel(Fixed::<20>, typical, two, one),
                    _ => passes::commodity_channel(Any(window), typical, two, one),
                }
            }
            Kind::Willr(window) => {
                let (high, low) = found(&self.extremes, window, 0, len);
                map3(one, close, high, low, f::williams_r);
            }
            Kind::Donchian(window) => {
                let (high, low) = found(&self.extremes, window, 0, len);
                one.copy_from_slice(high);
                map2(two, high, low, f::middle);
                three.copy_from_slice(low);
            }
            Kind::Stochastic(window, k, d) => {
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
