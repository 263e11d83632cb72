//! A chosen set, compiled once: which indicators run, and which of their numbers goes where.

use crate::codec::{Codec, Saved};
use crate::formulas as f;
use crate::indicators::{Adx, Ema, Macd, Obv, Rsi, Step, Wilder};
use crate::names::{BAND_FACTOR, Feature, Line};
use crate::recursions::{Input, Recursion};
use crate::window::Any;
use crate::windowed::{Cci, Extremes, Mfi, Moments, Roc, Stochastic, Vwap};

/// An indicator with its windows: what more than one feature may read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ema(usize),
    Rsi(usize),
    Macd(usize, usize, usize),
    /// Mean and deviation of the close.
    Closes(usize),
    Atr(usize),
    Adx(usize),
    Stochastic(usize, usize, usize),
    Obv,
    Mfi(usize),
    Cci(usize),
    Roc(usize),
    Willr(usize),
    Vwap(usize),
    Donchian(usize),
    Keltner(usize, usize),
    LogReturn,
    /// Mean and deviation of the log return.
    Returns(usize),
}

/// Which of an indicator's numbers a feature is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    First,
    Second,
    Third,
    /// The first plus so many of the second.
    Band(f64),
}

impl Part {
    #[inline(always)]
    pub(crate) fn of(self, numbers: [f64; 3]) -> f64 {
        match self {
            Self::First => numbers[0],
            Self::Second => numbers[1],
            Self::Third => numbers[2],
            Self::Band(factor) => f::band(numbers[0], numbers[1], factor),
        }
    }
}

/// Where a feature comes from.
pub(crate) fn source(feature: Feature) -> (Kind, Part) {
    let banded = |line| match line {
        Line::Upper => Part::Band(BAND_FACTOR),
        Line::Middle => Part::First,
        Line::Lower => Part::Band(-BAND_FACTOR),
    };
    match feature {
        Feature::Sma(w) => (Kind::Closes(w), Part::First),
        Feature::Stddev(w) => (Kind::Closes(w), Part::Second),
        Feature::Bollinger(line, w) => (Kind::Closes(w), banded(line)),
        Feature::Ema(w) => (Kind::Ema(w), Part::First),
        Feature::Rsi(w) => (Kind::Rsi(w), Part::First),
        Feature::Macd(fast, slow, signal) => (Kind::Macd(fast, slow, signal), Part::First),
        Feature::MacdSignal(fast, slow, signal) => (Kind::Macd(fast, slow, signal), Part::Second),
        Feature::MacdHist(fast, slow, signal) => (Kind::Macd(fast, slow, signal), Part::Third),
        Feature::Atr(w) => (Kind::Atr(w), Part::First),
        Feature::Adx(w) => (Kind::Adx(w), Part::First),
        Feature::PlusDi(w) => (Kind::Adx(w), Part::Second),
        Feature::MinusDi(w) => (Kind::Adx(w), Part::Third),
        Feature::StochK(w, k, d) => (Kind::Stochastic(w, k, d), Part::First),
        Feature::StochD(w, k, d) => (Kind::Stochastic(w, k, d), Part::Second),
        Feature::Obv => (Kind::Obv, Part::First),
        Feature::Mfi(w) => (Kind::Mfi(w), Part::First),
        Feature::Cci(w) => (Kind::Cci(w), Part::First),
        Feature::Roc(w) => (Kind::Roc(w), Part::First),
        Feature::Willr(w) => (Kind::Willr(w), Part::First),
        Feature::Vwap(w) => (Kind::Vwap(w), Part::First),
        Feature::Donchian(Line::Upper, w) => (Kind::Donchian(w), Part::First),
        Feature::Donchian(Line::Middle, w) => (Kind::Donchian(w), Part::Second),
        Feature::Donchian(Line::Lower, w) => (Kind::Donchian(w), Part::Third),
        Feature::Keltner(line, w, range) => (Kind::Keltner(w, range), banded(line)),
        Feature::LogReturn => (Kind::LogReturn, Part::First),
        Feature::RealizedVol(w) => (Kind::Returns(w), Part::Second),
    }
}

