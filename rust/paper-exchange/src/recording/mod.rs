//! Recorded prices: a folder of CSV or Parquet files, checked row by row, in memory by symbol and time.

mod derive;
mod error;
mod load;
mod parquet_file;
mod series;
mod table;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use chrono::NaiveDate;

pub use error::LoadError;
pub use series::{BarRow, DayRow, QuoteGrain, QuoteRow, Series, TradeRow, merge};

use crate::replay::SymbolId;

/// Everything a folder holds, in order and without a hole in its meaning. Immutable.
#[derive(Debug)]
pub struct Recording {
    symbols: Vec<String>,
    by_name: HashMap<String, SymbolId>,
    series: Vec<Series>,
    sessions: Vec<NaiveDate>,
}

impl Recording {
    /// Reads every `bars_1min`, `bars_1sec`, `bars_1day`, `quotes`, `quotes_1min` and `trades` file of the folder
    /// (see `docs/data.md`).
    pub fn load(folder: &Path) -> Result<Recording, LoadError> {
        load::load(folder)
    }

    /// Out of rows that are in order; what follows from them is added.
    pub(crate) fn of_series(
        mut by_symbol: BTreeMap<String, Series>,
    ) -> Result<Recording, &'static str> {
        if by_symbol.len() > usize::from(u16::MAX) {
            return Err("holds more than 65535 symbols");
        }
        by_symbol.values_mut().for_each(derive::complete);
        let mut sessions: Vec<NaiveDate> = by_symbol
            .values()
            .flat_map(Series::regular_sessions)
            .collect();
        sessions.sort_unstable();
        sessions.dedup();
        if sessions.is_empty() {
            return Err("holds no trade or bar of a regular session (9:30 to 16:00 New York time)");
        }
        let (symbols, series): (Vec<_>, Vec<_>) = by_symbol.into_iter().unzip();
        let ids = (0..).map(SymbolId).zip(&symbols);
        let by_name = ids.map(|(id, name)| (name.clone(), id)).collect();
        Ok(Recording {
            symbols,
            by_name,
            series,
            sessions,
        })
    }

    /// All symbols, in alphabetical order; a [`SymbolId`] is the index here.
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    pub fn ids(&self) -> impl Iterator<Item = SymbolId> + use<> {
        (0..self.symbols.len() as u16).map(SymbolId)
    }

    pub fn id(&self, symbol: &str) -> Option<SymbolId> {
        self.by_name.get(symbol).copied()
    }

    pub fn name(&self, symbol: SymbolId) -> &str {
        &self.symbols[symbol.index()]
    }

    pub fn series(&self, symbol: SymbolId) -> &Series {
        &self.series[symbol.index()]
    }

    /// Days with prices of a regular session, in order; never empty.
    pub fn sessions(&self) -> &[NaiveDate] {
        &self.sessions
    }

    /// Whether the symbol trades during the day; of others there are daily bars only.
    pub fn is_live(&self, symbol: SymbolId) -> bool {
        !self.series(symbol).minutes.is_empty()
    }
}
