//! Pre-trade checks, exposure, drawdown and the trading state.

mod service;

pub use service::{Settings, run};
