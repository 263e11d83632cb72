//! A service's health over HTTP: `/health`, `/ready`, `/live` and `/metrics`.
//!
//! `/live` answers while the service's loop turns; `/ready` is 503 until it can do its work;
//! `/health` is 503 unless all is well and says what isn't and since when. What outlives the
//! process is in [`HealthRecord`].

mod figures;
mod record;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::bus::Listen;
use crate::service::Failure;

use figures::Figure;
pub use record::HealthRecord;

/// What a service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Healthy,
    /// It works, but something it needs does not.
    Degraded,
    Unhealthy,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A service's health, told by its tasks and read by its server. Clones are the same health.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    component: String,
    started: Instant,
    state: Mutex<Health>,
}

#[derive(Debug)]
struct Health {
    status: Status,
    message: String,
    since: Instant,
    /// Before it was well for the first time it starts, which is no incident.
    was_well: bool,
    not_ready: Option<String>,
    texts: BTreeMap<String, String>,
    figures: BTreeMap<String, Figure>,
    record: Option<HealthRecord>,
}

impl HealthCheck {
    /// A component that starts: healthy, not ready.
    pub fn new(component: &str) -> Self {
        let now = Instant::now();
        Self {
            inner: Arc::new(Inner {
                component: component.to_owned(),
                started: now,
                state: Mutex::new(Health {
                    status: Status::Healthy,
                    message: "starting".to_owned(),
                    since: now,
                    was_well: false,
                    not_ready: Some("starting".to_owned()),
                    texts: BTreeMap::new(),
                    figures: BTreeMap::new(),
                    record: None,
                }),
            }),
        }
    }

    /// As [`HealthCheck::new`], with the record `state_dir/health/<component>.json` that survives
    /// restarts; this start is counted in it.
    pub fn recorded(component: &str, state_dir: Option<&Path>) -> Self {
        let health = Self::new(component);
        if let Some(folder) = state_dir {
            let path = folder.join("health").join(format!("{component}.json"));
            let mut record = HealthRecord::open(&path, component);
            record.started();
            health.lock().record = Some(record);
        }
        health
    }

    pub fn component(&self) -> &str {
        &self.inner.component
    }

    /// Say how it is. A turn away from healthy is an incident of the record, once it was healthy.
    pub fn set(&self, status: Status, message: impl Into<String>) {
        let message = message.into();
        let mut health = self.lock();
        if health.status != status {
            health.since = Instant::now();
            if status != Status::Healthy
                && health.was_well
                && let Some(record) = &mut health.record
            {
                record.incident(&message);
            }
        }
        health.was_well |= status == Status::Healthy;
        health.status = status;
        health.message = message;
    }

    /// It can do its work.
    pub fn set_ready(&self) {
        self.lock().not_ready = None;
    }

