//! From signals to orders: the plan is the execution-engine's, sizes are the engine's, the gate is the gate.

use std::collections::HashMap;

use common::messages::TradingState;
use execution_engine::plan::{Holding, Plan, Sizing};
use paper_exchange::core::{Exchange, NewOrder, Phase, Side};
use paper_exchange::recording::Recording;
use paper_exchange::replay::SymbolId;
use risk_manager::gate::{self, Gate, OpenOrder};
use risk_manager::watch::LossWatch;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use uuid::Uuid;

use crate::outcome::{OrderRow, Outcome, RefusalRow};
use crate::settings::{Settings, SettingsError};
use crate::strategy::Signal;

/// How long a signal waits for the other side to be closed: `execution.command_timeout_s`.
const REVERSAL_PATIENCE: i64 = 10_000_000_000;
const NANOS: f64 = 1e9;

/// Account 0 of the exchange: the run's own.
pub(crate) const ACCOUNT: usize = 0;

/// A signal that waits until what is held on the other side is closed.
struct Reversal {
    signal: Signal,
    until: i64,
}

pub(crate) struct Desk {
    names: Vec<String>,
    ids: Vec<SymbolId>,
    sizing: Sizing,
    gate: Option<Gate>,
    watch: Option<Watch>,
    /// Signed, by symbol.
    held: Vec<Decimal>,
    /// Symbols whose position the gate doesn't know yet.
    moved: Vec<usize>,
    /// Open orders that the gate knows.
    told: Vec<String>,
    orders: HashMap<Uuid, usize>,
    reversals: Vec<Reversal>,
    last_equity: Decimal,
    multiplier: Decimal,
    began: i64,
}

/// The loss limits of the risk-manager, asked only when they may have something to say.
struct Watch {
    limits: LossWatch,
    peak: f64,
    base: f64,
    drawdown: f64,
    daily: f64,
}

