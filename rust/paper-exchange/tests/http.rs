//! The exchange as a process, over real sockets: what a client that is no library sees.

#[path = "support/process.rs"]
mod process;

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use process::{LIMIT, Running};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("paper-exchange-http-{}", uuid::Uuid::new_v4()))
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = folder();
    let state = folder.to_str().expect("a path").to_owned();
    let arguments = [
        "--state-dir",
        &state,
        "--start",
        "2013-10-07T14:00:00Z",
        "--paused",
    ];
    let mut orders = Vec::new();
    for round in 0..4 {
        let exchange = Running::start(&arguments);
        for number in 0..5 {
            let (status, order) = exchange.buy(3, &format!("{round}-{number}"));
            assert_eq!(status, 200, "{order}");
            orders.push(order["id"].clone());
        }
        exchange.kill();
    }
    let exchange = Running::start(&arguments);
    for id in &orders {
        let (status, order) = exchange.ask(
            "GET",
            &format!("/v2/orders/{}", id.as_str().expect("an id")),
            "",
        );
        assert_eq!((status, &order["id"]), (200, id));
    }
    assert_eq!(
        exchange.buy(1, "0-0").0,
        422,
        "client order ids are used for ever"
    );
    let (_, positions) = exchange.ask("GET", "/v2/positions", "");
    let (_, fills) = exchange.ask("GET", "/v2/account/activities/FILL", "");
    let filled: u64 = fills
        .as_array()
        .expect("a list")
        .iter()
        .map(|fill| {
            fill["qty"]
                .as_str()
                .and_then(|qty| qty.parse::<u64>().ok())
                .expect("a quantity")
        })
        .sum();
    assert_eq!(positions[0]["qty"], filled.to_string());
    let mut ids = orders.clone();
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), orders.len(), "no id is given twice");
    exchange.kill();
    std::fs::remove_dir_all(folder).expect("goes");
}

#[test]
fn two_exchanges_dont_share_a_state_and_a_reset_begins_anew() {
    let folder = folder();
    let state = folder.to_str().expect("a path").to_owned();
    let exchange = Running::start(&["--state-dir", &state, "--start", "2013-10-07T14:00:00Z"]);
    assert_eq!(exchange.buy(3, "one").0, 200);
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../console/sample");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_paper-exchange"))
            .args(arguments)
            .output()
            .expect("runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).lines().count(),
        )
    };
    assert_eq!(
        run(&["--data", data, "--port", "0", "--state-dir", &state]),
        (Some(78), 1)
    );
    assert_eq!(
        run(&["reset", "--state-dir", &state]),
        (Some(78), 1),
        "not while it runs"
    );
    assert_eq!(run(&["--data", "/nowhere", "--port", "0"]), (Some(78), 1));
    let port = exchange.port.to_string();
    assert_eq!(
        run(&["--data", data, "--port", &port]),
        (Some(78), 1),
        "the port is taken"
    );
    exchange.kill();
    assert_eq!(run(&["reset", "--state-dir", &state]), (Some(0), 0));
    let exchange = Running::start(&["--state-dir", &state]);
    assert_eq!(
        exchange.ask("GET", "/v2/orders?status=all", "").1,
        json!([])
    );
    exchange.kill();
    std::fs::remove_dir_all(Path::new(&state)).expect("goes");
}

