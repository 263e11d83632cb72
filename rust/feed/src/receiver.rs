//! A feed on a thread of its own, fed by the bus.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::bus::{BusConfig, Subscriber};
use common::service::Failure;
use tokio_util::sync::CancellationToken;

use crate::feed::{Feed, FeedError, Settings, Stats};
use crate::frame::Frame;
use crate::history::Bars;

/// Messages taken in under one lock; after so many a waiting reader gets its turn.
const BATCH: usize = 256;

/// Receives until it is stopped. Reconnecting is the subscriber's own affair; what it means is in
/// the frame's state.
#[derive(Debug)]
pub struct Receiver {
    url: String,
    topic: String,
    bus: BusConfig,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    /// Closed by the thread's end.
    alive: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    feed: Mutex<Feed>,
    reconnects: Mutex<u64>,
    clock: Clock,
}

/// Seconds of the caller's monotonic clock: `origin` of it is our `start`.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: f64,
    start: Instant,
}

impl Clock {
    fn now(&self) -> f64 {
        self.origin + self.start.elapsed().as_secs_f64()
    }
}

/// The lock, whoever panicked while holding it: a feed is counts and numbers, whole at any time.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// `origin` is the present reading of the caller's monotonic clock, in seconds.
    pub fn new(
        url: &str,
        topic: &str,
        settings: &Settings,
        bus: BusConfig,
        origin: f64,
    ) -> Result<Self, FeedError> {
        let clock = Clock {
            origin,
            start: Instant::now(),
        };
        let shared = Shared {
            feed: Mutex::new(Feed::new(settings)?),
            reconnects: Mutex::new(0),
            clock,
        };
        Ok(Self {
            url: url.to_owned(),
            topic: topic.to_owned(),
            bus,
            shared: Arc::new(shared),
            running: Mutex::new(None),
        })
    }

    /// Starts the thread, once; it connects whenever the publisher is there.
    pub fn start(&self) -> Result<(), Failure> {
        let mut running = locked(&self.running);
        if running.is_some() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("the feed can't start: {error}")))?;
        let (url, topic, bus) = (self.url.clone(), self.topic.clone(), self.bus.clone());
        let stop = CancellationToken::new();
        let (running_here, alive) = mpsc::channel();
        let (shared, stopped) = (Arc::clone(&self.shared), stop.clone());
        let subscriber = runtime.block_on(Subscriber::connect(&url, &[&topic], &bus))?;
        let thread = std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || {
                let _running: mpsc::Sender<()> = running_here;
                runtime.block_on(receive(subscriber, &shared, &stopped));
                // Whatever the socket still does in the background ends with the runtime.
                runtime.shutdown_timeout(Duration::from_millis(100));
            })
            .map_err(|error| Failure::failed(format!("the feed can't start: {error}")))?;
        *running = Some(Running {
            stop,
            alive,
            thread,
        });
        Ok(())
    }

    /// Stops the thread and joins it; answers whether it ended within `limit`.
    pub fn stop(&self, limit: Duration) -> bool {
        let Some(running) = locked(&self.running).take() else {
            return true;
        };
        running.stop.cancel();
        let ended = !matches!(
            running.alive.recv_timeout(limit),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        if ended {
            // A panic in the thread was reported by its hook; there is nothing left to do about it.
            let _ = running.thread.join();
        }
        ended
    }

    pub fn is_running(&self) -> bool {
        locked(&self.running)
            .as_ref()
            .is_some_and(|running| !running.thread.is_finished())
    }

    /// Everything at `now`, a reading of the caller's clock.
    pub fn frame(&self, now: f64) -> Frame {
        locked(&self.shared.feed).frame(now)
    }

    pub fn bars(&self, symbol: &str) -> Result<Bars, FeedError> {
        locked(&self.shared.feed).bars(symbol)
    }

    pub fn seed(&self, symbol: &str, bars: &Bars) -> Result<(), FeedError> {
        locked(&self.shared.feed).seed(symbol, bars)
    }

    /// Counts since the start, and how often the connection came back.
    pub fn stats(&self) -> (Stats, u64) {
        (
            locked(&self.shared.feed).stats(),
            *locked(&self.shared.reconnects),
        )
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(2));
    }
}

async fn receive(mut subscriber: Subscriber, shared: &Shared, stop: &CancellationToken) {
    let mut peers = subscriber.peer_changes();
    loop {
        let connected = *peers.borrow_and_update();
        locked(&shared.feed).connected(connected);
        *locked(&shared.reconnects) = subscriber.stats().reconnects;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = peers.changed() => if changed.is_err() { return },
            frame = subscriber.recv() => {
                let Some(frame) = frame else { return };
                let now = shared.clock.now();
                let mut feed = locked(&shared.feed);
                feed.receive(frame.bytes(), now);
                for _ in 1..BATCH {
                    let Some(frame) = subscriber.try_recv() else { break };
                    feed.receive(frame.bytes(), now);
                }
            }
        }
    }
}
