//! The parameters of a request, checked.

use std::collections::HashMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use common::calendar;

use crate::replay::{Schedule, SymbolId};

pub(super) type Fields = HashMap<String, String>;

/// A parameter that isn't right, or a symbol of which nothing is known. The body has only `message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn invalid(message: impl Into<String>) -> Refused {
        Refused {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Refused {
        Refused {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (
            self.status,
            axum::Json(serde_json::json!({"message": self.message})),
        )
            .into_response()
    }
}

const DEFAULT_LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 10_000;
const MAX_SYMBOLS: usize = 10_000;

/// A part of history to be shown page by page.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) limit: usize,
    pub(super) descending: bool,
    pub(super) token: Option<Token>,
}

/// Where the next page begins: at a symbol's instant, after so many rows of that instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) symbol: String,
    pub(super) at: i64,
    pub(super) skip: usize,
}

impl Token {
    /// Hexadecimal, so that it passes through any client's URL as it is.
    pub(super) fn encode(&self) -> String {
        let plain = format!("{}|{}|{}", self.symbol, self.at, self.skip);
        plain.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn decode(text: &str) -> Option<Token> {
        if text.len() > 256 || !text.is_ascii() || !text.len().is_multiple_of(2) {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|index| u8::from_str_radix(&text[index..index + 2], 16).ok())
            .collect();
        let plain = String::from_utf8(bytes?).ok()?;
        let mut parts = plain.split('|');
        let token = Token {
            symbol: parts.next()?.to_owned(),
            at: parts.next()?.parse().ok()?,
            skip: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(token)
    }
}

/// Symbols asked for: each with its id if anything is known of it; in alphabetical order, each once.
pub(super) fn symbols(
    fields: &Fields,
    schedule: &Schedule,
) -> Result<Vec<(String, Option<SymbolId>)>, Refused> {
    let listed = fields
        .get("symbols")
        .map(String::as_str)
        .unwrap_or_default();
    let mut names: Vec<&str> = listed
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(Refused::invalid("symbols is required"));
    }
    if names.len() > MAX_SYMBOLS {
        return Err(Refused::invalid(format!(
            "too many symbols: {} is more than {MAX_SYMBOLS}",
            names.len()
        )));
    }
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| symbol(name, schedule))
        .collect()
}

pub(super) fn symbol(
    name: &str,
    schedule: &Schedule,
) -> Result<(String, Option<SymbolId>), Refused> {
    let is_symbol = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'/')
        });
    if is_symbol {
        Ok((name.to_owned(), schedule.recording().id(name)))
    } else {
        Err(Refused::invalid(format!("invalid symbol: {name}")))
    }
}

const FEEDS: [&str; 6] = ["sip", "iex", "delayed_sip", "otc", "boats", "overnight"];

/// Feed and currency: every feed shows the same recorded prices, in dollars.
pub(super) fn source(fields: &Fields) -> Result<(), Refused> {
    if let Some(feed) = fields
        .get("feed")
        .filter(|feed| !FEEDS.contains(&feed.as_str()))
    {
        return Err(Refused::invalid(format!("invalid feed: {feed}")));
    }
    match fields.get("currency").map(String::as_str) {
        None | Some("" | "USD") => Ok(()),
        Some(currency) => Err(Refused::invalid(format!(
            "invalid currency: {currency} (the recording is in USD)"
        ))),
    }
}

/// Adjustments are accepted and change nothing: a recording is served as it was recorded.
pub(super) fn adjustment(fields: &Fields) -> Result<(), Refused> {
    let Some(text) = fields.get("adjustment") else {
        return Ok(());
    };
    let is_known = |part: &str| matches!(part, "raw" | "split" | "dividend" | "spin-off" | "all");
    if text.split(',').all(is_known) {
        Ok(())
    } else {
        Err(Refused::invalid(format!("invalid adjustment: {text}")))
    }
}

pub(super) fn window(fields: &Fields, now: i64) -> Result<Window, Refused> {
    source(fields)?;
    let given = |name: &str| {
        fields
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    };
    let instant = |name: &str, default: i64| match given(name) {
        None => Ok(default),
        Some(text) => parse_instant(text).ok_or_else(|| {
            Refused::invalid(format!(
                "invalid {name}: {text} is neither RFC-3339 nor YYYY-MM-DD"
            ))
        }),
    };
    let start = instant("start", calendar::midnight(calendar::date_at(now)))?;
    let end = instant("end", now)?;
    if given("end").is_some() && given("start").is_some() && end < start {
        return Err(Refused::invalid("end should not be before start"));
    }
    let limit = match given("limit") {
        None => DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| {
                Refused::invalid(format!(
                    "invalid limit: {text} is not between 1 and {MAX_LIMIT}"
                ))
            })?,
    };
    let descending = match given("sort") {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(text) => {
            return Err(Refused::invalid(format!(
                "invalid sort: {text} is neither asc nor desc"
            )));
        }
    };
    if let Some(asof) =
        given("asof").filter(|asof| *asof != "-" && asof.parse::<NaiveDate>().is_err())
    {
        return Err(Refused::invalid(format!(
            "invalid asof: {asof} is neither YYYY-MM-DD nor -"
        )));
    }
    let token = match given("page_token") {
        None => None,
        Some(text) => {
            Some(Token::decode(text).ok_or_else(|| Refused::invalid("invalid page_token"))?)
        }
    };
    Ok(Window {
        start,
        end,
        limit,
        descending,
        token,
    })
}

/// An instant, or a day's midnight in New York.
fn parse_instant(text: &str) -> Option<i64> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return calendar::YEARS
            .contains(&chrono::Datelike::year(&date))
            .then(|| calendar::midnight(date));
    }
    // A plus that wasn't escaped arrives as a blank.
    chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
        .ok()?
        .timestamp_nanos_opt()
}
