//! Whole series of quotes and trades at once.

use thiserror::Error;

use super::market::Market;
use super::quotes::{QUOTE_FEATURES, Quote};
use super::trades::{MicroError, MicroSettings, TRADE_FEATURES, Trade};

/// Quotes as columns, in the order of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuoteColumns<'a> {
    pub timestamp: &'a [i64],
    pub bid: &'a [f64],
    pub bid_size: &'a [f64],
    pub ask: &'a [f64],
    pub ask_size: &'a [f64],
}

/// Trades as columns, in the order of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TradeColumns<'a> {
    pub timestamp: &'a [i64],
    pub price: &'a [f64],
    pub size: &'a [f64],
}

/// Series that can't be computed: which, where, and by which rule.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EventError {
    #[error(transparent)]
    Settings(#[from] MicroError),
    #[error(
        "{field} has {found} events, its timestamps are {expected}; all columns need the same length"
    )]
    Length {
        field: &'static str,
        found: usize,
        expected: usize,
    },
    #[error("{field}[{at}] is {value}; finite numbers are wanted")]
    NotFinite {
        field: &'static str,
        at: usize,
        value: f64,
    },
    #[error("{series} {at} comes before the one in front of it; the order of time is wanted")]
    Order { series: &'static str, at: usize },
    #[error("{name} holds {found} numbers, {expected} are wanted")]
    Out {
        name: &'static str,
        found: usize,
        expected: usize,
    },
}

fn column(field: &'static str, values: &[f64], expected: usize) -> Result<(), EventError> {
    if values.len() != expected {
        return Err(EventError::Length {
            field,
            found: values.len(),
            expected,
        });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(EventError::NotFinite {
            field,
            at,
            value: values[at],
        }),
        None => Ok(()),
    }
}

fn ordered(series: &'static str, timestamps: &[i64]) -> Result<(), EventError> {
    match timestamps.windows(2).position(|pair| pair[1] < pair[0]) {
        Some(at) => Err(EventError::Order { series, at: at + 1 }),
        None => Ok(()),
    }
}

fn check(quotes: &QuoteColumns<'_>, trades: &TradeColumns<'_>) -> Result<(), EventError> {
    ordered("quote", quotes.timestamp)?;
    ordered("trade", trades.timestamp)?;
    let quotes_len = quotes.timestamp.len();
    column("bid", quotes.bid, quotes_len)?;
    column("bid_size", quotes.bid_size, quotes_len)?;
    column("ask", quotes.ask, quotes_len)?;
    column("ask_size", quotes.ask_size, quotes_len)?;
    column("price", trades.price, trades.timestamp.len())?;
    column("size", trades.size, trades.timestamp.len())
}

/// Runs quotes and trades through one [`Market`], merged by time; at the same moment the quote
/// comes first. The numbers after each event go to `of_quotes` as `[QUOTE_FEATURES][quote]` and to
/// `of_trades` as `[TRADE_FEATURES][trade]`.
pub fn compute(
    settings: MicroSettings,
    quotes: &QuoteColumns<'_>,
    trades: &TradeColumns<'_>,
    of_quotes: &mut [f64],
    of_trades: &mut [f64],
) -> Result<(), EventError> {
    check(quotes, trades)?;
    let (quotes_len, trades_len) = (quotes.timestamp.len(), trades.timestamp.len());
    let room = |name, found: usize, expected: usize| {
        if found == expected {
            Ok(())
        } else {
            Err(EventError::Out {
                name,
                found,
                expected,
            })
        }
    };
    room(
        "of_quotes",
        of_quotes.len(),
        QUOTE_FEATURES.len() * quotes_len,
    )?;
    room(
        "of_trades",
        of_trades.len(),
        TRADE_FEATURES.len() * trades_len,
    )?;
    let mut market = Market::new(settings)?;
    let (mut quote_at, mut trade_at) = (0, 0);
    while quote_at < quotes_len || trade_at < trades_len {
        let quote_next = quote_at < quotes_len
            && (trade_at == trades_len || quotes.timestamp[quote_at] <= trades.timestamp[trade_at]);
        if quote_next {
            let quote = Quote {
                bid: quotes.bid[quote_at],
                bid_size: quotes.bid_size[quote_at],
                ask: quotes.ask[quote_at],
                ask_size: quotes.ask_size[quote_at],
            };
            let numbers = market.quote(quote, quotes.timestamp[quote_at]);
            for (row, number) in numbers.iter().enumerate() {
                of_quotes[row * quotes_len + quote_at] = *number;
            }
            quote_at += 1;
        } else {
            let trade = Trade {
                price: trades.price[trade_at],
                size: trades.size[trade_at],
                timestamp: trades.timestamp[trade_at],
            };
            let numbers = market.trade(trade);
            for (row, number) in numbers.iter().enumerate() {
                of_trades[row * trades_len + trade_at] = *number;
            }
            trade_at += 1;
        }
    }
    Ok(())
}
