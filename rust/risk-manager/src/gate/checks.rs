//! The checks themselves, one function each, in the order in which a person would ask.

mod exposure;
mod market;
mod sense;

use common::messages::TradingState;
use rust_decimal::Decimal;

use super::book::Book;
use super::order::{Order, OrderType, Side};
use super::verdict::{Refusal, Verdict};
use super::{Gate, Limits};

/// With `largest`, the verdict has the largest quantity that would pass.
pub(super) fn run(gate: &Gate, order: &Order, now: f64, largest: bool) -> Verdict {
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
        if largest {
            judge.largest();
        }
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
}

fn cents(value: Decimal) -> Decimal {
    value.round_dp(2)
}
