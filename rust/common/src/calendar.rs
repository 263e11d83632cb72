//! Sessions of the New York Stock Exchange from 1990 to 2050, by rule: holidays, half days, special
//! closures and New York's time. Pure arithmetic; instants are nanoseconds since the epoch (UTC).
//!
//! Sources: NYSE Rule 7.2 (holidays) and the exchange's published list of historical closings.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// The first and the last year whose rules are known here.
pub const YEARS: std::ops::RangeInclusive<i32> = 1990..=2050;

pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// One trading day. All instants in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub date: NaiveDate,
    /// 4:00 in New York.
    pub pre_open: i64,
    /// 9:30.
    pub open: i64,
    /// 16:00; on a half day 13:00 (14:00 before 1993).
    pub close: i64,
    /// 20:00; on a half day 17:00.
    pub post_close: i64,
}

impl Session {
    /// Whether `at` lies in the regular session, the open included and the close not.
    pub const fn is_open(&self, at: i64) -> bool {
        self.open <= at && at < self.close
    }

    /// Whether `at` lies in pre-market, regular or post-market trading.
    pub const fn is_extended(&self, at: i64) -> bool {
        self.pre_open <= at && at < self.post_close
    }

    pub const fn is_half_day(&self) -> bool {
        self.close - self.open < 6 * HOUR
    }
}

/// The session of `date`, or `None` when the exchange is closed all day (or the year is not in [`YEARS`]).
pub fn session(date: NaiveDate) -> Option<Session> {
    if !is_trading_day(date) {
        return None;
    }
    let close = early_close(date).unwrap_or(16);
    let midnight = midnight(date);
    Some(Session {
        date,
        pre_open: midnight + 4 * HOUR,
        open: midnight + 9 * HOUR + 30 * MINUTE,
        close: midnight + i64::from(close) * HOUR,
        post_close: midnight + i64::from(close + 4) * HOUR,
    })
}

