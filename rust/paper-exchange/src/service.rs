//! The service: settings in, a listening exchange out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use chrono::NaiveDate;
use common::calendar;
use common::service::{Call, Context, Failing, Failure, Ports};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::api;
use crate::api::auth::{self, Credentials};
use crate::api::error::endpoint_not_found;
use crate::api::{faults, manners};
use crate::core::{Asset, Exchange, ExchangeSettings, Nanos};
use crate::data::{self, Hub, Tape};
use crate::health::{self, Vitals};
use crate::listen;
use crate::recording::{LoadError, Recording, Series};
use crate::replay::{Clock, ClockError, ClockSettings, Replay, Schedule, ScheduleError};
use crate::server::{Floor, Shared};
use crate::settings::Settings;
use crate::storage::{Log, StorageError};

/// The name of the port in [`Context::started`].
pub const PORT: &str = "exchange";

/// Why the exchange doesn't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{name} {value} is refused: {rule}; {remedy}")]
    Setting {
        name: &'static str,
        value: String,
        rule: &'static str,
        remedy: &'static str,
    },
    #[error(transparent)]
    Run(#[from] Failure),
}

impl Failing for Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Run(failure) => failure.exit_code,
            _ => common::service::EXIT_CONFIG,
        }
    }
}

/// Runs the exchange until it is asked to stop.
///
/// # Errors
/// Settings, data, state or port that can't be used; a disk that fails while it runs.
pub async fn run(settings: Settings, context: Context) -> Result<(), Error> {
    run_announced(settings, context, |_, _| ()).await
}

/// The same; `announce` is told host and port once clients can come.
///
/// # Errors
/// As [`run`].
pub async fn run_announced(
    settings: Settings,
    context: Context,
    announce: impl FnOnce(&str, u16),
) -> Result<(), Error> {
    let address = address(&settings)?;
    let prepared = prepare(&settings)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::port("ports.exchange", &address.to_string(), &error))?;
    let bound = listener
        .local_addr()
        .map_err(|error| Failure::failed(error.to_string()))?;
    let port = bound.port();

    let stop = context.token();
    let (shared, writer) = Shared::new(prepared.floor, settings, prepared.log, stop.clone());
    let writer = writer.map(|writer| {
        let stop = stop.clone();
        tokio::task::spawn_blocking(move || {
            let end = writer.run();
            // Without its memory the exchange must not go on.
            stop.cancel();
            end
        })
    });
    let driver = tokio::spawn(Arc::clone(&shared).drive());
    let calls = context
        .calls()
        .map(|calls| tokio::spawn(answer_calls(Arc::clone(&shared), calls)));
    announce(&shared.settings.host, port);
    context.started(Ports::from([(PORT.to_owned(), port)]));

    let vitals = Vitals::new(&shared, &prepared.hub);
    let api = routes(&shared, prepared.schedule, prepared.hub);
    let app = health::routed(api, &vitals);
    let closed = shared.faults.closed.subscribe();
    listen::serve(listener, bound, app, closed, stop.clone()).await;
    stop.cancel();
    let _ = driver.await;
    if let Some(calls) = calls {
        calls.abort();
        let _ = calls.await;
    }
    shared.end_log().await;
    let written = match writer {
        Some(writer) => writer
            .await
            .map_err(|error| Failure::failed(format!("the log's writer ended: {error}")).into())
            .and_then(|end| end.map_err(Error::from)),
        None => Ok(()),
    };
    match &written {
        Ok(()) => vitals.health.stopped("asked to stop"),
        Err(error) => vitals.health.failed(&error.to_string()),
    }
    written
}

fn routes(shared: &Arc<Shared>, schedule: Arc<Schedule>, hub: Arc<Hub>) -> Router {
    let keeper = Arc::downgrade(shared);
    let admit: data::Admit = Arc::new(move |key_id, secret_key| {
        let keeper = keeper.clone();
        Box::pin(async move {
            let credentials = Credentials { key_id, secret_key };
            match keeper.upgrade() {
                Some(shared) => shared.authenticate(&credentials).await.is_ok(),
                None => false,
            }
        })
    });
    let market = data::Market::new(
        schedule,
        hub,
        data::Settings {
            connections_per_key: shared.settings.data_connections,
            symbols_per_connection: shared.settings.data_symbols,
            ..data::Settings::default()
        },
        admit,
        shared.stop.clone(),
    );
    let keys = from_fn_with_state(Arc::clone(shared), auth::require);
    let router = api::router(shared)
        .merge(data::rest(Arc::clone(&market)).layer(keys))
        .merge(data::stream(market))
        .fallback(endpoint_not_found)
        .method_not_allowed_fallback(endpoint_not_found);
    let router = if shared.settings.control {
        router.layer(from_fn_with_state(Arc::clone(shared), faults::suffer))
    } else {
        router
    };
    router.layer(from_fn(manners::keep))
}

async fn answer_calls(shared: Arc<Shared>, mut calls: mpsc::Receiver<Call>) {
    while let Some(call) = calls.recv().await {
        let answer = shared.command(&call.command);
        call.answer(answer);
    }
}

