//! The columns of a Parquet file, row group by row group.

use std::fs::File;
use std::path::Path;

use common::calendar::DAY;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::error::LoadError;
use super::table::{Cells, Chunk, ColumnName, locate, problem};

pub(super) fn read(
    path: &Path,
    file: File,
    wanted: &[ColumnName],
    sink: &mut dyn FnMut(Chunk) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let broken = |error: ParquetError| problem(path, format!("is no proper Parquet: {error}"));
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names: Vec<&str> = schema
        .columns()
        .iter()
        .map(|column| column.name())
        .collect();
    let positions = locate(path, &names, wanted)?;
    if let Some(nested) = schema
        .columns()
        .iter()
        .find(|column| column.max_rep_level() > 0 || column.max_def_level() > 1)
    {
        return Err(problem(
            path,
            format!(
                "column {:?} is nested, a column holds one value a row",
                nested.name()
            ),
        ));
    }
    let mut first_row = 1;
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(broken)?;
        let rows = usize::try_from(group.metadata().num_rows())
            .map_err(|_| problem(path, format!("row group {index} has a negative length")))?;
        let mut columns = Vec::with_capacity(wanted.len());
        for position in &positions {
            columns.push(match position {
                None => None,
                Some(position) => {
                    let column = group.get_column_reader(*position).map_err(broken)?;
                    let descriptor = schema.column(*position);
                    Some(cells(column, &descriptor, rows).map_err(broken)?)
                }
            });
        }
        sink(Chunk {
            first_row,
            rows,
            columns,
        })?;
        first_row += rows as u64;
    }
    Ok(())
}

fn cells(
    column: ColumnReader,
    descriptor: &ColumnDescriptor,
    rows: usize,
) -> Result<Cells, ParquetError> {
    let nulls = descriptor.max_def_level() > 0;
    Ok(match column {
        ColumnReader::ByteArrayColumnReader(reader) => {
            let text = |value: &ByteArray| value.as_utf8().map(str::to_owned);
            let values = values(reader, rows, nulls)?;
            Cells::Text(
                values
                    .into_iter()
                    .map(|value| value.as_ref().map(text).transpose())
                    .collect::<Result<_, _>>()?,
            )
        }
        ColumnReader::DoubleColumnReader(reader) => Cells::Float(values(reader, rows, nulls)?),
        ColumnReader::FloatColumnReader(reader) => {
            // Through text: 13.94_f32 means 13.94 and not 13.9399995803…
            let widen = |value: f32| value.to_string().parse().unwrap_or(f64::NAN);
            Cells::Float(
                values(reader, rows, nulls)?
                    .into_iter()
                    .map(|value| value.map(widen))
                    .collect(),
            )
        }
        ColumnReader::Int32ColumnReader(reader) => {
            let values = values(reader, rows, nulls)?;
            if matches!(descriptor.logical_type_ref(), Some(LogicalType::Date))
                || descriptor.converted_type() == ConvertedType::DATE
            {
                Cells::Day(values)
            } else if let Some(scale) = decimal_scale(descriptor) {
                Cells::Float(
                    values
                        .into_iter()
                        .map(|value| value.map(|value| f64::from(value) / scale))
                        .collect(),
                )
            } else {
                Cells::Int(
                    values
                        .into_iter()
                        .map(|value| value.map(i64::from))
                        .collect(),
                )
            }
        }
        ColumnReader::Int64ColumnReader(reader) => {
            let values = values(reader, rows, nulls)?;
            if let Some(unit) = instant_unit(descriptor) {
                // An instant that nanoseconds can't hold is no instant of any session: an empty cell, refused later.
                Cells::Instant(
                    values
                        .into_iter()
                        .map(|value| value.and_then(|value| value.checked_mul(unit)))
                        .collect(),
                )
            } else if let Some(scale) = decimal_scale(descriptor) {
                Cells::Float(
                    values
                        .into_iter()
                        .map(|value| value.map(|value| value as f64 / scale))
                        .collect(),
                )
            } else {
                Cells::Int(values)
            }
        }
        ColumnReader::Int96ColumnReader(reader) => {
            let nanos = |value: parquet::data_type::Int96| value.to_nanos();
            Cells::Instant(
                values(reader, rows, nulls)?
                    .into_iter()
                    .map(|value| value.map(nanos))
                    .collect(),
            )
        }
        _ => {
            let kind = descriptor.physical_type();
            return Err(ParquetError::General(format!(
                "column {:?} is of the type {kind}, taken are text, numbers, dates and timestamps",
                descriptor.name()
            )));
        }
    })
}

/// Nanoseconds per unit, when the column holds instants.
fn instant_unit(descriptor: &ColumnDescriptor) -> Option<i64> {
    match (descriptor.logical_type_ref(), descriptor.converted_type()) {
        (Some(LogicalType::Timestamp(kind)), _) => Some(match kind.unit {
            TimeUnit::MILLIS => DAY / 86_400_000,
            TimeUnit::MICROS => DAY / 86_400_000_000,
            TimeUnit::NANOS => 1,
        }),
        (_, ConvertedType::TIMESTAMP_MILLIS) => Some(1_000_000),
        (_, ConvertedType::TIMESTAMP_MICROS) => Some(1_000),
        _ => None,
    }
}

fn decimal_scale(descriptor: &ColumnDescriptor) -> Option<f64> {
    match descriptor.logical_type_ref() {
        Some(LogicalType::Decimal(kind)) => Some(10_f64.powi(kind.scale)),
        _ => None,
    }
}

fn values<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    nulls: bool,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let mut present = Vec::new();
    let mut levels = Vec::new();
    let mut read = 0;
    while read < rows {
        let (records, _, _) = reader.read_records(
            rows - read,
            nulls.then_some(&mut levels),
            None,
            &mut present,
        )?;
        if records == 0 {
            return Err(ParquetError::General(format!(
                "a column ends after {read} of {rows} rows"
            )));
        }
        read += records;
    }
    if !nulls {
        return Ok(present.into_iter().map(Some).collect());
    }
    let mut present = present.into_iter();
    Ok(levels
        .into_iter()
        .map(|level| if level > 0 { present.next() } else { None })
        .collect())
}
