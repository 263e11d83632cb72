//! Hears the signals, tells those that came before, and says how the service is.

use std::sync::Arc;
use std::time::Duration;

use common::bus::{Requester, Subscriber};
use common::http::{HealthCheck, Status};
use common::messages::{Message, Signal, parse};
use common::service::{Context, Failure};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::plan::identity;
use crate::shared::Shared;

/// Signals that wait for the engine; the next one is dropped and counted.
pub(crate) const WAITING: usize = 1024;

pub(crate) struct Ears {
    pub(crate) signals: Subscriber,
    pub(crate) queue: mpsc::Sender<(String, Signal)>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) engine: Arc<Requester>,
    pub(crate) health: HealthCheck,
}

impl Ears {
    pub(crate) async fn listen(mut self, context: &Context, beat: Duration) -> Result<(), Failure> {
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
        if !self.shared.seen().is_new(&identity) {
            self.shared.count(|counts| counts.repeated += 1);
            return;
        }
        if let Err(full) = self.queue.try_send((identity, signal)) {
            let (identity, _) = full.into_inner();
            self.shared.seen().forget(&identity);
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
        let last = self.shared.last();
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
