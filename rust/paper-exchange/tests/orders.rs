//! Each kind of order in each phase of the day.

mod support;

use paper_exchange::core::{
    CloseSize, ExchangeSettings, NewOrder, OrderClass, OrderType, RefusalKind, Replacement, Side,
    Status, StopLoss, TakeProfit, TimeInForce,
};
use rust_decimal::Decimal;
use support::{Pit, clock, dec};

fn limit(side: Side, qty: &str, price: &str) -> NewOrder {
    NewOrder::limit("IBM", side, dec(qty), dec(price))
}

fn market(side: Side, qty: &str) -> NewOrder {
    NewOrder::market("IBM", side, dec(qty))
}

fn stop(side: Side, qty: &str, price: &str) -> NewOrder {
    NewOrder {
        kind: OrderType::Stop,
        stop: Some(dec(price)),
        ..market(side, qty)
    }
}

fn bracket(qty: &str, profit: &str, loss: &str) -> NewOrder {
    NewOrder {
        class: OrderClass::Bracket,
        take_profit: Some(TakeProfit {
            limit: Some(dec(profit)),
        }),
        stop_loss: Some(StopLoss {
            stop: Some(dec(loss)),
            limit: None,
        }),
        ..market(Side::Buy, qty)
    }
}

#[test]
fn a_market_order_fills_at_the_quote_and_moves_cash_and_shares() {
    let mut pit = Pit::open();
    let receipt = pit.submit(&market(Side::Buy, "100")).expect("accepted");
    assert_eq!(
        receipt.order.status,
        Status::PendingNew,
        "the answer comes before the fill"
    );
    let id = receipt.order.id;
    assert_eq!(pit.events(id), ["pending_new", "new", "fill"]);
    assert_eq!(pit.order(id).filled_avg_price(), Some(dec("100.02")));
    assert_eq!((pit.qty("IBM"), pit.cash()), (dec("100"), dec("89998.00")));
    let sell = pit.accepted(&market(Side::Sell, "100"));
    assert_eq!(pit.order(sell).filled_avg_price(), Some(dec("100.00")));
    assert_eq!(
        (pit.qty("IBM"), pit.cash()),
        (Decimal::ZERO, dec("99998.00"))
    );
    assert!(pit.exchange.account(0).positions.is_empty());
}

#[test]
fn a_limit_order_fills_at_the_quote_or_better_and_rests_otherwise() {
    let mut pit = Pit::open();
    let marketable = pit.accepted(&limit(Side::Buy, "10", "101"));
    assert_eq!(
        pit.order(marketable).filled_avg_price(),
        Some(dec("100.02"))
    );
    let resting = pit.accepted(&limit(Side::Buy, "10", "99.50"));
    assert_eq!(pit.status(resting), Status::New);
    pit.trade("IBM", "99.50");
    assert_eq!(
        pit.status(resting),
        Status::New,
        "a print at the limit is not through it"
    );
    pit.trade("IBM", "99.49");
    assert_eq!(pit.order(resting).filled_avg_price(), Some(dec("99.50")));
    let other = pit.accepted(&limit(Side::Sell, "20", "100.50"));
    pit.quote("IBM", "100.60", "100.62");
    assert_eq!(
        pit.order(other).filled_avg_price(),
        Some(dec("100.60")),
        "better than asked for"
    );
}

#[test]
fn orders_given_while_the_market_is_closed_wait_for_the_open() {
    for (hour, minute) in [(3, 0), (8, 0), (9, 29)] {
        let mut pit = Pit::at(hour, minute);
        let id = pit.buy("IBM", "1");
        assert_eq!(
            (pit.status(id), pit.events(id)),
            (Status::Accepted, vec!["pending_new"])
        );
        pit.quote("IBM", "99", "101");
        assert_eq!(pit.status(id), Status::Accepted);
        pit.until(9, 30);
        assert_eq!(pit.events(id)[1], "new");
        pit.quote("IBM", "100", "100.10");
        assert_eq!(pit.status(id), Status::Filled);
    }
    let mut evening = Pit::at(17, 0);
    let id = evening.buy("IBM", "1");
    evening.until(23, 0);
    assert_eq!(
        evening.status(id),
        Status::Accepted,
        "a day order of the evening is for tomorrow"
    );
    evening.until_nanos(clock(24 + 9, 30, 0));
    evening.quote("IBM", "100", "100.10");
    assert_eq!(evening.status(id), Status::Filled);
}

