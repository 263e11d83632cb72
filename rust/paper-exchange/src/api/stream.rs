//! `trade_updates`: what happens to an account's orders, as it happens, in binary frames of JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout};

use super::auth::Credentials;
use super::faults::Unreliable;
use crate::server::Shared;

const AUTHENTICATION: Duration = Duration::from_secs(10);
const SEND: Duration = Duration::from_secs(5);
const LARGEST_REQUEST: usize = 64 << 10;
const POLICY: u16 = 1008;

/// The name of the only stream.
pub struct TradeUpdates;

impl TradeUpdates {
    pub const NAME: &'static str = "trade_updates";
}

pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .max_message_size(LARGEST_REQUEST)
        .on_upgrade(|socket| async move {
            let mut session = Session {
                socket,
                shared,
                account: None,
                listens: false,
                unreliable: Unreliable::default(),
            };
            // The client is gone, or was told why it has to go.
            let _ = session.serve().await;
        })
}

/// Why a connection ends.
struct Over;

struct Session {
    socket: WebSocket,
    shared: Arc<Shared>,
    account: Option<usize>,
    listens: bool,
    unreliable: Unreliable<Bytes>,
}

impl Session {
    async fn serve(&mut self) -> Result<(), Over> {
        let mut updates = self.shared.updates.subscribe();
        let mut cuts = self.shared.faults.cuts.subscribe();
        let stop = self.shared.stop.clone();
        let patience = Instant::now() + AUTHENTICATION;
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.close(1001, "the exchange stops").await,
                () = tokio::time::sleep_until(patience), if self.account.is_none() => {
                    return self.close(POLICY, "authentication timeout").await;
                }
                frame = self.socket.recv() => match frame {
                    Some(Ok(Frame::Text(text))) => self.request(text.as_bytes()).await?,
                    Some(Ok(Frame::Binary(bytes))) => self.request(&bytes).await?,
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => return Err(Over),
                },
                Ok(()) = cuts.changed() => return Err(Over),
                update = updates.recv() => match update {
                    Ok(message) if self.listens && self.account == Some(message.account) => {
                        self.tell(message.json).await?;
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(missed)) if self.listens => {
                        return self.close(POLICY, &format!("slow client: {missed} updates missed")).await;
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return self.close(1001, "the exchange stops").await,
                },
            }
        }
    }

    async fn tell(&mut self, json: Bytes) -> Result<(), Over> {
        for json in self.unreliable.pass(&self.shared.faults, json) {
            self.send(json).await?;
        }
        Ok(())
    }

    async fn request(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let Ok(request) = serde_json::from_slice::<Value>(bytes) else {
            return self
                .say(json!({ "stream": "error", "data": { "error": "invalid JSON" } }))
                .await;
        };
        match request["action"].as_str() {
            Some("authenticate" | "auth") => self.authenticate(&request).await,
            Some("listen") => self.listen(&request).await,
            other => {
                let error = format!("unknown action {}", other.unwrap_or("(none)"));
                self.say(json!({ "stream": "error", "data": { "error": error } }))
                    .await
            }
        }
    }

    async fn authenticate(&mut self, request: &Value) -> Result<(), Over> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let data = &request["data"];
        let (key_id, secret_key) = if data.is_object() {
            (text(&data["key_id"]), text(&data["secret_key"]))
        } else {
            (text(&request["key"]), text(&request["secret"]))
        };
        let credentials = Credentials { key_id, secret_key };
        match self.shared.authenticate(&credentials).await {
            Ok(identity) => {
                self.account = Some(identity.account);
                self.authorization("authorized", "authenticate").await
            }
            Err(_) => {
                self.authorization("unauthorized", "authenticate").await?;
                self.close(POLICY, "unauthorized").await
            }
        }
    }

    async fn listen(&mut self, request: &Value) -> Result<(), Over> {
        if self.account.is_none() {
            return self.authorization("unauthorized", "listen").await;
        }
        let streams: Vec<&str> = request["data"]["streams"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        self.listens = streams.contains(&TradeUpdates::NAME);
        let known: Vec<&str> = streams
            .into_iter()
            .filter(|name| *name == TradeUpdates::NAME)
            .collect();
        self.say(json!({ "stream": "listening", "data": { "streams": known } }))
            .await
    }

    async fn authorization(&mut self, status: &str, action: &str) -> Result<(), Over> {
        self.say(
            json!({ "stream": "authorization", "data": { "status": status, "action": action } }),
        )
        .await
    }

    async fn say(&mut self, message: Value) -> Result<(), Over> {
        self.send(Bytes::from(message.to_string())).await
    }

    async fn send(&mut self, json: Bytes) -> Result<(), Over> {
        match timeout(SEND, self.socket.send(Frame::Binary(json))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    async fn close(&mut self, code: u16, reason: &str) -> Result<(), Over> {
        let frame = Frame::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }));
        let _ = timeout(SEND, self.socket.send(frame)).await;
        Err(Over)
    }
}
