//! The checks themselves, one function each, in the order in which a person would ask.

use common::messages::{TradingState, is_symbol};
use rust_decimal::Decimal;

use super::book::Book;
use super::order::{Order, OrderType, Side, TimeInForce};
use super::verdict::{Refusal, Verdict};
use super::{Gate, Limits};

/// Beyond these no arithmetic is done: nothing real is so large.
const ABSURD: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);
/// Alpaca takes nine decimals of a share.
const QTY_DECIMALS: u32 = 9;
/// What a short sale reserves above the ask, as Alpaca does.
const SHORT_RESERVE: Decimal = Decimal::from_parts(103, 0, 0, false, 2);
const MINUTE: f64 = 60.0;

pub(super) fn run(gate: &Gate, order: &Order, now: f64) -> Verdict {
    let empty = Book::default();
    let book = gate.books.get(&order.symbol).unwrap_or(&empty);
    let mut judge = Judge {
        gate,
        limits: &gate.limits,
        order,
        book,
        now,
        reduces: order.qty <= book.reducible(order.side),
        price: None,
        notional: None,
        verdict: Verdict {
            qty: order.qty,
            ..Verdict::default()
        },
    };
    // Without a sane quantity and price the rest would judge nonsense.
    if judge.order_makes_sense() {
        judge.reckon();
        judge.trading_state();
        judge.symbol();
        judge.in_doubt();
        judge.quantity();
        judge.market_closed();
        judge.stale_quote();
        judge.price_collar();
        judge.bracket();
        judge.order_notional();
        judge.duplicate();
        judge.order_rate();
        judge.open_orders();
        judge.short_sale();
        judge.reduce_only();
        judge.position();
        judge.gross_exposure();
        judge.buying_power();
        judge.daily_loss();
        judge.self_match();
        judge.largest();
    }
    judge.verdict
}

struct Judge<'a> {
    gate: &'a Gate,
    limits: &'a Limits,
    order: &'a Order,
    book: &'a Book,
    now: f64,
    /// The order does nothing but bring the position nearer to zero, open orders counted.
    reduces: bool,
    price: Option<Decimal>,
    notional: Option<Decimal>,
    verdict: Verdict,
}