/// The state of one indicator of a chosen set.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Ema(Ema<Any>),
    Rsi(Rsi<Any>),
    Macd(Macd<Any, Any, Any>),
    Closes(Moments<Any>),
    Atr(Wilder<Any>),
    Adx(Adx<Any>),
    Stochastic(usize, Extremes<Any>, Stochastic<Any, Any>),
    Obv(Obv),
    Mfi(Mfi<Any>),
    Cci(Cci<Any>),
    Roc(Roc<Any>),
    Willr(usize, Extremes<Any>),
    Vwap(Vwap<Any>),
    Donchian(usize, Extremes<Any>),
    Keltner(Ema<Any>, Wilder<Any>),
    LogReturn,
    Returns(Moments<Any>),
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Ema(w) => Self::Ema(Ema::new(Any(w))),
            Kind::Rsi(w) => Self::Rsi(Rsi::new(Any(w))),
            Kind::Macd(fast, slow, signal) => {
                Self::Macd(Macd::new(Any(fast), Any(slow), Any(signal)))
            }
            Kind::Closes(w) => Self::Closes(Moments::new(Any(w))),
            Kind::Atr(w) => Self::Atr(Wilder::new(Any(w))),
            Kind::Adx(w) => Self::Adx(Adx::new(Any(w))),
            Kind::Stochastic(w, k, d) => {
                Self::Stochastic(w, Extremes::new(Any(w)), Stochastic::new(Any(k), Any(d)))
            }
            Kind::Obv => Self::Obv(Obv::default()),
            Kind::Mfi(w) => Self::Mfi(Mfi::new(Any(w))),
            Kind::Cci(w) => Self::Cci(Cci::new(Any(w))),
            Kind::Roc(w) => Self::Roc(Roc::new(Any(w))),
            Kind::Willr(w) => Self::Willr(w, Extremes::new(Any(w))),
            Kind::Vwap(w) => Self::Vwap(Vwap::new(Any(w))),
            Kind::Donchian(w) => Self::Donchian(w, Extremes::new(Any(w))),
            Kind::Keltner(w, range) => Self::Keltner(Ema::new(Any(w)), Wilder::new(Any(range))),
            Kind::LogReturn => Self::LogReturn,
            Kind::Returns(w) => Self::Returns(Moments::new(Any(w))),
        }
    }

    /// The indicator's numbers after this bar, in the order that [`source`] refers to.
    pub(crate) fn update(&mut self, step: &Step) -> [f64; 3] {
        let n = step.n;
        match self {
            Self::Ema(ema) => [ema.update::<true>(n, step.close), 0.0, 0.0],
            Self::Rsi(rsi) => [rsi.update::<true>(step), 0.0, 0.0],
            Self::Macd(macd) => macd.update::<true>(n, step.close),
            Self::Closes(moments) => two(moments.update(n, step.close)),
            Self::Atr(atr) => [atr.update::<true>(n, step.true_range), 0.0, 0.0],
            Self::Adx(adx) => adx.update::<true>(step),
            Self::Stochastic(len, extremes, stochastic) => {
                extremes.push(step);
                let (high, low) = extremes.over(n, *len);
                let scale = f::range_scale(high, low);
                two(stochastic.update(n, f::fast_k(step.close, low, scale)))
            }
            Self::Obv(obv) => [obv.update::<true>(step), 0.0, 0.0],
            Self::Mfi(mfi) => [mfi.update(step), 0.0, 0.0],
            Self::Cci(cci) => [cci.update(step), 0.0, 0.0],
            Self::Roc(roc) => [roc.update(step.close), 0.0, 0.0],
            Self::Willr(len, extremes) => {
                extremes.push(step);
                let (high, low) = extremes.over(n, *len);
                let scale = f::range_scale(high, low);
                [f::williams_r(step.close, high, scale), 0.0, 0.0]
            }
            Self::Vwap(vwap) => [vwap.update(step), 0.0, 0.0],
            Self::Donchian(len, extremes) => {
                extremes.push(step);
                let (upper, lower) = extremes.over(n, *len);
                [upper, f::middle(upper, lower), lower]
            }
            Self::Keltner(ema, range) => [
                ema.update::<true>(n, step.close),
                range.update::<true>(n, step.true_range),
                0.0,
            ],
            Self::LogReturn => [f::log_return(step.close, step.previous_close), 0.0, 0.0],
            Self::Returns(moments) => {
                two(moments.update(n, f::log_return(step.close, step.previous_close)))
            }
        }
    }
}

