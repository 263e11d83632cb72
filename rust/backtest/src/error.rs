//! Why there is no outcome.

use chrono::NaiveDate;
use features::NameError;

use crate::settings::SettingsError;

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError<E> {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(
        "no recorded session from {from} to {to}: the recording holds {first} to {last}; choose --from and --to among them"
    )]
    NoSession {
        from: NaiveDate,
        to: NaiveDate,
        first: NaiveDate,
        last: NaiveDate,
    },
    #[error(transparent)]
    Feature(#[from] NameError),
    #[error("symbol {symbol:?} isn't in the recording; it holds {known}")]
    Symbol { symbol: String, known: String },
    #[error("symbol {0:?} is named twice; name it once")]
    Twice(String),
    #[error("{symbol}, bar at {at}: {problem}")]
    Bar {
        symbol: String,
        at: i64,
        problem: features::NotFinite,
    },
    #[error("stopped after {0} sessions")]
    Stopped(usize),
    #[error("{0}")]
    Strategy(E),
}
