//! The frame that comes most, read at a tenth of the price: a bar as every publisher writes it.
//!
//! [`read`] knows one shape of a `BarUpdate`: required fields in the order of the schema, the
//! others behind them, plain short numbers, text without escapes, no spaces. Whatever looks
//! different, right or wrong, is left to `common::messages::parse`, whose judgement this one must
//! never contradict.

use common::messages::{LARGEST, MAX_TEXT, is_symbol};

use crate::history::HistoryBar;

/// What the feed takes from a bar's frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FastBar<'a> {
    pub(crate) seq: u64,
    pub(crate) symbol: &'a str,
    pub(crate) bar: HistoryBar,
    pub(crate) timeframe: &'a str,
}

const HEAD: &[u8] = b"market {\"type\":\"BarUpdate\",\"symbol\":\"";
/// A float holds every whole number of so many digits, so that one division rounds right.
const EXACT_DIGITS: usize = 15;
const POWERS: [f64; EXACT_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];
/// Any number of so many digits fits into 64 bits.
const U64_DIGITS: usize = 19;

/// The bar in `frame`; None leaves the frame to the parser of all messages.
pub(crate) fn read(frame: &[u8]) -> Option<FastBar<'_>> {
    let mut rest = Rest(frame.strip_prefix(HEAD)?);
    let symbol = rest.text()?;
    if !is_symbol(symbol) {
        return None;
    }
    let bar = HistoryBar {
        open: rest.key(b",\"open\":")?.number()?,
        high: rest.key(b",\"high\":")?.number()?,
        low: rest.key(b",\"low\":")?.number()?,
        close: rest.key(b",\"close\":")?.number()?,
        volume: rest.key(b",\"volume\":")?.number()?,
        timestamp: rest.key(b",\"timestamp\":")?.signed()?,
    };
    let (mut seq, mut timeframe) = (None, None);
    let (mut ts, mut trade_count, mut vwap, mut source) = (None, None, None, None);
    // Each at most once: which of two counts is for the other parser to say.
    while rest.0 != b"}" {
        if rest.is_next(b",\"seq\":") {
            once(&mut seq, rest.unsigned()?)?;
        } else if rest.is_next(b",\"ts\":") {
            once(&mut ts, rest.signed()?)?;
        } else if rest.is_next(b",\"timeframe\":\"") {
            once(&mut timeframe, rest.text()?)?;
        } else if rest.is_next(b",\"source\":\"") {
            once(&mut source, rest.text()?)?;
        } else if rest.is_next(b",\"trade_count\":") {
            once(&mut trade_count, rest.unsigned()?)?;
        } else if rest.is_next(b",\"vwap\":") {
            once(&mut vwap, rest.number()?)?;
        } else {
            return None;
        }
    }
    Some(FastBar {
        seq: seq.unwrap_or(0),
        symbol,
        bar,
        timeframe: timeframe.unwrap_or("1Min"),
    })
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline(always)]
    fn is_next(&mut self, text: &[u8]) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn key(&mut self, key: &[u8]) -> Option<&mut Self> {
        self.is_next(key).then_some(self)
    }

    /// Printable ASCII up to the closing quote, which is taken too.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == b'"')?;
        let (text, rest) = self.0.split_at(end);
        let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'\\';
        if end > MAX_TEXT || !text.iter().all(plain) {
            return None;
        }
        self.0 = &rest[1..];
        std::str::from_utf8(text).ok()
    }

    /// Decimal digits, at most `most`, after `value`; answers how many.
    #[inline(always)]
    fn digits(&mut self, value: &mut u64, most: usize) -> Option<usize> {
        let mut count = 0;
        while let Some(digit) = self.0.get(count).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
        {
            if count == most {
                return None;
            }
            *value = *value * 10 + u64::from(digit);
            count += 1;
        }
        self.0 = &self.0[count..];
        Some(count)
    }

    /// As JSON has it: at least one digit, and no zero in front of others.
    #[inline(always)]
    fn whole(&mut self, most: usize) -> Option<(u64, usize)> {
        let zero_first = self.0.first() == Some(&b'0');
        let mut value = 0;
        let count = self.digits(&mut value, most)?;
        (count == 1 || (count > 1 && !zero_first)).then_some((value, count))
    }

    /// A whole number that ends where a field ends.
    #[inline(always)]
    fn unsigned(&mut self) -> Option<u64> {
        let (value, _) = self.whole(U64_DIGITS)?;
        self.ends().then_some(value)
    }

    #[inline(always)]
    fn signed(&mut self) -> Option<i64> {
        i64::try_from(self.unsigned()?).ok()
    }

    /// A market number without exponent.
    #[inline(always)]
    fn number(&mut self) -> Option<f64> {
        let (mut value, count) = self.whole(EXACT_DIGITS)?;
        let mut decimals = 0;
        if self.is_next(b".") {
            decimals = self.digits(&mut value, EXACT_DIGITS - count)?;
            if decimals == 0 {
                return None;
            }
        }
        let number = value as f64 / POWERS[decimals];
        (self.ends() && number <= LARGEST).then_some(number)
    }

    #[inline(always)]
    fn ends(&self) -> bool {
        matches!(self.0.first(), Some(b',' | b'}'))
    }
}

#[cfg(test)]
#[path = "fast_bar_tests.rs"]
mod tests;
