use common::calendar::{self, HOUR, MINUTE, SECOND};
use proptest::prelude::*;
use serde_json::Value;

use super::history::{History, Timeframe};
use super::wire::{self, Json, MsgPack};
use super::*;
use crate::recording::BarRow;
use crate::replay::tests::{schedule, utc};
use crate::replay::{Price, Print, Quote, SymbolId, Trade};

fn history(now: &str) -> History {
    History {
        schedule: schedule(),
        now: utc(now),
    }
}

fn id(history: &History, symbol: &str) -> SymbolId {
    history.schedule.recording().id(symbol).unwrap()
}

fn bars(now: &str, symbol: &str, timeframe: &str, start: &str, end: &str) -> Vec<BarRow> {
    let history = history(now);
    let timeframe = Timeframe::parse(timeframe).unwrap();
    history.bars(id(&history, symbol), timeframe, utc(start), utc(end))
}

fn dollars(price: Price) -> f64 {
    price.to_f64()
}

#[test]
fn timeframes_are_read_as_alpaca_writes_them() {
    for (text, timeframe) in [
        ("1Min", Timeframe::Minutes(1)),
        ("59T", Timeframe::Minutes(59)),
        ("1Hour", Timeframe::Hours(1)),
        ("23H", Timeframe::Hours(23)),
        ("1Day", Timeframe::Day),
        ("1D", Timeframe::Day),
        ("1Week", Timeframe::Week),
        ("6Month", Timeframe::Months(6)),
        ("12M", Timeframe::Months(12)),
    ] {
        assert_eq!(Timeframe::parse(text), Some(timeframe), "{text}");
    }
    for text in [
        "", "Min", "0Min", "60Min", "24Hour", "2Day", "2Week", "5Month", "1min", "1 Min", "-1Min",
        "1Year",
    ] {
        assert_eq!(Timeframe::parse(text), None, "{text}");
    }
}

#[test]
fn a_minute_is_history_only_when_it_is_over() {
    let at = |now: &str| {
        bars(
            now,
            "SPY",
            "1Min",
            "2013-10-07T13:30:00Z",
            "2013-10-08T00:00:00Z",
        )
        .last()
        .map(|bar| bar.start)
    };
    assert_eq!(at("2013-10-07T13:30:59.999999999Z"), None);
    assert_eq!(
        at("2013-10-07T13:31:00Z"),
        Some(utc("2013-10-07T13:30:00Z"))
    );
}

#[test]
fn start_and_end_are_both_included() {
    let minutes = bars(
        "2013-10-09T20:00:00Z",
        "SPY",
        "1Min",
        "2013-10-07T13:30:00Z",
        "2013-10-07T13:32:00Z",
    );
    let starts: Vec<i64> = minutes
        .iter()
        .map(|bar| (bar.start - utc("2013-10-07T13:30:00Z")) / MINUTE)
        .collect();
    assert_eq!(starts, [0, 1, 2]);
}

#[test]
fn longer_bars_are_the_minutes_they_hold() {
    let (start, end) = ("2013-10-07T08:00:00Z", "2013-10-08T00:00:00Z");
    let minutes = bars("2013-10-09T20:00:00Z", "SPY", "1Min", start, end);
    for (timeframe, length) in [
        ("5Min", 5 * MINUTE),
        ("30Min", 30 * MINUTE),
        ("1Hour", HOUR),
        ("4Hour", 4 * HOUR),
    ] {
        let longer = bars("2013-10-09T20:00:00Z", "SPY", timeframe, start, end);
        assert_eq!(
            longer.iter().map(|bar| bar.volume).sum::<u64>(),
            minutes.iter().map(|bar| bar.volume).sum::<u64>()
        );
        for bar in &longer {
            let held: Vec<&BarRow> = minutes
                .iter()
                .filter(|minute| (bar.start..bar.start + length).contains(&minute.start))
                .collect();
            assert_eq!(bar.open, held[0].open);
            assert_eq!(bar.close, held[held.len() - 1].close);
            assert_eq!(Some(bar.high), held.iter().map(|minute| minute.high).max());
            assert_eq!(Some(bar.low), held.iter().map(|minute| minute.low).min());
            assert!(bar.low <= bar.vwap && bar.vwap <= bar.high);
        }
    }
}

