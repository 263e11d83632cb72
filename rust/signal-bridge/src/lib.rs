//! The native half of `signal_bridge`: conversion between Python and the Rust crates, nothing else.
//!
//! Each module here binds one crate and has a `register` that adds its names to the module; what
//! is added appears in `signal_bridge` and must stand in `signal_bridge/__init__.pyi`.

mod backtest;
mod decimal;
mod features;
mod feed;
mod microstructure;
mod risk;
mod services;
mod telemetry;

use pyo3::prelude::*;

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    features::register(m)?;
    microstructure::register(m)?;
    feed::register(m)?;
    risk::register(m)?;
    services::register(m)?;
    backtest::register(m)?;
    telemetry::register(m)
}
