//! Named lists of symbols.

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
use crate::core::{Account, Exchange, Refusal, Watchlist};
use crate::server::Shared;

type Answer = Result<Json<Value>, ApiError>;
type Me = Extension<Identity>;
type Here = State<Arc<Shared>>;

/// How a path names a list.
enum Name {
    Id(String),
    Given(String),
}

pub(super) async fn list(State(shared): Here, Extension(who): Me) -> Json<Value> {
    Json(shared.read(|exchange| {
        let account = exchange.account(who.account);
        account
            .watchlists
            .iter()
            .map(|list| head(list, account))
            .collect()
    }))
}

pub(super) async fn create(State(shared): Here, Extension(who): Me, fields: Fields) -> Answer {
    let name = fields
        .text("name")?
        .ok_or_else(|| ApiError::malformed("name is required"))?;
    let symbols = fields.texts("symbols")?.unwrap_or_default();
    let body = shared
        .act(|exchange| -> Result<Value, Refusal> {
            let list = exchange.create_watchlist(who.account, &name, &symbols)?;
            Ok(whole(&list, exchange, who))
        })
        .await??;
    Ok(Json(body))
}

pub(super) async fn show(shared: Here, who: Me, Path(id): Path<String>) -> Answer {
    show_list(shared, who, &Name::Id(id))
}

pub(super) async fn show_named(shared: Here, who: Me, params: Params) -> Answer {
    show_list(shared, who, &named(&params)?)
}

fn show_list(State(shared): Here, Extension(who): Me, name: &Name) -> Answer {
    shared.read(|exchange| {
        let list = find(exchange.account(who.account), name)?;
        Ok(Json(whole(list, exchange, who)))
    })
}

pub(super) async fn update(
    shared: Here,
    who: Me,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    update_list(shared, who, Name::Id(id), fields).await
}

pub(super) async fn update_named(shared: Here, who: Me, params: Params, fields: Fields) -> Answer {
    update_list(shared, who, named(&params)?, fields).await
}

async fn update_list(shared: Here, who: Me, name: Name, fields: Fields) -> Answer {
    let (new_name, symbols) = (fields.text("name")?, fields.texts("symbols")?);
    change(shared, who, &name, |list| {
        if let Some(name) = new_name {
            list.name = name;
        }
        if let Some(symbols) = symbols {
            list.symbols = symbols
                .iter()
                .map(|symbol| Arc::from(symbol.as_str()))
                .collect();
        }
    })
    .await
}

pub(super) async fn add(shared: Here, who: Me, Path(id): Path<String>, fields: Fields) -> Answer {
    add_symbol(shared, who, Name::Id(id), fields).await
}

pub(super) async fn add_named(shared: Here, who: Me, params: Params, fields: Fields) -> Answer {
    add_symbol(shared, who, named(&params)?, fields).await
}

async fn add_symbol(shared: Here, who: Me, name: Name, fields: Fields) -> Answer {
    let symbol = fields
        .text("symbol")?
        .ok_or_else(|| ApiError::malformed("symbol is required"))?;
    change(shared, who, &name, |list| {
        if !list.symbols.iter().any(|have| **have == symbol) {
            list.symbols.push(Arc::from(symbol.as_str()));
        }
    })
    .await
}

pub(super) async fn remove_symbol(
    shared: Here,
    who: Me,
    Path((id, symbol)): Path<(String, String)>,
) -> Answer {
    change(shared, who, &Name::Id(id), |list| {
        list.symbols.retain(|have| **have != symbol)
    })
    .await
}

pub(super) async fn remove(
    shared: Here,
    who: Me,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    remove_list(shared, who, Name::Id(id)).await
}

pub(super) async fn remove_named(
    shared: Here,
    who: Me,
    params: Params,
) -> Result<StatusCode, ApiError> {
    remove_list(shared, who, named(&params)?).await
}

async fn remove_list(
    State(shared): Here,
    Extension(who): Me,
    name: Name,
) -> Result<StatusCode, ApiError> {
    shared
        .act(|exchange| -> Result<(), ApiError> {
            let id = find(exchange.account(who.account), &name)?.id;
            exchange.delete_watchlist(who.account, id);
            Ok(())
        })
        .await??;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(
    State(shared): Here,
    Extension(who): Me,
    name: &Name,
    change: impl FnOnce(&mut Watchlist),
) -> Answer {
    let body = shared
        .act(|exchange| -> Result<Value, ApiError> {
            let mut list = find(exchange.account(who.account), name)?.clone();
            change(&mut list);
            let list = exchange.put_watchlist(who.account, list)?;
            Ok(whole(&list, exchange, who))
        })
        .await??;
    Ok(Json(body))
}

fn named(params: &Params) -> Result<Name, ApiError> {
    params
        .text("name")
        .map(|name| Name::Given(name.to_owned()))
        .ok_or_else(|| ApiError::malformed("name is required"))
}

fn find<'a>(account: &'a Account, name: &Name) -> Result<&'a Watchlist, ApiError> {
    let found = match name {
        Name::Id(text) => {
            let id = Uuid::try_parse(text).ok();
            account.watchlists.iter().find(|list| Some(list.id) == id)
        }
        Name::Given(text) => account.watchlists.iter().find(|list| list.name == *text),
    };
    found.ok_or_else(|| ApiError::not_found("watchlist not found"))
}

fn head(list: &Watchlist, account: &Account) -> Value {
    json!({
        "id": list.id,
        "account_id": account.id,
        "name": list.name,
        "created_at": wire::utc(list.created_at),
        "updated_at": wire::utc(list.updated_at),
    })
}

fn whole(list: &Watchlist, exchange: &Exchange, who: Identity) -> Value {
    let mut body = head(list, exchange.account(who.account));
    let assets = list
        .symbols
        .iter()
        .filter_map(|symbol| exchange.market().find(symbol))
        .map(|quoted| wire::asset(&quoted.asset, quoted.tradable))
        .collect();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("assets".to_owned(), assets);
    }
    body
}
