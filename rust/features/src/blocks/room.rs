//! The series of a block that more than one indicator reads, and room to work in.

use crate::formulas as f;
use crate::node::Kind;
use crate::passes::{Levels, map2, map3, map4_2};
use crate::recursions::Input;

/// Which series beside the inputs are made for each block.
#[derive(Clone, Copy, Default)]
pub(super) struct Needs {
    typical: bool,
    returns: bool,
    change: bool,
    range: bool,
    movement: bool,
    signed_volume: bool,
}

impl Needs {
    pub(super) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Rsi(_) => self.change = true,
            Kind::Atr(_) | Kind::Keltner(..) => self.range = true,
            Kind::Adx(_) => (self.range, self.movement) = (true, true),
            Kind::Obv => self.signed_volume = true,
            Kind::Mfi(_) | Kind::Cci(_) | Kind::Vwap(_) => self.typical = true,
            Kind::LogReturn | Kind::Returns(_) => self.returns = true,
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
}

impl Stretch<'_> {
    pub(super) fn len(&self) -> usize {
        self.close.len()
    }
}

/// Series of a block with its history, and what is made on the way.
pub(super) struct Room {
    pub(super) typical: Vec<f64>,
    pub(super) returns: Vec<f64>,
    gain: Vec<f64>,
    loss: Vec<f64>,
    range: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
    signed_volume: Vec<f64>,
    pub(super) levels: Levels,
    pub(super) first: Vec<f64>,
    pub(super) second: Vec<f64>,
    /// An indicator's numbers that are no feature themselves.
    pub(super) parts: [Vec<f64>; 3],
}

impl Room {
    /// For windows up to `longest`, stretches of `len` bars and blocks of `block`.
    pub(super) fn new(longest: usize, len: usize, block: usize) -> Self {
        let series = || vec![0.0; len];
        Self {
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
            parts: std::array::from_fn(|_| vec![0.0; block]),
        }
    }

    /// What a recursion takes in over the block.
    #[inline(always)]
    pub(super) fn series<'a>(&'a self, input: Input, stretch: &Stretch<'a>) -> &'a [f64] {
        let series = match input {
            Input::Close => stretch.close,
            Input::Gain => &self.gain,
            Input::Loss => &self.loss,
            Input::TrueRange => &self.range,
            Input::Up => &self.up,
            Input::Down => &self.down,
            Input::SignedVolume => &self.signed_volume,
            Input::Second => unreachable!("it isn't made of the inputs"),
        };
        &series[stretch.start..stretch.len()]
    }

    /// The first bar's volume counts whole, though nothing is before it.
    #[inline(always)]
    pub(super) fn begin_volume(&mut self, stretch: &Stretch<'_>) {
        self.signed_volume[stretch.start] = stretch.volume[stretch.start];
    }

    /// The series that more than one indicator reads.
    #[inline(always)]
    pub(super) fn derive(&mut self, stretch: &Stretch<'_>, needs: Needs) {
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
