//! The ticks of one symbol on one day, in order.

use std::ops::Range;
use std::sync::Arc;

use common::calendar::{MINUTE, SECOND};

use super::prints::{BarPrint, prints};
use super::schedule::PlayDay;
use super::tick::{Bar, Price, Print, Quote, SymbolId, Tick, Trade};
use crate::recording::{QuoteGrain, Recording, Series};

const NEVER: i64 = i64::MAX;

/// What prints of the minute at hand are made of: the finest that was recorded of it.
#[derive(Debug)]
enum Finer {
    Trades(Range<usize>),
    Seconds(Range<usize>),
    Made,
}

/// Iterates quotes, trades and minute bars of a symbol on a day as they become known.
///
/// Trades are the recorded ones; of a minute without any, they are made of its one-second bars, else of its
/// one-minute bar. Where quotes were not recorded at each change, a print outside the standing quote moves it, by
/// as little as contains the print and with its width kept.
#[derive(Debug)]
pub struct SymbolDay {
    recording: Arc<Recording>,
    symbol: SymbolId,
    day: PlayDay,
    minutes: Range<usize>,
    /// The last minute of the regular session; its last print closes it.
    last_regular: Option<usize>,
    finer: Finer,
    buffer: [BarPrint; 4],
    buffered: Range<usize>,
    print: Option<BarPrint>,
    /// When the minute at hand is over.
    bar_at: i64,
    quotes: Range<usize>,
    /// When the next recorded quote stands.
    quote_at: i64,
    standing: Option<Quote>,
    held: Option<Trade>,
    opened: bool,
    trades: u64,
    next: Option<Tick>,
}

impl SymbolDay {
    pub fn new(recording: Arc<Recording>, symbol: SymbolId, day: PlayDay) -> SymbolDay {
        let series = recording.series(symbol);
        let from = common::calendar::midnight(day.source);
        // A bar must be over by `until`, a quote may come at that very instant.
        let minutes = series.minutes_between(from, day.until - day.shift - MINUTE + 1);
        let quotes = series.quotes_between(from, day.until - day.shift + 1);
        let regular =
            series.minutes_between(day.session.open - day.shift, day.session.close - day.shift);
        let mut ticks = SymbolDay {
            symbol,
            day,
            last_regular: regular
                .end
                .checked_sub(1)
                .filter(|last| *last >= regular.start && minutes.contains(last)),
            minutes,
            finer: Finer::Made,
            buffer: [BarPrint::default(); 4],
            buffered: 0..0,
            print: None,
            bar_at: NEVER,
            quotes,
            quote_at: NEVER,
            standing: None,
            held: None,
            opened: false,
            trades: 0,
            next: None,
            recording: recording.clone(),
        };
        ticks.begin_minute();
        ticks.look_at_quotes();
        ticks.next = ticks.produce();
        ticks
    }

    pub fn symbol(&self) -> SymbolId {
        self.symbol
    }

    pub fn peek(&self) -> Option<&Tick> {
        self.next.as_ref()
    }

    /// When the minute bar that comes next ends; `None` after the last one.
    pub fn next_bar_at(&self) -> Option<i64> {
        if let Some(Tick::Bar(bar)) = &self.next {
            return Some(bar.at);
        }
        (self.bar_at != NEVER).then(|| self.bar_at + self.day.shift)
    }

    fn series(&self) -> &Series {
        self.recording.series(self.symbol)
    }

    /// Passes over quotes and trades up to `until` and answers the newest of each; a bar stays where it is.
    pub fn skim(&mut self, until: i64) -> (Option<Quote>, Option<Trade>) {
        let (mut quote, mut trade) = (None, None);
        while let Some(tick) = &self.next {
            match tick {
                Tick::Quote(next) if next.at <= until => quote = Some(*next),
                Tick::Trade(next) if next.at <= until => trade = Some(*next),
                _ => break,
            }
            if self.may_rush(until) {
                let (moved, last) = self.rush();
                quote = moved.or(quote);
                trade = last.or(trade);
            }
            self.next = self.produce();
        }
        (quote, trade)
    }

    /// Whether the rest of the minute is prints made of its bar, all of them due, and no recorded quote between.
    fn may_rush(&self, until: i64) -> bool {
        self.print.is_some()
            && self.held.is_none()
            && matches!(self.finer, Finer::Made)
            && self.bar_at <= until - self.day.shift
            && self.quote_at >= self.bar_at
    }

    /// The rest of such a minute at once: the newest quote, if one of the prints moved it, and the last print.
    fn rush(&mut self) -> (Option<Quote>, Option<Trade>) {
        let (mut moved, mut last) = (None, None);
        while let Some(print) = self.print.take() {
            self.print = self.next_print();
            let trade = self.trade(print);
            if let Some(quote) = self.moved_quote(&trade) {
                self.standing = Some(quote);
                moved = Some(quote);
            }
            last = Some(trade);
        }
        (moved, last)
    }

    fn look_at_quotes(&mut self) {
        let next = self.series().quotes.get(self.quotes.start);
        self.quote_at = next
            .filter(|_| !self.quotes.is_empty())
            .map_or(NEVER, |row| row.at);
    }

