//! The last bars of a symbol in a ring, and the bar that trades are still making.

/// One bar with its start, in ns since the epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryBar {
    pub timestamp: i64,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
}

/// Bars as columns, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    pub timestamps: Vec<i64>,
    pub open: Vec<f64>,
    pub high: Vec<f64>,
    pub low: Vec<f64>,
    pub close: Vec<f64>,
    pub volume: Vec<f64>,
}

impl Bars {
    fn with_capacity(bars: usize) -> Self {
        let column = || Vec::with_capacity(bars);
        Self {
            timestamps: Vec::with_capacity(bars),
            open: column(),
            high: column(),
            low: column(),
            close: column(),
            volume: column(),
        }
    }

    pub fn push(&mut self, bar: &HistoryBar) {
        self.timestamps.push(bar.timestamp);
        self.open.push(bar.open);
        self.high.push(bar.high);
        self.low.push(bar.low);
        self.close.push(bar.close);
        self.volume.push(bar.volume);
    }

    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = HistoryBar> + '_ {
        (0..self.len()).map(|at| HistoryBar {
            timestamp: self.timestamps[at],
            open: self.open[at],
            high: self.high[at],
            low: self.low[at],
            close: self.close[at],
            volume: self.volume[at],
        })
    }
}

/// The newest bars, at most so many, in the order of time.
#[derive(Clone, Debug)]
pub(crate) struct History {
    ring: Vec<HistoryBar>,
    capacity: usize,
    /// Where the oldest lies once the ring is full.
    head: usize,
}

impl History {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            ring: Vec::with_capacity(capacity),
            capacity,
            head: 0,
        }
    }

    pub(crate) fn push(&mut self, bar: HistoryBar) {
        if self.ring.len() < self.capacity {
            self.ring.push(bar);
        } else {
            self.ring[self.head] = bar;
            self.head = (self.head + 1) % self.capacity;
        }
    }

    pub(crate) fn last(&self) -> Option<&HistoryBar> {
        self.iter_back().next()
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut HistoryBar> {
        let newest = if self.head == 0 {
            self.ring.len().checked_sub(1)?
        } else {
            self.head - 1
        };
        self.ring.get_mut(newest)
    }

    pub(crate) fn clear(&mut self) {
        self.ring.clear();
        self.head = 0;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &HistoryBar> {
        let (newer, older) = self.ring.split_at(self.head);
        older.iter().chain(newer)
    }

    /// From the newest back.
    pub(crate) fn iter_back(&self) -> impl Iterator<Item = &HistoryBar> {
        let (newer, older) = self.ring.split_at(self.head);
        newer.iter().rev().chain(older.iter().rev())
    }

    pub(crate) fn bars(&self, in_progress: Option<&HistoryBar>) -> Bars {
        let mut bars = Bars::with_capacity(self.ring.len() + 1);
        for bar in self.iter().chain(in_progress) {
            bars.push(bar);
        }
        bars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(timestamp: i64) -> HistoryBar {
        let price = timestamp as f64;
        HistoryBar {
            timestamp,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 1.0,
        }
    }

    #[test]
    fn the_ring_keeps_the_newest_in_order() {
        for bars in 0..12 {
            let mut history = History::new(5);
            for at in 0..bars {
                history.push(bar(at));
            }
            let expected: Vec<i64> = (0.max(bars - 5)..bars).collect();
            assert_eq!(history.bars(None).timestamps, expected);
            let back: Vec<i64> = history.iter_back().map(|bar| bar.timestamp).collect();
            assert_eq!(back, expected.iter().rev().copied().collect::<Vec<_>>());
            assert_eq!(
                history.last().map(|bar| bar.timestamp),
                expected.last().copied()
            );
            assert_eq!(
                history.last_mut().map(|bar| bar.timestamp),
                expected.last().copied()
            );
        }
    }

    #[test]
    fn the_bar_in_progress_comes_last() {
        let mut history = History::new(3);
        history.push(bar(1));
        assert_eq!(history.bars(Some(&bar(2))).timestamps, [1, 2]);
    }
}
