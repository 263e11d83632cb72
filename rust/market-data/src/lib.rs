//! Brings the broker's market-data websocket onto the bus.
//!
//! `wire` reads frames, `session` is the conversation with the broker and what becomes of each
//! entry, `backoff` says when to try again: none of them has sockets or clocks. `stream` holds the
//! connection, `service` runs it all.

mod backoff;
mod service;
mod session;
mod settings;
mod stream;
mod wire;

pub use service::run;
pub use settings::{Secret, Settings};
