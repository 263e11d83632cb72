use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate, Offset, TimeZone, Timelike, Utc, Weekday};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// `tests/vectors/nyse_calendar.json`: what the exchange-calendars package says.
#[derive(Deserialize)]
struct Vectors {
    first: NaiveDate,
    last: NaiveDate,
    weekdays_closed: BTreeSet<NaiveDate>,
    early_closes: BTreeMap<NaiveDate, String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/vectors/nyse_calendar.json")).unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn utc(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_nanos_opt()
        .unwrap()
}

#[test]
fn every_day_agrees_with_the_reference_calendar() {
    let vectors = vectors();
    assert_eq!(
        (vectors.first.year(), vectors.last.year()),
        (*YEARS.start(), *YEARS.end())
    );
    for day in vectors
        .first
        .iter_days()
        .take_while(|day| *day <= vectors.last)
    {
        let weekday = !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let expected = weekday && !vectors.weekdays_closed.contains(&day);
        assert_eq!(is_trading_day(day), expected, "{day} {}", day.weekday());
        if let Some(session) = session(day) {
            let close = chrono_tz::America::New_York.timestamp_nanos(session.close);
            let expected = vectors
                .early_closes
                .get(&day)
                .map_or("16:00", String::as_str);
            assert_eq!(
                format!("{:02}:{:02}", close.hour(), close.minute()),
                expected,
                "{day}"
            );
            assert_eq!(
                session.is_half_day(),
                vectors.early_closes.contains_key(&day),
                "{day}"
            );
        }
    }
}

#[test]
fn sessions_lie_at_half_past_nine_in_summer_and_in_winter() {
    let summer = session(date("2013-10-07")).unwrap();
    assert_eq!(summer.pre_open, utc("2013-10-07T08:00:00Z"));
    assert_eq!(summer.open, utc("2013-10-07T13:30:00Z"));
    assert_eq!(summer.close, utc("2013-10-07T20:00:00Z"));
    assert_eq!(summer.post_close, utc("2013-10-08T00:00:00Z"));
    assert_eq!(
        session(date("2013-12-02")).unwrap().open,
        utc("2013-12-02T14:30:00Z")
    );
    let half = session(date("2013-11-29")).unwrap();
    assert_eq!(
        (half.close, half.post_close),
        (utc("2013-11-29T18:00:00Z"), utc("2013-11-29T22:00:00Z"))
    );
}

#[test]
fn the_close_no_longer_counts_as_open() {
    let session = session(date("2013-10-07")).unwrap();
    assert!(!is_open(session.open - 1) && is_open(session.open) && is_open(session.close - 1));
    assert!(!is_open(session.close) && session.is_extended(session.close));
    assert_eq!(next_open(session.open - 1).unwrap().date, session.date);
    assert_eq!(next_open(session.open).unwrap().date, date("2013-10-08"));
    assert_eq!(next_close(session.open).unwrap().date, session.date);
    assert_eq!(next_close(session.close).unwrap().date, date("2013-10-08"));
}

#[test]
fn weekends_holidays_and_the_end_of_the_years_are_passed_over() {
    assert_eq!(
        session_after(date("2013-10-11")).unwrap().date,
        date("2013-10-14")
    );
    assert_eq!(
        session_after(date("2001-09-10")).unwrap().date,
        date("2001-09-17")
    );
    assert_eq!(
        session_before(date("2001-09-17")).unwrap().date,
        date("2001-09-10")
    );
    assert_eq!(
        session_before(date("2013-12-26")).unwrap().date,
        date("2013-12-24")
    );
    assert_eq!(
        session_after(date("2050-12-30")).map(|session| session.date),
        None
    );
    assert_eq!(session_before(date("1990-01-02")), None);
    assert_eq!(session(date("2051-01-03")), None);
    let week: Vec<u32> = sessions(date("2013-11-25"), date("2013-12-01"))
        .map(|session| session.date.day())
        .collect();
    assert_eq!(week, [25, 26, 27, 29]);
}

#[test]
fn offsets_change_at_two_in_the_morning() {
    for (at, offset) in [
        ("2013-03-10T06:59:59.999999999Z", -18_000),
        ("2013-03-10T07:00:00Z", -14_400),
        ("2013-11-03T05:59:59.999999999Z", -14_400),
        ("2013-11-03T06:00:00Z", -18_000),
        ("2006-04-02T07:00:00Z", -14_400),
        ("2006-10-29T06:00:00Z", -18_000),
        ("2014-01-01T02:00:00Z", -18_000),
    ] {
        assert_eq!(utc_offset(utc(at)), offset, "{at}");
    }
}

proptest! {
    #[test]
    fn new_york_time_agrees_with_the_zone_database(seconds in 631_152_000_i64..2_556_143_999) {
        let at = seconds * SECOND;
        let there = chrono_tz::America::New_York.from_utc_datetime(&Utc.timestamp_nanos(at).naive_utc());
        prop_assert_eq!(utc_offset(at), there.offset().fix().local_minus_utc());
        prop_assert_eq!(date_at(at), there.date_naive());
        let midnight_there = chrono_tz::America::New_York
            .from_local_datetime(&there.date_naive().and_hms_opt(0, 0, 0).unwrap())
            .unwrap();
        prop_assert_eq!(midnight(there.date_naive()), midnight_there.timestamp_nanos_opt().unwrap());
    }

    #[test]
    fn the_next_open_is_later_and_nothing_opens_before_it(seconds in 631_152_000_i64..2_524_608_000) {
        let at = seconds * SECOND;
        let next = next_open(at).unwrap();
        prop_assert!(next.open > at);
        let before = session_before(next.date).map_or(i64::MIN, |session| session.open);
        prop_assert!(before <= at);
    }
}
