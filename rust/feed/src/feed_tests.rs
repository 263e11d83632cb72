use common::messages::{BarUpdate, QuoteUpdate, TradeUpdate};

use super::*;

const MINUTE: i64 = 60_000_000_000;
/// Monday, 7 October 2013, 9:30 in New York.
const OPEN: i64 = 1_381_152_600_000_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn settings() -> Settings {
    Settings {
        symbols: vec!["SPY".into(), "IBM".into()],
        features: ["sma_3", "spread", "roc_1", "imbalance"]
            .map(String::from)
            .to_vec(),
        history: 5,
        stale_after_s: 5.0,
    }
}

fn feed() -> Feed {
    Feed::new(&settings()).expect("these settings are sound")
}

fn bar(symbol: &str, timestamp: i64, close: f64) -> Message {
    Message::BarUpdate(BarUpdate {
        symbol: symbol.into(),
        open: close - 0.5,
        high: close + 1.0,
        low: close - 1.0,
        close,
        volume: 100.0,
        timestamp,
        trade_count: None,
        vwap: None,
        timeframe: "1Min".into(),
        source: String::new(),
    })
}

fn trade(symbol: &str, timestamp: i64, price: f64) -> Message {
    Message::TradeUpdate(TradeUpdate {
        symbol: symbol.into(),
        price,
        size: 10.0,
        timestamp,
    })
}

fn quote(symbol: &str, bid: f64, ask: f64) -> Message {
    Message::QuoteUpdate(QuoteUpdate {
        symbol: symbol.into(),
        bid_price: bid,
        bid_size: 3.0,
        ask_price: ask,
        ask_size: 1.0,
        timestamp: OPEN,
    })
}

fn bars(timestamps: &[i64], close: f64) -> Bars {
    let mut bars = Bars::default();
    for timestamp in timestamps {
        bars.push(&crate::HistoryBar {
            timestamp: *timestamp,
            open: close,
            high: close,
            low: close,
            close,
            volume: 1.0,
        });
    }
    bars
}

#[test]
fn a_frame_shows_features_quotes_and_the_day_of_each_symbol() {
    let mut feed = feed();
    for at in 0..4 {
        feed.apply(
            &bar("IBM", OPEN + at * MINUTE, 100.0 + at as f64),
            1.0 + at as f64,
        );
    }
    feed.apply(&quote("IBM", 102.0, 102.5), 7.0);
    let frame = feed.frame(8.0);
    assert_eq!(
        &frame.features[4..],
        [102.0, 0.5, (103.0 / 102.0 - 1.0) * 100.0, 0.5]
    );
    assert!(
        frame.features[..4].iter().all(|value| value.is_nan()),
        "SPY has said nothing"
    );
    assert_eq!(
        (frame.last[1], frame.last_at[1], frame.quote_at[1]),
        (103.0, 4.0, 7.0)
    );
    assert_eq!(
        (
            frame.bid[1],
            frame.ask[1],
            frame.bid_size[1],
            frame.ask_size[1]
        ),
        (102.0, 102.5, 3.0, 1.0)
    );
    assert_eq!(
        (frame.day_open[1], frame.day_high[1], frame.day_low[1]),
        (99.5, 104.0, 99.0)
    );
    assert_eq!(frame.day_volume[1], 400.0);
    assert_eq!(frame.market_at[1], (OPEN + 4 * MINUTE) as f64 / 1e9);
    let spark = &frame.sparks[SPARK..];
    assert_eq!(spark[SPARK - 4..], [100.0, 101.0, 102.0, 103.0]);
    assert!(spark[..SPARK - 4].iter().all(|close| close.is_nan()));
}

