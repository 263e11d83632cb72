//! CSV and Parquet files as columns of cells, a chunk of rows at a time, with one set of conversions for both.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::LoadError;
use super::parquet_file;

/// The values of one column in a chunk of rows. `None` is an empty cell.
pub(super) enum Cells {
    Text(Vec<Option<String>>),
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    /// Nanoseconds since the epoch.
    Instant(Vec<Option<i64>>),
    /// Days since the epoch.
    Day(Vec<Option<i32>>),
}

/// Some rows of a file: one entry per wanted column, `None` when the file hasn't that (optional) column.
pub(super) struct Chunk {
    /// Number of the first row in the file, from 1.
    pub(super) first_row: u64,
    pub(super) rows: usize,
    pub(super) columns: Vec<Option<Cells>>,
}

/// A column that a kind of file has or may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnName {
    pub(super) name: &'static str,
    pub(super) required: bool,
}

/// Rows read from a CSV file before they are handed on.
const CSV_CHUNK: usize = 16_384;

/// Hands the rows of `path` to `sink`, chunk by chunk, the columns in the order of `wanted`.
pub(super) fn read(
    path: &Path,
    wanted: &[ColumnName],
    sink: &mut dyn FnMut(Chunk) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let file =
        File::open(path).map_err(|error| problem(path, format!("can't be opened: {error}")))?;
    if path
        .extension()
        .is_some_and(|extension| extension == "parquet")
    {
        parquet_file::read(path, file, wanted, sink)
    } else {
        read_csv(path, file, wanted, sink)
    }
}

pub(super) fn problem(path: &Path, problem: String) -> LoadError {
    LoadError::File {
        path: path.to_owned(),
        problem,
    }
}

