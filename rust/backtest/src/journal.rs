//! What happened in a run, a line each, and the hash that tells two runs apart.

use std::fmt::Write;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use crate::strategy::{Direction, Side};

/// Lines `time what …`, the time in ns since the epoch. The same run writes the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    text: String,
}

impl Journal {
    /// All lines.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// SHA-256 of the lines, in hexadecimal: what `sha256sum` says of the file.
    #[must_use]
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.text.as_bytes());
        digest
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }

    pub(crate) fn begin(&mut self, what: &str) {
        let _ = writeln!(self.text, "backtest {what}");
    }

    pub(crate) fn signal(&mut self, at: i64, symbol: &str, direction: Direction, strength: f64) {
        let word = match direction {
            Direction::Long => "long",
            Direction::Short => "short",
            Direction::Flat => "flat",
        };
        let _ = writeln!(self.text, "{at} signal {symbol} {word} {strength}");
    }

    pub(crate) fn order(&mut self, at: i64, id: &str, symbol: &str, side: Side, qty: Decimal) {
        let side = side.word();
        let _ = writeln!(self.text, "{at} order {id} {symbol} {side} {qty}");
    }

    pub(crate) fn refused(&mut self, at: i64, symbol: &str, check: &str, why: &str) {
        let _ = writeln!(self.text, "{at} refused {symbol} {check}: {why}");
    }

    pub(crate) fn fill(&mut self, at: i64, id: &str, side: Side, qty: Decimal, price: Decimal) {
        let side = side.word();
        let _ = writeln!(self.text, "{at} fill {id} {side} {qty} {price}");
    }

    pub(crate) fn ended(&mut self, at: i64, id: &str, how: &str) {
        let _ = writeln!(self.text, "{at} {how} {id}");
    }

    pub(crate) fn state(&mut self, at: i64, state: &str, why: &str) {
        let _ = writeln!(self.text, "{at} state {state} {why}");
    }

    pub(crate) fn close(&mut self, at: i64, equity: Decimal, cash: Decimal) {
        let _ = writeln!(self.text, "{at} close equity {equity} cash {cash}");
    }
}