#[test]
fn the_days_change_starts_anew_at_a_new_date() {
    let mut feed = feed();
    feed.apply(&bar("IBM", OPEN, 100.0), 0.0);
    // After the close, a price that no day counts.
    feed.apply(&trade("IBM", OPEN + 7 * 60 * MINUTE, 90.0), 1.0);
    // Next morning before the open: measured against yesterday's last regular price.
    feed.apply(&trade("IBM", OPEN + DAY - MINUTE, 101.0), 2.0);
    let early = feed.frame(2.0);
    assert_eq!((early.previous_close[1], early.last[1]), (100.0, 101.0));
    assert!(early.day_open[1].is_nan());
    feed.apply(&trade("IBM", OPEN + DAY, 102.0), 3.0);
    let opened = feed.frame(3.0);
    assert_eq!(
        (
            opened.day_open[1],
            opened.day_high[1],
            opened.previous_close[1]
        ),
        (102.0, 102.0, 100.0)
    );
}

#[test]
fn a_daily_bar_says_what_the_feed_missed() {
    let mut feed = feed();
    feed.apply(&trade("IBM", OPEN + 60 * MINUTE, 100.0), 0.0);
    let Message::BarUpdate(mut daily) = bar("IBM", OPEN, 98.0) else {
        unreachable!()
    };
    daily.timeframe = "1Day".into();
    feed.apply(&Message::BarUpdate(daily), 1.0);
    let frame = feed.frame(1.0);
    assert_eq!(
        (frame.day_open[1], frame.day_high[1], frame.last[1]),
        (97.5, 99.0, 100.0)
    );
    assert!(
        feed.bars("IBM")
            .unwrap()
            .timestamps
            .iter()
            .all(|at| *at != OPEN)
    );
}

#[test]
fn trades_make_the_bar_in_progress_until_the_finished_one_comes() {
    let mut feed = feed();
    feed.apply(&bar("IBM", OPEN, 100.0), 0.0);
    for (second, price) in [(1, 101.0), (30, 103.0), (59, 102.0)] {
        feed.apply(
            &trade("IBM", OPEN + MINUTE + second * 1_000_000_000, price),
            1.0,
        );
    }
    let making = feed.bars("IBM").unwrap();
    assert_eq!(making.timestamps, [OPEN, OPEN + MINUTE]);
    assert_eq!(
        (
            making.open[1],
            making.high[1],
            making.low[1],
            making.close[1]
        ),
        (101.0, 103.0, 101.0, 102.0)
    );
    assert_eq!(making.volume[1], 30.0);
    feed.apply(&bar("IBM", OPEN + MINUTE, 102.0), 2.0);
    let done = feed.bars("IBM").unwrap();
    assert_eq!((done.len(), done.volume[1]), (2, 100.0));
}

#[test]
fn a_bar_again_corrects_the_history_and_a_late_one_is_dropped() {
    let mut feed = feed();
    for at in 0..3 {
        feed.apply(&bar("IBM", OPEN + at * MINUTE, 100.0), 0.0);
    }
    feed.apply(&bar("IBM", OPEN + 2 * MINUTE, 105.0), 1.0);
    feed.apply(&bar("IBM", OPEN, 1.0), 1.0);
    let bars = feed.bars("IBM").unwrap();
    assert_eq!(bars.close, [100.0, 100.0, 105.0]);
    assert_eq!(feed.stats().late, 1);
}

#[test]
fn a_seed_warms_up_and_live_bars_after_it_stay() {
    let mut feed = feed();
    feed.apply(&bar("IBM", OPEN, 110.0), 0.0);
    let yesterday: Vec<i64> = (0..4).map(|at| OPEN - DAY + at * MINUTE).collect();
    // Sunday has no session, so the whole day counts as one.
    feed.seed("IBM", &bars(&yesterday, 100.0)).unwrap();
    let frame = feed.frame(1.0);
    assert_eq!(frame.features[4], (100.0 + 100.0 + 110.0) / 3.0);
    assert_eq!((frame.previous_close[1], frame.last[1]), (100.0, 110.0));
    assert_eq!(feed.bars("IBM").unwrap().len(), 5);
}

