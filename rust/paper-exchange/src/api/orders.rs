//! Orders: submit, list, replace, cancel.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::Identity;
use super::error::ApiError;
use super::fields::{Fields, Params};
use super::wire;
use crate::core::{
    NewOrder, OrderClass, OrderQuery, OrderScope, OrderType, Replacement, Side, StopLoss,
    TakeProfit, TimeInForce,
};
use crate::server::Shared;

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn submit(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    fields: Fields,
) -> Answer {
    let request = new_order(&fields)?;
    let body = shared
        .act(|exchange| {
            exchange
                .submit(who.account, &request)
                .map(|receipt| wire::receipt(&receipt, exchange.market()))
        })
        .await??;
    Ok(Json(body))
}

fn new_order(fields: &Fields) -> Result<NewOrder, ApiError> {
    let take_profit = fields
        .object("take_profit")?
        .map(|leg| leg.decimal("limit_price").map(|limit| TakeProfit { limit }))
        .transpose()?;
    let stop_loss = fields
        .object("stop_loss")?
        .map(|leg| -> Result<StopLoss, ApiError> {
            Ok(StopLoss {
                stop: leg.decimal("stop_price")?,
                limit: leg.decimal("limit_price")?,
            })
        })
        .transpose()?;
    let class = fields.word("order_class", |word| {
        OrderClass::from_word(word).or_else(|| legs_class(word))
    })?;
    if fields.has("legs") {
        return Err(ApiError::malformed(
            "multi-leg orders are for options, which are not traded here",
        ));
    }
    Ok(NewOrder {
        symbol: fields.text("symbol")?.unwrap_or_default().to_uppercase(),
        side: fields.word("side", Side::from_word)?,
        kind: fields
            .word("type", OrderType::from_word)?
            .ok_or_else(|| ApiError::malformed("type is required"))?,
        tif: fields
            .word("time_in_force", TimeInForce::from_word)?
            .ok_or_else(|| ApiError::malformed("time_in_force is required"))?,
        class: class.unwrap_or(OrderClass::Simple),
        qty: fields.decimal("qty")?,
        notional: fields.decimal("notional")?,
        limit: fields.decimal("limit_price")?,
        stop: fields.decimal("stop_price")?,
        trail_price: fields.decimal("trail_price")?,
        trail_percent: fields.decimal("trail_percent")?,
        extended_hours: fields.flag("extended_hours")?.unwrap_or(false),
        client_order_id: fields.text("client_order_id")?.filter(|id| !id.is_empty()),
        take_profit,
        stop_loss,
    })
}

/// An empty class is a simple order.
fn legs_class(word: &str) -> Option<OrderClass> {
    word.is_empty().then_some(OrderClass::Simple)
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    params: Params,
) -> Answer {
    let query = OrderQuery {
        scope: match params.text("status") {
            None | Some("open") => OrderScope::Open,
            Some("closed") => OrderScope::Closed,
            Some("all") => OrderScope::All,
            Some(other) => {
                return Err(ApiError::malformed(format!(
                    "status must be open, closed or all, not {other}"
                )));
            }
        },
        limit: params.count("limit", 50, 500)?,
        after: params.time("after")?,
        until: params.time("until")?,
        ascending: params.ascending()?,
        nested: params.flag("nested")?,
        symbols: params
            .list("symbols")
            .iter()
            .map(|symbol| symbol.to_uppercase())
            .collect(),
        side: match params.text("side") {
            None => None,
            Some(word) => Some(Side::from_word(word).ok_or_else(|| {
                ApiError::malformed(format!("side must be buy or sell, not {word}"))
            })?),
        },
        after_order: params.uuid("after_order_id")?,
        before_order: params.uuid("before_order_id")?,
    };
    if query.after_order.is_some() && query.before_order.is_some() {
        return Err(ApiError::malformed(
            "only one of before_order_id or after_order_id is accepted",
        ));
    }
    Ok(Json(shared.read(|exchange| {
        let account = exchange.account(who.account);
        let orders = account.list_orders(&query);
        orders
            .iter()
            .map(|order| wire::order(order, account, exchange.market(), query.nested))
            .collect()
    })))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let id = order_id(&id)?;
    let nested = params.flag("nested")?;
    shared.read(|exchange| {
        let account = exchange.account(who.account);
        account
            .order(id)
            .map(|order| Json(wire::order(order, account, exchange.market(), nested)))
            .ok_or_else(|| ApiError::not_found(format!("order not found for {id}")))
    })
}

pub(super) async fn by_client_order_id(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    params: Params,
) -> Answer {
    let id = params
        .text("client_order_id")
        .ok_or_else(|| ApiError::malformed("client_order_id is required"))?;
    let nested = params.flag("nested")?;
    shared.read(|exchange| {
        let account = exchange.account(who.account);
        account
            .order_by_client_id(id)
            .map(|order| Json(wire::order(order, account, exchange.market(), nested)))
            .ok_or_else(|| ApiError::not_found(format!("order not found for {id}")))
    })
}

pub(super) async fn replace(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let id = order_id(&id)?;
    if fields.has("notional") {
        return Err(ApiError::malformed(
            "notional of an order cannot be replaced",
        ));
    }
    let change = Replacement {
        qty: fields.decimal("qty")?,
        tif: fields.word("time_in_force", TimeInForce::from_word)?,
        limit: fields.decimal("limit_price")?,
        stop: fields.decimal("stop_price")?,
        trail: fields.decimal("trail")?,
        client_order_id: fields.text("client_order_id")?.filter(|id| !id.is_empty()),
    };
    let body = shared
        .act(|exchange| {
            exchange
                .replace(who.account, id, &change)
                .map(|receipt| wire::receipt(&receipt, exchange.market()))
        })
        .await??;
    Ok(Json(body))
}

pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = order_id(&id)?;
    shared
        .act(|exchange| exchange.cancel(who.account, id))
        .await??;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn cancel_all(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let ids = shared
        .act(|exchange| exchange.cancel_all(who.account))
        .await?;
    let body = ids
        .iter()
        .map(|id| json!({ "id": id, "status": 200 }))
        .collect();
    Ok((StatusCode::MULTI_STATUS, Json(body)))
}

fn order_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| ApiError::not_found(format!("order not found for {text}")))
}
