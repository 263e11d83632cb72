//! Hears the engine's events and the market, publishes the risk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::bus::{Listen, Publisher, Requester, Sides, Subscriber};
use common::engine::{AccountView, Ack, Command, EngineState, Event, What};
use common::http::{HealthCheck, Status, start_health_server};
use common::messages::{ENGINE, MARKET, Message, RISK, RiskUpdate, parse};
use common::service::{Context, Failure, Ports};
use rust_decimal::Decimal;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use crate::memory::Memory;
use crate::portfolio::Portfolio;
use crate::settings::Settings;
use crate::watch::LossWatch;

const COMPONENT: &str = "risk-manager";
/// The risk is published when it changed, at most so often.
const PUBLISH: Duration = Duration::from_millis(250);
const ASK: Duration = Duration::from_secs(5);

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
    let listen = |setting, port| Listen {
        setting,
        host: &settings.bind,
        port,
    };
    let publisher = Publisher::bind(
        listen("ports.risk", settings.risk_port),
        RISK,
        COMPONENT,
        &bound,
    )
    .await?;
    let server = start_health_server(
        health.clone(),
        listen("ports.risk_manager_health", settings.health_port),
    )
    .await?;
    let events = Subscriber::connect(&settings.events_url, &[ENGINE], &connected).await?;
    let market = match &settings.market_url {
        Some(url) => Some(Subscriber::connect(url, &[MARKET], &connected).await?),
        None => None,
    };
    let engine = Requester::connect(&settings.commands_url, &connected).await?;
    context.started(Ports::from([
        ("risk".to_owned(), publisher.port()),
        ("risk_manager_health".to_owned(), server.port()),
    ]));
    let memory = Memory::in_folder(settings.state_dir.as_deref());
    let manager = Manager {
        publisher,
        events,
        market,
        engine,
        health: health.clone(),
        portfolio: Portfolio::default(),
        watch: LossWatch::new(
            settings.max_daily_loss_pct,
            settings.max_drawdown_pct,
            memory.read(),
        ),
        memory,
        follower: Follower::default(),
        changed: false,
        malformed: 0,
    };
    let beat = Duration::from_secs_f64(settings.heartbeat_s);
    manager.turn(&context, beat).await
}

/// Keeps count of the engine's events.
#[derive(Debug, Default)]
struct Follower {
    last: Option<u64>,
    gaps: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Apply,
    /// Known already.
    Skip,
    /// Something is missing before it.
    Ask,
}

impl Follower {
    fn on_snapshot(&mut self, seq: u64) {
        self.last = Some(seq);
    }

    fn on_delta(&mut self, seq: u64) -> Step {
        match self.last {
            None => Step::Ask,
            Some(last) if seq <= last => Step::Skip,
            Some(last) if seq == last + 1 => {
                self.last = Some(seq);
                Step::Apply
            }
            Some(_) => {
                self.gaps += 1;
                // Unknown until the answer: the deltas until then are in it.
                self.last = None;
                Step::Ask
            }
        }
    }
}

struct Manager {
    publisher: Publisher,
    events: Subscriber,
    market: Option<Subscriber>,
    engine: Requester,
    health: HealthCheck,
    portfolio: Portfolio,
    watch: LossWatch,
    memory: Memory,
    follower: Follower,
    changed: bool,
    malformed: u64,
}

impl Manager {
    async fn turn(mut self, context: &Context, beat: Duration) -> Result<(), Failure> {
        let end = self.follow(context, beat).await;
        self.memory.keep(self.watch.remembered());
        end
    }

