//! Sets up the sockets, and the tasks that hear, ask and follow the prices.

use std::sync::Arc;
use std::time::Duration;

use common::bus::{Listen, Requester, Sides, Subscriber};
use common::http::{HealthCheck, start_health_server};
use common::messages::{MARKET, SIGNAL};
use common::service::{Context, Failure, Ports};
use tokio::sync::mpsc;

use crate::ears::{Ears, WAITING};
use crate::plan::Sizing;
use crate::seen::Acted;
use crate::settings::Settings;
use crate::shared::{Shared, follow_prices};
use crate::worker::Worker;

const COMPONENT: &str = "execution-engine";
/// How long a command under way is heard at the end; shorter than what a service may take to stop.
const PATIENCE: Duration = Duration::from_secs(4);

/// Run the service until the context says stop.
///
/// # Errors
/// Settings and ports: exit code 78.
pub async fn run(settings: Settings, context: Context) -> Result<(), Failure> {
    settings.check()?;
    let health = HealthCheck::recorded(COMPONENT, settings.state_dir.as_deref());
    let result = serve(settings, context, &health).await;
    match &result {
        Ok(()) => health.stopped("asked to stop"),
        Err(failure) => health.failed(&failure.message),
    }
    result
}

async fn serve(settings: Settings, context: Context, health: &HealthCheck) -> Result<(), Failure> {
    let Sides { bound, connected } =
        Sides::new(settings.high_water_mark, settings.keys_dir.as_deref())?;
    let (acted, seen) = Acted::in_folder(settings.state_dir.as_deref()).map_err(|error| {
        Failure::config(format!(
            "the signals acted on can't be read ({error}); make the state directory readable and writable"
        ))
    })?;
    let listen = |setting, port| Listen {
        setting,
        host: &settings.bind,
        port,
    };
    let signals = Subscriber::bind(
        listen("ports.signal", settings.signal_port),
        &[SIGNAL],
        &bound,
    )
    .await?;
    let server = start_health_server(
        health.clone(),
        listen("ports.execution_engine_health", settings.health_port),
    )
    .await?;
    let market = Subscriber::connect(&settings.market_url, &[MARKET], &connected).await?;
    let engine = Arc::new(Requester::connect(&settings.commands_url, &connected).await?);
    context.started(Ports::from([
        ("signal".to_owned(), signals.port().unwrap_or_default()),
        ("execution_engine_health".to_owned(), server.port()),
    ]));

    let shared = Arc::new(Shared::knowing(seen));
    let (queue, waiting) = mpsc::channel(WAITING);
    let worker = Worker {
        engine: Arc::clone(&engine),
        shared: Arc::clone(&shared),
        sizing: Sizing {
            notional_per_signal: settings.notional_per_signal,
            min_strength: settings.min_strength,
        },
        limit: Duration::from_secs_f64(settings.command_timeout_s),
        acted,
    };
    let mut working = tokio::spawn(worker.run(waiting, context.token()));
    let prices = tokio::spawn(follow_prices(market, Arc::clone(&shared)));
    let ears = Ears {
        signals,
        queue,
        shared,
        engine,
        health: health.clone(),
    };
    let beat = Duration::from_secs_f64(settings.heartbeat_s);
    let result = ears.listen(&context, beat).await;
    // The command under way is heard to its end if that is near; what still waits was never sent.
    if tokio::time::timeout(PATIENCE, &mut working).await.is_err() {
        working.abort();
        tracing::warn!("a command is left without its answer: the engine knows what became of it");
    }
    prices.abort();
    let _ = prices.await;
    result
}