#[test]
fn day_orders_end_with_the_day_and_others_later() {
    let mut pit = Pit::open();
    let day = pit.accepted(&limit(Side::Buy, "10", "90"));
    let gtc = pit.accepted(&NewOrder {
        tif: TimeInForce::Gtc,
        ..limit(Side::Buy, "10", "91")
    });
    let late = pit.accepted(&NewOrder {
        extended_hours: true,
        ..limit(Side::Buy, "10", "92")
    });
    pit.until(16, 0);
    assert_eq!(
        [pit.status(day), pit.status(gtc), pit.status(late)],
        [Status::Expired, Status::New, Status::New]
    );
    assert_eq!(pit.events(day), ["pending_new", "new", "expired"]);
    pit.until(20, 0);
    assert_eq!(pit.status(late), Status::Expired);
    pit.until_nanos(clock(24 * 89, 0, 0));
    assert_eq!(pit.status(gtc), Status::New);
    pit.until_nanos(clock(24 * 92, 0, 0));
    assert_eq!(pit.status(gtc), Status::Expired, "after 90 days");
    assert_eq!(pit.reserved(), Decimal::ZERO);
}

#[test]
fn only_an_extended_hours_order_trades_before_the_open() {
    let mut pit = Pit::at(8, 0);
    pit.quote("IBM", "100", "100.10");
    let early = pit.accepted(&NewOrder {
        extended_hours: true,
        ..limit(Side::Buy, "1", "101")
    });
    assert_eq!(pit.status(early), Status::Filled);
    for request in [
        NewOrder {
            extended_hours: true,
            ..market(Side::Buy, "1")
        },
        NewOrder {
            extended_hours: true,
            tif: TimeInForce::Ioc,
            ..limit(Side::Buy, "1", "101")
        },
    ] {
        assert_eq!(pit.refused(&request).kind, RefusalKind::Unprocessable);
    }
}

#[test]
fn a_stop_waits_for_its_price_and_then_trades_at_the_market() {
    let mut pit = Pit::open();
    pit.buy("IBM", "10");
    let id = pit.accepted(&stop(Side::Sell, "10", "99"));
    pit.quote("IBM", "98.50", "98.52");
    assert_eq!(pit.status(id), Status::New, "quotes don't trigger a stop");
    pit.trade("IBM", "99");
    assert_eq!(pit.order(id).filled_avg_price(), Some(dec("98.50")));
}

#[test]
fn a_stop_limit_keeps_its_limit_after_the_trigger() {
    let mut pit = Pit::open();
    let id = pit.accepted(&NewOrder {
        kind: OrderType::StopLimit,
        limit: Some(dec("102")),
        ..stop(Side::Buy, "10", "101")
    });
    pit.quote("IBM", "102.50", "102.52");
    pit.trade("IBM", "102.51");
    assert_eq!(
        pit.status(id),
        Status::New,
        "triggered, but the market is above the limit"
    );
    pit.quote("IBM", "101.80", "101.82");
    assert_eq!(pit.order(id).filled_avg_price(), Some(dec("101.82")));
}

#[test]
fn a_trailing_stop_follows_the_best_price_and_never_back() {
    for (price, percent) in [(Some("1.00"), None), (None, Some("1"))] {
        let mut pit = Pit::open();
        pit.buy("IBM", "10");
        let id = pit.accepted(&NewOrder {
            kind: OrderType::TrailingStop,
            trail_price: price.map(dec),
            trail_percent: percent.map(dec),
            ..market(Side::Sell, "10")
        });
        let marks = |pit: &Pit| (pit.order(id).hwm, pit.order(id).stop);
        assert_eq!(marks(&pit), (Some(dec("100.01")), Some(dec("99.01"))));
        pit.trade("IBM", "110");
        let stop = if price.is_some() { "109" } else { "108.90" };
        assert_eq!(marks(&pit), (Some(dec("110")), Some(dec(stop))));
        pit.quote("IBM", "109.40", "109.42");
        pit.trade("IBM", "109.50");
        assert_eq!(
            marks(&pit),
            (Some(dec("110")), Some(dec(stop))),
            "it doesn't go back"
        );
        assert_eq!(pit.status(id), Status::New);
        pit.trade("IBM", "108.80");
        assert_eq!(pit.order(id).filled_avg_price(), Some(dec("109.40")));
    }
}

