//! What the order does to the account: exposure, buying power, losses.

use super::*;

#[test]
fn money_in_a_message_is_for_people_and_limit_and_value_are_for_programs() {
    let mut gate = gate_with(r#"{"max_order_qty": 1000000000}"#);
    let verdict = gate.check(&buy("18298183.25"), NOW, true);
    let refusal = |check: &str| {
        let found = verdict.refusals.iter().find(|found| found.check == check);
        found.unwrap_or_else(|| panic!("{check}: {:?}", verdict.refusals))
    };
    for (check, words, value) in [
        (
            "notional",
            "$1,830,001,306.83 is more than the $50,000.00 of one order",
            "1830001306.83",
        ),
        (
            "position",
            "the position in IBM would be $1,830,001,306.83, open orders counted; the limit is $100,000.00",
            "1830001306.83",
        ),
        (
            "gross_exposure",
            "$1,830,001,306.83 would be at risk in all, open orders counted; 200 % of equity is $200,000.00",
            "1830001306.83",
        ),
        (
            "buying_power",
            "$1,830,001,306.83 are needed and $200,000.00 are there",
            "1830001306.83",
        ),
    ] {
        let refusal = refusal(check);
        assert_eq!(refusal.message, words);
        assert_eq!(refusal.value, value);
        refusal.limit.parse::<Decimal>().unwrap();
    }
}

#[test]
fn short_sales_follow_the_rules() {
    taken(&mut gate(), &sell("10"));
    assert_eq!(refused_by(&mut gate(), &sell("10.5")), ["short_sale"]);
    let mut never = gate_with(r#"{"allow_short": false}"#);
    assert_eq!(refused_by(&mut never, &sell("10")), ["short_sale"]);
    let mut long = gate();
    long.set_position("IBM", dec("10"), dec("100"));
    assert_eq!(refused_by(&mut long, &sell("11")), ["short_sale"]);
    taken(&mut long, &sell("10"));
}

#[test]
fn reduce_only_is_kept() {
    let only = |order: Order| Order {
        reduce_only: true,
        ..order
    };
    let mut gate = gate();
    assert_eq!(refused_by(&mut gate, &only(buy("1"))), ["reduce_only"]);
    gate.set_position("IBM", dec("-10"), dec("100"));
    assert_eq!(refused_by(&mut gate, &only(buy("11"))), ["reduce_only"]);
    taken(&mut gate, &only(buy("10")));
}

#[test]
fn a_position_counts_its_open_orders_and_those_in_doubt() {
    let mut gate = gate();
    gate.set_position("IBM", dec("400"), dec("100"));
    taken(&mut gate, &buy("400"));
    gate.set_order("a", "IBM", open(Side::Buy, "300", "100"));
    assert_eq!(refused_by(&mut gate, &buy("301")), ["position"]);
    let verdict = gate.check(&buy("250"), NOW, false);
    assert!(verdict.allowed(), "{:?}", verdict.refusals);
    assert_eq!(verdict.max_qty, Some(dec("299")));
}

#[test]
fn gross_exposure_counts_all_symbols_on_their_worse_side() {
    let mut gate = gate_with(r#"{"max_gross_exposure_pct": 60}"#);
    gate.set_position("BAC", dec("-3000"), dec("10"));
    assert_eq!(gate.gross_exposure(), dec("30000"));
    taken(&mut gate, &buy("299"));
    assert_eq!(refused_by(&mut gate, &buy("300")), ["gross_exposure"]);
    gate.set_order("a", "BAC", open(Side::Sell, "1000", "10"));
    assert_eq!(gate.gross_exposure(), dec("40000"));
    assert_eq!(refused_by(&mut gate, &buy("210")), ["gross_exposure"]);
    taken(&mut gate, &buy("190"));
}

#[test]
fn without_an_account_nothing_new_is_opened() {
    let mut gate = Gate::new(Limits::default());
    gate.set_session(true);
    gate.set_quote("IBM", 99.99, 100.01, 100.0, NOW);
    assert_eq!(refused_by(&mut gate, &buy("1")), ["gross_exposure"]);
    gate.set_position("IBM", dec("5"), dec("100"));
    taken(&mut gate, &sell("5"));
}

#[test]
fn buying_power_reserves_what_the_broker_may_not_know() {
    let mut gate = gate();
    gate.set_account(Account {
        buying_power: dec("20000"),
        ..account("100000", "100000")
    });
    assert_eq!(refused_by(&mut gate, &buy("200")), ["buying_power"]);
    gate.set_order("a", "BAC", open(Side::Buy, "1000", "10"));
    assert_eq!(refused_by(&mut gate, &buy("100")), ["buying_power"]);
    taken(&mut gate, &buy("99"));
    // The next figures of the broker hold the order already; one in doubt stays reserved.
    let known = gate.account.unwrap();
    gate.set_account(known);
    taken(&mut gate, &buy("199"));
    let doubtful = OpenOrder {
        in_doubt: true,
        ..open(Side::Buy, "1000", "10")
    };
    gate.set_order("a", "BAC", doubtful);
    assert_eq!(refused_by(&mut gate, &buy("101")), ["buying_power"]);
}

#[test]
fn a_short_sale_reserves_above_the_ask() {
    let mut gate = gate();
    gate.set_account(Account {
        buying_power: dec("10300"),
        ..account("100000", "100000")
    });
    assert_eq!(refused_by(&mut gate, &sell("100")), ["buying_power"]);
    taken(&mut gate, &sell("99"));
}

#[test]
fn after_the_daily_loss_only_what_reduces_is_taken() {
    let mut gate = gate();
    gate.set_account(account("95000", "100000"));
    assert_eq!(refused_by(&mut gate, &buy("1")), ["daily_loss"]);
    gate.set_position("IBM", dec("5"), dec("100"));
    taken(&mut gate, &sell("5"));
    gate.set_account(account("95001", "100000"));
    taken(&mut gate, &buy("1"));
}

#[test]
fn one_doesnt_trade_with_oneself() {
    let mut gate = gate();
    gate.set_position("IBM", dec("10"), dec("100"));
    gate.set_order("a", "IBM", open(Side::Sell, "10", "100.00"));
    assert_eq!(refused_by(&mut gate, &buy("1")), ["self_match"]);
    assert_eq!(
        refused_by(&mut gate, &limit(buy("1"), "100")),
        ["self_match"]
    );
    taken(&mut gate, &limit(buy("1"), "99.99"));
    let stop = OpenOrder {
        order_type: OrderType::Stop,
        ..open(Side::Sell, "10", "95")
    };
    gate.set_order("a", "IBM", stop);
    taken(&mut gate, &buy("2"));
}

#[test]
fn limits_that_cant_be_are_refused_by_name() {
    for (text, named) in [
        (r#"{"max_order_qty": -1}"#, "max_order_qty"),
        (r#"{"max_order_qty": "many"}"#, "many"),
        (r#"{"max_ordr_qty": 1}"#, "max_ordr_qty"),
        (r#"{"quote_stale_s": -1}"#, "quote_stale_s"),
        ("[", "limits"),
    ] {
        let refused = Limits::from_json(text).unwrap_err();
        assert!(refused.contains(named), "{text}: {refused}");
    }
    let exact = Limits::from_json(r#"{"price_collar_pct": 0.1}"#).unwrap();
    assert_eq!(exact.price_collar_pct, dec("0.1"));
}