#[test]
fn whatever_is_sent_is_answered_in_json() {
    let exchange = Running::start(&["--paused"]);
    let order = |body: &str| exchange.ask("POST", "/v2/orders", body);
    for (name, body, status, code) in [
        ("nothing", "", 400, 40_010_000),
        ("no JSON", "symbol=IBM", 400, 40_010_000),
        ("a list", "[]", 400, 40_010_000),
        ("an empty object", "{}", 422, 40_010_001),
        (
            "a wrong type",
            r#"{"symbol":1,"qty":1,"side":"buy","type":"market","time_in_force":"day"}"#,
            422,
            40_010_001,
        ),
        (
            "a wrong word",
            r#"{"symbol":"IBM","qty":1,"side":"hold","type":"market","time_in_force":"day"}"#,
            422,
            40_010_001,
        ),
        (
            "no number",
            r#"{"symbol":"IBM","qty":"ten","side":"buy","type":"market","time_in_force":"day"}"#,
            422,
            40_010_001,
        ),
    ] {
        let (got, body) = order(body);
        assert_eq!(
            (got, &body["code"]),
            (status, &json!(code)),
            "{name}: {body}"
        );
        assert!(body["message"].is_string(), "{name}");
    }
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/v2/nothing"),
        ("GET", "/v1/account"),
        ("PUT", "/v2/orders"),
        ("POST", "/v2/account"),
        ("GET", "/v2/positions/NOPE"),
        ("GET", "/v2/assets/NOPE"),
        ("GET", "/v2/orders/nonsense"),
        ("DELETE", "/v2/orders/61e69015-8549-4bfd-b9c3-01e75843f47d"),
    ] {
        let (status, body) = exchange.ask(method, path, "");
        assert_eq!(
            (status, &body["code"]),
            (404, &json!(40_410_000)),
            "{method} {path}: {body}"
        );
    }
    for path in [
        "/v2/orders?limit=0",
        "/v2/orders?status=x",
        "/v2/orders?after=x",
        "/v2/account/activities?page_size=101",
    ] {
        assert_eq!(exchange.ask("GET", path, "").0, 422, "{path}");
    }
    let large = "x".repeat(10 << 20);
    let (status, body) = order(&large);
    assert_eq!((status, &body["code"]), (413, &json!(41_310_000)));
    let headers: String = (0..1000)
        .map(|number| format!("X-{number}: 1\r\n"))
        .collect();
    let (status, _, body) = exchange
        .raw(format!("GET /v2/account HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").as_bytes());
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["code"]), (431, &json!(43_110_000)));
    assert_eq!(
        exchange.ask("GET", "/v2/account", "").0,
        200,
        "and it goes on"
    );
}

#[test]
fn credentials_are_asked_for_everywhere() {
    let exchange = Running::start(&["--paused"]);
    for path in [
        "/v2/account",
        "/v2/clock",
        "/v2/orders",
        "/v2/assets",
        "/v2/stocks/bars?symbols=IBM&timeframe=1Min",
    ] {
        let bare = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (status, _, body) = exchange.raw(bare.as_bytes());
        assert_eq!(status, 401, "{path}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            body.as_object().map(|body| body.keys().collect::<Vec<_>>()),
            Some(vec![&"message".to_owned()])
        );
        assert_eq!(exchange.ask_as("AKLIVE", "GET", path, "").0, 403, "{path}");
        assert_eq!(exchange.ask_as("PKHTTP", "GET", path, "").0, 200, "{path}");
    }
}

#[test]
fn a_key_over_its_limit_is_told_so() {
    let exchange = Running::start(&["--paused", "--rate-limit", "3"]);
    let deadline = Instant::now() + LIMIT;
    let mut left = Vec::new();
    while Instant::now() < deadline {
        let (status, head, body) = exchange.ask_as("PKBUSY", "GET", "/v2/clock", "");
        assert!(
            head.contains("x-ratelimit-limit: 3") && head.contains("x-ratelimit-reset: "),
            "{head}"
        );
        if status == 429 {
            assert_eq!(body["code"], 42_910_000);
            assert!(head.contains("x-ratelimit-remaining: 0"));
            break;
        }
        left.push(status);
    }
    assert!((3..=6).contains(&left.len()), "{left:?}");
    assert_eq!(exchange.ask_as("PKCALM", "GET", "/v2/clock", "").0, 200);
}

