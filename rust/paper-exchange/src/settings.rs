//! How the exchange is run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of the service; each has the default that `config.toml` names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Loopback only.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
    /// Folder of recorded prices.
    pub data_dir: PathBuf,
    /// Where accounts are kept; without it they end with the process.
    pub state_dir: Option<PathBuf>,
    /// Market seconds a second, 1 to 1000.
    pub speed: f64,
    pub seed: u64,
    pub partial_fills: bool,
    /// Basis points taken from every fill at the market, 0 to 1000.
    pub slippage_bp: f64,
    /// Market milliseconds before an order reaches the book.
    pub latency_ms: u64,
    /// Real seconds from a close to the jump to the next open.
    pub close_pause_s: f64,
    /// Whether `/_exchange/…` is there.
    pub control: bool,
    /// Requests a minute a key; 0 is no limit.
    pub rate_limit: u32,
    /// Market-data streams that a key may hold at a time; 0 is no limit, Alpaca's is 1.
    pub data_connections: usize,
    /// Symbols that one of them may subscribe to; 0 is no limit, Alpaca's free plan has 30.
    pub data_symbols: usize,
    pub paused: bool,
    /// RFC 3339: where market time begins.
    pub start: Option<String>,
    /// The first recorded day to play, YYYY-MM-DD.
    pub from: Option<String>,
    /// The last one.
    pub to: Option<String>,
    /// Buying power per dollar of equity of a new account: 1, 2 or 4.
    pub multiplier: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8090,
            data_dir: PathBuf::new(),
            state_dir: None,
            speed: 10.0,
            seed: 1,
            partial_fills: true,
            slippage_bp: 0.0,
            latency_ms: 0,
            close_pause_s: 5.0,
            control: false,
            rate_limit: 0,
            data_connections: 0,
            data_symbols: 0,
            paused: false,
            start: None,
            from: None,
            to: None,
            multiplier: 2,
        }
    }
}
