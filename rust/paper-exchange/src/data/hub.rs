//! Hands each tick to the clients that asked for it, encoded once a format, and remembers the latest of each symbol.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use common::calendar;
use tokio::sync::{Notify, mpsc};

use super::wire::{self, Format, Json, MsgPack, Tape};
use crate::recording::{BarRow, Recording};
use crate::replay::{Bar, Quote, SymbolId, Tick, Trade};

/// What a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    Trades,
    Quotes,
    Bars,
    UpdatedBars,
    DailyBars,
    Statuses,
    Lulds,
    Imbalances,
}

impl Channel {
    pub const ALL: [Channel; 8] = [
        Channel::Trades,
        Channel::Quotes,
        Channel::Bars,
        Channel::UpdatedBars,
        Channel::DailyBars,
        Channel::Statuses,
        Channel::Lulds,
        Channel::Imbalances,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Channel::Trades => "trades",
            Channel::Quotes => "quotes",
            Channel::Bars => "bars",
            Channel::UpdatedBars => "updatedBars",
            Channel::DailyBars => "dailyBars",
            Channel::Statuses => "statuses",
            Channel::Lulds => "lulds",
            Channel::Imbalances => "imbalances",
        }
    }
}

/// The symbols of a subscription, by channel; `*` stands for all.
pub type Subscriptions = BTreeMap<Channel, BTreeSet<String>>;

/// A frame is closed when it has so many bytes, and begun anew.
const FRAME_BYTES: usize = 64 * 1024;

/// The latest of a symbol since the hub began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latest {
    pub(super) quote: Option<Quote>,
    pub(super) trade: Option<Trade>,
    pub(super) bar: Option<Bar>,
    day: Option<BarRow>,
}

/// What a client's connection holds of the hub. Dropping it ends the subscription.
pub struct Feed {
    hub: Arc<Hub>,
    id: u64,
    frames: mpsc::UnboundedReceiver<Bytes>,
    state: Arc<FeedState>,
}

#[derive(Default)]
struct FeedState {
    queued: AtomicUsize,
    is_slow: AtomicBool,
    slow: Notify,
}

struct Client {
    format: Format,
    wanted: Vec<Wanted>,
    subscriptions: Subscriptions,
    frame: Vec<u8>,
    messages: u32,
    frames: mpsc::UnboundedSender<Bytes>,
    state: Arc<FeedState>,
}

/// The symbols of one channel, by id.
#[derive(Clone, Default)]
struct Wanted {
    all: bool,
    symbols: Vec<bool>,
}

struct Inner {
    clients: BTreeMap<u64, Client>,
    next_id: u64,
    latest: Vec<Latest>,
    json: Vec<u8>,
    msgpack: Vec<u8>,
}

/// The meeting point of the driver, which publishes, and the connections, which read.
pub struct Hub {
    recording: Arc<Recording>,
    tapes: Vec<Tape>,
    /// Bytes that may wait for a client before it counts as slow.
    queue_bytes: usize,
    now: AtomicI64,
    inner: Mutex<Inner>,
}

impl Hub {
    /// `tape` of each symbol by its name.
    pub fn new(
        recording: Arc<Recording>,
        queue_bytes: usize,
        now: i64,
        tape: impl Fn(&str) -> Tape,
    ) -> Hub {
        let symbols = recording.symbols();
        Hub {
            tapes: symbols.iter().map(|symbol| tape(symbol)).collect(),
            inner: Mutex::new(Inner {
                clients: BTreeMap::new(),
                next_id: 0,
                latest: vec![Latest::default(); symbols.len()],
                json: Vec::with_capacity(256),
                msgpack: Vec::with_capacity(256),
            }),
            recording,
            queue_bytes,
            now: AtomicI64::new(now),
        }
    }

    /// Market time up to which everything was published; history is served up to here.
    pub fn now(&self) -> i64 {
        self.now.load(Ordering::Acquire)
    }

    pub(super) fn tape(&self, symbol: SymbolId) -> Tape {
        self.tapes[symbol.index()]
    }

    pub(super) fn latest(&self, symbol: SymbolId) -> Latest {
        self.lock().latest[symbol.index()]
    }

