//! `trade_updates` over a real websocket.

#[path = "support/process.rs"]
mod process;

use futures_util::{SinkExt, StreamExt};
use process::{LIMIT, Running};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(exchange: &Running, path: &str) -> Self {
        let url = format!("ws://127.0.0.1:{}{path}", exchange.port);
        Self(
            tokio_tungstenite::connect_async(url)
                .await
                .expect("connects")
                .0,
        )
    }

    async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .expect("sends");
    }

    /// The next message; None when the other side has ended the connection.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            match timeout(LIMIT, self.0.next()).await.expect("in time") {
                Some(Ok(Message::Binary(bytes))) => return serde_json::from_slice(&bytes).ok(),
                Some(Ok(Message::Text(text))) => panic!("a text frame: {text}"),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn listening(exchange: &Running, path: &str) -> Self {
        let mut client = Self::connect(exchange, path).await;
        client
            .say(json!({"action": "authenticate", "data": {"key_id": "PKHTTP", "secret_key": "s"}}))
            .await;
        let answer = client.hear().await.expect("an answer");
        assert_eq!(
            answer,
            json!({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}})
        );
        client
            .say(json!({"action": "listen", "data": {"streams": ["trade_updates", "other"]}}))
            .await;
        let answer = client.hear().await.expect("an answer");
        assert_eq!(
            answer,
            json!({"stream": "listening", "data": {"streams": ["trade_updates"]}})
        );
        client
    }

    async fn event(&mut self) -> String {
        let update = self.hear().await.expect("an update");
        assert_eq!(update["stream"], "trade_updates");
        update["data"]["event"]
            .as_str()
            .expect("an event")
            .to_owned()
    }

    async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.event().await);
        }
        events
    }
}

fn open() -> Running {
    Running::start(&[
        "--start",
        "2013-10-07T14:00:00Z",
        "--paused",
        "--no-partial-fills",
    ])
}

#[tokio::test]
async fn an_order_is_told_step_by_step_in_binary_frames() {
    let exchange = open();
    for path in ["/stream", "/stream/"] {
        let mut client = Client::listening(&exchange, path).await;
        assert_eq!(exchange.buy(10, path).0, 200);
        assert_eq!(client.events(2).await, ["pending_new", "new"]);
        let fill = client.hear().await.expect("the fill");
        assert_eq!(fill["data"]["event"], "fill");
        assert_eq!(fill["data"]["qty"], "10");
        assert_eq!(fill["data"]["order"]["status"], "filled");
        assert_eq!(fill["data"]["order"]["client_order_id"], path);
        for field in ["execution_id", "timestamp", "price", "position_qty"] {
            assert!(fill["data"][field].is_string(), "{field}");
        }
    }
}

#[tokio::test]
async fn another_account_hears_nothing_of_it() {
    let exchange = open();
    let mut mine = Client::listening(&exchange, "/stream").await;
    let mut other = Client::connect(&exchange, "/stream").await;
    other
        .say(json!({"action": "auth", "key": "PKOTHER", "secret": "x"}))
        .await;
    assert_eq!(
        other.hear().await.expect("an answer")["data"]["status"],
        "authorized"
    );
    other
        .say(json!({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        .await;
    other.hear().await.expect("listening");
    assert_eq!(exchange.buy(1, "mine").0, 200);
    assert_eq!(mine.events(3).await, ["pending_new", "new", "fill"]);
    // Its own echo is the next that it hears: nothing was before it.
    other
        .say(json!({"action": "listen", "data": {"streams": []}}))
        .await;
    assert_eq!(
        other.hear().await.expect("an answer")["stream"],
        "listening"
    );
}

#[tokio::test]
async fn who_is_not_authorized_is_told_and_sent_away() {
    let exchange = open();
    assert_eq!(exchange.ask("GET", "/v2/account", "").0, 200);
    let mut client = Client::connect(&exchange, "/stream").await;
    client
        .say(json!({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        .await;
    assert_eq!(
        client.hear().await.expect("an answer")["data"]["status"],
        "unauthorized"
    );
    client
        .say(json!({"action": "authenticate", "data": {"key_id": "PKHTTP", "secret_key": "wrong"}}))
        .await;
    assert_eq!(
        client.hear().await.expect("an answer")["data"]["status"],
        "unauthorized"
    );
    assert_eq!(client.hear().await, None);
}

#[tokio::test]
async fn updates_are_lost_doubled_and_swapped_on_request() {
    let exchange = open();
    let mut client = Client::listening(&exchange, "/stream").await;
    let faults = |plan: Value| {
        assert_eq!(
            exchange
                .ask("POST", "/_exchange/faults", &plan.to_string())
                .0,
            200
        );
    };
    faults(json!({"drop_updates": 1}));
    exchange.buy(1, "dropped");
    assert_eq!(client.events(2).await, ["new", "fill"]);
    faults(json!({"updates": "duplicate"}));
    exchange.buy(1, "doubled");
    assert_eq!(
        client.events(6).await,
        ["pending_new", "pending_new", "new", "new", "fill", "fill"]
    );
    faults(json!({"updates": "reorder"}));
    exchange.buy(1, "swapped");
    assert_eq!(client.events(2).await, ["new", "pending_new"]);
    faults(json!({"updates": "none"}));
    exchange.buy(1, "whole");
    assert_eq!(
        client.events(4).await,
        ["pending_new", "fill", "new", "fill"]
    );
    faults(json!({"disconnect": true}));
    assert_eq!(client.hear().await, None);
}
