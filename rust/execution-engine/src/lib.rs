//! Turns strategies' signals into commands for the engine and hears their outcome.
//!
//! `plan` decides what a signal asks for, given what is held and open: pure. `ears` hears the
//! signals, `worker` asks the engine, `seen` remembers what was acted on, `service` runs them.

mod ears;
pub mod plan;
mod seen;
mod service;
mod settings;
mod shared;
mod worker;

pub use service::run;
pub use settings::Settings;
