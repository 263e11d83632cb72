//! The exchange at work: its core, the replay that feeds it, the log that remembers it, and everybody
//! who talks to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api::auth::{Credentials, Identity, same_hash};
use crate::api::error::ApiError;
use crate::api::faults::Faults;
use crate::api::limit::RateLimiter;
use crate::api::wire;
use crate::core::{Account, Batch, Exchange, Nanos, Phase};
use crate::data::Hub;
use crate::replay::{Clock, Replay, Schedule, Tick};
use crate::settings::Settings;
use crate::storage::Log;
use crate::updates::{Message, Updates};

/// Batches that may wait for the disk.
const PENDING: usize = 4096;
/// Between two looks at the clock.
const BEAT: Duration = Duration::from_millis(10);
const BEATS_PER_MARK: u32 = 100;
/// Accounts that may be opened: a bound on memory.
const ACCOUNTS: usize = 10_000;

/// The market's hours as seen from `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    pub now: Nanos,
    pub is_open: bool,
    pub next_open: Option<Nanos>,
    pub next_close: Option<Nanos>,
}

/// What moves together under one lock.
pub struct Floor {
    pub exchange: Exchange,
    pub replay: Replay,
    pub clock: Clock,
    schedule: Arc<Schedule>,
    hub: Arc<Hub>,
    started: Instant,
    /// Updates told so far.
    told: u64,
}

impl Floor {
    #[must_use]
    pub fn new(
        exchange: Exchange,
        replay: Replay,
        clock: Clock,
        schedule: Arc<Schedule>,
        started: Instant,
        hub: Arc<Hub>,
    ) -> Self {
        Self {
            exchange,
            replay,
            clock,
            schedule,
            hub,
            started,
            told: 0,
        }
    }

