//! Alpaca's paper-trading API on loopback, replaying recorded prices.
//!
//! `core` is the exchange itself: orders, matching, accounts. It has no sockets, clocks or threads;
//! requests and ticks go in with the time they happen at, answers and events come out. `recording`
//! and `replay` turn files into ticks, `api` and `data` speak Alpaca's REST and websockets, and
//! `service` runs all of it against the real clock, with `storage` to remember the accounts.

pub mod api;
pub mod core;
pub mod data;
mod health;
mod listen;
pub mod recording;
pub mod replay;
pub mod server;
mod service;
mod settings;
pub mod storage;
mod updates;

pub use service::{Error, PORT, run, run_announced};
pub use settings::Settings;
