use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::*;
use crate::replay::Price;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("recording-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn with(name: &str, content: &str) -> Folder {
        let folder = Folder::new();
        folder.write(name, content);
        folder
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.join(name), content).unwrap();
    }

    fn load(&self) -> Result<Recording, LoadError> {
        Recording::load(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const BARS: &str = "symbol,timestamp,open,high,low,close,volume\n";
const QUOTES: &str = "symbol,timestamp,bid_price,bid_size,ask_price,ask_size\n";
const TRADES: &str = "symbol,timestamp,price,size\n";
const GOOD_BAR: &str = "SPY,2013-10-07T13:30:00Z,10,11,9.5,10.5,300\n";

fn price(dollars: f64) -> Price {
    Price::from_micros((dollars * 1e6).round() as i64)
}

#[test]
fn the_sample_holds_three_sessions_of_four_symbols_and_years_of_days() {
    let sample = crate::replay::sample();
    assert_eq!(sample.symbols(), ["AAPL", "AIG", "BAC", "IBM", "SPY"]);
    let days: Vec<String> = sample.sessions().iter().map(ToString::to_string).collect();
    assert_eq!(days, ["2013-10-07", "2013-10-08", "2013-10-09"]);
    let spy = sample.series(sample.id("SPY").unwrap());
    assert!(spy.days.len() > 900 && spy.seconds.len() > 20_000 && spy.quotes.len() > 2_000);
    assert!(
        !sample.is_live(sample.id("AAPL").unwrap()) && sample.is_live(sample.id("AIG").unwrap())
    );
}

#[test]
fn days_made_of_minutes_are_the_days_that_were_recorded() {
    let sample = crate::replay::sample();
    for symbol in ["SPY", "BAC"] {
        let series = sample.series(sample.id(symbol).unwrap());
        for made in &series.recorded_days {
            let recorded = series
                .days
                .iter()
                .find(|day| day.date == made.date)
                .unwrap();
            let figures = |day: &DayRow| (day.open, day.close, day.volume);
            assert_eq!(figures(made), figures(recorded), "{symbol} {}", made.date);
            // The source's own daily extremes leave out a print or two.
            let apart = |one: Price, other: Price| (one.micros() - other.micros()).abs();
            assert!(
                apart(made.high, recorded.high) <= 10_000,
                "{symbol} {}",
                made.date
            );
            assert!(
                apart(made.low, recorded.low) <= 10_000,
                "{symbol} {}",
                made.date
            );
        }
    }
}

#[test]
fn a_broken_row_is_refused_with_file_row_column_value_and_rule() {
    let bar = |row: &str| format!("{BARS}{GOOD_BAR}{row}\n");
    let quote = |row: &str| format!("{QUOTES}{row}\n");
    let trade = |row: &str| format!("{TRADES}{row}\n");
    #[rustfmt::skip]
    let cases: [(&str, String, u64, &str, &str, &str); 24] = [
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,x,11,9,10,1"), 2, "open", "x", "a price"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,11,9,,1"), 2, "close", "", "a price"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,11,9,NaN,1"), 2, "close", "NaN", "a price"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,11,9,inf,1"), 2, "close", "inf", "a price"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,11,-9,10,1"), 2, "low", "-9", "a price"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,9.9,9,10,1"), 2, "high", "9.9", "the high is"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,11,10.1,10.5,1"), 2, "low", "10.1", "the low is"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,11,9,10,1.5"), 2, "volume", "1.5", "a volume"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:00Z,10,11,9,10,-1"), 2, "volume", "-1", "a volume"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:31:30Z,10,11,9,10,1"), 2, "timestamp", "2013-10-07T13:31:30Z", "a one-minute row"),
        ("bars_1min.csv", bar("SPY,2013-10-07 13:31,10,11,9,10,1"), 2, "timestamp", "2013-10-07 13:31", "RFC 3339"),
        ("bars_1min.csv", bar("SPY,2013-10-06T13:31:00Z,10,11,9,10,1"), 2, "timestamp", "2013-10-06T13:31:00Z", "on a trading day"),
        ("bars_1min.csv", bar("SPY,2013-10-07T07:59:00Z,10,11,9,10,1"), 2, "timestamp", "2013-10-07T07:59:00Z", "4:00 to 20:00"),
        ("bars_1min.csv", bar("SPY,2013-10-07T13:30:00Z,10,11,9,10,1"), 2, "timestamp", "2013-10-07T13:30:00+00:00", "one such row"),
        ("bars_1min.csv", bar("spy,2013-10-07T13:31:00Z,10,11,9,10,1"), 2, "symbol", "spy", "a symbol is"),
        ("bars_1min.csv", bar(",2013-10-07T13:31:00Z,10,11,9,10,1"), 2, "symbol", "", "a symbol is"),
        ("bars_1sec.csv", bar("SPY,2013-10-07T13:31:30.5Z,10,11,9,10,1"), 2, "timestamp", "2013-10-07T13:31:30.5Z", "a one-second row"),
        ("bars_1day.csv", format!("{BARS}SPY,2013-10-06,10,11,9,10,1\n"), 1, "timestamp", "2013-10-06", "the NYSE trades"),
        ("bars_1day.csv", format!("{BARS}SPY,07.10.2013,10,11,9,10,1\n"), 1, "timestamp", "07.10.2013", "a day is written"),
        ("quotes.csv", quote("SPY,2013-10-07T13:30:00.25Z,10.02,100,10.01,100"), 1, "ask_price", "10.01", "the ask is at least"),
        ("quotes_1min.csv", quote("SPY,2013-10-07T13:30:00Z,10,ten,10.01,100"), 1, "bid_size", "ten", "a number of shares"),
        ("trades_spy.csv", trade("SPY,2013-10-07T13:30:00.1Z,10,0"), 1, "size", "0", "at least 1 share"),
        ("trades.csv", trade("SPY,2013-10-07T13:30:00.1Z,0,5"), 1, "price", "0", "a price"),
        ("trades.csv", trade("SPY,,10,5"), 1, "timestamp", "", "RFC 3339"),
    ];
    for (file, content, expected_row, expected_column, expected_value, expected_rule) in cases {
        let folder = Folder::with(file, &content);
        match folder.load() {
            Err(LoadError::Row {
                path,
                row,
                column,
                value,
                rule,
            }) => {
                assert_eq!(path, folder.0.join(file));
                assert_eq!(
                    (row, column, value.as_str()),
                    (expected_row, expected_column, expected_value)
                );
                assert!(rule.contains(expected_rule), "{rule:?} for {content}");
            }
            other => panic!("{file}: {content} gives {other:?}"),
        }
    }
}

