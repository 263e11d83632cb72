use std::path::PathBuf;

use common::messages::is_symbol;
use common::service::Failure;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::http::Uri;

const HOST: &str = "stream.data.alpaca.markets";
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// What the service is told at its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The websocket with its feed, such as `wss://stream.data.alpaca.markets/v2/iex`.
    pub stream_url: String,
    pub key_id: Secret,
    pub secret_key: Secret,
    pub symbols: Vec<String>,
    #[serde(default = "loopback")]
    pub bind: String,
    #[serde(default = "market_port")]
    pub market_port: u16,
    #[serde(default = "health_port")]
    pub health_port: u16,
    #[serde(default = "high_water_mark")]
    pub high_water_mark: u32,
    #[serde(default = "heartbeat_s")]
    pub heartbeat_s: f64,
    /// After so long without a frame the broker is pinged; after twice as long it is left.
    #[serde(default = "stale_after_s")]
    pub stale_after_s: f64,
    /// CURVE on every socket, by the keys in this folder; None is an open bus.
    #[serde(default)]
    pub keys_dir: Option<PathBuf>,
    /// Where the health record goes.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
}

fn loopback() -> String {
    "127.0.0.1".to_owned()
}

fn market_port() -> u16 {
    5555
}

fn health_port() -> u16 {
    8081
}

fn high_water_mark() -> u32 {
    262_144
}

fn heartbeat_s() -> f64 {
    1.0
}

fn stale_after_s() -> f64 {
    5.0
}

/// A key: it is sent to the broker and shown to nobody.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: String) -> Self {
        Self(value)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        check_url(&self.stream_url)?;
        for (name, key) in [("key_id", &self.key_id), ("secret_key", &self.secret_key)] {
            if key.expose().is_empty() {
                return Err(Failure::config(format!(
                    "{name} is empty; set ALPACA_API_KEY and ALPACA_SECRET_KEY"
                )));
            }
        }
        check_symbols(&self.symbols).map_err(Failure::config)?;
        for (name, seconds) in [
            ("bus.heartbeat_s", self.heartbeat_s),
            ("bus.stale_after_s", self.stale_after_s),
        ] {
            if !(0.01..=86_400.0).contains(&seconds) {
                return Err(Failure::config(format!(
                    "{name} = {seconds}: 0.01 to 86400 seconds are taken"
                )));
            }
        }
        Ok(())
    }
}

pub(crate) fn check_symbols(symbols: &[String]) -> Result<(), String> {
    if symbols.is_empty() {
        return Err("feed.symbols is empty; at least one symbol is needed".to_owned());
    }
    match symbols.iter().find(|symbol| !is_symbol(symbol)) {
        Some(symbol) => Err(format!(
            "feed.symbols: {symbol:?} is no symbol; capital letters and digits are, such as IBM or BRK.B"
        )),
        None => Ok(()),
    }
}

/// Alpaca's data host over TLS, or this machine: the keys go nowhere else.
fn check_url(url: &str) -> Result<(), Failure> {
    let refused = || {
        Failure::config(format!(
            "broker.stream_url = {url:?} is neither wss://{HOST}/… nor ws:// on loopback"
        ))
    };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let host = uri.host().unwrap_or_default();
    let named = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    let taken = match uri.scheme_str() {
        Some("wss") => host == HOST || LOOPBACK.contains(&host),
        Some("ws") => LOOPBACK.contains(&host),
        _ => false,
    };
    if named && taken {
        Ok(())
    } else {
        Err(refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: &str) -> Result<Settings, Failure> {
        let mut fields: serde_json::Value = serde_json::json!({
            "stream_url": "ws://127.0.0.1:8090/v2/iex",
            "key_id": "PKDEMO", "secret_key": "hush", "symbols": ["IBM"],
        });
        let change: serde_json::Value = serde_json::from_str(change).unwrap();
        for (name, value) in change.as_object().unwrap() {
            fields[name] = value.clone();
        }
        common::service::settings_from_json("market-data", &fields.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_configuration() {
        let settings = settings("{}").unwrap();
        assert_eq!((settings.market_port, settings.health_port), (5555, 8081));
        settings.check().unwrap();
    }

    #[test]
    fn the_keys_are_shown_to_nobody() {
        assert!(!format!("{:?}", settings("{}").unwrap()).contains("hush"));
    }

    #[test]
    fn hosts_that_arent_alpacas_or_this_machine_are_refused() {
        for url in [
            "ws://stream.data.alpaca.markets/v2/iex",
            "wss://evil.example/v2/iex",
            "wss://stream.data.alpaca.markets.evil.example/v2/iex",
            "wss://user:pass@stream.data.alpaca.markets/v2/iex",
            "http://127.0.0.1:8090/v2/iex",
            "127.0.0.1:8090",
            "",
        ] {
            let change = serde_json::json!({ "stream_url": url }).to_string();
            let refused = settings(&change).unwrap().check().unwrap_err();
            assert!(refused.message.contains("stream_url"), "{url}: {refused}");
            assert_eq!(refused.exit_code, 78);
        }
        for url in [
            "wss://stream.data.alpaca.markets/v2/sip",
            "ws://localhost:1/v2/iex",
            "ws://[::1]:8090/v2/iex",
        ] {
            let change = serde_json::json!({ "stream_url": url }).to_string();
            settings(&change).unwrap().check().unwrap();
        }
    }

    #[test]
    fn what_cant_be_is_refused_by_name() {
        for (change, named) in [
            (r#"{"symbols": []}"#, "feed.symbols"),
            (r#"{"symbols": ["ibm"]}"#, "\"ibm\""),
            (r#"{"key_id": ""}"#, "ALPACA_API_KEY"),
            (r#"{"heartbeat_s": 0}"#, "bus.heartbeat_s"),
        ] {
            let refused = settings(change).unwrap().check().unwrap_err();
            assert!(refused.message.contains(named), "{change}: {refused}");
        }
        let unknown = settings(r#"{"colour": 1}"#).unwrap_err();
        assert!(unknown.message.contains("colour"), "{unknown}");
    }
}
