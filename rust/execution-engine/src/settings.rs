use std::path::PathBuf;

use common::service::Failure;
use rust_decimal::Decimal;
use serde::Deserialize;

/// What the service is told at its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub bind: String,
    /// Where strategies connect to; 0 takes a free port.
    pub signal_port: u16,
    /// The engine's commands.
    pub commands_url: String,
    /// Prices, to value open orders by.
    pub market_url: String,
    pub health_port: u16,
    /// Dollars of a signal of strength 1.
    pub notional_per_signal: Decimal,
    /// Weaker signals to open are left aside.
    pub min_strength: f64,
    /// Until a command without an answer counts as in doubt.
    pub command_timeout_s: f64,
    pub high_water_mark: u32,
    pub heartbeat_s: f64,
    pub stale_after_s: f64,
    /// CURVE on every socket, by the keys in this folder; None is an open bus.
    pub keys_dir: Option<PathBuf>,
    /// Where the health record and what is to outlive a restart go.
    pub state_dir: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1".to_owned(),
            signal_port: 5556,
            commands_url: "tcp://127.0.0.1:5557".to_owned(),
            market_url: "tcp://127.0.0.1:5555".to_owned(),
            health_port: 8082,
            notional_per_signal: Decimal::from(10_000),
            min_strength: 0.2,
            command_timeout_s: 10.0,
            high_water_mark: 262_144,
            heartbeat_s: 1.0,
            stale_after_s: 5.0,
            keys_dir: None,
            state_dir: None,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let notional = self.notional_per_signal;
        if notional <= Decimal::ZERO || notional > Decimal::from(1_000_000_000_000_u64) {
            return Err(Failure::config(format!(
                "execution.notional_per_signal = {notional}: above 0 and at most 1e12 dollars are taken"
            )));
        }
        if !(0.0..=1.0).contains(&self.min_strength) {
            return Err(Failure::config(format!(
                "execution.min_strength = {}: 0 to 1 is taken",
                self.min_strength
            )));
        }
        for (name, seconds) in [
            ("execution.command_timeout_s", self.command_timeout_s),
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
