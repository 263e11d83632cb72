//! Momentum: two exponential averages that cross, with a stop that trails by true ranges.

use std::convert::Infallible;

use serde::Deserialize;

use crate::{Bar, Direction, Portfolio, Signal, Strategy};

/// What is known of one symbol.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Whether the fast average was above the slow one a bar ago.
    above: Option<bool>,
    /// NaN until there is one.
    stop: f64,
}

const UNKNOWN: Known = Known {
    above: None,
    stop: f64::NAN,
};

/// Long when the fast average crosses above the slow one, short (or flat) when it crosses below; out when
/// the close touches a stop that trails the best close by `stop_atr` average true ranges, and
/// `exit_minutes` before the close. `console/strategies/ema_cross.py` is the same in Python.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmaCross {
    pub fast: usize,
    pub slow: usize,
    pub atr: usize,
    pub stop_atr: f64,
    pub allow_short: bool,
    pub exit_minutes: i32,
    pub strength: f64,
    #[serde(skip)]
    known: Vec<Known>,
}

impl Default for EmaCross {
    fn default() -> Self {
        Self {
            fast: 20,
            slow: 60,
            atr: 14,
            stop_atr: 3.0,
            allow_short: true,
            exit_minutes: 5,
            strength: 1.0,
            known: Vec::new(),
        }
    }
}

impl EmaCross {
    /// The names of what it reads, in the order in which it reads them.
    #[must_use]
    pub fn features(&self) -> Vec<String> {
        vec![
            format!("ema_{}", self.fast),
            format!("ema_{}", self.slow),
            format!("atr_{}", self.atr),
        ]
    }
}

impl Strategy for EmaCross {
    type Error = Infallible;

    fn on_bar(
        &mut self,
        bar: &Bar,
        features: &[f64],
        portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> Result<(), Infallible> {
        let &[fast, slow, atr] = features else {
            return Ok(());
        };
        if self.known.len() <= bar.symbol {
            self.known.resize(bar.symbol + 1, UNKNOWN);
        }
        let known = &mut self.known[bar.symbol];
        let above = fast > slow;
        let crossed = known.above.is_some_and(|before| before != above);
        known.above = Some(above);
        let held = portfolio.qty(bar.symbol);
        let mut answer = |direction, strength| {
            signals.push(Signal {
                symbol: bar.symbol,
                direction,
                strength,
            });
        };
        if bar.minutes_left <= self.exit_minutes {
            if held != 0.0 {
                answer(Direction::Flat, 1.0);
            }
            return Ok(());
        }
        if crossed {
            let reach = self.stop_atr * atr;
            if above {
                known.stop = bar.close - reach;
                answer(Direction::Long, self.strength);
            } else if self.allow_short {
                known.stop = bar.close + reach;
                answer(Direction::Short, self.strength);
            } else if held != 0.0 {
                answer(Direction::Flat, 1.0);
            }
            return Ok(());
        }
        if held > 0.0 {
            known.stop = known.stop.max(bar.close - self.stop_atr * atr);
            if bar.close <= known.stop {
                answer(Direction::Flat, 1.0);
            }
        } else if held < 0.0 {
            known.stop = known.stop.min(bar.close + self.stop_atr * atr);
            if bar.close >= known.stop {
                answer(Direction::Flat, 1.0);
            }
        }
        Ok(())
    }
}
