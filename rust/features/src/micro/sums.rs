//! Several sums over the same window of events, folded from blocks like `window::Tree`.

/// `K` sums over the last `window` events; nothing is subtracted, so nothing drifts.
#[derive(Clone, Debug)]
pub(super) struct Sums<const K: usize> {
    window: usize,
    n: usize,
    slots: Box<[[f64; K]]>,
}

impl<const K: usize> Sums<K> {
    pub(super) fn new(window: usize) -> Self {
        Self {
            window,
            n: 0,
            slots: vec![[0.0; K]; 2 << window.ilog2()].into(),
        }
    }

    /// Takes in an event; the sums over the window, once it is full.
    #[inline]
    pub(super) fn step(&mut self, event: [f64; K]) -> Option<[f64; K]> {
        let n = self.n;
        self.n += 1;
        let mut block = event;
        let mut total = [0.0; K];
        let mut covered = 0;
        let mut size = 1;
        loop {
            let mask = size - 1;
            let older = std::mem::replace(&mut self.slots[size + (n & mask)], block);
            if self.window & size != 0 {
                add(
                    &mut total,
                    &self.slots[size + (n.wrapping_sub(covered) & mask)],
                );
                covered += size;
            }
            size *= 2;
            if size > self.window {
                return (self.n >= self.window).then_some(total);
            }
            add(&mut block, &older);
        }
    }
}

#[inline(always)]
fn add<const K: usize>(to: &mut [f64; K], other: &[f64; K]) {
    for (sum, x) in to.iter_mut().zip(other) {
        *sum += x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_of_the_last_window_events() {
        for window in 1..40 {
            let mut sums = Sums::new(window);
            for n in 0..200_usize {
                let got = sums.step([n as f64, 1.0]);
                let first = (n + 1).saturating_sub(window);
                let expected = [(first..=n).sum::<usize>() as f64, window as f64];
                assert_eq!(
                    got,
                    (n + 1 >= window).then_some(expected),
                    "window {window}, event {n}"
                );
            }
        }
    }
}
