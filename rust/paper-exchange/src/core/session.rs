//! Where in the trading day a moment lies.

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

/// The first session whose post-market ends after `at`. Beyond the calendar's years there is none, and
/// the last one stands in: it is over, so the market stays closed.
pub(super) fn current(at: Nanos) -> Session {
    let date = calendar::date_at(at);
    calendar::session(date)
        .filter(|session| at < session.post_close)
        .or_else(|| calendar::session_after(date))
        .or_else(|| calendar::session_before(date))
        .unwrap_or(Session {
            date,
            pre_open: 0,
            open: 0,
            close: 0,
            post_close: 0,
        })
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
