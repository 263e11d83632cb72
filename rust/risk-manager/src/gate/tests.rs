mod account;
mod sequences;

use super::*;

const NOW: f64 = 1000.0;

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// An open market, $100,000, IBM quoted 99.99 × 100.01 just now, nothing held.
fn gate() -> Gate {
    gate_with("{}")
}

fn gate_with(limits: &str) -> Gate {
    let mut gate = Gate::new(Limits::from_json(limits).unwrap());
    gate.set_session(true);
    gate.set_account(account("100000", "100000"));
    gate.set_quote("IBM", 99.99, 100.01, 100.0, NOW);
    gate.set_quote("BAC", 9.99, 10.01, 10.0, NOW);
    gate
}

fn account(equity: &str, last_equity: &str) -> Account {
    Account {
        equity: dec(equity),
        last_equity: dec(last_equity),
        cash: dec(equity),
        buying_power: dec(equity) * Decimal::TWO,
        multiplier: Decimal::TWO,
    }
}

fn buy(qty: &str) -> Order {
    Order::market("IBM", Side::Buy, dec(qty))
}

fn sell(qty: &str) -> Order {
    Order::market("IBM", Side::Sell, dec(qty))
}

fn limit(order: Order, price: &str) -> Order {
    Order {
        order_type: OrderType::Limit,
        limit_price: Some(dec(price)),
        ..order
    }
}

fn open(side: Side, qty: &str, price: &str) -> OpenOrder {
    OpenOrder {
        side,
        open_qty: dec(qty),
        price: Some(dec(price)),
        order_type: OrderType::Limit,
        in_doubt: false,
    }
}

fn refused_by(gate: &mut Gate, order: &Order) -> Vec<&'static str> {
    let verdict = gate.check(order, NOW, true);
    for refusal in &verdict.refusals {
        for text in [
            &refusal.limit,
            &refusal.value,
            &refusal.message,
            &refusal.remedy,
        ] {
            assert!(!text.is_empty(), "{refusal:?}");
        }
    }
    verdict
        .refusals
        .iter()
        .map(|refusal| refusal.check)
        .collect()
}

fn taken(gate: &mut Gate, order: &Order) {
    assert_eq!(refused_by(gate, order), [""; 0], "{order:?}");
}

#[test]
fn an_ordinary_order_passes_every_check_and_is_told_what_it_costs() {
    let verdict = gate().check(&buy("100"), NOW, true);
    assert!(verdict.allowed(), "{:?}", verdict.refusals);
    assert!(verdict.warnings.is_empty());
    assert_eq!(verdict.checks_run, 20);
    assert_eq!(verdict.price, Some(dec("100.01")));
    assert_eq!(verdict.notional, Some(dec("10001")));
    assert_eq!(verdict.equity_pct, Some(dec("10")));
    assert_eq!(verdict.buying_power_after, Some(dec("189999")));
    assert_eq!(verdict.spread_cost, Some(dec("1")));
    assert_eq!(verdict.max_qty, Some(dec("499")));
}

#[test]
fn quantities_that_arent_are_refused() {
    for qty in ["0", "-5", "99999999999999999999"] {
        assert_eq!(refused_by(&mut gate(), &buy(qty)), ["quantity"], "{qty}");
    }
    assert!(refused_by(&mut gate(), &buy("0.0000000001")).contains(&"quantity"));
    assert!(refused_by(&mut gate(), &buy("10001")).contains(&"quantity"));
    taken(&mut gate(), &buy("0.5"));
}

#[test]
fn prices_that_arent_are_refused() {
    for price in ["0", "-1", "99999999999999"] {
        assert_eq!(
            refused_by(&mut gate(), &limit(buy("1"), price)),
            ["price"],
            "{price}"
        );
    }
    let without = Order {
        limit_price: None,
        ..limit(buy("1"), "1")
    };
    assert_eq!(refused_by(&mut gate(), &without), ["price"]);
    let stop = Order {
        order_type: OrderType::Stop,
        ..buy("1")
    };
    assert_eq!(refused_by(&mut gate(), &stop), ["price"]);
}

