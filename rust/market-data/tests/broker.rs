//! The service between a broker's websocket and a reader of the bus.

use std::time::Duration;

use common::bus::{BusConfig, Subscriber};
use common::messages::{MARKET, Message, parse};
use common::service::{Failure, Handle, settings_from_json};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

const LIMIT: Duration = Duration::from_secs(30);

/// One end of a conversation, as the broker holds it.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = within(listener.accept()).await.unwrap();
        let mut peer = Self(
            within(tokio_tungstenite::accept_async(stream))
                .await
                .unwrap(),
        );
        peer.say(json!([{"T": "success", "msg": "connected"}]))
            .await;
        peer
    }

    async fn say(&mut self, entries: Value) {
        let packed = rmp_serde::to_vec_named(&entries).unwrap();
        within(self.0.send(Frame::Binary(packed.into())))
            .await
            .unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            match within(self.0.next()).await.unwrap().unwrap() {
                Frame::Binary(bytes) => return rmp_serde::from_slice(&bytes).unwrap(),
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Authenticate and subscribe; answers the subscription asked for.
    async fn welcome(&mut self) -> Value {
        let auth = self.hear().await;
        assert_eq!(
            auth,
            json!({"action": "auth", "key": "PKTEST", "secret": "hush"})
        );
        self.say(json!([{"T": "success", "msg": "authenticated"}]))
            .await;
        let wanted = self.hear().await;
        self.say(json!([{"T": "subscription", "bars": wanted["bars"]}]))
            .await;
        wanted
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

fn settings(listener: &TcpListener, stale_after_s: f64) -> market_data::Settings {
    let url = format!("ws://{}/v2/iex", listener.local_addr().unwrap());
    let settings = json!({
        "stream_url": url, "key_id": "PKTEST", "secret_key": "hush", "symbols": ["IBM", "SPY"],
        "market_port": 0, "health_port": 0, "heartbeat_s": 0.05, "stale_after_s": stale_after_s,
    });
    settings_from_json("market-data", &settings.to_string()).unwrap()
}

async fn start(settings: market_data::Settings) -> Handle {
    let start = || {
        Handle::start("market-data", LIMIT, |context| {
            market_data::run(settings, context)
        })
    };
    tokio::task::block_in_place(start).unwrap()
}

async fn subscriber(service: &Handle) -> Subscriber {
    let url = format!("tcp://127.0.0.1:{}", service.ports()["market"]);
    let mut subscriber = Subscriber::connect(&url, &[MARKET], &BusConfig::default())
        .await
        .unwrap();
    // A heartbeat says that the subscription has arrived.
    within(subscriber.recv()).await.unwrap();
    subscriber
}

async fn next_of(subscriber: &mut Subscriber, kind: &str) -> (u64, Message) {
    loop {
        let frame = within(subscriber.recv()).await.unwrap();
        let received = parse(frame.bytes()).unwrap();
        if received.message.kind() == kind {
            return (received.seq, received.message);
        }
    }
}

fn stop(service: &Handle) -> Option<Failure> {
    tokio::task::block_in_place(|| service.stop(LIMIT)).unwrap();
    service.failure()
}

const TIME: &str = "2013-01-02T14:30:00.25Z";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_streams_comes_out_on_the_bus() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = start(settings(&listener, 5.0)).await;
    let mut broker = Peer::accept(&listener).await;
    let wanted = broker.welcome().await;
    assert_eq!(wanted["action"], "subscribe");
    for channel in ["bars", "quotes", "trades"] {
        assert_eq!(wanted[channel], json!(["IBM", "SPY"]), "{channel}");
    }
    let mut subscriber = subscriber(&service).await;
    broker
        .say(json!([
            {"T": "q", "S": "IBM", "bp": 195.05, "bs": 2, "ap": 195.07, "as": 1, "c": ["R"], "t": TIME},
            {"T": "b", "S": "IBM", "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 10, "t": TIME},
        ]))
        .await;
    let (first, quote) = next_of(&mut subscriber, "QuoteUpdate").await;
    let Message::QuoteUpdate(quote) = quote else {
        panic!("{quote:?}")
    };
    assert_eq!((quote.bid_price, quote.ask_size), (195.05, 1.0));
    assert_eq!(quote.timestamp, 1_357_137_000_250_000_000);
    let (second, bar) = next_of(&mut subscriber, "BarUpdate").await;
    let Message::BarUpdate(bar) = bar else {
        panic!("{bar:?}")
    };
    assert_eq!((bar.close, bar.source.as_str()), (1.5, "iex"));
    assert!(second > first);
    assert_eq!(stop(&service), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_end_it_with_words_that_help() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = start(settings(&listener, 5.0)).await;
    let mut broker = Peer::accept(&listener).await;
    broker.hear().await;
    broker
        .say(json!([{"T": "error", "code": 402, "msg": "auth failed"}]))
        .await;
    assert!(tokio::task::block_in_place(|| service.wait(LIMIT)));
    let failure = service.failure().unwrap();
    assert_eq!(failure.exit_code, 78);
    assert!(
        failure.message.contains("402") && failure.message.contains("ALPACA_API_KEY"),
        "{failure}"
    );
    assert!(!failure.message.contains("hush"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_or_away_is_left_and_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = start(settings(&listener, 0.05)).await;
    let mut silent = Peer::accept(&listener).await;
    silent.welcome().await;
    // Not read any more, so its pongs don't come either: the service must come back by itself.
    let mut second = Peer::accept(&listener).await;
    second.welcome().await;
    drop(second);
    let mut third = Peer::accept(&listener).await;
    third.welcome().await;
    let mut subscriber = subscriber(&service).await;
    third
        .say(json!([{"T": "t", "S": "IBM", "p": 1.5, "s": 1, "t": TIME}]))
        .await;
    next_of(&mut subscriber, "TradeUpdate").await;
    assert_eq!(stop(&service), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_symbols_can_be_changed_while_it_runs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = start(settings(&listener, 5.0)).await;
    let mut broker = Peer::accept(&listener).await;
    broker.welcome().await;
    let call = |command: Value| tokio::task::block_in_place(|| service.call(command, LIMIT));
    assert_eq!(
        call(json!({"symbols": ["BAC"]})).unwrap(),
        json!({"symbols": ["BAC"]})
    );
    assert_eq!(broker.hear().await["action"], "unsubscribe");
    assert_eq!(broker.hear().await["trades"], json!(["BAC"]));
    assert!(
        call(json!({"symbols": ["bac"]}))
            .unwrap_err()
            .message
            .contains("\"bac\"")
    );
    assert!(call(json!({"paint": 1})).is_err());
    assert_eq!(stop(&service), None);
}
