//! What an account was worth, over time.

use std::sync::Arc;

use chrono::NaiveDate;
use common::calendar;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Account, Fact, MINUTE, Nanos, Position};

/// Minutes of equity that are kept: a month of sessions.
const SAMPLES: usize = 390 * 21;

/// The account's equity at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Nanos,
    pub equity: Decimal,
}

/// What a session's close fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct DayClose {
    pub at: Nanos,
    pub equity: Decimal,
    pub maintenance_margin: Decimal,
    pub marks: Vec<(Arc<str>, Decimal)>,
}

impl DayClose {
    pub(super) fn fact(&self, account: &Arc<str>) -> Fact {
        Fact::DayClosed {
            account: Arc::clone(account),
            at: self.at,
            equity: self.equity,
            maintenance_margin: self.maintenance_margin,
            marks: self.marks.clone(),
        }
    }
}

/// A stretch of an account's history to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    pub start: Nanos,
    pub end: Nanos,
    /// Width of a step; `None` for one step a session.
    pub step: Option<Nanos>,
}

/// What an account was at the close that a day is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayBase {
    pub at: Nanos,
    pub equity: Decimal,
    pub maintenance_margin: Decimal,
}

/// Equity at the steps of a [`HistoryRequest`], and the value that profit is measured from.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub base: Decimal,
    pub base_date: NaiveDate,
    pub points: Vec<Sample>,
}

impl Account {
    /// The close that a day is measured from which began at `began`: the newest one before it, or the
    /// account's opening. A day goes on after its own close, so its profit stands there until the next.
    #[must_use]
    pub fn base_of_day(&self, began: Nanos) -> DayBase {
        let close = self.closes.iter().rev().find(|close| close.at < began);
        close.map_or(
            DayBase {
                at: self.created_at,
                equity: self.opening_cash,
                maintenance_margin: Decimal::ZERO,
            },
            |close| DayBase {
                at: close.at,
                equity: close.equity,
                maintenance_margin: close.maintenance_margin,
            },
        )
    }

    /// What the shares of `position` count as at the beginning of the day that began at `began`, as
    /// `base_of_day` does for the whole account.
    #[must_use]
    pub fn day_cost(&self, position: &Position, began: Nanos) -> Decimal {
        if self.closes.last().is_none_or(|close| close.at < began) {
            position.day_cost
        } else {
            position.day_cost_before
        }
    }

    pub(super) fn close_day(
        &mut self,
        at: Nanos,
        equity: Decimal,
        maintenance_margin: Decimal,
        marks: &[(Arc<str>, Decimal)],
    ) {
        for position in self.positions.values_mut() {
            position.day_cost_before = position.day_cost;
        }
        for (symbol, price) in marks {
            if let Some(position) = self.positions.get_mut(symbol) {
                position.day_cost = (position.qty * price).round_dp(2);
            }
        }
        self.closes.push(DayClose {
            at,
            equity,
            maintenance_margin,
            marks: marks.to_vec(),
        });
    }

    pub(super) fn sample(&mut self, sample: Sample) {
        if self.samples.len() >= SAMPLES {
            self.samples.drain(..SAMPLES / 10);
        }
        self.samples.push(sample);
    }

    /// Equity step by step, `now` being the account's worth at the moment. Steps lie in regular sessions.
    #[must_use]
    pub fn history(&self, request: HistoryRequest, now: Sample) -> History {
        let before = self
            .closes
            .iter()
            .rev()
            .find(|close| close.at < request.start);
        let base = before.map_or(self.opening_cash, |close| close.equity);
        let base_date = calendar::date_at(before.map_or(self.created_at, |close| close.at));
        let points = match request.step {
            None => self.daily(request, now),
            Some(step) => self.intraday(request, step.max(MINUTE), now),
        };
        History {
            base,
            base_date,
            points,
        }
    }

    fn daily(&self, request: HistoryRequest, now: Sample) -> Vec<Sample> {
        let mut points: Vec<Sample> = self
            .closes
            .iter()
            .filter(|close| (request.start..=request.end).contains(&close.at))
            .map(|close| Sample {
                at: close.at,
                equity: close.equity,
            })
            .collect();
        let closed_today = self
            .closes
            .last()
            .is_some_and(|close| calendar::date_at(close.at) == calendar::date_at(now.at));
        if now.at <= request.end && !closed_today {
            points.push(now);
        }
        points
    }

    fn intraday(&self, request: HistoryRequest, step: Nanos, now: Sample) -> Vec<Sample> {
        let last = request.end.min(now.at);
        let mut points = Vec::new();
        let mut samples = self.samples.iter().peekable();
        let mut equity = self.opening_cash;
        for session in calendar::sessions(calendar::date_at(request.start), calendar::date_at(last))
        {
            let mut at = session.open;
            while at < session.close && at <= last {
                // The value of a step is the one at its end, or now's in the step that is not over.
                while let Some(sample) = samples.next_if(|sample| sample.at <= at + step) {
                    equity = sample.equity;
                }
                if at >= request.start && at >= self.created_at - step {
                    let value = if at + step > now.at {
                        now.equity
                    } else {
                        equity
                    };
                    points.push(Sample { at, equity: value });
                }
                at += step;
            }
        }
        points
    }
}
