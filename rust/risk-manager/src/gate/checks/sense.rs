//! Whether it makes sense as an order: its numbers, its symbol, and how many like it there were.

use common::messages::is_symbol;
use rust_decimal::Decimal;

use super::Judge;
use crate::gate::order::OrderType;

/// Beyond these no arithmetic is done: nothing real is so large.
const ABSURD: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);
/// Alpaca takes nine decimals of a share.
const QTY_DECIMALS: u32 = 9;
const MINUTE: f64 = 60.0;

impl Judge<'_> {
    pub(super) fn order_makes_sense(&mut self) -> bool {
        self.begin();
        let order = self.order;
        let qty = order.qty;
        if qty <= Decimal::ZERO || qty > ABSURD {
            let limit = format!("above 0, at most {}", self.limits.order_qty(&order.symbol));
            self.refuse(
                "quantity",
                limit,
                qty,
                format!("{qty} is no quantity to {}", order.side.as_str()),
                "give a number of shares",
            );
            return false;
        }
        let prices = [
            ("limit price", order.limit_price),
            ("stop price", order.stop_price),
            ("stop loss", order.stop_loss),
            ("take profit", order.take_profit),
        ];
        for (name, price) in prices {
            if let Some(price) = price
                && (price <= Decimal::ZERO || price > ABSURD)
            {
                self.refuse(
                    "price",
                    "above 0",
                    price,
                    format!("{price} is no {name}"),
                    "give a price in dollars",
                );
                return false;
            }
        }
        let missing = match order.order_type {
            OrderType::Limit if order.limit_price.is_none() => Some("limit price"),
            OrderType::StopLimit if order.limit_price.is_none() => Some("limit price"),
            OrderType::Stop | OrderType::StopLimit if order.stop_price.is_none() => {
                Some("stop price")
            }
            _ => None,
        };
        if let Some(name) = missing {
            let message = format!("an order of this type needs a {name}");
            self.refuse("price", name, "none", message, format!("give a {name}"));
            return false;
        }
        true
    }

    pub(super) fn symbol(&mut self) {
        self.begin();
        let symbol = &self.order.symbol;
        if !is_symbol(symbol) {
            let shown: String = symbol.escape_debug().take(32).collect();
            self.refuse(
                "symbol",
                "capital letters and digits",
                format!("{shown:?}"),
                format!("{shown:?} is no symbol"),
                "give a symbol such as IBM or BRK.B",
            );
        } else if self.limits.blocked_symbols.contains(symbol) {
            self.refuse(
                "symbol",
                "risk.blocked_symbols",
                symbol,
                format!("{symbol} is blocked"),
                "take it off risk.blocked_symbols and restart",
            );
        } else if !self.limits.allowed_symbols.is_empty()
            && !self.limits.allowed_symbols.contains(symbol)
        {
            self.refuse(
                "symbol",
                self.limits.allowed_symbols.join(", "),
                symbol,
                format!("{symbol} isn't among the symbols allowed"),
                "add it to risk.allowed_symbols and restart",
            );
        }
    }

    pub(super) fn quantity(&mut self) {
        self.begin();
        let qty = self.order.qty;
        let largest = self.limits.order_qty(&self.order.symbol);
        if qty > largest {
            self.refuse(
                "quantity",
                largest,
                qty,
                format!("{qty} shares are more than the {largest} of one order"),
                format!("{largest} or fewer, in several orders"),
            );
        } else if qty.normalize().scale() > QTY_DECIMALS {
            self.refuse(
                "quantity",
                format!("{QTY_DECIMALS} decimals"),
                qty,
                "a share has no smaller part",
                format!("round it to {QTY_DECIMALS} decimals"),
            );
        }
    }

    pub(super) fn duplicate(&mut self) {
        self.begin();
        let window = self.limits.duplicate_window_s;
        let twin = self
            .gate
            .recent
            .iter()
            .rev()
            .take_while(|recent| self.now - recent.at <= window)
            .find(|recent| recent.order == *self.order);
        if let Some(twin) = twin {
            let age = self.now - twin.at;
            self.refuse(
                "duplicate",
                format!("{window} s"),
                format!("{age:.2} s"),
                format!("the same order was sent {age:.2} s ago"),
                format!("wait {:.1} s if you mean it", (window - age).max(0.1)),
            );
        }
    }

    pub(super) fn order_rate(&mut self) {
        self.begin();
        let limit = self.limits.max_orders_per_minute;
        let sent = self
            .gate
            .recent
            .iter()
            .rev()
            .take_while(|recent| self.now - recent.at < MINUTE)
            .count();
        if sent >= limit {
            self.refuse(
                "order_rate",
                format!("{limit} a minute"),
                sent,
                format!("{sent} orders went out within the last minute"),
                "wait; cancels are always taken",
            );
        }
    }

    pub(super) fn open_orders(&mut self) {
        self.begin();
        let (open, limit) = (self.gate.symbols.len(), self.limits.max_open_orders);
        if open >= limit && !self.reduces {
            self.refuse(
                "open_orders",
                limit,
                open,
                format!("{open} orders are open"),
                "cancel some first",
            );
        }
    }

    pub(super) fn in_doubt(&mut self) {
        self.begin();
        let doubtful = self.book.orders().find(|(_, order)| order.in_doubt);
        if let Some((id, _)) = doubtful {
            let id = id.to_owned();
            self.refuse(
                "order_in_doubt",
                "no order in doubt in the symbol",
                &id,
                format!(
                    "whether the broker has order {id} in {} is unknown",
                    self.order.symbol
                ),
                "wait until it is found, or settle it",
            );
        }
    }

    pub(super) fn bracket(&mut self) {
        self.begin();
        let Some(price) = self.price else { return };
        let order = self.order;
        let wrong = |leg: Option<Decimal>, sign: Decimal| {
            leg.filter(|leg| (*leg - price) * order.side.sign() * sign <= Decimal::ZERO)
        };
        if let Some(stop) = wrong(order.stop_loss, Decimal::NEGATIVE_ONE) {
            self.refuse(
                "bracket",
                price,
                stop,
                format!("a stop loss of {stop} is on the wrong side of {price}"),
                "below the price for a buy, above it for a sell",
            );
        }
        if let Some(target) = wrong(order.take_profit, Decimal::ONE) {
            self.refuse(
                "bracket",
                price,
                target,
                format!("a take profit of {target} is on the wrong side of {price}"),
                "above the price for a buy, below it for a sell",
            );
        }
    }
}
