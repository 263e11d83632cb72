//! One client of the stream, from its greeting to its end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::{Instant, timeout};

use super::hub::Feed;
use super::message::{Refusal, Request, decode, encode, subscription, success};
use super::wire::Format;
use super::{Connection, Market};
use crate::api::auth::Credentials;

/// The longest message that a client may send.
const MAX_MESSAGE: usize = 1024 * 1024;

/// A client that was told to go has so long to take notice.
const FAREWELL: Duration = Duration::from_secs(1);

/// So many pings without any sign of life end a connection.
const MISSED_PINGS: u32 = 3;

pub(super) fn router(market: Arc<Market>) -> Router {
    let mut router = Router::new();
    for feed in ["iex", "sip", "delayed_sip"] {
        router = router
            .route(&format!("/v2/{feed}"), get(open))
            .route(&format!("/v2/{feed}/"), get(open));
    }
    for feed in ["boats", "overnight", "otc"] {
        router = router.route(&format!("/v2/{feed}"), get(open_without_plan));
    }
    router.with_state(market)
}

async fn open(
    state: State<Arc<Market>>,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    upgrade(state, headers, socket, true)
}

/// Feeds of which nothing is recorded: they exist, but are not part of the plan.
async fn open_without_plan(
    state: State<Arc<Market>>,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    upgrade(state, headers, socket, false)
}

fn upgrade(
    State(market): State<Arc<Market>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    is_in_plan: bool,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let body = r#"{"message":"this is a websocket: connect with an upgrade"}"#;
        return (
            StatusCode::UPGRADE_REQUIRED,
            [("content-type", "application/json")],
            body,
        )
            .into_response();
    };
    let kind = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let format = if kind.trim().eq_ignore_ascii_case("application/msgpack") {
        Format::MsgPack
    } else {
        Format::Json
    };
    let credentials = Credentials::from_headers(&headers);
    upgrade
        .max_message_size(MAX_MESSAGE)
        .on_upgrade(move |socket| async move {
            let mut session = Session {
                market,
                socket,
                format,
                is_in_plan,
                feed: None,
            };
            session.run(credentials).await;
        })
}

struct Session {
    market: Arc<Market>,
    socket: WebSocket,
    format: Format,
    is_in_plan: bool,
    /// Of an authenticated client.
    feed: Option<(Feed, Connection)>,
}

/// The connection is over, whether by a refusal or because the client went away.
type Step = ControlFlow<()>;

const ON: Step = ControlFlow::Continue(());
const OVER: Step = ControlFlow::Break(());