    /// Real nanoseconds since the clock was made.
    #[must_use]
    pub fn real(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    /// Brings the market to where the clock is.
    pub fn run(&mut self) {
        let now = self.clock.advance(self.real());
        self.follow(now);
    }

    fn follow(&mut self, now: Nanos) {
        let (exchange, hub) = (&mut self.exchange, &self.hub);
        self.replay.advance_to(now, &mut |tick: Tick| {
            exchange.tick(&tick);
            hub.publish(&tick);
        });
        self.exchange.advance(now);
        self.hub.flush(now);
    }

    /// Market time, and when the market opens and closes next: in the sessions that are played.
    fn hours(&self) -> Hours {
        let now = self.exchange.now();
        let next_open = self.schedule.next_open(now).map(|day| day.session.open);
        let running = self.schedule.running(now);
        let next = running.or_else(|| self.schedule.next_open(now));
        Hours {
            now,
            is_open: self.exchange.phase() == Phase::Regular,
            next_open,
            next_close: next.map(|day| day.session.close),
        }
    }

    /// The clock as `/_exchange/clock` and the service's answers show it.
    #[must_use]
    pub fn clock_json(&self) -> Value {
        json!({
            "market_time": wire::utc(self.exchange.now()),
            "speed": self.clock.speed(),
            "paused": self.clock.is_paused(),
            "is_open": self.exchange.phase() == Phase::Regular,
            "accounts": self.exchange.accounts().len(),
            "orders": self.exchange.accounts().iter().map(|account| account.orders().len()).sum::<usize>(),
        })
    }

    /// Pauses, resumes, steps, seeks or changes the speed.
    ///
    /// # Errors
    /// One line that names the value and the rule.
    pub fn command(&mut self, command: &Value) -> Result<Value, String> {
        let fields = command
            .as_object()
            .ok_or("a command is a JSON object, such as {\"pause\":true}")?;
        for (name, value) in fields {
            let real = self.real();
            let number = || {
                value
                    .as_f64()
                    .ok_or_else(|| format!("{name} is a number, not {value}"))
            };
            match name.as_str() {
                "pause" => match value.as_bool() {
                    Some(true) => self.clock.pause(real),
                    Some(false) => self.clock.resume(real),
                    None => return Err(format!("pause is true or false, not {value}")),
                },
                "speed" => {
                    let speed = number()?;
                    self.clock
                        .set_speed(real, speed)
                        .map_err(|error| error.to_string())?;
                    self.replay.set_speed(speed);
                }
                "step_s" => {
                    self.clock
                        .step(real, number()?)
                        .map_err(|error| error.to_string())?;
                }
                "seek" => {
                    let to = value.as_str().and_then(crate::api::time);
                    let to = to.ok_or_else(|| format!("seek is an RFC 3339 time, not {value}"))?;
                    self.clock
                        .seek(real, to)
                        .map_err(|error| error.to_string())?;
                }
                "clock" => {}
                other => {
                    return Err(format!(
                        "no command {other}: there are pause, speed, step_s, seek and clock"
                    ));
                }
            }
        }
        self.run();
        Ok(self.clock_json())
    }
}

type Place<'a> = Option<mpsc::Permit<'a, Pending>>;

struct Pending {
    batch: Option<Batch>,
    messages: Vec<Message>,
    done: Option<oneshot::Sender<()>>,
    /// Nothing comes after it.
    last: bool,
}

/// What all handlers share.
pub struct Shared {
    floor: Mutex<Floor>,
    pub updates: Arc<Updates>,
    log: Option<mpsc::Sender<Pending>>,
    pub limiter: RateLimiter,
    pub faults: Faults,
    pub settings: Settings,
    pub stop: CancellationToken,
}

impl Shared {
    /// With a log, [`Writer`] must be run beside it.
    #[must_use]
    pub fn new(
        floor: Floor,
        settings: Settings,
        log: Option<Log>,
        stop: CancellationToken,
    ) -> (Arc<Self>, Option<Writer>) {
        let updates = Arc::new(Updates::default());
        let (sender, receiver) = mpsc::channel(PENDING);
        let writer = log.map(|log| Writer {
            log,
            receiver,
            updates: Arc::clone(&updates),
        });
        let shared = Self {
            floor: Mutex::new(floor),
            log: writer.is_some().then_some(sender),
            limiter: RateLimiter::new(settings.rate_limit),
            faults: Faults::default(),
            updates,
            settings,
            stop,
        };
        (Arc::new(shared), writer)
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the exchange as it is now.
    pub fn read<T>(&self, look: impl FnOnce(&Exchange) -> T) -> T {
        self.look(|floor| look(&floor.exchange))
    }

    /// What the clock shows now.
    pub fn hours(&self) -> Hours {
        self.look(Floor::hours)
    }

    /// Market seconds a second; 0 while the clock stands still.
    pub fn pace(&self) -> f64 {
        let floor = self.floor();
        if floor.clock.is_paused() {
            0.0
        } else {
            floor.clock.speed()
        }
    }

    /// Updates told in this run.
    pub fn told(&self) -> u64 {
        self.floor().told
    }

    fn look<T>(&self, look: impl FnOnce(&Floor) -> T) -> T {
        let mut floor = self.floor();
        // While the disk lags behind, the market stands still rather than run ahead of its memory.
        if let Ok(place) = self.place() {
            floor.run();
            self.hand_over(&mut floor, place, None);
        }
        look(&floor)
    }

    /// A place in the queue to the disk; none is needed without a log.
    fn place(&self) -> Result<Place<'_>, ()> {
        self.log
            .as_ref()
            .map(|log| log.try_reserve())
            .transpose()
            .map_err(|_| ())
    }

    /// Does something to the exchange and waits until it is remembered.
    ///
    /// # Errors
    /// The disk refused to remember it; what `act` itself gives is inside.
    pub async fn act<T>(&self, act: impl FnOnce(&mut Exchange) -> T) -> Result<T, ApiError> {
        let (done, remembered) = oneshot::channel();
        let place = match &self.log {
            Some(log) => Some(log.reserve().await.map_err(|_| ApiError::internal())?),
            None => None,
        };
        let answer = {
            let mut floor = self.floor();
            floor.run();
            let answer = act(&mut floor.exchange);
            self.hand_over(&mut floor, place, Some(done));
            answer
        };
        if self.log.is_some() && remembered.await.is_err() {
            return Err(ApiError::internal());
        }
        Ok(answer)
    }

    /// Ends the [`Writer`] when all that was given to it is on the disk.
    pub async fn end_log(&self) {
        if let Some(log) = &self.log {
            let last = Pending {
                batch: None,
                messages: Vec::new(),
                done: None,
                last: true,
            };
            // An error means that it has ended already.
            let _ = log.send(last).await;
        }
    }

    fn mark(&self) {
        let mut floor = self.floor();
        let place = self.log.as_ref().and_then(|log| log.try_reserve().ok());
        if place.is_some() && !floor.exchange.accounts().is_empty() {
            floor.exchange.mark();
            self.hand_over(&mut floor, place, None);
        }
    }

