//! Finds the files of a folder and checks every row of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::Datelike;
use common::calendar::{self, MINUTE, SECOND};

use super::error::LoadError;
use super::series::{BarRow, DayRow, QuoteGrain, QuoteRow, Series, TradeRow};
use super::table::{self, ColumnName, Cursor};
use super::{Recording, derive};
use crate::replay::Price;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Minutes,
    Seconds,
    Days,
    MinuteQuotes,
    Quotes,
    Trades,
}

/// Longer names first: `quotes_1min` is not a `quotes` file of the name `1min`.
const KINDS: [(&str, Kind); 6] = [
    ("bars_1min", Kind::Minutes),
    ("bars_1sec", Kind::Seconds),
    ("bars_1day", Kind::Days),
    ("quotes_1min", Kind::MinuteQuotes),
    ("quotes", Kind::Quotes),
    ("trades", Kind::Trades),
];

const fn required(name: &'static str) -> ColumnName {
    ColumnName {
        name,
        required: true,
    }
}

const fn optional(name: &'static str) -> ColumnName {
    ColumnName {
        name,
        required: false,
    }
}

const SYMBOL: usize = 0;
const TIMESTAMP: usize = 1;

const BAR_COLUMNS: [ColumnName; 9] = [
    required("symbol"),
    required("timestamp"),
    required("open"),
    required("high"),
    required("low"),
    required("close"),
    required("volume"),
    optional("trade_count"),
    optional("vwap"),
];
const QUOTE_COLUMNS: [ColumnName; 6] = [
    required("symbol"),
    required("timestamp"),
    required("bid_price"),
    required("bid_size"),
    required("ask_price"),
    required("ask_size"),
];
const TRADE_COLUMNS: [ColumnName; 6] = [
    required("symbol"),
    required("timestamp"),
    required("price"),
    required("size"),
    optional("exchange"),
    optional("conditions"),
];

const HOURS_RULE: &str = "an instant lies from 4:00 to 20:00 New York time on a trading day";
const MINUTE_RULE: &str = "the timestamp of a one-minute row is a whole minute";
const SECOND_RULE: &str = "the timestamp of a one-second row is a whole second";
const TRADING_DAY_RULE: &str = "the NYSE trades on the day of a daily bar, from 1990 to 2050";
const HIGH_RULE: &str = "the high is at least open, low and close";
const LOW_RULE: &str = "the low is at most open and close";
const CROSSED_RULE: &str = "the ask is at least the bid";
const SIZE_RULE: &str = "a trade has at least 1 share";
const TWICE_RULE: &str = "a symbol has one such row at a time, over all files of the kind";
const VWAP_RULE: &str = "the average price lies between low and high";

/// A row with where it came from, until duplicates are found.
struct Sourced<T> {
    row: T,
    file: u16,
    number: u64,
}

#[derive(Default)]
struct Collected {
    minutes: Vec<Sourced<BarRow>>,
    seconds: Vec<Sourced<BarRow>>,
    days: Vec<Sourced<DayRow>>,
    minute_quotes: Vec<Sourced<QuoteRow>>,
    quotes: Vec<QuoteRow>,
    trades: Vec<TradeRow>,
}

pub(super) fn load(folder: &Path) -> Result<Recording, LoadError> {
    let files = files(folder)?;
    let mut collected: BTreeMap<String, Collected> = BTreeMap::new();
    for (number, (kind, path)) in files.iter().enumerate() {
        read(*kind, path, number as u16, &mut collected)?;
    }
    let paths: Vec<&PathBuf> = files.iter().map(|(_, path)| path).collect();
    let by_symbol = collected
        .into_iter()
        .map(|(symbol, rows)| Ok((symbol, ordered(rows, &paths)?)))
        .collect::<Result<BTreeMap<String, Series>, LoadError>>()?;
    Recording::of_series(by_symbol).map_err(|problem| LoadError::Folder {
        path: folder.to_owned(),
        problem: problem.to_owned(),
    })
}

