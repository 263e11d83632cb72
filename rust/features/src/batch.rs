//! Whole series at once.

use std::ops::Range;

use thiserror::Error;

use crate::blocks::Blocks;
use crate::store::Store;
use crate::stream::{Bar, NotFinite, Plan};

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
    #[error("symbol {symbol}, {error}")]
    Symbol { symbol: usize, error: Box<Self> },
}

impl BatchError {
    /// The same, said of one symbol among many.
    pub(crate) fn of_symbol(self, symbol: usize) -> Self {
        Self::Symbol {
            symbol,
            error: Box::new(self),
        }
    }
}

impl<'a> Columns<'a> {
    /// The bars in `range`.
    pub(crate) fn range(&self, range: Range<usize>) -> Columns<'a> {
        Columns {
            high: &self.high[range.clone()],
            low: &self.low[range.clone()],
            close: &self.close[range.clone()],
            volume: &self.volume[range],
        }
    }

    pub(crate) fn check_lengths(&self) -> Result<(), BatchError> {
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
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.close.len()
    }

    pub fn is_empty(&self) -> bool {
        self.close.is_empty()
    }

    /// Whether the bars in `range` hold finite numbers only.
    #[inline(always)]
    pub(crate) fn check_finite(&self, range: Range<usize>) -> Result<(), BatchError> {
        // Sums of zeros stay zero; only NaN and infinity break that. In many lanes none waits.
        let mut lanes = [0.0; 16];
        for column in [self.high, self.low, self.close, self.volume] {
            let chunks = column[range.clone()].chunks_exact(16);
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
        self.first_not_finite(range)
    }

    #[cold]
    fn first_not_finite(&self, mut range: Range<usize>) -> Result<(), BatchError> {
        range.try_for_each(|bar| {
            let checked = self.bar(bar).check();
            checked.map_err(|source| BatchError::NotFinite { bar, source })
        })
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

/// For which kind of CPU the batch path is compiled: each gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// What every CPU of the target has.
    Plain,
    /// x86-64 with AVX2.
    Avx2,
}

impl Path {
    /// The fastest that this machine can run.
    pub fn best() -> Self {
        if Self::Avx2.is_possible() {
            Self::Avx2
        } else {
            Self::Plain
        }
    }

    pub fn is_possible(self) -> bool {
        match self {
            Self::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 => false,
        }
    }
}

/// Computes a series from its beginning. `out` is `[feature][bar]`, one row after the other; a
/// series that is refused for a number leaves it with some of its rows written.
pub fn compute(plan: &Plan, columns: &Columns<'_>, out: &mut [f64]) -> Result<(), BatchError> {
    compute_on(Path::best(), plan, columns, out)
}

/// As [`compute`], on a path of the caller's choice; one that isn't possible here falls back.
pub fn compute_on(
    path: Path,
    plan: &Plan,
    columns: &Columns<'_>,
    out: &mut [f64],
) -> Result<(), BatchError> {
    Worker::new(path, plan, Store::suiting(out.len(), path)).compute(columns, out)
}

/// A plan with its room and its path, for one series after another.
pub(crate) struct Worker<'p> {
    path: Path,
    plan: &'p Plan,
    blocks: Blocks<'p>,
}

impl<'p> Worker<'p> {
    /// Its results are written as suits all that the caller gets, see [`Store`].
    pub(crate) fn new(path: Path, plan: &'p Plan, store: Store) -> Self {
        Self {
            path,
            plan,
            blocks: Blocks::new(plan, store),
        }
    }

    pub(crate) fn compute(
        &mut self,
        columns: &Columns<'_>,
        out: &mut [f64],
    ) -> Result<(), BatchError> {
        columns.check_lengths()?;
        let bars = columns.len();
        let width = self.plan.width();
        let expected = width * bars;
        if out.len() != expected {
            return Err(BatchError::Out {
                found: out.len(),
                expected,
                width,
                bars,
            });
        }
        match self.path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 if self.path.is_possible() => {
                // SAFETY: AVX2 was detected on this CPU, in the line above.
                unsafe { run_avx2(&mut self.blocks, columns, out) }
            }
            _ => self.blocks.run(columns, out),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2(
    blocks: &mut Blocks<'_>,
    columns: &Columns<'_>,
    out: &mut [f64],
) -> Result<(), BatchError> {
    blocks.run(columns, out)
}
