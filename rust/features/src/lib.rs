//! Technical indicators and market microstructure, streaming and batch, right to the last digit.

mod batch;
mod codec;
pub mod formulas;
mod indicators;
pub mod micro;
mod names;
mod node;
mod standard;
mod stream;
mod window;

pub use batch::{BatchError, Columns, compute};
pub use names::{Feature, MAX_WINDOW, NameError, STANDARD};
pub use stream::{Bar, Computer, NotFinite, Plan, SnapshotError, State, SymbolId};
