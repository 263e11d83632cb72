//! Which days are played, and out of which recorded session each takes its prices.

use std::sync::Arc;

use chrono::NaiveDate;
use common::calendar::{self, DAY, SECOND, Session};

use crate::recording::Recording;

/// A fresh demo, and the clock after a jump, stand so long before the open.
pub const LEAD: i64 = 30 * SECOND;

/// A day on which there are prices: the session as the calendar has it, and where its prices come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayDay {
    pub session: Session,
    /// The recorded session whose prices these are.
    pub source: NaiveDate,
    /// Added to a recorded instant it gives the instant on this day: the time on New York's clocks is kept.
    pub shift: i64,
    /// No price of the source comes later than this: the close, when a whole day is repeated on a half day.
    pub until: i64,
}

impl PlayDay {
    /// A recorded session on its own day; `None` for a day without one on the calendar.
    pub fn recorded(date: NaiveDate) -> Option<PlayDay> {
        Some(PlayDay::new(calendar::session(date)?, date))
    }

    fn new(session: Session, source: NaiveDate) -> PlayDay {
        let shift = calendar::midnight(session.date) - calendar::midnight(source);
        let recorded_close =
            calendar::session(source).map_or(i64::MIN, |recorded| recorded.close + shift);
        let until = if session.close < recorded_close {
            session.close
        } else {
            calendar::midnight(session.date) + DAY
        };
        PlayDay {
            session,
            source,
            shift,
            until,
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    #[error(
        "no recorded session from {from} to {to}: the recording holds {first} to {last}; choose --from and --to among them"
    )]
    NoSession {
        from: NaiveDate,
        to: NaiveDate,
        first: NaiveDate,
        last: NaiveDate,
    },
}

/// The recorded sessions in their order, then the same prices over and over on the trading days that follow.
#[derive(Debug)]
pub struct Schedule {
    recording: Arc<Recording>,
    /// Recorded sessions that are played.
    played: Vec<NaiveDate>,
    /// Trading days after the last of them.
    later: Vec<NaiveDate>,
}

impl Schedule {
    /// Plays the recorded sessions from `from` to `to`, both included; `None` is no limit.
    pub fn new(
        recording: Arc<Recording>,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> Result<Schedule, ScheduleError> {
        let recorded = recording.sessions();
        let (first, last) = (recorded[0], recorded[recorded.len() - 1]);
        let (from, to) = (from.unwrap_or(first), to.unwrap_or(last));
        let played: Vec<NaiveDate> = recorded
            .iter()
            .copied()
            .filter(|date| (from..=to).contains(date))
            .collect();
        let Some(last_played) = played.last() else {
            return Err(ScheduleError::NoSession {
                from,
                to,
                first,
                last,
            });
        };
        let end = NaiveDate::from_ymd_opt(*calendar::YEARS.end(), 12, 31).unwrap_or(NaiveDate::MAX);
        let later = last_played
            .iter_days()
            .skip(1)
            .take_while(|date| *date <= end);
        let later = later
            .filter(|date| calendar::is_trading_day(*date))
            .collect();
        Ok(Schedule {
            recording,
            played,
            later,
        })
    }

    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// Where a fresh run begins: shortly before the first open.
    pub fn start(&self) -> i64 {
        calendar::session(self.played[0]).map_or(0, |session| session.open - LEAD)
    }

    /// The prices of `date`, whether it is played or lies before what is played.
    pub fn day(&self, date: NaiveDate) -> Option<PlayDay> {
        let source = if let Ok(index) = self.later.binary_search(&date) {
            self.played[index % self.played.len()]
        } else if self.recording.sessions().binary_search(&date).is_ok() {
            date
        } else {
            return None;
        };
        Some(PlayDay::new(calendar::session(date)?, source))
    }

    /// Whether the clock runs through the session of `date`.
    pub fn is_played(&self, date: NaiveDate) -> bool {
        self.played.binary_search(&date).is_ok() || self.later.binary_search(&date).is_ok()
    }

    /// The days that the clock runs through, in their order.
    pub fn dates(&self) -> Vec<NaiveDate> {
        self.played.iter().chain(&self.later).copied().collect()
    }

    /// The first played day not before `date`.
    pub fn first_from(&self, date: NaiveDate) -> Option<PlayDay> {
        let played = self
            .played
            .get(self.played.partition_point(|day| *day < date));
        let date = played.or_else(|| {
            self.later
                .get(self.later.partition_point(|day| *day < date))
        })?;
        self.day(*date)
    }

    /// The first played day after `date`.
    pub fn after(&self, date: NaiveDate) -> Option<PlayDay> {
        self.first_from(date.succ_opt()?)
    }

    /// The last day with prices before `date`.
    pub fn before(&self, date: NaiveDate) -> Option<PlayDay> {
        let earlier = |days: &[NaiveDate]| {
            days.partition_point(|day| *day < date)
                .checked_sub(1)
                .map(|index| days[index])
        };
        let date = earlier(&self.later).or_else(|| {
            let last_played = self.played.last()?;
            earlier(self.recording.sessions()).map(|date| date.min(*last_played))
        })?;
        self.day(date)
    }

    /// Days with prices from `first` to `last`, both included.
    pub fn days(&self, first: NaiveDate, last: NaiveDate) -> Vec<PlayDay> {
        let Some(last_played) = self.played.last() else {
            return Vec::new();
        };
        let within = |days: &[NaiveDate], last: NaiveDate| {
            days[days.partition_point(|day| *day < first)..]
                .iter()
                .copied()
                .take_while(|day| *day <= last)
                .collect::<Vec<_>>()
        };
        let recorded = within(self.recording.sessions(), last.min(*last_played));
        recorded
            .into_iter()
            .chain(within(&self.later, last))
            .filter_map(|date| self.day(date))
            .collect()
    }

    /// The first played session whose open is later than `at`.
    pub fn next_open(&self, at: i64) -> Option<PlayDay> {
        let today = self.first_from(calendar::date_at(at))?;
        if at < today.session.open {
            Some(today)
        } else {
            self.after(today.session.date)
        }
    }

    /// The played day that `at` lies in before its close, else `None`: night, weekend, a day that isn't played.
    pub fn running(&self, at: i64) -> Option<PlayDay> {
        let date = calendar::date_at(at);
        if !self.is_played(date) {
            return None;
        }
        self.day(date).filter(|day| at < day.session.close)
    }
}
