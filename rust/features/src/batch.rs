//! Whole series at once.

use thiserror::Error;

use crate::stream::{Bar, NotFinite, Plan, State};

/// The columns of one series, oldest bar first, all of one length.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    pub high: &'a [f64],
    pub low: &'a [f64],
    pub close: &'a [f64],
    pub volume: &'a [f64],
}

/// A series that can't be computed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum BatchError {
    #[error("{field} has {found} bars, close has {expected}; all columns need the same length")]
    Length {
        field: &'static str,
        found: usize,
        expected: usize,
    },
    #[error("out holds {found} numbers, {expected} are wanted ({width} features of {bars} bars)")]
    Out {
        found: usize,
        expected: usize,
        width: usize,
        bars: usize,
    },
    #[error("bar {bar}: {source}")]
    NotFinite { bar: usize, source: NotFinite },
}

impl Columns<'_> {
    pub fn len(&self) -> usize {
        self.close.len()
    }

    pub fn is_empty(&self) -> bool {
        self.close.is_empty()
    }

    /// Whether all columns have one length and hold finite numbers only.
    pub fn check(&self) -> Result<(), BatchError> {
        let expected = self.len();
        for (field, column) in [
            ("high", self.high),
            ("low", self.low),
            ("volume", self.volume),
        ] {
            if column.len() != expected {
                return Err(BatchError::Length {
                    field,
                    found: column.len(),
                    expected,
                });
            }
        }
        // Sums of zeros stay zero; only NaN and infinity break that. Four lanes, so that it is SIMD.
        let mut lanes = [0.0; 4];
        for column in [self.high, self.low, self.close, self.volume] {
            let chunks = column.chunks_exact(4);
            lanes[0] += chunks.remainder().iter().map(|x| x * 0.0).sum::<f64>();
            for chunk in chunks {
                for (lane, x) in lanes.iter_mut().zip(chunk) {
                    *lane += x * 0.0;
                }
            }
        }
        if lanes.iter().sum::<f64>() == 0.0 {
            return Ok(());
        }
        for bar in 0..expected {
            self.bar(bar)
                .check()
                .map_err(|source| BatchError::NotFinite { bar, source })?;
        }
        Ok(())
    }

    fn bar(&self, at: usize) -> Bar {
        Bar {
            open: self.close[at],
            high: self.high[at],
            low: self.low[at],
            close: self.close[at],
            volume: self.volume[at],
        }
    }
}

/// Computes a series from its beginning. `out` is `[feature][bar]`, one row after the other.
pub fn compute(plan: &Plan, columns: &Columns<'_>, out: &mut [f64]) -> Result<(), BatchError> {
    columns.check()?;
    let bars = columns.len();
    let expected = plan.width() * bars;
    if out.len() != expected {
        return Err(BatchError::Out {
            found: out.len(),
            expected,
            width: plan.width(),
            bars,
        });
    }
    let mut state = State::new(plan);
    let mut numbers = vec![0.0; plan.width()];
    for at in 0..bars {
        state.update(plan, &columns.bar(at), &mut numbers);
        for (slot, value) in numbers.iter().enumerate() {
            out[slot * bars + at] = *value;
        }
    }
    Ok(())
}
