use std::path::PathBuf;

use common::service::Failure;
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::gate::exact;

/// What the service is told at its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub bind: String,
    /// The engine's events.
    pub events_url: String,
    /// The engine's commands: asked for everything when an event is missing.
    pub commands_url: String,
    /// Prices; None values positions by what the engine says of them.
    pub market_url: Option<String>,
    /// Where risk is published; 0 takes a free port.
    pub risk_port: u16,
    pub health_port: u16,
    /// Percent of the last close's equity: REDUCING.
    #[serde(deserialize_with = "exact")]
    pub max_daily_loss_pct: Decimal,
    /// Percent below the equity's peak: HALTED.
    #[serde(deserialize_with = "exact")]
    pub max_drawdown_pct: Decimal,
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
            events_url: "tcp://127.0.0.1:5558".to_owned(),
            commands_url: "tcp://127.0.0.1:5557".to_owned(),
            market_url: None,
            risk_port: 5559,
            health_port: 8083,
            max_daily_loss_pct: Decimal::from(5),
            max_drawdown_pct: Decimal::TEN,
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
        for (name, pct) in [
            ("risk.max_daily_loss_pct", self.max_daily_loss_pct),
            ("risk.max_drawdown_pct", self.max_drawdown_pct),
        ] {
            if pct <= Decimal::ZERO {
                return Err(Failure::config(format!(
                    "{name} = {pct}: a percentage above 0 is wanted"
                )));
            }
        }
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
