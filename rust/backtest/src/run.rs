//! The loop: sessions, minutes, bars; exact where an order is open, quick where none is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use features::Plan;
use paper_exchange::core::{Exchange, Update, UpdateEvent};
use paper_exchange::recording::Recording;
use paper_exchange::replay::{self, LEAD, PlayDay, Tick};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::computers::Computers;
use crate::desk::{ACCOUNT, Desk};
use crate::error::BacktestError;
use crate::outcome::{FillRow, Outcome};
use crate::settings::Settings;
use crate::setup::{chosen, days, exchange_settings, headline, numbers};
use crate::strategy::{Bar, Fill, Quote, Signal, Strategy};
use crate::tape::{Key, Lane};
use crate::{Portfolio, journal::Journal};

const MINUTE: i64 = 60_000_000_000;
const NEVER: i64 = i64::MAX;

/// Plays the recording to a strategy that reads `features` (in this order), and says what came of it.
///
/// `go_on` is asked after each session.
///
/// # Errors
/// Settings, symbols or features that can't be, the strategy's own error, or `go_on` said no.
pub fn run<S: Strategy>(
    recording: &Arc<Recording>,
    settings: &Settings,
    features: &[String],
    strategy: &mut S,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Outcome, BacktestError<S::Error>> {
    let ids = chosen(recording, settings)?;
    let days = days(recording, settings)?;
    let began = days[0].session.open - LEAD;
    let mut exchange = Exchange::new(exchange_settings(settings), recording.symbols(), began);
    exchange.trade_on(days.iter().map(|day| day.session.date).collect());
    exchange.open_account("PKBACKTEST", "");
    let desk = Desk::new(settings, recording, &ids, began)?;
    let plan = (!features.is_empty())
        .then(|| Plan::new(features))
        .transpose()?;
    let mut journal = Journal::default();
    journal.begin(&headline(settings, desk.names()));
    let mut run = Run {
        recording,
        lanes: ids.iter().copied().map(Lane::new).collect(),
        computers: Computers::new(plan, desk.names()),
        portfolio: Portfolio::new(ids.len(), settings.cash.to_f64().unwrap_or_default()),
        by_id: numbers(recording, &ids),
        exchange,
        desk,
        signals: Vec::new(),
        quotes_wanted: strategy.wants_quotes(),
        outcome: Outcome {
            symbols: ids
                .iter()
                .map(|id| recording.name(*id).to_owned())
                .collect(),
            cash: settings.cash,
            journal,
            ..Outcome::default()
        },
        strategy,
    };
    run.warm_up(&days, settings.warm_up)?;
    for day in days {
        run.day(day)?;
        run.outcome.sessions += 1;
        if !go_on() {
            return Err(BacktestError::Stopped(run.outcome.sessions));
        }
    }
    Ok(run.end())
}

struct Run<'a, S: Strategy> {
    recording: &'a Arc<Recording>,
    lanes: Vec<Lane>,
    computers: Computers,
    portfolio: Portfolio,
    /// Our number of a symbol by that of the recording.
    by_id: Vec<Option<usize>>,
    exchange: Exchange,
    desk: Desk,
    signals: Vec<Signal>,
    quotes_wanted: bool,
    outcome: Outcome,
    strategy: &'a mut S,
}

type Ran<S> = Result<(), BacktestError<<S as Strategy>::Error>>;