#[test]
fn immediate_orders_fill_now_or_not_at_all() {
    let mut pit = Pit::open();
    for tif in [TimeInForce::Ioc, TimeInForce::Fok] {
        let filled = pit.accepted(&NewOrder {
            tif,
            ..limit(Side::Buy, "10", "101")
        });
        assert_eq!(pit.status(filled), Status::Filled);
        let missed = pit.accepted(&NewOrder {
            tif,
            ..limit(Side::Buy, "10", "99")
        });
        assert_eq!(pit.events(missed), ["pending_new", "new", "canceled"]);
    }
}

#[test]
fn auction_orders_trade_at_the_first_and_the_last_print() {
    let mut pit = Pit::at(9, 0);
    let opg = pit.accepted(&NewOrder {
        tif: TimeInForce::Opg,
        ..market(Side::Buy, "10")
    });
    let too_low = pit.accepted(&NewOrder {
        tif: TimeInForce::Opg,
        ..limit(Side::Buy, "10", "99")
    });
    let cls = pit.accepted(&NewOrder {
        tif: TimeInForce::Cls,
        ..market(Side::Buy, "5")
    });
    pit.quote("IBM", "99.90", "100.40");
    pit.trade("IBM", "98");
    assert_eq!(
        pit.status(opg),
        Status::Accepted,
        "a print before the open is no auction"
    );
    pit.until(9, 30);
    pit.quote("IBM", "99.90", "100.40");
    pit.trade("IBM", "100.10");
    assert_eq!(pit.order(opg).filled_avg_price(), Some(dec("100.10")));
    assert_eq!(pit.status(too_low), Status::Canceled);
    pit.trade("IBM", "103");
    assert_eq!(pit.status(cls), Status::New);
    pit.until(16, 0);
    assert_eq!(pit.order(cls).filled_avg_price(), Some(dec("103")));
    let late = pit.refused(&NewOrder {
        tif: TimeInForce::Cls,
        ..market(Side::Buy, "5")
    });
    assert_eq!(late.kind, RefusalKind::Unprocessable);
}

#[test]
fn a_bracket_waits_for_its_entry_and_one_leg_cancels_the_other() {
    let mut pit = Pit::open();
    let receipt = pit.submit(&bracket("10", "105", "95")).expect("accepted");
    assert!(receipt.legs.iter().all(|leg| leg.status == Status::Held));
    let [profit, loss] = [receipt.legs[0].id, receipt.legs[1].id];
    assert_eq!(
        [pit.status(profit), pit.status(loss)],
        [Status::New, Status::Held]
    );
    assert_eq!(pit.order(profit).parent, Some(receipt.order.id));
    pit.trade("IBM", "105.01");
    assert_eq!(
        [pit.status(profit), pit.status(loss)],
        [Status::Filled, Status::Canceled]
    );
    assert_eq!(pit.qty("IBM"), Decimal::ZERO);

    let mut pit = Pit::open();
    let legs = pit
        .submit(&bracket("10", "105", "95"))
        .expect("accepted")
        .legs;
    pit.quote("IBM", "94.90", "94.92");
    pit.trade("IBM", "95");
    assert_eq!(
        [pit.status(legs[0].id), pit.status(legs[1].id)],
        [Status::Canceled, Status::Filled]
    );
    assert_eq!(pit.order(legs[1].id).filled_avg_price(), Some(dec("94.90")));
}

#[test]
fn legs_of_an_entry_that_never_filled_go_with_it() {
    let mut pit = Pit::open();
    let request = NewOrder {
        kind: OrderType::Limit,
        limit: Some(dec("99")),
        ..bracket("10", "105", "95")
    };
    let receipt = pit.submit(&request).expect("accepted");
    assert!(
        receipt
            .legs
            .iter()
            .all(|leg| pit.status(leg.id) == Status::Held)
    );
    pit.cancel(receipt.order.id).expect("canceled");
    assert!(
        receipt
            .legs
            .iter()
            .all(|leg| pit.status(leg.id) == Status::Canceled)
    );
}

