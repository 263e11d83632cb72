//! Technical indicators and market microstructure, streaming and batch, right to the last digit.

mod batch;
mod blocks;
mod codec;
pub mod formulas;
mod indicators;
mod levels;
mod many;
pub mod micro;
mod names;
mod node;
mod passes;
mod recursions;
mod standard;
mod store;
mod stream;
mod window;
mod windowed;

pub use batch::{BatchError, Columns, Path, compute, compute_on};
pub use many::{Layout, compute_many};
pub use names::{Feature, MAX_WINDOW, NameError, STANDARD};
pub use stream::{Bar, Computer, NotFinite, Plan, SnapshotError, State, SymbolId};
