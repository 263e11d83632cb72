//! What had happened by an instant: bars of every timeframe, quotes and trades, out of the recording. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Datelike, Days, NaiveDate};
use common::calendar::{self, HOUR, MINUTE};

use crate::recording::{BarRow, DayRow, Series, merge};
use crate::replay::{PlayDay, Quote, Schedule, SymbolDay, SymbolId, Tick, Trade};

/// The length of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeframe {
    /// 1 to 59.
    Minutes(u32),
    /// 1 to 23.
    Hours(u32),
    Day,
    Week,
    /// 1, 2, 3, 4, 6 or 12.
    Months(u32),
}

impl Timeframe {
    /// Reads `5Min`, `5T`, `2Hour`, `2H`, `1Day`, `1D`, `1Week`, `1W`, `3Month` or `3M`.
    pub(super) fn parse(text: &str) -> Option<Timeframe> {
        let split = text.find(|character: char| !character.is_ascii_digit())?;
        let (number, unit) = text.split_at(split);
        let number: u32 = number.parse().ok()?;
        match unit {
            "Min" | "T" if (1..=59).contains(&number) => Some(Timeframe::Minutes(number)),
            "Hour" | "H" if (1..=23).contains(&number) => Some(Timeframe::Hours(number)),
            "Day" | "D" if number == 1 => Some(Timeframe::Day),
            "Week" | "W" if number == 1 => Some(Timeframe::Week),
            "Month" | "M" if matches!(number, 1 | 2 | 3 | 4 | 6 | 12) => {
                Some(Timeframe::Months(number))
            }
            _ => None,
        }
    }

    /// The first day of the bar that `date` belongs to.
    fn first_day(self, date: NaiveDate) -> NaiveDate {
        match self {
            Timeframe::Minutes(_) | Timeframe::Hours(_) | Timeframe::Day => date,
            Timeframe::Week => date - Days::new(u64::from(date.weekday().num_days_from_monday())),
            Timeframe::Months(months) => {
                let month = date.month0() - date.month0() % months + 1;
                NaiveDate::from_ymd_opt(date.year(), month, 1).unwrap_or(date)
            }
        }
    }
}

/// The recorded prices as a client at `now` may know them.
#[derive(Clone)]
pub(super) struct History {
    pub(super) schedule: Arc<Schedule>,
    pub(super) now: i64,
}

impl History {
    fn series(&self, symbol: SymbolId) -> &Series {
        self.schedule.recording().series(symbol)
    }