#[test]
fn legs_protect_what_a_canceled_entry_did_buy() {
    let settings = ExchangeSettings::default();
    let mut tried = 0;
    for seed in 0..40 {
        let mut pit = Pit::with(
            ExchangeSettings {
                seed,
                ..settings.clone()
            },
            clock(10, 0, 0),
        );
        pit.quote("IBM", "100.00", "100.02");
        pit.trade("IBM", "100.01");
        let receipt = pit.submit(&bracket("100", "105", "95")).expect("accepted");
        let entry = receipt.order.id;
        if pit.status(entry) != Status::PartiallyFilled {
            continue;
        }
        tried += 1;
        assert_eq!(
            pit.status(receipt.legs[0].id),
            Status::Held,
            "the legs wait for the whole entry"
        );
        pit.cancel(entry).expect("canceled");
        let bought = pit.qty("IBM");
        assert!(bought > Decimal::ZERO && bought < dec("100"));
        assert_eq!(pit.order(receipt.legs[0].id).qty, Some(bought));
        assert_eq!(pit.status(receipt.legs[0].id), Status::New);
    }
    assert!(tried > 0, "one fill in ten comes in two parts");
}

#[test]
fn an_oco_closes_a_position_once() {
    let oco = NewOrder {
        class: OrderClass::Oco,
        stop_loss: Some(StopLoss {
            stop: Some(dec("95")),
            limit: Some(dec("94")),
        }),
        ..limit(Side::Sell, "10", "105")
    };
    let mut pit = Pit::open();
    assert_eq!(
        pit.refused(&oco).kind,
        RefusalKind::Unprocessable,
        "there is nothing to close"
    );
    pit.buy("IBM", "10");
    let receipt = pit.submit(&oco).expect("accepted");
    let refusal = pit.refused(&market(Side::Sell, "1"));
    assert_eq!(refusal.kind, RefusalKind::Forbidden, "the shares are held");
    assert_eq!(refusal.details["held_for_orders"], "10", "and only once");
    pit.quote("IBM", "94.50", "94.52");
    pit.trade("IBM", "94.80");
    assert_eq!(pit.status(receipt.order.id), Status::Canceled);
    assert_eq!(
        pit.order(receipt.legs[0].id).filled_avg_price(),
        Some(dec("94.50"))
    );
}

#[test]
fn an_oto_places_its_leg_when_the_entry_fills() {
    let mut pit = Pit::open();
    let receipt = pit
        .submit(&NewOrder {
            class: OrderClass::Oto,
            take_profit: None,
            ..bracket("10", "105", "95")
        })
        .expect("accepted");
    let leg = receipt.legs[0].id;
    assert_eq!(pit.status(leg), Status::New);
    pit.quote("IBM", "94.90", "94.92");
    pit.trade("IBM", "94.95");
    assert_eq!(pit.status(leg), Status::Filled);
}

#[test]
fn notional_and_fractional_orders_trade_parts_of_shares() {
    let mut pit = Pit::open();
    let id = pit.accepted(&NewOrder {
        qty: None,
        notional: Some(dec("250")),
        ..market(Side::Buy, "1")
    });
    let order = pit.order(id);
    assert_eq!(order.filled_qty, dec("2.499500099"));
    assert_eq!(order.status, Status::Filled);
    assert_eq!(pit.cash(), dec("99750.00"));
    pit.buy("IBM", "0.5");
    assert_eq!(pit.qty("IBM"), dec("2.999500099"));
    let all = pit
        .exchange
        .close_position(0, "IBM", CloseSize::All)
        .expect("closes");
    pit.drain();
    assert_eq!(pit.status(all.order.id), Status::Filled);
    assert_eq!(pit.qty("IBM"), Decimal::ZERO);
    for request in [
        NewOrder {
            tif: TimeInForce::Gtc,
            ..market(Side::Buy, "0.5")
        },
        market(Side::Sell, "0.5"),
    ] {
        assert_eq!(pit.refused(&request).kind, RefusalKind::Unprocessable);
    }
}

#[test]
fn shares_can_be_sold_short_and_bought_back_but_never_both_at_once() {
    let mut pit = Pit::open();
    let id = pit.accepted(&market(Side::Sell, "10"));
    assert_eq!(pit.order(id).status, Status::Filled);
    assert_eq!((pit.qty("IBM"), pit.cash()), (dec("-10"), dec("101000.00")));
    let balances = pit.exchange.account(0).balances(pit.exchange.market());
    assert_eq!(balances.short_value, dec("-1000.10"));
    assert_eq!(balances.equity, dec("99999.90"));
    assert_eq!(balances.buying_power, dec("198999.70"));
    let refusal = pit.refused(&market(Side::Buy, "11"));
    assert_eq!(refusal.details["available"], "10");
    pit.buy("IBM", "10");
    assert_eq!(
        (pit.qty("IBM"), pit.cash()),
        (Decimal::ZERO, dec("99999.80"))
    );
    pit.buy("IBM", "5");
    assert_eq!(
        pit.refused(&market(Side::Sell, "6")).kind,
        RefusalKind::Forbidden
    );
}