impl Judge<'_> {
    fn refuse(
        &mut self,
        check: &'static str,
        limit: impl ToString,
        value: impl ToString,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.verdict.refusals.push(Refusal {
            check,
            limit: limit.to_string(),
            value: value.to_string(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn warn(
        &mut self,
        check: &'static str,
        limit: impl ToString,
        value: impl ToString,
        message: impl Into<String>,
    ) {
        self.verdict.warnings.push(Refusal {
            check,
            limit: limit.to_string(),
            value: value.to_string(),
            message: message.into(),
            remedy: String::new(),
        });
    }

    fn begin(&mut self) {
        self.verdict.checks_run += 1;
    }

    fn order_makes_sense(&mut self) -> bool {
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

    /// The price that a fill would have, as far as can be told.
    fn reckon(&mut self) {
        let order = self.order;
        let quote = self.book.quote();
        let touch = quote.and_then(|quote| match order.side {
            Side::Buy => quote.ask,
            Side::Sell => quote.bid,
        });
        self.price = order
            .limit_price
            .filter(|_| matches!(order.order_type, OrderType::Limit | OrderType::StopLimit))
            .or(order
                .stop_price
                .filter(|_| order.order_type == OrderType::Stop))
            .or(touch)
            .or_else(|| self.book.mark());
        self.notional = self.price.map(|price| price * order.qty);
        self.verdict.price = self.price;
        self.verdict.notional = self.notional.map(cents);
        if let (Some(notional), Some(account)) = (self.notional, self.gate.account)
            && account.equity > Decimal::ZERO
        {
            self.verdict.equity_pct = Some(cents(notional * Decimal::ONE_HUNDRED / account.equity));
        }
        if let Some((bid, ask)) = quote.and_then(|quote| Some((quote.bid?, quote.ask?)))
            && self.takes(bid, ask)
        {
            self.verdict.spread_cost = Some(cents((ask - bid) / Decimal::TWO * order.qty));
        }
        if let (Some(price), Some(stop)) = (self.price, order.stop_loss) {
            let loss = (price - stop) * order.side.sign() * order.qty;
            self.verdict.loss_at_stop = Some(cents(loss));
        }
    }

    /// Whether it would trade at once against this quote.
    fn takes(&self, bid: Decimal, ask: Decimal) -> bool {
        match (
            self.order.order_type,
            self.order.side,
            self.order.limit_price,
        ) {
            (OrderType::Market, ..) => true,
            (OrderType::Limit, Side::Buy, Some(limit)) => limit >= ask,
            (OrderType::Limit, Side::Sell, Some(limit)) => limit <= bid,
            _ => false,
        }
    }

    fn trading_state(&mut self) {
        self.begin();
        let reason = &self.gate.state_reason;
        let because = if reason.is_empty() {
            String::new()
        } else {
            format!(" ({reason})")
        };
        match self.gate.state {
            TradingState::Active => {}
            TradingState::Reducing if self.reduces => {}
            TradingState::Reducing => self.refuse(
                "trading_state",
                "REDUCING",
                self.order.qty,
                format!("only orders that reduce a position are taken now{because}"),
                "close or reduce, or resume trading",
            ),
            TradingState::Halted => self.refuse(
                "trading_state",
                "HALTED",
                self.order.qty,
                format!("trading is halted{because}"),
                "resume trading when the reason is gone",
            ),
        }
    }

    fn symbol(&mut self) {
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

    fn in_doubt(&mut self) {
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

    fn quantity(&mut self) {
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

    /// A closed market is no reason to refuse what is meant to wait for it: good-till-canceled, at the
    /// open, at the close, or for extended hours; nor what only reduces, which the broker queues.
    fn market_closed(&mut self) {
        self.begin();
        if self.gate.is_open == Some(true) {
            return;
        }
        let value = match self.gate.is_open {
            Some(_) => "closed",
            None => "not known yet",
        };
        if self.waits_for_the_open() {
            self.warn(
                "market_closed",
                "open",
                value,
                "the market is closed: the order waits at the broker",
            );
        } else {
            self.refuse(
                "market_closed",
                "open",
                value,
                format!("the market is {value}"),
                "wait for the open, or make it gtc, opg, cls or an extended-hours limit",
            );
        }
    }

    fn waits_for_the_open(&self) -> bool {
        let tif = self.order.time_in_force;
        matches!(tif, TimeInForce::Gtc | TimeInForce::Opg | TimeInForce::Cls)
            || (self.order.extended_hours && self.order.order_type == OrderType::Limit)
            || self.reduces
    }

    /// Whether a quote of now can be asked for: the market is open, and the order isn't the way out.
    fn stale_quote(&mut self) {
        self.begin();
        let limit = self.limits.quote_stale_s;
        let age = self.book.quote().map(|quote| self.now - quote.at);
        if age.is_some_and(|age| age <= limit) {
            return;
        }
        let value = age.map_or("no quote".to_owned(), |age| format!("{age:.1} s old"));
        let message = match age {
            Some(age) => format!("the quote of {} is {age:.1} s old", self.order.symbol),
            None => format!("there is no quote of {}", self.order.symbol),
        };
        if self.reduces || (self.gate.is_open != Some(true) && self.price.is_some()) {
            self.warn("stale_quote", format!("{limit} s"), value, message);
        } else {
            self.refuse(
                "stale_quote",
                format!("{limit} s"),
                value,
                message,
                "wait for a fresh quote; is the market data connected?",
            );
        }
    }

    fn price_collar(&mut self) {
        self.begin();
        let Some(quote) = self.book.quote() else {
            return;
        };
        let (Some(bid), Some(ask)) = (quote.bid, quote.ask) else {
            return;
        };
        let width = self.limits.price_collar_pct / Decimal::ONE_HUNDRED;
        let (lowest, highest) = (bid * (Decimal::ONE - width), ask * (Decimal::ONE + width));
        let collar = format!("{} %", self.limits.price_collar_pct);
        let order = self.order;
        match (order.order_type, order.limit_price) {
            (OrderType::Market, _) if ask > bid * (Decimal::ONE + width) && !self.reduces => {
                let wide = format!("{bid} × {ask}");
                self.refuse(
                    "price_collar",
                    collar,
                    wide,
                    format!("the quote is wider than the collar: a market order would pay {ask} for what bids {bid}"),
                    "use a limit order",
                );
            }
            (OrderType::Limit, Some(limit)) => {
                let gives_away = match order.side {
                    Side::Buy => limit > highest,
                    Side::Sell => limit < lowest,
                };
                let passive = match order.side {
                    Side::Buy => limit < lowest,
                    Side::Sell => limit > highest,
                };
                if gives_away {
                    let (touch, edge) = match order.side {
                        Side::Buy => (ask, highest),
                        Side::Sell => (bid, lowest),
                    };
                    self.refuse(
                        "price_collar",
                        collar,
                        limit,
                        format!("a limit of {limit} gives money away: the market is at {touch}"),
                        format!("a limit of {} or better", cents(edge)),
                    );
                } else if passive {
                    let message =
                        format!("a limit of {limit} is far from the market, {bid} × {ask}");
                    self.warn("price_collar", collar, limit, message);
                }
            }
            (OrderType::StopLimit, Some(limit)) => self.stop_limit_collar(limit, width, &collar),
            _ => {}
        }
        self.stop_side(bid, ask);
    }

    fn stop_limit_collar(&mut self, limit: Decimal, width: Decimal, collar: &str) {
        let Some(stop) = self.order.stop_price else {
            return;
        };
        let gives_away = match self.order.side {
            Side::Buy => limit > stop * (Decimal::ONE + width),
            Side::Sell => limit < stop * (Decimal::ONE - width),
        };
        if gives_away {
            self.refuse(
                "price_collar",
                collar,
                limit,
                format!("a limit of {limit} gives money away beyond the stop of {stop}"),
                "bring the limit nearer to the stop",
            );
        }
    }

    fn stop_side(&mut self, bid: Decimal, ask: Decimal) {
        let order = self.order;
        let Some(stop) = order
            .stop_price
            .filter(|_| matches!(order.order_type, OrderType::Stop | OrderType::StopLimit))
        else {
            return;
        };
        let at_once = match order.side {
            Side::Buy => stop <= ask,
            Side::Sell => stop >= bid,
        };
        if at_once {
            let message = format!(
                "a {} stop of {stop} triggers at once: the market is {bid} × {ask}",
                order.side.as_str()
            );
            self.warn("price_collar", "beyond the market", stop, message);
        }
    }

    fn bracket(&mut self) {
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

    fn order_notional(&mut self) {
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
                format!("${value} is more than the ${limit} of one order"),
                format!("{} shares or fewer", (limit / price).floor()),
            );
        }
    }

    fn duplicate(&mut self) {
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

    fn order_rate(&mut self) {
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

    fn open_orders(&mut self) {
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

    /// A sale beyond what is held: refused where shorts aren't allowed, never out of a long position
    /// in one order, and in whole shares.
    fn short_sale(&mut self) {
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

    fn reduce_only(&mut self) {
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

    fn position(&mut self) {
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
                    "the position in {} would be ${value}, open orders counted",
                    self.order.symbol
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

    fn gross_exposure(&mut self) {
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
                format!("${value} would be at risk in all, open orders counted; {pct} % of equity is ${limit}"),
                "a smaller quantity, or close something first",
            );
        }
    }

    fn buying_power(&mut self) {
        self.begin();
        let (Some(account), Some(price)) = (self.gate.account, self.price) else {
            return;
        };
        let unknown: Decimal = self.gate.books.values().map(Book::unknown_reserve).sum();
        let available = account.buying_power - unknown;
        let needed = self.needed(price);
        self.verdict.buying_power_after = Some(cents(available - needed));
        if needed > available && !self.reduces {
            let (needed, available) = (cents(needed), cents(available));
            self.refuse(
                "buying_power",
                available,
                needed,
                format!("${needed} are needed and ${available} are there"),
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

    fn daily_loss(&mut self) {
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
                format!("${} or {value} are lost since the last close", cents(lost)),
                "only orders that reduce are taken until tomorrow",
            );
        }
    }

    /// An order that would meet one's own on the other side.
    fn self_match(&mut self) {
        self.begin();
        let (Some(price), false) = (self.price, self.order.order_type.is_triggered()) else {
            return;
        };
        let own = self.book.orders().find(|(_, other)| {
            other.side != self.order.side
                && !other.order_type.is_triggered()
                && match (other.price, self.order.side) {
                    (None, _) => true,
                    (Some(theirs), Side::Buy) => price >= theirs,
                    (Some(theirs), Side::Sell) => price <= theirs,
                }
        });
        if let Some((id, other)) = own {
            let at = other
                .price
                .map_or("market".to_owned(), |price| price.to_string());
            let message = format!(
                "it would trade with your own {} order {id} at {at}",
                other.side.as_str()
            );
            let remedy = format!("cancel {id} first");
            self.refuse("self_match", at, price, message, remedy);
        }
    }

    /// The largest quantity of whole shares within every limit of size.
    fn largest(&mut self) {
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

fn cents(value: Decimal) -> Decimal {
    value.round_dp(2)
}
