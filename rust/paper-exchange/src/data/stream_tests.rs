//! The stream over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::DropGuard;

use super::*;
use crate::replay::Replay;
use crate::replay::tests::{schedule, utc};

struct Server {
    address: SocketAddr,
    market: Arc<Market>,
    replay: Replay,
    _stop: DropGuard,
}

const START: &str = "2013-10-07T13:29:00Z";

async fn serve_with(settings: Settings, queue_bytes: usize) -> Server {
    let schedule = schedule();
    let recording = schedule.recording().clone();
    let hub = Arc::new(Hub::new(recording, queue_bytes, utc(START), |_| {
        Tape::of_listing("NYSE")
    }));
    let admit: Admit =
        Arc::new(|key, secret| Box::pin(async move { key.starts_with("PK") && secret == "demo" }));
    let stop = CancellationToken::new();
    let market = Market::new(schedule.clone(), hub, settings, admit, stop.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = stream(market.clone()).merge(rest(market.clone()));
    let ended = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        axum::serve(listener, app)
            .with_graceful_shutdown(ended)
            .await
    });
    let replay = Replay::new(schedule, utc(START), 10.0);
    Server {
        address,
        market,
        replay,
        _stop: stop.drop_guard(),
    }
}

async fn serve() -> Server {
    serve_with(Settings::default(), QUEUE_BYTES).await
}

impl Server {
    /// Publishes what comes up to an instant.
    fn play(&mut self, until: &str) {
        let hub = &self.market.hub;
        self.replay
            .advance_to(utc(until), &mut |tick| hub.publish(&tick));
        hub.flush(utc(until));
    }

