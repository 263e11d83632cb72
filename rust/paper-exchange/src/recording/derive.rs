//! What follows from the rows of a symbol: minutes out of finer rows, average prices, daily bars.

use common::calendar::{self, MINUTE, SECOND};

use super::series::{self, BarRow, DayRow, Series};
use crate::replay::{Price, prints};

/// Stands for an average price that the file doesn't give.
pub(super) const UNKNOWN: Price = Price::ZERO;

/// Fills in the minutes that only finer rows know, averages and counts, and the daily bars of days with minutes.
/// Rows are in order.
pub(super) fn complete(series: &mut Series) {
    series
        .seconds
        .iter_mut()
        .for_each(|bar| estimate(bar, SECOND));
    let from_trades = minutes_of_trades(series);
    let from_seconds = minutes_of(&series.seconds);
    // From the finest on; what was recorded as a minute stays as recorded.
    for derived in [from_trades, from_seconds] {
        refine(&mut series.minutes, &derived);
        add_missing(&mut series.minutes, derived);
    }
    series
        .minutes
        .iter_mut()
        .for_each(|bar| estimate(bar, MINUTE));
    for day in series.days.iter_mut().filter(|day| day.vwap == UNKNOWN) {
        day.vwap = typical(day.open, day.high, day.low, day.close);
    }
    series.recorded_days = days_of(&series.minutes);
}

/// What is still unknown of a bar follows from the prints that the replay makes of it.
fn estimate(bar: &mut BarRow, length: i64) {
    if bar.vwap == UNKNOWN {
        bar.vwap = typical(bar.open, bar.high, bar.low, bar.close);
    }
    if bar.trade_count == 0 {
        bar.trade_count = prints(bar, length).1 as u32;
    }
}

/// Takes averages and counts that a recorded minute lacks from the finer rows of that minute.
fn refine(minutes: &mut [BarRow], derived: &[BarRow]) {
    for bar in minutes
        .iter_mut()
        .filter(|bar| bar.vwap == UNKNOWN || bar.trade_count == 0)
    {
        let Ok(index) = derived.binary_search_by_key(&bar.start, |finer| finer.start) else {
            continue;
        };
        let finer = &derived[index];
        if bar.vwap == UNKNOWN {
            // Finer rows may hold a price that the minute's high and low leave out.
            bar.vwap = finer.vwap.clamp(bar.low, bar.high);
        }
        if bar.trade_count == 0 {
            bar.trade_count = finer.trade_count;
        }
    }
}

fn add_missing(minutes: &mut Vec<BarRow>, derived: Vec<BarRow>) {
    let missing: Vec<BarRow> = derived
        .into_iter()
        .filter(|bar| {
            minutes
                .binary_search_by_key(&bar.start, |known| known.start)
                .is_err()
        })
        .collect();
    if !missing.is_empty() {
        minutes.extend(missing);
        minutes.sort_unstable_by_key(|bar| bar.start);
    }
}

fn minute(at: i64) -> i64 {
    at - at.rem_euclid(MINUTE)
}

fn minutes_of(seconds: &[BarRow]) -> Vec<BarRow> {
    seconds
        .chunk_by(|one, next| minute(one.start) == minute(next.start))
        .filter_map(|group| {
            let bar = series::merge(group.iter().copied())?;
            Some(BarRow {
                start: minute(bar.start),
                ..bar
            })
        })
        .collect()
}

fn minutes_of_trades(series: &Series) -> Vec<BarRow> {
    let one = |trade: &series::TradeRow| BarRow {
        start: minute(trade.at),
        open: trade.price,
        high: trade.price,
        low: trade.price,
        close: trade.price,
        vwap: trade.price,
        volume: u64::from(trade.size),
        trade_count: 1,
    };
    series
        .trades
        .chunk_by(|trade, next| minute(trade.at) == minute(next.at))
        .filter_map(|group| series::merge(group.iter().map(one)))
        .collect()
}

fn days_of(minutes: &[BarRow]) -> Vec<DayRow> {
    let regular: Vec<BarRow> = minutes
        .iter()
        .copied()
        .filter(|bar| series::is_regular(bar.start))
        .collect();
    regular
        .chunk_by(|one, next| calendar::date_at(one.start) == calendar::date_at(next.start))
        .filter_map(|group| series::merge(group.iter().copied()))
        .map(|bar| DayRow {
            date: calendar::date_at(bar.start),
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            vwap: bar.vwap,
            volume: bar.volume,
            trade_count: bar.trade_count,
        })
        .collect()
}

/// The average of a bar whose trades are unknown: the middle of its four prices.
fn typical(open: Price, high: Price, low: Price, close: Price) -> Price {
    Price::from_micros((open.micros() + high.micros() + low.micros() + close.micros()) / 4)
}
