//! Bars a second through exchange, features and a strategy: `cargo run --release -p backtest --example
//! backtest_speed -- DIR [PARAMETERS as JSON]`. Prints one line of JSON, the best of some rounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use backtest::strategies::EmaCross;
use backtest::{Settings, run};
use paper_exchange::recording::Recording;

const ROUNDS: usize = 9;

fn main() {
    let folder = std::env::args()
        .nth(1)
        .expect("a folder of recorded prices");
    let parameters = std::env::args().nth(2).unwrap_or_else(|| "{}".to_owned());
    let recording = Arc::new(Recording::load(Path::new(&folder)).expect("it loads"));
    // Random prices lose money in the end; a halted account would trade no more.
    let limits = serde_json::json!({"max_drawdown_pct": 100, "max_daily_loss_pct": 100});
    let settings = Settings {
        limits: Some(limits),
        ..Settings::default()
    };
    let (mut best, mut orders, mut refused, mut bars) = (0.0f64, 0, 0, 0);
    for _ in 0..ROUNDS {
        let mut strategy: EmaCross = serde_json::from_str(&parameters).expect("parameters");
        let features = strategy.features();
        let begun = Instant::now();
        let outcome = run(&recording, &settings, &features, &mut strategy, &mut || {
            true
        })
        .expect("it runs");
        best = best.max(outcome.bars as f64 / begun.elapsed().as_secs_f64());
        orders = outcome.orders.len();
        refused = outcome.refusals.len();
        bars = outcome.bars;
    }
    println!(
        "{{\"bars\": {bars}, \"orders\": {orders}, \"refused\": {refused}, \"bars_a_s\": {best:.0}}}"
    );
}