    async fn connect(&self, path: &str, headers: &[(&'static str, &str)]) -> Client {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Client {
            socket: connect_async(request).await.unwrap().0,
        }
    }

    /// A client that has authenticated and subscribed.
    async fn subscriber(&self, subscription: Value) -> Client {
        let mut client = self.connect("/v2/iex", &[]).await;
        client
            .hears(json!([{"T": "success", "msg": "connected"}]))
            .await;
        client
            .say(json!({"action": "auth", "key": "PKDEMO", "secret": "demo"}))
            .await;
        client
            .hears(json!([{"T": "success", "msg": "authenticated"}]))
            .await;
        client.say(subscription).await;
        let answer = client.hear().await;
        assert_eq!(answer[0]["T"], "subscription");
        client
    }
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

const LIMIT: Duration = Duration::from_secs(30);

impl Client {
    async fn say(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn say_packed(&mut self, message: Value) {
        let packed = rmp_serde::to_vec(&message).unwrap();
        self.socket
            .send(Message::Binary(Bytes::from(packed)))
            .await
            .unwrap();
    }

    /// The next message that isn't a ping; `Null` when the connection is over.
    async fn hear(&mut self) -> Value {
        loop {
            match tokio::time::timeout(LIMIT, self.socket.next())
                .await
                .expect("an answer in time")
            {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Binary(bytes))) => {
                    return rmp_serde::from_slice(&bytes).unwrap_or(Value::Bool(true));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Value::Null,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn hears(&mut self, expected: Value) {
        assert_eq!(self.hear().await, expected);
    }

    async fn is_refused(&mut self, code: u16, message: &str) {
        self.hears(json!([{"T": "error", "code": code, "msg": message}]))
            .await;
    }

    async fn is_cut_off(&mut self, code: u16, message: &str) {
        self.is_refused(code, message).await;
        self.hears(Value::Null).await;
    }
}

#[tokio::test]
async fn a_client_gets_the_bars_quotes_and_trades_it_subscribed_to() {
    let mut server = serve().await;
    let mut client = server
        .subscriber(json!({"action": "subscribe", "bars": ["SPY"], "quotes": ["IBM"], "trades": ["BAC"], "dailyBars": ["*"]}))
        .await;
    server.play("2013-10-07T13:31:00Z");
    let messages = client.hear().await;
    let of = |kind: &str| {
        messages
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["T"] == kind)
            .collect::<Vec<_>>()
    };
    assert!(of("b").iter().all(|bar| bar["S"] == "SPY") && of("b").len() == 2);
    assert_eq!(of("b")[1]["t"], "2013-10-07T13:30:00Z");
    assert_eq!(of("b")[1]["v"], 816_453);
    assert!(
        !of("q").is_empty()
            && of("q")
                .iter()
                .all(|quote| quote["S"] == "IBM" && quote["bp"].is_number())
    );
    assert!(
        !of("t").is_empty()
            && of("t")
                .iter()
                .all(|trade| trade["S"] == "BAC" && trade["i"].is_u64())
    );
    assert_eq!(of("d").len(), 4);
}

#[tokio::test]
async fn subscriptions_add_up_and_are_told_in_full() {
    let mut server = serve().await;
    let mut client = server
        .subscriber(json!({"action": "subscribe", "trades": ["SPY"], "bars": ["*"]}))
        .await;
    client.say(json!({"action": "subscribe", "quotes": ["IBM", "UNKNOWN"], "trades": ["BAC"], "statuses": ["*"], "updatedBars": []})).await;
    client
        .hears(json!([{
            "T": "subscription", "trades": ["BAC", "SPY"], "quotes": ["IBM", "UNKNOWN"], "bars": ["*"],
            "updatedBars": [], "dailyBars": [], "statuses": ["*"], "lulds": [], "imbalances": [],
            "corrections": ["BAC", "SPY"], "cancelErrors": ["BAC", "SPY"],
        }]))
        .await;
    client
        .say(json!({"action": "unsubscribe", "trades": ["SPY"], "bars": ["*"], "quotes": ["IBM"]}))
        .await;
    let left = client.hear().await;
    assert_eq!(
        (&left[0]["trades"], &left[0]["bars"], &left[0]["quotes"]),
        (&json!(["BAC"]), &json!([]), &json!(["UNKNOWN"]))
    );
    server.play("2013-10-07T13:31:00Z");
    let messages = client.hear().await;
    assert!(
        messages
            .as_array()
            .unwrap()
            .iter()
            .all(|message| message["T"] == "t" && message["S"] == "BAC")
    );
}

#[tokio::test]
async fn a_content_type_of_msgpack_is_answered_in_msgpack() {
    let mut server = serve().await;
    let mut client = server
        .connect("/v2/sip", &[("Content-Type", "application/msgpack")])
        .await;
    client
        .hears(json!([{"T": "success", "msg": "connected"}]))
        .await;
    client
        .say_packed(json!({"action": "auth", "key": "PK1", "secret": "demo"}))
        .await;
    client
        .hears(json!([{"T": "success", "msg": "authenticated"}]))
        .await;
    client
        .say_packed(json!({"action": "subscribe", "bars": ["SPY"]}))
        .await;
    assert_eq!(client.hear().await[0]["bars"], json!(["SPY"]));
    server.play("2013-10-07T13:31:00Z");
    let frame = tokio::time::timeout(LIMIT, client.socket.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let Message::Binary(frame) = frame else {
        panic!("{frame:?} is not binary")
    };
    let mut rest = &frame[..];
    let messages = rmpv_array(&mut rest);
    assert_eq!(messages, 2);
}

/// The length of a msgpack array.
fn rmpv_array(bytes: &mut &[u8]) -> u32 {
    rmp::decode::read_array_len(bytes).unwrap()
}

#[tokio::test]
async fn keys_in_the_headers_authenticate_at_once() {
    let server = serve().await;
    let mut client = server
        .connect(
            "/v2/iex",
            &[
                ("APCA-API-KEY-ID", "PKDEMO"),
                ("APCA-API-SECRET-KEY", "demo"),
            ],
        )
        .await;
    client
        .hears(json!([{"T": "success", "msg": "connected"}]))
        .await;
    client
        .hears(json!([{"T": "success", "msg": "authenticated"}]))
        .await;
    client
        .say(json!({"action": "auth", "key": "PKDEMO", "secret": "demo"}))
        .await;
    client.is_refused(403, "already authenticated").await;
}

#[tokio::test]
async fn wrong_keys_end_the_connection() {
    let server = serve().await;
    let mut client = server.connect("/v2/iex", &[]).await;
    client.hear().await;
    client
        .say(json!({"action": "auth", "key": "PKDEMO", "secret": "wrong"}))
        .await;
    client.is_cut_off(402, "auth failed").await;
    let mut client = server
        .connect(
            "/v2/iex",
            &[("APCA-API-KEY-ID", "AK"), ("APCA-API-SECRET-KEY", "demo")],
        )
        .await;
    client.hear().await;
    client.is_cut_off(402, "auth failed").await;
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_the_connection_lives_on() {
    let server = serve().await;
    let mut client = server.connect("/v2/iex/", &[]).await;
    client.hear().await;
    client
        .say(json!({"action": "subscribe", "trades": ["SPY"]}))
        .await;
    client.is_refused(401, "not authenticated").await;
    client
        .say(json!({"action": "auth", "key": "PKDEMO", "secret": "demo"}))
        .await;
    client.hear().await;
    for nonsense in [
        "{",
        "[]",
        "7",
        "{\"action\":\"dance\"}",
        "{\"action\":\"subscribe\"}",
        "{\"action\":\"subscribe\",\"trades\":\"SPY\"}",
        "{\"action\":\"subscribe\",\"trades\":[7]}",
        "{\"action\":\"subscribe\",\"prices\":[\"SPY\"]}",
        "{\"action\":\"subscribe\",\"trades\":[\"A B\"]}",
    ] {
        client.socket.send(Message::text(nonsense)).await.unwrap();
        client.is_refused(400, "invalid syntax").await;
    }
    client
        .say(json!({"action": "subscribe", "news": ["*"]}))
        .await;
    client
        .is_refused(410, "invalid subscribe action for this feed")
        .await;
    client
        .say(json!({"action": "subscribe", "trades": ["SPY"]}))
        .await;
    assert_eq!(client.hear().await[0]["trades"], json!(["SPY"]));
}

#[tokio::test]
async fn a_client_that_never_authenticates_is_sent_away() {
    let settings = Settings {
        auth_timeout: Duration::from_millis(20),
        ..Settings::default()
    };
    let server = serve_with(settings, QUEUE_BYTES).await;
    let mut client = server.connect("/v2/iex", &[]).await;
    client.hear().await;
    client.is_cut_off(404, "auth timeout").await;
}

#[tokio::test]
async fn a_second_connection_of_a_key_is_refused_when_there_is_a_limit() {
    let settings = Settings {
        connections_per_key: 1,
        ..Settings::default()
    };
    let server = serve_with(settings, QUEUE_BYTES).await;
    let first = server
        .subscriber(json!({"action": "subscribe", "bars": ["SPY"]}))
        .await;
    let keys = [
        ("APCA-API-KEY-ID", "PKDEMO"),
        ("APCA-API-SECRET-KEY", "demo"),
    ];
    let mut second = server.connect("/v2/iex", &keys).await;
    second.hear().await;
    second.is_cut_off(406, "connection limit exceeded").await;
    drop(first);
    // The place is free again as soon as the server has noticed.
    tokio::time::timeout(LIMIT, async {
        loop {
            let mut third = server.connect("/v2/iex", &keys).await;
            third.hear().await;
            if third.hear().await[0]["msg"] == "authenticated" {
                break;
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn too_many_symbols_are_refused_when_there_is_a_limit() {
    let settings = Settings {
        symbols_per_connection: 2,
        ..Settings::default()
    };
    let server = serve_with(settings, QUEUE_BYTES).await;
    let mut client = server
        .subscriber(json!({"action": "subscribe", "bars": ["SPY"], "trades": ["IBM"]}))
        .await;
    client
        .say(json!({"action": "subscribe", "quotes": ["BAC"]}))
        .await;
    client.is_refused(405, "symbol limit exceeded").await;
}

#[tokio::test]
async fn a_feed_outside_the_plan_is_refused() {
    let server = serve().await;
    let mut client = server.connect("/v2/boats", &[]).await;
    client.hear().await;
    client
        .say(json!({"action": "auth", "key": "PKDEMO", "secret": "demo"}))
        .await;
    client.is_cut_off(409, "insufficient subscription").await;
}

#[tokio::test]
async fn a_slow_client_is_cut_off_and_the_others_are_not() {
    let mut server = serve_with(Settings::default(), 512 * 1024).await;
    let mut slow = server
        .subscriber(json!({"action": "subscribe", "trades": ["*"], "quotes": ["*"]}))
        .await;
    let mut modest = server
        .subscriber(json!({"action": "subscribe", "bars": ["SPY"]}))
        .await;
    // Hours of ticks at once are more than may wait.
    server.play("2013-10-07T16:00:00Z");
    let mut last = slow.hear().await;
    loop {
        match slow.hear().await {
            Value::Null => break,
            message => last = message,
        }
    }
    assert_eq!(
        last,
        json!([{"T": "error", "code": 407, "msg": "slow client"}])
    );
    assert!(modest.hear().await.as_array().unwrap().len() > 100);
    assert_eq!(server.market.hub.client_count(), 1);
}

#[tokio::test]
async fn a_client_that_reads_nothing_at_all_does_not_stay() {
    let settings = Settings {
        send_timeout: Duration::from_millis(100),
        ..Settings::default()
    };
    let mut server = serve_with(settings, usize::MAX / 2).await;
    let deaf = server
        .subscriber(json!({"action": "subscribe", "trades": ["*"], "quotes": ["*"]}))
        .await;
    server.play("2013-10-08T20:00:00Z");
    tokio::time::timeout(LIMIT, async {
        while server.market.hub.client_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    drop(deaf);
}

#[tokio::test]
async fn a_shutdown_says_goodbye() {
    let server = serve().await;
    let mut client = server
        .subscriber(json!({"action": "subscribe", "bars": ["SPY"]}))
        .await;
    server.market.shutdown.cancel();
    client.hears(Value::Null).await;
}
