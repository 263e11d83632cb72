//! Every type of order with every time in force in every part of the day: what becomes of it at once.

mod support;

use paper_exchange::core::{NewOrder, OrderType, RefusalKind, Side, Status, TimeInForce};
use support::{Pit, dec};

const KINDS: [OrderType; 5] = [
    OrderType::Market,
    OrderType::Limit,
    OrderType::Stop,
    OrderType::StopLimit,
    OrderType::TrailingStop,
];
const TIMES: [TimeInForce; 6] = [
    TimeInForce::Day,
    TimeInForce::Gtc,
    TimeInForce::Opg,
    TimeInForce::Cls,
    TimeInForce::Ioc,
    TimeInForce::Fok,
];
/// A character for each time in force, in the order of `TIMES`: `f`illed, `n`ew, `a`ccepted,
/// `c`anceled or `-` for refused.
type Row = (OrderType, &'static str);

/// A resting order far from the market, or one at the market.
fn order(kind: OrderType, tif: TimeInForce) -> NewOrder {
    let limit = matches!(kind, OrderType::Limit | OrderType::StopLimit);
    let stop = matches!(kind, OrderType::Stop | OrderType::StopLimit);
    NewOrder {
        kind,
        tif,
        limit: limit.then(|| dec("90.00")),
        stop: stop.then(|| dec("120.00")),
        trail_percent: (kind == OrderType::TrailingStop).then(|| dec("5")),
        ..NewOrder::market("IBM", Side::Buy, dec("10"))
    }
}

fn outcome(hour: i64, minute: i64, request: &NewOrder) -> char {
    let mut pit = Pit::at(hour, minute);
    pit.quote("IBM", "100.00", "100.02");
    pit.trade("IBM", "100.01");
    match pit.submit(request) {
        Err(refusal) => {
            assert_eq!(refusal.kind, RefusalKind::Unprocessable, "{refusal:?}");
            assert!(pit.updates.is_empty() && pit.exchange.account(0).orders().is_empty());
            '-'
        }
        Ok(receipt) => match pit.status(receipt.order.id) {
            Status::Filled => 'f',
            Status::New => 'n',
            Status::Accepted => 'a',
            Status::Canceled => 'c',
            other => panic!("{other:?} of {request:?}"),
        },
    }
}

fn check(hour: i64, minute: i64, table: [Row; 5]) {
    assert_eq!(table.map(|(kind, _)| kind), KINDS);
    for (kind, expected) in table {
        let got: String = TIMES
            .iter()
            .map(|tif| outcome(hour, minute, &order(kind, *tif)))
            .collect();
        assert_eq!(got, expected, "{} at {hour}:{minute:02}", kind.word());
    }
}

#[test]
fn while_the_market_is_open() {
    check(
        10,
        0,
        [
            (OrderType::Market, "ff-nff"),
            (OrderType::Limit, "nn-ncc"),
            (OrderType::Stop, "nn----"),
            (OrderType::StopLimit, "nn----"),
            (OrderType::TrailingStop, "nn----"),
        ],
    );
}

#[test]
fn in_the_last_ten_minutes_nothing_more_is_taken_for_the_close() {
    check(
        15,
        55,
        [
            (OrderType::Market, "ff--ff"),
            (OrderType::Limit, "nn--cc"),
            (OrderType::Stop, "nn----"),
            (OrderType::StopLimit, "nn----"),
            (OrderType::TrailingStop, "nn----"),
        ],
    );
}

#[test]
fn what_comes_early_or_at_night_waits() {
    for hour in [3, 8, 21] {
        check(
            hour,
            0,
            [
                (OrderType::Market, "aaaaaa"),
                (OrderType::Limit, "aaaaaa"),
                (OrderType::Stop, "aa----"),
                (OrderType::StopLimit, "aa----"),
                (OrderType::TrailingStop, "aa----"),
            ],
        );
    }
}

#[test]
fn two_minutes_before_the_open_and_after_the_close_auctions_are_over() {
    for (hour, minute, auctions) in [(9, 29, "-a"), (17, 0, "--"), (19, 30, "aa")] {
        let waits = format!("aa{auctions}aa");
        for kind in [OrderType::Market, OrderType::Limit] {
            let got: String = TIMES
                .iter()
                .map(|tif| outcome(hour, minute, &order(kind, *tif)))
                .collect();
            assert_eq!(got, waits, "{} at {hour}:{minute:02}", kind.word());
        }
    }
}

#[test]
fn extended_hours_are_for_limit_orders_of_the_day_or_until_canceled() {
    for (hour, expected) in [(8, 'n'), (10, 'n'), (17, 'n'), (21, 'a')] {
        for kind in KINDS {
            for tif in TIMES {
                let request = NewOrder {
                    extended_hours: true,
                    ..order(kind, tif)
                };
                let allowed =
                    kind == OrderType::Limit && matches!(tif, TimeInForce::Day | TimeInForce::Gtc);
                let wanted = if allowed { expected } else { '-' };
                let what = format!("{} {} at {hour}", kind.word(), tif.word());
                assert_eq!(outcome(hour, 0, &request), wanted, "{what}");
            }
        }
    }
}
