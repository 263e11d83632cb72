//! The pure core: messages and moments in, a frame out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use common::bus::Gaps;
use common::messages::{Message, parse};
use features::NameError;
use thiserror::Error;

use crate::columns::Columns;
use crate::fast_bar;
use crate::frame::{ConnectionState, Frame, SPARK};
use crate::history::{Bars, HistoryBar};
use crate::symbol::Symbol;

/// How often the count of messages is noted for the rate, in seconds.
const RATE_STEP: f64 = 0.1;
const NANOS: f64 = 1e9;

/// What a feed follows and keeps.
#[derive(Clone, Debug)]
pub struct Settings {
    pub symbols: Vec<String>,
    /// Names of columns, see [`Columns`].
    pub features: Vec<String>,
    /// Bars kept a symbol.
    pub history: usize,
    /// Seconds without a message after which the connection counts as stale.
    pub stale_after_s: f64,
}

/// A feed that can't be set up or asked so: value, rule, remedy.
#[derive(Debug, Error, PartialEq)]
pub enum FeedError {
    #[error("symbol {0:?} is listed twice; name it once")]
    Twice(String),
    #[error("no symbol is listed; a feed follows at least one")]
    NoSymbols,
    #[error("history = {0} bars; 1 to 1000000 can be kept")]
    History(usize),
    #[error("stale_after_s = {0}; a number of seconds above 0 is wanted")]
    StaleAfter(f64),
    #[error(transparent)]
    Feature(#[from] NameError),
    #[error("symbol {0:?} isn't followed by this feed; it follows {1}")]
    Symbol(String, String),
    #[error("seed of {symbol}: {rule}")]
    Seed { symbol: String, rule: String },
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub received: u64,
    pub bars: u64,
    pub quotes: u64,
    pub trades: u64,
    pub heartbeats: u64,
    /// Messages of symbols that aren't followed, or of no kind that a feed uses.
    pub ignored: u64,
    /// Bars older than the last one of their symbol.
    pub late: u64,
    pub malformed: u64,
    /// Messages that the publisher numbered and that never came.
    pub gaps: u64,
    /// How often the publisher's numbers began anew.
    pub restarts: u64,
    pub bytes: u64,
}

/// Follows some symbols. Moments are seconds of one monotonic clock, given by the caller.
#[derive(Debug)]
pub struct Feed {
    names: Arc<[String]>,
    feature_names: Arc<[String]>,
    index: HashMap<String, usize>,
    columns: Columns,
    symbols: Vec<Symbol>,
    history: usize,
    stale_after_s: f64,
    numbers: Gaps,
    stats: Stats,
    rate: Rate,
    message_at: f64,
    number: u64,
    peers: usize,
    had_peer: bool,
}

impl Feed {
    pub fn new(settings: &Settings) -> Result<Self, FeedError> {
        let Settings {
            symbols,
            features,
            history,
            stale_after_s,
        } = settings;
        if symbols.is_empty() {
            return Err(FeedError::NoSymbols);
        }
        if !(1..=1_000_000).contains(history) {
            return Err(FeedError::History(*history));
        }
        if !(*stale_after_s > 0.0 && stale_after_s.is_finite()) {
            return Err(FeedError::StaleAfter(*stale_after_s));
        }
        let columns = Columns::new(features)?;
        let mut index = HashMap::with_capacity(symbols.len());
        for (at, symbol) in symbols.iter().enumerate() {
            if index.insert(symbol.clone(), at).is_some() {
                return Err(FeedError::Twice(symbol.clone()));
            }
        }
        Ok(Self {
            names: symbols.clone().into(),
            feature_names: columns.names().to_vec().into(),
            index,
            symbols: symbols
                .iter()
                .map(|_| Symbol::new(&columns, *history))
                .collect(),
            columns,
            history: *history,
            stale_after_s: *stale_after_s,
            numbers: Gaps::default(),
            stats: Stats::default(),
            rate: Rate::default(),
            message_at: f64::NAN,
            number: 0,
            peers: 0,
            had_peer: false,
        })
    }