    /// It can't do its work, and why.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.lock().not_ready = Some(reason.into());
    }

    /// A figure that goes up and down, in `/health` and as `<component>_<name>` in `/metrics`.
    pub fn gauge(&self, name: &str, help: &'static str, value: f64) {
        self.figure(name, Figure::gauge(help, value));
    }

    /// A figure that only grows.
    pub fn counter(&self, name: &str, help: &'static str, value: u64) {
        self.figure(name, Figure::counter(help, value));
    }

    /// A word in `/health` alone.
    pub fn text(&self, name: &str, value: impl Into<String>) {
        self.lock().texts.insert(name.to_owned(), value.into());
    }

    /// Write down that it ended as it should.
    pub fn stopped(&self, reason: &str) {
        self.end(true, reason);
    }

    /// Write down what it died of: an incident.
    pub fn failed(&self, reason: &str) {
        self.end(false, reason);
    }

    fn end(&self, clean: bool, reason: &str) {
        let mut health = self.lock();
        health.not_ready = Some(reason.to_owned());
        if let Some(record) = &mut health.record {
            if !clean {
                record.incident(reason);
            }
            record.ended(clean, reason);
        }
    }

    fn figure(&self, name: &str, figure: Figure) {
        let mut health = self.lock();
        if let Some(known) = health.figures.get_mut(name) {
            *known = figure;
        } else {
            health.figures.insert(name.to_owned(), figure);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> (StatusCode, Value) {
        let health = self.lock();
        let mut metrics = BTreeMap::from([(
            "uptime_seconds".to_owned(),
            format!("{:.1}", self.inner.started.elapsed().as_secs_f64()),
        )]);
        if let Some(record) = &health.record {
            metrics.extend(record.metrics());
        }
        metrics.extend(health.texts.clone());
        metrics.extend(
            health
                .figures
                .iter()
                .map(|(name, figure)| (name.clone(), figure.text())),
        );
        let mut message = health.message.clone();
        if health.status != Status::Healthy {
            message = format!("{message} (for {} s)", health.since.elapsed().as_secs());
        }
        let body = json!({
            "status": health.status.as_str(),
            "component": self.inner.component,
            "message": message,
            "metrics": metrics,
            "timestamp": now_text(),
        });
        (ok_or_unavailable(health.status == Status::Healthy), body)
    }

    fn readiness(&self) -> (StatusCode, Value) {
        let health = self.lock();
        let mut body = json!({
            "ready": health.not_ready.is_none(),
            "component": self.inner.component,
            "timestamp": now_text(),
        });
        if let Some(reason) = &health.not_ready {
            body["reason"] = json!(reason);
        }
        (ok_or_unavailable(health.not_ready.is_none()), body)
    }

    fn prometheus(&self) -> Result<String, std::fmt::Error> {
        let health = self.lock();
        let mut figures = health.figures.clone();
        let uptime = self.inner.started.elapsed().as_secs_f64();
        let healthy = health.status == Status::Healthy;
        let ready = health.not_ready.is_none();
        let own = [
            ("up", "1 while the service runs", 1.0),
            (
                "ready",
                "1 when it can do its work",
                f64::from(u8::from(ready)),
            ),
            (
                "healthy",
                "1 when all is well",
                f64::from(u8::from(healthy)),
            ),
            ("uptime_seconds", "seconds since its start", uptime),
        ];
        for (name, help, value) in own {
            figures.insert(name.to_owned(), Figure::gauge(help, value));
        }
        if let Some(record) = &health.record {
            let starts = Figure::counter("starts on this state directory", record.starts());
            figures.insert("starts".to_owned(), starts);
        }
        drop(health);
        figures::render(&self.inner.component.replace('-', "_"), figures)
    }
}

/// A health server that answers until it is dropped.
#[derive(Debug)]
pub struct HealthServer {
    port: u16,
    stop: CancellationToken,
}

impl HealthServer {
    /// The port it is bound to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serve `health` on a port; 0 takes a free one.
///
/// # Errors
/// The port is taken or the address isn't this machine's: exit code 78.
pub async fn start_health_server(
    health: HealthCheck,
    listen: Listen<'_>,
) -> Result<HealthServer, Failure> {
    let host: IpAddr = listen.host.parse().map_err(|_| {
        Failure::config(format!(
            "bus.bind = {:?}: an IP address of this machine is wanted, such as 127.0.0.1",
            listen.host
        ))
    })?;
    let address = SocketAddr::new(host, listen.port);
    let refused =
        |error: std::io::Error| Failure::port(listen.setting, &address.to_string(), &error);
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        let server = axum::serve(listener, router(health));
        tokio::select! {
            result = std::future::IntoFuture::into_future(server) => {
                if let Err(error) = result {
                    tracing::error!(%error, "the health server ended");
                }
            }
            () = stopped => {}
        }
    });
    Ok(HealthServer { port, stop })
}

/// The four routes; for a service that has a web server of its own.
pub fn router(health: HealthCheck) -> Router {
    Router::new()
        .route("/health", get(health_route))
        .route("/ready", get(ready_route))
        .route("/live", get(live_route))
        .route("/metrics", get(metrics_route))
        .with_state(health)
}

const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn health_route(State(health): State<HealthCheck>) -> Response {
    answer(health.report())
}

async fn ready_route(State(health): State<HealthCheck>) -> Response {
    answer(health.readiness())
}

async fn live_route() -> Response {
    ([NO_STORE], "alive").into_response()
}

async fn metrics_route(State(health): State<HealthCheck>) -> Response {
    match health.prometheus() {
        Ok(text) => (
            [NO_STORE, (header::CONTENT_TYPE, figures::CONTENT_TYPE)],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn answer((status, body): (StatusCode, Value)) -> Response {
    (status, [NO_STORE], axum::Json(body)).into_response()
}

fn ok_or_unavailable(ok: bool) -> StatusCode {
    if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// The wall clock as RFC 3339 in UTC, to the millisecond.
pub(crate) fn now_text() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests;
