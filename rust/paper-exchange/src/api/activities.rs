//! What happened in the account. Fills are all there is: no fees, no dividends, no transfers.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use common::calendar;
use serde_json::Value;
use uuid::Uuid;

use super::auth::Identity;
use super::error::ApiError;
use super::fields::Params;
use super::wire;
use crate::core::ActivityQuery;
use crate::server::Shared;

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    params: Params,
) -> Answer {
    let kinds = params.list("activity_types");
    let fills = match params.text("category") {
        Some(_) if !kinds.is_empty() => {
            return Err(ApiError::malformed(
                "only one of category or activity_types is accepted",
            ));
        }
        None => kinds.is_empty() || kinds.iter().any(|kind| kind == "FILL"),
        Some("trade_activity") => true,
        Some("non_trade_activity") => false,
        Some(other) => {
            return Err(ApiError::malformed(format!(
                "category must be trade_activity or non_trade_activity, not {other}"
            )));
        }
    };
    answer(&shared, who, &params, fills)
}

pub(super) async fn list_kind(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    Path(kind): Path<String>,
    params: Params,
) -> Answer {
    answer(&shared, who, &params, kind == "FILL")
}

fn answer(shared: &Shared, who: Identity, params: &Params, fills: bool) -> Answer {
    let mut query = ActivityQuery {
        limit: params.count("page_size", 100, 100)?,
        after: params.time("after")?,
        until: params.time("until")?,
        ascending: params.ascending()?,
        order_id: params.uuid("order_id")?,
        page_after: params.text("page_token").map(execution).transpose()?,
    };
    if let Some(date) = params.date("date")? {
        query.after = Some(calendar::midnight(date) - 1);
        query.until = Some(calendar::midnight(date + chrono::Days::new(1)));
    }
    if !fills {
        return Ok(Json(Value::Array(Vec::new())));
    }
    Ok(Json(shared.read(|exchange| {
        let account = exchange.account(who.account);
        account
            .list_fills(&query)
            .into_iter()
            .map(|fill| wire::activity(fill, account))
            .collect()
    })))
}

/// The execution that an activity's id ends with.
fn execution(token: &str) -> Result<Uuid, ApiError> {
    token
        .rsplit("::")
        .next()
        .and_then(|id| Uuid::try_parse(id).ok())
        .ok_or_else(|| {
            ApiError::malformed(format!(
                "page_token must be the id of an activity, not {token}"
            ))
        })
}
