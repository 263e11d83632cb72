//! Laws that hold for any input: streaming is batch, each path is the others, nothing panics.

use features::{
    Bar, Columns, Computer, Layout, Path, Plan, STANDARD, State, compute, compute_many, compute_on,
};
use proptest::prelude::*;

/// Names that take every indicator through odd windows, the shortest and some beyond a block tree.
const ODD: [&str; 27] = [
    "sma_1",
    "sma_33",
    "ema_1",
    "ema_7",
    "rsi_2",
    "macd_2_5_3",
    "macd_hist_2_5_3",
    "bb_upper_2",
    "bb_lower_65",
    "atr_2",
    "adx_3",
    "plus_di_2",
    "minus_di_5",
    "stoch_k_1_1_1",
    "stoch_d_5_2_4",
    "mfi_15",
    "cci_31",
    "roc_1",
    "willr_16",
    "vwap_1",
    "stddev_64",
    "donchian_middle_63",
    "keltner_upper_3_9",
    "keltner_lower_9_3",
    "realized_vol_2",
    "obv",
    "log_return",
];

#[derive(Clone, Debug, Default)]
struct Series {
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    volume: Vec<f64>,
}

impl Series {
    fn of(rows: &[(f64, f64, f64, f64)]) -> Self {
        let mut series = Self::default();
        for (high, low, close, volume) in rows {
            series.high.push(*high);
            series.low.push(*low);
            series.close.push(*close);
            series.volume.push(*volume);
        }
        series
    }

    /// A walk in cents, long enough for several blocks.
    fn walk(bars: usize, seed: u64) -> Self {
        let mut state = seed | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f64 / f64::from(1 << 24)
        };
        let mut price = 150.0;
        let rows: Vec<_> = (0..bars)
            .map(|_| {
                price += ((next() - 0.5) * 20.0).round() * 0.01;
                let reach = (next() * 5.0).round() * 0.01;
                (
                    price + reach,
                    price - reach,
                    price,
                    (next() * 1000.0).round(),
                )
            })
            .collect();
        Self::of(&rows)
    }

    fn columns(&self) -> Columns<'_> {
        Columns {
            high: &self.high,
            low: &self.low,
            close: &self.close,
            volume: &self.volume,
        }
    }

    fn bars(&self) -> impl Iterator<Item = Bar> + '_ {
        (0..self.close.len()).map(|at| Bar {
            open: f64::NAN,
            high: self.high[at],
            low: self.low[at],
            close: self.close[at],
            volume: self.volume[at],
        })
    }
}

/// Equal to the bit, but for the payload of NaN and the sign of zero.
fn same(a: &[f64], b: &[f64]) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("{} numbers against {}", a.len(), b.len()));
    }
    match a
        .iter()
        .zip(b)
        .position(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
    {
        Some(at) => Err(format!("at {at}: {} against {}", a[at], b[at])),
        None => Ok(()),
    }
}

fn streamed(plan: &Plan, series: &Series) -> Vec<f64> {
    let bars = series.close.len();
    let mut out = vec![0.0; plan.width() * bars];
    let mut row = vec![0.0; plan.width()];
    let mut state = State::new(plan);
    for (at, bar) in series.bars().enumerate() {
        state.update(plan, &bar, &mut row);
        for (slot, value) in row.iter().enumerate() {
            out[slot * bars + at] = *value;
        }
    }
    out
}

fn batch(path: Path, plan: &Plan, series: &Series) -> Vec<f64> {
    let mut out = vec![1.5; plan.width() * series.close.len()];
    compute_on(path, plan, &series.columns(), &mut out).expect("the series is sound");
    out
}

#[test]
fn every_path_gives_the_bits_of_streaming_over_many_blocks() {
    for names in [&STANDARD[..], &ODD[..]] {
        let plan = Plan::new(names).expect("known names");
        for bars in [0, 1, 33, 34, 35, 66, 511, 512, 513, 546, 1024, 5000] {
            let series = Series::walk(bars, 7);
            let wanted = streamed(&plan, &series);
            for path in [Path::Plain, Path::Avx2] {
                if path.is_possible() {
                    same(&batch(path, &plan, &series), &wanted)
                        .unwrap_or_else(|off| panic!("{path:?}, {bars} bars: {off}"));
                }
            }
        }
    }
}

/// Seeds and windows that reach over blocks.
const LONG: [&str; 9] = [
    "ema_700",
    "sma_600",
    "adx_300",
    "rsi_600",
    "macd_100_900_300",
    "stoch_d_400_200_100",
    "donchian_upper_1500",
    "keltner_lower_40_800",
    "realized_vol_513",
];

#[test]
fn windows_longer_than_a_block_give_the_bits_of_streaming() {
    let plan = Plan::new(&LONG).expect("known names");
    for bars in [1, 599, 1499, 1501, 4000] {
        let series = Series::walk(bars, 11);
        same(
            &batch(Path::best(), &plan, &series),
            &streamed(&plan, &series),
        )
        .unwrap_or_else(|off| panic!("{bars} bars: {off}"));
    }
}

