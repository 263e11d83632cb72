//! When to try again: twice as long each time, up to a limit, and never at the same moment as others.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait; `chance` in 0..1 spreads it over half of its length.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let full = FIRST
            .saturating_mul(2u32.saturating_pow(self.attempts))
            .min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<f64> = (0..10).map(|_| backoff.next(1.0).as_secs_f64()).collect();
        assert_eq!(waits[..4], [0.25, 0.5, 1.0, 2.0]);
        assert_eq!(waits[9], 30.0);
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST / 2);
        for _ in 0..100 {
            assert!(backoff.next(0.5) <= LONGEST);
        }
    }
}
