//! Whatever comes in whatever order, no limit is passed.

use proptest::prelude::*;

use super::*;

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
