//! The clock, the calendar and the assets.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{Datelike, NaiveDate, Timelike};
use common::calendar;
use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::Params;
use super::wire;
use crate::core::Nanos;
use crate::server::Shared;

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn clock(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let hours = shared.hours();
    Json(json!({
        "timestamp": wire::eastern(hours.now),
        "is_open": hours.is_open,
        "next_open": hours.next_open.map(wire::eastern),
        "next_close": hours.next_close.map(wire::eastern),
    }))
}

pub(super) async fn calendar(params: Params) -> Answer {
    let first = NaiveDate::from_ymd_opt(*calendar::YEARS.start(), 1, 1).unwrap_or_default();
    let last = NaiveDate::from_ymd_opt(*calendar::YEARS.end(), 12, 31).unwrap_or_default();
    let start = params.date("start")?.unwrap_or(first).max(first);
    let end = params.date("end")?.unwrap_or(last).min(last);
    let days = calendar::sessions(start, end).map(|session| {
        json!({
            "date": session.date.to_string(),
            "open": hours(session.open, ":"),
            "close": hours(session.close, ":"),
            "session_open": hours(session.pre_open, ""),
            "session_close": hours(session.post_close, ""),
            "settlement_date": settlement(session.date).to_string(),
        })
    });
    Ok(Json(days.collect()))
}

fn hours(at: Nanos, separator: &str) -> String {
    let local = chrono::DateTime::from_timestamp_nanos(
        at + i64::from(calendar::utc_offset(at)) * calendar::SECOND,
    );
    format!("{:02}{separator}{:02}", local.hour(), local.minute())
}

/// T+3 until September 2017, T+2 until May 2024, T+1 since.
fn settlement(trade: NaiveDate) -> NaiveDate {
    let days = match (trade.year(), trade.ordinal()) {
        (..=2016, _) => 3,
        (2017, ..=247) => 3,
        (2024, ..=148) | (2017..=2023, _) => 2,
        _ => 1,
    };
    (0..days).fold(trade, |date, _| {
        calendar::session_after(date).map_or(date, |session| session.date)
    })
}

pub(super) async fn assets(State(shared): State<Arc<Shared>>, params: Params) -> Json<Value> {
    let status = params.text("status").map(str::to_owned);
    let class = params.text("asset_class").unwrap_or("us_equity").to_owned();
    let venue = params.text("exchange").map(str::to_owned);
    let attributes = params.list("attributes");
    Json(shared.read(|exchange| {
        exchange
            .market()
            .iter()
            .filter(|quoted| {
                class == "us_equity"
                    && attributes.is_empty()
                    && status
                        .as_deref()
                        .is_none_or(|status| (status == "active") == quoted.tradable)
                    && venue
                        .as_deref()
                        .is_none_or(|venue| venue == quoted.asset.exchange)
            })
            .map(|quoted| wire::asset(&quoted.asset, quoted.tradable))
            .collect()
    }))
}

/// Prices are all that is recorded of a company.
pub(super) async fn announcements() -> Json<Value> {
    Json(json!([]))
}

pub(super) async fn corporate_actions() -> Json<Value> {
    Json(json!({ "corporate_actions": {}, "next_page_token": null }))
}

pub(super) async fn asset(State(shared): State<Arc<Shared>>, Path(symbol): Path<String>) -> Answer {
    shared.read(|exchange| {
        let market = exchange.market();
        market
            .find(&symbol)
            .or_else(|| market.find(&symbol.to_uppercase()))
            .map(|quoted| Json(wire::asset(&quoted.asset, quoted.tradable)))
            .ok_or_else(|| ApiError::not_found(format!("asset not found for {symbol}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_settle_after_as_many_days_as_in_their_time() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date");
        for (trade, settles) in [
            ("2013-10-07", "2013-10-10"),
            ("2017-09-01", "2017-09-07"),
            ("2017-09-05", "2017-09-07"),
            ("2024-05-24", "2024-05-29"),
            ("2024-05-28", "2024-05-29"),
        ] {
            assert_eq!(settlement(date(trade)), date(settles), "{trade}");
        }
    }
}
