//! Turns strategies' signals into commands for the engine and hears their outcome.

mod service;

pub use service::{Settings, run};