#[test]
fn a_day_is_its_regular_session_and_grows_while_it_lasts() {
    let day = |now: &str| {
        bars(
            now,
            "SPY",
            "1Day",
            "2013-10-07T04:00:00Z",
            "2013-10-10T00:00:00Z",
        )
    };
    assert!(day("2013-10-07T13:30:30Z").is_empty());
    let growing = day("2013-10-07T14:30:00Z");
    assert_eq!(growing.len(), 1);
    assert_eq!(growing[0].start, utc("2013-10-07T04:00:00Z"));
    let over = day("2013-10-07T20:00:00Z");
    assert!(growing[0].volume < over[0].volume);
    let figures = (
        dollars(over[0].open),
        dollars(over[0].high),
        dollars(over[0].low),
        dollars(over[0].close),
    );
    assert_eq!(
        (figures, over[0].volume),
        ((167.43, 168.45, 167.25, 167.42), 81_489_219)
    );
    assert_eq!(day("2013-10-07T23:00:00Z"), over);
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let weeks = bars(
        "2013-10-09T20:00:00Z",
        "SPY",
        "1Week",
        "2013-09-23T04:00:00Z",
        "2013-10-20T00:00:00Z",
    );
    let starts: Vec<i64> = weeks.iter().map(|bar| bar.start).collect();
    assert_eq!(
        starts,
        [
            "2013-09-23T04:00:00Z",
            "2013-09-30T04:00:00Z",
            "2013-10-07T04:00:00Z"
        ]
        .map(utc)
    );
    let months = bars(
        "2013-10-09T20:00:00Z",
        "SPY",
        "3Month",
        "2012-01-01T05:00:00Z",
        "2013-10-20T00:00:00Z",
    );
    assert_eq!(months.len(), 8);
    assert_eq!(months[1].start, utc("2012-04-01T04:00:00Z"));
    assert_eq!(months[4].start, utc("2013-01-01T05:00:00Z"));
    assert_eq!(
        weeks[2].open,
        bars(
            "2013-10-09T20:00:00Z",
            "SPY",
            "1Day",
            "2013-10-07T04:00:00Z",
            "2013-10-07T05:00:00Z"
        )[0]
        .open
    );
}

#[test]
fn repeated_days_have_bars_of_their_own() {
    let later = bars(
        "2013-10-14T20:00:00Z",
        "IBM",
        "1Day",
        "2013-10-10T04:00:00Z",
        "2013-10-20T00:00:00Z",
    );
    let first = bars(
        "2013-10-09T20:00:00Z",
        "IBM",
        "1Day",
        "2013-10-07T04:00:00Z",
        "2013-10-20T00:00:00Z",
    );
    let closes = |bars: &[BarRow]| bars.iter().map(|bar| bar.close).collect::<Vec<_>>();
    assert_eq!(later.len(), 3);
    assert_eq!(closes(&later), closes(&first));
    assert_eq!(later[2].start, utc("2013-10-14T04:00:00Z"));
}

#[test]
fn a_symbol_with_daily_bars_only_has_those() {
    let days = bars(
        "2013-10-09T20:00:00Z",
        "AAPL",
        "1Day",
        "2013-10-07T04:00:00Z",
        "2013-10-20T00:00:00Z",
    );
    assert_eq!(days.len(), 3);
    // The day is not over yet.
    assert_eq!(
        bars(
            "2013-10-09T19:59:59Z",
            "AAPL",
            "1Day",
            "2013-10-07T04:00:00Z",
            "2013-10-20T00:00:00Z"
        )
        .len(),
        2
    );
    assert!(
        bars(
            "2013-10-09T20:00:00Z",
            "AAPL",
            "1Min",
            "2013-10-07T04:00:00Z",
            "2013-10-20T00:00:00Z"
        )
        .is_empty()
    );
}

#[test]
fn the_last_two_days_are_found_over_a_weekend() {
    let history = history("2013-10-14T13:00:00Z");
    let (last, previous) = history.last_days(id(&history, "SPY"));
    assert_eq!(last.map(|bar| bar.start), Some(utc("2013-10-11T04:00:00Z")));
    assert_eq!(
        previous.map(|bar| bar.start),
        Some(utc("2013-10-10T04:00:00Z"))
    );
}