    fn begin_minute(&mut self) {
        self.buffered = 0..0;
        self.bar_at = NEVER;
        let Some(bar) = self
            .series()
            .minutes
            .get(self.minutes.start)
            .filter(|_| !self.minutes.is_empty())
        else {
            self.print = None;
            return;
        };
        let (start, end) = (bar.start, bar.start + MINUTE);
        let bar = *bar;
        self.bar_at = end;
        let trades = self.series().trades_between(start, end);
        let seconds = self.series().seconds_between(start, end);
        self.finer = if !trades.is_empty() {
            Finer::Trades(trades)
        } else if !seconds.is_empty() {
            Finer::Seconds(seconds)
        } else {
            (self.buffer, self.buffered.end) = prints(&bar, MINUTE);
            Finer::Made
        };
        self.print = self.next_print();
    }

    /// The next print of the minute, in recorded time.
    fn next_print(&mut self) -> Option<BarPrint> {
        if let Some(index) = self.buffered.next() {
            return Some(self.buffer[index]);
        }
        match &mut self.finer {
            Finer::Made => None,
            Finer::Trades(range) => {
                let index = range.next()?;
                let trade = self.series().trades[index];
                Some(BarPrint {
                    at: trade.at,
                    price: trade.price,
                    size: trade.size,
                })
            }
            Finer::Seconds(range) => {
                let index = range.next()?;
                let count;
                (self.buffer, count) = prints(&self.series().seconds[index], SECOND);
                self.buffered = 1..count;
                Some(self.buffer[0])
            }
        }
    }

    fn produce(&mut self) -> Option<Tick> {
        if let Some(trade) = self.held.take() {
            return Some(Tick::Trade(trade));
        }
        let event_at = self.print.map_or(self.bar_at, |print| print.at);
        if self.quote_at != NEVER && self.quote_at <= event_at {
            let row = &self.series().quotes[self.quotes.start];
            let quote = Quote {
                at: row.at + self.day.shift,
                symbol: self.symbol,
                bid: row.bid,
                ask: row.ask,
                bid_size: row.bid_size,
                ask_size: row.ask_size,
                restated: false,
            };
            self.quotes.start += 1;
            self.look_at_quotes();
            self.standing = Some(quote);
            return Some(Tick::Quote(quote));
        }
        if event_at == NEVER {
            return None;
        }
        let Some(print) = self.print else {
            let bar = self.series().minutes[self.minutes.start];
            self.minutes.start += 1;
            self.begin_minute();
            return Some(Tick::Bar(Bar {
                at: bar.start + MINUTE + self.day.shift,
                start: bar.start + self.day.shift,
                symbol: self.symbol,
                open: bar.open,
                high: bar.high,
                low: bar.low,
                close: bar.close,
                vwap: bar.vwap,
                volume: bar.volume,
                trade_count: bar.trade_count,
            }));
        };
        self.print = self.next_print();
        let trade = self.trade(print);
        match self.moved_quote(&trade) {
            None => Some(Tick::Trade(trade)),
            Some(quote) => {
                self.standing = Some(quote);
                self.held = Some(trade);
                Some(Tick::Quote(quote))
            }
        }
    }

    fn trade(&mut self, print: BarPrint) -> Trade {
        let at = print.at + self.day.shift;
        let is_regular = self.day.session.is_open(at);
        let closes = self.print.is_none() && self.last_regular == Some(self.minutes.start);
        let kind = if is_regular && !self.opened {
            self.opened = true;
            Print::Opening
        } else if is_regular && closes {
            Print::Closing
        } else {
            Print::Plain
        };
        self.trades += 1;
        Trade {
            at,
            symbol: self.symbol,
            price: print.price,
            size: print.size,
            print: kind,
            id: self.trades,
        }
    }

    /// The quote after a print that the standing one doesn't contain.
    fn moved_quote(&self, trade: &Trade) -> Option<Quote> {
        if self.series().quote_grain == QuoteGrain::Tick {
            return None;
        }
        let price = trade.price.micros();
        let tick = if price >= 1_000_000 { 10_000 } else { 100 };
        let down = price - price.rem_euclid(tick);
        let up = down + if down < price { tick } else { 0 };
        let moved = |bid: i64, ask: i64, sizes: (u32, u32)| Quote {
            at: trade.at,
            symbol: self.symbol,
            bid: Price::from_micros(bid.max(tick)),
            ask: Price::from_micros(ask.max(2 * tick)),
            bid_size: sizes.0,
            ask_size: sizes.1,
            restated: false,
        };
        match self.standing {
            None => {
                // Two basis points wide, at least one tick, around the print.
                let half = (price / 10_000).max(tick / 2);
                let (bid, ask) = (price - half, price + half);
                let lots = (trade.size / 100 * 100).clamp(100, 5_000);
                let up = (ask + tick - 1) / tick * tick;
                Some(moved(bid - bid.rem_euclid(tick), up, (lots, lots)))
            }
            Some(quote) => {
                let (bid, ask) = (quote.bid.micros(), quote.ask.micros());
                let sizes = (quote.bid_size, quote.ask_size);
                if price < bid {
                    Some(moved(down, down + (ask - bid), sizes))
                } else if price > ask {
                    Some(moved(up - (ask - bid), up, sizes))
                } else {
                    None
                }
            }
        }
    }
}

impl Iterator for SymbolDay {
    type Item = Tick;

    fn next(&mut self) -> Option<Tick> {
        let tick = self.next.take()?;
        self.next = self.produce();
        Some(tick)
    }
}
