//! Asks the engine, one signal after the other. Nothing is ever sent twice: a command without an
//! answer is in doubt, and it is the engine that knows what became of it.

use std::sync::Arc;
use std::time::Duration;

use common::bus::{RequestError, Requester};
use common::engine::{Ack, Command, EngineState, Outcome};
use common::messages::Signal;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::plan::{Holding, Plan, Sizing};
use crate::seen::Acted;
use crate::shared::Shared;

/// How often to look whether a position is closed.
const LOOK: Duration = Duration::from_millis(100);

/// Why nothing was sent for a signal: when it comes again, it is new.
struct Unsent(String);

/// What a command came to.
enum Answer {
    Accepted,
    Not(String),
}

pub(crate) struct Worker {
    pub(crate) engine: Arc<Requester>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) sizing: Sizing,
    pub(crate) limit: Duration,
    pub(crate) acted: Acted,
}

impl Worker {
    /// One signal after the other: the second of two sees what became of the first.
    pub(crate) async fn run(
        mut self,
        mut waiting: mpsc::Receiver<(String, Signal)>,
        stop: CancellationToken,
    ) {
        while let Some(Some((identity, signal))) = stop.run_until_cancelled(waiting.recv()).await {
            let what = match self.carry_out(&identity, &signal, &stop).await {
                Ok(what) => what,
                Err(Unsent(why)) => {
                    self.shared.count(|counts| counts.unsent += 1);
                    self.shared.seen().forget(&identity);
                    why
                }
            };
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

    async fn carry_out(
        &mut self,
        identity: &str,
        signal: &Signal,
        stop: &CancellationToken,
    ) -> Result<String, Unsent> {
        let deadline = Instant::now() + self.limit;
        let mut closed = false;
        loop {
            let state = match self.state(identity, signal).await {
                Ok(state) => state,
                Err(Unsent(why)) if closed => return Ok(why),
                Err(unsent) => return Err(unsent),
            };
            let price = self.shared.price(&signal.symbol);
            let holding = Holding::of(&signal.symbol, &state, price);
            let plan = self.sizing.plan(signal, holding);
            if !closed {
                self.remember(identity)?;
            }
            match plan {
                Plan::Nothing(why) => {
                    self.shared.count(|counts| counts.nothing += 1);
                    return Ok(why.to_owned());
                }
                Plan::Close => {
                    let answer = self.send(self.close(identity, signal)).await;
                    return Ok(answer.in_words("closed"));
                }
                Plan::CloseFirst if closed => {
                    let look = stop.run_until_cancelled(tokio::time::sleep(LOOK)).await;
                    if look.is_none() || Instant::now() >= deadline {
                        return Ok(
                            "the other side isn't closed yet; nothing more is sent".to_owned()
                        );
                    }
                }
                Plan::CloseFirst => {
                    if let Answer::Not(why) = self.send(self.close(identity, signal)).await {
                        return Ok(why);
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
                        traceparent: signal.traceparent.clone(),
                    };
                    return Ok(self.send(command).await.in_words("ordered"));
                }
            }
        }
    }

    /// On disk before anything is sent for it: after a crash it isn't acted on again.
    fn remember(&mut self, identity: &str) -> Result<(), Unsent> {
        self.acted.remember(identity).map_err(|error| {
            tracing::error!(%error, "signals acted on can't be written down; none is acted on");
            Unsent(format!(
                "it can't be written down that it was acted on ({error}); nothing was sent"
            ))
        })
    }

    fn close(&self, identity: &str, signal: &Signal) -> Command {
        Command::ClosePosition {
            id: format!("{identity}:close"),
            source: source(signal),
            symbol: signal.symbol.clone(),
            traceparent: signal.traceparent.clone(),
        }
    }

    /// What the engine holds now. Asking changes nothing, so its loss leaves no doubt.
    async fn state(&self, identity: &str, signal: &Signal) -> Result<EngineState, Unsent> {
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
                Unsent(format!(
                    "the engine doesn't say what it holds: {}",
                    ack.message
                ))
            }),
            Err(error) => Err(Unsent(format!(
                "the engine can't be asked ({error}); nothing was sent"
            ))),
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
