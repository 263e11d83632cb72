//! Nanoseconds a pre-trade check, best of some rounds, with positions, quotes and orders in the
//! gate: `cargo run --release -p risk-manager --example speed`.

use std::hint::black_box;
use std::time::Instant;

use risk_manager::gate::{Account, Gate, Limits, OpenOrder, Order, OrderType, Side};
use rust_decimal::Decimal;

const CHECKS: u32 = 20_000;
const ROUNDS: usize = 15;
const SYMBOLS: usize = 50;

fn main() {
    let mut gate = Gate::new(Limits::default());
    gate.set_session(true);
    let thousand = Decimal::from(1000);
    gate.set_account(Account {
        equity: thousand * thousand,
        last_equity: thousand * thousand,
        cash: thousand * thousand,
        buying_power: thousand * thousand * Decimal::TWO,
        multiplier: Decimal::TWO,
    });
    for at in 0..SYMBOLS {
        let symbol = format!("S{at}");
        gate.set_quote(&symbol, 99.99, 100.01, 100.0, 1000.0);
        gate.set_position(&symbol, Decimal::from(at as u64), Decimal::ONE_HUNDRED);
        let order = OpenOrder {
            side: Side::Buy,
            open_qty: Decimal::TEN,
            price: Some(Decimal::from(99)),
            order_type: OrderType::Limit,
            in_doubt: false,
        };
        gate.set_order(&format!("order-{at}"), &symbol, order);
    }
    let market = Order::market("S7", Side::Buy, Decimal::ONE_HUNDRED);
    let refused = Order::market("S7", Side::Buy, Decimal::from(10_000_000));
    let bracket = Order {
        stop_loss: Some(Decimal::from(95)),
        take_profit: Some(Decimal::from(110)),
        ..Order::limit("S7", Side::Buy, Decimal::ONE_HUNDRED, Decimal::ONE_HUNDRED)
    };
    let mut best = |order: &Order| {
        (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..CHECKS {
                    black_box(gate.check(black_box(order), 1001.0, false));
                }
                start.elapsed().as_nanos() as f64 / f64::from(CHECKS)
            })
            .fold(f64::INFINITY, f64::min)
    };
    let (market, bracket, refused) = (best(&market), best(&bracket), best(&refused));
    println!("{{\"market\": {market:.0}, \"bracket\": {bracket:.0}, \"refused\": {refused:.0}}}");
}
