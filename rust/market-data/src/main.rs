//! `market-data`: the broker's market-data websocket onto the bus, as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use market_data::{Secret, Settings, run};

/// Bring the broker's market data onto the bus. The keys come from the environment only:
/// ALPACA_API_KEY and ALPACA_SECRET_KEY.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The websocket with its feed.
    #[arg(long, default_value = "wss://stream.data.alpaca.markets/v2/iex")]
    stream_url: String,
    /// What to subscribe to.
    #[arg(long, value_delimiter = ',', required = true)]
    symbols: Vec<String>,
    /// An address of this machine to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    bind: String,
    /// Where bars, quotes and trades are published; 0 takes a free port.
    #[arg(long, default_value_t = 5555)]
    market_port: u16,
    /// Where health is served; 0 takes a free port.
    #[arg(long, default_value_t = 8081)]
    health_port: u16,
    /// Messages that a socket holds before it drops.
    #[arg(long, default_value_t = 262_144)]
    high_water_mark: u32,
    /// Seconds between heartbeats.
    #[arg(long, default_value_t = 1.0)]
    heartbeat_s: f64,
    /// Seconds of silence until the broker is pinged; after twice as many it is left.
    #[arg(long, default_value_t = 5.0)]
    stale_after_s: f64,
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
    let key = |name| Secret::new(std::env::var(name).unwrap_or_default());
    let settings = Settings {
        stream_url: arguments.stream_url,
        key_id: key("ALPACA_API_KEY"),
        secret_key: key("ALPACA_SECRET_KEY"),
        symbols: arguments.symbols,
        bind: arguments.bind,
        market_port: arguments.market_port,
        health_port: arguments.health_port,
        high_water_mark: arguments.high_water_mark,
        heartbeat_s: arguments.heartbeat_s,
        stale_after_s: arguments.stale_after_s,
        keys_dir: arguments.keys_dir,
        state_dir: arguments.state_dir,
    };
    common::service::run_process("market-data", |context| run(settings, context))
}
