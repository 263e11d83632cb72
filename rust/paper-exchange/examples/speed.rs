//! How many operations the core takes a second, alone: `cargo run --release -p paper-exchange --example speed`.
//!
//! Prints one line of JSON: operations (or ticks) a second of each kind, the best of some rounds.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use paper_exchange::core::{Exchange, ExchangeSettings, NewOrder, Side};
use paper_exchange::recording::Recording;
use paper_exchange::replay::{Price, Print, Quote, Replay, Schedule, SymbolId, Tick, Trade};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

const ROUNDS: usize = 5;
/// 14:00 UTC on Monday, 7 October 2013: the market is open.
const OPEN: i64 = 1_381_154_400_000_000_000;
const MILLISECOND: i64 = 1_000_000;

struct Pit {
    exchange: Exchange,
    account: usize,
    now: i64,
}

impl Pit {
    fn new(resting: usize) -> Self {
        let settings = ExchangeSettings {
            partial_fills: false,
            ..ExchangeSettings::default()
        };
        let mut exchange = Exchange::new(settings, &["IBM", "SPY"], OPEN);
        let account = exchange.open_account("PKSPEED", "hash");
        let mut pit = Self {
            exchange,
            account,
            now: OPEN,
        };
        pit.quote(0, 100_000_000);
        pit.trade(0, 100_010_000);
        for number in 0..resting {
            let limit = Decimal::new(1 + (number % 200) as i64, 2);
            let order = NewOrder::limit("IBM", Side::Buy, Decimal::ONE, limit);
            pit.exchange.submit(account, &order).expect("rests");
        }
        pit.settle();
        pit
    }

    fn quote(&mut self, symbol: u16, bid: i64) {
        self.now += MILLISECOND;
        self.exchange.tick(&Tick::Quote(Quote {
            at: self.now,
            symbol: SymbolId(symbol),
            bid: Price::from_micros(bid),
            ask: Price::from_micros(bid + 20_000),
            bid_size: 100,
            ask_size: 100,
            restated: false,
        }));
    }

    fn trade(&mut self, symbol: u16, price: i64) {
        self.now += MILLISECOND;
        self.exchange.tick(&Tick::Trade(Trade {
            at: self.now,
            symbol: SymbolId(symbol),
            price: Price::from_micros(price),
            size: 100,
            print: Print::Plain,
            id: 1,
        }));
    }

    /// What the server takes after each request.
    fn settle(&mut self) {
        black_box(self.exchange.take_updates());
        black_box(self.exchange.take_batch());
    }

    fn rest_and_cancel(&mut self, limit: Decimal) {
        let order = NewOrder::limit("IBM", Side::Buy, Decimal::ONE, limit);
        let receipt = self.exchange.submit(self.account, &order).expect("rests");
        self.settle();
        self.exchange
            .cancel(self.account, receipt.order.id)
            .expect("is open");
        self.settle();
    }

    fn fill(&mut self, side: Side) {
        let order = NewOrder::market("IBM", side, Decimal::ONE);
        self.exchange.submit(self.account, &order).expect("fills");
        self.settle();
    }
}

/// The best rate of some rounds; a round makes `count` operations.
fn best(count: usize, mut round: impl FnMut()) -> f64 {
    let mut best = 0f64;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        round();
        best = best.max(count as f64 / begun.elapsed().as_secs_f64());
    }
    best.round()
}

fn main() {
    let mut figures = Map::new();
    let mut note = |name: &str, value: f64| figures.insert(name.to_owned(), json!(value));
    let limit = Decimal::new(5, 1);
    for resting in [0usize, 100, 5000] {
        let count = 20_000;
        let rate = best(count, {
            let mut pit = Pit::new(resting);
            move || (0..count / 2).for_each(|_| pit.rest_and_cancel(limit))
        });
        note(&format!("submit or cancel, {resting} open"), rate);
    }
    let count = 20_000;
    let rate = best(count, || {
        let mut pit = Pit::new(0);
        for _ in 0..count / 2 {
            pit.fill(Side::Buy);
            pit.fill(Side::Sell);
        }
    });
    note("market orders filled", rate);
    for resting in [0usize, 100, 5000] {
        let mut pit = Pit::new(resting);
        let count = 20_000;
        let rate = best(count, || {
            for number in 0..count as i64 / 2 {
                pit.quote(0, 100_000_000 + number % 7 * 10_000);
                pit.trade(0, 100_010_000 + number % 5 * 10_000);
                pit.settle();
            }
        });
        note(&format!("quotes and prints, {resting} open"), rate);
    }
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console/sample");
    if let Ok(recording) = Recording::load(&sample) {
        let recording = Arc::new(recording);
        let schedule =
            Arc::new(Schedule::new(Arc::clone(&recording), None, None).expect("sessions"));
        let mut ticks = 0u64;
        let begun = Instant::now();
        let start = schedule.start();
        let mut replay = Replay::new(Arc::clone(&schedule), start, 1000.0);
        let mut exchange = Exchange::new(ExchangeSettings::default(), recording.symbols(), start);
        exchange.open_account("PKSPEED", "hash");
        let end = start + 7 * 3600 * 1_000_000_000;
        replay.advance_to(end, &mut |tick: Tick| {
            ticks += 1;
            exchange.tick(&tick);
        });
        note(
            "ticks of a recorded day",
            (ticks as f64 / begun.elapsed().as_secs_f64()).round(),
        );
    }
    println!("{}", Value::Object(figures));
}