impl Session {
    async fn run(&mut self, credentials: Option<Credentials>) {
        if self.say(&success("connected")).await.is_break() {
            return;
        }
        if let Some(Credentials { key_id, secret_key }) = credentials
            && self.authenticate(key_id, secret_key).await.is_break()
        {
            return;
        }
        let deadline = Instant::now() + self.market.settings.auth_timeout;
        let mut pings = tokio::time::interval(self.market.settings.ping_every);
        pings.reset();
        let mut unanswered = 0;
        let shutdown = self.market.shutdown.clone();
        loop {
            let step = tokio::select! {
                () = shutdown.cancelled() => {
                    self.close(1001, "the exchange is shutting down").await;
                    OVER
                }
                received = self.socket.recv() => {
                    unanswered = 0;
                    match received {
                        Some(Ok(message)) => self.hear(message).await,
                        Some(Err(_)) | None => OVER,
                    }
                }
                frame = next_frame(&mut self.feed) => match frame {
                    Some(frame) => self.deliver(frame).await,
                    None => self.refuse(Refusal::SlowClient).await,
                },
                () = tokio::time::sleep_until(deadline), if self.feed.is_none() => {
                    self.refuse(Refusal::AuthTimeout).await
                }
                _ = pings.tick() => {
                    unanswered += 1;
                    if unanswered > MISSED_PINGS { OVER } else { self.send(Message::Ping(Vec::new().into())).await }
                }
            };
            if step.is_break() {
                return;
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Step {
        let request = match &message {
            Message::Text(text) => decode(text.as_bytes(), Format::Json),
            // A client that speaks msgpack may still write JSON, and the other way about.
            Message::Binary(bytes) => decode(bytes, self.format).or_else(|_| match self.format {
                Format::Json => decode(bytes, Format::MsgPack),
                Format::MsgPack => decode(bytes, Format::Json),
            }),
            Message::Close(_) => return OVER,
            Message::Ping(_) | Message::Pong(_) => return ON,
        };
        match (request, &self.feed) {
            (Err(refusal), _) => self.refuse(refusal).await,
            (Ok(Request::Authenticate { .. }), Some(_)) => {
                self.refuse(Refusal::AlreadyAuthenticated).await
            }
            (Ok(Request::Authenticate { key, secret }), None) => {
                self.authenticate(key, secret).await
            }
            (Ok(_), None) => self.refuse(Refusal::NotAuthenticated).await,
            (Ok(Request::Subscribe(wanted)), Some((feed, _))) => {
                let limit = self.market.settings.symbols_per_connection;
                let mut symbols: std::collections::BTreeSet<&str> =
                    wanted.values().flatten().map(String::as_str).collect();
                let current = feed.subscriptions();
                symbols.extend(current.values().flatten().map(String::as_str));
                if limit > 0 && symbols.len() > limit {
                    return self.refuse(Refusal::SymbolLimit).await;
                }
                let answer = subscription(&feed.change(&wanted, true));
                self.say(&answer).await
            }
            (Ok(Request::Unsubscribe(unwanted)), Some((feed, _))) => {
                let answer = subscription(&feed.change(&unwanted, false));
                self.say(&answer).await
            }
        }
    }

    async fn authenticate(&mut self, key: String, secret: String) -> Step {
        if !(self.market.admit)(key.clone(), secret).await {
            return self.refuse(Refusal::AuthFailed).await;
        }
        if !self.is_in_plan {
            return self.refuse(Refusal::Insufficient).await;
        }
        let Some(connection) = self.market.connect(&key) else {
            return self.refuse(Refusal::ConnectionLimit).await;
        };
        self.feed = Some((self.market.hub.join(self.format), connection));
        self.say(&success("authenticated")).await
    }

    async fn say(&mut self, message: &serde_json::Value) -> Step {
        let frame = encode(message, self.format);
        self.deliver(frame.into()).await
    }

    async fn refuse(&mut self, refusal: Refusal) -> Step {
        if !refusal.is_fatal() {
            return self.say(&refusal.message()).await;
        }
        // What waits for a slow client is dropped with its feed, so that the reason comes next.
        self.feed = None;
        let told = async {
            let _ = self.say(&refusal.message()).await;
            self.close(1000, "").await;
        };
        let _ = timeout(FAREWELL, told).await;
        OVER
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let _ = timeout(FAREWELL, self.socket.send(Message::Close(Some(frame)))).await;
    }

    async fn deliver(&mut self, frame: bytes::Bytes) -> Step {
        let message = match self.format {
            Format::MsgPack => Message::Binary(frame),
            Format::Json => match String::from_utf8(frame.into()) {
                Ok(text) => Message::Text(text.into()),
                Err(_) => return Box::pin(self.refuse(Refusal::Internal)).await,
            },
        };
        self.send(message).await
    }

    /// Sends; a client that takes nothing for too long, or for which too much waits meanwhile, is given up.
    async fn send(&mut self, message: Message) -> Step {
        let limit = self.market.settings.send_timeout;
        let sent = {
            let slow = async {
                match &self.feed {
                    Some((feed, _)) => feed.became_slow().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                sent = timeout(limit, self.socket.send(message)) => Some(sent),
                () = slow => None,
            }
        };
        match sent {
            Some(Ok(Ok(()))) => ON,
            Some(Ok(Err(_))) => OVER,
            Some(Err(_)) | None => Box::pin(self.refuse(Refusal::SlowClient)).await,
        }
    }
}

async fn next_frame(feed: &mut Option<(Feed, Connection)>) -> Option<bytes::Bytes> {
    match feed {
        Some((feed, _)) => feed.next().await,
        None => std::future::pending().await,
    }
}
