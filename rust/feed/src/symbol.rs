//! Everything the feed knows of one symbol.

use common::calendar::MINUTE;
use common::messages::{QuoteUpdate, TradeUpdate};
use features::micro::{Quote, QuoteFlow, QuoteNumbers};
use features::{Bar, State};

use crate::columns::Columns;
use crate::day::Day;
use crate::frame::SPARK;
use crate::history::{Bars, History, HistoryBar};

/// A bar of another timeframe than the minute's says how the whole day went.
const DAILY: &str = "1Day";

#[derive(Clone, Debug)]
pub(crate) struct Symbol {
    state: Option<State>,
    numbers: Vec<f64>,
    flow: QuoteFlow,
    quote_numbers: QuoteNumbers,
    pub(crate) quote: Quote,
    pub(crate) quote_at: f64,
    pub(crate) last: f64,
    pub(crate) last_at: f64,
    /// Market time of the newest message, ns since the epoch; 0 before the first.
    pub(crate) market_at: i64,
    pub(crate) day: Day,
    history: History,
    in_progress: Option<HistoryBar>,
    /// Grows with every change.
    pub(crate) version: u64,
}

const NO_QUOTE: Quote = Quote {
    bid: f64::NAN,
    bid_size: f64::NAN,
    ask: f64::NAN,
    ask_size: f64::NAN,
};

impl Symbol {
    pub(crate) fn new(columns: &Columns, history: usize) -> Self {
        let width = columns.plan().map_or(0, |plan| plan.width());
        Self {
            state: columns.plan().map(|plan| State::new(plan)),
            numbers: vec![f64::NAN; width],
            flow: QuoteFlow::default(),
            quote_numbers: [f64::NAN; _],
            quote: NO_QUOTE,
            quote_at: f64::NAN,
            last: f64::NAN,
            last_at: f64::NAN,
            market_at: 0,
            day: Day::new(),
            history: History::new(history),
            in_progress: None,
            version: 0,
        }
    }

    /// Takes in a finished bar. One that begins with the last one corrects its prices in the
    /// history; older ones are late and change nothing. Answers whether it was of use.
    pub(crate) fn bar(
        &mut self,
        columns: &Columns,
        bar: &HistoryBar,
        timeframe: &str,
        now: f64,
    ) -> bool {
        if timeframe == DAILY {
            self.day.told(
                bar.timestamp,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.volume,
            );
            self.version += 1;
            return true;
        }
        let newest = self.history.last().map_or(i64::MIN, |last| last.timestamp);
        if bar.timestamp < newest {
            return false;
        }
        self.version += 1;
        if bar.timestamp == newest {
            if let Some(last) = self.history.last_mut() {
                *last = *bar;
            }
            return true;
        }
        self.finish(columns, *bar);
        let ends = bar.timestamp + MINUTE;
        if ends >= self.market_at {
            self.market_at = ends;
            self.last = bar.close;
            self.last_at = now;
        }
        true
    }

    /// A bar that follows the last one: into features, history and the day.
    fn finish(&mut self, columns: &Columns, bar: HistoryBar) {
        if let (Some(state), Some(plan)) = (&mut self.state, columns.plan()) {
            let HistoryBar {
                open,
                high,
                low,
                close,
                volume,
                ..
            } = bar;
            state.update(
                plan,
                &Bar {
                    open,
                    high,
                    low,
                    close,
                    volume,
                },
                &mut self.numbers,
            );
        }
        self.day.range(
            bar.timestamp,
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.volume,
        );
        self.history.push(bar);
        if self
            .in_progress
            .is_some_and(|progress| progress.timestamp <= bar.timestamp)
        {
            self.in_progress = None;
        }
    }

    pub(crate) fn quote(&mut self, quote: &QuoteUpdate, now: f64) {
        self.quote = Quote {
            bid: quote.bid_price,
            bid_size: quote.bid_size,
            ask: quote.ask_price,
            ask_size: quote.ask_size,
        };
        self.quote_numbers = self.flow.update(self.quote);
        self.quote_at = now;
        self.market_at = self.market_at.max(quote.timestamp);
        self.version += 1;
    }

    pub(crate) fn trade(&mut self, trade: &TradeUpdate, now: f64) {
        self.last = trade.price;
        self.last_at = now;
        self.market_at = self.market_at.max(trade.timestamp);
        self.day.price(trade.timestamp, trade.price);
        self.version += 1;
        let minute = trade.timestamp - trade.timestamp.rem_euclid(MINUTE);
        if self
            .history
            .last()
            .is_some_and(|last| last.timestamp >= minute)
        {
            return;
        }
        match &mut self.in_progress {
            Some(bar) if bar.timestamp == minute => {
                bar.high = bar.high.max(trade.price);
                bar.low = bar.low.min(trade.price);
                bar.close = trade.price;
                bar.volume += trade.size;
            }
            Some(bar) if bar.timestamp > minute => {}
            in_progress => {
                *in_progress = Some(HistoryBar {
                    timestamp: minute,
                    open: trade.price,
                    high: trade.price,
                    low: trade.price,
                    close: trade.price,
                    volume: trade.size,
                });
            }
        }
    }

    /// Starts anew from recorded bars; live bars that follow them are kept.
    pub(crate) fn seed(&mut self, columns: &Columns, seed: &Bars, capacity: usize) {
        let newest = seed.timestamps.last().copied().unwrap_or(i64::MIN);
        let live: Vec<HistoryBar> = self
            .history
            .iter()
            .filter(|bar| bar.timestamp > newest)
            .copied()
            .collect();
        let fresh = Self::new(columns, capacity);
        self.state = fresh.state;
        self.numbers = fresh.numbers;
        self.day = fresh.day;
        self.history.clear();
        for bar in seed.iter().chain(live) {
            self.finish(columns, bar);
        }
        if self.last.is_nan()
            && let Some(bar) = self.history.last()
        {
            self.last = bar.close;
            self.market_at = self.market_at.max(bar.timestamp + MINUTE);
        }
        self.version += 1;
    }

    pub(crate) fn bars(&self) -> Bars {
        self.history.bars(self.in_progress.as_ref())
    }

    pub(crate) fn row<'a>(&'a self, columns: &'a Columns) -> impl Iterator<Item = f64> + 'a {
        columns.row(&self.numbers, &self.quote_numbers)
    }

    /// The last closes, the newest at the end; `out` is filled from there and NaN before.
    pub(crate) fn spark(&self, out: &mut [f64; SPARK]) {
        let closes = self
            .in_progress
            .iter()
            .chain(self.history.iter_back())
            .map(|bar| bar.close);
        let mut places = out.iter_mut().rev();
        for (place, close) in places.by_ref().zip(closes) {
            *place = close;
        }
        for place in places {
            *place = f64::NAN;
        }
    }
}