/// The sessions of the days from `first` to `last`, both included, in order.
pub fn sessions(first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = Session> {
    first
        .iter_days()
        .take_while(move |date| *date <= last && date.year() <= *YEARS.end())
        .filter_map(session)
}

/// The first session of a day after `date`.
pub fn session_after(date: NaiveDate) -> Option<Session> {
    date.iter_days()
        .skip(1)
        .take_while(|day| day.year() <= *YEARS.end())
        .find_map(session)
}

/// The last session of a day before `date`.
pub fn session_before(date: NaiveDate) -> Option<Session> {
    let earlier = |day: &NaiveDate| day.checked_sub_days(Days::new(1));
    std::iter::successors(earlier(&date), earlier)
        .take_while(|day| day.year() >= *YEARS.start())
        .find_map(session)
}

/// The session in whose regular hours `at` lies.
pub fn open_session(at: i64) -> Option<Session> {
    session(date_at(at)).filter(|session| session.is_open(at))
}

pub fn is_open(at: i64) -> bool {
    open_session(at).is_some()
}

/// The first session whose open is later than `at`.
pub fn next_open(at: i64) -> Option<Session> {
    let today = date_at(at);
    session(today)
        .filter(|session| at < session.open)
        .or_else(|| session_after(today))
}

/// The first session whose close is later than `at`.
pub fn next_close(at: i64) -> Option<Session> {
    let today = date_at(at);
    session(today)
        .filter(|session| at < session.close)
        .or_else(|| session_after(today))
}

/// Whether the exchange opens at all on `date`.
pub fn is_trading_day(date: NaiveDate) -> bool {
    YEARS.contains(&date.year())
        && is_weekday(date)
        && !is_holiday(date)
        && !is_special_closure(date)
}

/// Nanoseconds of New York's midnight at the start of `date`. Clocks change at 2:00 on a Sunday, so on every
/// trading day wall-clock time is midnight plus the hours on the clock.
pub fn midnight(date: NaiveDate) -> i64 {
    let days = i64::from(date.num_days_from_ce()) - UNIX_EPOCH_FROM_CE;
    // Midnight itself lies before a change at 2:00, so a day that begins summer time still starts in winter time.
    let offset = if summer_time_on(date) { -4 } else { -5 };
    days * DAY - offset * HOUR
}

/// New York's offset from UTC in seconds at `at`: −14,400 in summer, −18,000 in winter.
pub fn utc_offset(at: i64) -> i32 {
    let standard = date_of_utc(at - 5 * HOUR);
    let (begin, end) = summer_time(standard.year());
    // Both changes are at 2:00 local: 7:00 UTC in spring, 6:00 UTC in autumn.
    let begins = utc_midnight(begin) + 7 * HOUR;
    let ends = utc_midnight(end) + 6 * HOUR;
    if begins <= at && at < ends {
        -14_400
    } else {
        -18_000
    }
}

/// The date on New York's calendar at `at`.
pub fn date_at(at: i64) -> NaiveDate {
    date_of_utc(at + i64::from(utc_offset(at)) * SECOND)
}

const UNIX_EPOCH_FROM_CE: i64 = 719_163;

fn utc_midnight(date: NaiveDate) -> i64 {
    (i64::from(date.num_days_from_ce()) - UNIX_EPOCH_FROM_CE) * DAY
}

fn date_of_utc(at: i64) -> NaiveDate {
    // An i64 of nanoseconds spans 1677 to 2262, all of which NaiveDate can hold.
    NaiveDate::from_num_days_from_ce_opt((at.div_euclid(DAY) + UNIX_EPOCH_FROM_CE) as i32)
        .unwrap_or(NaiveDate::MIN)
}

/// First and last day of summer time: the days on which the clocks change.
fn summer_time(year: i32) -> (NaiveDate, NaiveDate) {
    if year >= 2007 {
        (
            nth(year, 3, Weekday::Sun, 2),
            nth(year, 11, Weekday::Sun, 1),
        )
    } else {
        (nth(year, 4, Weekday::Sun, 1), last(year, 10, Weekday::Sun))
    }
}

/// Whether the first instant of `date` lies in summer time.
fn summer_time_on(date: NaiveDate) -> bool {
    let (begin, end) = summer_time(date.year());
    begin < date && date <= end
}

fn is_weekday(date: NaiveDate) -> bool {
    !matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
}

fn is_holiday(date: NaiveDate) -> bool {
    let year = date.year();
    // New Year's Day on a Saturday is not moved: the year's books are closed on that Friday.
    date == sunday_to_monday(day(year, 1, 1))
        || (year >= 1998 && date == nth(year, 1, Weekday::Mon, 3))
        || date == nth(year, 2, Weekday::Mon, 3)
        || date == good_friday(year)
        || date == last(year, 5, Weekday::Mon)
        || (year >= 2022 && date == nearest_weekday(day(year, 6, 19)))
        || date == nearest_weekday(day(year, 7, 4))
        || date == nth(year, 9, Weekday::Mon, 1)
        || date == thanksgiving(year)
        || date == nearest_weekday(day(year, 12, 25))
}

/// Days of mourning, the attacks of 2001, the hurricane of 2012.
fn is_special_closure(date: NaiveDate) -> bool {
    matches!(
        (date.year(), date.month(), date.day()),
        (1994, 4, 27)
            | (2001, 9, 11..=14)
            | (2004, 6, 11)
            | (2007, 1, 2)
            | (2012, 10, 29 | 30)
            | (2018, 12, 5)
            | (2025, 1, 9)
    )
}

/// The hour at which a half day ends.
fn early_close(date: NaiveDate) -> Option<u32> {
    let year = date.year();
    let weekday = date.weekday();
    let early = match (date.month(), date.day()) {
        // Before Independence Day; on Wednesdays only since 2013, until then the Friday after was the half day.
        (7, 3) => year >= 1995 && (weekday != Weekday::Wed || year >= 2013),
        (7, 5) => (1995..2013).contains(&year) && weekday == Weekday::Fri,
        (12, 24) => true,
        (12, 26) => year == 1997 || year == 2003,
        (12, 31) => year == 1999,
        (11, _) => year >= 1992 && Some(date) == thanksgiving(year).succ_opt(),
        _ => false,
    };
    early.then_some(if year < 1993 { 14 } else { 13 })
}

fn thanksgiving(year: i32) -> NaiveDate {
    nth(year, 11, Weekday::Thu, 4)
}

/// Two days before Easter Sunday by the Gregorian computus (Meeus, Astronomical Algorithms, ch. 8).
fn good_friday(year: i32) -> NaiveDate {
    let golden = year % 19;
    let (century, rest) = (year / 100, year % 100);
    let moon_correction = (century - (century + 8) / 25 + 1) / 3;
    let epact = (19 * golden + century - century / 4 - moon_correction + 15) % 30;
    let weekday = (32 + 2 * (century % 4) + 2 * (rest / 4) - epact - rest % 4) % 7;
    let late = (golden + 11 * epact + 22 * weekday) / 451;
    let ordinal = epact + weekday - 7 * late + 114;
    day(year, (ordinal / 31) as u32, (ordinal % 31 + 1) as u32) - Days::new(2)
}

fn sunday_to_monday(date: NaiveDate) -> NaiveDate {
    if date.weekday() == Weekday::Sun {
        date + Days::new(1)
    } else {
        date
    }
}

fn nearest_weekday(date: NaiveDate) -> NaiveDate {
    if date.weekday() == Weekday::Sat {
        date - Days::new(1)
    } else {
        sunday_to_monday(date)
    }
}

/// The `n`th `weekday` of a month, from 1.
fn nth(year: i32, month: u32, weekday: Weekday, n: u32) -> NaiveDate {
    let first = day(year, month, 1);
    let ahead = (7 + weekday.num_days_from_monday() - first.weekday().num_days_from_monday()) % 7;
    first + Days::new(u64::from(ahead + 7 * (n - 1)))
}

fn last(year: i32, month: u32, weekday: Weekday) -> NaiveDate {
    let fifth = nth(year, month, weekday, 5);
    if fifth.month() == month {
        fifth
    } else {
        fifth - Days::new(7)
    }
}

/// A date that exists by construction (months and days above are constants or the computus).
fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or(NaiveDate::MIN)
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
