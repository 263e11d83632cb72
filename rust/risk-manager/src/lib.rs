//! Pre-trade checks, exposure, drawdown and the trading state.

pub mod gate;
mod service;

pub use service::{Settings, run};
