//! Positions: list and close.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::auth::Identity;
use super::error::ApiError;
use super::fields::Params;
use super::wire;
use crate::core::{CloseSize, Exchange};
use crate::server::Shared;

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
) -> Json<Value> {
    Json(shared.read(|exchange| {
        let account = exchange.account(who.account);
        let positions = account.positions.iter();
        positions
            .map(|(symbol, position)| wire::position(symbol, position, account, exchange))
            .collect()
    }))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    Path(symbol): Path<String>,
) -> Answer {
    shared.read(|exchange| {
        let account = exchange.account(who.account);
        let quoted = exchange
            .market()
            .find(&symbol)
            .or_else(|| exchange.market().find(&symbol.to_uppercase()));
        quoted
            .and_then(|quoted| account.positions.get_key_value(&quoted.symbol))
            .map(|(symbol, position)| Json(wire::position(symbol, position, account, exchange)))
            .ok_or_else(|| ApiError::not_found("position does not exist"))
    })
}

pub(super) async fn close(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    Path(symbol): Path<String>,
    params: Params,
) -> Answer {
    let size = match (params.decimal("qty")?, params.decimal("percentage")?) {
        (None, None) => CloseSize::All,
        (Some(qty), None) => CloseSize::Quantity(qty),
        (None, Some(percentage)) => CloseSize::Percentage(percentage),
        (Some(_), Some(_)) => {
            return Err(ApiError::malformed(
                "only one of qty or percentage is accepted",
            ));
        }
    };
    let body = shared
        .act(|exchange| close_one(exchange, who, &symbol, size))
        .await??;
    Ok(Json(body))
}

pub(super) async fn close_all(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    params: Params,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let cancel_orders = params.flag("cancel_orders")?;
    let body = shared
        .act(|exchange| {
            if cancel_orders {
                exchange.cancel_all(who.account);
            }
            let symbols: Vec<Arc<str>> = exchange.account(who.account).positions.keys().cloned().collect();
            let close = |symbol: &Arc<str>| match close_one(exchange, who, symbol, CloseSize::All) {
                Ok(order) => json!({ "symbol": &**symbol, "status": 200, "body": order }),
                Err(error) => {
                    json!({ "symbol": &**symbol, "status": error.status.as_u16(), "body": error.body_json() })
                }
            };
            symbols.iter().map(close).collect()
        })
        .await?;
    Ok((StatusCode::MULTI_STATUS, Json(body)))
}

fn close_one(
    exchange: &mut Exchange,
    who: Identity,
    symbol: &str,
    size: CloseSize,
) -> Result<Value, ApiError> {
    let receipt = exchange.close_position(who.account, symbol, size)?;
    Ok(wire::receipt(&receipt, exchange.market()))
}