#[test]
fn reducing_takes_what_reduces_and_halted_nothing() {
    let mut gate = gate();
    gate.set_position("IBM", dec("100"), dec("100"));
    gate.set_trading_state(TradingState::Reducing, "daily loss");
    assert_eq!(refused_by(&mut gate, &buy("1")), ["trading_state"]);
    taken(&mut gate, &sell("100"));
    gate.set_trading_state(TradingState::Halted, "kill switch");
    assert_eq!(refused_by(&mut gate, &sell("50")), ["trading_state"]);
}

#[test]
fn a_short_is_reduced_by_buying() {
    let mut gate = gate();
    gate.set_position("IBM", dec("-100"), dec("100"));
    gate.set_trading_state(TradingState::Reducing, "");
    taken(&mut gate, &buy("100"));
    assert_eq!(refused_by(&mut gate, &buy("101")), ["trading_state"]);
    assert!(refused_by(&mut gate, &sell("1")).contains(&"trading_state"));
}

#[test]
fn closing_orders_that_are_open_already_leave_less_to_reduce() {
    let mut gate = gate();
    gate.set_position("IBM", dec("100"), dec("100"));
    gate.set_trading_state(TradingState::Reducing, "");
    gate.set_order("a", "IBM", open(Side::Sell, "60", "101"));
    taken(&mut gate, &sell("40"));
    let refused = refused_by(&mut gate, &sell("41"));
    assert_eq!(refused, ["trading_state", "short_sale"]);
}

