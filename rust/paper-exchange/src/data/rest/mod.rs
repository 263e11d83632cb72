//! The market-data endpoints.

mod auctions;
mod meta;
mod page;
mod query;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::page::{Page, Row};
use self::query::{Fields, Refused};
use super::Market;
use super::history::{History, Timeframe};
use crate::recording::BarRow;
use crate::replay::{Quote, SymbolId, Trade};

type Shared = State<Arc<Market>>;
type Answer = Result<Response, Refused>;

pub(super) fn router(market: Arc<Market>) -> Router {
    Router::new()
        .route("/v2/stocks/bars", get(bars))
        .route("/v2/stocks/quotes", get(quotes))
        .route("/v2/stocks/trades", get(trades))
        .route("/v2/stocks/auctions", get(auctions::auctions))
        .route("/v2/stocks/bars/latest", get(latest_bars))
        .route("/v2/stocks/quotes/latest", get(latest_quotes))
        .route("/v2/stocks/trades/latest", get(latest_trades))
        .route("/v2/stocks/snapshots", get(snapshots))
        .route("/v2/stocks/meta/exchanges", get(meta::exchanges))
        .route(
            "/v2/stocks/meta/conditions/{ticktype}",
            get(meta::conditions),
        )
        .route("/v2/stocks/{symbol}/bars", get(bars))
        .route("/v2/stocks/{symbol}/quotes", get(quotes))
        .route("/v2/stocks/{symbol}/trades", get(trades))
        .route("/v2/stocks/{symbol}/auctions", get(auctions::auctions))
        .route("/v2/stocks/{symbol}/bars/latest", get(symbol_latest_bar))
        .route(
            "/v2/stocks/{symbol}/quotes/latest",
            get(symbol_latest_quote),
        )
        .route(
            "/v2/stocks/{symbol}/trades/latest",
            get(symbol_latest_trade),
        )
        .route("/v2/stocks/{symbol}/snapshot", get(snapshot))
        .with_state(market)
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}

fn history(market: &Market) -> History {
    History {
        schedule: market.schedule.clone(),
        now: market.hub.now(),
    }
}

/// Symbols are upper-case letters, digits, dots, dashes: safe in JSON as they are.
fn name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// `{"SPY":…,"IBM":…}`
fn object<'a>(out: &mut Vec<u8>, entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
    out.push(b'{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        name(out, key);
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

/// `{"bars":…,"next_page_token":…}` of several symbols, or of the one that is asked for by its path.
fn paged(kind: &str, fields: &Fields, page: &Page, one: Option<&str>) -> Response {
    let mut out = vec![b'{'];
    name(&mut out, kind);
    match one {
        None => object(
            &mut out,
            page.symbols
                .iter()
                .map(|(symbol, rows)| (symbol.as_str(), rows.as_slice())),
        ),
        Some(_) => out.extend_from_slice(page.symbols.first().map_or(b"[]", |(_, rows)| rows)),
    }
    if let Some(symbol) = one {
        out.extend_from_slice(format!(",\"symbol\":\"{symbol}\"").as_bytes());
    }
    currency(&mut out, fields);
    match &page.next {
        None => out.extend_from_slice(b",\"next_page_token\":null}"),
        Some(token) => out
            .extend_from_slice(format!(",\"next_page_token\":\"{}\"}}", token.encode()).as_bytes()),
    }
    json(out)
}

/// Said again when it was asked for; it is USD then.
fn currency(out: &mut Vec<u8>, fields: &Fields) {
    if fields
        .get("currency")
        .is_some_and(|currency| !currency.is_empty())
    {
        out.extend_from_slice(b",\"currency\":\"USD\"");
    }
}

/// The symbol in the path of the form for one; the form for several has none.
type One = Option<Path<String>>;

/// Rows of history, page by page, in the answer of several symbols or of one.
fn history_page<R: Row, I: Iterator<Item = R>>(
    market: &Market,
    one: &One,
    fields: &Fields,
    kind: &str,
    rows: impl Fn(&History, SymbolId, i64, i64) -> I,
) -> Answer {
    let symbols = match one {
        Some(Path(symbol)) => vec![query::symbol(symbol, &market.schedule)?],
        None => query::symbols(fields, &market.schedule)?,
    };
    let history = history(market);
    let page = page::fill(
        &symbols,
        &query::window(fields, history.now)?,
        |symbol| market.hub.tape(symbol),
        |symbol, start, end| rows(&history, symbol, start, end),
    );
    let one = one.as_ref().map(|Path(symbol)| symbol.as_str());
    Ok(paged(kind, fields, &page, one))
}

async fn bars(State(market): Shared, one: One, Query(fields): Query<Fields>) -> Answer {
    let text = fields.get("timeframe").map_or("", String::as_str);
    let timeframe = Timeframe::parse(text)
        .ok_or_else(|| Refused::invalid(format!("invalid timeframe: {text}")))?;
    query::adjustment(&fields)?;
    history_page(
        &market,
        &one,
        &fields,
        "bars",
        |history, symbol, start, end| history.bars(symbol, timeframe, start, end).into_iter(),
    )
}

async fn quotes(State(market): Shared, one: One, Query(fields): Query<Fields>) -> Answer {
    history_page(&market, &one, &fields, "quotes", History::quotes)
}

async fn trades(State(market): Shared, one: One, Query(fields): Query<Fields>) -> Answer {
    history_page(&market, &one, &fields, "trades", History::trades)
}

fn quote_now(market: &Market, symbol: SymbolId) -> Option<Quote> {
    market
        .hub
        .latest(symbol)
        .quote
        .or_else(|| history(market).last_quote(symbol))
}

fn trade_now(market: &Market, symbol: SymbolId) -> Option<Trade> {
    market
        .hub
        .latest(symbol)
        .trade
        .or_else(|| history(market).last_trade(symbol))
}

fn bar_now(market: &Market, symbol: SymbolId) -> Option<BarRow> {
    market
        .hub
        .latest(symbol)
        .bar
        .map(|bar| bar.row())
        .or_else(|| history(market).last_minute(symbol))
}

fn written<R: Row>(market: &Market, symbol: SymbolId, row: &R) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    row.write(&mut out, market.hub.tape(symbol));
    out
}

