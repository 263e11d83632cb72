use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use chrono::NaiveDate;
use common::calendar::{self, DAY, HOUR, MINUTE, SECOND};
use proptest::prelude::*;

use super::*;
use crate::recording::{BarRow, QuoteGrain, QuoteRow, Recording, Series, TradeRow};

/// The prices that the package ships.
pub(crate) fn sample() -> Arc<Recording> {
    static SAMPLE: OnceLock<Arc<Recording>> = OnceLock::new();
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../console/sample"));
    SAMPLE
        .get_or_init(|| Arc::new(Recording::load(folder).expect("the sample is in order")))
        .clone()
}

pub(crate) fn schedule() -> Arc<Schedule> {
    Arc::new(Schedule::new(sample(), None, None).unwrap())
}

pub(crate) fn utc(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_nanos_opt()
        .unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn price(cents: i64) -> Price {
    Price::from_micros(cents * 10_000)
}

fn bar(start: i64, cents: [i64; 4], volume: u64) -> BarRow {
    let [open, high, low, close] = cents.map(price);
    BarRow {
        start,
        open,
        high,
        low,
        close,
        vwap: Price::ZERO,
        volume,
        trade_count: 0,
    }
}

/// A schedule of one symbol's rows.
pub(crate) fn schedule_of(series: Series) -> Arc<Schedule> {
    let recording = Recording::of_series(BTreeMap::from([("ONE".to_owned(), series)])).unwrap();
    Arc::new(Schedule::new(Arc::new(recording), None, None).unwrap())
}

fn ticks(schedule: &Arc<Schedule>, until: i64) -> Vec<Tick> {
    let mut ticks = Vec::new();
    let begin = schedule.start() - 9 * HOUR;
    Replay::new(schedule.clone(), begin, 1000.0).advance_to(until, &mut |tick| ticks.push(tick));
    ticks
}

const OPEN: &str = "2013-10-07T13:30:00Z";

#[test]
fn a_fresh_run_begins_half_a_minute_before_the_first_open() {
    assert_eq!(schedule().start(), utc("2013-10-07T13:29:30Z"));
}

#[test]
fn after_the_last_recorded_session_the_same_prices_come_on_the_next_trading_days() {
    let schedule = schedule();
    let sources: Vec<(String, String)> = schedule
        .days(date("2013-10-07"), date("2013-10-16"))
        .iter()
        .map(|day| (day.session.date.to_string(), day.source.to_string()))
        .collect();
    let expected = [
        ("2013-10-07", "2013-10-07"),
        ("2013-10-08", "2013-10-08"),
        ("2013-10-09", "2013-10-09"),
        ("2013-10-10", "2013-10-07"),
        ("2013-10-11", "2013-10-08"),
        ("2013-10-14", "2013-10-09"),
        ("2013-10-15", "2013-10-07"),
        ("2013-10-16", "2013-10-08"),
    ];
    assert_eq!(
        sources,
        expected.map(|(day, source)| (day.to_owned(), source.to_owned()))
    );
    // In winter time the session is an hour later by UTC, and at the same hour in New York.
    let winter = schedule.day(date("2013-11-04")).unwrap();
    assert_eq!(
        winter.shift,
        calendar::midnight(winter.session.date) - calendar::midnight(winter.source)
    );
    assert_eq!((winter.shift - HOUR) % DAY, 0);
}

#[test]
fn from_and_to_choose_the_sessions_that_are_played() {
    let only = Schedule::new(sample(), Some(date("2013-10-08")), Some(date("2013-10-08"))).unwrap();
    assert_eq!(only.start(), utc("2013-10-08T13:29:30Z"));
    assert_eq!(
        only.after(date("2013-10-08")).unwrap().source,
        date("2013-10-08")
    );
    assert_eq!(
        only.before(date("2013-10-08")).unwrap().source,
        date("2013-10-07")
    );
    let refused = Schedule::new(sample(), Some(date("2014-01-01")), None)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("2014-01-01") && refused.contains("2013-10-07 to 2013-10-09"),
        "{refused}"
    );
}

