use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn vectors() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/bus_messages.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).expect("the vectors are there"))
        .expect("the vectors are JSON")
}

fn bytes(vector: &Value) -> Vec<u8> {
    match vector.get("frame_hex").and_then(Value::as_str) {
        Some(hex) => (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect(),
        None => vector["frame"]
            .as_str()
            .expect("a frame")
            .as_bytes()
            .to_vec(),
    }
}

fn bar() -> BarUpdate {
    BarUpdate {
        symbol: "AAPL".to_owned(),
        open: 150.0,
        high: 152.0,
        low: 149.0,
        close: 151.0,
        volume: 1e6,
        timestamp: 1_234_567_890,
        trade_count: None,
        vwap: None,
        timeframe: one_minute(),
        source: String::new(),
    }
}

#[test]
fn every_valid_vector_is_read_as_it_says() {
    let vectors = vectors();
    let valid = vectors["valid"].as_array().expect("a list");
    assert!(valid.len() >= 20);
    for vector in valid {
        let name = &vector["name"];
        let frame = bytes(vector);
        let received = parse(&frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(received.topic, vector["topic"], "{name}");
        let mut seen = serde_json::to_value(&received.message).unwrap();
        if received.seq != 0 {
            seen["seq"] = json!(received.seq);
        }
        if received.ts != 0 {
            seen["ts"] = json!(received.ts);
        }
        for (key, value) in vector["message"].as_object().expect("an object") {
            match (value, &seen[key]) {
                (Value::Number(want), Value::Number(got)) => {
                    assert_eq!(want.as_f64(), got.as_f64(), "{name}: {key}");
                }
                (Value::Null, got) => assert!(got.is_null(), "{name}: {key}"),
                (want, got) => assert_eq!(want, got, "{name}: {key}"),
            }
        }
    }
}

#[test]
fn every_invalid_vector_is_refused() {
    let vectors = vectors();
    let invalid = vectors["invalid"].as_array().expect("a list");
    assert!(invalid.len() >= 30);
    for vector in invalid {
        let frame = bytes(vector);
        let read = parse(&frame);
        assert!(read.is_err(), "{}: {read:?}", vector["name"]);
    }
}

#[test]
fn a_frame_comes_back_as_it_was_sent() {
    let sent = Message::BarUpdate(bar());
    let frame = sent.frame(MARKET, 7, 9).unwrap();
    assert!(frame.starts_with(b"market {\"type\":\"BarUpdate\",\"symbol\":\"AAPL\""));
    let received = parse(&frame).unwrap();
    assert_eq!((received.topic, received.seq, received.ts), (MARKET, 7, 9));
    assert_eq!(received.message, sent);
}

#[test]
fn a_number_that_isnt_finite_is_refused_before_it_is_sent() {
    for price in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let sent = Message::BarUpdate(BarUpdate {
            close: price,
            ..bar()
        });
        let refused = sent.frame(MARKET, 1, 1).unwrap_err().to_string();
        assert!(refused.contains("close"), "{refused}");
    }
}

#[test]
fn money_is_text_in_json() {
    let sent = Message::RiskUpdate(RiskUpdate {
        equity: "100000.10".parse().unwrap(),
        peak_equity: "100000.10".parse().unwrap(),
        drawdown_pct: "0".parse().unwrap(),
        gross_exposure: "0".parse().unwrap(),
        net_exposure: "-5.5".parse().unwrap(),
        var_95: "12.34".parse().unwrap(),
        trading_state: TradingState::Reducing,
        reason: "a \"quoted\" one".to_owned(),
        timestamp: 1,
    });
    let frame = sent.frame(RISK, 1, 1).unwrap();
    let text = String::from_utf8(frame.clone()).unwrap();
    assert!(text.contains(r#""equity":"100000.10""#), "{text}");
    assert!(text.contains(r#""trading_state":"REDUCING""#), "{text}");
    assert_eq!(parse(&frame).unwrap().message, sent);
}

#[test]
fn an_oversized_frame_is_refused() {
    let frame = format!(
        "market {{\"type\":\"Heartbeat\",\"component\":\"{}\"}}",
        "x".repeat(MAX_FRAME)
    );
    assert!(matches!(
        parse(frame.as_bytes()),
        Err(Malformed::TooLong(_))
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_bar_survives_the_way(open in 0.0..1e13f64, volume in 0.0..1e13f64, at in 0i64.., seq in 1u64..) {
        let sent = Message::BarUpdate(BarUpdate { open, volume, timestamp: at, ..bar() });
        let frame = sent.frame(MARKET, seq, at).unwrap();
        let received = parse(&frame).unwrap();
        prop_assert_eq!(received.message, sent);
        prop_assert_eq!(received.seq, seq);
    }
}