fn address(settings: &Settings) -> Result<SocketAddr, Error> {
    let host = if settings.host == "localhost" {
        "127.0.0.1"
    } else {
        &settings.host
    };
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => Ok(SocketAddr::new(ip, settings.port)),
        _ => Err(Error::Setting {
            name: "host",
            value: settings.host.clone(),
            rule: "the exchange listens on loopback only",
            remedy: "use 127.0.0.1 or ::1",
        }),
    }
}

struct Prepared {
    floor: Floor,
    log: Option<Log>,
    schedule: Arc<Schedule>,
    hub: Arc<Hub>,
}

/// Reads the recording and the log and sets everything to where it was, or to the first open.
fn prepare(settings: &Settings) -> Result<Prepared, Error> {
    let exchange_settings = exchange_settings(settings)?;
    let (from, to) = (
        date("from", settings.from.as_deref())?,
        date("to", settings.to.as_deref())?,
    );
    let recording = Arc::new(Recording::load(&settings.data_dir)?);
    let schedule = Arc::new(Schedule::new(Arc::clone(&recording), from, to)?);
    let (log, batches) = match &settings.state_dir {
        Some(folder) => {
            let (log, batches) = Log::open(folder)?;
            (Some(log), batches)
        }
        None => (None, Vec::new()),
    };
    let start = start(settings, &schedule)?;
    // Market time never runs backwards, not even over a restart.
    let begin = batches
        .iter()
        .map(|batch| batch.at)
        .max()
        .map_or(start, |last| last.max(start));
    let replay = Replay::new(Arc::clone(&schedule), begin, settings.speed);
    let clock_settings = ClockSettings {
        speed: settings.speed,
        paused: settings.paused,
        close_pause_s: settings.close_pause_s,
    };
    let clock = Clock::new(Arc::clone(&schedule), clock_settings, begin, 0)?;

    let mut exchange = Exchange::new(exchange_settings, recording.symbols(), start);
    exchange.trade_on(schedule.dates());
    for id in recording.ids().filter(|id| !recording.is_live(*id)) {
        exchange.suspend_trading(id.index());
    }
    for id in recording.ids() {
        if let Some(close) = close_before(recording.series(id), calendar::date_at(begin)) {
            exchange.set_previous_close(id.index(), close);
        }
    }
    for batch in batches {
        exchange.restore(batch);
    }
    for tick in replay.standing() {
        exchange.prime(&tick);
    }
    exchange.advance(begin);
    let mut log = log;
    if let Some(log) = log.as_mut().filter(|log| log.is_long()) {
        log.compact(&exchange.snapshot())?;
    }
    let hub = Arc::new(Hub::new(recording, data::QUEUE_BYTES, begin, |symbol| {
        Tape::of_listing(Asset::of(symbol).exchange)
    }));
    for tick in replay.standing() {
        hub.publish(&tick);
    }
    let floor = Floor::new(
        exchange,
        replay,
        clock,
        Arc::clone(&schedule),
        Instant::now(),
        Arc::clone(&hub),
    );
    Ok(Prepared {
        floor,
        log,
        schedule,
        hub,
    })
}

/// The last recorded closing price before `date`.
fn close_before(series: &Series, date: NaiveDate) -> Option<Decimal> {
    let days = series.days.iter().chain(&series.recorded_days);
    let last = days
        .filter(|day| day.date < date)
        .max_by_key(|day| day.date)?;
    Some(last.close.to_decimal())
}

fn start(settings: &Settings, schedule: &Schedule) -> Result<Nanos, Error> {
    let Some(text) = &settings.start else {
        return Ok(schedule.start());
    };
    api::time(text).ok_or_else(|| Error::Setting {
        name: "start",
        value: text.clone(),
        rule: "it is an RFC 3339 time",
        remedy: "write it as 2013-10-07T13:29:30Z",
    })
}

fn date(name: &'static str, text: Option<&str>) -> Result<Option<NaiveDate>, Error> {
    text.map(|text| {
        text.parse().map_err(|_| Error::Setting {
            name,
            value: text.to_owned(),
            rule: "it is a date",
            remedy: "write it as 2013-10-07",
        })
    })
    .transpose()
}

fn exchange_settings(settings: &Settings) -> Result<ExchangeSettings, Error> {
    let refused = |name, value: String, rule, remedy| {
        Err(Error::Setting {
            name,
            value,
            rule,
            remedy,
        })
    };
    if !(0.0..=1000.0).contains(&settings.slippage_bp) {
        return refused(
            "slippage_bp",
            settings.slippage_bp.to_string(),
            "it is from 0 to 1000 basis points",
            "choose one in between",
        );
    }
    if settings.latency_ms > 3_600_000 {
        return refused(
            "latency_ms",
            settings.latency_ms.to_string(),
            "it is at most an hour",
            "choose a shorter one",
        );
    }
    if !matches!(settings.multiplier, 1 | 2 | 4) {
        return refused(
            "multiplier",
            settings.multiplier.to_string(),
            "it is 1, 2 or 4",
            "choose one of them",
        );
    }
    Ok(ExchangeSettings {
        seed: settings.seed,
        partial_fills: settings.partial_fills,
        slippage_bp: Decimal::from_f64(settings.slippage_bp).unwrap_or_default(),
        latency: i64::try_from(settings.latency_ms).unwrap_or_default() * 1_000_000,
        multiplier: settings.multiplier,
        ..ExchangeSettings::default()
    })
}
