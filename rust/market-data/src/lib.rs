//! Brings the broker's market-data websocket onto the bus.

mod service;

pub use service::{Settings, run};
