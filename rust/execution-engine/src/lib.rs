//! Turns strategies' signals into commands for the engine and hears their outcome.
//!
//! `plan` decides what a signal asks for, given what is held and open: pure. `service` hears the
//! signals, asks the engine and counts what becomes of them.

mod plan;
mod service;
mod settings;

pub use service::run;
pub use settings::Settings;
