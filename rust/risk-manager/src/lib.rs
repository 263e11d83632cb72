//! Pre-trade checks, exposure, drawdown and the trading state.
//!
//! `gate` judges orders before they are sent; the engine holds one. `portfolio` follows the account
//! and `limits` of loss: pure both. `service` hears the engine's events and publishes the risk.

pub mod gate;
mod memory;
mod money;
mod portfolio;
mod service;
mod settings;
pub mod watch;

pub use service::run;
pub use settings::Settings;