#[test]
fn open_orders_keep_buying_power_back() {
    let mut pit = Pit::open();
    let power = |pit: &Pit| {
        pit.exchange
            .account(0)
            .balances(pit.exchange.market())
            .buying_power
    };
    assert_eq!(power(&pit), dec("200000"));
    let buy = pit.accepted(&limit(Side::Buy, "1000", "99"));
    assert_eq!(
        (power(&pit), pit.reserved()),
        (dec("101000.00"), dec("99000.00"))
    );
    let refusal = pit.refused(&limit(Side::Buy, "1100", "99"));
    assert_eq!(refusal.message, "insufficient buying power");
    assert_eq!(refusal.details["buying_power"], "101000");
    pit.cancel(buy).expect("canceled");
    assert_eq!(pit.reserved(), Decimal::ZERO);
    let short = pit.accepted(&limit(Side::Sell, "10", "101"));
    assert_eq!(
        pit.reserved(),
        dec("1030.21"),
        "103 % of the ask, which is more than the limit"
    );
    pit.cancel(short).expect("canceled");
}

#[test]
fn orders_that_would_trade_with_each_other_are_refused() {
    let mut pit = Pit::open();
    let buy = pit.accepted(&limit(Side::Buy, "10", "99"));
    pit.accepted(&limit(Side::Sell, "10", "101"));
    for request in [limit(Side::Sell, "10", "99"), market(Side::Sell, "10")] {
        let refusal = pit.refused(&request);
        assert_eq!(refusal.kind, RefusalKind::Forbidden);
        assert_eq!(refusal.details["existing_order_id"], buy.to_string());
    }
}

#[test]
fn a_replacement_is_a_new_order_with_the_old_one_behind_it() {
    let mut pit = Pit::open();
    let old = pit.accepted(&limit(Side::Buy, "10", "99"));
    let change = Replacement {
        qty: Some(dec("20")),
        limit: Some(dec("99.50")),
        ..Replacement::default()
    };
    let new = pit
        .exchange
        .replace(0, old, &change)
        .expect("replaced")
        .order
        .id;
    pit.drain();
    assert_eq!(pit.events(old), ["pending_new", "new", "replaced"]);
    assert_eq!(
        (pit.order(old).replaced_by, pit.order(new).replaces),
        (Some(new), Some(old))
    );
    assert_eq!(
        (pit.order(new).qty, pit.order(new).limit),
        (Some(dec("20")), Some(dec("99.50")))
    );
    assert_ne!(
        pit.order(new).client_order_id,
        pit.order(old).client_order_id
    );
    assert_eq!(pit.reserved(), dec("1990.00"));
    let again = pit
        .exchange
        .replace(0, old, &change)
        .expect_err("is replaced already");
    assert_eq!(again.kind, RefusalKind::Unprocessable);
    let dear = Replacement {
        qty: Some(dec("3000")),
        ..Replacement::default()
    };
    assert_eq!(
        pit.exchange
            .replace(0, new, &dear)
            .expect_err("too dear")
            .kind,
        RefusalKind::Forbidden
    );
    assert_eq!(pit.status(new), Status::New, "the old order works on");
    let marketable = Replacement {
        limit: Some(dec("101")),
        ..Replacement::default()
    };
    let filled = pit
        .exchange
        .replace(0, new, &marketable)
        .expect("replaced")
        .order
        .id;
    assert_eq!(pit.status(filled), Status::Filled);
}

#[test]
fn a_leg_can_be_replaced_and_keeps_its_place_in_the_group() {
    let mut pit = Pit::open();
    let receipt = pit.submit(&bracket("10", "105", "95")).expect("accepted");
    let change = Replacement {
        stop: Some(dec("97")),
        ..Replacement::default()
    };
    let loss = pit
        .exchange
        .replace(0, receipt.legs[1].id, &change)
        .expect("replaced")
        .order
        .id;
    pit.drain();
    assert_eq!(pit.status(loss), Status::Held);
    assert_eq!(pit.order(receipt.order.id).legs[1], loss);
    pit.quote("IBM", "96.90", "96.92");
    pit.trade("IBM", "96.95");
    assert_eq!(pit.status(loss), Status::Filled);
    assert_eq!(pit.status(receipt.legs[0].id), Status::Canceled);
}

