//! What a signal asks for. A signal names what its strategy wants to hold, not what it wants to
//! trade: `long` at strength 0.8 wants 0.8 × notional_per_signal held long, and one that is there
//! already asks for nothing more.

use common::engine::{EngineState, Side};
use common::messages::{Direction, Signal};
use rust_decimal::Decimal;

/// Less than this much of the target isn't worth an order.
const WORTH_AN_ORDER_PCT: Decimal = Decimal::from_parts(5, 0, 0, false, 0);

/// What is held and open in the signal's symbol, in dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Signed: negative is short.
    pub held: Decimal,
    pub buying: Decimal,
    pub selling: Decimal,
}

impl Holding {
    /// Out of the engine's state; orders without a price of their own count at `price`.
    pub fn of(symbol: &str, state: &EngineState, price: Option<Decimal>) -> Self {
        let position = state
            .positions
            .iter()
            .find(|position| position.symbol == symbol);
        let mark = price
            .or(position.map(|position| position.current_price))
            .unwrap_or_default();
        let open = |side| {
            state
                .orders
                .iter()
                .filter(|order| order.symbol == symbol && order.side == side)
                .map(|order| order.open_notional(order.limit_price.unwrap_or(mark)))
                .sum()
        };
        Self {
            held: position.map_or(Decimal::ZERO, |position| {
                let worth = position.market_value.abs();
                if position.qty < Decimal::ZERO {
                    -worth
                } else {
                    worth
                }
            }),
            buying: open(Side::Buy),
            selling: open(Side::Sell),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is to be done, and why.
    Nothing(&'static str),
    Order {
        side: Side,
        notional: Decimal,
    },
    Close,
    /// Close what is held on the other side; then plan again.
    CloseFirst,
}

/// How much a signal is worth at most.
#[derive(Clone, Copy, Debug)]
pub struct Sizing {
    pub notional_per_signal: Decimal,
    pub min_strength: f64,
}

impl Sizing {
    pub fn plan(&self, signal: &Signal, holding: Holding) -> Plan {
        self.plan_for(signal.direction, signal.strength, holding)
    }

    /// The same of a signal's direction and strength alone.
    pub fn plan_for(&self, direction: Direction, strength: f64, holding: Holding) -> Plan {
        let side = match direction {
            Direction::Flat => {
                return match (holding.held.is_zero(), holding.buying + holding.selling) {
                    (true, open) if open.is_zero() => Plan::Nothing("flat already"),
                    _ => Plan::Close,
                };
            }
            Direction::Long => Side::Buy,
            Direction::Short => Side::Sell,
        };
        if strength < self.min_strength {
            return Plan::Nothing("weaker than execution.min_strength");
        }
        let (held, opening, closing) = match side {
            Side::Buy => (holding.held, holding.buying, holding.selling),
            Side::Sell => (-holding.held, holding.selling, holding.buying),
        };
        if held < Decimal::ZERO {
            return Plan::CloseFirst;
        }
        let strength = Decimal::try_from(strength).unwrap_or_default();
        let target = (self.notional_per_signal * strength).round_dp(2);
        let missing = target - (held + opening - closing.min(held));
        let worth = target * WORTH_AN_ORDER_PCT / Decimal::ONE_HUNDRED;
        if missing <= worth {
            return Plan::Nothing("held or on its way already");
        }
        Plan::Order {
            side,
            notional: missing.round_dp(2),
        }
    }
}

/// What tells a signal apart: its own id, or else all that it says.
pub fn identity(signal: &Signal) -> String {
    let Signal {
        symbol,
        direction,
        strength,
        timestamp,
        strategy,
        id,
        traceparent: _,
    } = signal;
    let text = if id.is_empty() {
        format!("{strategy}:{symbol}:{direction:?}:{strength}:{timestamp}")
    } else {
        format!("{strategy}:{id}")
    };
    if text.len() <= 96 {
        return format!("signal:{text}");
    }
    // FNV-1a: stable over restarts, which the standard hasher isn't promised to be.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let head: String = text.chars().take(64).collect();
    format!("signal:{head}:{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZING: Sizing = Sizing {
        notional_per_signal: Decimal::from_parts(10_000, 0, 0, false, 0),
        min_strength: 0.2,
    };

    fn signal(direction: Direction, strength: f64) -> Signal {
        Signal {
            symbol: "IBM".to_owned(),
            direction,
            strength,
            timestamp: 1,
            strategy: "m".to_owned(),
            id: String::new(),
            traceparent: String::new(),
        }
    }

    fn holding(held: i64, buying: i64, selling: i64) -> Holding {
        Holding {
            held: held.into(),
            buying: buying.into(),
            selling: selling.into(),
        }
    }

    fn order(side: Side, notional: i64) -> Plan {
        Plan::Order {
            side,
            notional: notional.into(),
        }
    }

    #[test]
    fn a_signal_asks_for_what_is_missing() {
        use Direction::{Flat, Long, Short};
        let nothing = |plan: &Plan| matches!(plan, Plan::Nothing(_));
        let cases = [
            (Long, 0.8, holding(0, 0, 0), order(Side::Buy, 8000)),
            (Long, 0.8, holding(3000, 1000, 0), order(Side::Buy, 4000)),
            (Long, 0.8, holding(3000, 0, 1000), order(Side::Buy, 6000)),
            (Long, 1.0, holding(-500, 0, 0), Plan::CloseFirst),
            (Short, 0.5, holding(0, 0, 0), order(Side::Sell, 5000)),
            (Short, 0.5, holding(-2000, 0, 0), order(Side::Sell, 3000)),
            (Short, 0.5, holding(100, 0, 0), Plan::CloseFirst),
            (Flat, 0.0, holding(100, 0, 0), Plan::Close),
            (Flat, 0.0, holding(0, 100, 0), Plan::Close),
        ];
        for (direction, strength, held, wanted) in cases {
            let plan = SIZING.plan(&signal(direction, strength), held);
            assert_eq!(plan, wanted, "{direction:?} {strength} {held:?}");
        }
        for (direction, strength, held) in [
            (Long, 0.8, holding(8000, 0, 0)),
            (Long, 0.8, holding(9500, 0, 0)),
            (Long, 0.8, holding(0, 7700, 0)),
            (Long, 0.19, holding(0, 0, 0)),
            (Flat, 1.0, holding(0, 0, 0)),
        ] {
            let plan = SIZING.plan(&signal(direction, strength), held);
            assert!(
                nothing(&plan),
                "{direction:?} {strength} {held:?}: {plan:?}"
            );
        }
    }

    #[test]
    fn the_holding_counts_what_is_open() {
        let state: EngineState = serde_json::from_str(
            r#"{"positions":[{"symbol":"IBM","qty":"-5","current_price":"100","market_value":"-500"}],
                "orders":[
                  {"client_order_id":"a","symbol":"IBM","side":"sell","state":"WORKING","qty":"5","filled_qty":"2"},
                  {"client_order_id":"b","symbol":"IBM","side":"buy","state":"UNKNOWN","qty":"1","limit_price":"90"},
                  {"client_order_id":"c","symbol":"IBM","side":"buy","state":"FILLED","qty":"1"},
                  {"client_order_id":"d","symbol":"SPY","side":"buy","state":"WORKING","qty":"1"}]}"#,
        )
        .unwrap();
        let price = Some(Decimal::from(110));
        assert_eq!(Holding::of("IBM", &state, price), holding(-500, 90, 330));
        assert_eq!(Holding::of("BAC", &state, price), Holding::default());
    }

    #[test]
    fn the_same_signal_has_the_same_identity() {
        let one = signal(Direction::Long, 0.8);
        assert_eq!(identity(&one), identity(&one.clone()));
        let later = Signal {
            timestamp: 2,
            ..one.clone()
        };
        assert_ne!(identity(&one), identity(&later));
        let named = |id: &str, timestamp| Signal {
            id: id.to_owned(),
            timestamp,
            ..one.clone()
        };
        assert_eq!(identity(&named("7", 1)), identity(&named("7", 2)));
        assert_ne!(identity(&named("7", 1)), identity(&named("8", 1)));
        let long = "x".repeat(1000);
        assert!(identity(&named(&long, 1)).len() < 128);
        assert_ne!(
            identity(&named(&long, 1)),
            identity(&named(&(long.clone() + "y"), 1))
        );
    }
}
