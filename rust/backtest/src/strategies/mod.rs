//! Strategies in Rust, each the twin of one in `console/strategies`: same formula, same signals, to the bit.

mod ema_cross;

pub use ema_cross::EmaCross;
