//! How many requests a key may make a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use axum::response::Response;

/// Requests counted by account and minute; off when the limit is 0.
#[derive(Debug)]
pub struct RateLimiter {
    limit: u32,
    started: Instant,
    counts: Mutex<(u64, HashMap<usize, u32>)>,
}

/// What is left of a key's minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub limit: u32,
    pub remaining: u32,
    /// Seconds until the next minute.
    pub reset_s: u64,
    pub refused: bool,
}

impl RateLimiter {
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            started: Instant::now(),
            counts: Mutex::new((0, HashMap::new())),
        }
    }

    /// Counts a request; `None` when there is no limit.
    pub fn take(&self, account: usize) -> Option<Allowance> {
        self.take_at(account, self.started.elapsed().as_secs())
    }

    fn take_at(&self, account: usize, second: u64) -> Option<Allowance> {
        if self.limit == 0 {
            return None;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.0 != second / 60 {
            *counts = (second / 60, HashMap::new());
        }
        let used = counts.1.entry(account).or_default();
        let refused = *used >= self.limit;
        if !refused {
            *used += 1;
        }
        Some(Allowance {
            limit: self.limit,
            remaining: self.limit - *used,
            reset_s: 60 - second % 60,
            refused,
        })
    }
}

/// The response with the headers that tell what is left.
#[must_use]
pub fn stamped(mut response: Response, allowance: Option<Allowance>) -> Response {
    if let Some(allowance) = allowance {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let headers = response.headers_mut();
        headers.insert("x-ratelimit-limit", HeaderValue::from(allowance.limit));
        headers.insert(
            "x-ratelimit-remaining",
            HeaderValue::from(allowance.remaining),
        );
        headers.insert(
            "x-ratelimit-reset",
            HeaderValue::from(now + allowance.reset_s),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_requests_each_minute() {
        let limiter = RateLimiter::new(2);
        let refused = |account, second| {
            limiter
                .take_at(account, second)
                .map(|allowance| allowance.refused)
        };
        assert_eq!(
            [refused(0, 1), refused(0, 2), refused(0, 59)],
            [Some(false), Some(false), Some(true)]
        );
        assert_eq!(refused(1, 59), Some(false), "another key has its own");
        assert_eq!(refused(0, 60), Some(false), "and the next minute is new");
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        assert_eq!(RateLimiter::new(0).take_at(0, 0), None);
    }
}