    pub fn client_count(&self) -> usize {
        self.lock().clients.len()
    }

    /// Nothing in here can leave a half-done state, so a panicked publisher doesn't end the others.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up one tick. Clients get it with the next [`Hub::flush`], or before when a frame is full.
    pub fn publish(&self, tick: &Tick) {
        let mut inner = self.lock();
        let Some(symbol) = tick.symbol() else { return };
        let name = self.recording.name(symbol);
        let tape = self.tapes[symbol.index()];
        let latest = &mut inner.latest[symbol.index()];
        match tick {
            Tick::Quote(quote) => {
                latest.quote = Some(*quote);
                inner.send(
                    self.queue_bytes,
                    Channel::Quotes,
                    symbol,
                    |out, format| match format {
                        Format::Json => wire::quote::<Json>(out, Some(("q", name)), quote, tape),
                        Format::MsgPack => {
                            wire::quote::<MsgPack>(out, Some(("q", name)), quote, tape)
                        }
                    },
                );
            }
            Tick::Trade(trade) => {
                latest.trade = Some(*trade);
                inner.send(
                    self.queue_bytes,
                    Channel::Trades,
                    symbol,
                    |out, format| match format {
                        Format::Json => wire::trade::<Json>(out, Some(("t", name)), trade, tape),
                        Format::MsgPack => {
                            wire::trade::<MsgPack>(out, Some(("t", name)), trade, tape)
                        }
                    },
                );
            }
            Tick::Bar(bar) => {
                latest.bar = Some(*bar);
                let day = latest.add_to_day(bar);
                let minute = bar.row();
                inner.send(self.queue_bytes, Channel::Bars, symbol, |out, format| {
                    bar_message(out, format, "b", name, &minute)
                });
                if let Some(day) = day {
                    inner.send(
                        self.queue_bytes,
                        Channel::DailyBars,
                        symbol,
                        |out, format| {
                            bar_message(out, format, "d", name, &day);
                        },
                    );
                }
            }
            Tick::Open { .. } | Tick::Close { .. } => {}
        }
    }

    /// Sends what has been taken up and moves `now` on.
    pub fn flush(&self, now: i64) {
        self.now.fetch_max(now, Ordering::AcqRel);
        let mut inner = self.lock();
        inner
            .clients
            .retain(|_, client| client.flush(self.queue_bytes));
    }

    /// A new client without subscriptions.
    pub fn join(self: &Arc<Self>, format: Format) -> Feed {
        let (sender, frames) = mpsc::unbounded_channel();
        let state = Arc::new(FeedState::default());
        let mut inner = self.lock();
        let id = inner.next_id;
        inner.next_id += 1;
        let client = Client {
            format,
            wanted: vec![Wanted::default(); Channel::ALL.len()],
            subscriptions: Subscriptions::new(),
            frame: Vec::new(),
            messages: 0,
            frames: sender,
            state: state.clone(),
        };
        inner.clients.insert(id, client);
        drop(inner);
        Feed {
            hub: self.clone(),
            id,
            frames,
            state,
        }
    }
}

fn bar_message(out: &mut Vec<u8>, format: Format, kind: &str, name: &str, bar: &BarRow) {
    match format {
        Format::Json => wire::bar::<Json>(out, Some((kind, name)), bar),
        Format::MsgPack => wire::bar::<MsgPack>(out, Some((kind, name)), bar),
    }
}

impl Latest {
    /// The daily bar after a minute of the regular session; `None` outside of it.
    fn add_to_day(&mut self, bar: &Bar) -> Option<BarRow> {
        if !calendar::is_open(bar.start) {
            return None;
        }
        let start = calendar::midnight(calendar::date_at(bar.start));
        let day = match self.day {
            Some(day) if day.start == start => {
                let volume = day.volume + bar.volume;
                let turnover = i128::from(day.vwap.micros()) * i128::from(day.volume)
                    + i128::from(bar.vwap.micros()) * i128::from(bar.volume);
                BarRow {
                    high: day.high.max(bar.high),
                    low: day.low.min(bar.low),
                    close: bar.close,
                    vwap: crate::replay::Price::from_micros(
                        (turnover / i128::from(volume.max(1))) as i64,
                    ),
                    volume,
                    trade_count: day.trade_count.saturating_add(bar.trade_count),
                    ..day
                }
            }
            _ => BarRow { start, ..bar.row() },
        };
        self.day = Some(day);
        self.day
    }
}

