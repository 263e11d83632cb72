//! Where in the trading day a moment lies.

use chrono::NaiveDate;
use common::calendar::{self, Session};

use super::Nanos;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Closed,
    Pre,
    Regular,
    Post,
}

impl Phase {
    /// The phase at `at`, which lies in `session` or between two.
    #[must_use]
    pub fn of(session: &Session, at: Nanos) -> Self {
        if at < session.pre_open || at >= session.post_close {
            Self::Closed
        } else if at < session.open {
            Self::Pre
        } else if at < session.close {
            Self::Regular
        } else {
            Self::Post
        }
    }
}

/// The days on which the exchange trades: all of the calendar's, or those that it was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Days(Option<Vec<NaiveDate>>);

impl Days {
    /// `days` in their order.
    pub(super) fn of(days: Vec<NaiveDate>) -> Self {
        Self(Some(days))
    }

    fn session(&self, date: NaiveDate) -> Option<Session> {
        let trades = match &self.0 {
            Some(days) => days.binary_search(&date).is_ok(),
            None => true,
        };
        calendar::session(date).filter(|_| trades)
    }

    /// The first session after `date`.
    pub(super) fn after(&self, date: NaiveDate) -> Option<Session> {
        match &self.0 {
            Some(days) => {
                let next = days.get(days.partition_point(|day| *day <= date))?;
                calendar::session(*next)
            }
            None => calendar::session_after(date),
        }
    }

    /// The first session whose post-market ends after `at`. Beyond the last one there is none, and the
    /// one before stands in: it is over, so the market stays closed.
    pub(super) fn current(&self, at: Nanos) -> Session {
        let date = calendar::date_at(at);
        self.session(date)
            .filter(|session| at < session.post_close)
            .or_else(|| self.after(date))
            .or_else(|| calendar::session_before(date))
            .unwrap_or(Session {
                date,
                pre_open: 0,
                open: 0,
                close: 0,
                post_close: 0,
            })
    }
}

/// The next moment after `at` at which the phase changes.
pub(super) fn boundary_after(session: &Session, at: Nanos) -> Option<Nanos> {
    [
        session.pre_open,
        session.open,
        session.close,
        session.post_close,
    ]
    .into_iter()
    .find(|&b| b > at)
}