/// `{"quotes":{"SPY":{…}}}`: symbols without any are left out.
fn latest<R: Row>(
    market: &Market,
    fields: &Fields,
    kind: &str,
    now: impl Fn(&Market, SymbolId) -> Option<R>,
) -> Answer {
    query::source(fields)?;
    let symbols = query::symbols(fields, &market.schedule)?;
    let rows: Vec<(&str, Vec<u8>)> = symbols
        .iter()
        .filter_map(|(name, id)| {
            Some((
                name.as_str(),
                written(market, (*id)?, &now(market, (*id)?)?),
            ))
        })
        .collect();
    let mut out = vec![b'{'];
    name(&mut out, kind);
    object(
        &mut out,
        rows.iter().map(|(symbol, row)| (*symbol, row.as_slice())),
    );
    currency(&mut out, fields);
    out.push(b'}');
    Ok(json(out))
}

/// `{"quote":{…},"symbol":"SPY"}`
fn symbol_latest<R: Row>(
    market: &Market,
    symbol: &str,
    fields: &Fields,
    kind: &str,
    now: impl Fn(&Market, SymbolId) -> Option<R>,
) -> Answer {
    query::source(fields)?;
    let (_, id) = query::symbol(symbol, &market.schedule)?;
    let row = id.and_then(|id| Some(written(market, id, &now(market, id)?)));
    let row = row.ok_or_else(|| Refused::not_found(format!("no {kind} found for {symbol}")))?;
    let mut out = vec![b'{'];
    name(&mut out, kind);
    out.extend_from_slice(&row);
    out.extend_from_slice(format!(",\"symbol\":\"{symbol}\"").as_bytes());
    currency(&mut out, fields);
    out.push(b'}');
    Ok(json(out))
}

async fn latest_bars(State(market): Shared, Query(fields): Query<Fields>) -> Answer {
    latest(&market, &fields, "bars", bar_now)
}

async fn latest_quotes(State(market): Shared, Query(fields): Query<Fields>) -> Answer {
    latest(&market, &fields, "quotes", quote_now)
}

async fn latest_trades(State(market): Shared, Query(fields): Query<Fields>) -> Answer {
    latest(&market, &fields, "trades", trade_now)
}

async fn symbol_latest_bar(
    State(market): Shared,
    Path(symbol): Path<String>,
    Query(fields): Query<Fields>,
) -> Answer {
    symbol_latest(&market, &symbol, &fields, "bar", bar_now)
}

async fn symbol_latest_quote(
    State(market): Shared,
    Path(symbol): Path<String>,
    Query(fields): Query<Fields>,
) -> Answer {
    symbol_latest(&market, &symbol, &fields, "quote", quote_now)
}

async fn symbol_latest_trade(
    State(market): Shared,
    Path(symbol): Path<String>,
    Query(fields): Query<Fields>,
) -> Answer {
    symbol_latest(&market, &symbol, &fields, "trade", trade_now)
}

/// The parts of a snapshot that there are, as the inside of a JSON object; `None` when there is none at all.
fn snapshot_of(market: &Market, symbol: SymbolId) -> Option<Vec<u8>> {
    let (day, previous) = history(market).last_days(symbol);
    let bar = |bar: Option<BarRow>| bar.map(|bar| written(market, symbol, &bar));
    let parts = [
        (
            "latestTrade",
            trade_now(market, symbol).map(|trade| written(market, symbol, &trade)),
        ),
        (
            "latestQuote",
            quote_now(market, symbol).map(|quote| written(market, symbol, &quote)),
        ),
        ("minuteBar", bar(bar_now(market, symbol))),
        ("dailyBar", bar(day)),
        ("prevDailyBar", bar(previous)),
    ];
    let present: Vec<(&str, &[u8])> = parts
        .iter()
        .filter_map(|(key, value)| Some((*key, value.as_deref()?)))
        .collect();
    if present.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(640);
    object(&mut out, present);
    Some(out)
}

async fn snapshots(State(market): Shared, Query(fields): Query<Fields>) -> Answer {
    query::source(&fields)?;
    let symbols = query::symbols(&fields, &market.schedule)?;
    let rows: Vec<(&str, Vec<u8>)> = symbols
        .iter()
        .filter_map(|(name, id)| Some((name.as_str(), snapshot_of(&market, (*id)?)?)))
        .collect();
    let mut out = Vec::new();
    object(
        &mut out,
        rows.iter().map(|(symbol, row)| (*symbol, row.as_slice())),
    );
    Ok(json(out))
}

async fn snapshot(
    State(market): Shared,
    Path(symbol): Path<String>,
    Query(fields): Query<Fields>,
) -> Answer {
    query::source(&fields)?;
    let (_, id) = query::symbol(&symbol, &market.schedule)?;
    let inside = id.and_then(|id| snapshot_of(&market, id));
    let mut out =
        inside.ok_or_else(|| Refused::not_found(format!("no snapshot found for {symbol}")))?;
    out.pop();
    out.extend_from_slice(format!(",\"symbol\":\"{symbol}\"").as_bytes());
    currency(&mut out, &fields);
    out.push(b'}');
    Ok(json(out))
}
