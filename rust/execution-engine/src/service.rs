//! Hears the signals, asks the engine, counts what becomes of them. Nothing is ever sent twice:
//! a command without an answer is in doubt, and it is the engine that knows what became of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::bus::{BusConfig, Listen, RequestError, Requester, Subscriber};
use common::engine::{Ack, Command, EngineState, Outcome};
use common::http::{HealthCheck, Status, start_health_server};
use common::messages::{MARKET, Message, SIGNAL, Signal, parse};
use common::service::{Context, Failure, Ports};
use rust_decimal::Decimal;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::plan::{Holding, Plan, Sizing, identity};
use crate::settings::Settings;

const COMPONENT: &str = "execution-engine";
/// Signals that wait for the engine; the next one is dropped and counted.
const WAITING: usize = 1024;
/// Signals that are remembered, so that none is acted on twice.
const REMEMBERED: usize = 65_536;
/// How often to look whether a position is closed.
const LOOK: Duration = Duration::from_millis(100);

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
    let bus = BusConfig {
        high_water_mark: settings.high_water_mark,
        ..BusConfig::default()
    };
    let listen = |setting, port| Listen {
        setting,
        host: &settings.bind,
        port,
    };
    let signals = Subscriber::bind(
        listen("ports.signal", settings.signal_port),
        &[SIGNAL],
        &bus,
    )
    .await?;
    let server = start_health_server(
        health.clone(),
        listen("ports.execution_engine_health", settings.health_port),
    )
    .await?;
    let market = Subscriber::connect(&settings.market_url, &[MARKET], &bus).await?;
    let engine = Arc::new(Requester::connect(&settings.commands_url, &bus).await?);
    context.started(Ports::from([
        ("signal".to_owned(), signals.port().unwrap_or_default()),
        ("execution_engine_health".to_owned(), server.port()),
    ]));

    let shared = Arc::new(Shared::default());
    let (queue, waiting) = mpsc::channel(WAITING);
    let worker = Worker {
        engine: Arc::clone(&engine),
        shared: Arc::clone(&shared),
        sizing: Sizing {
            notional_per_signal: settings.notional_per_signal,
            min_strength: settings.min_strength,
        },
        limit: Duration::from_secs_f64(settings.command_timeout_s),
    };
    let working = tokio::spawn(worker.run(waiting, context.token()));
    let prices = tokio::spawn(follow_prices(market, Arc::clone(&shared)));
    let ears = Ears {
        signals,
        queue,
        seen: Seen::default(),
        shared,
        engine,
        health: health.clone(),
    };
    let beat = Duration::from_secs_f64(settings.heartbeat_s);
    let result = ears.listen(&context, beat).await;
    // The command under way is heard to its end or to its limit; what still waits was never sent.
    let _ = working.await;
    prices.abort();
    let _ = prices.await;
    result
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    malformed: u64,
    repeated: u64,
    overflowed: u64,
    nothing: u64,
    sent: u64,
    accepted: u64,
    refused: u64,
    in_doubt: u64,
    unsent: u64,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<Counts>,
    prices: Mutex<HashMap<String, f64>>,
    last: Mutex<String>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn price(&self, symbol: &str) -> Option<Decimal> {
        let prices = self.prices.lock().unwrap_or_else(PoisonError::into_inner);
        prices
            .get(symbol)
            .and_then(|price| Decimal::try_from(*price).ok())
    }

    fn tell(&self, what: String) {
        tracing::info!("{what}");
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// Identities of signals, the newest ones.
#[derive(Debug, Default)]
struct Seen {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether it is new; it is known from now on.
    fn is_new(&mut self, identity: &str) -> bool {
        if !self.known.insert(identity.to_owned()) {
            return false;
        }
        self.order.push_back(identity.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

struct Ears {
    signals: Subscriber,
    queue: mpsc::Sender<(String, Signal)>,
    seen: Seen,
    shared: Arc<Shared>,
    engine: Arc<Requester>,
    health: HealthCheck,
}

impl Ears {
    async fn listen(mut self, context: &Context, beat: Duration) -> Result<(), Failure> {
        let mut calls = context.calls();
        let mut beats = tokio::time::interval(beat.min(Duration::from_secs(1)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = context.stopped() => return Ok(()),
                _ = beats.tick() => self.report(),
                Some(call) = async { calls.as_mut()?.recv().await } => {
                    let error = format!("command {} isn't known; this service takes none", call.command);
                    call.answer(Err(error));
                }
                frame = self.signals.recv() => match frame {
                    Some(frame) => self.hear(frame.bytes()),
                    None => return Err(Failure::failed("the signal socket is closed; please report it")),
                },
            }
        }
    }

    fn hear(&mut self, frame: &[u8]) {
        match parse(frame).map(|received| received.message) {
            Ok(Message::Signal(signal)) => self.take(signal),
            Ok(Message::Heartbeat(_)) => {}
            Ok(other) => self.malformed(&format!("a {} on the signal topic", other.kind())),
            Err(error) => self.malformed(&error.to_string()),
        }
    }

    fn malformed(&self, why: &str) {
        if self.shared.counts().malformed == 0 {
            tracing::warn!(%why, "a message that is no signal; the next ones are only counted");
        }
        self.shared.count(|counts| counts.malformed += 1);
    }

    fn take(&mut self, signal: Signal) {
        self.shared.count(|counts| counts.received += 1);
        let identity = identity(&signal);
        if !self.seen.is_new(&identity) {
            self.shared.count(|counts| counts.repeated += 1);
            return;
        }
        if self.queue.try_send((identity, signal)).is_err() {
            self.shared.count(|counts| counts.overflowed += 1);
            tracing::error!("{WAITING} signals wait already; this one is dropped");
        }
    }

    fn report(&self) {
        let counts = self.shared.counts();
        for (name, help, value) in [
            ("signals", "signals received", counts.received),
            (
                "malformed",
                "messages that were no signals",
                counts.malformed,
            ),
            ("repeated", "signals that came again", counts.repeated),
            (
                "overflowed",
                "signals dropped because too many waited",
                counts.overflowed,
            ),
            (
                "nothing_to_do",
                "signals that asked for nothing new",
                counts.nothing,
            ),
            (
                "commands",
                "commands sent to the engine for signals",
                counts.sent,
            ),
            (
                "accepted",
                "commands that the engine accepted",
                counts.accepted,
            ),
            (
                "refused",
                "commands that the engine refused",
                counts.refused,
            ),
            (
                "in_doubt",
                "commands whose outcome is unknown",
                counts.in_doubt,
            ),
            ("unsent", "signals that found no engine", counts.unsent),
            (
                "engine_reconnects",
                "connections to the engine made again",
                self.engine.reconnects(),
            ),
        ] {
            self.health.counter(name, help, value);
        }
        let strategies = self.signals.stats().peers;
        self.health.gauge(
            "strategies",
            "publishers of signals connected",
            strategies as f64,
        );
        let last = self
            .shared
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if !last.is_empty() {
            self.health.text("last_signal", last);
        }
        if self.engine.connected() {
            self.health.set(
                Status::Healthy,
                format!("{} signals taken", counts.received),
            );
            self.health.set_ready();
        } else {
            self.health
                .set(Status::Degraded, "the engine isn't connected");
            self.health.set_not_ready("the engine isn't connected");
        }
    }
}

/// What a command came to.
enum Answer {
    Accepted,
    Not(String),
}

struct Worker {
    engine: Arc<Requester>,
    shared: Arc<Shared>,
    sizing: Sizing,
    limit: Duration,
}

impl Worker {
    /// One signal after the other: the second of two sees what became of the first.
    async fn run(self, mut waiting: mpsc::Receiver<(String, Signal)>, stop: CancellationToken) {
        while let Some(Some((identity, signal))) = stop.run_until_cancelled(waiting.recv()).await {
            let what = self.carry_out(&identity, &signal).await;
            let Signal {
                symbol,
                direction,
                strength,
                ..
            } = &signal;
            self.shared
                .tell(format!("{symbol} {direction:?} {strength}: {what}"));
        }
    }

    async fn carry_out(&self, identity: &str, signal: &Signal) -> String {
        let deadline = Instant::now() + self.limit;
        let mut closed = false;
        loop {
            let state = match self.state(identity, signal).await {
                Ok(state) => state,
                Err(why) => return why,
            };
            let price = self.shared.price(&signal.symbol);
            let holding = Holding::of(&signal.symbol, &state, price);
            match self.sizing.plan(signal, holding) {
                Plan::Nothing(why) => {
                    self.shared.count(|counts| counts.nothing += 1);
                    return why.to_owned();
                }
                Plan::Close => {
                    return self
                        .send(self.close(identity, signal))
                        .await
                        .in_words("closed");
                }
                Plan::CloseFirst if closed => {
                    if Instant::now() >= deadline {
                        return "the other side isn't closed yet; nothing more is sent".to_owned();
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Plan::CloseFirst => {
                    if let Answer::Not(why) = self.send(self.close(identity, signal)).await {
                        return why;
                    }
                    closed = true;
                }
                Plan::Order { side, notional } => {
                    let command = Command::SubmitOrder {
                        id: identity.to_owned(),
                        source: source(signal),
                        symbol: signal.symbol.clone(),
                        side,
                        qty: None,
                        notional: Some(notional),
                        reduce_only: false,
                    };
                    return self.send(command).await.in_words("ordered");
                }
            }
        }
    }

    fn close(&self, identity: &str, signal: &Signal) -> Command {
        Command::ClosePosition {
            id: format!("{identity}:close"),
            source: source(signal),
            symbol: signal.symbol.clone(),
        }
    }

    /// What the engine holds now. Asking changes nothing, so its loss leaves no doubt.
    async fn state(&self, identity: &str, signal: &Signal) -> Result<EngineState, String> {
        // An id of its own each time: the engine answers a repeated one as it did before.
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let command = Command::GetState {
            id: format!("{identity}:state:{stamp}"),
            source: source(signal),
        };
        match self.ask(&command).await {
            Ok(ack) => ack.state.ok_or_else(|| {
                self.shared.count(|counts| counts.unsent += 1);
                format!("the engine doesn't say what it holds: {}", ack.message)
            }),
            Err(error) => {
                self.shared.count(|counts| counts.unsent += 1);
                Err(format!(
                    "the engine can't be asked ({error}); nothing was sent"
                ))
            }
        }
    }

    async fn send(&self, command: Command) -> Answer {
        self.shared.count(|counts| counts.sent += 1);
        match self.ask(&command).await {
            Ok(ack) => self.settled(ack),
            Err(RequestError::InDoubt) => {
                self.shared.count(|counts| counts.in_doubt += 1);
                Answer::Not("no answer in time: in doubt".to_owned())
            }
            Err(error) => {
                self.shared.count(|counts| counts.unsent += 1);
                Answer::Not(error.to_string())
            }
        }
    }

    fn settled(&self, ack: Ack) -> Answer {
        match ack.outcome {
            Outcome::Accepted => {
                self.shared.count(|counts| counts.accepted += 1);
                Answer::Accepted
            }
            Outcome::Refused => {
                self.shared.count(|counts| counts.refused += 1);
                let why = ack.refusals.first().map_or(ack.message.clone(), |refusal| {
                    format!("{}: {}", refusal.check, refusal.message)
                });
                Answer::Not(format!("refused, {why}"))
            }
            Outcome::Unknown => {
                self.shared.count(|counts| counts.in_doubt += 1);
                Answer::Not(format!("in doubt at the broker, {}", ack.message))
            }
        }
    }

    async fn ask(&self, command: &Command) -> Result<Ack, RequestError> {
        let text = json!(command).to_string();
        let answer = self
            .engine
            .request(command.id(), text.into_bytes(), self.limit)
            .await?;
        // An answer that can't be read says that the engine took the command, and not how it ended.
        serde_json::from_slice(&answer).map_err(|error| {
            tracing::error!(%error, "an answer of the engine can't be read");
            RequestError::InDoubt
        })
    }
}

impl Answer {
    fn in_words(self, done: &str) -> String {
        match self {
            Self::Accepted => done.to_owned(),
            Self::Not(why) => why,
        }
    }
}

fn source(signal: &Signal) -> String {
    let strategy = if signal.strategy.is_empty() {
        "unnamed"
    } else {
        &signal.strategy
    };
    format!("signal:{strategy}")
}

async fn follow_prices(mut market: Subscriber, shared: Arc<Shared>) {
    while let Some(frame) = market.recv().await {
        let Ok(received) = parse(frame.bytes()) else {
            continue;
        };
        let (symbol, price) = match received.message {
            Message::TradeUpdate(trade) => (trade.symbol, trade.price),
            Message::BarUpdate(bar) => (bar.symbol, bar.close),
            Message::QuoteUpdate(quote) if quote.bid_price > 0.0 && quote.ask_price > 0.0 => {
                (quote.symbol, (quote.bid_price + quote.ask_price) / 2.0)
            }
            _ => continue,
        };
        shared
            .prices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(symbol, price);
    }
}
