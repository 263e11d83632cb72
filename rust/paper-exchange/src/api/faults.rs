//! Faults on request: what a client must survive, made to happen.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::ApiError;
use crate::listen::Closed;
use crate::server::Shared;

const LONGEST_DELAY_MS: u64 = 600_000;
/// No connection reaches the exchange to end it earlier.
const LONGEST_REFUSAL_S: f64 = 60.0;
const FAULTS: usize = 100;

/// One fault of the REST API. Those that match a request are used up in the order they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFault {
    /// Of this method only, such as `POST`.
    #[serde(default)]
    pub method: Option<String>,
    /// Of paths that begin so, such as `/v2/orders`.
    #[serde(default)]
    pub path: Option<String>,
    /// How many requests it hits.
    #[serde(default = "once")]
    pub count: u32,
    /// How long the answer is held back.
    #[serde(default)]
    pub delay_ms: u64,
    /// What is answered.
    #[serde(default)]
    pub status: Option<u16>,
    /// Whether the request is carried out all the same, so that only its answer is lost.
    #[serde(default)]
    pub after: bool,
    /// Whether the connection ends in the middle of the answer.
    #[serde(default)]
    pub cut: bool,
}

fn once() -> u32 {
    1
}

/// What becomes of trade updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateFault {
    #[default]
    None,
    /// They are lost, all of them.
    Mute,
    /// Each comes twice.
    Duplicate,
    /// Each second one comes before the first.
    Reorder,
}

/// What `POST /_exchange/faults` takes; it adds requests and sets the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultPlan {
    pub requests: Vec<RequestFault>,
    pub updates: UpdateFault,
    /// How many of the next updates are lost.
    pub drop_updates: u32,
    /// For so many real seconds nobody listens on the port, and connections end with their request.
    pub refuse_s: f64,
    /// Ends every trade_updates connection now.
    #[serde(skip_serializing)]
    pub disconnect: bool,
}

/// The faults in force.
#[derive(Debug)]
pub struct Faults {
    plan: Mutex<FaultPlan>,
    /// Counts the times at which all streams were cut.
    pub cuts: watch::Sender<u64>,
    /// Until when connections are refused.
    pub(crate) closed: watch::Sender<Closed>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            plan: Mutex::default(),
            cuts: watch::Sender::new(0),
            closed: watch::Sender::new(None),
        }
    }
}

impl Faults {
    fn with<T>(&self, work: impl FnOnce(&mut FaultPlan) -> T) -> T {
        work(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What happens to the next update.
    pub fn next_update(&self) -> UpdateFault {
        self.with(|plan| {
            if plan.drop_updates > 0 {
                plan.drop_updates -= 1;
                return UpdateFault::Mute;
            }
            plan.updates
        })
    }

    fn next_request(&self, method: &str, path: &str) -> Option<RequestFault> {
        self.with(|plan| {
            let hit = |fault: &RequestFault| {
                fault
                    .method
                    .as_deref()
                    .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                    && fault
                        .path
                        .as_deref()
                        .is_none_or(|wanted| path.starts_with(wanted))
            };
            let index = plan.requests.iter().position(hit)?;
            let fault = plan.requests[index].clone();
            plan.requests[index].count -= 1;
            if plan.requests[index].count == 0 {
                plan.requests.remove(index);
            }
            Some(fault)
        })
    }
}

/// One listener's updates, as well as the faults in force let them through.
#[derive(Debug)]
pub struct Unreliable<T> {
    /// An update that waits to be overtaken.
    held: Option<T>,
}

impl<T> Default for Unreliable<T> {
    fn default() -> Self {
        Self { held: None }
    }
}

impl<T: Clone> Unreliable<T> {
    /// What is told now that `update` has come.
    pub fn pass(&mut self, faults: &Faults, update: T) -> Vec<T> {
        let earlier = self.held.take();
        let mut told = match faults.next_update() {
            UpdateFault::Mute => return Vec::new(),
            UpdateFault::Duplicate => vec![update.clone(), update],
            UpdateFault::Reorder if earlier.is_none() => {
                self.held = Some(update);
                return Vec::new();
            }
            UpdateFault::Reorder | UpdateFault::None => vec![update],
        };
        told.extend(earlier);
        told
    }
}

pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Json<FaultPlan> {
    Json(shared.faults.with(|plan| plan.clone()))
}

pub(super) async fn clear(State(shared): State<Arc<Shared>>) -> Json<FaultPlan> {
    Json(shared.faults.with(|plan| {
        *plan = FaultPlan::default();
        plan.clone()
    }))
}

pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<FaultPlan>, ApiError> {
    let plan: FaultPlan =
        serde_json::from_slice(&body).map_err(|error| ApiError::malformed(error.to_string()))?;
    for fault in &plan.requests {
        let valid_status = fault
            .status
            .is_none_or(|status| (400..600).contains(&status));
        if fault.count == 0 || fault.delay_ms > LONGEST_DELAY_MS || !valid_status {
            return Err(ApiError::malformed(format!(
                "a fault has a count of at least 1, a delay_ms of at most {LONGEST_DELAY_MS} and a status from 400 to 599"
            )));
        }
    }
    if !(0.0..=LONGEST_REFUSAL_S).contains(&plan.refuse_s) {
        return Err(ApiError::malformed(format!(
            "refuse_s is from 0 to {LONGEST_REFUSAL_S} real seconds, not {}",
            plan.refuse_s
        )));
    }
    if plan.disconnect {
        shared.faults.cuts.send_modify(|count| *count += 1);
    }
    shared.faults.with(|current| {
        if current.requests.len() + plan.requests.len() > FAULTS {
            return Err(ApiError::malformed(format!(
                "at most {FAULTS} faults at a time; clear them by DELETE"
            )));
        }
        current.requests.extend(plan.requests);
        if plan.refuse_s > 0.0 {
            let until = Instant::now() + Duration::from_secs_f64(plan.refuse_s);
            shared.faults.closed.send_replace(Some(until));
        }
        current.updates = plan.updates;
        current.drop_updates = plan.drop_updates;
        Ok(Json(current.clone()))
    })
}

/// Around every request while control is on.
pub async fn suffer(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/_exchange") {
        return next.run(request).await;
    }
    let Some(fault) = shared.faults.next_request(request.method().as_str(), path) else {
        return next.run(request).await;
    };
    let carried_out = fault.after || fault.status.is_none();
    let mut response = if carried_out {
        next.run(request).await
    } else {
        StatusCode::NO_CONTENT.into_response()
    };
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(fault.delay_ms)) => {}
        () = shared.stop.cancelled() => {}
    }
    if let Some(status) = fault.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response = ApiError {
            status,
            code: None,
            message: "injected fault".to_owned(),
            details: serde_json::Map::new(),
        }
        .into_response();
    }
    if fault.cut {
        cut(response).await
    } else {
        response
    }
}

/// Half of the answer, and then the end of the connection.
async fn cut(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let half = bytes.slice(..bytes.len() / 2);
    let end = async {
        // Without a pause the first half would never leave the buffer.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    let broken = stream::once(async { Ok(half) }).chain(stream::once(end));
    Response::from_parts(parts, Body::from_stream(broken))
}