    /// Finished minutes of a day, on that day's time.
    fn minutes(&self, symbol: SymbolId, day: &PlayDay) -> impl Iterator<Item = BarRow> + '_ {
        let from = calendar::midnight(day.source);
        let until = day.until.min(self.now) - day.shift - MINUTE + 1;
        let series = self.series(symbol);
        let shift = day.shift;
        series.minutes[series.minutes_between(from, until)]
            .iter()
            .map(move |bar| BarRow {
                start: bar.start + shift,
                ..*bar
            })
    }

    /// Bars whose timestamp lies from `start` to `end`, both included; the last one may still be growing.
    pub(super) fn bars(
        &self,
        symbol: SymbolId,
        timeframe: Timeframe,
        start: i64,
        end: i64,
    ) -> Vec<BarRow> {
        let end = end.min(self.now);
        if start > end {
            return Vec::new();
        }
        let bars = match timeframe {
            Timeframe::Minutes(minutes) => {
                self.within_days(symbol, i64::from(minutes) * MINUTE, start, end)
            }
            Timeframe::Hours(hours) => {
                self.within_days(symbol, i64::from(hours) * HOUR, start, end)
            }
            Timeframe::Day | Timeframe::Week | Timeframe::Months(_) => {
                self.of_days(symbol, timeframe, start, end)
            }
        };
        bars.into_iter()
            .filter(|bar| start <= bar.start && bar.start <= end)
            .collect()
    }

    /// Bars of a part of a day; each counts from New York's midnight.
    fn within_days(&self, symbol: SymbolId, length: i64, start: i64, end: i64) -> Vec<BarRow> {
        let mut bars = Vec::new();
        for day in self
            .schedule
            .days(calendar::date_at(start), calendar::date_at(end))
        {
            let midnight = calendar::midnight(day.session.date);
            let bucket = |bar: &BarRow| (bar.start - midnight).div_euclid(length);
            let minutes: Vec<BarRow> = self.minutes(symbol, &day).collect();
            bars.extend(
                minutes
                    .chunk_by(|one, next| bucket(one) == bucket(next))
                    .filter_map(|group| {
                        let bar = merge(group.iter().copied())?;
                        Some(BarRow {
                            start: midnight + bucket(&bar) * length,
                            ..bar
                        })
                    }),
            );
        }
        bars
    }

    /// Bars of one or more days; the days are those of the regular sessions.
    fn of_days(&self, symbol: SymbolId, timeframe: Timeframe, start: i64, end: i64) -> Vec<BarRow> {
        let first = timeframe.first_day(calendar::date_at(start));
        let days = self.days(symbol, first, calendar::date_at(self.now));
        let begin = |bar: &BarRow| timeframe.first_day(calendar::date_at(bar.start));
        days.chunk_by(|one, next| begin(one) == begin(next))
            .filter_map(|group| {
                let bar = merge(group.iter().copied())?;
                Some(BarRow {
                    start: calendar::midnight(begin(&bar)),
                    ..bar
                })
            })
            .take_while(|bar| bar.start <= end)
            .collect()
    }

    /// Daily bars, `start` being the day's midnight.
    fn days(&self, symbol: SymbolId, first: NaiveDate, last: NaiveDate) -> Vec<BarRow> {
        let series = self.series(symbol);
        let rows = series.days.partition_point(|day| day.date < first)..;
        let mut dates: BTreeSet<NaiveDate> = series.days[rows]
            .iter()
            .map(|day| day.date)
            .take_while(|date| *date <= last)
            .collect();
        dates.extend(
            self.schedule
                .days(first, last)
                .iter()
                .map(|day| day.session.date),
        );
        dates
            .into_iter()
            .filter_map(|date| self.day(symbol, date))
            .collect()
    }

    /// The bar of a day as far as it has come.
    pub(super) fn day(&self, symbol: SymbolId, date: NaiveDate) -> Option<BarRow> {
        let series = self.series(symbol);
        let session = calendar::session(date)?;
        let is_over = session.close <= self.now;
        if let Some(day) = self.schedule.day(date) {
            if let Some(row) = find_day(&series.recorded_days, day.source) {
                // The sum of all minutes is known, unless some of them don't count on this day or not yet.
                if is_over && day.until > session.close {
                    return Some(of_day(date, row));
                }
                let regular = self
                    .minutes(symbol, &day)
                    .filter(|bar| session.is_open(bar.start));
                return merge(regular).map(|bar| BarRow {
                    start: calendar::midnight(date),
                    ..bar
                });
            }
            // A repeated day has no prices but those of its source.
            if day.source != date {
                return None;
            }
        }
        find_day(&series.days, date)
            .filter(|_| is_over)
            .map(|row| of_day(date, row))
    }

    /// The day at hand and the one before it, of those with a bar.
    pub(super) fn last_days(&self, symbol: SymbolId) -> (Option<BarRow>, Option<BarRow>) {
        // Two weeks hold two trading days even around the longest closing there was.
        let today = calendar::date_at(self.now);
        let mut days = self.days(symbol, today - Days::new(14), today);
        let last = days.pop();
        (last, days.pop())
    }

    /// The last finished minute.
    pub(super) fn last_minute(&self, symbol: SymbolId) -> Option<BarRow> {
        self.recent_days()
            .find_map(|day| self.minutes(symbol, &day).last())
    }

    /// Today, if it has prices, and some days before it, the newest first.
    fn recent_days(&self) -> impl Iterator<Item = PlayDay> + '_ {
        let today = calendar::date_at(self.now);
        let before = move |date: NaiveDate| self.schedule.before(date);
        let first = self.schedule.day(today).or_else(|| before(today));
        std::iter::successors(first, move |day| before(day.session.date)).take(5)
    }

    /// The ticks of a symbol that were known by now and lie from `start` to `end`, both included.
    fn ticks(&self, symbol: SymbolId, start: i64, end: i64) -> impl Iterator<Item = Tick> + use<> {
        let end = end.min(self.now);
        let days = if start > end {
            Vec::new()
        } else {
            self.schedule
                .days(calendar::date_at(start), calendar::date_at(end))
        };
        let recording = self.schedule.recording().clone();
        days.into_iter()
            .flat_map(move |day| SymbolDay::new(recording.clone(), symbol, day))
            .skip_while(move |tick| tick.at() < start)
            .take_while(move |tick| tick.at() <= end)
    }

    pub(super) fn quotes(
        &self,
        symbol: SymbolId,
        start: i64,
        end: i64,
    ) -> impl Iterator<Item = Quote> + use<> {
        self.ticks(symbol, start, end).filter_map(|tick| {
            if let Tick::Quote(quote) = tick {
                Some(quote)
            } else {
                None
            }
        })
    }

    pub(super) fn trades(
        &self,
        symbol: SymbolId,
        start: i64,
        end: i64,
    ) -> impl Iterator<Item = Trade> + use<> {
        self.ticks(symbol, start, end).filter_map(|tick| {
            if let Tick::Trade(trade) = tick {
                Some(trade)
            } else {
                None
            }
        })
    }

    pub(super) fn last_quote(&self, symbol: SymbolId) -> Option<Quote> {
        self.recent_days().find_map(|day| {
            self.quotes(
                symbol,
                calendar::midnight(day.session.date),
                self.end_of(&day),
            )
            .last()
        })
    }

    pub(super) fn last_trade(&self, symbol: SymbolId) -> Option<Trade> {
        self.recent_days().find_map(|day| {
            self.trades(
                symbol,
                calendar::midnight(day.session.date),
                self.end_of(&day),
            )
            .last()
        })
    }

    fn end_of(&self, day: &PlayDay) -> i64 {
        self.now
            .min(calendar::midnight(day.session.date) + calendar::DAY - 1)
    }
}

fn find_day(days: &[DayRow], date: NaiveDate) -> Option<&DayRow> {
    days.binary_search_by_key(&date, |day| day.date)
        .ok()
        .map(|index| &days[index])
}

/// A day's row on the date that it is played, its start the midnight.
fn of_day(date: NaiveDate, row: &DayRow) -> BarRow {
    let DayRow {
        open,
        high,
        low,
        close,
        vwap,
        volume,
        trade_count,
        ..
    } = *row;
    let start = calendar::midnight(date);
    BarRow {
        start,
        open,
        high,
        low,
        close,
        vwap,
        volume,
        trade_count,
    }
}
