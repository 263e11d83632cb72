//! `/_exchange/…`: the clock in somebody's hand, for tests and rehearsals. Off unless asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error::ApiError;
use super::faults;
use crate::server::Shared;

type Answer = Result<Json<Value>, ApiError>;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_exchange/clock", get(clock))
        .route(
            "/_exchange/faults",
            get(faults::show).post(faults::add).delete(faults::clear),
        )
        .route("/_exchange/pause", post(pause))
        .route("/_exchange/resume", post(resume))
        .route("/_exchange/step", post(with_body))
        .route("/_exchange/speed", post(with_body))
        .route("/_exchange/seek", post(with_body))
}

async fn clock(State(shared): State<Arc<Shared>>) -> Answer {
    command(&shared, &json!({}))
}

async fn pause(State(shared): State<Arc<Shared>>) -> Answer {
    command(&shared, &json!({ "pause": true }))
}

async fn resume(State(shared): State<Arc<Shared>>) -> Answer {
    command(&shared, &json!({ "pause": false }))
}

/// `{"step_s": 60}`, `{"speed": 60}`, `{"seek": "2013-10-07T14:00:00Z"}`.
async fn with_body(State(shared): State<Arc<Shared>>, body: axum::body::Bytes) -> Answer {
    let value: Value = serde_json::from_slice(&body).map_err(|_| ApiError::body())?;
    command(&shared, &value)
}

fn command(shared: &Shared, value: &Value) -> Answer {
    shared.command(value).map(Json).map_err(ApiError::malformed)
}
