//! All symbols' ticks, day after day, up to an instant that the caller gives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use common::calendar::{self, SECOND};

use super::day::SymbolDay;
use super::schedule::{PlayDay, Schedule};
use super::tick::{Quote, Tick, Trade};

/// Ticks at one instant are ordered by this, then by symbol.
type Key = (i64, u8, u16);

const OPEN: u8 = 0;
const QUOTE: u8 = 1;
const TRADE: u8 = 2;
const BAR: u8 = 3;
const CLOSE: u8 = 4;

const NEVER: i64 = i64::MAX;

fn key(tick: &Tick) -> Key {
    match tick {
        Tick::Open { at, .. } => (*at, OPEN, 0),
        Tick::Quote(quote) => (quote.at, QUOTE, quote.symbol.0),
        Tick::Trade(trade) => (trade.at, TRADE, trade.symbol.0),
        Tick::Bar(bar) => (bar.at, BAR, bar.symbol.0),
        Tick::Close { at, .. } => (*at, CLOSE, 0),
    }
}

struct Today {
    day: PlayDay,
    symbols: Vec<SymbolDay>,
    upcoming: BinaryHeap<Reverse<Key>>,
    /// The open, then the close, then nothing.
    marker: Option<Tick>,
}

/// Where the replay stands. It keeps no ticks: memory is constant however long it runs.
pub struct Replay {
    schedule: Arc<Schedule>,
    at: i64,
    today: Option<Today>,
    quotes: Vec<Option<Quote>>,
    trades: Vec<Option<Trade>>,
    restate_every: i64,
    restate_at: i64,
}

impl Replay {
    /// Stands at `start`, all that came before on that day behind it. `speed` in market seconds a second.
    pub fn new(schedule: Arc<Schedule>, start: i64, speed: f64) -> Replay {
        let count = schedule.recording().symbols().len();
        let mut replay = Replay {
            today: schedule
                .first_from(calendar::date_at(start))
                .map(|day| Today::new(&schedule, day)),
            schedule,
            at: i64::MIN,
            quotes: vec![None; count],
            trades: vec![None; count],
            restate_every: SECOND,
            restate_at: NEVER,
        };
        replay.set_speed(speed);
        replay.advance_to(start, &mut |_| ());
        replay
    }

    /// A quiet symbol's quote is stated again each real second, which is `speed` seconds of market time.
    pub fn set_speed(&mut self, speed: f64) {
        self.restate_every = ((speed * SECOND as f64) as i64).max(SECOND);
        if self.restate_at != NEVER {
            self.restate_at = self.at + self.restate_every;
        }
    }

    /// The instant up to which all ticks have been given.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// The last quote and the last trade of each symbol today, for a reader that begins now. In order of symbols.
    pub fn standing(&self) -> impl Iterator<Item = Tick> + '_ {
        self.quotes
            .iter()
            .zip(&self.trades)
            .flat_map(|(quote, trade)| {
                quote
                    .map(Tick::Quote)
                    .into_iter()
                    .chain(trade.map(Tick::Trade))
            })
    }

    /// No tick comes before this instant; `None` when the calendar has no further day.
    pub fn next_tick_at(&mut self) -> Option<i64> {
        self.skip_finished_days();
        let today = self.today.as_ref()?;
        Some(today.next_key().0.min(self.restate_at))
    }

    /// Gives every tick up to `to`, that instant included, in order. An earlier `to` gives nothing.
    pub fn advance_to(&mut self, to: i64, sink: &mut impl FnMut(Tick)) {
        loop {
            self.skip_finished_days();
            let Some(today) = &mut self.today else { break };
            let next = today.next_key();
            if self.restate_at < next.0 || (self.restate_at == next.0 && next.1 > QUOTE) {
                if self.restate_at > to {
                    break;
                }
                self.restate(sink);
                continue;
            }
            if next.0 > to {
                break;
            }
            let tick = today.pop();
            match &tick {
                Tick::Quote(quote) => self.quotes[quote.symbol.index()] = Some(*quote),
                Tick::Trade(trade) => self.trades[trade.symbol.index()] = Some(*trade),
                Tick::Bar(_) => {}
                Tick::Open { at, .. } => self.restate_at = at + self.restate_every,
                Tick::Close { .. } => self.restate_at = NEVER,
            }
            sink(tick);
        }
        self.at = self.at.max(to);
    }

    fn restate(&mut self, sink: &mut impl FnMut(Tick)) {
        let at = self.restate_at;
        for quote in self
            .quotes
            .iter_mut()
            .flatten()
            .filter(|quote| quote.at <= at - self.restate_every)
        {
            quote.at = at;
            quote.restated = true;
            sink(Tick::Quote(*quote));
        }
        self.restate_at = at + self.restate_every;
    }

    fn skip_finished_days(&mut self) {
        while let Some(today) = &self.today {
            if today.next_key().0 != NEVER {
                return;
            }
            let next = self.schedule.after(today.day.session.date);
            self.today = next.map(|day| Today::new(&self.schedule, day));
            // Yesterday's prices say nothing about today's.
            self.quotes.fill(None);
        }
    }
}

impl Today {
    fn new(schedule: &Schedule, day: PlayDay) -> Today {
        let recording = schedule.recording();
        let symbols: Vec<SymbolDay> = recording
            .ids()
            .map(|symbol| SymbolDay::new(recording.clone(), symbol, day))
            .collect();
        let upcoming = symbols
            .iter()
            .filter_map(SymbolDay::peek)
            .map(|tick| Reverse(key(tick)))
            .collect();
        let marker = Some(Tick::Open {
            at: day.session.open,
            date: day.session.date,
        });
        Today {
            day,
            symbols,
            upcoming,
            marker,
        }
    }

    /// `NEVER` when the day is over.
    fn next_key(&self) -> Key {
        let symbols = self
            .upcoming
            .peek()
            .map_or((NEVER, 0, 0), |Reverse(key)| *key);
        let marker = self.marker.as_ref().map_or((NEVER, 0, 0), key);
        symbols.min(marker)
    }

    /// The tick of `next_key`, which is not `NEVER`.
    fn pop(&mut self) -> Tick {
        let marker = self.marker.as_ref().map(key);
        if let Some(mut top) = self.upcoming.peek_mut()
            && marker.is_none_or(|marker| top.0 < marker)
        {
            let symbol = &mut self.symbols[usize::from(top.0.2)];
            if let Some(tick) = symbol.next() {
                match symbol.peek() {
                    Some(next) => top.0 = key(next),
                    None => {
                        PeekMut::pop(top);
                    }
                }
                return tick;
            }
        }
        let session = self.day.session;
        match self.marker.take() {
            Some(open @ Tick::Open { .. }) => {
                self.marker = Some(Tick::Close {
                    at: session.close,
                    date: session.date,
                });
                open
            }
            _ => Tick::Close {
                at: session.close,
                date: session.date,
            },
        }
    }
}