impl Desk {
    pub(crate) fn new(
        settings: &Settings,
        recording: &Recording,
        ids: &[SymbolId],
        began: i64,
    ) -> Result<Self, SettingsError> {
        let limits = settings.check()?;
        let cash = settings.cash;
        let watch = limits.as_ref().map(|limits| {
            let (daily, drawdown) = (limits.max_daily_loss_pct, limits.max_drawdown_pct);
            let part = |percent: Decimal| 1.0 - percent.to_f64().unwrap_or(0.0) / 100.0;
            let opening = cash.to_f64().unwrap_or_default();
            let mut watch = LossWatch::new(daily, drawdown, None);
            watch.on_account(cash, cash);
            Watch {
                limits: watch,
                peak: opening,
                base: opening,
                drawdown: part(drawdown),
                daily: part(daily),
            }
        });
        Ok(Self {
            names: ids
                .iter()
                .map(|id| recording.name(*id).to_owned())
                .collect(),
            ids: ids.to_vec(),
            sizing: Sizing {
                notional_per_signal: settings.notional_per_signal,
                min_strength: settings.min_strength,
            },
            gate: limits.map(Gate::new),
            watch,
            held: vec![Decimal::ZERO; ids.len()],
            moved: Vec::new(),
            told: Vec::new(),
            orders: HashMap::new(),
            reversals: Vec::new(),
            last_equity: cash,
            multiplier: settings.multiplier.into(),
            began,
        })
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The order's place among the outcome's orders.
    pub(crate) fn order_of(&self, id: Uuid) -> Option<usize> {
        self.orders.get(&id).copied()
    }

    /// Carries a signal out at the exchange's now, as the execution-engine does.
    pub(crate) fn carry_out(&mut self, signal: Signal, exchange: &mut Exchange, out: &mut Outcome) {
        out.signals += 1;
        let name = &self.names[signal.symbol];
        out.journal
            .signal(exchange.now(), name, signal.direction, signal.strength);
        self.plan(signal, false, exchange, out);
    }

    fn plan(&mut self, signal: Signal, again: bool, exchange: &mut Exchange, out: &mut Outcome) {
        let symbol = signal.symbol;
        let holding = self.holding(symbol, exchange);
        let plan = self
            .sizing
            .plan_for(signal.direction, signal.strength, holding);
        match plan {
            Plan::Nothing(_) => out.idle_signals += 1,
            Plan::Close => {
                self.close(symbol, exchange, out);
            }
            Plan::CloseFirst if again => {}
            Plan::CloseFirst => {
                if self.close(symbol, exchange, out) {
                    let until = exchange.now() + REVERSAL_PATIENCE;
                    self.reversals.push(Reversal { signal, until });
                }
            }
            Plan::Order { side, notional } => {
                let side = match side {
                    common::engine::Side::Buy => Side::Buy,
                    common::engine::Side::Sell => Side::Sell,
                };
                self.order(symbol, side, notional, exchange, out);
            }
        }
    }

    /// What is held and open in dollars, at the last print.
    fn holding(&self, symbol: usize, exchange: &Exchange) -> Holding {
        let quoted = exchange.market().get(self.ids[symbol].index());
        let mark = quoted.mark().unwrap_or_default();
        let mut holding = Holding {
            held: (self.held[symbol] * mark).round_dp(2),
            ..Holding::default()
        };
        for order in exchange.account(ACCOUNT).open_orders() {
            if *order.symbol == *self.names[symbol] {
                let worth = order.remaining() * mark;
                match order.side {
                    Side::Buy => holding.buying += worth,
                    Side::Sell => holding.selling += worth,
                }
            }
        }
        holding
    }

    /// Cancels the symbol's orders and sells or buys back what is held. Whether an order was sent.
    fn close(&mut self, symbol: usize, exchange: &mut Exchange, out: &mut Outcome) -> bool {
        let open: Vec<Uuid> = exchange
            .account(ACCOUNT)
            .open_orders()
            .filter(|order| *order.symbol == *self.names[symbol])
            .map(|order| order.id)
            .collect();
        for id in open {
            // It may have gone with another one.
            let _ = exchange.cancel(ACCOUNT, id);
        }
        let held = self.held[symbol];
        if held.is_zero() {
            return false;
        }
        let side = if held.is_sign_negative() {
            Side::Buy
        } else {
            Side::Sell
        };
        self.send(symbol, side, held.abs(), true, exchange, out)
    }

    fn order(
        &mut self,
        symbol: usize,
        side: Side,
        notional: Decimal,
        exchange: &mut Exchange,
        out: &mut Outcome,
    ) {
        let touch = exchange.market().get(self.ids[symbol].index()).touch(side);
        let qty = touch.map_or(Decimal::ZERO, |touch| (notional / touch).trunc());
        if qty.is_zero() {
            let why = match touch {
                Some(touch) => format!("${notional} at {touch} comes to less than one share"),
                None => "no price is known to reckon with".to_owned(),
            };
            self.refused(symbol, "quantity", why, exchange, out);
            return;
        }
        self.send(symbol, side, qty, false, exchange, out);
    }

    fn send(
        &mut self,
        symbol: usize,
        side: Side,
        qty: Decimal,
        reduce_only: bool,
        exchange: &mut Exchange,
        out: &mut Outcome,
    ) -> bool {
        let mut order = gate::Order::market(&self.names[symbol], gate_side(side), qty);
        order.reduce_only = reduce_only;
        if let Some((check, why)) = self.judge(symbol, &order, exchange) {
            self.refused(symbol, check, why, exchange, out);
            return false;
        }
        let at = exchange.now();
        let quoted = exchange.market().get(self.ids[symbol].index());
        let float = |price: Option<Decimal>| price.and_then(|p| p.to_f64()).unwrap_or(f64::NAN);
        let (bid, ask) = (float(quoted.bid), float(quoted.ask));
        let name = &self.names[symbol];
        let request = NewOrder {
            client_order_id: Some((out.orders.len() + 1).to_string()),
            ..NewOrder::market(name, side, qty)
        };
        match exchange.submit(ACCOUNT, &request) {
            Ok(receipt) => {
                let order = receipt.order;
                out.journal
                    .order(at, &order.client_order_id, name, side, qty);
                self.orders.insert(order.id, out.orders.len());
                out.orders.push(OrderRow {
                    at,
                    client_order_id: order.client_order_id,
                    symbol,
                    side,
                    qty,
                    bid,
                    ask,
                });
                true
            }
            Err(refusal) => {
                self.refused(symbol, "exchange", refusal.message, exchange, out);
                false
            }
        }
    }

    /// Which check refuses the order, and why.
    fn judge(
        &mut self,
        symbol: usize,
        order: &gate::Order,
        exchange: &Exchange,
    ) -> Option<(&'static str, String)> {
        self.tell_gate(exchange);
        let gate = self.gate.as_mut()?;
        let now = (exchange.now() - self.began) as f64 / NANOS;
        gate.set_session(exchange.phase() == Phase::Regular);
        let balances = exchange.account(ACCOUNT).balances(exchange.market());
        gate.set_account(gate::Account {
            equity: balances.equity,
            last_equity: self.last_equity,
            cash: balances.cash,
            buying_power: balances.buying_power,
            multiplier: self.multiplier,
        });
        for (number, id) in self.ids.iter().enumerate() {
            if number != symbol && self.held[number].is_zero() {
                continue;
            }
            let quoted = exchange.market().get(id.index());
            // A quote stands until the next one, however long ago it came; yesterday's doesn't.
            let at = if quoted.quoted_at >= exchange.day_began() {
                now
            } else {
                f64::NEG_INFINITY
            };
            let (bid, ask, last) = (quoted.bid, quoted.ask, quoted.last);
            gate.set_exact_quote(&self.names[number], bid, ask, last, at);
        }
        let verdict = gate.admit(order, now);
        verdict
            .refusals
            .into_iter()
            .next()
            .map(|refusal| (refusal.check, refusal.message))
    }

    #[cold]
    fn refused(
        &self,
        symbol: usize,
        check: &str,
        why: String,
        exchange: &Exchange,
        out: &mut Outcome,
    ) {
        let at = exchange.now();
        out.journal.refused(at, &self.names[symbol], check, &why);
        out.refusals.push(RefusalRow {
            at,
            symbol,
            check: check.to_owned(),
            why,
        });
    }

    /// Takes in that something was filled.
    pub(crate) fn filled(&mut self, symbol: usize, position: Decimal) {
        self.held[symbol] = position;
        self.moved.push(symbol);
    }

    /// Tells the gate what has changed since it was asked last.
    fn tell_gate(&mut self, exchange: &Exchange) {
        let Some(gate) = self.gate.as_mut() else {
            return;
        };
        for symbol in self.moved.drain(..) {
            let price = exchange.market().get(self.ids[symbol].index()).mark();
            let price = price.unwrap_or_default();
            gate.set_position(&self.names[symbol], self.held[symbol], price);
        }
        for id in self.told.drain(..) {
            gate.remove_order(&id);
        }
        for order in exchange.account(ACCOUNT).open_orders() {
            let open = open_order(order.side, order.remaining());
            gate.set_order(&order.client_order_id, &order.symbol, open);
            self.told.push(order.client_order_id.clone());
        }
    }

    /// Carries out what waited for this symbol to be flat.
    pub(crate) fn turn_round(&mut self, exchange: &mut Exchange, out: &mut Outcome) {
        if self.reversals.is_empty() {
            return;
        }
        let now = exchange.now();
        self.reversals.retain(|waiting| waiting.until >= now);
        let held = &self.held;
        let ready = |waiting: &mut Reversal| held[waiting.signal.symbol].is_zero();
        let due: Vec<Reversal> = self.reversals.extract_if(.., ready).collect();
        for waiting in due {
            self.plan(waiting.signal, true, exchange, out);
        }
    }

    /// Whether the limits of loss may have something to say of this equity.
    #[inline]
    pub(crate) fn is_alarmed(&mut self, equity: f64) -> bool {
        let Some(watch) = &mut self.watch else {
            return false;
        };
        watch.peak = watch.peak.max(equity);
        // A cent of rounding must not hide what the exact figures would say.
        equity <= watch.peak * watch.drawdown + 0.02 || equity <= watch.base * watch.daily + 0.02
    }

    /// Looks at the limits of loss, as the risk-manager does at each word of the account.
    pub(crate) fn watch(&mut self, exchange: &Exchange, out: &mut Outcome) {
        let Some(watch) = &mut self.watch else { return };
        let peak = Decimal::try_from(watch.peak)
            .unwrap_or_default()
            .round_dp(2);
        let exact = exchange.account(ACCOUNT).balances(exchange.market()).equity;
        watch.limits.on_account(peak.max(exact), self.last_equity);
        if watch.limits.on_account(exact, self.last_equity) {
            self.demand(exchange.now(), out);
        }
    }

    fn demand(&mut self, at: i64, out: &mut Outcome) {
        let (Some(watch), Some(gate)) = (&self.watch, &mut self.gate) else {
            return;
        };
        let (state, reason) = (watch.limits.demand(), watch.limits.reason());
        gate.set_trading_state(state, reason);
        out.journal.state(at, state.as_str(), reason);
    }

    /// The session is over: the next day's loss counts from here.
    pub(crate) fn closed(&mut self, exchange: &Exchange, out: &mut Outcome) {
        let balances = exchange.account(ACCOUNT).balances(exchange.market());
        let (at, equity) = (exchange.now(), balances.equity);
        out.journal.close(at, equity, balances.cash);
        out.closes.push((at, equity));
        out.cash = balances.cash;
        self.last_equity = equity;
        let Some(watch) = &mut self.watch else { return };
        watch.base = equity.to_f64().unwrap_or_default();
        let before = watch.limits.demand();
        watch.limits.on_account(equity, equity);
        if watch.limits.demand() != before {
            self.demand(at, out);
        }
    }

    /// Whether the limits of loss have stopped the run for good.
    pub(crate) fn is_halted(&self) -> bool {
        self.watch
            .as_ref()
            .is_some_and(|watch| watch.limits.demand() == TradingState::Halted)
    }
}

fn gate_side(side: Side) -> gate::Side {
    match side {
        Side::Buy => gate::Side::Buy,
        Side::Sell => gate::Side::Sell,
    }
}

fn open_order(side: Side, open_qty: Decimal) -> OpenOrder {
    OpenOrder {
        side: gate_side(side),
        open_qty,
        price: None,
        order_type: gate::OrderType::Market,
        in_doubt: false,
    }
}