fn files(folder: &Path) -> Result<Vec<(Kind, PathBuf)>, LoadError> {
    let refused = |problem: String| LoadError::Folder {
        path: folder.to_owned(),
        problem,
    };
    let unreadable = |error: std::io::Error| refused(format!("can't be read: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if !path.is_file() || !matches!(extension, "csv" | "parquet") {
            continue;
        }
        let of_kind = |name: &str| {
            stem.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        match KINDS.iter().find(|(name, _)| of_kind(name)) {
            Some((_, kind)) => files.push((*kind, path)),
            None => {
                let known = KINDS.map(|(name, _)| name).join(", ");
                let problem = format!("unknown kind of file; a name begins with one of {known}");
                return Err(LoadError::File { path, problem });
            }
        }
    }
    // The order of a directory is the file system's; the recording must not depend on it.
    files.sort_by(|(_, one), (_, other)| one.cmp(other));
    if files.is_empty() {
        return Err(refused("holds no .csv or .parquet file".to_owned()));
    }
    if files.len() > usize::from(u16::MAX) {
        return Err(refused("holds more than 65535 files".to_owned()));
    }
    Ok(files)
}

fn read(
    kind: Kind,
    path: &PathBuf,
    file: u16,
    collected: &mut BTreeMap<String, Collected>,
) -> Result<(), LoadError> {
    let wanted: &[ColumnName] = match kind {
        Kind::Minutes | Kind::Seconds | Kind::Days => &BAR_COLUMNS,
        Kind::MinuteQuotes | Kind::Quotes => &QUOTE_COLUMNS,
        Kind::Trades => &TRADE_COLUMNS,
    };
    table::read(path, wanted, &mut |chunk| {
        for row in 0..chunk.rows {
            let cursor = Cursor {
                path,
                wanted,
                chunk: &chunk,
                row,
            };
            let symbol = cursor.symbol(SYMBOL)?;
            if !collected.contains_key(symbol) {
                collected.insert(symbol.to_owned(), Collected::default());
            }
            let Some(rows) = collected.get_mut(symbol) else {
                continue;
            };
            let number = chunk.first_row + row as u64;
            match kind {
                Kind::Minutes => {
                    let row = bar(&cursor, timestamp(&cursor, MINUTE, MINUTE_RULE)?)?;
                    rows.minutes
                        .extend(row.map(|row| Sourced { row, file, number }));
                }
                Kind::Seconds => {
                    let row = bar(&cursor, timestamp(&cursor, SECOND, SECOND_RULE)?)?;
                    rows.seconds
                        .extend(row.map(|row| Sourced { row, file, number }));
                }
                Kind::Days => {
                    let row = day(&cursor)?;
                    rows.days
                        .extend(row.map(|row| Sourced { row, file, number }));
                }
                Kind::MinuteQuotes => {
                    // The row is the last quote of its minute, so it is known when the minute is over.
                    let at = timestamp(&cursor, MINUTE, MINUTE_RULE)? + MINUTE;
                    rows.minute_quotes.push(Sourced {
                        row: quote(&cursor, at)?,
                        file,
                        number,
                    });
                }
                Kind::Quotes => {
                    let at = timestamp(&cursor, 1, HOURS_RULE)?;
                    rows.quotes.push(quote(&cursor, at)?);
                }
                Kind::Trades => rows.trades.push(trade(&cursor)?),
            }
        }
        Ok(())
    })
}

fn timestamp(cursor: &Cursor<'_>, grain: i64, rule: &'static str) -> Result<i64, LoadError> {
    let at = cursor.instant(TIMESTAMP)?;
    if at.rem_euclid(grain) != 0 {
        return Err(cursor.refuse(TIMESTAMP, cursor.shown(TIMESTAMP), rule));
    }
    let date = calendar::date_at(at);
    let since_midnight = at - calendar::midnight(date);
    if !calendar::is_trading_day(date)
        || !(4 * calendar::HOUR..=20 * calendar::HOUR).contains(&since_midnight)
    {
        return Err(cursor.refuse(TIMESTAMP, cursor.shown(TIMESTAMP), HOURS_RULE));
    }
    Ok(at)
}

/// `None` of a bar without volume: nothing traded, as if the row weren't there.
fn bar(cursor: &Cursor<'_>, start: i64) -> Result<Option<BarRow>, LoadError> {
    const OPEN: usize = 2;
    const HIGH: usize = 3;
    const LOW: usize = 4;
    const CLOSE: usize = 5;
    const VOLUME: usize = 6;
    const TRADE_COUNT: usize = 7;
    const VWAP: usize = 8;
    let volume = cursor.volume(VOLUME)?;
    let (open, high, low, close) = (
        cursor.price(OPEN)?,
        cursor.price(HIGH)?,
        cursor.price(LOW)?,
        cursor.price(CLOSE)?,
    );
    if high < open.max(close).max(low) {
        return Err(cursor.refuse(HIGH, cursor.shown(HIGH), HIGH_RULE));
    }
    if low > open.min(close) {
        return Err(cursor.refuse(LOW, cursor.shown(LOW), LOW_RULE));
    }
    let vwap = cursor.optional_price(VWAP)?;
    if vwap.is_some_and(|vwap| vwap < low || vwap > high) {
        return Err(cursor.refuse(VWAP, cursor.shown(VWAP), VWAP_RULE));
    }
    let row = BarRow {
        start,
        open: Price::from_micros(open),
        high: Price::from_micros(high),
        low: Price::from_micros(low),
        close: Price::from_micros(close),
        vwap: vwap.map_or(derive::UNKNOWN, Price::from_micros),
        volume,
        trade_count: cursor.optional_count(TRADE_COUNT)?.unwrap_or(0),
    };
    Ok((volume > 0).then_some(row))
}

fn day(cursor: &Cursor<'_>) -> Result<Option<DayRow>, LoadError> {
    let date = cursor.date(TIMESTAMP)?;
    if !calendar::YEARS.contains(&date.year()) || !calendar::is_trading_day(date) {
        return Err(cursor.refuse(TIMESTAMP, cursor.shown(TIMESTAMP), TRADING_DAY_RULE));
    }
    let row = bar(cursor, calendar::midnight(date))?;
    Ok(row.map(|bar| DayRow {
        date,
        open: bar.open,
        high: bar.high,
        low: bar.low,
        close: bar.close,
        vwap: bar.vwap,
        volume: bar.volume,
        trade_count: bar.trade_count,
    }))
}

fn quote(cursor: &Cursor<'_>, at: i64) -> Result<QuoteRow, LoadError> {
    const BID: usize = 2;
    const BID_SIZE: usize = 3;
    const ASK: usize = 4;
    const ASK_SIZE: usize = 5;
    let (bid, ask) = (cursor.price(BID)?, cursor.price(ASK)?);
    if ask < bid {
        return Err(cursor.refuse(ASK, cursor.shown(ASK), CROSSED_RULE));
    }
    Ok(QuoteRow {
        at,
        bid: Price::from_micros(bid),
        ask: Price::from_micros(ask),
        bid_size: cursor.shares(BID_SIZE)?,
        ask_size: cursor.shares(ASK_SIZE)?,
    })
}

fn trade(cursor: &Cursor<'_>) -> Result<TradeRow, LoadError> {
    const PRICE: usize = 2;
    const SIZE: usize = 3;
    const EXCHANGE: usize = 4;
    const CONDITIONS: usize = 5;
    let at = timestamp(cursor, 1, HOURS_RULE)?;
    let size = cursor.shares(SIZE)?;
    if size == 0 {
        return Err(cursor.refuse(SIZE, cursor.shown(SIZE), SIZE_RULE));
    }
    cursor.text(EXCHANGE)?;
    cursor.text(CONDITIONS)?;
    Ok(TradeRow {
        at,
        price: Price::from_micros(cursor.price(PRICE)?),
        size,
    })
}

/// The rows of one symbol in the order of time, each bar once.
fn ordered(rows: Collected, paths: &[&PathBuf]) -> Result<Series, LoadError> {
    let mut series = Series {
        minutes: unique(rows.minutes, paths, |bar| bar.start)?,
        seconds: unique(rows.seconds, paths, |bar| bar.start)?,
        days: unique(rows.days, paths, |day| calendar::midnight(day.date))?,
        quotes: unique(rows.minute_quotes, paths, |quote| quote.at - MINUTE)?,
        trades: rows.trades,
        ..Series::default()
    };
    // Stable sorts: what happened at one instant stays in the order of the file.
    series.trades.sort_by_key(|trade| trade.at);
    if !rows.quotes.is_empty() {
        series.quotes = rows.quotes;
        series.quotes.sort_by_key(|quote| quote.at);
        series.quote_grain = QuoteGrain::Tick;
    }
    Ok(series)
}

fn unique<T>(
    mut rows: Vec<Sourced<T>>,
    paths: &[&PathBuf],
    time: impl Fn(&T) -> i64,
) -> Result<Vec<T>, LoadError> {
    rows.sort_by_key(|sourced| time(&sourced.row));
    if let Some(pair) = rows
        .windows(2)
        .find(|pair| time(&pair[0].row) == time(&pair[1].row))
    {
        return Err(LoadError::Row {
            path: paths[usize::from(pair[1].file)].clone(),
            row: pair[1].number,
            column: "timestamp",
            value: chrono::DateTime::from_timestamp_nanos(time(&pair[1].row)).to_rfc3339(),
            rule: TWICE_RULE,
        });
    }
    Ok(rows.into_iter().map(|sourced| sourced.row).collect())
}
