//! Why a folder of recorded prices can't be replayed.

use std::path::PathBuf;

/// Each says what was found, the rule it breaks and what to do. `docs/data.md` has the rules at length.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("data folder {}: {problem}; give a folder of CSV or Parquet files as docs/data.md describes", path.display())]
    Folder { path: PathBuf, problem: String },

    #[error("data file {}: {problem}; see docs/data.md for the form of the files", path.display())]
    File { path: PathBuf, problem: String },

    #[error("data file {}, row {row}, column {column}: {value:?} is refused: {rule}; correct the row or take it out", path.display())]
    Row {
        path: PathBuf,
        /// From 1, the header not counted.
        row: u64,
        column: &'static str,
        value: String,
        rule: &'static str,
    },
}
