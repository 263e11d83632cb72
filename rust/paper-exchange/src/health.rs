//! How the exchange does: `/health`, `/ready`, `/live` and `/metrics` as every service has them, on
//! the port of its API and outside Alpaca's manners.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use common::http::{self, HealthCheck, Status};

use crate::data::Hub;
use crate::server::Shared;

const COMPONENT: &str = "paper-exchange";

/// What is counted of requests, and whom to ask for the rest. Figures are taken when somebody looks.
pub(crate) struct Vitals {
    pub(crate) health: HealthCheck,
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    requests: AtomicU64,
    refused: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
}

impl Vitals {
    pub(crate) fn new(shared: &Arc<Shared>, hub: &Arc<Hub>) -> Arc<Self> {
        let health = HealthCheck::recorded(COMPONENT, shared.settings.state_dir.as_deref());
        health.set(Status::Healthy, "the market is replayed");
        health.set_ready();
        Arc::new(Self {
            health,
            shared: Arc::clone(shared),
            hub: Arc::clone(hub),
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            limited: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    fn count(&self, status: StatusCode) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let kind = if status == StatusCode::TOO_MANY_REQUESTS {
            &self.limited
        } else if status.is_server_error() {
            &self.failed
        } else if status.is_client_error() {
            &self.refused
        } else {
            return;
        };
        kind.fetch_add(1, Ordering::Relaxed);
    }

    fn look(&self) {
        let (accounts, orders, open, now) = self.shared.read(|exchange| {
            let accounts = exchange.accounts();
            let orders: usize = accounts.iter().map(|account| account.orders().len()).sum();
            let open: usize = accounts.iter().map(|a| a.open_orders().count()).sum();
            (accounts.len(), orders, open, exchange.now())
        });
        let pace = self.shared.pace();
        for (name, help, value) in [
            ("accounts", "paper accounts opened", accounts as f64),
            ("open_orders", "orders that are not final", open as f64),
            (
                "market_time_seconds",
                "market time, seconds since 1970",
                now as f64 / 1e9,
            ),
            (
                "market_open",
                "1 in the regular session",
                f64::from(u8::from(self.shared.hours().is_open)),
            ),
            (
                "speed",
                "market seconds a second, 0 while it is paused",
                pace,
            ),
            (
                "data_streams",
                "market-data streams connected",
                self.hub.client_count() as f64,
            ),
            (
                "update_streams",
                "trade-update streams connected",
                self.shared.updates.listeners() as f64,
            ),
        ] {
            self.health.gauge(name, help, value);
        }
        for (name, help, count) in [
            ("requests", "requests answered", &self.requests),
            (
                "requests_refused",
                "requests refused with 4xx, those beyond the limit not counted",
                &self.refused,
            ),
            (
                "requests_limited",
                "requests beyond the limit of a key, 429",
                &self.limited,
            ),
            (
                "requests_failed",
                "requests that failed with 5xx",
                &self.failed,
            ),
        ] {
            self.health
                .counter(name, help, count.load(Ordering::Relaxed));
        }
        self.health
            .counter("orders", "orders received", orders as u64);
        self.health
            .counter("updates", "trade updates told", self.shared.told());
    }
}

/// `api` with its requests counted, and the four routes of health beside it.
pub(crate) fn routed(api: Router, vitals: &Arc<Vitals>) -> Router {
    let health =
        http::router(vitals.health.clone()).layer(from_fn_with_state(Arc::clone(vitals), look));
    api.layer(from_fn_with_state(Arc::clone(vitals), count))
        .merge(health)
}

async fn look(State(vitals): State<Arc<Vitals>>, request: Request, next: Next) -> Response {
    vitals.look();
    next.run(request).await
}

async fn count(State(vitals): State<Arc<Vitals>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    vitals.count(answer.status());
    answer
}