#[test]
fn a_whole_day_repeated_on_a_half_day_ends_at_its_close() {
    let schedule = schedule();
    let half = schedule.day(date("2013-11-29")).unwrap();
    assert!(half.session.is_half_day());
    let spy = schedule.recording().id("SPY").unwrap();
    let last = SymbolDay::new(schedule.recording().clone(), spy, half)
        .last()
        .unwrap();
    assert_eq!(last.at(), half.session.close);
    let closing = SymbolDay::new(schedule.recording().clone(), spy, half)
        .filter(|tick| matches!(tick, Tick::Trade(trade) if trade.print == Print::Closing))
        .collect::<Vec<_>>();
    assert_eq!(closing.len(), 1);
    assert!(closing[0].at() < half.session.close && closing[0].at() > half.session.close - MINUTE);
}

#[test]
fn a_minute_bar_becomes_four_prints_none_before_its_share_of_the_minute() {
    let start = utc(OPEN);
    let series = Series {
        minutes: vec![bar(start, [1000, 1020, 990, 1010], 403)],
        ..Series::default()
    };
    let trades: Vec<(i64, Price, u32, Print)> = ticks(&schedule_of(series), start + MINUTE)
        .iter()
        .filter_map(|tick| {
            if let Tick::Trade(trade) = tick {
                Some(trade)
            } else {
                None
            }
        })
        .map(|trade| {
            (
                (trade.at - start) / (SECOND / 1000),
                trade.price,
                trade.size,
                trade.print,
            )
        })
        .collect();
    assert_eq!(
        trades,
        [
            (15_000, price(1000), 100, Print::Opening),
            (30_000, price(990), 100, Print::Plain),
            (45_000, price(1020), 100, Print::Plain),
            (59_999, price(1010), 103, Print::Closing),
        ]
    );
}

