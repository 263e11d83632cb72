//! Alpaca's market-data API over HTTP and as a websocket, out of the recording up to the clock's now.

mod history;
mod hub;
mod message;
mod rest;
mod session;
mod wire;

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;

pub use hub::{Channel, Feed, Hub, Subscriptions};
pub use wire::{Format, Tape};

use crate::replay::Schedule;

/// Answers whether a key id and its secret are those of an account.
pub type Admit =
    Arc<dyn Fn(String, String) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a stream may stay without authenticating.
    pub auth_timeout: Duration,
    /// Streams that one key may hold at a time; 0 is no limit, Alpaca's is 1.
    pub connections_per_key: usize,
    /// Symbols that a stream may subscribe to in all; 0 is no limit, Alpaca's free plan has 30.
    pub symbols_per_connection: usize,
    /// How long a frame may take to leave before the client counts as gone.
    pub send_timeout: Duration,
    /// Between pings.
    pub ping_every: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            auth_timeout: Duration::from_secs(10),
            connections_per_key: 0,
            symbols_per_connection: 0,
            send_timeout: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
        }
    }
}

/// Bytes that may wait for a stream's client before it is cut off as slow.
pub const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// What the endpoints share.
pub struct Market {
    pub schedule: Arc<Schedule>,
    pub hub: Arc<Hub>,
    pub settings: Settings,
    pub admit: Admit,
    /// Ends the streams.
    pub shutdown: CancellationToken,
    connections: Mutex<HashMap<String, usize>>,
}

impl Market {
    pub fn new(
        schedule: Arc<Schedule>,
        hub: Arc<Hub>,
        settings: Settings,
        admit: Admit,
        shutdown: CancellationToken,
    ) -> Arc<Market> {
        Arc::new(Market {
            schedule,
            hub,
            settings,
            admit,
            shutdown,
            connections: Mutex::default(),
        })
    }

    /// Counts a stream of the key; `None` when it has as many as it may.
    fn connect(self: &Arc<Self>, key: &str) -> Option<Connection> {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(key.to_owned()).or_default();
        if self.settings.connections_per_key > 0 && *count >= self.settings.connections_per_key {
            return None;
        }
        *count += 1;
        Some(Connection {
            market: self.clone(),
            key: key.to_owned(),
        })
    }
}

/// A counted stream of a key, until it is dropped.
struct Connection {
    market: Arc<Market>,
    key: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut connections = self
            .market
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.key);
            }
        }
    }
}

/// History, latest prices and snapshots. Whoever mounts it asks for the keys first.
pub fn rest(market: Arc<Market>) -> Router {
    rest::router(market)
}

/// The websocket `/v2/{feed}`, which asks for the keys itself.
pub fn stream(market: Arc<Market>) -> Router {
    session::router(market)
}
