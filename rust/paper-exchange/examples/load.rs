//! The exchange under load over loopback, beside a bare HTTP server under the same load:
//! `cargo run --release -p paper-exchange --example load`.
//!
//! Prints one line of JSON. Eight clients, each on one keep-alive connection, wait for each answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::service::Handle;
use futures_util::{SinkExt, StreamExt};
use paper_exchange::Settings;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const CLIENTS: usize = 8;
const SECONDS: u64 = 5;
const LIMIT: Duration = Duration::from_secs(20);

fn exchange(change: impl FnOnce(&mut Settings)) -> Handle {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../console/sample");
    let mut settings = Settings {
        port: 0,
        data_dir: data,
        start: Some("2013-10-07T14:00:00Z".to_owned()),
        ..Settings::default()
    };
    change(&mut settings);
    Handle::start("paper-exchange", LIMIT, |context| {
        paper_exchange::run(settings, context)
    })
    .expect("the exchange starts")
}

fn port(exchange: &Handle) -> u16 {
    exchange.ports()[paper_exchange::PORT]
}

/// A request of one client, by its number and the request's.
fn order(client: usize, number: u64) -> String {
    let body = json!({
        "symbol": "IBM", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1.00",
        "time_in_force": "day", "client_order_id": format!("{client}-{number}"),
    });
    request("POST", "/v2/orders", client, &body.to_string())
}

fn request(method: &str, path: &str, client: usize, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAPCA-API-KEY-ID: PKLOAD{client}\r\n\
         APCA-API-SECRET-KEY: s\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
        stream.set_nodelay(true).expect("a setting");
        stream.set_read_timeout(Some(LIMIT)).expect("a setting");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, reader }
    }

    /// The status of the answer, which is read to its end.
    fn ask(&mut self, request: &str) -> u16 {
        self.stream.write_all(request.as_bytes()).expect("sends");
        let (mut status, mut length) = (0, 0);
        let mut line = String::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("answers");
            let text = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some(rest) = text.strip_prefix("content-length: ") {
                length = rest.parse().expect("a length");
            } else if text.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("a body");
        status
    }
}

/// Requests a second of all clients together, and latencies in milliseconds.
fn load(port: u16, make: fn(usize, u64) -> String) -> Value {
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut connection = Connection::new(port);
                let mut times = Vec::new();
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    let request = make(client, number);
                    number += 1;
                    let begun = Instant::now();
                    assert_eq!(connection.ask(&request), 200);
                    times.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
                times
            })
        })
        .collect();
    let begun = Instant::now();
    thread::sleep(Duration::from_secs(SECONDS));
    over.store(true, Ordering::Relaxed);
    let mut times: Vec<f64> = clients
        .into_iter()
        .flat_map(|client| client.join().expect("ends"))
        .collect();
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    json!({ "rate": rate.round(), "p50_ms": at(0.5), "p99_ms": at(0.99) })
}

/// Latencies of one client that sends an order every two milliseconds, in milliseconds.
fn alone(port: u16, make: fn(usize, u64) -> String) -> Value {
    let mut connection = Connection::new(port);
    let mut times: Vec<f64> = (0..1500)
        .map(|number| {
            thread::sleep(Duration::from_millis(2));
            let request = make(CLIENTS, number);
            let begun = Instant::now();
            assert_eq!(connection.ask(&request), 200);
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    json!({ "p50_ms": at(0.5), "p99_ms": at(0.99) })
}

/// A server that answers each POST with an answer of an order's size.
fn echo() -> u16 {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let answer = "x".repeat(1100);
            let post = axum::routing::post(move |body: bytes::Bytes| {
                let answer = answer.clone();
                async move {
                    let _: Value = serde_json::from_slice(&body).expect("JSON");
                    ([("content-type", "application/json")], answer)
                }
            });
            let app = axum::Router::new().route("/v2/orders", post);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            sender
                .send(listener.local_addr().expect("bound").port())
                .expect("told");
            axum::serve(listener, app).await.expect("serves");
        });
    });
    receiver.recv().expect("the peer starts")
}