#[test]
fn the_message_of_a_broken_row_is_one_line_that_says_it_all() {
    let folder = Folder::with(
        "bars_1min.csv",
        &format!("{BARS}{GOOD_BAR}SPY,2013-10-07T13:31:00Z,10,11,9,-4,1\n"),
    );
    let message = folder.load().unwrap_err().to_string();
    for part in [
        "bars_1min.csv, row 2, column close: \"-4\"",
        "more than 0",
        "correct the row",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn a_file_of_another_form_is_refused_with_what_is_wanted() {
    let cases: [(&str, &str, &str); 7] = [
        (
            "bars_1min.csv",
            "symbol,timestamp,open,high,low,close\n",
            "\"volume\" is missing",
        ),
        (
            "bars_1min.csv",
            "symbol,timestamp,open,high,low,close,volume,adj\n",
            "unknown column \"adj\"",
        ),
        (
            "bars_1min.csv",
            "symbol,timestamp,open,open,low,close,volume\n",
            "twice",
        ),
        (
            "bars_1min.csv",
            "symbol,timestamp,open,high,low,close,volume\nSPY,1\n",
            "no proper CSV",
        ),
        ("bars_5min.csv", BARS, "unknown kind of file"),
        (
            "bars_1min.parquet",
            "PAR1 but not really PAR1",
            "no proper Parquet",
        ),
        (
            "bars_1min.csv",
            BARS,
            "holds no trade or bar of a regular session",
        ),
    ];
    for (file, content, expected) in cases {
        let message = Folder::with(file, content).load().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let message = Folder::new().load().unwrap_err().to_string();
    assert!(
        message.contains("holds no .csv or .parquet file"),
        "{message}"
    );
    let message = Recording::load(Path::new("/nowhere/at/all"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("/nowhere/at/all") && message.contains("docs/data.md"),
        "{message}"
    );
}

#[test]
fn rows_may_come_in_any_order_and_over_several_files() {
    let folder = Folder::with(
        "bars_1min_b.csv",
        &format!("{BARS}SPY,2013-10-07T13:32:00Z,3,3,3,3,1\n{GOOD_BAR}"),
    );
    folder.write(
        "bars_1min_a.csv",
        &format!("{BARS}SPY,2013-10-07T13:31:00Z,2,2,2,2,1\n"),
    );
    folder.write("NOTICE", "not a data file");
    let recording = folder.load().unwrap();
    let closes: Vec<Price> = recording
        .series(SymbolId(0))
        .minutes
        .iter()
        .map(|bar| bar.close)
        .collect();
    assert_eq!(closes, [price(10.5), price(2.0), price(3.0)]);
}

#[test]
fn a_minute_without_volume_is_a_minute_without_a_bar() {
    let folder = Folder::with(
        "bars_1min.csv",
        &format!("{BARS}{GOOD_BAR}SPY,2013-10-07T13:31:00Z,2,2,2,2,0\n"),
    );
    assert_eq!(folder.load().unwrap().series(SymbolId(0)).minutes.len(), 1);
}

#[test]
fn a_minute_quote_is_known_only_when_its_minute_is_over() {
    let folder = Folder::with("bars_1min.csv", &format!("{BARS}{GOOD_BAR}"));
    folder.write(
        "quotes_1min.csv",
        &format!("{QUOTES}SPY,2013-10-07T13:30:00Z,10,100,10.01,200\n"),
    );
    let recording = folder.load().unwrap();
    let quote = recording.series(SymbolId(0)).quotes[0];
    assert_eq!(
        quote.at,
        recording.series(SymbolId(0)).minutes[0].start + common::calendar::MINUTE
    );
}

#[test]
fn minutes_and_averages_follow_from_finer_rows() {
    let folder = Folder::with(
        "trades.csv",
        &format!(
            "{TRADES}SPY,2013-10-07T13:30:00.5Z,10,100\nSPY,2013-10-07T13:30:01Z,12,300\nSPY,2013-10-07T13:31:01Z,9,1\n"
        ),
    );
    folder.write(
        "bars_1min.csv",
        &format!("{BARS}SPY,2013-10-07T13:31:00Z,8,9,8,9,50\n"),
    );
    let recording = folder.load().unwrap();
    let minutes = &recording.series(SymbolId(0)).minutes;
    assert_eq!(minutes.len(), 2);
    let first = minutes[0];
    assert_eq!(
        (first.open, first.high, first.low, first.close),
        (price(10.0), price(12.0), price(10.0), price(12.0))
    );
    assert_eq!(
        (first.vwap, first.volume, first.trade_count),
        (price(11.5), 400, 2)
    );
    // What was recorded as a minute stays; what it leaves open comes from the trades.
    assert_eq!(
        (
            minutes[1].open,
            minutes[1].volume,
            minutes[1].vwap,
            minutes[1].trade_count
        ),
        (price(8.0), 50, price(9.0), 1)
    );
    let day = recording.series(SymbolId(0)).recorded_days[0];
    assert_eq!(
        (day.open, day.close, day.volume, day.trade_count),
        (price(10.0), price(9.0), 450, 3)
    );
}

/// Writes one-minute bars as Parquet, prices as doubles and timestamps in milliseconds.
fn write_parquet(path: &Path, rows: &[(&str, i64, [f64; 4], Option<i64>)]) {
    let schema = parquet::schema::parser::parse_message_type(
        "message bars {
            required binary symbol (UTF8);
            required int64 timestamp (TIMESTAMP_MILLIS);
            required double open; required double high; required double low; required double close;
            optional int64 volume;
        }",
    )
    .unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), Arc::new(WriterProperties::new()))
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let symbols: Vec<ByteArray> = rows.iter().map(|row| row.0.into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<ByteArrayType>()
        .write_batch(&symbols, None, None)
        .unwrap();
    column.close().unwrap();
    let times: Vec<i64> = rows.iter().map(|row| row.1).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<Int64Type>()
        .write_batch(&times, None, None)
        .unwrap();
    column.close().unwrap();
    for index in 0..4 {
        let prices: Vec<f64> = rows.iter().map(|row| row.2[index]).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<DoubleType>()
            .write_batch(&prices, None, None)
            .unwrap();
        column.close().unwrap();
    }
    let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.3.is_some())).collect();
    let volumes: Vec<i64> = rows.iter().filter_map(|row| row.3).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<Int64Type>()
        .write_batch(&volumes, Some(&levels), None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_and_csv_of_the_same_rows_are_the_same_recording() {
    let folder = Folder::new();
    let open = 1_381_152_600_000;
    let rows = [
        ("SPY", open, [10.0, 11.0, 9.5, 10.5], Some(300)),
        ("SPY", open + 60_000, [10.01, 10.02, 10.0, 10.02], Some(7)),
    ];
    write_parquet(&folder.0.join("bars_1min.parquet"), &rows);
    let csv = format!("{BARS}{GOOD_BAR}SPY,2013-10-07T09:31:00-04:00,10.01,10.02,10,10.02,7\n");
    let parquet = folder.load().unwrap();
    let csv = Folder::with("bars_1min.csv", &csv).load().unwrap();
    assert_eq!(
        parquet.series(SymbolId(0)).minutes,
        csv.series(SymbolId(0)).minutes
    );
}

#[test]
fn a_broken_row_of_a_parquet_file_is_named_as_well() {
    let folder = Folder::new();
    let open = 1_381_152_600_000;
    let path = folder.0.join("bars_1min.parquet");
    let good = ("SPY", open, [10.0, 11.0, 9.5, 10.5], Some(300));
    for (row, column, value) in [
        (
            ("SPY", open + 60_000, [10.0, f64::NAN, 9.0, 10.0], Some(1)),
            "high",
            "NaN",
        ),
        (
            ("SPY", open + 60_000, [10.0, 11.0, 9.0, 10.0], None),
            "volume",
            "",
        ),
        (
            ("SPY", open + 60_001, [10.0, 11.0, 9.0, 10.0], Some(1)),
            "timestamp",
            "2013-10-07T13:31:00.001+00:00",
        ),
    ] {
        write_parquet(&path, &[good, row]);
        match folder.load() {
            Err(LoadError::Row {
                row: 2,
                column: found,
                value: shown,
                ..
            }) => assert_eq!((found, shown.as_str()), (column, value)),
            other => panic!("{column}: {other:?}"),
        }
    }
}