impl Inner {
    /// Encodes a message for each format that somebody wants it in, and adds it to their frames.
    fn send(
        &mut self,
        limit: usize,
        channel: Channel,
        symbol: SymbolId,
        encode: impl Fn(&mut Vec<u8>, Format),
    ) {
        self.json.clear();
        self.msgpack.clear();
        for client in self.clients.values_mut() {
            let wanted = &client.wanted[channel as usize];
            if !wanted.all && !wanted.symbols.get(symbol.index()).copied().unwrap_or(false) {
                continue;
            }
            let message = match client.format {
                Format::Json => &mut self.json,
                Format::MsgPack => &mut self.msgpack,
            };
            if message.is_empty() {
                encode(message, client.format);
            }
            client.add(message, limit);
        }
    }
}

impl Client {
    fn add(&mut self, message: &[u8], limit: usize) {
        if self.format == Format::Json {
            self.frame
                .push(if self.messages == 0 { b'[' } else { b',' });
        }
        self.frame.extend_from_slice(message);
        self.messages += 1;
        if self.frame.len() >= FRAME_BYTES {
            self.flush(limit);
        }
    }

    /// Queues the frame at hand. False when the client is gone or too slow and is to be forgotten.
    fn flush(&mut self, limit: usize) -> bool {
        if self.state.is_slow.load(Ordering::Acquire) || self.frames.is_closed() {
            return false;
        }
        if self.messages == 0 {
            return true;
        }
        let body = std::mem::take(&mut self.frame);
        let frame = match self.format {
            Format::Json => {
                let mut frame = body;
                frame.push(b']');
                frame
            }
            Format::MsgPack => {
                let mut frame = Vec::with_capacity(body.len() + 5);
                wire::array(&mut frame, self.messages);
                frame.extend_from_slice(&body);
                frame
            }
        };
        self.messages = 0;
        let size = frame.len();
        if self.state.queued.fetch_add(size, Ordering::AcqRel) + size > limit {
            self.state.is_slow.store(true, Ordering::Release);
            self.state.slow.notify_one();
            return false;
        }
        self.frames.send(frame.into()).is_ok()
    }
}

impl Feed {
    /// The next frame. `None` once the hub has given the client up as slow.
    pub async fn next(&mut self) -> Option<Bytes> {
        if self.is_slow() {
            return None;
        }
        tokio::select! {
            biased;
            () = self.state.slow.notified() => None,
            frame = self.frames.recv() => {
                let frame = frame?;
                self.state.queued.fetch_sub(frame.len(), Ordering::AcqRel);
                Some(frame)
            }
        }
    }

    pub fn is_slow(&self) -> bool {
        self.state.is_slow.load(Ordering::Acquire)
    }

    /// Waits until the client counts as slow.
    pub async fn became_slow(&self) {
        while !self.is_slow() {
            self.state.slow.notified().await;
        }
    }

    /// Adds or takes away symbols; returns what the client is subscribed to then.
    pub fn change(&self, changes: &Subscriptions, subscribe: bool) -> Subscriptions {
        let mut inner = self.hub.lock();
        let Some(client) = inner.clients.get_mut(&self.id) else {
            return Subscriptions::new();
        };
        for (channel, symbols) in changes {
            let current = client.subscriptions.entry(*channel).or_default();
            if subscribe {
                current.extend(symbols.iter().cloned());
            } else if symbols.contains("*") {
                current.clear();
            } else {
                current.retain(|symbol| !symbols.contains(symbol));
            }
            let known = self.hub.recording.symbols();
            client.wanted[*channel as usize] = Wanted {
                all: current.contains("*"),
                symbols: known
                    .iter()
                    .map(|symbol| current.contains(symbol))
                    .collect(),
            };
        }
        client.subscriptions.clone()
    }

    pub fn subscriptions(&self) -> Subscriptions {
        self.change(&Subscriptions::new(), true)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.hub.lock().clients.remove(&self.id);
    }
}
