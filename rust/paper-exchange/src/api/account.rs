//! The account and its configuration.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::auth::Identity;
use super::error::ApiError;
use super::fields::Fields;
use super::wire;
use crate::core::Configuration;
use crate::server::Shared;

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
) -> Json<Value> {
    Json(shared.read(|exchange| {
        let account = exchange.account(who.account);
        let base = account.base_of_day(exchange.day_began());
        wire::account(account, exchange.market(), &base)
    }))
}

pub(super) async fn configuration(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
) -> Json<Value> {
    Json(shared.read(|exchange| shown(&exchange.account(who.account).configuration)))
}

pub(super) async fn configure(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    fields: Fields,
) -> Answer {
    let mut changed = shared.read(|exchange| exchange.account(who.account).configuration.clone());
    let set = |target: &mut bool, name: &str| -> Result<(), ApiError> {
        if let Some(value) = fields.flag(name)? {
            *target = value;
        }
        Ok(())
    };
    set(&mut changed.suspend_trade, "suspend_trade")?;
    set(&mut changed.no_shorting, "no_shorting")?;
    set(&mut changed.fractional_trading, "fractional_trading")?;
    set(
        &mut changed.ptp_no_exception_entry,
        "ptp_no_exception_entry",
    )?;
    set(
        &mut changed.disable_overnight_trading,
        "disable_overnight_trading",
    )?;
    if let Some(email) = fields.text("trade_confirm_email")? {
        if !matches!(email.as_str(), "all" | "none") {
            return Err(ApiError::malformed(format!(
                "trade_confirm_email must be all or none, not {email}"
            )));
        }
        changed.trade_confirm_email = email;
    }
    if let Some(multiplier) = fields.decimal("max_margin_multiplier")? {
        let multiplier = wire::number(multiplier);
        if !matches!(multiplier.as_str(), "1" | "2" | "4") {
            return Err(ApiError::malformed(format!(
                "max_margin_multiplier must be 1, 2 or 4, not {multiplier}"
            )));
        }
        changed.max_margin_multiplier = multiplier;
    }
    if let Some(level) = fields.decimal("max_options_trading_level")? {
        changed.max_options_trading_level = u8::try_from(level)
            .ok()
            .filter(|level| *level <= 3)
            .ok_or_else(|| {
                ApiError::malformed(format!(
                    "max_options_trading_level must be 0, 1, 2 or 3, not {level}"
                ))
            })?;
    }
    let answer = shown(&changed);
    shared
        .act(|exchange| exchange.configure(who.account, changed))
        .await?;
    Ok(Json(answer))
}

/// With the fields of pattern day trading that older clients insist on; nothing follows from them.
fn shown(configuration: &Configuration) -> Value {
    let mut body = json!(configuration);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("dtbp_check".to_owned(), json!("entry"));
        fields.insert("pdt_check".to_owned(), json!("entry"));
    }
    body
}
