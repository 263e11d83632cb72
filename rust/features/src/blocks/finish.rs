//! The numbers of one indicator for a block.

use super::room::{Room, Stretch};
use super::{Extreme, Indicator, Page};
use crate::formulas as f;
use crate::levels::Levels;
use crate::node::{Kind, Part};
use crate::passes::{self, Around, map2, map3};
use crate::recursions::Runs;
use crate::window::{Any, Fixed, Sum};

/// What an indicator's numbers are made from.
pub(super) struct Sources<'a> {
    pub(super) runs: &'a Runs,
    pub(super) extremes: &'a [Extreme],
    pub(super) room: &'a mut Room,
}

impl<'a> Sources<'a> {
    /// Writes the indicator's numbers.
    #[inline(always)]
    pub(super) fn write(
        self,
        indicator: &'a Indicator,
        stretch: &Stretch<'a>,
        mut page: Page<'_, '_>,
    ) {
        let (start, total, len) = (stretch.start, stretch.total(), stretch.len());
        let close = &stretch.close[start..];
        let Room {
            typical,
            returns,
            levels,
            first,
            second,
            around,
            parts,
            ..
        } = self.room;
        let [one, two, three] = parts.each_mut().map(|part| &mut part.numbers[..len]);
        let recursed = |run: usize| &self.runs.numbers(indicator.runs[run])[..len];
        let typical = &typical[..total];
        let extreme = |window: usize| {
            let extreme = self
                .extremes
                .iter()
                .find(|extreme| extreme.window == window);
            extreme.expect("every window that is read was planned")
        };
        match indicator.kind {
            Kind::Ema(_) | Kind::Atr(_) | Kind::Obv => page.parts([recursed(0), &[], &[]]),
            Kind::Keltner(..) => page.parts([recursed(0), recursed(1), &[]]),
            Kind::Rsi(_) => {
                let sums = [recursed(0), recursed(1)];
                page.made(Part::First, sums, |[gain, loss]| {
                    f::relative_strength(gain, loss)
                });
            }
            Kind::Macd(..) | Kind::Adx(_) => unreachable!("theirs are made of other recursions"),
            Kind::Closes(window) => {
                let series = &stretch.close[start - window..];
                moments(window, stretch.first, series, around, three, one, two);
                page.parts([one, two, &[]]);
            }
            Kind::Returns(window) => {
                let series = &returns[start - window..total];
                moments(window, stretch.first, series, around, three, one, two);
                page.parts([one, two, &[]]);
            }
            Kind::LogReturn => page.parts([&returns[start..total], &[], &[]]),
            Kind::Roc(window) => {
                let closes = [close, &stretch.close[start - window..]];
                page.made(Part::First, closes, |[close, base]| {
                    f::rate_of_change(close, base)
                });
            }
            Kind::Vwap(window) => {
                let flow = &mut first[..total];
                map2(flow, typical, stretch.volume, |typical, volume| {
                    typical * volume
                });
                let depth = Levels::depth(window);
                levels.build::<Sum>(flow, depth);
                levels.over::<Sum>(flow, window, two);
                levels.build::<Sum>(stretch.volume, depth);
                levels.over::<Sum>(stretch.volume, window, three);
                page.made(Part::First, [two, three, close], |[flow, volume, close]| {
                    f::weighted_price(flow, volume, close)
                });
            }
            Kind::Mfi(window) => {
                let (positive, negative) = (&mut first[..total], &mut second[..total]);
                // The first of the history have no predecessor here and are in no window.
                let moving = [&typical[8..], &typical[7..], &stretch.volume[8..]];
                passes::money_flow(moving, &mut positive[8..], &mut negative[8..]);
                let depth = Levels::depth(window);
                levels.build::<Sum>(positive, depth);
                levels.over::<Sum>(positive, window, two);
                levels.build::<Sum>(negative, depth);
                levels.over::<Sum>(negative, window, three);
                page.made(Part::First, [two, three], |[positive, negative]| {
                    f::money_flow_index(positive, negative)
                });
            }
            Kind::Cci(window) => {
                levels.build::<Sum>(typical, Levels::depth(window));
                levels.over::<Sum>(typical, window, two);
                let typical = &typical[start + 1 - window..];
                match window {
                    20 => passes::commodity_channel(Fixed::<20>, typical, two, one),
                    _ => passes::commodity_channel(Any(window), typical, two, one),
                }
                page.parts([one, &[], &[]]);
            }
            Kind::Willr(window) => {
                let extreme = extreme(window);
                let (high, scale) = (&extreme.high[start..total], &extreme.scale()[start..total]);
                page.made(Part::First, [close, high, scale], |[close, high, scale]| {
                    f::williams_r(close, high, scale)
                });
            }
            Kind::Donchian(window) => {
                let extreme = extreme(window);
                let (high, low) = (&extreme.high[start..total], &extreme.low[start..total]);
                page.part(Part::First, high);
                page.made(Part::Second, [high, low], |[high, low]| {
                    f::middle(high, low)
                });
                page.part(Part::Third, low);
            }
            Kind::Stochastic(window, k, d) => {
                let extreme = extreme(window);
                let from = start - extreme.before;
                let (low, scale) = (&extreme.low[from..total], &extreme.scale()[from..total]);
                let (fast, slow) = (&mut first[..total], &mut second[..total]);
                map3(
                    &mut fast[from..],
                    &stretch.close[from..],
                    low,
                    scale,
                    f::fast_k,
                );
                levels.build::<Sum>(fast, Levels::depth(k));
                let before = (d - 1).next_multiple_of(8);
                let smoothed = &mut slow[start - before..];
                levels.over::<Sum>(fast, k, smoothed);
                smoothed.iter_mut().for_each(|sum| *sum = f::mean(*sum, k));
                levels.build::<Sum>(slow, Levels::depth(d));
                levels.over::<Sum>(slow, d, two);
                page.part(Part::First, &slow[start..]);
                page.made(Part::Second, [two], |[sum]| f::mean(sum, d));
            }
        }
    }
}

/// The usual window with its length known to the compiler, which then needs no inner loop.
#[inline(always)]
fn moments(
    window: usize,
    first: usize,
    series: &[f64],
    around: &mut [Around],
    anchors: &mut [f64],
    mean: &mut [f64],
    deviation: &mut [f64],
) {
    match window {
        20 => passes::shared_moments(Fixed::<20>, series, around, anchors, mean, deviation),
        _ => passes::moments(Any(window), first, series, mean, deviation),
    }
}
