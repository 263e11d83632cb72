//! What holds whatever happens: any sequence of requests, quotes, prints and hours.

mod support;

use std::collections::HashMap;

use paper_exchange::core::{
    CloseSize, Exchange, ExchangeSettings, NewOrder, OrderClass, OrderType, Replacement, Role,
    Side, Status, StopLoss, TakeProfit, TimeInForce,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use support::{Pit, SYMBOLS, clock, dec};

#[derive(Clone, Debug)]
enum Step {
    Submit(NewOrder),
    Cancel(usize),
    Replace(usize, Replacement),
    Close(usize, u8),
    Quote(usize, i64, i64),
    Trade(usize, i64),
    Wait(i64),
}

fn cents(price: i64) -> Decimal {
    Decimal::new(price, 2)
}

fn order() -> impl Strategy<Value = NewOrder> {
    let kind = prop_oneof![
        4 => Just(OrderType::Market),
        4 => Just(OrderType::Limit),
        2 => Just(OrderType::Stop),
        1 => Just(OrderType::StopLimit),
        1 => Just(OrderType::TrailingStop),
    ];
    let tif = prop_oneof![
        5 => Just(TimeInForce::Day),
        2 => Just(TimeInForce::Gtc),
        1 => Just(TimeInForce::Ioc),
        1 => Just(TimeInForce::Fok),
        1 => Just(TimeInForce::Cls),
        1 => Just(TimeInForce::Opg),
    ];
    let class = prop_oneof![
        6 => Just(OrderClass::Simple),
        1 => Just(OrderClass::Bracket),
        1 => Just(OrderClass::Oco),
        1 => Just(OrderClass::Oto),
    ];
    let size = prop_oneof![4 => (1i64..400, 0u32..1), 1 => (1i64..3_000_000_000, 9u32..10)];
    (
        0..SYMBOLS.len(),
        any::<bool>(),
        kind,
        tif,
        class,
        size,
        9_000i64..11_000,
        9_000i64..11_000,
        any::<bool>(),
    )
        .prop_map(
            |(symbol, buys, kind, tif, class, (mantissa, scale), one, other, extended_hours)| {
                let side = if buys { Side::Buy } else { Side::Sell };
                let (low, high) = (one.min(other), one.max(other) + 1);
                let (profit, loss) = if buys == (class != OrderClass::Oco) {
                    (high, low)
                } else {
                    (low, high)
                };
                let grouped = class != OrderClass::Simple;
                NewOrder {
                    kind,
                    tif,
                    class,
                    limit: matches!(kind, OrderType::Limit | OrderType::StopLimit)
                        .then(|| cents(one)),
                    stop: matches!(kind, OrderType::Stop | OrderType::StopLimit)
                        .then(|| cents(other)),
                    trail_percent: (kind == OrderType::TrailingStop).then(|| dec("1")),
                    take_profit: (grouped && class != OrderClass::Oto).then(|| TakeProfit {
                        limit: Some(cents(profit)),
                    }),
                    stop_loss: grouped.then(|| StopLoss {
                        stop: Some(cents(loss)),
                        limit: None,
                    }),
                    extended_hours: extended_hours && kind == OrderType::Limit && !grouped,
                    ..NewOrder::market(SYMBOLS[symbol], side, Decimal::new(mantissa, scale))
                }
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    let price = 9_000i64..11_000;
    prop_oneof![
        6 => order().prop_map(Step::Submit),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (any::<usize>(), 1i64..400, price.clone()).prop_map(|(index, qty, limit)| {
            let change = Replacement { qty: Some(Decimal::from(qty)), limit: Some(cents(limit)), ..Replacement::default() };
            Step::Replace(index, change)
        }),
        1 => (0..SYMBOLS.len(), 1u8..101).prop_map(|(symbol, percent)| Step::Close(symbol, percent)),
        5 => (0..SYMBOLS.len(), price.clone(), 0i64..50).prop_map(|(symbol, bid, spread)| Step::Quote(symbol, bid, spread)),
        5 => (0..SYMBOLS.len(), price).prop_map(|(symbol, price)| Step::Trade(symbol, price)),
        3 => prop_oneof![Just(1i64), Just(600), Just(7_200), Just(40_000)].prop_map(Step::Wait),
    ]
}

fn pick(pit: &Pit, index: usize) -> Option<uuid::Uuid> {
    let orders = pit.exchange.account(0).orders();
    (!orders.is_empty()).then(|| orders[index % orders.len()].id)
}

fn play(pit: &mut Pit, step: &Step) {
    match step {
        Step::Submit(request) => {
            let _ = pit.submit(request);
        }
        Step::Cancel(index) => {
            if let Some(id) = pick(pit, *index) {
                let _ = pit.cancel(id);
            }
        }
        Step::Replace(index, change) => {
            if let Some(id) = pick(pit, *index) {
                let _ = pit.exchange.replace(0, id, change);
                pit.drain();
            }
        }
        Step::Close(symbol, percent) => {
            let size = CloseSize::Percentage(Decimal::from(*percent));
            let _ = pit.exchange.close_position(0, SYMBOLS[*symbol], size);
            pit.drain();
        }
        Step::Quote(symbol, bid, spread) => {
            pit.quote(
                SYMBOLS[*symbol],
                &cents(*bid).to_string(),
                &cents(bid + spread).to_string(),
            );
        }
        Step::Trade(symbol, price) => pit.trade(SYMBOLS[*symbol], &cents(*price).to_string()),
        Step::Wait(seconds) => {
            let until = pit.exchange.now() + seconds * 1_000_000_000;
            pit.until_nanos(until);
        }
    }
}

fn rank(status: Status) -> u8 {
    match status {
        Status::PendingNew | Status::Accepted | Status::Held => 0,
        Status::New => 1,
        Status::PartiallyFilled => 2,
        Status::Filled
        | Status::Canceled
        | Status::Expired
        | Status::Replaced
        | Status::Rejected => 3,
    }
}

/// Money and shares, from the fills alone, as a clerk would add them up.
fn check_books(pit: &Pit) {
    let account = pit.exchange.account(0);
    let mut cash = dec("100000");
    let mut shares: HashMap<&str, Decimal> = HashMap::new();
    let mut filled: HashMap<uuid::Uuid, Decimal> = HashMap::new();
    for fill in &account.fills {
        let value = (fill.qty * fill.price).round_dp(2);
        let position = shares.entry(&fill.symbol).or_default();
        match fill.side {
            Side::Buy => {
                cash -= value;
                *position += fill.qty;
            }
            Side::Sell => {
                cash += value;
                *position -= fill.qty;
            }
        }
        assert_eq!(
            fill.position_qty, *position,
            "position_qty is the quantity after the fill"
        );
        *filled.entry(fill.order_id).or_default() += fill.qty;
    }
    assert_eq!(account.cash, cash);
    for (symbol, qty) in shares {
        assert_eq!(account.position_qty(symbol), qty, "{symbol}");
    }
    for order in account.orders() {
        assert_eq!(
            order.filled_qty,
            filled.get(&order.id).copied().unwrap_or_default()
        );
        if let Some(qty) = order.qty {
            assert!(
                order.filled_qty <= qty,
                "{order:?} has more than it asked for"
            );
        }
    }
    for fill in &account.fills {
        let order = account.order(fill.order_id).expect("its order");
        assert!(
            order.accepts(fill.price),
            "{} at {} is outside the limit of {order:?}",
            fill.qty,
            fill.price
        );
    }
}

/// What the open orders keep back, added up one by one.
fn check_claims(pit: &Pit) {
    let account = pit.exchange.account(0);
    let market = pit.exchange.market();
    let claims = || account.open_orders().filter(|order| !order.waiting);
    let reserved: Decimal = claims()
        .filter(|order| !order.closes)
        .map(|order| {
            let quoted = market.find(&order.symbol).expect("a known symbol");
            let touch = quoted.ask.expect("an ask");
            let price = match (order.side, order.kind) {
                (Side::Buy, OrderType::Market) => touch,
                (Side::Buy, OrderType::TrailingStop) => order.stop.expect("a stop").max(touch),
                (Side::Buy, _) => order.limit.or(order.stop).expect("a price"),
                (Side::Sell, _) => order.limit.unwrap_or_default().max(touch * dec("1.03")),
            };
            (price * order.remaining()).round_dp(2)
        })
        .sum();
    assert_eq!(pit.reserved(), reserved);
    for symbol in SYMBOLS {
        for side in [Side::Buy, Side::Sell] {
            let mut legs: HashMap<uuid::Uuid, Decimal> = HashMap::new();
            let mut held = Decimal::ZERO;
            for order in claims().filter(|order| &*order.symbol == symbol && order.side == side) {
                match order.group {
                    Some(group) if order.role != Some(Role::Entry) => {
                        let largest = legs.entry(group).or_default();
                        *largest = (*largest).max(order.remaining());
                    }
                    _ => held += order.remaining(),
                }
            }
            let held = held + legs.values().sum::<Decimal>();
            assert_eq!(account.held(symbol, side, None), held, "{symbol} {side:?}");
        }
    }
}

fn check_updates(pit: &Pit) {
    let mut ranks: HashMap<uuid::Uuid, u8> = HashMap::new();
    for update in &pit.updates {
        let now = rank(update.order.status);
        let before = ranks.insert(update.order.id, now).unwrap_or_default();
        assert!(
            before < 3,
            "{} after the end of {}",
            update.event.word(),
            update.order.id
        );
        assert!(
            before <= now,
            "{} sends {} back",
            update.event.word(),
            update.order.id
        );
    }
}

fn pit(seed: u64) -> Pit {
    let mut pit = Pit::with(
        ExchangeSettings {
            seed,
            ..ExchangeSettings::default()
        },
        clock(9, 0, 0),
    );
    for symbol in SYMBOLS {
        pit.quote(symbol, "99.99", "100.01");
        pit.trade(symbol, "100.00");
    }
    pit
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn money_and_shares_are_conserved_and_limits_kept(seed in 0u64..5, steps in prop::collection::vec(step(), 1..120)) {
        let mut pit = pit(seed);
        for step in &steps {
            play(&mut pit, step);
            check_claims(&pit);
        }
        check_books(&pit);
        check_updates(&pit);
        let open: Vec<_> = pit.exchange.account(0).open_orders().map(|order| order.id).collect();
        for id in open {
            let _ = pit.cancel(id);
        }
        prop_assert_eq!(pit.reserved(), Decimal::ZERO);
        prop_assert_eq!(pit.exchange.account(0).open_orders().count(), 0);
    }

    #[test]
    fn the_same_requests_make_the_same_history(seed in 0u64..5, steps in prop::collection::vec(step(), 1..60)) {
        let (mut one, mut other) = (pit(seed), pit(seed));
        for step in &steps {
            play(&mut one, step);
            play(&mut other, step);
        }
        prop_assert_eq!(one.updates, other.updates);
        prop_assert_eq!(one.batches, other.batches);
    }

    #[test]
    fn an_account_comes_back_from_its_batches_and_from_a_snapshot(seed in 0u64..5, steps in prop::collection::vec(step(), 1..80)) {
        let mut pit = pit(seed);
        for step in &steps {
            play(&mut pit, step);
        }
        pit.exchange.mark();
        pit.drain();
        let fresh = || Exchange::new(ExchangeSettings { seed, ..ExchangeSettings::default() }, &SYMBOLS, clock(9, 0, 0));
        let mut from_log = fresh();
        for batch in pit.batches.clone() {
            from_log.restore(batch);
        }
        let mut from_snapshot = fresh();
        from_snapshot.restore(pit.exchange.snapshot());
        let was = pit.exchange.account(0);
        for exchange in [&from_log, &from_snapshot] {
            let is = exchange.account(0);
            prop_assert_eq!(is.cash, was.cash);
            prop_assert_eq!(&is.positions, &was.positions);
            prop_assert_eq!(is.orders(), was.orders());
            prop_assert_eq!(&is.fills, &was.fills);
            prop_assert_eq!(
                is.base_of_day(exchange.day_began()),
                was.base_of_day(pit.exchange.day_began())
            );
            prop_assert_eq!(exchange.now(), pit.exchange.now());
            let open = |account: &paper_exchange::core::Account| account.open_orders().map(|order| order.id).collect::<Vec<_>>();
            prop_assert_eq!(open(is), open(was));
        }
    }
}

/// A property that nothing ever reaches holds, too: here is what the steps do reach.
#[test]
fn the_steps_reach_every_end_of_every_kind_of_order() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 120);
    let mut seen: HashMap<String, usize> = HashMap::new();
    for seed in 0..60 {
        let mut pit = pit(seed);
        let tree = steps.new_tree(&mut runner).expect("steps");
        for step in &tree.current() {
            play(&mut pit, step);
        }
        for update in &pit.updates {
            let order = &update.order;
            for word in [
                order.kind.word(),
                order.tif.word(),
                order.class.word(),
                order.side.word(),
            ] {
                *seen
                    .entry(format!("{word} {}", update.event.word()))
                    .or_default() += 1;
            }
        }
    }
    for wanted in [
        "market fill",
        "market partial_fill",
        "market canceled",
        "market expired",
        "limit fill",
        "limit partial_fill",
        "limit replaced",
        "limit expired",
        "stop fill",
        "stop canceled",
        "stop_limit fill",
        "trailing_stop fill",
        "day expired",
        "gtc fill",
        "ioc fill",
        "ioc canceled",
        "fok fill",
        "fok canceled",
        "cls fill",
        "opg fill",
        "bracket fill",
        "bracket canceled",
        "oco fill",
        "oto fill",
        "sell fill",
        "sell replaced",
    ] {
        assert!(seen.contains_key(wanted), "never: {wanted}; seen {seen:?}");
    }
}
