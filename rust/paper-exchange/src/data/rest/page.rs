//! Rows of several symbols, a page at a time.

use super::super::wire::{self, Json, Tape};
use super::query::{Token, Window};
use crate::recording::BarRow;
use crate::replay::{Quote, SymbolId, Trade};

/// A row of history that can be written.
pub(super) trait Row {
    fn at(&self) -> i64;
    fn write(&self, out: &mut Vec<u8>, tape: Tape);
}

impl Row for BarRow {
    fn at(&self) -> i64 {
        self.start
    }

    fn write(&self, out: &mut Vec<u8>, _tape: Tape) {
        wire::bar::<Json>(out, None, self);
    }
}

impl Row for Quote {
    fn at(&self) -> i64 {
        self.at
    }

    fn write(&self, out: &mut Vec<u8>, tape: Tape) {
        wire::quote::<Json>(out, None, self, tape);
    }
}

impl Row for Trade {
    fn at(&self) -> i64 {
        self.at
    }

    fn write(&self, out: &mut Vec<u8>, tape: Tape) {
        wire::trade::<Json>(out, None, self, tape);
    }
}

/// The rows of each symbol that has any, as a JSON array, and where the next page begins.
pub(super) struct Page {
    pub(super) symbols: Vec<(String, Vec<u8>)>,
    pub(super) next: Option<Token>,
}

/// Fills a page. `rows` gives a symbol's rows from one instant to another, in the order of time.
pub(super) fn fill<R: Row, I: Iterator<Item = R>>(
    symbols: &[(String, Option<SymbolId>)],
    window: &Window,
    tape: impl Fn(SymbolId) -> Tape,
    rows: impl Fn(SymbolId, i64, i64) -> I,
) -> Page {
    let mut page = Page {
        symbols: Vec::new(),
        next: None,
    };
    let mut left = window.limit;
    for (name, id) in symbols {
        let Some(id) = *id else { continue };
        let token = window.token.as_ref();
        if token.is_some_and(|token| *name < token.symbol) {
            continue;
        }
        let token = token.filter(|token| token.symbol == *name);
        let (start, end, skip) = match token {
            None => (window.start, window.end, 0),
            Some(token) if window.descending => {
                (window.start, window.end.min(token.at), token.skip)
            }
            Some(token) => (window.start.max(token.at), window.end, token.skip),
        };
        let rows = rows(id, start, end);
        let mut ordered: Box<dyn Iterator<Item = R>> = if window.descending {
            Box::new(rows.collect::<Vec<R>>().into_iter().rev())
        } else {
            Box::new(rows)
        };
        let mut written = Vec::new();
        // The last instant, and how many of its rows have been shown, on earlier pages too.
        let mut shown = token.map_or((i64::MIN, 0), |token| (token.at, 0));
        let mut skip = skip;
        for row in &mut ordered {
            let at = row.at();
            shown = if at == shown.0 {
                (at, shown.1)
            } else {
                (at, 0)
            };
            if token.is_some_and(|token| token.at == at) && skip > 0 {
                skip -= 1;
                shown.1 += 1;
                continue;
            }
            if left == 0 {
                page.next = Some(Token {
                    symbol: name.clone(),
                    at,
                    skip: shown.1,
                });
                break;
            }
            written.push(if written.is_empty() { b'[' } else { b',' });
            row.write(&mut written, tape(id));
            shown.1 += 1;
            left -= 1;
        }
        if !written.is_empty() {
            written.push(b']');
            page.symbols.push((name.clone(), written));
        }
        if page.next.is_some() {
            break;
        }
    }
    page
}