#[test]
fn trades_are_taken_from_the_finest_rows_of_each_minute() {
    let start = utc(OPEN);
    let series = Series {
        minutes: vec![
            bar(start, [100, 100, 100, 100], 10),
            bar(start + MINUTE, [200, 200, 200, 200], 10),
            bar(start + 2 * MINUTE, [300, 300, 300, 300], 10),
        ],
        seconds: vec![
            bar(start + SECOND, [101, 101, 101, 101], 5),
            bar(start + MINUTE, [201, 201, 201, 201], 5),
        ],
        trades: vec![TradeRow {
            at: start + 7,
            price: price(102),
            size: 3,
        }],
        ..Series::default()
    };
    let ticks = ticks(&schedule_of(series), start + 3 * MINUTE);
    let trades: Vec<Price> = ticks
        .iter()
        .filter_map(|tick| {
            if let Tick::Trade(trade) = tick {
                Some(trade.price)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(trades, [price(102), price(201), price(300)]);
    let bars: Vec<Price> = ticks
        .iter()
        .filter_map(|tick| {
            if let Tick::Bar(bar) = tick {
                Some(bar.close)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(bars, [price(100), price(200), price(300)]);
}

#[test]
fn a_print_outside_the_standing_quote_moves_it_and_keeps_its_width() {
    let start = utc(OPEN);
    let quote = QuoteRow {
        at: start,
        bid: price(1000),
        ask: price(1002),
        bid_size: 300,
        ask_size: 400,
    };
    let series = Series {
        trades: [1001, 1005, 990]
            .iter()
            .zip(1..)
            .map(|(cents, second)| TradeRow {
                at: start + second * SECOND,
                price: price(*cents),
                size: 1,
            })
            .collect(),
        quotes: vec![quote],
        ..Series::default()
    };
    let quotes = |schedule: &Arc<Schedule>| -> Vec<(Price, Price)> {
        ticks(schedule, start + 5 * SECOND)
            .iter()
            .filter_map(|tick| {
                if let Tick::Quote(quote) = tick {
                    Some((quote.bid, quote.ask))
                } else {
                    None
                }
            })
            .collect()
    };
    let schedule = schedule_of(series);
    let moved = [
        (price(1000), price(1002)),
        (price(1003), price(1005)),
        (price(990), price(992)),
    ];
    assert_eq!(quotes(&schedule), moved);
    // Where each change was recorded, nothing is made up.
    let series = schedule.recording().series(SymbolId(0));
    let ticks = Series {
        trades: series.trades.clone(),
        quotes: series.quotes.clone(),
        quote_grain: QuoteGrain::Tick,
        ..Series::default()
    };
    assert_eq!(quotes(&schedule_of(ticks)), moved[..1]);
}

#[test]
fn a_quiet_quote_is_stated_again_each_real_second_of_the_session() {
    let start = utc(OPEN);
    let quote = QuoteRow {
        at: start - MINUTE,
        bid: price(1000),
        ask: price(1002),
        bid_size: 300,
        ask_size: 400,
    };
    let series = Series {
        minutes: vec![
            bar(start, [1001, 1001, 1001, 1001], 1),
            bar(start + 5 * HOUR, [1001, 1001, 1001, 1001], 1),
        ],
        quotes: vec![quote],
        ..Series::default()
    };
    let mut replay = Replay::new(schedule_of(series), start - 1, 10.0);
    let mut restated = Vec::new();
    let mut note = |tick: Tick| {
        if let Tick::Quote(quote) = tick {
            assert!(quote.restated && (quote.bid, quote.ask) == (price(1000), price(1002)));
            restated.push((quote.at - start) / SECOND);
        }
    };
    replay.advance_to(start + 35 * SECOND, &mut note);
    replay.set_speed(100.0);
    replay.advance_to(start + 400 * SECOND, &mut note);
    replay.set_speed(1000.0);
    replay.advance_to(start + 12 * HOUR, &mut note);
    assert_eq!(restated[..6], [10, 20, 30, 135, 235, 335]);
    assert_eq!(restated[6], 1400);
    assert!(*restated.last().unwrap() <= 6 * 3600 + 1800);
}

#[test]
fn a_replay_that_begins_in_a_session_knows_what_stands() {
    let schedule = schedule();
    let at = utc("2013-10-08T15:00:00Z");
    let mut through = Replay::new(schedule.clone(), schedule.start(), 1000.0);
    let mut last = BTreeMap::new();
    through.advance_to(at, &mut |tick| {
        if let Tick::Trade(trade) = tick {
            last.insert(trade.symbol, trade);
        }
    });
    let sought = Replay::new(schedule, at, 1000.0);
    let standing: Vec<Trade> = sought
        .standing()
        .filter_map(|tick| {
            if let Tick::Trade(trade) = tick {
                Some(trade)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(standing.len(), 4);
    assert_eq!(standing, last.into_values().collect::<Vec<_>>());
}

#[test]
fn each_session_opens_and_closes_once_and_its_auction_prints_lie_inside() {
    let schedule = schedule();
    let mut log = Vec::new();
    let mut auctions = 0;
    Replay::new(schedule.clone(), schedule.start(), 1000.0).advance_to(
        utc("2013-10-12T00:00:00Z"),
        &mut |tick| match tick {
            Tick::Open { date, .. } => log.push(format!("open {date}")),
            Tick::Close { date, .. } => log.push(format!("close {date}")),
            Tick::Trade(trade) if trade.print != Print::Plain => {
                assert_eq!(log.len() % 2, 1, "{trade:?}");
                auctions += 1;
            }
            _ => {}
        },
    );
    let days = [
        "2013-10-07",
        "2013-10-08",
        "2013-10-09",
        "2013-10-10",
        "2013-10-11",
    ];
    assert_eq!(
        log,
        days.iter()
            .flat_map(|day| [format!("open {day}"), format!("close {day}")])
            .collect::<Vec<_>>()
    );
    assert_eq!(auctions, 5 * 4 * 2);
}

#[test]
fn two_replays_of_the_same_days_are_the_same() {
    let schedule = schedule();
    let until = utc("2013-10-08T20:00:00Z");
    assert!(ticks(&schedule, until) == ticks(&schedule, until));
}

/// Bars of some minutes around the first open, each with low ≤ open, close ≤ high.
fn minutes() -> impl Strategy<Value = Vec<BarRow>> {
    let row = (
        0_i64..60,
        500_i64..600,
        500_i64..600,
        0_i64..20,
        0_i64..20,
        1_u64..5000,
    );
    proptest::collection::btree_map(0_i64..300, row, 1..60).prop_map(|rows| {
        let first = utc("2013-10-07T13:00:00Z");
        let mut minutes: Vec<BarRow> = rows
            .into_iter()
            .map(|(minute, (_, open, close, up, down, volume))| {
                bar(
                    first + minute * MINUTE,
                    [open, open.max(close) + up, open.min(close) - down, close],
                    volume,
                )
            })
            .collect();
        // A recording needs a regular session.
        minutes.push(bar(first + 301 * MINUTE, [500, 500, 500, 500], 1));
        minutes
    })
}

proptest! {
    #[test]
    fn ticks_come_in_order_and_a_split_advance_gives_the_same(minutes in minutes(), cuts in proptest::collection::vec(0_i64..40_000, 0..20)) {
        let schedule = schedule_of(Series { minutes, ..Series::default() });
        let begin = utc("2013-10-07T12:59:00Z");
        let end = begin + 40_000 * SECOND;
        let mut whole = Vec::new();
        Replay::new(schedule.clone(), begin, 60.0).advance_to(end, &mut |tick| whole.push(tick));
        let rank = |tick: &Tick| match tick {
            Tick::Open { .. } => 0,
            Tick::Quote(_) => 1,
            Tick::Trade(_) => 2,
            Tick::Bar(_) => 3,
            Tick::Close { .. } => 4,
        };
        prop_assert!(whole.is_sorted_by_key(|tick| (tick.at(), rank(tick))));
        let mut split = Vec::new();
        let mut replay = Replay::new(schedule, begin, 60.0);
        let mut cuts: Vec<i64> = cuts.into_iter().map(|cut| begin + cut * SECOND).collect();
        cuts.sort_unstable();
        for cut in cuts {
            let next = replay.next_tick_at();
            let count = split.len();
            replay.advance_to(cut, &mut |tick| split.push(tick));
            prop_assert!(split.iter().all(|tick: &Tick| tick.at() <= cut), "a look ahead of {}", cut);
            if let Some(first) = split.get(count) {
                prop_assert!(next.is_some_and(|next| next <= first.at()));
            }
        }
        replay.advance_to(end, &mut |tick| split.push(tick));
        prop_assert!(whole == split);
    }

    #[test]
    fn the_prints_of_a_minute_are_its_bar_and_lie_inside_it(minutes in minutes()) {
        let schedule = schedule_of(Series { minutes, ..Series::default() });
        let mut prints: Vec<Trade> = Vec::new();
        let mut standing: Option<Quote> = None;
        for tick in ticks(&schedule, utc("2013-10-08T00:00:00Z")) {
            match tick {
                Tick::Quote(quote) => {
                    prop_assert!(quote.bid < quote.ask && quote.bid > Price::ZERO);
                    standing = Some(quote);
                }
                Tick::Trade(trade) => {
                    let quote = standing.unwrap();
                    prop_assert!(quote.bid <= trade.price && trade.price <= quote.ask, "{:?} {:?}", quote, trade);
                    prints.push(trade);
                }
                Tick::Bar(bar) => {
                    prop_assert!(prints.iter().all(|trade| bar.start < trade.at && trade.at < bar.at));
                    prop_assert_eq!(prints.first().unwrap().price, bar.open);
                    prop_assert_eq!(prints.last().unwrap().price, bar.close);
                    prop_assert_eq!(prints.iter().map(|trade| trade.price).max(), Some(bar.high));
                    prop_assert_eq!(prints.iter().map(|trade| trade.price).min(), Some(bar.low));
                    prop_assert_eq!(prints.len(), bar.trade_count as usize);
                    if bar.volume >= 4 {
                        prop_assert_eq!(prints.iter().map(|trade| u64::from(trade.size)).sum::<u64>(), bar.volume);
                    }
                    prints.clear();
                }
                Tick::Open { .. } | Tick::Close { .. } => {}
            }
        }
        prop_assert!(prints.is_empty());
    }
}