#[test]
fn the_latest_prices_before_the_first_tick_are_those_of_the_day_before() {
    let history = history("2013-10-08T07:00:00Z");
    let spy = id(&history, "SPY");
    let trade = history.last_trade(spy).unwrap();
    assert_eq!(calendar::date_at(trade.at).to_string(), "2013-10-07");
    assert!(history.last_quote(spy).is_some() && history.last_minute(spy).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_later_than_now_is_ever_told(offset in 0_i64..8 * 86_400, hours in 1_i64..3) {
        let now = utc("2013-10-07T08:00:00Z") + offset * SECOND;
        let history = History { schedule: schedule(), now };
        let (start, end) = (now - hours * HOUR, now + 30 * 24 * HOUR);
        for symbol in history.schedule.recording().ids() {
            for bar in history.bars(symbol, Timeframe::Minutes(1), start, end) {
                prop_assert!(bar.start + MINUTE <= now);
            }
            prop_assert!(history.trades(symbol, start, end).all(|trade| start <= trade.at && trade.at <= now));
            prop_assert!(history.quotes(symbol, start, end).all(|quote| start <= quote.at && quote.at <= now));
        }
    }
}

fn a_quote() -> Quote {
    Quote {
        at: utc("2013-10-07T13:30:00.25Z"),
        symbol: SymbolId(0),
        bid: Price::from_micros(167_420_000),
        ask: Price::from_micros(167_432_500),
        bid_size: 300,
        ask_size: 70_000,
        restated: false,
    }
}

#[test]
fn a_quote_in_json_is_alpacas() {
    let mut out = Vec::new();
    wire::quote::<Json>(
        &mut out,
        Some(("q", "SPY")),
        &a_quote(),
        Tape::of_listing("ARCA"),
    );
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"T":"q","S":"SPY","bx":"V","bp":167.42,"bs":300,"ax":"V","ap":167.4325,"as":70000,"c":["R"],"z":"B","t":"2013-10-07T13:30:00.25Z"}"#
    );
}

#[test]
fn a_trade_in_msgpack_has_a_timestamp_extension() {
    let trade = Trade {
        at: utc("2013-10-07T13:30:00.25Z"),
        symbol: SymbolId(0),
        price: Price::from_micros(10_000_000),
        size: 100,
        print: Print::Opening,
        id: 7,
    };
    let mut out = Vec::new();
    wire::trade::<MsgPack>(
        &mut out,
        Some(("t", "IBM")),
        &trade,
        Tape::of_listing("NYSE"),
    );
    let tail = &out[out.len() - 12..];
    assert_eq!(&tail[..4], [0xa1, b't', 0xd7, 0xff]);
    let stamp = u64::from_be_bytes(tail[4..].try_into().unwrap());
    assert_eq!(
        (stamp >> 34, stamp & 0x3_ffff_ffff),
        (250_000_000, (trade.at / SECOND) as u64)
    );
    // Nine fields: T, S and seven of the trade.
    assert_eq!(out[0], 0x89);
}

#[test]
fn prices_and_times_are_written_without_a_rounding() {
    for (micros, expected) in [
        (0, "0"),
        (1, "0.000001"),
        (167_420_000, "167.42"),
        (1_000_000, "1"),
        (-2_500_000, "-2.5"),
    ] {
        let mut out = Vec::new();
        <Json as wire::Writer>::price(&mut out, Price::from_micros(micros));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

proptest! {
    #[test]
    fn times_are_written_as_chrono_reads_them(at in 0_i64..4_000_000_000_000_000_000) {
        let mut out = Vec::new();
        wire::rfc3339(&mut out, at);
        prop_assert_eq!(utc(std::str::from_utf8(&out).unwrap()), at);
    }

    #[test]
    fn bars_in_json_are_json(o in 1_i64..1_000_000_000, v in any::<u64>(), n in any::<u32>(), at in 0_i64..4_000_000_000_000_000_000) {
        let price = Price::from_micros(o);
        let bar = BarRow { start: at, open: price, high: price, low: price, close: price, vwap: price, volume: v, trade_count: n };
        let mut out = Vec::new();
        wire::bar::<Json>(&mut out, None, &bar);
        let value: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(value["v"].as_u64(), Some(v));
        prop_assert_eq!((value["o"].as_f64().unwrap() * 1e6).round() as i64, o);
        prop_assert_eq!(value.as_object().unwrap().len(), 8);
    }
}
