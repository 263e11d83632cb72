//! `risk-manager`: exposure, drawdown and the trading state, as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use risk_manager::{Settings, run};
use rust_decimal::Decimal;

/// Publish exposure, drawdown, value at risk and the trading state that they ask for.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An address of this machine to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    bind: String,
    /// The engine's events.
    #[arg(long, default_value = "tcp://127.0.0.1:5558")]
    events_url: String,
    /// The engine's commands.
    #[arg(long, default_value = "tcp://127.0.0.1:5557")]
    commands_url: String,
    /// Bars, quotes and trades.
    #[arg(long, default_value = "tcp://127.0.0.1:5555")]
    market_url: String,
    /// Where risk is published; 0 takes a free port.
    #[arg(long, default_value_t = 5559)]
    risk_port: u16,
    /// Where health is served; 0 takes a free port.
    #[arg(long, default_value_t = 8083)]
    health_port: u16,
    /// Percent of the last close's equity: REDUCING.
    #[arg(long, default_value = "5")]
    max_daily_loss_pct: Decimal,
    /// Percent below the equity's peak: HALTED.
    #[arg(long, default_value = "10")]
    max_drawdown_pct: Decimal,
    /// Messages that a socket holds before it drops.
    #[arg(long, default_value_t = 262_144)]
    high_water_mark: u32,
    /// Seconds between heartbeats.
    #[arg(long, default_value_t = 1.0)]
    heartbeat_s: f64,
    /// Folder of CURVE keys (`trading-console keys new`); without it the bus is open.
    #[arg(long)]
    keys_dir: Option<PathBuf>,
    /// Where the health record goes.
    #[arg(long)]
    state_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    common::telemetry::init();
    let settings = Settings {
        bind: arguments.bind,
        events_url: arguments.events_url,
        commands_url: arguments.commands_url,
        market_url: Some(arguments.market_url),
        risk_port: arguments.risk_port,
        health_port: arguments.health_port,
        max_daily_loss_pct: arguments.max_daily_loss_pct,
        max_drawdown_pct: arguments.max_drawdown_pct,
        high_water_mark: arguments.high_water_mark,
        heartbeat_s: arguments.heartbeat_s,
        keys_dir: arguments.keys_dir,
        state_dir: arguments.state_dir,
        ..Settings::default()
    };
    common::service::run_process("risk-manager", |context| run(settings, context))
}