    /// Commands to the clock.
    ///
    /// # Errors
    /// One line that names the value and the rule.
    pub fn command(&self, command: &Value) -> Result<Value, String> {
        let mut floor = self.floor();
        let place = self
            .place()
            .map_err(|()| "the disk lags behind; try again".to_owned())?;
        let answer = floor.command(command);
        self.hand_over(&mut floor, place, None);
        answer
    }

    /// Gives what happened to the log, which tells the listeners afterwards, or straight to them.
    fn hand_over(&self, floor: &mut Floor, place: Place<'_>, done: Option<oneshot::Sender<()>>) {
        let exchange = &mut floor.exchange;
        let updates = exchange.take_updates();
        let batch = exchange.take_batch();
        let messages: Vec<Message> = updates
            .iter()
            .zip(floor.told + 1..)
            .map(|(update, number)| Message {
                account: update.account,
                at: update.at,
                number,
                json: Bytes::from(wire::update(update, exchange).to_string()),
            })
            .collect();
        floor.told += messages.len() as u64;
        match place {
            Some(place) => {
                if batch.is_some() || !messages.is_empty() || done.is_some() {
                    // When the writer is gone, `done` goes with it and the request fails.
                    place.send(Pending {
                        batch,
                        messages,
                        done,
                        last: false,
                    });
                }
            }
            None => self.updates.publish(messages),
        }
    }

    /// The account that the credentials open.
    ///
    /// # Errors
    /// They are not those of a paper account, or its secret is another one.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Identity, ApiError> {
        if !credentials.are_plausible() {
            return Err(ApiError::forbidden());
        }
        let hash = credentials.hash();
        let known = {
            let floor = self.floor();
            let number = floor.exchange.account_number(&credentials.key_id);
            number.map(|number| {
                (
                    number,
                    same_hash(&floor.exchange.account(number).secret_hash, &hash),
                )
            })
        };
        match known {
            Some((account, true)) => Ok(Identity { account }),
            Some((_, false)) => Err(ApiError::forbidden()),
            None => self.open_account(credentials, &hash).await,
        }
    }

    async fn open_account(
        &self,
        credentials: &Credentials,
        hash: &str,
    ) -> Result<Identity, ApiError> {
        let opened = self.act(
            |exchange| match exchange.account_number(&credentials.key_id) {
                // Another request was faster.
                Some(number) => {
                    same_hash(&exchange.account(number).secret_hash, hash).then_some(number)
                }
                None => (exchange.accounts().len() < ACCOUNTS)
                    .then(|| exchange.open_account(&credentials.key_id, hash)),
            },
        );
        opened
            .await?
            .map(|account| Identity { account })
            .ok_or_else(ApiError::forbidden)
    }

    /// Moves the market along until the service stops. Each second, and at the end, how late it is goes
    /// to the log, so that market time doesn't run backwards over a restart.
    pub async fn drive(self: Arc<Self>) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut beats = 0u32;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                _ = beat.tick() => self.read(|_| ()),
            }
            beats += 1;
            if beats.is_multiple_of(BEATS_PER_MARK) {
                self.mark();
            }
        }
        self.mark();
    }
}

/// The one who writes the log, on a thread of its own, until [`Shared::end_log`].
pub struct Writer {
    log: Log,
    receiver: mpsc::Receiver<Pending>,
    updates: Arc<Updates>,
}

impl Writer {
    /// Writes what comes, all that waits at once, and tells the listeners when it is on the disk.
    ///
    /// # Errors
    /// The disk refused. What was waiting is not told, and requests fail from then on.
    pub fn run(mut self) -> Result<(), crate::storage::StorageError> {
        let mut pending = Vec::new();
        loop {
            pending.clear();
            if self.receiver.blocking_recv_many(&mut pending, PENDING) == 0 {
                return Ok(());
            }
            if pending.iter().any(|entry| entry.batch.is_some()) {
                self.log
                    .append(pending.iter().filter_map(|entry| entry.batch.as_ref()))?;
            }
            let last = pending.iter().any(|entry| entry.last);
            for entry in pending.drain(..) {
                self.updates.publish(entry.messages);
                if let Some(done) = entry.done {
                    let _ = done.send(());
                }
            }
            if last {
                return Ok(());
            }
        }
    }
}

/// An account by its identity, for handlers.
#[must_use]
pub fn account_of(exchange: &Exchange, identity: Identity) -> &Account {
    exchange.account(identity.account)
}