#[test]
fn symbols_are_checked_against_the_lists() {
    let mut blocked = gate_with(r#"{"blocked_symbols": ["IBM"]}"#);
    assert_eq!(refused_by(&mut blocked, &buy("1")), ["symbol"]);
    let mut allowed = gate_with(r#"{"allowed_symbols": ["BAC"]}"#);
    assert_eq!(refused_by(&mut allowed, &buy("1")), ["symbol"]);
    for name in ["ibm", "I\u{202e}BM", "[red]", "", "I BM"] {
        let order = Order::market(name, Side::Buy, Decimal::ONE);
        assert!(
            refused_by(&mut gate(), &order).contains(&"symbol"),
            "{name}"
        );
    }
}

#[test]
fn an_order_in_doubt_blocks_its_symbol_alone() {
    let mut gate = gate();
    let doubtful = OpenOrder {
        in_doubt: true,
        ..open(Side::Buy, "10", "100")
    };
    gate.set_order("a", "IBM", doubtful);
    assert_eq!(refused_by(&mut gate, &buy("1")), ["order_in_doubt"]);
    taken(&mut gate, &Order::market("BAC", Side::Buy, Decimal::ONE));
    gate.remove_order("a");
    taken(&mut gate, &buy("1"));
}

#[test]
fn a_closed_market_takes_only_what_can_wait() {
    let mut gate = gate();
    gate.set_session(false);
    assert_eq!(refused_by(&mut gate, &buy("1")), ["market_closed"]);
    for tif in [TimeInForce::Gtc, TimeInForce::Opg, TimeInForce::Cls] {
        let order = Order {
            time_in_force: tif,
            ..limit(buy("1"), "100")
        };
        let verdict = gate.check(&order, NOW, false);
        assert!(verdict.allowed(), "{:?}", verdict.refusals);
        assert_eq!(verdict.warnings[0].check, "market_closed");
    }
    let extended = Order {
        extended_hours: true,
        ..limit(buy("2"), "100")
    };
    taken(&mut gate, &extended);
    let extended_market = Order {
        extended_hours: true,
        ..buy("1")
    };
    assert_eq!(refused_by(&mut gate, &extended_market), ["market_closed"]);
    gate.set_position("IBM", dec("10"), dec("100"));
    taken(&mut gate, &sell("10"));
}

#[test]
fn a_session_that_isnt_known_counts_as_closed() {
    let mut gate = Gate::new(Limits::default());
    gate.set_account(account("100000", "100000"));
    gate.set_quote("IBM", 99.99, 100.01, 100.0, NOW);
    assert_eq!(refused_by(&mut gate, &buy("1")), ["market_closed"]);
}

#[test]
fn a_stale_or_missing_quote_is_refused_but_for_the_way_out() {
    let mut gate = gate();
    let late = gate.check(&buy("1"), NOW + 15.1, false);
    assert_eq!(late.refusals[0].check, "stale_quote");
    assert_eq!(late.refusals[0].value, "15.1 s old");
    assert!(gate.check(&buy("1"), NOW + 15.0, false).allowed());
    let unknown = Order::limit("SPY", Side::Buy, Decimal::ONE, dec("100"));
    assert_eq!(refused_by(&mut gate, &unknown), ["stale_quote"]);
    gate.set_position("IBM", dec("10"), dec("100"));
    let way_out = gate.check(&sell("10"), NOW + 3600.0, false);
    assert!(way_out.allowed(), "{:?}", way_out.refusals);
    assert_eq!(way_out.warnings[0].check, "stale_quote");
}

#[test]
fn a_market_order_without_any_price_is_refused() {
    let mut gate = gate();
    let order = Order::market("SPY", Side::Buy, Decimal::ONE);
    assert_eq!(refused_by(&mut gate, &order), ["stale_quote", "notional"]);
}

#[test]
fn the_collar_refuses_what_gives_money_away_and_warns_of_the_far() {
    let cases = [
        (limit(buy("1"), "105.02"), true, false),
        (limit(buy("1"), "105.01"), false, false),
        (limit(buy("1"), "95.00"), false, false),
        (limit(buy("1"), "94.99"), false, true),
        (limit(sell("1"), "94.99"), true, false),
        (limit(sell("1"), "95.00"), false, false),
        (limit(sell("1"), "105.02"), false, true),
    ];
    for (order, refused, warned) in cases {
        let verdict = gate().check(&order, NOW, false);
        let collar = |list: &[Refusal]| list.iter().any(|entry| entry.check == "price_collar");
        assert_eq!(collar(&verdict.refusals), refused, "{order:?}");
        assert_eq!(collar(&verdict.warnings), warned, "{order:?}");
    }
}

#[test]
fn a_market_order_into_a_wide_quote_is_refused() {
    let mut gate = gate();
    gate.set_quote("IBM", 90.0, 100.0, 95.0, NOW);
    assert_eq!(refused_by(&mut gate, &buy("1")), ["price_collar"]);
    taken(&mut gate, &limit(buy("1"), "95"));
    gate.set_position("IBM", dec("1"), dec("95"));
    taken(&mut gate, &sell("1"));
}

#[test]
fn stops_are_held_to_their_side_and_their_limit() {
    let stop = |side, stop: &str, limit: Option<&str>| Order {
        order_type: if limit.is_some() {
            OrderType::StopLimit
        } else {
            OrderType::Stop
        },
        stop_price: Some(dec(stop)),
        limit_price: limit.map(dec),
        ..Order::market("IBM", side, Decimal::ONE)
    };
    let warned = gate().check(&stop(Side::Buy, "99", None), NOW, false);
    assert_eq!(warned.warnings[0].check, "price_collar");
    taken(&mut gate(), &stop(Side::Buy, "101", None));
    taken(&mut gate(), &stop(Side::Buy, "101", Some("102")));
    let far = stop(Side::Buy, "101", Some("110"));
    assert_eq!(refused_by(&mut gate(), &far), ["price_collar"]);
}

#[test]
fn bracket_legs_on_the_wrong_side_are_refused() {
    let legs = |order: Order, stop: &str, target: &str| Order {
        stop_loss: Some(dec(stop)),
        take_profit: Some(dec(target)),
        ..order
    };
    taken(&mut gate(), &legs(buy("1"), "95", "110"));
    taken(&mut gate(), &legs(sell("1"), "105", "90"));
    let wrong = refused_by(&mut gate(), &legs(buy("1"), "105", "90"));
    assert_eq!(wrong, ["bracket", "bracket"]);
    let verdict = gate().check(&legs(limit(buy("10"), "100"), "95", "110"), NOW, false);
    assert_eq!(verdict.loss_at_stop, Some(dec("50")));
}

#[test]
fn notional_is_limited_in_general_and_by_symbol() {
    assert_eq!(refused_by(&mut gate(), &buy("500")), ["notional"]);
    taken(&mut gate(), &buy("499"));
    let mut own =
        gate_with(r#"{"symbols": {"IBM": {"max_order_notional": "1000.50", "max_order_qty": 5}}}"#);
    assert_eq!(refused_by(&mut own, &buy("11")), ["quantity", "notional"]);
    taken(&mut own, &Order::market("BAC", Side::Buy, dec("200")));
}

#[test]
fn the_same_order_again_within_the_window_is_refused() {
    let mut gate = gate();
    taken(&mut gate, &buy("1"));
    assert_eq!(refused_by(&mut gate, &buy("1")), ["duplicate"]);
    taken(&mut gate, &buy("2"));
    assert!(gate.check(&buy("1"), NOW + 2.1, true).allowed());
}

#[test]
fn a_preview_counts_for_nothing() {
    let mut gate = gate_with(r#"{"max_orders_per_minute": 1}"#);
    for _ in 0..5 {
        assert!(gate.check(&buy("1"), NOW, false).allowed());
    }
    taken(&mut gate, &buy("1"));
}

#[test]
fn a_refused_order_counts_for_nothing() {
    let mut gate = gate_with(r#"{"max_orders_per_minute": 1}"#);
    assert!(!gate.check(&buy("20000"), NOW, true).allowed());
    taken(&mut gate, &buy("1"));
}

#[test]
fn the_rate_is_limited_over_a_minute() {
    let mut gate = gate_with(r#"{"max_orders_per_minute": 3, "quote_stale_s": 100}"#);
    for qty in ["1", "2", "3"] {
        taken(&mut gate, &buy(qty));
    }
    assert_eq!(refused_by(&mut gate, &buy("4")), ["order_rate"]);
    assert!(gate.check(&buy("4"), NOW + 59.9, false).refusals[0].check == "order_rate");
    assert!(gate.check(&buy("4"), NOW + 60.0, false).allowed());
}

#[test]
fn open_orders_are_counted() {
    let mut gate = gate_with(r#"{"max_open_orders": 2}"#);
    gate.set_order("a", "IBM", open(Side::Buy, "1", "99"));
    gate.set_order("b", "BAC", open(Side::Buy, "1", "9"));
    gate.set_order("b", "BAC", open(Side::Buy, "2", "9"));
    assert_eq!(refused_by(&mut gate, &buy("1")), ["open_orders"]);
    gate.remove_order("a");
    gate.remove_order("never seen");
    taken(&mut gate, &buy("1"));
}

#[test]
fn admitting_is_checking_without_the_largest_quantity() {
    for qty in ["1", "100", "600", "20000", "-1"] {
        let (mut one, mut other) = (gate(), gate());
        let checked = one.check(&buy(qty), NOW, true);
        let admitted = other.admit(&buy(qty), NOW);
        assert_eq!(admitted.max_qty, None);
        let unasked = Verdict {
            max_qty: None,
            ..checked
        };
        assert_eq!(admitted, unasked, "{qty}");
        // It counts for the next one in the same way.
        let again = one.check(&buy(qty), NOW, true).allowed();
        assert_eq!(other.admit(&buy(qty), NOW).allowed(), again, "{qty}");
    }
}

#[test]
fn an_exact_quote_is_the_quote_of_the_same_numbers() {
    let (mut one, mut other) = (gate(), gate());
    one.set_quote("IBM", 50.25, 50.5, 50.3, NOW);
    let exact = |text| Some(dec(text));
    other.set_exact_quote("IBM", exact("50.25"), exact("50.5"), exact("50.3"), NOW);
    assert_eq!(
        one.check(&buy("10"), NOW, false),
        other.check(&buy("10"), NOW, false)
    );
}
