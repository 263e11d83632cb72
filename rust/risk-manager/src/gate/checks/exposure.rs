//! The order against the account: what it would hold, owe and lose.

use rust_decimal::Decimal;

use super::{Judge, cents};
use crate::gate::order::Side;
use crate::money::dollars;
use common::messages::TradingState;

/// What a short sale reserves above the ask, as Alpaca does.
const SHORT_RESERVE: Decimal = Decimal::from_parts(103, 0, 0, false, 2);

impl Judge<'_> {
    pub(super) fn order_notional(&mut self) {
        self.begin();
        let limit = self.limits.order_notional(&self.order.symbol);
        let Some(notional) = self.notional else {
            if !self.reduces {
                self.refuse(
                    "notional",
                    limit,
                    "no price",
                    format!(
                        "without a price of {} its worth is unknown",
                        self.order.symbol
                    ),
                    "wait for a quote, or use a limit order",
                );
            }
            return;
        };
        if notional > limit && !self.reduces {
            let value = cents(notional);
            let price = self.price.unwrap_or(Decimal::ONE);
            self.refuse(
                "notional",
                limit,
                value,
                format!(
                    "{} is more than the {} of one order",
                    dollars(value),
                    dollars(limit)
                ),
                format!("{} shares or fewer", (limit / price).floor()),
            );
        }
    }

    /// A sale beyond what is held: refused where shorts aren't allowed, never out of a long position
    /// in one order, and in whole shares.
    pub(super) fn short_sale(&mut self) {
        self.begin();
        if self.order.side == Side::Buy || self.reduces {
            return;
        }
        let (qty, position) = (self.order.qty, self.book.position());
        if position > Decimal::ZERO {
            let free = self.book.reducible(Side::Sell);
            self.refuse(
                "short_sale",
                free,
                qty,
                format!("{qty} are more than the {free} that are held and not in open orders"),
                format!("sell {free} or fewer, or close the position first"),
            );
        } else if !self.limits.allow_short {
            self.refuse(
                "short_sale",
                "risk.allow_short = false",
                qty,
                format!("selling {qty} {} would be a short sale", self.order.symbol),
                "sell only what is held",
            );
        } else if !qty.fract().is_zero() {
            self.refuse(
                "short_sale",
                "whole shares",
                qty,
                "a short sale is in whole shares",
                format!("sell {}", qty.floor()),
            );
        }
    }

    pub(super) fn reduce_only(&mut self) {
        self.begin();
        if !self.order.reduce_only || self.reduces {
            return;
        }
        let largest = self.book.reducible(self.order.side);
        let position = self.book.position();
        self.refuse(
            "reduce_only",
            largest,
            self.order.qty,
            format!("the position is {position}: at most {largest} reduce it"),
            format!("{} {largest} or fewer", self.order.side.as_str()),
        );
    }

    pub(super) fn position(&mut self) {
        self.begin();
        let limit = self.limits.position_notional(&self.order.symbol);
        if let Some(after) = self.exposure_after()
            && after > limit
            && !self.reduces
        {
            let value = cents(after);
            self.refuse(
                "position",
                limit,
                value,
                format!(
                    "the position in {} would be {}, open orders counted; the limit is {}",
                    self.order.symbol,
                    dollars(value),
                    dollars(limit)
                ),
                "a smaller quantity, or cancel open orders",
            );
        }
    }

    fn exposure_after(&self) -> Option<Decimal> {
        let price = self.price?;
        Some(
            self.book
                .exposure_after(self.order.side, self.order.qty, price),
        )
    }

    pub(super) fn gross_exposure(&mut self) {
        self.begin();
        if self.reduces {
            return;
        }
        let pct = self.limits.max_gross_exposure_pct;
        let Some(account) = self.gate.account else {
            self.refuse(
                "gross_exposure",
                format!("{pct} % of equity"),
                "no account",
                "the account isn't known yet",
                "wait until the broker has answered",
            );
            return;
        };
        let Some(after) = self.exposure_after() else {
            return;
        };
        let limit = account.equity * pct / Decimal::ONE_HUNDRED;
        let own = self.book.exposure();
        let gross = self.gate.gross - own + own.max(after);
        if gross > limit {
            let (value, limit) = (cents(gross), cents(limit));
            self.refuse(
                "gross_exposure",
                limit,
                value,
                format!(
                    "{} would be at risk in all, open orders counted; {pct} % of equity is {}",
                    dollars(value),
                    dollars(limit)
                ),
                "a smaller quantity, or close something first",
            );
        }
    }

    pub(super) fn buying_power(&mut self) {
        self.begin();
        let (Some(account), Some(price)) = (self.gate.account, self.price) else {
            return;
        };
        let available = account.buying_power - self.gate.unknown;
        let needed = self.needed(price);
        self.verdict.buying_power_after = Some(cents(available - needed));
        if needed > available && !self.reduces {
            let (needed, available) = (cents(needed), cents(available));
            self.refuse(
                "buying_power",
                available,
                needed,
                format!(
                    "{} are needed and {} are there",
                    dollars(needed),
                    dollars(available)
                ),
                "a smaller quantity, or close something first",
            );
        }
    }

    /// Dollars of buying power that the order takes; what closes takes none.
    fn needed(&self, price: Decimal) -> Decimal {
        let opening = (self.order.qty - self.book.reducible(self.order.side)).max(Decimal::ZERO);
        let each = match self.order.side {
            Side::Buy => price,
            Side::Sell => {
                let ask = self.book.quote().and_then(|quote| quote.ask);
                ask.map_or(price, |ask| price.max(ask * SHORT_RESERVE))
            }
        };
        opening * each
    }

    pub(super) fn daily_loss(&mut self) {
        self.begin();
        let Some(account) = self.gate.account else {
            return;
        };
        if self.reduces || account.last_equity <= Decimal::ZERO {
            return;
        }
        let lost = account.last_equity - account.equity;
        let pct = lost * Decimal::ONE_HUNDRED / account.last_equity;
        let limit = self.limits.max_daily_loss_pct;
        if pct >= limit {
            let value = format!("{} %", cents(pct));
            self.refuse(
                "daily_loss",
                format!("{limit} %"),
                &value,
                format!("{} or {value} are lost since the last close", dollars(lost)),
                "only orders that reduce are taken until tomorrow",
            );
        }
    }

    /// The largest quantity of whole shares within every limit of size.
    pub(super) fn largest(&mut self) {
        let Some(price) = self.price.filter(|price| *price > Decimal::ZERO) else {
            return;
        };
        let symbol = &self.order.symbol;
        let reducible = self.book.reducible(self.order.side);
        let mark = self.book.mark().unwrap_or(price).max(price);
        let before = self
            .book
            .exposure_after(self.order.side, Decimal::ZERO, price);
        let mut room = (self.limits.position_notional(symbol) - before) / mark;
        if let Some(account) = self.gate.account {
            let allowed =
                account.equity * self.limits.max_gross_exposure_pct / Decimal::ONE_HUNDRED;
            let others = self.gate.gross - self.book.exposure();
            room = room.min((allowed - others - before) / mark);
            let each = (self.needed(price) / self.order.qty).max(Decimal::ZERO);
            if let Some(after) = self.verdict.buying_power_after
                && each > Decimal::ZERO
            {
                let opening = (after + self.needed(price)) / each.max(price);
                room = room.min(opening + reducible);
            }
        }
        room = room.min(self.limits.order_notional(symbol) / price);
        if self.order.side == Side::Sell
            && (self.book.position() > Decimal::ZERO || !self.limits.allow_short)
        {
            room = reducible;
        }
        let most = room.max(reducible).min(self.limits.order_qty(symbol));
        let most = if self.gate.state == TradingState::Reducing || self.order.reduce_only {
            most.min(reducible)
        } else {
            most
        };
        self.verdict.max_qty = Some(most.max(Decimal::ZERO).floor());
    }
}
