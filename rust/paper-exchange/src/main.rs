//! The paper exchange as a process.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::service::{EXIT_CONFIG, run_process};
use paper_exchange::{Settings, storage};
use tracing_subscriber::EnvFilter;

/// Alpaca's paper-trading API on loopback, replaying recorded prices.
#[derive(Parser)]
#[command(name = "paper-exchange", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Folder of recorded prices (CSV or Parquet).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where accounts are kept; without it they end with the process.
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// 0 takes a free one.
    #[arg(long, default_value_t = 8090)]
    port: u16,
    /// Market seconds a second, 1 to 1000.
    #[arg(long, default_value_t = 10.0)]
    speed: f64,
    /// Of ids and partial fills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The first recorded day to play, YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// The last recorded day to play, YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// Where market time begins, RFC 3339.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Begin with the clock standing still.
    #[arg(long)]
    paused: bool,
    /// Offer /_exchange/… to pause, step, seek and change the speed.
    #[arg(long)]
    control: bool,
    /// Requests a minute a key; 0 is no limit (Alpaca: 200).
    #[arg(long, default_value_t = 0)]
    rate_limit: u32,
    /// Market-data streams a key may hold at a time; 0 is no limit (Alpaca: 1).
    #[arg(long, default_value_t = 0)]
    data_connections: usize,
    /// Symbols one of them may subscribe to; 0 is no limit (Alpaca's free plan: 30).
    #[arg(long, default_value_t = 0)]
    data_symbols: usize,
    /// Fill every order in one piece.
    #[arg(long)]
    no_partial_fills: bool,
    /// Basis points taken from every fill at the market.
    #[arg(long, default_value_t = 0.0)]
    slippage_bp: f64,
    /// Market milliseconds before an order reaches the book.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Real seconds from a close to the jump to the next open.
    #[arg(long, default_value_t = 5.0)]
    close_pause_s: f64,
    /// Buying power per dollar of equity: 1, 2 or 4.
    #[arg(long, default_value_t = 2)]
    multiplier: u32,
}

#[derive(Subcommand)]
enum Command {
    /// Delete all accounts in --state-dir.
    Reset,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Reset) => reset(arguments.state_dir),
        None => serve(arguments),
    }
}

fn reset(state_dir: Option<PathBuf>) -> ExitCode {
    let Some(state_dir) = state_dir else {
        return refuse(
            "--state-dir is missing: it names the accounts to delete; add --state-dir DIR",
        );
    };
    match storage::reset(&state_dir) {
        Ok(()) => {
            println!(
                "accounts in {} are deleted; the next start begins anew",
                state_dir.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error.to_string()),
    }
}

fn serve(arguments: Arguments) -> ExitCode {
    let Some(data_dir) = arguments.data else {
        return refuse(
            "--data is missing: the exchange replays a folder of recorded prices; add --data DIR",
        );
    };
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .init();
    let settings = Settings {
        host: arguments.host.clone(),
        port: arguments.port,
        data_dir,
        state_dir: arguments.state_dir,
        speed: arguments.speed,
        seed: arguments.seed,
        partial_fills: !arguments.no_partial_fills,
        slippage_bp: arguments.slippage_bp,
        latency_ms: arguments.latency_ms,
        close_pause_s: arguments.close_pause_s,
        control: arguments.control,
        rate_limit: arguments.rate_limit,
        data_connections: arguments.data_connections,
        data_symbols: arguments.data_symbols,
        paused: arguments.paused,
        start: arguments.start,
        from: arguments.from,
        to: arguments.to,
        multiplier: arguments.multiplier,
    };
    run_process("paper-exchange", |context| {
        paper_exchange::run_announced(settings, context, announce)
    })
}

/// Where each client is pointed to.
fn announce(host: &str, port: u16) {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let text = format!(
        "paper exchange on http://{host}:{port}  (any key id beginning with PK is an account)
  TradingClient, StockHistoricalDataClient  url_override=\"http://{host}:{port}\"
  TradingStream                             url_override=\"ws://{host}:{port}/stream\"
  StockDataStream                           url_override=\"ws://{host}:{port}/v2/iex\"
  others    APCA_API_BASE_URL=http://{host}:{port} APCA_API_DATA_URL=http://{host}:{port}
"
    );
    // Whoever read the first line may have gone; that is no reason to end.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("paper-exchange: {message}");
    ExitCode::from(EXIT_CONFIG)
}