impl Kind {
    /// Whether its numbers take whole windows to make.
    pub(crate) fn is_folded(self) -> bool {
        matches!(
            self,
            Self::Closes(_)
                | Self::Returns(_)
                | Self::Stochastic(..)
                | Self::Mfi(_)
                | Self::Cci(_)
                | Self::Vwap(_)
        )
    }

    /// The windows folded from blocks.
    pub(crate) fn folded(self) -> Vec<usize> {
        match self {
            Self::Stochastic(w, k, d) => vec![w, k, d],
            Self::Mfi(w) | Self::Cci(w) | Self::Willr(w) | Self::Vwap(w) | Self::Donchian(w) => {
                vec![w]
            }
            _ => vec![],
        }
    }

    /// The window over which extremes are wanted, and how many bars before the newest.
    pub(crate) fn extremes(self) -> Option<(usize, usize)> {
        match self {
            Self::Stochastic(w, k, d) => Some((w, k + d - 2)),
            Self::Willr(w) | Self::Donchian(w) => Some((w, 0)),
            _ => None,
        }
    }

    /// How many bars before the newest it reads.
    pub(crate) fn look_back(self) -> usize {
        match self {
            Self::Closes(w) | Self::Cci(w) | Self::Willr(w) | Self::Vwap(w) | Self::Donchian(w) => {
                w - 1
            }
            Self::Roc(w) | Self::Mfi(w) | Self::Returns(w) => w,
            Self::Stochastic(w, k, d) => w + k + d - 3,
            _ => 1,
        }
    }

    /// The recursions on a bar's own numbers.
    pub(crate) fn recursions(self) -> Vec<Recursion> {
        match self {
            Self::Ema(w) => vec![Ema::new(Any(w)).recursion(Input::Close)],
            Self::Rsi(w) => Rsi::new(Any(w)).recursions().to_vec(),
            Self::Macd(fast, slow, signal) => {
                Macd::new(Any(fast), Any(slow), Any(signal)).recursions()[..2].to_vec()
            }
            Self::Atr(w) => vec![Wilder::new(Any(w)).recursion(Input::TrueRange)],
            Self::Adx(w) => Adx::new(Any(w)).sums().to_vec(),
            Self::Obv => vec![Obv::recursion()],
            Self::Keltner(w, range) => vec![
                Ema::new(Any(w)).recursion(Input::Close),
                Wilder::new(Any(range)).recursion(Input::TrueRange),
            ],
            _ => vec![],
        }
    }

    /// What recurs on numbers that are made of those.
    pub(crate) fn second_recursion(self) -> Option<Recursion> {
        match self {
            Self::Macd(fast, slow, signal) => {
                Some(Macd::new(Any(fast), Any(slow), Any(signal)).recursions()[2])
            }
            Self::Adx(w) => Some(Adx::new(Any(w)).average()),
            _ => None,
        }
    }
}

fn two([first, second]: [f64; 2]) -> [f64; 3] {
    [first, second, 0.0]
}

impl Saved for Node {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        match self {
            Self::Ema(state) => state.exchange(codec),
            Self::Rsi(state) => state.exchange(codec),
            Self::Macd(state) => state.exchange(codec),
            Self::Closes(state) | Self::Returns(state) => state.exchange(codec),
            Self::Atr(state) => state.exchange(codec),
            Self::Adx(state) => state.exchange(codec),
            Self::Stochastic(_, extremes, stochastic) => {
                extremes.exchange(codec);
                stochastic.exchange(codec);
            }
            Self::Obv(state) => state.exchange(codec),
            Self::Mfi(state) => state.exchange(codec),
            Self::Cci(state) => state.exchange(codec),
            Self::Roc(state) => state.exchange(codec),
            Self::Willr(_, state) | Self::Donchian(_, state) => state.exchange(codec),
            Self::Vwap(state) => state.exchange(codec),
            Self::Keltner(ema, range) => {
                ema.exchange(codec);
                range.exchange(codec);
            }
            Self::LogReturn => {}
        }
    }
}
