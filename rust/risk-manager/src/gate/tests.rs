use super::*;
use proptest::prelude::*;

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

/// Prints how long a check takes with 100 symbols and 200 open orders; the floor only guards
/// against something growing with them.
#[test]
fn a_check_takes_microseconds() {
    let mut gate = gate_with(
        r#"{"max_open_orders": 1000, "max_gross_exposure_pct": 10000, "duplicate_window_s": 0}"#,
    );
    for index in 0..100 {
        let symbol = format!("S{index}");
        gate.set_quote(&symbol, 9.99, 10.01, 10.0, NOW);
        gate.set_position(&symbol, dec("10"), dec("10"));
        for side in 0..2 {
            gate.set_order(
                &format!("{symbol}-{side}"),
                &symbol,
                open(Side::Buy, "1", "9"),
            );
        }
    }
    let order = limit(buy("10"), "100");
    let rounds = 2_000;
    let started = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(gate.check(std::hint::black_box(&order), NOW, false));
    }
    let each = started.elapsed() / rounds;
    println!("{each:?} a check");
    assert!(each.as_micros() < 500, "{each:?}");
}

/// What can happen to a book, with two symbols whose prices stay.
#[derive(Clone, Debug)]
enum Step {
    Send {
        symbol: usize,
        side: Side,
        qty: u32,
        price: Option<u32>,
    },
    Fill {
        order: usize,
        part: u32,
    },
    Cancel {
        order: usize,
    },
    Doubt {
        order: usize,
    },
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let price = proptest::option::of(96u32..104);
    prop_oneof![
        4 => (0usize..2, side, 1u32..600, price)
            .prop_map(|(symbol, side, qty, price)| Step::Send { symbol, side, qty, price }),
        3 => (0usize..20, 1u32..=100).prop_map(|(order, part)| Step::Fill { order, part }),
        1 => (0usize..20).prop_map(|order| Step::Cancel { order }),
        1 => (0usize..20).prop_map(|order| Step::Doubt { order }),
        1 => Just(Step::Settle),
    ]
}

/// The gate, and beside it the account as the broker would keep it.
struct World {
    gate: Gate,
    positions: [Decimal; 2],
    orders: Vec<(String, usize, OpenOrder)>,
    count: usize,
}

const SYMBOLS: [&str; 2] = ["IBM", "SPY"];
const MARK: u32 = 100;

impl World {
    fn new() -> Self {
        let mut gate = gate_with(
            r#"{"max_position_notional": 50000, "max_gross_exposure_pct": 80, "max_order_notional": 40000,
                "max_orders_per_minute": 100000, "duplicate_window_s": 0}"#,
        );
        for symbol in SYMBOLS {
            gate.set_quote(
                symbol,
                f64::from(MARK),
                f64::from(MARK),
                f64::from(MARK),
                NOW,
            );
        }
        Self {
            gate,
            positions: [Decimal::ZERO; 2],
            orders: Vec::new(),
            count: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send {
                symbol,
                side,
                qty,
                price,
            } => self.send(symbol, side, qty, price),
            Step::Fill { order, part } => self.fill(order, part),
            Step::Cancel { order } => {
                if order < self.orders.len() {
                    let (id, ..) = self.orders.remove(order);
                    self.gate.remove_order(&id);
                }
            }
            Step::Doubt { order } => self.doubt(order, true),
            Step::Settle => {
                for order in 0..self.orders.len() {
                    self.doubt(order, false);
                }
            }
        }
    }

    fn send(&mut self, symbol: usize, side: Side, qty: u32, price: Option<u32>) {
        let mut order = Order::market(SYMBOLS[symbol], side, Decimal::from(qty));
        if let Some(price) = price {
            order.order_type = OrderType::Limit;
            order.limit_price = Some(Decimal::from(price));
        }
        if self.gate.check(&order, NOW, true).allowed() {
            self.count += 1;
            let id = format!("o{}", self.count);
            let open = OpenOrder {
                side,
                open_qty: order.qty,
                price: order.limit_price,
                order_type: order.order_type,
                in_doubt: false,
            };
            self.gate.set_order(&id, SYMBOLS[symbol], open);
            self.orders.push((id, symbol, open));
        }
    }

    fn fill(&mut self, index: usize, part: u32) {
        let Some((id, symbol, order)) = self.orders.get_mut(index) else {
            return;
        };
        let qty = (order.open_qty * Decimal::from(part) / Decimal::ONE_HUNDRED)
            .ceil()
            .min(order.open_qty);
        let signed = qty
            * if order.side == Side::Buy {
                Decimal::ONE
            } else {
                Decimal::NEGATIVE_ONE
            };
        order.open_qty -= qty;
        self.positions[*symbol] += signed;
        let (id, symbol, order) = (id.clone(), *symbol, *order);
        self.gate
            .set_position(SYMBOLS[symbol], self.positions[symbol], Decimal::from(MARK));
        if order.open_qty.is_zero() {
            self.orders.remove(index);
            self.gate.remove_order(&id);
        } else {
            self.gate.set_order(&id, SYMBOLS[symbol], order);
        }
    }

    fn doubt(&mut self, index: usize, in_doubt: bool) {
        if let Some((id, symbol, order)) = self.orders.get_mut(index) {
            order.in_doubt = in_doubt;
            self.gate.set_order(id, SYMBOLS[*symbol], *order);
        }
    }

    /// Dollars held when every open order fills, reckoned without the gate.
    fn worst(&self, symbol: usize) -> Decimal {
        let open = |side| -> Decimal {
            self.orders
                .iter()
                .filter(|(_, other, order)| *other == symbol && order.side == side)
                .map(|(_, _, order)| order.open_qty)
                .sum()
        };
        let held = self.positions[symbol];
        let long = held + open(Side::Buy);
        let short = -held + open(Side::Sell);
        long.max(short).max(held.abs()) * Decimal::from(MARK)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2000 }))]

    #[test]
    fn no_sequence_takes_exposure_past_a_limit(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            let worst = [world.worst(0), world.worst(1)];
            for value in worst {
                prop_assert!(value <= dec("50000"), "{value} in one symbol");
            }
            let gross = worst[0] + worst[1];
            prop_assert!(gross <= dec("80000"), "{gross} in all");
            prop_assert!(world.gate.gross_exposure() >= gross, "the gate counts less than there is");
        }
    }

    #[test]
    fn the_largest_quantity_offered_is_taken_and_one_more_is_not(
        held in -400i32..400, resting in 0u32..300, selling in any::<bool>(), price in 96u32..104,
    ) {
        let mut gate = gate();
        gate.set_quote("IBM", 100.0, 100.0, 100.0, NOW);
        gate.set_position("IBM", Decimal::from(held), dec("100"));
        if resting > 0 {
            gate.set_order("a", "IBM", open(Side::Buy, &resting.to_string(), "95"));
        }
        let side = if selling { Side::Sell } else { Side::Buy };
        let ask = |qty: Decimal| Order::limit("IBM", side, qty, Decimal::from(price));
        let most = gate.check(&ask(Decimal::ONE), NOW, false).max_qty.unwrap();
        if most > Decimal::ZERO {
            let verdict = gate.check(&ask(most), NOW, false);
            prop_assert!(verdict.allowed(), "{most}: {:?}", verdict.refusals);
        }
        prop_assert!(!gate.check(&ask(most + Decimal::ONE), NOW, false).allowed(), "{}", most + Decimal::ONE);
    }
}
