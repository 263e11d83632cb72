//! The account's worth over time.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{Months, NaiveDate};
use common::calendar::{self, DAY, MINUTE};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};

use super::auth::Identity;
use super::error::ApiError;
use super::fields::Params;
use crate::core::{HistoryRequest, Nanos, Sample};
use crate::server::Shared;

const FRAMES: [(&str, Option<i64>); 5] = [
    ("1Min", Some(1)),
    ("5Min", Some(5)),
    ("15Min", Some(15)),
    ("1H", Some(60)),
    ("1D", None),
];

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let (start, end) = (
        params.time("start")?,
        params.time("end")?.or(params.time("date_end")?),
    );
    let period = params.text("period");
    if period.is_some() && start.is_some() && end.is_some() {
        return Err(ApiError::malformed(
            "only two of start, end and period are accepted",
        ));
    }
    let (now, equity) = shared.read(|exchange| {
        let account = exchange.account(who.account);
        (exchange.now(), account.balances(exchange.market()).equity)
    });
    let end = end.unwrap_or(now).min(now);
    let start = match start {
        Some(start) => start,
        None => before(end, period.unwrap_or("1M"))?,
    };
    let width = end - start;
    let (name, step) = match params.text("timeframe") {
        Some(name) => *FRAMES
            .iter()
            .find(|(frame, _)| *frame == name)
            .ok_or_else(|| {
                ApiError::malformed(format!(
                    "timeframe must be 1Min, 5Min, 15Min, 1H or 1D, not {name}"
                ))
            })?,
        None if width < 7 * DAY => FRAMES[0],
        None if width < 30 * DAY => FRAMES[2],
        None => FRAMES[4],
    };
    if step.is_some() && width > 31 * DAY {
        return Err(ApiError::malformed(
            "timeframe must be 1D for a period of more than 30 days",
        ));
    }
    let request = HistoryRequest {
        start,
        end,
        step: step.map(|minutes| minutes * MINUTE),
    };
    let history = shared.read(|exchange| {
        exchange
            .account(who.account)
            .history(request, Sample { at: now, equity })
    });
    let number = |value: Decimal| json!(value.to_f64());
    let profit = |sample: &Sample| sample.equity - history.base;
    let points = &history.points;
    Ok(Json(json!({
        "timestamp": points.iter().map(|sample| sample.at / 1_000_000_000).collect::<Vec<_>>(),
        "equity": points.iter().map(|sample| number(sample.equity)).collect::<Vec<_>>(),
        "profit_loss": points.iter().map(|sample| number(profit(sample))).collect::<Vec<_>>(),
        "profit_loss_pct": points
            .iter()
            .map(|sample| number((profit(sample) / history.base).round_dp(8)))
            .collect::<Vec<_>>(),
        "base_value": number(history.base),
        "base_value_asof": history.base_date.to_string(),
        "timeframe": name,
        "cashflow": {},
    })))
}

/// The beginning of a period such as `1D`, `2W`, `1M` or `1A` that ends at `end`.
fn before(end: Nanos, period: &str) -> Result<Nanos, ApiError> {
    let wrong = || {
        ApiError::malformed(format!(
            "period must be a number and D, W, M or A, such as 1M, not {period}"
        ))
    };
    let unit = period.chars().last().ok_or_else(wrong)?;
    let count: u32 = period[..period.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| wrong())?;
    if !(1..=1200).contains(&count) {
        return Err(wrong());
    }
    let today = calendar::date_at(end);
    let months = |months: u32| {
        today
            .checked_sub_months(Months::new(months))
            .map(calendar::midnight)
            .ok_or_else(wrong)
    };
    match unit {
        'D' => Ok(calendar::midnight(back(today, count))),
        'W' => Ok(end - i64::from(count) * 7 * DAY),
        'M' => months(count),
        'A' => months(count * 12),
        _ => Err(wrong()),
    }
}

/// The session `count` − 1 sessions before the one of `date`: `1D` is today alone.
fn back(date: NaiveDate, count: u32) -> NaiveDate {
    let today = if calendar::is_trading_day(date) {
        Some(date)
    } else {
        None
    };
    let today = today
        .or_else(|| calendar::session_before(date).map(|session| session.date))
        .unwrap_or(date);
    (1..count).fold(today, |date, _| {
        calendar::session_before(date).map_or(date, |session| session.date)
    })
}
