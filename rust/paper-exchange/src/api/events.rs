//! `/v2/events/trades`: trade updates as server-sent events, which Alpaca's Go client listens to.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, Interval, interval_at};

use super::auth::Identity;
use super::error::ApiError;
use super::faults::Unreliable;
use super::fields::Params;
use super::wire;
use crate::core::Nanos;
use crate::server::Shared;
use crate::updates::Message;

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(10);
const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The part of the updates that was asked for.
#[derive(Clone, Debug, Default)]
struct Window {
    since: Option<Nanos>,
    until: Option<Nanos>,
    since_id: Option<String>,
    until_id: Option<String>,
}

impl Window {
    fn of(params: &Params) -> Result<Self, ApiError> {
        let window = Self {
            since: params.time("since")?,
            until: params.time("until")?,
            since_id: params.text("since_id").map(str::to_owned),
            until_id: params.text("until_id").map(str::to_owned),
        };
        let rule = if window.until.is_some() && window.since.is_none() {
            "until requires since"
        } else if window.until_id.is_some() && window.since_id.is_none() {
            "until_id requires since_id"
        } else if window.since.is_some() && window.since_id.is_some() {
            "only one of since or since_id is accepted"
        } else {
            return Ok(window);
        };
        Err(ApiError::malformed(rule))
    }

    fn wants_past(&self) -> bool {
        self.since.is_some() || self.since_id.is_some()
    }

    fn begins_after(&self, message: &Message) -> bool {
        self.since.is_some_and(|since| message.at < since)
            || self
                .since_id
                .as_ref()
                .is_some_and(|id| event_id(message) < *id)
    }

    fn ends_before(&self, message: &Message) -> bool {
        self.until.is_some_and(|until| message.at > until)
            || self
                .until_id
                .as_ref()
                .is_some_and(|id| event_id(message) > *id)
    }
}

pub(super) async fn trades(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Identity>,
    params: Params,
) -> Result<Response, ApiError> {
    let window = Window::of(&params)?;
    let (mut past, updates) = shared.updates.subscribe_with_past(who.account);
    let heard = past.last().map_or(0, |last| last.number);
    past.retain(|message| window.wants_past() && !window.begins_after(message));
    let over = past.iter().position(|message| window.ends_before(message));
    let now = shared.read(|exchange| exchange.now());
    let ends_now = over.is_some() || window.until.is_some_and(|until| until <= now);
    past.truncate(over.unwrap_or(past.len()));
    let mut begin = b":ok\n\n".to_vec();
    for message in &past {
        begin.extend_from_slice(&event(message));
    }
    let listener = Listener {
        cuts: shared.faults.cuts.subscribe(),
        account: who.account,
        shared,
        updates,
        window,
        heard,
        unreliable: Unreliable::default(),
        heartbeats: interval_at(Instant::now() + HEARTBEAT, HEARTBEAT),
        begin: Some(Bytes::from(begin)),
        ends: ends_now,
    };
    let body = stream::unfold(listener, |mut listener| async move {
        let chunk = listener.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(chunk), listener))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Listener {
    shared: Arc<Shared>,
    account: usize,
    updates: broadcast::Receiver<Message>,
    cuts: watch::Receiver<u64>,
    window: Window,
    /// Number of the last update that was past when it began.
    heard: u64,
    unreliable: Unreliable<Bytes>,
    heartbeats: Interval,
    begin: Option<Bytes>,
    ends: bool,
}

impl Listener {
    /// The next events or a comment; `None` is the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        if self.ends {
            return None;
        }
        loop {
            let update = tokio::select! {
                () = self.shared.stop.cancelled() => return None,
                Ok(()) = self.cuts.changed() => return None,
                _ = self.heartbeats.tick() => return Some(Bytes::from_static(b":heartbeat\n\n")),
                update = self.updates.recv() => update,
            };
            match update {
                Ok(message) if message.account != self.account || message.number <= self.heard => {}
                Ok(message) if self.window.ends_before(&message) => return None,
                Ok(message) => {
                    let told = self.unreliable.pass(&self.shared.faults, event(&message));
                    if !told.is_empty() {
                        return Some(told.concat().into());
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    let comment =
                        format!(":you are reading too slowly, dropped {missed} messages\n\n");
                    return Some(comment.into());
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// An update as an event: what the websocket says, with an id and a time of its own.
fn event(message: &Message) -> Bytes {
    let mut data = serde_json::from_slice::<Value>(&message.json)
        .map(|mut update| update["data"].take())
        .unwrap_or_default();
    if let Some(fields) = data.as_object_mut() {
        fields.insert("at".to_owned(), json!(wire::utc(message.at)));
        fields.insert("event_id".to_owned(), json!(event_id(message)));
    }
    format!("data: {data}\n\n").into()
}

/// A ULID: ids sort as the updates came.
fn event_id(message: &Message) -> String {
    let milliseconds = u128::try_from(message.at / 1_000_000).unwrap_or_default();
    let value = (milliseconds << 80) | u128::from(message.number);
    (0..26)
        .rev()
        .map(|digit| char::from(BASE32[((value >> (digit * 5)) & 31) as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_events_are_ulids_that_sort_by_time_and_number() {
        let id = |at: Nanos, number: u64| {
            event_id(&Message {
                account: 0,
                at,
                number,
                json: Bytes::new(),
            })
        };
        // The example of the ULID's specification is of this millisecond.
        assert!(id(1_469_918_176_385_000_000, 1).starts_with("01ARYZ6S41"));
        assert_eq!(id(0, 33), format!("{}11", "0".repeat(24)));
        assert!(id(2_000_000, 1) > id(1_000_000, 9));
        assert!(id(1_000_000, 10) > id(1_000_000, 9));
    }
}
