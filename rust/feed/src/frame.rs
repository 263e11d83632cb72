//! What the feed knows at one moment, as columns: taken, then never changed.

use std::sync::Arc;

/// Closes in a spark line.
pub const SPARK: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing was ever heard.
    Connecting,
    Connected,
    /// There is a connection and nothing comes over it.
    Stale,
    /// There was a connection.
    Lost,
}

impl ConnectionState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Stale => "stale",
            Self::Lost => "lost",
        }
    }
}

/// One value a symbol in each column, in the order of `symbols`; NaN where nothing is known.
/// `…_at` are seconds of the caller's monotonic clock, `market_at` seconds since the epoch.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Grows when something changed.
    pub number: u64,
    pub symbols: Arc<[String]>,
    pub feature_names: Arc<[String]>,
    /// By symbol, grows with its every change.
    pub versions: Vec<u64>,
    pub last: Vec<f64>,
    pub bid: Vec<f64>,
    pub ask: Vec<f64>,
    pub bid_size: Vec<f64>,
    pub ask_size: Vec<f64>,
    pub day_open: Vec<f64>,
    pub day_high: Vec<f64>,
    pub day_low: Vec<f64>,
    pub day_volume: Vec<f64>,
    pub previous_close: Vec<f64>,
    pub quote_at: Vec<f64>,
    pub last_at: Vec<f64>,
    pub market_at: Vec<f64>,
    /// `[symbol][feature]`.
    pub features: Vec<f64>,
    /// `[symbol][SPARK]`, the newest close last.
    pub sparks: Vec<f64>,
    pub received: u64,
    pub gaps: u64,
    pub malformed: u64,
    /// Messages a second over the last second.
    pub rate: f64,
    /// When the last message came; NaN if none ever did.
    pub message_at: f64,
    pub state: ConnectionState,
}
