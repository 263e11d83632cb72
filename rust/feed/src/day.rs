//! The trading day of a symbol: where it opened, its range, and the close it is measured against.

use common::calendar;

/// New York's day around a moment, in ns since the epoch.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    start: i64,
    end: i64,
    /// The regular session; the whole day where the calendar has none.
    open: i64,
    close: i64,
}

impl Bounds {
    const NONE: Self = Self {
        start: 0,
        end: 0,
        open: 0,
        close: 0,
    };

    fn around(at: i64) -> Self {
        let date = calendar::date_at(at);
        let start = calendar::midnight(date);
        let end = date.succ_opt().map_or(i64::MAX, calendar::midnight);
        match calendar::session(date) {
            Some(session) => Self {
                start,
                end,
                open: session.open,
                close: session.close,
            },
            None => Self {
                start,
                end,
                open: start,
                close: end,
            },
        }
    }
}

/// What one trading day has brought so far; NaN where it has brought nothing.
///
/// Prices in the regular session make the day; at the first price of a new date the last regular
/// price of the day before becomes the close that the new day is measured against.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    bounds: Bounds,
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) volume: f64,
    pub(crate) previous_close: f64,
    close: f64,
}

impl Day {
    pub(crate) const fn new() -> Self {
        Self {
            bounds: Bounds::NONE,
            open: f64::NAN,
            high: f64::NAN,
            low: f64::NAN,
            volume: f64::NAN,
            previous_close: f64::NAN,
            close: f64::NAN,
        }
    }

    /// Moves to the day of `at`, if that is a later one; answers whether `at` counts for the day.
    fn enter(&mut self, at: i64) -> bool {
        if at >= self.bounds.end {
            self.bounds = Bounds::around(at);
            if !self.close.is_nan() {
                self.previous_close = self.close;
            }
            self.open = f64::NAN;
            self.high = f64::NAN;
            self.low = f64::NAN;
            self.volume = f64::NAN;
        }
        self.bounds.open <= at && at < self.bounds.close
    }

    /// A price range with its volume; `open` opens the day if nothing did before.
    pub(crate) fn range(
        &mut self,
        at: i64,
        open: f64,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
    ) {
        if !self.enter(at) {
            return;
        }
        if self.open.is_nan() {
            self.open = open;
        }
        // `f64::max` and `min` take the number where the other is NaN.
        self.high = self.high.max(high);
        self.low = self.low.min(low);
        self.volume = volume
            + if self.volume.is_nan() {
                0.0
            } else {
                self.volume
            };
        self.close = close;
    }

    /// A price without volume: what the bar around it will count is not counted twice.
    pub(crate) fn price(&mut self, at: i64, price: f64) {
        self.range(at, price, price, price, price, 0.0);
    }

    /// The day as the exchange tells it, in place of what was gathered.
    pub(crate) fn told(
        &mut self,
        at: i64,
        open: f64,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
    ) {
        self.enter(at);
        if at < self.bounds.start {
            return;
        }
        self.open = open;
        self.high = high;
        self.low = low;
        self.volume = volume;
        self.close = close;
    }
}
