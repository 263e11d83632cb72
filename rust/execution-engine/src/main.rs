//! `execution-engine`: signals into commands, as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use execution_engine::{Settings, run};
use rust_decimal::Decimal;

/// Turn strategies' signals into commands for the engine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An address of this machine to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    bind: String,
    /// Where strategies publish their signals to; 0 takes a free port.
    #[arg(long, default_value_t = 5556)]
    signal_port: u16,
    /// The engine's commands.
    #[arg(long, default_value = "tcp://127.0.0.1:5557")]
    commands_url: String,
    /// Prices, to value open orders by.
    #[arg(long, default_value = "tcp://127.0.0.1:5555")]
    market_url: String,
    /// Where health is served; 0 takes a free port.
    #[arg(long, default_value_t = 8082)]
    health_port: u16,
    /// Dollars of a signal of strength 1.
    #[arg(long, default_value = "10000")]
    notional_per_signal: Decimal,
    /// Weaker signals to open are left aside.
    #[arg(long, default_value_t = 0.2)]
    min_strength: f64,
    /// Seconds until a command without an answer counts as in doubt.
    #[arg(long, default_value_t = 10.0)]
    command_timeout_s: f64,
    /// Messages that a socket holds before it drops.
    #[arg(long, default_value_t = 262_144)]
    high_water_mark: u32,
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
        signal_port: arguments.signal_port,
        commands_url: arguments.commands_url,
        market_url: arguments.market_url,
        health_port: arguments.health_port,
        notional_per_signal: arguments.notional_per_signal,
        min_strength: arguments.min_strength,
        command_timeout_s: arguments.command_timeout_s,
        high_water_mark: arguments.high_water_mark,
        keys_dir: arguments.keys_dir,
        state_dir: arguments.state_dir,
        ..Settings::default()
    };
    common::service::run_process("execution-engine", |context| run(settings, context))
}