#[test]
fn an_ended_order_cannot_be_canceled_and_an_unknown_one_not_found() {
    let mut pit = Pit::open();
    let filled = pit.buy("IBM", "1");
    let refusal = pit.cancel(filled).expect_err("is filled");
    assert_eq!(refusal.kind, RefusalKind::Unprocessable);
    assert_eq!(refusal.message, "order is already in \"filled\" state");
    let unknown = pit.cancel(uuid::Uuid::nil()).expect_err("is unknown");
    assert_eq!(unknown.kind, RefusalKind::NotFound);
}

#[test]
fn a_client_order_id_is_used_once_for_ever() {
    let mut pit = Pit::open();
    let request = NewOrder {
        client_order_id: Some("mine".to_owned()),
        ..limit(Side::Buy, "1", "90")
    };
    let id = pit.accepted(&request);
    pit.cancel(id).expect("canceled");
    let refusal = pit.refused(&request);
    assert_eq!(
        (refusal.kind, refusal.message.as_str()),
        (RefusalKind::Malformed, "client_order_id must be unique")
    );
    let long = NewOrder {
        client_order_id: Some("x".repeat(129)),
        ..request
    };
    assert_eq!(pit.refused(&long).kind, RefusalKind::Malformed);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    use RefusalKind::{Malformed, Unprocessable};
    let cases: Vec<(&str, NewOrder, RefusalKind)> = vec![
        (
            "no quantity",
            NewOrder {
                qty: None,
                ..market(Side::Buy, "1")
            },
            Malformed,
        ),
        (
            "both sizes",
            NewOrder {
                notional: Some(dec("5")),
                ..market(Side::Buy, "1")
            },
            Malformed,
        ),
        ("nothing", market(Side::Buy, "0"), Malformed),
        ("less than nothing", market(Side::Buy, "-1"), Malformed),
        ("ten decimals", market(Side::Buy, "0.0000000001"), Malformed),
        (
            "no side",
            NewOrder {
                side: None,
                ..market(Side::Buy, "1")
            },
            Malformed,
        ),
        (
            "unknown",
            NewOrder::market("NOPE", Side::Buy, dec("1")),
            Unprocessable,
        ),
        (
            "no limit",
            NewOrder {
                kind: OrderType::Limit,
                ..market(Side::Buy, "1")
            },
            Malformed,
        ),
        (
            "market with a limit",
            NewOrder {
                limit: Some(dec("5")),
                ..market(Side::Buy, "1")
            },
            Malformed,
        ),
        ("sub-penny", limit(Side::Buy, "1", "100.001"), Unprocessable),
        (
            "sub-penny below a dollar",
            limit(Side::Buy, "1", "0.00001"),
            Unprocessable,
        ),
        (
            "stop below the market",
            stop(Side::Buy, "1", "99"),
            Unprocessable,
        ),
        (
            "stop above the market",
            stop(Side::Sell, "1", "101"),
            Unprocessable,
        ),
        (
            "trail of nothing",
            NewOrder {
                kind: OrderType::TrailingStop,
                ..market(Side::Sell, "1")
            },
            Malformed,
        ),
        (
            "profit below the stop",
            bracket("1", "95", "105"),
            Unprocessable,
        ),
        (
            "profit below the price",
            bracket("1", "99", "95"),
            Unprocessable,
        ),
        (
            "a stop that is immediate",
            NewOrder {
                tif: TimeInForce::Ioc,
                ..stop(Side::Buy, "1", "101")
            },
            Unprocessable,
        ),
        (
            "a fraction in a bracket",
            bracket("1.5", "105", "95"),
            Unprocessable,
        ),
        (
            "opening auction at ten",
            NewOrder {
                tif: TimeInForce::Opg,
                ..market(Side::Buy, "1")
            },
            Unprocessable,
        ),
    ];
    let mut pit = Pit::open();
    for (name, request, kind) in cases {
        assert_eq!(pit.refused(&request).kind, kind, "{name}");
    }
    assert_eq!(pit.exchange.account(0).orders().len(), 0);
    assert_eq!(pit.cash(), dec("100000"));
    pit.accepted(&limit(Side::Buy, "1", "0.1234"));
}

