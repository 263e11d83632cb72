//! Limits of loss, what can't be run, and what stops a run.

mod support;

use std::convert::Infallible;

use backtest::{BacktestError, Bar, Direction, Portfolio, Settings, Signal, Strategy, run};
use rust_decimal::Decimal;
use support::{Dice, features, play, recording};

fn settings(limits: serde_json::Value) -> Settings {
    Settings {
        limits: Some(limits),
        partial_fills: false,
        ..Settings::default()
    }
}

/// Wants to be long in everything, always.
struct Bull;

impl Strategy for Bull {
    type Error = Infallible;

    fn on_bar(
        &mut self,
        bar: &Bar,
        _features: &[f64],
        _portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> Result<(), Infallible> {
        signals.push(Signal {
            symbol: bar.symbol,
            direction: Direction::Long,
            strength: 1.0,
        });
        Ok(())
    }
}

#[test]
fn what_is_held_asks_for_nothing_more() {
    let recording = recording(1, u64::MAX);
    let outcome = run(
        &recording,
        &settings(serde_json::json!({})),
        &[],
        &mut Bull,
        &mut || true,
    )
    .unwrap();
    assert_eq!(outcome.signals, outcome.shown);
    // One order a symbol, and now and then one for what a fall has made missing.
    assert!(
        (3..30).contains(&outcome.orders.len()),
        "{}",
        outcome.orders.len()
    );
    assert_eq!(
        outcome.idle_signals,
        outcome.signals - outcome.orders.len() as u64
    );
    assert_eq!(outcome.positions.len(), 3);
}

#[test]
fn the_gate_s_limits_hold() {
    let recording = recording(1, u64::MAX);
    let small = serde_json::json!({"max_order_notional": 5000});
    let outcome = run(&recording, &settings(small), &[], &mut Bull, &mut || true).unwrap();
    assert!(outcome.orders.is_empty());
    assert_eq!(outcome.refusals.len() as u64, outcome.signals);
    assert!(
        outcome
            .refusals
            .iter()
            .all(|refusal| refusal.check == "notional")
    );
}

#[test]
fn a_drawdown_halts_the_run_for_good() {
    let recording = recording(1, u64::MAX);
    let strict = Settings {
        slippage_bp: Decimal::from(100),
        ..settings(serde_json::json!({"max_drawdown_pct": 0.05}))
    };
    let outcome = play(&recording, &strict, &mut Dice::new(5));
    assert!(outcome.halted);
    let text = outcome.journal.text();
    let halted = text
        .lines()
        .position(|line| line.contains(" state HALTED "));
    let halted = halted.expect("it says so");
    let after: Vec<&str> = text.lines().skip(halted).collect();
    assert!(
        after.iter().all(|line| !line.contains(" order ")),
        "{after:?}"
    );
    assert!(
        outcome
            .refusals
            .iter()
            .any(|refusal| refusal.check == "trading_state")
    );
    let free = Settings {
        limits: None,
        ..strict
    };
    let outcome = play(&recording, &free, &mut Dice::new(5));
    assert!(!outcome.halted && outcome.refusals.is_empty());
}

#[test]
fn a_day_s_loss_only_lets_reduce_until_the_next_day() {
    let recording = recording(1, u64::MAX);
    let strict = Settings {
        slippage_bp: Decimal::from(100),
        ..settings(serde_json::json!({"max_daily_loss_pct": 0.05}))
    };
    let outcome = play(&recording, &strict, &mut Dice::new(5));
    let states: Vec<&str> = outcome
        .journal
        .text()
        .lines()
        .filter_map(|line| line.split_once(" state ")?.1.split(' ').next())
        .collect();
    assert_eq!(states[..2], ["REDUCING", "ACTIVE"], "{states:?}");
    assert!(!outcome.halted);
}

#[test]
fn what_can_t_be_run_is_refused_with_a_reason() {
    let recording = recording(1, u64::MAX);
    let said = |settings: Settings, features: &[&str]| {
        let features: Vec<String> = features.iter().map(|name| (*name).to_owned()).collect();
        run(&recording, &settings, &features, &mut Bull, &mut || true)
            .unwrap_err()
            .to_string()
    };
    let default = Settings::default;
    let symbols = Settings {
        symbols: vec!["ZZZ".to_owned()],
        ..default()
    };
    assert_eq!(
        said(symbols, &[]),
        "symbol \"ZZZ\" isn't in the recording; it holds AAA, BBB, CCC"
    );
    let twice = Settings {
        symbols: vec!["AAA".to_owned(), "AAA".to_owned()],
        ..default()
    };
    assert!(said(twice, &[]).contains("twice"));
    let early = Settings {
        to: Some("2013-10-01".parse().unwrap()),
        ..default()
    };
    assert!(said(early, &[]).contains("the recording holds 2013-10-07 to 2013-10-09"));
    let broke = Settings {
        cash: Decimal::ZERO,
        ..default()
    };
    assert!(said(broke, &[]).starts_with("cash = 0: above 0"));
    let limits = settings(serde_json::json!({"max_order_quantity": 5}));
    assert!(said(limits, &[]).contains("max_order_quantity"));
    assert!(said(default(), &["rsy_14"]).contains("did you mean \"rsi_14\"?"));
}

#[test]
fn a_run_can_be_stopped_between_sessions() {
    let recording = recording(1, u64::MAX);
    let mut left = 2;
    let mut go_on = || {
        left -= 1;
        left > 0
    };
    let error = run(
        &recording,
        &Settings::default(),
        &features(),
        &mut Dice::new(1),
        &mut go_on,
    );
    assert!(matches!(error, Err(BacktestError::Stopped(2))));
}

#[test]
fn without_latency_an_order_still_comes_after_its_bar() {
    let recording = recording(1, u64::MAX);
    let settings = Settings {
        latency_ms: 0,
        ..Settings::default()
    };
    let outcome = play(&recording, &settings, &mut Dice::new(2));
    assert!(!outcome.fills.is_empty());
    for fill in &outcome.fills {
        assert!(fill.at > outcome.orders[fill.order].at);
    }
}
