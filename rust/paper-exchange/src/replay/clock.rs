//! Market time as a function of real time. Pure: the caller says how late it really is.

use std::sync::Arc;

use common::calendar::SECOND;

use super::schedule::{LEAD, Schedule};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockSettings {
    /// Market seconds a real second.
    pub speed: f64,
    pub paused: bool,
    /// Real seconds from a close to the jump.
    pub close_pause_s: f64,
}

impl Default for ClockSettings {
    fn default() -> ClockSettings {
        ClockSettings {
            speed: 10.0,
            paused: false,
            close_pause_s: 5.0,
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ClockError {
    #[error(
        "speed {0} is refused: it is from 1 to 1000 market seconds a second; choose one in between"
    )]
    Speed(f64),
    #[error("close pause {0} is refused: it is from 0 to 3600 real seconds; choose one in between")]
    ClosePause(f64),
    #[error(
        "step of {0} s is refused: it is more than 0 and at most 86400 market seconds; choose one in between"
    )]
    Step(f64),
    #[error(
        "seek to {to} is refused: market time is {now} and never runs backwards; choose a later instant, or start a fresh exchange"
    )]
    Backwards { to: String, now: String },
}

/// Runs at `speed` through the regular sessions that the schedule plays. At a close it runs on for `close_pause_s`
/// real seconds and then jumps to shortly before the next open. It never runs backwards.
///
/// Real time is any monotonic count of nanoseconds.
#[derive(Debug)]
pub struct Clock {
    schedule: Arc<Schedule>,
    market: i64,
    real: i64,
    /// Thousandths of a market second a second.
    speed: i64,
    /// Thousandths of a market nanosecond not yet spent.
    rest: i64,
    paused: bool,
    close_pause: i64,
    /// Real nanoseconds until the jump; `None` while the clock is heading for a close.
    until_jump: Option<i64>,
}

impl Clock {
    /// A clock that shows `market` when real time is `real`.
    pub fn new(
        schedule: Arc<Schedule>,
        settings: ClockSettings,
        market: i64,
        real: i64,
    ) -> Result<Clock, ClockError> {
        let speed = milli(settings.speed)?;
        if !(0.0..=3600.0).contains(&settings.close_pause_s) {
            return Err(ClockError::ClosePause(settings.close_pause_s));
        }
        let close_pause = (settings.close_pause_s * SECOND as f64) as i64;
        let mut clock = Clock {
            schedule,
            market,
            real,
            speed,
            rest: 0,
            paused: settings.paused,
            close_pause,
            until_jump: None,
        };
        clock.arrive();
        Ok(clock)
    }

    /// Market time as of the last call that moved the clock.
    pub fn now(&self) -> i64 {
        self.market
    }

    pub fn speed(&self) -> f64 {
        self.speed as f64 / 1000.0
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Moves on to the real instant `real` and tells market time there.
    pub fn advance(&mut self, real: i64) -> i64 {
        let mut left = (real - self.real).max(0);
        self.real = self.real.max(real);
        while left > 0 && !self.paused {
            left = match self.until_jump {
                None => self.run_to_close(left),
                Some(until) if left < until => {
                    self.until_jump = Some(until - left);
                    self.run_after_close(left);
                    0
                }
                Some(until) => {
                    self.jump();
                    left - until
                }
            };
        }
        self.market
    }

    pub fn pause(&mut self, real: i64) {
        self.advance(real);
        self.paused = true;
    }

    pub fn resume(&mut self, real: i64) {
        self.advance(real);
        self.paused = false;
    }

    pub fn set_speed(&mut self, real: i64, speed: f64) -> Result<(), ClockError> {
        let speed = milli(speed)?;
        self.advance(real);
        self.speed = speed;
        self.rest = 0;
        Ok(())
    }

    /// Moves market time by `seconds` at once, paused or not. A step from after a close goes to before the next open.
    pub fn step(&mut self, real: i64, seconds: f64) -> Result<i64, ClockError> {
        if !(seconds > 0.0 && seconds <= 86_400.0) {
            return Err(ClockError::Step(seconds));
        }
        self.advance(real);
        if self.until_jump.is_some() {
            self.jump();
        } else {
            self.market += (seconds * SECOND as f64) as i64;
            self.arrive();
        }
        Ok(self.market)
    }

    /// Moves market time forward to `to` at once.
    pub fn seek(&mut self, real: i64, to: i64) -> Result<i64, ClockError> {
        self.advance(real);
        if to < self.market {
            let show = |at: i64| {
                chrono::DateTime::from_timestamp_nanos(at)
                    .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            };
            return Err(ClockError::Backwards {
                to: show(to),
                now: show(self.market),
            });
        }
        self.market = to;
        self.arrive();
        Ok(self.market)
    }

    /// Finds out whether the clock, set to a new instant, heads for a close or waits to jump.
    fn arrive(&mut self) {
        self.rest = 0;
        self.until_jump = if self.schedule.running(self.market).is_some() {
            None
        } else {
            Some(self.close_pause)
        };
    }

    /// Spends `left` real nanoseconds, at most up to the close; what remains is returned.
    fn run_to_close(&mut self, left: i64) -> i64 {
        let Some(day) = self.schedule.running(self.market) else {
            self.until_jump = Some(self.close_pause);
            return left;
        };
        let to_close = day.session.close - self.market;
        // Rounded up: after so long the close has certainly been reached.
        let needed = (i128::from(to_close) * 1000 - i128::from(self.rest) + i128::from(self.speed)
            - 1)
            / i128::from(self.speed);
        if i128::from(left) < needed {
            self.market += self.market_time(left);
            return 0;
        }
        self.market = day.session.close;
        self.rest = 0;
        self.until_jump = Some(self.close_pause);
        left - needed as i64
    }

    fn run_after_close(&mut self, left: i64) {
        let passed = self.market_time(left);
        let limit = self
            .schedule
            .next_open(self.market)
            .map_or(i64::MAX, |next| next.session.open - LEAD);
        self.market = self
            .market
            .saturating_add(passed)
            .min(limit.max(self.market));
    }

    fn jump(&mut self) {
        if let Some(next) = self.schedule.next_open(self.market) {
            self.market = self.market.max(next.session.open - LEAD);
        }
        self.rest = 0;
        // Beyond the last session that the calendar knows the clock stays after the close.
        self.until_jump = if self.schedule.running(self.market).is_some() {
            None
        } else {
            Some(i64::MAX)
        };
    }

    /// Market nanoseconds in `real` ones, the remainder kept for the next time.
    fn market_time(&mut self, real: i64) -> i64 {
        let thousandths = i128::from(real) * i128::from(self.speed) + i128::from(self.rest);
        self.rest = (thousandths % 1000) as i64;
        i64::try_from(thousandths / 1000).unwrap_or(i64::MAX)
    }
}

fn milli(speed: f64) -> Result<i64, ClockError> {
    if (1.0..=1000.0).contains(&speed) {
        Ok((speed * 1000.0).round() as i64)
    } else {
        Err(ClockError::Speed(speed))
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