    /// Takes in a frame of the bus that came at `now`.
    pub fn receive(&mut self, frame: &[u8], now: f64) {
        self.stats.received += 1;
        self.stats.bytes += frame.len() as u64;
        self.message_at = now;
        self.rate.note(now, self.stats.received);
        if let Some(fast) = fast_bar::read(frame) {
            self.numbers.observe(fast.seq);
            self.bar(fast.symbol, &fast.bar, fast.timeframe, now);
            return;
        }
        match parse(frame) {
            Ok(received) => {
                self.numbers.observe(received.seq);
                self.apply(&received.message, now);
            }
            Err(error) => {
                self.stats.malformed += 1;
                self.number += 1;
                tracing::debug!(%error, "a malformed message was dropped");
            }
        }
    }

    /// Takes in a message that came at `now`.
    pub fn apply(&mut self, message: &Message, now: f64) {
        match message {
            Message::BarUpdate(bar) => {
                let kept = HistoryBar {
                    timestamp: bar.timestamp,
                    open: bar.open,
                    high: bar.high,
                    low: bar.low,
                    close: bar.close,
                    volume: bar.volume,
                };
                self.bar(&bar.symbol, &kept, &bar.timeframe, now);
            }
            Message::QuoteUpdate(quote) => {
                self.stats.quotes += 1;
                if let Some(at) = self.followed(&quote.symbol) {
                    self.symbols[at].quote(quote, now);
                }
            }
            Message::TradeUpdate(trade) => {
                self.stats.trades += 1;
                if let Some(at) = self.followed(&trade.symbol) {
                    self.symbols[at].trade(trade, now);
                }
            }
            Message::Heartbeat(_) => self.stats.heartbeats += 1,
            Message::Signal(_) | Message::Position(_) | Message::RiskUpdate(_) => {
                self.stats.ignored += 1;
            }
        }
    }

    fn bar(&mut self, symbol: &str, bar: &HistoryBar, timeframe: &str, now: f64) {
        self.stats.bars += 1;
        if let Some(at) = self.followed(symbol)
            && !self.symbols[at].bar(&self.columns, bar, timeframe, now)
        {
            self.stats.late += 1;
        }
    }

    fn followed(&mut self, symbol: &str) -> Option<usize> {
        let at = self.index.get(symbol).copied();
        match at {
            Some(_) => self.number += 1,
            None => self.stats.ignored += 1,
        }
        at
    }

    /// How many publishers are connected now.
    pub fn connected(&mut self, peers: usize) {
        self.peers = peers;
        self.had_peer |= peers > 0;
    }

