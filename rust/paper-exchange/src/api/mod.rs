//! Alpaca's trading API over HTTP and its `trade_updates` websocket.

pub mod auth;
pub mod error;
pub mod faults;
pub mod limit;
pub mod manners;
pub mod wire;

mod account;
mod activities;
mod control;
mod events;
mod fields;
mod history;
mod market;
mod orders;
mod positions;
mod stream;
mod watchlists;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get};

use crate::server::Shared;

pub use fields::{Params, time};
pub use stream::TradeUpdates;

/// Every path of the trading API. Anything else is refused in JSON.
pub fn router(shared: &Arc<Shared>) -> Router {
    let trading = Router::new()
        .route("/v2/account", get(account::show))
        .route(
            "/v2/account/configurations",
            get(account::configuration).patch(account::configure),
        )
        .route("/v2/account/portfolio/history", get(history::show))
        .route("/v2/account/activities", get(activities::list))
        .route("/v2/account/activities/{kind}", get(activities::list_kind))
        .route("/v2/events/trades", get(events::trades))
        .route("/v2/clock", get(market::clock))
        .route("/v2/calendar", get(market::calendar))
        .route(
            "/v2/corporate_actions/announcements",
            get(market::announcements),
        )
        .route("/v1/corporate-actions", get(market::corporate_actions))
        .route("/v2/assets", get(market::assets))
        .route("/v2/assets/{symbol}", get(market::asset))
        .route(
            "/v2/orders",
            get(orders::list)
                .post(orders::submit)
                .delete(orders::cancel_all),
        )
        .route(
            "/v2/orders:by_client_order_id",
            get(orders::by_client_order_id),
        )
        .route(
            "/v2/orders/{id}",
            get(orders::show)
                .patch(orders::replace)
                .delete(orders::cancel),
        )
        .route(
            "/v2/positions",
            get(positions::list).delete(positions::close_all),
        )
        .route(
            "/v2/positions/{symbol}",
            get(positions::show).delete(positions::close),
        )
        .route(
            "/v2/watchlists",
            get(watchlists::list).post(watchlists::create),
        )
        .route(
            "/v2/watchlists/{id}",
            get(watchlists::show)
                .put(watchlists::update)
                .post(watchlists::add)
                .delete(watchlists::remove),
        )
        .route(
            "/v2/watchlists/{id}/{symbol}",
            delete(watchlists::remove_symbol),
        )
        .route(
            "/v2/watchlists:by_name",
            get(watchlists::show_named)
                .put(watchlists::update_named)
                .post(watchlists::add_named)
                .delete(watchlists::remove_named),
        )
        .route_layer(from_fn_with_state(Arc::clone(shared), auth::require));
    let mut router = Router::new()
        .merge(trading)
        .route("/stream", get(stream::upgrade))
        .route("/stream/", get(stream::upgrade));
    if shared.settings.control {
        router = router.merge(control::router());
    }
    router.with_state(Arc::clone(shared))
}
