//! Nanoseconds to read a bar off the bus and to write one, best of some rounds:
//! `cargo run --release -p common --example speed`.

use std::hint::black_box;
use std::time::Instant;

use common::messages::{BarUpdate, MARKET, Message, parse};

const BARS: u32 = 100_000;
const ROUNDS: usize = 15;

fn best(mut work: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..BARS {
                work();
            }
            start.elapsed().as_nanos() as f64 / f64::from(BARS)
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let bar = Message::BarUpdate(BarUpdate {
        symbol: "IBM".to_owned(),
        open: 190.25,
        high: 190.5,
        low: 190.0,
        close: 190.37,
        volume: 1200.0,
        timestamp: 1_381_152_600_000_000_000,
        trade_count: Some(120),
        vwap: Some(190.31),
        timeframe: "1Min".to_owned(),
        source: String::new(),
    });
    let (seq, ts) = (1_000_000, 1_700_000_000_000_000_000);
    let frame = bar.frame(MARKET, seq, ts).expect("the bar is sound");
    let parsed = best(|| {
        black_box(parse(black_box(&frame)).expect("the frame is sound"));
    });
    let written = best(|| {
        black_box(
            black_box(&bar)
                .frame(MARKET, seq, ts)
                .expect("the bar is sound"),
        );
    });
    println!("{{\"parse\": {parsed:.0}, \"frame\": {written:.0}}}");
}