impl<S: Strategy> Run<'_, S> {
    /// The bars before the first day, to the features alone.
    fn warm_up(&mut self, days: &[PlayDay], bars: usize) -> Ran<S> {
        let Some(first) = days.first() else {
            return Ok(());
        };
        let until = common::calendar::midnight(first.session.date);
        for number in 0..self.lanes.len() {
            let series = self.recording.series(self.lanes[number].id);
            let before = series.minutes_between(i64::MIN, until);
            let from = before.end.saturating_sub(bars).max(before.start);
            for row in &series.minutes[from..before.end] {
                let bar = features::Bar {
                    open: row.open.to_f64(),
                    high: row.high.to_f64(),
                    low: row.low.to_f64(),
                    close: row.close.to_f64(),
                    volume: row.volume as f64,
                };
                self.computers
                    .update(number, &bar)
                    .map_err(|problem| self.not_finite(number, row.start, problem))?;
            }
        }
        Ok(())
    }

    fn not_finite(
        &self,
        symbol: usize,
        at: i64,
        problem: features::NotFinite,
    ) -> BacktestError<S::Error> {
        BacktestError::Bar {
            symbol: self.desk.names()[symbol].clone(),
            at,
            problem,
        }
    }

    fn day(&mut self, day: PlayDay) -> Ran<S> {
        for lane in &mut self.lanes {
            lane.begin(self.recording, day);
        }
        let close = day.session.close;
        let mut is_over = false;
        while let Some(at) = self.lanes.iter().filter_map(Lane::next_bar_at).min() {
            if at >= close && !is_over {
                is_over = true;
                self.close(close)?;
            }
            self.pass(at)?;
            self.minute(&day, at)?;
            let next = if is_over { NEVER } else { close };
            self.settle(self.next_at().min(next))?;
        }
        if !is_over {
            self.close(close)?;
        }
        self.exchange.advance(day.session.post_close);
        self.heard()?;
        self.exchange.drop_batch();
        Ok(())
    }

    /// When the next quote, print or bar comes.
    fn next_at(&self) -> i64 {
        if self.exchange.next_due().is_none() {
            return NEVER;
        }
        let keys = self.lanes.iter().filter_map(Lane::key);
        keys.min().map_or(NEVER, |key| key.0)
    }

    /// The session ends: what is left of the day's orders goes.
    fn close(&mut self, at: i64) -> Ran<S> {
        self.pass(at)?;
        self.settle(at)?;
        self.tell();
        self.exchange.advance(at);
        self.heard()?;
        self.desk.closed(&self.exchange, &mut self.outcome);
        Ok(())
    }

    /// Quotes and prints up to `until`: one by one while an order is open, else the newest alone.
    fn pass(&mut self, until: i64) -> Ran<S> {
        if self.quotes_wanted || self.has_open_orders() {
            self.pass_exactly(until)?;
        }
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            lane.skim(until);
            if let Some(trade) = &lane.trade {
                self.portfolio.mark(number, trade.price.to_f64());
            }
        }
        self.portfolio.reckon();
        Ok(())
    }

    fn has_open_orders(&self) -> bool {
        self.exchange
            .account(ACCOUNT)
            .open_orders()
            .next()
            .is_some()
    }

    fn pass_exactly(&mut self, until: i64) -> Ran<S> {
        self.tell();
        let mut upcoming: BinaryHeap<Reverse<(Key, usize)>> = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(number, lane)| lane.key().map(|key| Reverse((key, number))))
            .collect();
        while let Some(Reverse(((at, ..), number))) = upcoming.pop() {
            if at > until {
                break;
            }
            let Some(tick) = self.lanes[number].tick(until) else {
                continue;
            };
            self.settle(at)?;
            self.exchange.tick(&tick);
            if let Tick::Trade(trade) = &tick {
                self.portfolio.mark(number, trade.price.to_f64());
            }
            self.heard()?;
            if let (true, Tick::Quote(quote)) = (self.quotes_wanted, &tick) {
                self.show_quote(number, quote)?;
            }
            if !self.quotes_wanted && !self.has_open_orders() {
                break;
            }
            if let Some(key) = self.lanes[number].key() {
                upcoming.push(Reverse((key, number)));
            }
        }
        Ok(())
    }

    fn show_quote(&mut self, symbol: usize, quote: &replay::Quote) -> Ran<S> {
        self.portfolio.reckon();
        let quote = Quote {
            symbol,
            at: quote.at,
            bid: quote.bid.to_f64(),
            ask: quote.ask.to_f64(),
            bid_size: f64::from(quote.bid_size),
            ask_size: f64::from(quote.ask_size),
        };
        self.strategy
            .on_quote(&quote, &self.portfolio, &mut self.signals)
            .map_err(BacktestError::Strategy)?;
        self.decide(quote.at);
        self.heard()
    }

    /// Everything that was passed over, to the exchange.
    fn tell(&mut self) {
        for lane in &mut self.lanes {
            lane.tell(&mut self.exchange);
        }
    }

    /// What is due before `until` though no price moves: orders arrive, rests of fills come.
    fn settle(&mut self, until: i64) -> Ran<S> {
        while let Some(due) = self.exchange.next_due().filter(|due| *due < until) {
            self.tell();
            self.exchange.advance(due);
            self.heard()?;
        }
        Ok(())
    }

    /// The bars that end at `at`, and what the strategy makes of them.
    fn minute(&mut self, day: &PlayDay, at: i64) -> Ran<S> {
        let session = day.session;
        let regular = session.open < at && at <= session.close;
        if regular && self.desk.is_alarmed(self.portfolio.equity()) {
            self.tell();
            self.exchange.advance(at);
            self.desk.watch(&self.exchange, &mut self.outcome);
        }
        for number in 0..self.lanes.len() {
            let Some(row) = self.lanes[number].bar(at) else {
                continue;
            };
            self.outcome.bars += 1;
            let numbers = features::Bar {
                open: row.open.to_f64(),
                high: row.high.to_f64(),
                low: row.low.to_f64(),
                close: row.close.to_f64(),
                volume: row.volume as f64,
            };
            let ready = self
                .computers
                .update(number, &numbers)
                .map_err(|problem| self.not_finite(number, row.start, problem))?;
            if !regular || !ready {
                continue;
            }
            self.outcome.shown += 1;
            let bar = Bar {
                symbol: number,
                start: row.start,
                end: at,
                open: numbers.open,
                high: numbers.high,
                low: numbers.low,
                close: numbers.close,
                volume: numbers.volume,
                minute: ((row.start - session.open) / MINUTE) as i32,
                minutes_left: ((session.close - at) / MINUTE) as i32,
            };
            self.strategy
                .on_bar(
                    &bar,
                    &self.computers.row,
                    &self.portfolio,
                    &mut self.signals,
                )
                .map_err(BacktestError::Strategy)?;
            if !self.signals.is_empty() {
                self.decide(at);
                self.heard()?;
            }
        }
        if regular {
            let curve = &mut self.outcome.curve;
            curve.at.push(at);
            curve.equity.push(self.portfolio.equity());
            curve.gross.push(self.portfolio.gross());
        }
        Ok(())
    }

    /// Carries out what the strategy has just answered; [`Run::heard`] hears what came of it.
    fn decide(&mut self, at: i64) {
        if self.signals.is_empty() {
            return;
        }
        self.tell();
        self.exchange.advance(at);
        for signal in self.signals.drain(..) {
            self.desk
                .carry_out(signal, &mut self.exchange, &mut self.outcome);
        }
    }

    /// What the exchange has to say.
    fn heard(&mut self) -> Ran<S> {
        loop {
            let updates = self.exchange.take_updates();
            if updates.is_empty() {
                return Ok(());
            }
            for update in &updates {
                match update.event {
                    UpdateEvent::Fill | UpdateEvent::PartialFill => self.filled(update)?,
                    UpdateEvent::Canceled | UpdateEvent::Expired | UpdateEvent::Rejected => {
                        let id = &update.order.client_order_id;
                        self.outcome
                            .journal
                            .ended(update.at, id, update.event.word());
                    }
                    UpdateEvent::PendingNew | UpdateEvent::New | UpdateEvent::Replaced => {}
                }
            }
            self.desk.turn_round(&mut self.exchange, &mut self.outcome);
        }
    }

    fn filled(&mut self, update: &Update) -> Ran<S> {
        let Some(fill) = &update.fill else {
            return Ok(());
        };
        let id = self.exchange.market().id(&fill.symbol);
        let Some(number) = id.and_then(|id| self.by_id[id]) else {
            return Ok(());
        };
        let order = self.desk.order_of(fill.order_id).unwrap_or_default();
        let position = fill.position_qty;
        self.desk.filled(number, position);
        let journal = &mut self.outcome.journal;
        let id = &update.order.client_order_id;
        journal.fill(fill.at, id, fill.side, fill.qty, fill.price);
        self.outcome.fills.push(FillRow {
            at: fill.at,
            order,
            symbol: number,
            side: fill.side,
            qty: fill.qty,
            price: fill.price,
            position,
        });
        let account = self.exchange.account(ACCOUNT);
        let average = account
            .positions
            .get(&fill.symbol)
            .map_or(Decimal::ZERO, |held| held.avg_entry());
        let float = |value: Decimal| value.to_f64().unwrap_or(f64::NAN);
        self.portfolio.hold(number, float(position), float(average));
        self.portfolio.set_cash(float(account.cash));
        self.portfolio.reckon();
        let told = Fill {
            symbol: number,
            at: fill.at,
            side: fill.side,
            qty: float(fill.qty),
            price: float(fill.price),
        };
        self.strategy
            .on_fill(&told, &self.portfolio, &mut self.signals)
            .map_err(BacktestError::Strategy)?;
        self.decide(fill.at);
        Ok(())
    }

    fn end(mut self) -> Outcome {
        let account = self.exchange.account(ACCOUNT);
        self.outcome.cash = account.cash;
        self.outcome.positions = account
            .positions
            .iter()
            .map(|(symbol, held)| {
                let price = self.exchange.market().mark(symbol).unwrap_or_default();
                (symbol.to_string(), held.qty, price)
            })
            .collect();
        self.outcome.halted = self.desk.is_halted();
        self.outcome
    }
}
