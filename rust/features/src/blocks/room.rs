//! The series of a block that more than one indicator reads, and room to work in.

use std::ops::Range;

use super::BLOCK;
use super::series::{Row, Series};
use crate::formulas as f;
use crate::levels::Levels;
use crate::node::Kind;
use crate::passes::{Around, map1, map2, map3, map4};
use crate::recursions::Input;
use crate::windowed::ANCHORED;

/// Which series beside the inputs are made for each block.
#[derive(Clone, Copy, Default)]
pub(super) struct Needs {
    typical: bool,
    returns: bool,
    range: bool,
}

impl Needs {
    pub(super) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Mfi(_) | Kind::Cci(_) | Kind::Vwap(_) => self.typical = true,
            Kind::LogReturn | Kind::Returns(_) => self.returns = true,
            Kind::Atr(_) | Kind::Adx(_) | Kind::Keltner(..) => self.range = true,
            _ => {}
        }
    }
}

/// The inputs from some bars before the block to its end.
pub(super) struct Stretch<'a> {
    pub(super) high: &'a [f64],
    pub(super) low: &'a [f64],
    pub(super) close: &'a [f64],
    pub(super) volume: &'a [f64],
    /// Where the block begins in them.
    pub(super) start: usize,
    /// The number of its first bar in the series.
    pub(super) first: usize,
}

impl<'a> Stretch<'a> {
    /// Of high, low, close and volume.
    pub(super) fn new(
        [high, low, close, volume]: [&'a [f64]; 4],
        start: usize,
        first: usize,
    ) -> Self {
        Self {
            high,
            low,
            close,
            volume,
            start,
            first,
        }
    }

    /// Bars with those before the block.
    pub(super) fn total(&self) -> usize {
        self.close.len()
    }

    /// Bars of the block.
    pub(super) fn len(&self) -> usize {
        self.close.len() - self.start
    }
}

/// Series of a block with its history, and what is made on the way.
pub(super) struct Room {
    pub(super) typical: Series,
    pub(super) returns: Series,
    /// True ranges of the block's own bars.
    range: Row,
    pub(super) levels: Levels,
    pub(super) first: Series,
    pub(super) second: Series,
    pub(super) around: Vec<Around>,
    /// An indicator's numbers that are no feature themselves.
    pub(super) parts: [Row; 3],
}

impl Room {
    /// For windows of so much [`Levels::depth`] and stretches of `len` bars.
    pub(super) fn new(depth: usize, len: usize) -> Self {
        Self {
            typical: Series::new(len),
            returns: Series::new(len),
            range: Row::default(),
            levels: Levels::new(depth, len),
            first: Series::new(len),
            second: Series::new(len),
            around: vec![Around::default(); BLOCK / ANCHORED],
            parts: std::array::from_fn(|_| Row::default()),
        }
    }

    /// The series that more than one indicator reads.
    #[inline(always)]
    pub(super) fn derive(&mut self, stretch: &Stretch<'_>, needs: Needs) {
        let (close, total) = (stretch.close, stretch.total());
        if needs.typical {
            let typical = &mut self.typical[..total];
            map3(typical, stretch.high, stretch.low, close, f::typical_price);
        }
        if needs.range {
            // Recursions carry their own past: the block alone is enough.
            let (high, low) = (
                &stretch.high[stretch.start..],
                &stretch.low[stretch.start..],
            );
            map3(
                &mut self.range.numbers,
                high,
                low,
                &close[stretch.start - 1..],
                f::true_range,
            );
        }
        if needs.returns {
            // The very first return of the stretch is in no window.
            let returns = &mut self.returns[8..total];
            let (now, then) = (&close[8..], &close[7..]);
            map2(returns, now, then, |now, then| f::ln_normal(now / then));
            // Prices of 0 and below are rare enough to be done over.
            let normal = |price: &f64| *price >= f64::MIN_POSITIVE;
            if !close.iter().fold(true, |all, price| all & normal(price)) {
                map2(returns, now, then, f::log_return);
            }
        }
    }
}

/// What recursions on a bar's own numbers take in. (No closure: one that isn't inlined is compiled
/// for every CPU, and not for the caller's.)
pub(crate) struct Inputs<'a> {
    pub(super) room: &'a Room,
    pub(super) stretch: &'a Stretch<'a>,
}

impl Inputs<'_> {
    /// Writes `take` of an input over some bars of the block.
    #[inline(always)]
    pub(crate) fn fill(&self, (input, take): (Input, f64), bars: Range<usize>, out: &mut [f64]) {
        let stretch = self.stretch;
        let at = stretch.start + bars.start..stretch.start + bars.end;
        let before = at.start - 1..at.end - 1;
        let [high, low, now] = [stretch.high, stretch.low, stretch.close].map(|x| &x[at.clone()]);
        let (high_then, low_then) = (&stretch.high[before.clone()], &stretch.low[before.clone()]);
        let then = &stretch.close[before];
        let moving = [high, high_then, low, low_then];
        match input {
            Input::Close => out.copy_from_slice(now),
            Input::Gain => map2(out, now, then, |now, then| f::gain(now - then) * take),
            Input::Loss => map2(out, now, then, |now, then| f::loss(now - then) * take),
            Input::TrueRange => map1(out, &self.room.range.numbers[bars], |range| range * take),
            Input::Up => map4(out, moving, |high, high_then, low, low_then| {
                f::directional_movement(high, high_then, low, low_then).0 * take
            }),
            Input::Down => map4(out, moving, |high, high_then, low, low_then| {
                f::directional_movement(high, high_then, low, low_then).1 * take
            }),
            Input::SignedVolume => {
                map3(out, now, then, &stretch.volume[at], |now, then, volume| {
                    f::signed_volume(now - then, volume) * take
                });
                // The first bar's volume counts whole, though nothing is before it.
                if stretch.first + bars.start == 0 && !out.is_empty() {
                    out[0] = stretch.volume[stretch.start];
                }
            }
            Input::Second => unreachable!("it isn't made of the inputs"),
        }
    }
}