/// Subscribes to everything and counts messages until told to stop.
async fn listen(port: u16, messages: Arc<AtomicU64>, over: Arc<AtomicBool>) {
    let url = format!("ws://127.0.0.1:{port}/v2/iex");
    let (mut socket, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("connects");
    for request in [
        json!({"action": "auth", "key": "PKLOAD", "secret": "s"}),
        json!({"action": "subscribe", "trades": ["*"], "quotes": ["*"], "bars": ["*"]}),
    ] {
        socket
            .send(Message::text(request.to_string()))
            .await
            .expect("sends");
    }
    while !over.load(Ordering::Relaxed) {
        match tokio::time::timeout(Duration::from_millis(200), socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => {
                let count = text.as_str().matches("\"T\":").count() as u64;
                messages.fetch_add(count, Ordering::Relaxed);
            }
            Ok(Some(Ok(_))) | Err(_) => {}
            Ok(other) => panic!("the exchange ended the stream: {other:?}"),
        }
    }
}

fn memory_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / 1e6
}

/// Market seconds of a session's first part at 1000×, eight clients listening to everything.
fn replay() -> Value {
    let exchange = exchange(|settings| {
        settings.speed = 1000.0;
        settings.paused = true;
        settings.close_pause_s = 0.0;
    });
    let (messages, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listeners: Vec<_> = (0..CLIENTS)
        .map(|_| {
            runtime.spawn(listen(
                port(&exchange),
                Arc::clone(&messages),
                Arc::clone(&over),
            ))
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let market = |answer: &Value| {
        let text = answer["market_time"].as_str().expect("a time").to_owned();
        chrono::DateTime::parse_from_rfc3339(&text)
            .expect("RFC 3339")
            .timestamp_millis()
    };
    let ask = |command: Value| exchange.call(command, LIMIT).expect("obeys");
    let from = market(&ask(json!({"pause": false})));
    let begun = Instant::now();
    thread::sleep(Duration::from_secs(10));
    let to = market(&ask(json!({"pause": true})));
    let real = begun.elapsed().as_millis() as i64;
    over.store(true, Ordering::Relaxed);
    for listener in listeners {
        runtime.block_on(listener).expect("was never cut off");
    }
    exchange.stop(LIMIT).expect("stops");
    json!({
        "market_s_a_s": (to - from) as f64 / real as f64,
        "messages_a_s": (messages.load(Ordering::Relaxed) as f64 / real as f64 * 1000.0).round(),
    })
}

/// Memory after each of ten replayed days, with an account that trades.
fn days() -> Value {
    let exchange = exchange(|settings| {
        settings.speed = 1000.0;
        settings.paused = true;
        settings.close_pause_s = 0.0;
    });
    let mut connection = Connection::new(port(&exchange));
    let step = |seconds: f64| {
        exchange
            .call(json!({ "step_s": seconds }), LIMIT)
            .expect("steps");
    };
    let mut memory = Vec::new();
    for day in 0..10u64 {
        for number in 0..50 {
            assert_eq!(connection.ask(&order(0, day * 1000 + number)), 200);
        }
        step(86_400.0);
        step(60.0);
        step(60.0);
        memory.push(memory_mb().round());
    }
    exchange.stop(LIMIT).expect("stops");
    json!(memory)
}

fn main() {
    let state = std::env::temp_dir().join(format!("paper-exchange-load-{}", std::process::id()));
    let peer = echo();
    let mut figures = json!({ "memory_mb_by_day": days(), "replay_1000x": replay() });
    for (name, keeps) in [("orders kept on disk", true), ("orders in memory", false)] {
        let running = exchange(|settings| {
            settings.state_dir = keeps.then(|| state.clone());
        });
        figures[name] = load(port(&running), order);
        running.stop(LIMIT).expect("stops");
        let running = exchange(|settings| {
            settings.state_dir = keeps.then(|| state.join("alone"));
        });
        figures[format!("{name}, one client")] = alone(port(&running), order);
        running.stop(LIMIT).expect("stops");
    }
    figures["bare axum"] = load(peer, order);
    figures["bare axum, one client"] = alone(peer, order);
    let _ = std::fs::remove_dir_all(state);
    println!("{figures}");
}