#[test]
fn the_clock_obeys_when_control_is_on() {
    let exchange = Running::start(&["--paused"]);
    let time = |(status, body): (u16, Value)| {
        assert_eq!(status, 200, "{body}");
        body["market_time"].as_str().expect("a time").to_owned()
    };
    assert_eq!(
        time(exchange.ask("GET", "/_exchange/clock", "")),
        "2013-10-07T13:29:30Z"
    );
    assert_eq!(
        time(exchange.ask("POST", "/_exchange/step", r#"{"step_s":60}"#)),
        "2013-10-07T13:30:30Z"
    );
    let sought = exchange.ask(
        "POST",
        "/_exchange/seek",
        r#"{"seek":"2013-10-07T15:00:00Z"}"#,
    );
    assert_eq!(time(sought), "2013-10-07T15:00:00Z");
    assert_eq!(
        exchange
            .ask(
                "POST",
                "/_exchange/seek",
                r#"{"seek":"2013-10-07T14:00:00Z"}"#
            )
            .0,
        422
    );
    assert_eq!(
        exchange.ask("POST", "/_exchange/speed", r#"{"speed":0}"#).0,
        422
    );
    assert_eq!(
        exchange.ask("POST", "/_exchange/resume", "").1["paused"],
        false
    );
    assert_eq!(
        exchange.ask("POST", "/_exchange/pause", "").1["paused"],
        true
    );
}

#[test]
fn faults_hit_the_requests_that_they_are_meant_for() {
    let exchange = Running::start(&["--start", "2013-10-07T14:00:00Z", "--paused"]);
    let fault = |fault: Value| {
        let plan = json!({ "requests": [fault] }).to_string();
        assert_eq!(exchange.ask("POST", "/_exchange/faults", &plan).0, 200);
    };
    let exists = |id: &str| {
        let path = format!("/v2/orders:by_client_order_id?client_order_id={id}");
        exchange.ask("GET", &path, "").0 == 200
    };
    fault(json!({ "method": "POST", "path": "/v2/orders", "status": 504, "after": true }));
    assert_eq!(
        exchange.ask("GET", "/v2/orders", "").0,
        200,
        "another method"
    );
    assert_eq!(exchange.buy(1, "accepted").0, 504);
    assert!(exists("accepted"), "only its answer was lost");
    fault(json!({ "path": "/v2/orders", "status": 500, "count": 2 }));
    assert_eq!(
        [exchange.buy(1, "lost").0, exchange.buy(1, "lost").0],
        [500, 500]
    );
    assert!(!exists("lost"));
    fault(json!({ "path": "/v2/orders", "cut": true }));
    let (status, body) = exchange.buy(1, "cut");
    assert_eq!(
        (status, body),
        (200, Value::Null),
        "half of the answer is no JSON"
    );
    assert!(exists("cut"));
    for wrong in [
        r#"{"requests":[{"status":200}]}"#,
        r#"{"requests":[{"count":0}]}"#,
        r#"{"nonsense":1}"#,
    ] {
        assert_eq!(
            exchange.ask("POST", "/_exchange/faults", wrong).0,
            422,
            "{wrong}"
        );
    }
    fault(json!({ "status": 503, "count": 1000 }));
    assert_eq!(exchange.ask("GET", "/v2/clock", "").0, 503);
    assert_eq!(exchange.ask("DELETE", "/_exchange/faults", "").0, 200);
    assert_eq!(exchange.ask("GET", "/v2/clock", "").0, 200);
}

#[test]
fn a_signal_ends_it_soon_whatever_clients_are_doing() {
    let folder = folder();
    let state = folder.to_str().expect("a path").to_owned();
    let mut exchange = Running::start(&["--state-dir", &state, "--start", "2013-10-07T14:00:00Z"]);
    assert_eq!(exchange.buy(1, "kept").0, 200);
    let mut idle = TcpStream::connect(("127.0.0.1", exchange.port)).expect("connects");
    idle.write_all(b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        .expect("sends half");
    let begun = Instant::now();
    assert_eq!(exchange.terminate(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let again = Running::start(&["--state-dir", &state]);
    assert_eq!(again.buy(1, "kept").0, 422, "it is remembered");
    again.kill();
    std::fs::remove_dir_all(folder).expect("goes");
}
