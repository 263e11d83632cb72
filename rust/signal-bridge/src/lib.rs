//! The native half of `signal_bridge`: conversion between Python and the Rust crates, nothing else.

use pyo3::prelude::*;

#[pymodule]
mod _native {}
