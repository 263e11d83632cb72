//! The rows of one symbol, each kind in the order of time.

use std::ops::Range;

use chrono::NaiveDate;
use common::calendar;

use crate::replay::Price;

/// A bar of one minute or one second; `start` in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarRow {
    pub start: i64,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    pub vwap: Price,
    pub volume: u64,
    pub trade_count: u32,
}

/// A bar of one regular session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRow {
    pub date: NaiveDate,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    pub vwap: Price,
    pub volume: u64,
    pub trade_count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeRow {
    pub at: i64,
    pub price: Price,
    pub size: u32,
}

/// A quote and since when it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteRow {
    pub at: i64,
    pub bid: Price,
    pub ask: Price,
    pub bid_size: u32,
    pub ask_size: u32,
}

/// How often quotes were recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuoteGrain {
    /// None at all, or one at the end of each minute: prints in between say how it moved.
    #[default]
    Minute,
    /// Every change.
    Tick,
}

/// All rows of one symbol. `minutes` covers every minute that has a trade in any of the kinds.
#[derive(Debug, Default)]
pub struct Series {
    pub minutes: Vec<BarRow>,
    pub seconds: Vec<BarRow>,
    pub trades: Vec<TradeRow>,
    pub quotes: Vec<QuoteRow>,
    pub quote_grain: QuoteGrain,
    /// Recorded daily bars; where there are minutes of a day, [`Series::recorded_days`] has the bar made of them.
    pub days: Vec<DayRow>,
    /// Daily bars of the days with minutes, made of the regular session's minutes.
    pub recorded_days: Vec<DayRow>,
}

impl Series {
    /// Dates with at least one minute of regular trading.
    pub fn regular_sessions(&self) -> impl Iterator<Item = NaiveDate> {
        self.recorded_days.iter().map(|day| day.date)
    }

    pub fn minutes_between(&self, from: i64, until: i64) -> Range<usize> {
        between(&self.minutes, from, until, |bar| bar.start)
    }

    pub fn seconds_between(&self, from: i64, until: i64) -> Range<usize> {
        between(&self.seconds, from, until, |bar| bar.start)
    }

    pub fn trades_between(&self, from: i64, until: i64) -> Range<usize> {
        between(&self.trades, from, until, |trade| trade.at)
    }

    pub fn quotes_between(&self, from: i64, until: i64) -> Range<usize> {
        between(&self.quotes, from, until, |quote| quote.at)
    }
}

/// Indices of the rows with `from` ≤ time < `until`.
fn between<T>(rows: &[T], from: i64, until: i64, time: impl Fn(&T) -> i64) -> Range<usize> {
    let first = rows.partition_point(|row| time(row) < from);
    first..first + rows[first..].partition_point(|row| time(row) < until)
}

/// One bar out of several, none of them empty. `None` of no bars.
pub fn merge(bars: impl IntoIterator<Item = BarRow>) -> Option<BarRow> {
    let mut bars = bars.into_iter();
    let mut merged = bars.next()?;
    let mut turnover = turnover(&merged);
    for bar in bars {
        merged.high = merged.high.max(bar.high);
        merged.low = merged.low.min(bar.low);
        merged.close = bar.close;
        merged.volume += bar.volume;
        merged.trade_count = merged.trade_count.saturating_add(bar.trade_count);
        turnover += self::turnover(&bar);
    }
    merged.vwap = average(turnover, merged.volume, merged.vwap);
    Some(merged)
}

pub(super) fn turnover(bar: &BarRow) -> i128 {
    i128::from(bar.vwap.micros()) * i128::from(bar.volume)
}

/// Volume-weighted price of `turnover` (micros × shares), `otherwise` when there was no volume.
pub(super) fn average(turnover: i128, volume: u64, otherwise: Price) -> Price {
    match i128::from(volume) {
        0 => otherwise,
        // Between the lowest and the highest price, so it fits.
        volume => Price::from_micros(((turnover + volume / 2) / volume) as i64),
    }
}

/// Whether `at` lies in the regular session of its day.
pub(super) fn is_regular(at: i64) -> bool {
    calendar::is_open(at)
}