    /// Warms a symbol up from recorded bars, oldest first; live bars that follow them are kept.
    pub fn seed(&mut self, symbol: &str, bars: &Bars) -> Result<(), FeedError> {
        let at = self.place(symbol)?;
        let refuse = |rule: String| FeedError::Seed {
            symbol: symbol.to_owned(),
            rule,
        };
        if let Some(pair) = bars.timestamps.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(refuse(format!(
                "timestamp {} follows {}; bars are wanted oldest first, each once",
                pair[1], pair[0]
            )));
        }
        if let Some(first) = bars.timestamps.first()
            && *first < 0
        {
            return Err(refuse(format!(
                "timestamp {first} lies before 1970; ns since then are wanted"
            )));
        }
        for bar in bars.iter() {
            let numbers = [bar.open, bar.high, bar.low, bar.close, bar.volume];
            if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
                return Err(refuse(format!(
                    "the bar at {} holds {number}; finite numbers are wanted",
                    bar.timestamp
                )));
            }
        }
        self.symbols[at].seed(&self.columns, bars, self.history);
        self.number += 1;
        Ok(())
    }

    /// The bars kept, oldest first; the one that trades are still making comes last.
    pub fn bars(&self, symbol: &str) -> Result<Bars, FeedError> {
        Ok(self.symbols[self.place(symbol)?].bars())
    }

    fn place(&self, symbol: &str) -> Result<usize, FeedError> {
        self.index
            .get(symbol)
            .copied()
            .ok_or_else(|| FeedError::Symbol(symbol.to_owned(), self.names.join(" ")))
    }

    pub fn stats(&self) -> Stats {
        Stats {
            gaps: self.numbers.missed,
            restarts: self.numbers.restarts,
            ..self.stats
        }
    }

    /// How the connection stands at `now`.
    pub fn state(&self, now: f64) -> ConnectionState {
        if self.peers == 0 && self.had_peer {
            ConnectionState::Lost
        } else if self.message_at.is_nan() {
            ConnectionState::Connecting
        } else if now - self.message_at <= self.stale_after_s {
            ConnectionState::Connected
        } else {
            ConnectionState::Stale
        }
    }

    /// Everything at `now`.
    pub fn frame(&self, now: f64) -> Frame {
        let n = self.symbols.len();
        let column = |pick: fn(&Symbol) -> f64| self.symbols.iter().map(pick).collect::<Vec<f64>>();
        let mut features = Vec::with_capacity(n * self.feature_names.len());
        let mut sparks = Vec::with_capacity(n * SPARK);
        let mut spark = [f64::NAN; SPARK];
        for symbol in &self.symbols {
            features.extend(symbol.row(&self.columns));
            symbol.spark(&mut spark);
            sparks.extend_from_slice(&spark);
        }
        Frame {
            number: self.number,
            symbols: Arc::clone(&self.names),
            feature_names: Arc::clone(&self.feature_names),
            versions: self.symbols.iter().map(|symbol| symbol.version).collect(),
            last: column(|symbol| symbol.last),
            bid: column(|symbol| symbol.quote.bid),
            ask: column(|symbol| symbol.quote.ask),
            bid_size: column(|symbol| symbol.quote.bid_size),
            ask_size: column(|symbol| symbol.quote.ask_size),
            day_open: column(|symbol| symbol.day.open),
            day_high: column(|symbol| symbol.day.high),
            day_low: column(|symbol| symbol.day.low),
            day_volume: column(|symbol| symbol.day.volume),
            previous_close: column(|symbol| symbol.day.previous_close),
            quote_at: column(|symbol| symbol.quote_at),
            last_at: column(|symbol| symbol.last_at),
            market_at: column(|symbol| match symbol.market_at {
                0 => f64::NAN,
                at => at as f64 / NANOS,
            }),
            features,
            sparks,
            received: self.stats.received,
            gaps: self.numbers.missed,
            malformed: self.stats.malformed,
            rate: self.rate.at(now, self.stats.received),
            message_at: self.message_at,
            state: self.state(now),
        }
    }
}

/// Messages a second, from counts noted now and then over the last second.
#[derive(Debug, Default)]
struct Rate {
    notes: VecDeque<(f64, u64)>,
    newest: f64,
}

impl Rate {
    fn note(&mut self, now: f64, count: u64) {
        self.newest = now;
        if self
            .notes
            .back()
            .is_some_and(|(at, _)| now - at < RATE_STEP)
        {
            return;
        }
        // One note may be older than a second: the one that the last second is measured from.
        while self.notes.len() > 1 && now - self.notes[1].0 >= 1.0 {
            self.notes.pop_front();
        }
        self.notes.push_back((now, count.saturating_sub(1)));
    }

    fn at(&self, now: f64, count: u64) -> f64 {
        if now - self.newest >= 1.0 {
            return 0.0;
        }
        let from = self
            .notes
            .iter()
            .rev()
            .find(|(at, _)| now - at >= 1.0)
            .or(self.notes.front());
        match from {
            Some((at, noted)) if count > *noted => (count - noted) as f64 / (now - at).max(1.0),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