/// For each wanted column its index in the file.
pub(super) fn locate(
    path: &Path,
    header: &[&str],
    wanted: &[ColumnName],
) -> Result<Vec<Option<usize>>, LoadError> {
    let known = || {
        wanted
            .iter()
            .map(|column| column.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (index, name) in header.iter().enumerate() {
        if !wanted.iter().any(|column| column.name == *name) {
            return Err(problem(
                path,
                format!("unknown column {name:?}, the columns are {}", known()),
            ));
        }
        if header[..index].contains(name) {
            return Err(problem(path, format!("column {name:?} stands there twice")));
        }
    }
    wanted
        .iter()
        .map(
            |column| match header.iter().position(|name| *name == column.name) {
                None if column.required => Err(problem(
                    path,
                    format!(
                        "column {:?} is missing, the columns are {}",
                        column.name,
                        known()
                    ),
                )),
                position => Ok(position),
            },
        )
        .collect()
}

fn read_csv(
    path: &Path,
    file: File,
    wanted: &[ColumnName],
    sink: &mut dyn FnMut(Chunk) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let broken = |error: csv::Error| problem(path, format!("is no proper CSV: {error}"));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(std::io::BufReader::new(file));
    let header = reader.headers().map_err(broken)?.clone();
    let positions = locate(path, &header.iter().collect::<Vec<_>>(), wanted)?;
    let empty = || {
        positions
            .iter()
            .map(|position| position.map(|_| Vec::new()))
            .collect::<Vec<_>>()
    };
    let mut columns: Vec<Option<Vec<Option<String>>>> = empty();
    let mut record = csv::StringRecord::new();
    let (mut first_row, mut rows) = (1_u64, 0_usize);
    let mut flush = |columns: Vec<Option<Vec<Option<String>>>>, first_row: u64, rows: usize| {
        let columns = columns
            .into_iter()
            .map(|column| column.map(Cells::Text))
            .collect();
        sink(Chunk {
            first_row,
            rows,
            columns,
        })
    };
    while reader.read_record(&mut record).map_err(broken)? {
        for (column, position) in columns.iter_mut().zip(&positions) {
            if let (Some(column), Some(position)) = (column, position) {
                let cell = record.get(*position).unwrap_or_default();
                column.push((!cell.is_empty()).then(|| cell.to_owned()));
            }
        }
        rows += 1;
        if rows == CSV_CHUNK {
            flush(std::mem::replace(&mut columns, empty()), first_row, rows)?;
            first_row += rows as u64;
            rows = 0;
        }
    }
    if rows > 0 {
        flush(columns, first_row, rows)
    } else {
        Ok(())
    }
}

/// Reads single cells of a chunk and says exactly which one is wrong.
pub(super) struct Cursor<'a> {
    pub(super) path: &'a PathBuf,
    pub(super) wanted: &'a [ColumnName],
    pub(super) chunk: &'a Chunk,
    /// Row within the chunk.
    pub(super) row: usize,
}

pub(super) const PRICE_RULE: &str = "a price in dollars is more than 0 and at most 1000000";
const SHARES_RULE: &str = "a number of shares is whole, from 0 to 4294967295";
const VOLUME_RULE: &str = "a volume is a whole number from 0 to 1000000000000";
const COUNT_RULE: &str = "a count is a whole number from 0 to 4294967295";
const INSTANT_RULE: &str = "a timestamp is RFC 3339 with its zone, such as 2013-10-07T13:30:00Z";
const DATE_RULE: &str = "a day is written 2013-10-07";
const SYMBOL_RULE: &str = "a symbol is 1 to 16 of A-Z, 0-9, dot and dash, beginning with a letter";
const TEXT_RULE: &str = "this must be text";

const MICROS: f64 = 1e6;
const MAX_PRICE_MICROS: i64 = 1_000_000 * 1_000_000;

impl Cursor<'_> {
    pub(super) fn refuse(&self, column: usize, value: String, rule: &'static str) -> LoadError {
        LoadError::Row {
            path: self.path.clone(),
            row: self.chunk.first_row + self.row as u64,
            column: self.wanted[column].name,
            value,
            rule,
        }
    }

    fn cells(&self, column: usize) -> Option<&Cells> {
        self.chunk.columns[column].as_ref()
    }

    /// The cell as it stands in the file, for messages.
    pub(super) fn shown(&self, column: usize) -> String {
        let row = self.row;
        match self.cells(column) {
            None => None,
            Some(Cells::Text(cells)) => cells[row].clone(),
            Some(Cells::Int(cells)) => cells[row].map(|value| value.to_string()),
            Some(Cells::Float(cells)) => cells[row].map(|value| value.to_string()),
            Some(Cells::Instant(cells)) => {
                cells[row].map(|value| chrono::DateTime::from_timestamp_nanos(value).to_rfc3339())
            }
            Some(Cells::Day(cells)) => cells[row]
                .and_then(date_of_days)
                .map(|value| value.to_string()),
        }
        .unwrap_or_default()
    }

    pub(super) fn symbol(&self, column: usize) -> Result<&str, LoadError> {
        match self.cells(column) {
            Some(Cells::Text(cells)) => match cells[self.row].as_deref() {
                Some(text) if is_symbol(text) => Ok(text),
                _ => Err(self.refuse(column, self.shown(column), SYMBOL_RULE)),
            },
            _ => Err(self.refuse(column, self.shown(column), SYMBOL_RULE)),
        }
    }

    /// Text of an optional column; empty when there is none.
    pub(super) fn text(&self, column: usize) -> Result<&str, LoadError> {
        match self.cells(column) {
            None => Ok(""),
            Some(Cells::Text(cells)) => Ok(cells[self.row].as_deref().unwrap_or_default()),
            Some(_) => Err(self.refuse(column, self.shown(column), TEXT_RULE)),
        }
    }

    /// Millionths of a dollar, rounded to the nearest.
    pub(super) fn price(&self, column: usize) -> Result<i64, LoadError> {
        let refused = || self.refuse(column, self.shown(column), PRICE_RULE);
        let dollars = match self.cells(column) {
            Some(Cells::Text(cells)) => cells[self.row]
                .as_deref()
                .and_then(|text| text.parse().ok()),
            Some(Cells::Float(cells)) => cells[self.row],
            Some(Cells::Int(cells)) => cells[self.row].map(|value| value as f64),
            _ => None,
        };
        let micros = dollars
            .filter(|dollars: &f64| dollars.is_finite())
            .map(|dollars| (dollars * MICROS).round() as i64);
        micros
            .filter(|micros| (1..=MAX_PRICE_MICROS).contains(micros))
            .ok_or_else(refused)
    }

    pub(super) fn optional_price(&self, column: usize) -> Result<Option<i64>, LoadError> {
        if self.is_empty(column) {
            Ok(None)
        } else {
            self.price(column).map(Some)
        }
    }

    pub(super) fn shares(&self, column: usize) -> Result<u32, LoadError> {
        self.whole(column, u64::from(u32::MAX), SHARES_RULE)
            .map(|value| value as u32)
    }

    pub(super) fn volume(&self, column: usize) -> Result<u64, LoadError> {
        self.whole(column, 1_000_000_000_000, VOLUME_RULE)
    }

    pub(super) fn optional_count(&self, column: usize) -> Result<Option<u32>, LoadError> {
        if self.is_empty(column) {
            return Ok(None);
        }
        self.whole(column, u64::from(u32::MAX), COUNT_RULE)
            .map(|value| Some(value as u32))
    }

    fn is_empty(&self, column: usize) -> bool {
        let row = self.row;
        match self.cells(column) {
            None => true,
            Some(Cells::Text(cells)) => cells[row].is_none(),
            Some(Cells::Int(cells) | Cells::Instant(cells)) => cells[row].is_none(),
            Some(Cells::Float(cells)) => cells[row].is_none(),
            Some(Cells::Day(cells)) => cells[row].is_none(),
        }
    }

    fn whole(&self, column: usize, max: u64, rule: &'static str) -> Result<u64, LoadError> {
        // Some writers keep counts as doubles; a double that is a whole number below 2^53 is exact.
        let of_float = |value: f64| {
            (value >= 0.0 && value.fract() == 0.0 && value < 9e15).then_some(value as u64)
        };
        let value = match self.cells(column) {
            Some(Cells::Text(cells)) => cells[self.row].as_deref().and_then(|text| {
                text.parse::<u64>()
                    .ok()
                    .or_else(|| text.parse().ok().and_then(of_float))
            }),
            Some(Cells::Int(cells)) => cells[self.row].and_then(|value| u64::try_from(value).ok()),
            Some(Cells::Float(cells)) => cells[self.row].and_then(of_float),
            _ => None,
        };
        value
            .filter(|value| *value <= max)
            .ok_or_else(|| self.refuse(column, self.shown(column), rule))
    }

    /// Nanoseconds since the epoch.
    pub(super) fn instant(&self, column: usize) -> Result<i64, LoadError> {
        let value = match self.cells(column) {
            Some(Cells::Instant(cells)) => cells[self.row],
            Some(Cells::Text(cells)) => cells[self.row].as_deref().and_then(parse_instant),
            _ => None,
        };
        value.ok_or_else(|| self.refuse(column, self.shown(column), INSTANT_RULE))
    }

    pub(super) fn date(&self, column: usize) -> Result<chrono::NaiveDate, LoadError> {
        let value = match self.cells(column) {
            Some(Cells::Day(cells)) => cells[self.row].and_then(date_of_days),
            Some(Cells::Text(cells)) => cells[self.row].as_deref().and_then(parse_date),
            Some(Cells::Instant(cells)) => cells[self.row].map(date_of_instant),
            _ => None,
        };
        value.ok_or_else(|| self.refuse(column, self.shown(column), DATE_RULE))
    }
}

fn date_of_days(days: i32) -> Option<chrono::NaiveDate> {
    chrono::NaiveDate::from_num_days_from_ce_opt(days.checked_add(719_163)?)
}

/// The day that a daily bar's instant means: midnight of UTC or of New York.
fn date_of_instant(at: i64) -> chrono::NaiveDate {
    if at.rem_euclid(common::calendar::DAY) == 0 {
        chrono::DateTime::from_timestamp_nanos(at).date_naive()
    } else {
        common::calendar::date_at(at)
    }
}

fn parse_date(text: &str) -> Option<chrono::NaiveDate> {
    text.parse()
        .ok()
        .or_else(|| parse_instant(text).map(date_of_instant))
}

/// RFC 3339 to nanoseconds since the epoch.
fn parse_instant(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text)
        .ok()?
        .timestamp_nanos_opt()
}

pub(super) fn is_symbol(text: &str) -> bool {
    (1..=16).contains(&text.len())
        && text.as_bytes()[0].is_ascii_uppercase()
        && text.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-'
        })
}
