//! The endpoints over real sockets, and paging by itself.

use common::calendar::HOUR;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::super::{Admit, Hub, QUEUE_BYTES, Settings, Tape};
use super::query::Token;
use super::query::Window;
use super::*;
use crate::replay::tests::{schedule, utc};

/// Asks an exchange whose market time is `now`.
async fn get_at(now: &str, path: &str) -> (u16, Value) {
    let schedule = schedule();
    let recording = schedule.recording().clone();
    let hub = Arc::new(Hub::new(recording, QUEUE_BYTES, utc(now), |symbol| {
        Tape::of_listing(if symbol == "SPY" { "ARCA" } else { "NYSE" })
    }));
    let admit: Admit = Arc::new(|_, _| Box::pin(async { true }));
    let stop = CancellationToken::new();
    let market = Market::new(schedule, hub, Settings::default(), admit, stop.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let ended = stop.clone().cancelled_owned();
    let server = tokio::spawn(async move {
        axum::serve(listener, router(market))
            .with_graceful_shutdown(ended)
            .await
    });
    let request = format!("GET {path} HTTP/1.1\r\nHost: exchange\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    stop.cancel();
    server.await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/json"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

async fn get(path: &str) -> (u16, Value) {
    get_at("2013-10-09T20:00:00Z", path).await
}

#[tokio::test]
async fn bars_of_several_symbols_come_by_symbol() {
    let (status, body) =
        get("/v2/stocks/bars?symbols=SPY,IBM,AAPL,XYZ&timeframe=1Day&start=2013-10-08&adjustment=all&feed=iex").await;
    assert_eq!(status, 200);
    let lengths: Vec<(&str, usize)> = body["bars"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(symbol, bars)| (symbol.as_str(), bars.as_array().unwrap().len()))
        .collect();
    assert_eq!(lengths, [("AAPL", 2), ("IBM", 2), ("SPY", 2)]);
    assert_eq!(body["next_page_token"], Value::Null);
    assert_eq!(body["bars"]["SPY"][0]["t"], "2013-10-08T04:00:00Z");
}

#[tokio::test]
async fn nothing_is_an_empty_object_and_never_null() {
    for (path, kind) in [
        ("/v2/stocks/bars?symbols=XYZ&timeframe=1Min", "bars"),
        (
            "/v2/stocks/trades?symbols=SPY&start=2012-01-03&end=2012-01-04",
            "trades",
        ),
        ("/v2/stocks/quotes/latest?symbols=XYZ", "quotes"),
    ] {
        let (status, body) = get(path).await;
        assert_eq!((status, &body[kind]), (200, &json!({})), "{path}");
    }
    assert_eq!(
        get("/v2/stocks/snapshots?symbols=XYZ").await,
        (200, json!({}))
    );
    let (_, body) = get("/v2/stocks/XYZ/bars?timeframe=1Day").await;
    assert_eq!(
        body,
        json!({"bars": [], "symbol": "XYZ", "next_page_token": null})
    );
}

#[tokio::test]
async fn the_latest_of_a_symbol_and_of_many() {
    let now = "2013-10-08T15:00:00Z";
    let (_, many) = get_at(now, "/v2/stocks/quotes/latest?symbols=SPY,IBM&currency=USD").await;
    assert_eq!(
        (&many["quotes"]["SPY"]["z"], &many["currency"]),
        (&json!("B"), &json!("USD"))
    );
    let (_, one) = get_at(now, "/v2/stocks/SPY/quotes/latest").await;
    assert_eq!(
        (&one["quote"], &one["symbol"]),
        (&many["quotes"]["SPY"], &json!("SPY"))
    );
    let (_, bar) = get_at(now, "/v2/stocks/SPY/bars/latest").await;
    assert_eq!(bar["bar"]["t"], "2013-10-08T14:59:00Z");
    let (_, trades) = get_at(now, "/v2/stocks/trades/latest?symbols=BAC").await;
    assert!(trades["trades"]["BAC"]["p"].as_f64().unwrap() > 13.0);
    let (status, body) = get_at(now, "/v2/stocks/XYZ/trades/latest").await;
    assert_eq!(
        (status, body),
        (404, json!({"message": "no trade found for XYZ"}))
    );
}

#[tokio::test]
async fn a_snapshot_has_today_and_the_day_before() {
    let (_, body) = get_at("2013-10-08T15:00:00Z", "/v2/stocks/SPY/snapshot").await;
    assert_eq!(body["dailyBar"]["t"], "2013-10-08T04:00:00Z");
    assert_eq!(body["prevDailyBar"]["c"], 167.42);
    assert_eq!(body["minuteBar"]["t"], "2013-10-08T14:59:00Z");
    assert!(body["latestQuote"]["ap"].is_number() && body["latestTrade"]["p"].is_number());
    let (_, many) = get_at(
        "2013-10-08T15:00:00Z",
        "/v2/stocks/snapshots?symbols=SPY,AAPL",
    )
    .await;
    assert_eq!(many["SPY"]["dailyBar"], body["dailyBar"]);
    // Of Apple there are daily bars only.
    assert!(many["AAPL"].get("latestTrade").is_none() && many["AAPL"]["dailyBar"].is_object());
}

#[tokio::test]
async fn auctions_are_the_first_and_the_last_print() {
    let (_, body) = get("/v2/stocks/SPY/auctions?start=2013-10-08").await;
    let days = body["auctions"].as_array().unwrap();
    assert_eq!(days.len(), 2);
    assert_eq!(
        (&days[0]["d"], &days[0]["o"][0]["p"], &days[0]["c"][0]["p"]),
        (&json!("2013-10-08"), &json!(167.45), &json!(165.48))
    );
}

#[tokio::test]
async fn codes_are_explained() {
    assert_eq!(get("/v2/stocks/meta/exchanges").await.1["V"], "IEX");
    assert_eq!(
        get("/v2/stocks/meta/conditions/trade?tape=C").await.1["@"],
        "Regular Sale"
    );
    assert_eq!(get("/v2/stocks/meta/conditions/trade?tape=D").await.0, 400);
    assert_eq!(get("/v2/stocks/meta/conditions/bar?tape=A").await.0, 400);
}

#[tokio::test]
async fn parameters_that_are_not_right_are_refused() {
    for (query, expected) in [
        ("timeframe=1Min", "symbols is required"),
        ("symbols=,&timeframe=1Min", "symbols is required"),
        ("symbols=S%20Y&timeframe=1Min", "invalid symbol"),
        ("symbols=SPY", "invalid timeframe"),
        ("symbols=SPY&timeframe=7Day", "invalid timeframe: 7Day"),
        ("symbols=SPY&timeframe=1Min&limit=0", "invalid limit"),
        ("symbols=SPY&timeframe=1Min&limit=10001", "invalid limit"),
        ("symbols=SPY&timeframe=1Min&limit=ten", "invalid limit"),
        (
            "symbols=SPY&timeframe=1Min&start=yesterday",
            "invalid start",
        ),
        ("symbols=SPY&timeframe=1Min&end=2013-13-01", "invalid end"),
        (
            "symbols=SPY&timeframe=1Min&start=2013-10-09&end=2013-10-08",
            "end should not be before start",
        ),
        ("symbols=SPY&timeframe=1Min&sort=up", "invalid sort"),
        ("symbols=SPY&timeframe=1Min&feed=cats", "invalid feed"),
        (
            "symbols=SPY&timeframe=1Min&adjustment=some",
            "invalid adjustment",
        ),
        ("symbols=SPY&timeframe=1Min&asof=now", "invalid asof"),
        (
            "symbols=SPY&timeframe=1Min&currency=EUR",
            "invalid currency",
        ),
        (
            "symbols=SPY&timeframe=1Min&page_token=zz",
            "invalid page_token",
        ),
    ] {
        let (status, body) = get(&format!("/v2/stocks/bars?{query}")).await;
        assert_eq!(status, 400, "{query}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(expected), "{query}: {message}");
    }
}

#[test]
fn tokens_survive_the_way_there_and_back() {
    let token = Token {
        symbol: "BRK.B".to_owned(),
        at: 1_381_152_600_000_000_000,
        skip: 3,
    };
    assert_eq!(Token::decode(&token.encode()), Some(token));
    for text in ["", "z", "zz", "00", "é", &"61".repeat(200)] {
        assert_eq!(Token::decode(text), None, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Quotes and trades at one instant are what makes paging hard; a day's beginning has many.
    #[test]
    fn pages_put_together_are_the_whole(limit in 1_usize..400, descending: bool, minutes in 1_i64..20) {
        let now = utc("2013-10-08T20:00:00Z");
        let history = History { schedule: schedule(), now };
        let recording = history.schedule.recording();
        let symbols: Vec<(String, Option<SymbolId>)> = ["BAC", "SPY", "XYZ"].iter().map(|name| ((*name).to_owned(), recording.id(name))).collect();
        let start = utc("2013-10-07T13:30:00Z");
        let pages = |limit: usize| {
            let mut rows: std::collections::BTreeMap<String, Vec<Value>> = Default::default();
            let mut token = None;
            loop {
                let window = Window { start, end: start + minutes * HOUR / 60, limit, descending, token };
                let tape = |_| Tape::of_listing("NYSE");
                let page = page::fill(&symbols, &window, tape, |symbol, start, end| history.quotes(symbol, start, end));
                let mut count = 0;
                for (symbol, text) in page.symbols {
                    let more: Vec<Value> = serde_json::from_slice(&text).unwrap();
                    count += more.len();
                    rows.entry(symbol).or_default().extend(more);
                }
                assert!(count <= limit);
                match page.next {
                    Some(next) => {
                        assert_eq!(count, limit);
                        token = Token::decode(&next.encode());
                    }
                    None => return rows,
                }
            }
        };
        let whole = pages(usize::MAX);
        prop_assert!(whole["SPY"].len() > 2);
        prop_assert_eq!(whole["SPY"].is_sorted_by_key(|row| row["t"].as_str().map(utc)), !descending);
        prop_assert_eq!(pages(limit), whole);
    }
}
