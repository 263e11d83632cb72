//! Prints made of a bar, where the trades themselves were not recorded.

use common::calendar::SECOND;

use super::tick::Price;
use crate::recording::BarRow;

/// The last print comes this long before the end of its bar, so that it still belongs to it.
const BEFORE_END: i64 = SECOND / 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BarPrint {
    pub(crate) at: i64,
    pub(crate) price: Price,
    pub(crate) size: u32,
}

/// One to four prints: open, the two extremes (the one on the way to the close last), close. Equal neighbours are
/// one print. They are spread evenly over the bar, none before a fair share of it has passed and the close at its
/// end, and share its volume evenly, at least one share each.
pub(crate) fn prints(bar: &BarRow, length: i64) -> ([BarPrint; 4], usize) {
    let (first, second) = if bar.close >= bar.open {
        (bar.low, bar.high)
    } else {
        (bar.high, bar.low)
    };
    let mut prints = [BarPrint::default(); 4];
    let mut count = 0;
    for price in [bar.open, first, second, bar.close] {
        if count == 0 || prints[count - 1].price != price {
            prints[count].price = price;
            count += 1;
        }
    }
    let share = bar.volume / count as u64;
    for (index, print) in prints[..count].iter_mut().enumerate() {
        let is_last = index + 1 == count;
        let size = if is_last {
            bar.volume - share * (count as u64 - 1)
        } else {
            share
        };
        print.size = u32::try_from(size.max(1)).unwrap_or(u32::MAX);
        print.at = if is_last {
            bar.start + length - BEFORE_END
        } else {
            bar.start + length * (index as i64 + 1) / count as i64
        };
    }
    (prints, count)
}
