//! Nanoseconds a bar from its bytes into a feed with the full set, best of some rounds, without the
//! socket: `cargo run --release -p feed --example feed_speed`.

use std::hint::black_box;
use std::time::Instant;

use feed::{Feed, Settings};

const SYMBOLS: usize = 50;
const BARS: usize = 100_000;
const ROUNDS: usize = 15;

fn main() {
    let symbols: Vec<String> = (0..SYMBOLS).map(|at| format!("S{at}")).collect();
    let frames: Vec<String> = (0..BARS)
        .map(|at| {
            let close = 100.0 + (at * 7919 % 101) as f64 / 100.0;
            format!(
                "market {{\"type\":\"BarUpdate\",\"symbol\":\"{}\",\"open\":{close:.2},\"high\":{:.2},\"low\":{:.2},\
                 \"close\":{close:.2},\"volume\":{},\"timestamp\":{},\"seq\":{}}}",
                symbols[at % SYMBOLS],
                close + 0.02,
                close - 0.01,
                at % 1000,
                1_381_152_600_000_000_000_u64 + (at / SYMBOLS) as u64 * 60_000_000_000,
                at + 1,
            )
        })
        .collect();
    let settings = Settings {
        symbols,
        features: features::STANDARD.map(str::to_owned).to_vec(),
        history: 390,
        stale_after_s: 5.0,
    };
    let best = (0..ROUNDS)
        .map(|_| {
            let mut feed = Feed::new(&settings).expect("the settings are sound");
            let start = Instant::now();
            for frame in &frames {
                feed.receive(frame.as_bytes(), 1.0);
            }
            let spent = start.elapsed();
            assert_eq!((feed.stats().bars, feed.stats().late), (BARS as u64, 0));
            black_box(&feed);
            spent.as_nanos() as f64 / BARS as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("{{\"bytes_to_features\": {best:.1}}}");
}
