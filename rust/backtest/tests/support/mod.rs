//! Folders of made-up prices, and a strategy that answers by a draw.

use std::convert::Infallible;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backtest::{Bar, Direction, Fill, Outcome, Portfolio, Quote, Settings, Signal, Strategy, run};
use paper_exchange::recording::Recording;

pub(crate) const DAYS: [&str; 3] = ["2013-10-07", "2013-10-08", "2013-10-09"];
pub(crate) const SYMBOLS: [&str; 3] = ["AAA", "BBB", "CCC"];

/// A draw that depends on nothing but what it is of.
pub(crate) fn draw(of: &[u64]) -> u64 {
    of.iter().fold(0x9e37_79b9_7f4a_7c15, |state, value| {
        let mixed = (state ^ value).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }) >> 11
}

/// A minute of prices in cents: open, high, low, close.
fn minute(price: i64, draws: [u64; 4]) -> [i64; 4] {
    let step = |draw: u64, width: i64| (draw % (2 * width as u64 + 1)) as i64 - width;
    let open = price + step(draws[0], 2);
    let close = (open + step(draws[1], 8)).max(500);
    let high = open.max(close) + (draws[2] % 5) as i64;
    let low = open.min(close) - (draws[3] % 5) as i64;
    [open, high, low, close]
}

/// Bars of three symbols over three days, with holes, some before the open, and quotes of one of them.
/// From `turn` on (minutes since the first), prices are other ones.
pub(crate) fn recording(seed: u64, turn: u64) -> Arc<Recording> {
    let mut bars = String::from("symbol,timestamp,open,high,low,close,volume\n");
    let mut quotes = String::from("symbol,timestamp,bid_price,bid_size,ask_price,ask_size\n");
    for (number, symbol) in SYMBOLS.iter().enumerate() {
        let mut price = 10_000 + 3_000 * number as i64;
        for (day, date) in DAYS.iter().enumerate() {
            // From 9:10 to 11:00 in New York, which is four hours behind.
            for at in 0..110u64 {
                let place = day as u64 * 110 + at;
                let seed = if place < turn { seed } else { seed + 1_000 };
                let chance = |what| draw(&[seed, number as u64, place, what]);
                if chance(0) % 10 == 0 {
                    continue;
                }
                let [open, high, low, close] =
                    minute(price, [chance(1), chance(2), chance(3), chance(4)]);
                price = close;
                let clock = 13 * 60 + 10 + at;
                let time = format!("{date}T{:02}:{:02}:00Z", clock / 60, clock % 60);
                let dollars = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
                let volume = 1 + chance(5) % 5_000;
                writeln!(
                    bars,
                    "{symbol},{time},{},{},{},{},{volume}",
                    dollars(open),
                    dollars(high),
                    dollars(low),
                    dollars(close)
                )
                .unwrap();
                if number == 0 {
                    let (bid, ask) = (dollars(close - 2), dollars(close + 1));
                    writeln!(quotes, "{symbol},{time},{bid},300,{ask},200").unwrap();
                }
            }
        }
    }
    let folder = Folder::new();
    std::fs::write(folder.0.join("bars_1min.csv"), bars).unwrap();
    std::fs::write(folder.0.join("quotes_1min.csv"), quotes).unwrap();
    Arc::new(Recording::load(&folder.0).unwrap())
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("backtest-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Signals by a draw of bar and symbol, also on fills.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    pub(crate) seed: u64,
    /// Asks for each quote, and so for each tick to be played.
    pub(crate) quotes: bool,
    pub(crate) quotes_seen: usize,
    pub(crate) bars_seen: Vec<(usize, i64)>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            quotes: false,
            quotes_seen: 0,
            bars_seen: Vec::new(),
        }
    }

    fn signal(&self, symbol: usize, of: &[u64]) -> Option<Signal> {
        let chance = draw(of);
        let direction = match chance % 12 {
            0 | 1 => Direction::Long,
            2 => Direction::Short,
            3 => Direction::Flat,
            _ => return None,
        };
        let strength = (chance / 12 % 11) as f64 / 10.0;
        Some(Signal {
            symbol,
            direction,
            strength,
        })
    }
}

impl Strategy for Dice {
    type Error = Infallible;

    fn on_bar(
        &mut self,
        bar: &Bar,
        features: &[f64],
        _portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> Result<(), Infallible> {
        assert!(features.iter().all(|number| number.is_finite()));
        self.bars_seen.push((bar.symbol, bar.start));
        let of = [
            self.seed,
            bar.symbol as u64,
            bar.end as u64,
            bar.close.to_bits(),
            features
                .iter()
                .fold(0, |sum, number| sum ^ number.to_bits()),
        ];
        // Sometimes of another symbol than the bar's.
        let symbol = (bar.symbol + usize::from(draw(&of[..2]).is_multiple_of(5))) % SYMBOLS.len();
        signals.extend(self.signal(symbol, &of));
        Ok(())
    }

    fn wants_quotes(&self) -> bool {
        self.quotes
    }

    fn on_quote(
        &mut self,
        _quote: &Quote,
        _portfolio: &Portfolio,
        _signals: &mut Vec<Signal>,
    ) -> Result<(), Infallible> {
        self.quotes_seen += 1;
        Ok(())
    }

    fn on_fill(
        &mut self,
        fill: &Fill,
        portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> Result<(), Infallible> {
        let of = [self.seed, fill.symbol as u64, fill.at as u64, 77];
        if portfolio.qty(fill.symbol) != 0.0 && draw(&of).is_multiple_of(9) {
            signals.extend(self.signal((fill.symbol + 1) % SYMBOLS.len(), &of[1..]));
        }
        Ok(())
    }
}

pub(crate) fn features() -> Vec<String> {
    ["sma_5", "rsi_7"].map(str::to_owned).to_vec()
}

pub(crate) fn play(recording: &Arc<Recording>, settings: &Settings, dice: &mut Dice) -> Outcome {
    run(recording, settings, &features(), dice, &mut || true).unwrap()
}
