//! Nanoseconds a bar, best of some rounds: `cargo run --release -p features --example features_speed`.
//!
//! One JSON object, for `make bench` to print beside its peers; `--each` adds every feature alone.

use std::hint::black_box;
use std::time::Instant;

use features::micro::{Market, MicroSettings, Quote, Trade};
use features::{Bar, Columns, Layout, Path, Plan, STANDARD, State, compute_many, compute_on};

const MINUTES: usize = 390;
const BARS: usize = 100_000;
const RECURSIVE: [&str; 14] = [
    "ema_12",
    "ema_26",
    "rsi_14",
    "macd",
    "macd_signal",
    "macd_hist",
    "atr_14",
    "adx_14",
    "plus_di_14",
    "minus_di_14",
    "obv",
    "keltner_upper",
    "keltner_middle",
    "keltner_lower",
];
/// Short rounds, so that some of them are undisturbed.
const SHORT: usize = 2_000;

fn best(items: usize, mut work: impl FnMut()) -> f64 {
    let rounds = (3_000_000 / items).clamp(15, 1_000);
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64 / items as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// A walk in cents.
fn walk() -> [Vec<f64>; 4] {
    let mut state = 1_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let mut columns = [const { Vec::new() }; 4];
    let mut price = 150.0;
    for _ in 0..BARS {
        price += ((next() - 0.5) * 20.0).round() * 0.01;
        columns[0].push(price + (next() * 5.0).round() * 0.01);
        columns[1].push(price - (next() * 5.0).round() * 0.01);
        columns[2].push(price);
        columns[3].push((next() * 1000.0).round());
    }
    columns
}

fn columns_of<'a>([high, low, close, volume]: [&'a [f64]; 4], bars: usize) -> Columns<'a> {
    Columns {
        high: &high[..bars],
        low: &low[..bars],
        close: &close[..bars],
        volume: &volume[..bars],
    }
}

fn main() {
    let [high, low, close, volume] = walk();
    let columns = columns_of([&high, &low, &close, &volume], BARS);
    let plan = Plan::standard();
    let mut out = vec![0.0; STANDARD.len() * BARS];
    let mut rows = vec![];

    let mut state = State::new(&plan);
    let mut row = [0.0; STANDARD.len()];
    let streaming = best(SHORT, || {
        for at in 0..SHORT {
            let bar = Bar {
                open: close[at],
                high: high[at],
                low: low[at],
                close: close[at],
                volume: volume[at],
            };
            state.update(&plan, &bar, &mut row);
            black_box(&row);
        }
    });
    rows.push(("streaming", streaming));
    for (name, path) in [("batch_plain", Path::Plain), ("batch_avx2", Path::Avx2)] {
        if path.is_possible() {
            let time = best(BARS, || {
                compute_on(path, &plan, &columns, &mut out).expect("the walk is sound");
                black_box(&out);
            });
            rows.push((name, time));
        }
    }
    // Little enough to stay in the cache: what is left is arithmetic.
    let few = columns_of([&high, &low, &close, &volume], SHORT);
    let in_cache = best(SHORT, || {
        let out = &mut out[..STANDARD.len() * SHORT];
        compute_on(Path::best(), &plan, &few, out).expect("the walk is sound");
        black_box(&out);
    });
    rows.push(("batch_in_cache", in_cache));
    // What it can't do without: the recursions alone, with what they make, and the results' memory.
    let recursive = Plan::new(&RECURSIVE).expect("they are of the full set");
    let recursions = best(SHORT, || {
        let out = &mut out[..RECURSIVE.len() * SHORT];
        compute_on(Path::best(), &recursive, &few, out).expect("the walk is sound");
        black_box(&out);
    });
    rows.push(("recursions_in_cache", recursions));
    let mut value = 0.0;
    let written = best(BARS, || {
        value += 1.0;
        out.fill(value);
        black_box(&out);
    });
    rows.push(("results_filled_with_one_number", written));
    let symbols = BARS / MINUTES;
    let series = columns_of([&high, &low, &close, &volume], symbols * MINUTES);
    let rows_of_many = &mut out[..STANDARD.len() * symbols * MINUTES];
    let many = best(symbols * MINUTES, || {
        let done = compute_many(&plan, &series, symbols, Layout::SymbolBar, 1, rows_of_many);
        done.expect("the walk is sound");
        black_box(&rows_of_many);
    });
    rows.push(("many", many));
    let mut market = Market::new(MicroSettings::default()).expect("the defaults are sound");
    let mut at = 0;
    let micro = best(2 * SHORT, || {
        for n in 0..SHORT {
            at += 1_000_000_000;
            let quote = Quote {
                bid: low[n],
                bid_size: 3.0,
                ask: high[n],
                ask_size: volume[n],
            };
            black_box(market.quote(quote, at));
            black_box(market.trade(Trade {
                price: close[n],
                size: volume[n],
                timestamp: at,
            }));
        }
    });
    rows.push(("microstructure", micro));
    if std::env::args().any(|argument| argument == "--each") {
        for name in STANDARD {
            let plan = Plan::new(&[name]).expect("it is of the full set");
            let time = best(BARS, || {
                let out = &mut out[..BARS];
                compute_on(Path::best(), &plan, &columns, out).expect("the walk is sound");
                black_box(&out);
            });
            rows.push((name, time));
        }
    }
    let fields: Vec<String> = rows
        .iter()
        .map(|(name, time)| format!("\"{name}\": {time:.2}"))
        .collect();
    println!("{{{}}}", fields.join(", "));
}