    async fn follow(&mut self, context: &Context, beat: Duration) -> Result<(), Failure> {
        let mut calls = context.calls();
        let mut beats = tokio::time::interval(beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds = tokio::time::interval(PUBLISH.min(beat));
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = context.stopped() => return Ok(()),
                _ = beats.tick() => {
                    self.publisher.beat().await;
                    self.changed = true;
                    self.report();
                    self.memory.keep(self.watch.remembered());
                    if self.follower.last.is_none() && asked.is_none_or(|at| at.elapsed() > ASK) {
                        asked = Some(Instant::now());
                        self.ask().await;
                    }
                }
                _ = rounds.tick() => self.publish().await,
                Some(call) = async { calls.as_mut()?.recv().await } => {
                    let error = format!("command {} isn't known; this service takes none", call.command);
                    call.answer(Err(error));
                }
                frame = self.events.recv() => match frame {
                    Some(frame) => self.on_event(frame.bytes()).await,
                    None => return Err(Failure::failed("the event socket is closed; please report it")),
                },
                Some(frame) = async { self.market.as_mut()?.recv().await } => self.on_market(frame.bytes()),
            }
        }
    }

    async fn on_event(&mut self, frame: &[u8]) {
        let json = frame
            .iter()
            .position(|&byte| byte == b' ')
            .map(|at| &frame[at + 1..]);
        let event = json.map(serde_json::from_slice::<Event>);
        let Some(Ok(event)) = event else {
            if self.malformed == 0 {
                tracing::warn!(
                    ?event,
                    "an event that can't be read; the next ones are only counted"
                );
            }
            self.malformed += 1;
            return;
        };
        if let What::Snapshot { state } = event.what {
            self.follower.on_snapshot(event.seq.max(state.seq));
            return self.on_state(*state).await;
        }
        match self.follower.on_delta(event.seq) {
            Step::Skip => {}
            Step::Ask => self.ask().await,
            Step::Apply => match event.what {
                What::AccountChanged { account } => self.on_account(&account).await,
                What::PositionsChanged { positions } => {
                    self.portfolio.set_positions(positions);
                    self.changed = true;
                }
                What::TradingStateChanged { trading_state, .. } => {
                    self.watch.on_trading_state(trading_state);
                    self.changed = true;
                }
                What::Snapshot { .. } | What::OrderChanged { .. } | What::Other => {}
            },
        }
    }

    async fn on_state(&mut self, state: EngineState) {
        self.portfolio.set_positions(state.positions);
        self.changed = true;
        if let Some(account) = state.account {
            self.on_account(&account).await;
        }
        self.watch.on_trading_state(state.trading_state);
    }

    async fn on_account(&mut self, account: &AccountView) {
        self.changed = true;
        if self.watch.on_account(account.equity, account.last_equity) {
            tracing::error!(
                state = self.watch.demand().as_str(),
                reason = self.watch.reason(),
                "a limit of loss"
            );
            // Now, not at the next round: the engine waits for nothing else to stop.
            self.publish().await;
            self.memory.keep(self.watch.remembered());
        }
    }

    fn on_market(&mut self, frame: &[u8]) {
        match parse(frame).map(|received| received.message) {
            Ok(Message::BarUpdate(bar)) => self.portfolio.on_bar(&bar),
            Ok(Message::TradeUpdate(trade)) => self.portfolio.on_price(&trade.symbol, trade.price),
            Ok(Message::QuoteUpdate(quote)) if quote.bid_price > 0.0 && quote.ask_price > 0.0 => {
                let middle = (quote.bid_price + quote.ask_price) / 2.0;
                self.portfolio.on_price(&quote.symbol, middle);
            }
            Ok(_) => return,
            Err(_) => self.malformed += 1,
        }
        self.changed = true;
    }

    /// Ask the engine for everything.
    async fn ask(&mut self) {
        let stamp = wall_ns();
        let command = Command::GetState {
            id: format!("risk-manager:{stamp}"),
            source: "risk".to_owned(),
        };
        let text = json!(command).to_string();
        let answer = self
            .engine
            .request(command.id(), text.into_bytes(), ASK)
            .await;
        match answer.map(|answer| serde_json::from_slice::<Ack>(&answer)) {
            Ok(Ok(Ack {
                state: Some(state), ..
            })) => {
                self.follower.on_snapshot(state.seq);
                self.on_state(state).await;
            }
            Ok(other) => tracing::warn!(?other, "the engine doesn't say what it holds"),
            Err(error) => tracing::debug!(%error, "the engine can't be asked"),
        }
    }

    async fn publish(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let Some(equity) = self.watch.equity() else {
            return;
        };
        let exposure = self.portfolio.exposure();
        let update = RiskUpdate {
            equity,
            peak_equity: self.watch.peak(),
            drawdown_pct: self.watch.drawdown_pct().round_dp(4),
            gross_exposure: exposure.gross,
            net_exposure: exposure.net,
            var_95: exposure.var_95,
            trading_state: self.watch.demand(),
            reason: self.watch.reason().chars().take(512).collect(),
            timestamp: wall_ns(),
        };
        if let Err(error) = self.publisher.publish(&Message::RiskUpdate(update)).await {
            tracing::error!(%error, "the risk wasn't published");
        }
    }

    fn report(&self) {
        let health = &self.health;
        let events = self.events.stats();
        for (name, help, value) in [
            ("events", "events of the engine received", events.received),
            (
                "gaps",
                "times that an event was missing",
                self.follower.gaps,
            ),
            (
                "malformed",
                "messages that couldn't be read",
                self.malformed,
            ),
            (
                "published",
                "messages published, heartbeats too",
                self.publisher.sent(),
            ),
            (
                "engine_reconnects",
                "connections to the engine made again",
                events.reconnects,
            ),
        ] {
            health.counter(name, help, value);
        }
        let exposure = self.portfolio.exposure();
        for (name, help, value) in [
            (
                "positions",
                "positions held",
                Decimal::from(self.portfolio.count()),
            ),
            (
                "drawdown_pct",
                "percent below the equity's peak",
                self.watch.drawdown_pct(),
            ),
            ("gross_exposure", "dollars at risk", exposure.gross),
            (
                "var_95",
                "dollars that a day loses with a chance of 5 %",
                exposure.var_95,
            ),
        ] {
            health.gauge(name, help, f64::try_from(value).unwrap_or_default());
        }
        health.text("trading_state", self.watch.demand().as_str());
        if events.peers == 0 {
            health.set(Status::Degraded, "the engine isn't connected");
            health.set_not_ready("the engine isn't connected");
        } else if self.watch.equity().is_none() {
            health.set(Status::Degraded, "the engine hasn't told the account yet");
            health.set_not_ready("the engine hasn't told the account yet");
        } else {
            let state = self.watch.demand().as_str();
            health.set(Status::Healthy, format!("asks for {state}"));
            health.set_ready();
        }
    }
}

fn wall_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_are_applied_once_and_in_order() {
        let mut follower = Follower::default();
        assert_eq!(follower.on_delta(5), Step::Ask);
        follower.on_snapshot(5);
        assert_eq!(follower.on_delta(5), Step::Skip);
        assert_eq!(follower.on_delta(6), Step::Apply);
        assert_eq!(follower.on_delta(8), Step::Ask);
        assert_eq!(follower.on_delta(9), Step::Ask);
        follower.on_snapshot(9);
        assert_eq!(follower.on_delta(10), Step::Apply);
        assert_eq!(follower.gaps, 1);
    }
}
