//! What holds for every strategy and every recording.

mod support;

use std::sync::Arc;

use paper_exchange::core::{Exchange, ExchangeSettings, NewOrder, UpdateEvent};
use paper_exchange::replay::{Replay, Schedule, Tick};
use proptest::prelude::*;
use rust_decimal::Decimal;

use backtest::{Outcome, Settings};
use support::{Dice, play, recording};

const NEVER: u64 = u64::MAX;

fn settings(seed: u64, latency_ms: u64) -> Settings {
    Settings {
        seed,
        latency_ms,
        warm_up: 0,
        ..Settings::default()
    }
}

/// The journal's lines before this instant; the first says under what conditions.
fn lines_before(outcome: &Outcome, at: i64) -> Vec<&str> {
    let lines = outcome.journal.text().lines().skip(1);
    lines
        .take_while(|line| line.split(' ').next().unwrap().parse::<i64>().unwrap() < at)
        .collect()
}

/// The outcome's orders once more, on the exchange as its service drives it: every tick in its turn.
fn fills_of_the_exchange(
    recording: &Arc<paper_exchange::recording::Recording>,
    settings: &Settings,
    outcome: &Outcome,
) -> Vec<(i64, String, Decimal, Decimal)> {
    let schedule = Arc::new(Schedule::new(Arc::clone(recording), None, None).unwrap());
    let start = schedule.start();
    let mut replay = Replay::new(Arc::clone(&schedule), start - 3_600_000_000_000, 1.0);
    let mut exchange = Exchange::new(
        ExchangeSettings {
            seed: settings.seed,
            partial_fills: settings.partial_fills,
            slippage_bp: settings.slippage_bp,
            latency: settings.latency_ms as i64 * 1_000_000,
            multiplier: settings.multiplier,
            opening_cash: settings.cash,
        },
        recording.symbols(),
        start,
    );
    exchange.trade_on(schedule.dates());
    let account = exchange.open_account("PKBACKTEST", "");
    let mut ticks: Vec<Tick> = Vec::new();
    let end = outcome.closes.last().unwrap().0;
    replay.advance_to(end, &mut |tick| ticks.push(tick));
    let mut orders = outcome.orders.iter().peekable();
    let mut fills = Vec::new();
    let mut take = |exchange: &mut Exchange| {
        for update in exchange.take_updates() {
            if let (UpdateEvent::Fill | UpdateEvent::PartialFill, Some(fill)) =
                (update.event, update.fill)
            {
                fills.push((fill.at, fill.symbol.to_string(), fill.qty, fill.price));
            }
        }
    };
    let mut submit_until =
        |exchange: &mut Exchange, until: i64, take: &mut dyn FnMut(&mut Exchange)| {
            loop {
                let due = exchange.next_due().filter(|due| *due < until);
                let asked = orders.peek().map(|order| order.at).filter(|at| *at < until);
                match (due, asked) {
                    (Some(due), asked) if asked.is_none_or(|asked| due <= asked) => {
                        exchange.advance(due);
                        take(exchange);
                    }
                    (_, Some(at)) => {
                        let order = orders.next().unwrap();
                        exchange.advance(at);
                        let symbol = &outcome.symbols[order.symbol];
                        let request = NewOrder {
                            client_order_id: Some(order.client_order_id.clone()),
                            ..NewOrder::market(symbol, order.side, order.qty)
                        };
                        exchange.submit(account, &request).unwrap();
                        take(exchange);
                    }
                    _ => return,
                }
            }
        };
    for tick in &ticks {
        submit_until(&mut exchange, tick.at(), &mut take);
        exchange.tick(tick);
    }
    submit_until(&mut exchange, i64::MAX, &mut take);
    take(&mut exchange);
    fills
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passing_over_quiet_prices_changes_nothing(seed in 0u64..500, latency in prop_oneof![Just(1u64), Just(700), Just(20_000)]) {
        let recording = recording(seed, NEVER);
        let settings = settings(seed, latency);
        let quick = play(&recording, &settings, &mut Dice::new(seed));
        let mut exact = Dice { quotes: true, ..Dice::new(seed) };
        let slow = play(&recording, &settings, &mut exact);
        prop_assert!(exact.quotes_seen > 500);
        prop_assert!(quick.fills.len() > 20);
        let (one, other) = (quick.journal.text(), slow.journal.text());
        let parts = one.lines().zip(other.lines()).find(|(line, beside)| line != beside);
        prop_assert_eq!(parts, None);
        prop_assert!(quick == slow);
    }

    #[test]
    fn it_trades_as_the_exchange_does(seed in 0u64..500, latency in prop_oneof![Just(1u64), Just(3_000)]) {
        let recording = recording(seed, NEVER);
        let settings = settings(seed, latency);
        // Refused orders and cancels are no part of what is played again.
        let outcome = play(&recording, &settings, &mut Dice::new(seed));
        prop_assume!(!outcome.journal.text().contains(" canceled "));
        prop_assume!(outcome.refusals.iter().all(|refusal| refusal.check != "exchange"));
        let played: Vec<(i64, String, Decimal, Decimal)> = outcome
            .fills
            .iter()
            .map(|fill| (fill.at, outcome.symbols[fill.symbol].clone(), fill.qty, fill.price))
            .collect();
        let filled = fills_of_the_exchange(&recording, &settings, &outcome);
        let parts = played.iter().zip(&filled).find(|(fill, beside)| fill != beside);
        prop_assert_eq!(parts, None);
        prop_assert_eq!(played.len(), filled.len());
    }

    #[test]
    fn no_decision_knows_a_later_price(seed in 0u64..500, turn in 30u64..300) {
        let settings = settings(seed, 1);
        let one = play(&recording(seed, NEVER), &settings, &mut Dice::new(seed));
        let other = play(&recording(seed, turn), &settings, &mut Dice::new(seed));
        // The first minute of the other prices.
        let day = turn / 110;
        let first = common::calendar::session(format!("2013-10-{:02}", 7 + day).parse().unwrap()).unwrap();
        let changed = first.open + (turn % 110) as i64 * 60_000_000_000 - 20 * 60_000_000_000;
        prop_assert_eq!(lines_before(&one, changed), lines_before(&other, changed));
        prop_assert_ne!(one.journal.hash(), other.journal.hash());
    }

    #[test]
    fn an_order_meets_prices_after_its_bar(seed in 0u64..500, latency in 1u64..90_000) {
        let outcome = play(&recording(seed, NEVER), &settings(seed, latency), &mut Dice::new(seed));
        prop_assert!(!outcome.fills.is_empty());
        for fill in &outcome.fills {
            prop_assert!(fill.at >= outcome.orders[fill.order].at + latency as i64 * 1_000_000);
        }
    }

    #[test]
    fn the_books_add_up(seed in 0u64..500) {
        let settings = settings(seed, 1);
        let outcome = play(&recording(seed, NEVER), &settings, &mut Dice::new(seed));
        let mut cash = settings.cash;
        for fill in &outcome.fills {
            cash -= fill.side.signed((fill.qty * fill.price).round_dp(2));
        }
        prop_assert_eq!(cash, outcome.cash);
        let held: Decimal = outcome
            .positions
            .iter()
            .map(|(_, qty, price)| (qty * price).round_dp(2))
            .sum();
        let (at, equity) = *outcome.closes.last().unwrap();
        prop_assert_eq!(equity, cash + held);
        // The curve's last point is the last bar's; what that bar's orders cost comes after it.
        let last = *outcome.curve.at.last().unwrap();
        prop_assert!(last <= at);
        if outcome.fills.iter().all(|fill| fill.at <= last) {
            let curve = Decimal::try_from(*outcome.curve.equity.last().unwrap()).unwrap();
            prop_assert!((curve - equity).abs() < Decimal::new(5, 2), "{} {}", curve, equity);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_hash_and_another_one_another() {
    let recording = recording(3, NEVER);
    let hash = |seed| {
        let outcome = play(&recording, &settings(seed, 1), &mut Dice::new(9));
        outcome.journal.hash()
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn bars_before_the_first_day_warm_the_features_up() {
    let recording = recording(4, NEVER);
    let shown = |warm_up| {
        let settings = Settings {
            from: Some("2013-10-08".parse().unwrap()),
            warm_up,
            ..Settings::default()
        };
        let mut dice = Dice::new(1);
        let outcome = play(&recording, &settings, &mut dice);
        (outcome.shown, dice.bars_seen.len() as u64, outcome.sessions)
    };
    let (cold, seen, sessions) = shown(0);
    let (warm, ..) = shown(50);
    assert_eq!((cold, sessions), (seen, 2));
    assert!(warm >= cold);
    // The features need eight bars, and some twenty come before the open.
    let settings = Settings {
        from: Some("2013-10-08".parse().unwrap()),
        to: Some("2013-10-08".parse().unwrap()),
        warm_up: 0,
        ..Settings::default()
    };
    let long = backtest::run(
        &recording,
        &settings,
        &["sma_60".to_owned()],
        &mut Dice::new(1),
        &mut || true,
    )
    .unwrap();
    let warmed = Settings {
        warm_up: 100,
        ..settings
    };
    let warmed = backtest::run(
        &recording,
        &warmed,
        &["sma_60".to_owned()],
        &mut Dice::new(1),
        &mut || true,
    )
    .unwrap();
    assert!(long.shown < warmed.shown, "{} {}", long.shown, warmed.shown);
}