#[test]
fn a_position_closes_by_quantity_and_by_percentage() {
    let mut pit = Pit::open();
    pit.buy("IBM", "11");
    for (size, left) in [
        (CloseSize::Quantity(dec("1")), "10"),
        (CloseSize::Percentage(dec("25")), "8"),
        (CloseSize::All, "0"),
    ] {
        pit.exchange.close_position(0, "IBM", size).expect("closes");
        assert_eq!(pit.qty("IBM"), dec(left), "{size:?}");
    }
    let gone = pit
        .exchange
        .close_position(0, "IBM", CloseSize::All)
        .expect_err("no position");
    assert_eq!(gone.kind, RefusalKind::NotFound);
}

#[test]
fn a_day_ends_with_the_marks_that_the_next_one_is_measured_from() {
    let mut pit = Pit::open();
    pit.buy("IBM", "100");
    pit.trade("IBM", "101");
    pit.until(16, 0);
    let base = |pit: &Pit| {
        let exchange = &pit.exchange;
        exchange.account(0).base_of_day(exchange.day_began()).equity
    };
    assert_eq!(
        base(&pit),
        dec("100000"),
        "the day's profit stands until the next day"
    );
    let marks = |pit: &Pit| {
        let (exchange, account) = (&pit.exchange, pit.exchange.account(0));
        let position = account.positions.values().next().expect("a position");
        let quoted = exchange.market().find("IBM").expect("known");
        let began = exchange.day_began();
        (
            account.day_cost(position, began),
            quoted.close_until(began),
            position.cost,
        )
    };
    assert_eq!(
        marks(&pit),
        (dec("10002.00"), None, dec("10002.00")),
        "and so do those of its positions and prices"
    );
    pit.until(20, 0);
    assert_eq!(base(&pit), dec("100098.00"));
    assert_eq!(
        marks(&pit),
        (dec("10100.00"), Some(dec("101")), dec("10002.00"))
    );
}

#[test]
fn one_fill_in_ten_comes_in_two_parts_and_the_rest_follows() {
    let mut partial = 0;
    let mut pit = Pit::with(ExchangeSettings::default(), clock(10, 0, 0));
    pit.quote("IBM", "10.00", "10.02");
    let orders: Vec<_> = (0..200).map(|_| pit.buy("IBM", "10")).collect();
    for id in &orders {
        partial += usize::from(pit.status(*id) == Status::PartiallyFilled);
    }
    assert!((5..45).contains(&partial), "{partial} of 200");
    pit.until_nanos(clock(10, 0, 10));
    assert!(orders.iter().all(|id| pit.status(*id) == Status::Filled));
    assert_eq!(pit.qty("IBM"), dec("2000"));
}

#[test]
fn latency_and_slippage_are_settings() {
    let settings = ExchangeSettings {
        latency: 2_000_000_000,
        slippage_bp: dec("10"),
        partial_fills: false,
        ..ExchangeSettings::default()
    };
    let mut pit = Pit::with(settings, clock(10, 0, 0));
    pit.quote("IBM", "100.00", "100.00");
    let id = pit.buy("IBM", "1");
    pit.until_nanos(clock(10, 0, 1));
    assert_eq!(pit.status(id), Status::PendingNew);
    pit.until_nanos(clock(10, 0, 2));
    assert_eq!(pit.order(id).filled_avg_price(), Some(dec("100.10")));
}

#[test]
fn days_that_are_not_played_are_passed_over_by_orders_too() {
    let date = |day| chrono::NaiveDate::from_ymd_opt(2013, 10, day).expect("a date");
    let mut pit = Pit::open();
    // Monday and Thursday.
    pit.exchange.trade_on(vec![date(7), date(10)]);
    pit.until(16, 30);
    let id = pit.buy("IBM", "10");
    let thursday = common::calendar::session(date(10)).expect("a session");
    assert_eq!(pit.order(id).expires_at, thursday.close);
    pit.until_nanos(thursday.open - 30_000_000_000);
    assert_eq!(pit.status(id), Status::Accepted);
    pit.until_nanos(thursday.open + 1_000_000_000);
    pit.quote("IBM", "101.00", "101.02");
    assert_eq!(pit.status(id), Status::Filled);
}
