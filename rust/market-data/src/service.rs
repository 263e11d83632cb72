//! Publishes what the stream brings and says how it is.

use std::time::{Duration, Instant};

use common::bus::{Listen, Publisher, Sides};
use common::http::{HealthCheck, Status, start_health_server};
use common::messages::{MARKET, Message};
use common::service::{Call, Context, Failure, Ports};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::settings::{Settings, check_symbols};
use crate::stream::{self, Event};

const COMPONENT: &str = "market-data";
/// Frames of the broker that wait to be published; then it isn't read any more.
const WAITING: usize = 1024;

/// Run the service until the context says stop or the broker makes it pointless.
///
/// # Errors
/// Settings, ports and what only a person can mend (keys, another connection): exit code 78.
pub async fn run(settings: Settings, context: Context) -> Result<(), Failure> {
    settings.check()?;
    // Another part of the process may have chosen a provider already; that one does too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let health = HealthCheck::recorded(COMPONENT, settings.state_dir.as_deref());
    let result = serve(settings, context, &health).await;
    match &result {
        Ok(()) => health.stopped("asked to stop"),
        Err(failure) => health.failed(&failure.message),
    }
    result
}

async fn serve(settings: Settings, context: Context, health: &HealthCheck) -> Result<(), Failure> {
    let Sides { bound, .. } = Sides::new(settings.high_water_mark, settings.keys_dir.as_deref())?;
    let listen = |setting, port| Listen {
        setting,
        host: &settings.bind,
        port,
    };
    let publisher = Publisher::bind(
        listen("ports.market", settings.market_port),
        MARKET,
        COMPONENT,
        &bound,
    )
    .await?;
    let server = start_health_server(
        health.clone(),
        listen("ports.market_data_health", settings.health_port),
    )
    .await?;
    context.started(Ports::from([
        ("market".to_owned(), publisher.port()),
        ("market_data_health".to_owned(), server.port()),
    ]));

    let (symbols, wanted) = watch::channel(settings.symbols.clone());
    let (sender, events) = mpsc::channel(WAITING);
    let stream = tokio::spawn(stream::run(settings.clone(), wanted, sender));
    let mut service = Service {
        publisher,
        health: health.clone(),
        symbols,
        counts: Counts::default(),
        newest: None,
    };
    let beat = Duration::from_secs_f64(settings.heartbeat_s);
    let result = service.turn(&context, events, beat).await;
    stream.abort();
    let _ = stream.await;
    result
}

#[derive(Default)]
struct Counts {
    bars: u64,
    quotes: u64,
    trades: u64,
    dropped: u64,
    connections: u64,
    lost: u64,
}

struct Service {
    publisher: Publisher,
    health: HealthCheck,
    symbols: watch::Sender<Vec<String>>,
    counts: Counts,
    newest: Option<Instant>,
}

impl Service {
    async fn turn(
        &mut self,
        context: &Context,
        mut events: mpsc::Receiver<Event>,
        beat: Duration,
    ) -> Result<(), Failure> {
        let mut calls = context.calls();
        let mut beats = tokio::time::interval(beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = context.stopped() => return Ok(()),
                _ = beats.tick() => {
                    self.publisher.beat().await;
                    self.figures();
                }
                Some(call) = next_call(&mut calls) => self.answer(call),
                event = events.recv() => match event {
                    Some(event) => self.on(event).await?,
                    None => return Err(Failure::failed("the stream's task ended; please report it")),
                },
            }
        }
    }

    async fn on(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Messages(messages) => {
                self.newest = Some(Instant::now());
                for message in messages {
                    self.publish(message).await;
                }
            }
            Event::Connecting => self.health.text("stream", "connecting"),
            Event::Live => {
                self.counts.connections += 1;
                self.health.text("stream", "live");
                let count = self.symbols.borrow().len();
                self.health
                    .set(Status::Healthy, format!("market data of {count} symbols"));
                self.health.set_ready();
                tracing::info!(symbols = count, "market data live");
            }
            Event::Lost { reason, retry_in } => {
                self.counts.lost += 1;
                self.health.text("stream", "lost");
                let retry = retry_in.as_secs_f64();
                self.health.set(
                    Status::Degraded,
                    format!("no market data: {reason}; trying again in {retry:.1} s"),
                );
                self.health.set_not_ready(reason);
            }
            Event::Dropped(why) => {
                if self.counts.dropped == 0 {
                    tracing::warn!(%why, "an entry can't be used; the next ones are only counted");
                }
                self.counts.dropped += 1;
            }
            Event::GiveUp(reason) => {
                self.health.set(Status::Unhealthy, reason.clone());
                self.health.set_not_ready(reason.clone());
                return Err(Failure::config(format!("market data: {reason}")));
            }
        }
        Ok(())
    }

    async fn publish(&mut self, message: Message) {
        match &message {
            Message::BarUpdate(_) => self.counts.bars += 1,
            Message::QuoteUpdate(_) => self.counts.quotes += 1,
            _ => self.counts.trades += 1,
        }
        if let Err(error) = self.publisher.publish(&message).await {
            tracing::error!(%error, "a message wasn't published");
        }
    }

    fn answer(&self, call: Call) {
        let answer = match call.command.get("symbols") {
            Some(symbols) => self.set_symbols(symbols),
            None => Err(format!(
                "command {} isn't known; {{\"symbols\": […]}} is",
                call.command
            )),
        };
        call.answer(answer);
    }

    fn set_symbols(&self, symbols: &Value) -> Result<Value, String> {
        let symbols: Vec<String> = serde_json::from_value(symbols.clone()).map_err(|error| {
            format!("symbols = {symbols}: {error}; a list of symbols is wanted")
        })?;
        check_symbols(&symbols)?;
        let answer = json!({ "symbols": symbols });
        self.symbols.send_replace(symbols);
        Ok(answer)
    }

    fn figures(&self) {
        let Counts {
            bars,
            quotes,
            trades,
            dropped,
            connections,
            lost,
        } = self.counts;
        for (name, help, value) in [
            ("bars", "bars published", bars),
            ("quotes", "quotes published", quotes),
            ("trades", "trades published", trades),
            (
                "dropped",
                "entries of the broker that couldn't be used",
                dropped,
            ),
            (
                "connections",
                "connections to the broker that went live",
                connections,
            ),
            ("lost", "connections to the broker that were lost", lost),
            (
                "published",
                "messages published, heartbeats too",
                self.publisher.sent(),
            ),
        ] {
            self.health.counter(name, help, value);
        }
        let readers = self.publisher.readers();
        self.health
            .gauge("readers", "readers of the market topic", readers as f64);
        if let Some(newest) = self.newest {
            let age = newest.elapsed().as_secs_f64();
            self.health
                .gauge("newest_age_seconds", "age of the newest message", age);
        }
    }
}

async fn next_call(calls: &mut Option<mpsc::Receiver<Call>>) -> Option<Call> {
    match calls {
        Some(calls) => calls.recv().await,
        None => None,
    }
}