#[test]
fn the_full_set_fused_is_the_full_set_chosen_in_another_order() {
    let series = Series::walk(200, 3);
    let turned: Vec<&str> = STANDARD.iter().rev().copied().collect();
    let chosen = streamed(&Plan::new(&turned).expect("known names"), &series);
    let fused = streamed(&Plan::standard(), &series);
    for slot in 0..STANDARD.len() {
        let other = STANDARD.len() - 1 - slot;
        same(&fused[slot * 200..][..200], &chosen[other * 200..][..200])
            .unwrap_or_else(|off| panic!("{}: {off}", STANDARD[slot]));
    }
}

#[test]
fn many_symbols_are_each_computed_as_if_alone() {
    let plan = Plan::standard();
    let (symbols, bars) = (11, 120);
    let each: Vec<Series> = (0..symbols)
        .map(|seed| Series::walk(bars, seed as u64))
        .collect();
    let alone: Vec<f64> = each
        .iter()
        .flat_map(|series| batch(Path::best(), &plan, series))
        .collect();
    let rows = |pick: fn(&Series) -> &Vec<f64>| each.iter().flat_map(|s| pick(s).clone()).collect();
    let columns: [Vec<f64>; 4] = [
        rows(|s| &s.high),
        rows(|s| &s.low),
        rows(|s| &s.close),
        rows(|s| &s.volume),
    ];
    let turned = columns.clone().map(|rows| -> Vec<f64> {
        (0..bars * symbols)
            .map(|at| rows[(at % symbols) * bars + at / symbols])
            .collect()
    });
    for (layout, [high, low, close, volume]) in
        [(Layout::SymbolBar, &columns), (Layout::BarSymbol, &turned)]
    {
        for threads in [1, 3, 64] {
            let mut out = vec![0.0; alone.len()];
            let columns = Columns {
                high,
                low,
                close,
                volume,
            };
            compute_many(&plan, &columns, symbols, layout, threads, &mut out).expect("sound");
            same(&out, &alone).unwrap_or_else(|off| panic!("{layout:?} on {threads}: {off}"));
        }
    }
}

#[test]
fn lengths_and_numbers_that_do_not_fit_are_refused() {
    let plan = Plan::standard();
    let series = Series::walk(40, 1);
    let refused = |columns: Columns<'_>, room: usize| {
        compute(&plan, &columns, &mut vec![0.0; room])
            .expect_err("it doesn't fit")
            .to_string()
    };
    let short = Columns {
        volume: &series.volume[1..],
        ..series.columns()
    };
    assert!(refused(short, 31 * 40).contains("volume has 39 bars, close has 40"));
    assert!(refused(series.columns(), 31 * 39).contains("1240 are wanted"));
    let mut broken = series.clone();
    broken.low[9] = f64::NEG_INFINITY;
    assert!(refused(broken.columns(), 31 * 40).contains("bar 9: low is -inf"));
    let symbols = 40;
    let mut many = Series::walk(symbols * 50, 2);
    (many.close[33 * 50 + 4], many.volume[20 * 50 + 3]) = (f64::NAN, f64::INFINITY);
    for threads in [1, 2, 9] {
        let mut out = vec![0.0; 31 * symbols * 50];
        let layout = Layout::SymbolBar;
        let fault = compute_many(&plan, &many.columns(), symbols, layout, threads, &mut out);
        let says = fault.expect_err("two bars are broken").to_string();
        assert!(says.contains("symbol 20, bar 3: volume is inf"), "{says}");
    }
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |x| x.is_finite()),
        -1e3..1e3,
        Just(0.0),
        Just(100.0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_finite_bars_stream_as_they_batch(
        rows in prop::collection::vec((anything(), anything(), anything(), anything()), 0..150),
        odd: bool,
    ) {
        let plan = if odd { Plan::new(&ODD).expect("known names") } else { Plan::standard() };
        let series = Series::of(&rows);
        let wanted = streamed(&plan, &series);
        for path in [Path::Plain, Path::Avx2] {
            same(&batch(path, &plan, &series), &wanted).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn a_bar_that_is_not_finite_changes_nothing(
        bars in 0..60_usize,
        field in 0..4_usize,
        value in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
    ) {
        let mut computer = Computer::new(Plan::standard());
        let id = computer.symbol("X");
        let mut out = [0.0; STANDARD.len()];
        for bar in Series::walk(bars, 5).bars() {
            computer.update(id, &bar, &mut out).expect("finite");
        }
        let before = computer.snapshot();
        let mut numbers = [1.0; 4];
        numbers[field] = value;
        let [high, low, close, volume] = numbers;
        let bar = Bar { open: 1.0, high, low, close, volume };
        prop_assert!(computer.update(id, &bar, &mut out).is_err());
        prop_assert_eq!(computer.snapshot(), before);
    }

    #[test]
    fn any_bytes_are_restored_or_refused(noise in prop::collection::vec(any::<u8>(), 0..300), keep in 0..200_usize) {
        let mut computer = Computer::new(Plan::new(&["stddev_3", "obv"]).expect("known names"));
        let id = computer.symbol("X");
        let mut bytes = computer.snapshot();
        bytes.truncate(keep);
        bytes.extend(noise);
        let _ = computer.restore(&bytes);
        let mut out = [0.0; 2];
        prop_assert!(computer.update(id, &Bar::default(), &mut out).is_ok());
    }
}