#[test]
fn a_seed_out_of_order_or_not_finite_is_refused_and_changes_nothing() {
    let mut feed = feed();
    feed.seed("IBM", &bars(&[OPEN, OPEN + MINUTE], 100.0))
        .unwrap();
    let refused = |result: Result<(), FeedError>| result.unwrap_err().to_string();
    assert!(refused(feed.seed("IBM", &bars(&[OPEN, OPEN], 1.0))).contains("oldest first"));
    assert!(refused(feed.seed("IBM", &bars(&[-1], 1.0))).contains("before 1970"));
    assert!(refused(feed.seed("IBM", &bars(&[OPEN], f64::NAN))).contains("NaN"));
    assert!(refused(feed.seed("GE", &bars(&[OPEN], 1.0))).contains("it follows SPY IBM"));
    assert_eq!(feed.bars("IBM").unwrap().len(), 2);
}

#[test]
fn gaps_malformed_frames_and_strangers_are_counted() {
    let mut feed = feed();
    let beat =
        |seq: u64| format!(r#"market {{"type":"Heartbeat","component":"x","seq":{seq},"ts":1}}"#);
    feed.receive(beat(1).as_bytes(), 0.0);
    feed.receive(beat(5).as_bytes(), 0.0);
    feed.receive(b"market {oops", 0.0);
    feed.apply(&bar("GE", OPEN, 1.0), 0.0);
    let stats = feed.stats();
    assert_eq!(
        (stats.received, stats.gaps, stats.malformed, stats.ignored),
        (3, 3, 1, 1)
    );
}

#[test]
fn the_state_follows_peers_and_silence() {
    let mut feed = feed();
    assert_eq!(feed.state(0.0), ConnectionState::Connecting);
    feed.connected(1);
    assert_eq!(
        feed.state(0.0),
        ConnectionState::Connecting,
        "a connection that says nothing yet"
    );
    feed.receive(b"market {}", 1.0);
    assert_eq!(feed.state(6.0), ConnectionState::Connected);
    assert_eq!(feed.state(6.1), ConnectionState::Stale);
    feed.connected(0);
    assert_eq!(feed.state(6.1), ConnectionState::Lost);
    feed.connected(1);
    assert_eq!(feed.state(5.0), ConnectionState::Connected);
}

#[test]
fn the_number_and_the_symbols_version_grow_with_changes_alone() {
    let mut feed = feed();
    let before = feed.frame(0.0);
    feed.apply(&quote("SPY", 1.0, 2.0), 1.0);
    let after = feed.frame(1.0);
    assert!(after.number > before.number);
    assert!(after.versions[0] > before.versions[0]);
    assert_eq!(after.versions[1], before.versions[1]);
    feed.apply(&quote("GE", 1.0, 2.0), 1.0);
    assert_eq!(feed.frame(2.0).number, after.number);
}

#[test]
fn the_rate_is_of_the_last_second() {
    let mut feed = feed();
    for at in 0..200 {
        feed.receive(b"market {}", f64::from(at) * 0.01);
    }
    let rate = feed.frame(1.99).rate;
    assert!(
        (90.0..=110.0).contains(&rate),
        "100 messages a second came, {rate} are shown"
    );
    assert_eq!(feed.frame(10.0).rate, 0.0);
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let refused = |change: fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        Feed::new(&settings).unwrap_err().to_string()
    };
    assert!(refused(|s| s.symbols.clear()).contains("at least one"));
    assert!(refused(|s| s.symbols.push("SPY".into())).contains("\"SPY\" is listed twice"));
    assert!(refused(|s| s.history = 0).contains("history = 0"));
    assert!(refused(|s| s.stale_after_s = f64::NAN).contains("stale_after_s = NaN"));
    assert!(refused(|s| s.features.push("spraed".into())).contains("\"spraed\""));
    assert!(refused(|s| s.features.push("spread".into())).contains("asked for twice"));
}
