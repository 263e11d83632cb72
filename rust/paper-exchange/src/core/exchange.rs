//! The exchange: accounts and the market together, and the requests that change them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::NaiveDate;
use common::calendar::Session;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::account::OPENING_CASH;
use super::book::{Book, Watch};
use super::commitments::Claim;
use super::session::{Days, boundary_after};
use super::{
    Account, Batch, Configuration, Fact, Fill, Ids, MINUTE, Market, Nanos, Order, Phase, Sample,
    Status, SymbolId,
};

/// How the exchange behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSettings {
    pub seed: u64,
    /// One fill in ten comes in two parts.
    pub partial_fills: bool,
    /// Taken from every fill at the market, in basis points.
    pub slippage_bp: Decimal,
    /// Before an order reaches the book, market time.
    pub latency: Nanos,
    /// Buying power per dollar of equity: 1, 2 or 4.
    pub multiplier: u32,
    /// What every account starts with, in dollars.
    pub opening_cash: Decimal,
}

impl Default for ExchangeSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            partial_fills: true,
            slippage_bp: Decimal::ZERO,
            latency: 0,
            multiplier: 2,
            opening_cash: OPENING_CASH,
        }
    }
}

/// What a trade update tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateEvent {
    PendingNew,
    New,
    PartialFill,
    Fill,
    Canceled,
    Expired,
    Replaced,
    Rejected,
}

impl UpdateEvent {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PendingNew => "pending_new",
            Self::New => "new",
            Self::PartialFill => "partial_fill",
            Self::Fill => "fill",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Rejected => "rejected",
        }
    }
}

/// Something that happened to an order, for the account's `trade_updates`.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub account: usize,
    pub event: UpdateEvent,
    pub execution_id: Uuid,
    pub at: Nanos,
    pub order: Order,
    pub fill: Option<Fill>,
}

/// An order's place: its account and its number there.
pub(super) type Place = (usize, usize);

pub struct Exchange {
    pub(super) settings: ExchangeSettings,
    pub(super) now: Nanos,
    pub(super) days: Days,
    pub(super) session: Session,
    pub(super) phase: Phase,
    pub(super) market: Market,
    pub(super) accounts: Vec<Account>,
    by_key: HashMap<Arc<str>, usize>,
    /// Open orders of each symbol.
    pub(super) book: Vec<Book>,
    /// Orders that have come so far.
    arrivals: u64,
    pub(super) ids: Ids,
    pub(super) updates: Vec<Update>,
    pub(super) facts: Vec<Fact>,
    /// When an order has to be looked at though no price moves.
    pub(super) timers: BTreeSet<(Nanos, Place)>,
    dirty: Vec<Place>,
    sampled_at: Nanos,
    /// When the last batch was taken.
    remembered_at: Nanos,
    marked: bool,
}

impl Exchange {
    /// An exchange without accounts, for the symbols that have prices, at market time `now`.
    #[must_use]
    pub fn new<S: AsRef<str>>(settings: ExchangeSettings, symbols: &[S], now: Nanos) -> Self {
        let days = Days::default();
        let session = days.current(now);
        Self {
            ids: Ids::new(settings.seed),
            settings,
            now,
            phase: Phase::of(&session, now),
            days,
            session,
            market: Market::new(symbols),
            accounts: Vec::new(),
            by_key: HashMap::new(),
            book: vec![Book::default(); symbols.len()],
            arrivals: 0,
            updates: Vec::new(),
            facts: Vec::new(),
            timers: BTreeSet::new(),
            dirty: Vec::new(),
            sampled_at: now,
            remembered_at: now,
            marked: false,
        }
    }

    /// Trades on these days alone, in their order. The others are passed over: no order ends or begins on
    /// them.
    pub fn trade_on(&mut self, days: Vec<NaiveDate>) {
        self.days = Days::of(days);
        self.set_time(self.now);
    }

    /// Refuses orders for a symbol of which nothing is recorded but daily prices.
    pub fn suspend_trading(&mut self, symbol: SymbolId) {
        self.market.get_mut(symbol).tradable = false;
    }

    /// Tells what the symbol closed at before the exchange began.
    pub fn set_previous_close(&mut self, symbol: SymbolId, close: Decimal) {
        self.market.get_mut(symbol).previous_close = Some(close);
    }

    #[must_use]
    pub fn now(&self) -> Nanos {
        self.now
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    #[must_use]
    pub fn market(&self) -> &Market {
        &self.market
    }

    #[must_use]
    pub fn account(&self, number: usize) -> &Account {
        &self.accounts[number]
    }

    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// When the trading day began in which the clock stands, by its pre-market; that of the coming one
    /// from the end of the post-market on.
    #[must_use]
    pub fn day_began(&self) -> Nanos {
        self.session.pre_open
    }

    #[must_use]
    pub fn account_number(&self, key_id: &str) -> Option<usize> {
        self.by_key.get(key_id).copied()
    }

    /// Opens the account of `key_id`.
    pub fn open_account(&mut self, key_id: &str, secret_hash: &str) -> usize {
        let account = Account::new(key_id, secret_hash, self.now, &self.settings);
        self.facts.push(Fact::Opened {
            account: Arc::from(key_id),
            secret_hash: secret_hash.to_owned(),
            at: self.now,
        });
        self.insert_account(account)
    }

    pub(super) fn insert_account(&mut self, account: Account) -> usize {
        let number = self.accounts.len();
        self.by_key
            .insert(Arc::from(account.key_id.as_str()), number);
        self.accounts.push(account);
        number
    }

    pub fn configure(&mut self, number: usize, configuration: Configuration) {
        self.facts.push(Fact::Configured {
            account: self.key(number),
            configuration: configuration.clone(),
        });
        self.accounts[number].configuration = configuration;
    }

    pub(super) fn key(&self, number: usize) -> Arc<str> {
        Arc::from(self.accounts[number].key_id.as_str())
    }

    /// Moves time to `now`, through the opens and closes on the way. Time never goes back.
    pub fn advance(&mut self, now: Nanos) {
        while let Some(boundary) =
            boundary_after(&self.session, self.now).filter(|&boundary| boundary <= now)
        {
            self.now = boundary;
            self.cross(boundary);
        }
        self.now = self.now.max(now);
        self.release();
        if self.phase == Phase::Regular && self.now - self.sampled_at >= MINUTE {
            self.sample();
        }
    }

    /// When an order has to be looked at next though no price moves: its latency is over, or the rest of a
    /// partial fill is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn cross(&mut self, boundary: Nanos) {
        self.phase = Phase::of(&self.session, boundary);
        match self.phase {
            Phase::Pre => self.activate_queued(true),
            Phase::Regular => {
                self.market.start_session();
                self.activate_queued(false);
            }
            Phase::Post => self.close_session(),
            Phase::Closed => {
                self.expire();
                self.session = self.days.current(boundary);
            }
        }
    }

    fn close_session(&mut self) {
        self.closing_auction();
        let at = self.now;
        self.expire();
        self.market.end_session(at);
        self.sample();
        for number in 0..self.accounts.len() {
            let account = &self.accounts[number];
            let balances = account.balances(&self.market);
            let marks: Vec<(Arc<str>, Decimal)> = account
                .positions
                .keys()
                .filter_map(|symbol| Some((Arc::clone(symbol), self.market.mark(symbol)?)))
                .collect();
            let (equity, maintenance_margin) = (balances.equity, balances.maintenance_margin);
            self.accounts[number].close_day(at, equity, maintenance_margin, &marks);
            let account = self.key(number);
            self.facts.push(Fact::DayClosed {
                account,
                at,
                equity,
                maintenance_margin,
                marks,
            });
        }
    }

    fn expire(&mut self) {
        for symbol in 0..self.book.len() {
            for place in self.book[symbol].all() {
                let order = self.at(place);
                if order.status.is_open() && order.expires_at <= self.now {
                    self.finish(place, Status::Expired);
                }
            }
        }
    }

    fn sample(&mut self) {
        self.sampled_at = self.now - self.now.rem_euclid(MINUTE);
        for number in 0..self.accounts.len() {
            let account = &self.accounts[number];
            let equity = account.balances(&self.market).equity;
            if account
                .samples
                .last()
                .is_none_or(|last| last.equity != equity)
            {
                let sample = Sample {
                    at: self.now,
                    equity,
                };
                self.accounts[number].sample(sample);
                self.facts.push(Fact::Sampled {
                    account: self.key(number),
                    sample,
                });
            }
        }
    }

    /// Sets the clock without letting anything happen on the way.
    pub(super) fn set_time(&mut self, now: Nanos) {
        self.now = now;
        self.session = self.days.current(now);
        self.phase = Phase::of(&self.session, now);
        self.sampled_at = now;
    }

    pub(super) fn at(&self, place: Place) -> &Order {
        &self.accounts[place.0].orders[place.1]
    }

    /// Changes an order, which is remembered with the next batch.
    pub(super) fn edit<T>(&mut self, place: Place, change: impl FnOnce(&mut Order) -> T) -> T {
        if self.dirty.last() != Some(&place) {
            self.dirty.push(place);
        }
        self.amend(place, change)
    }

    /// Changes an order; what it claims and what it is looked at for follows.
    fn amend<T>(&mut self, place: Place, change: impl FnOnce(&mut Order) -> T) -> T {
        let symbol = self.symbol_of(place);
        let account = &mut self.accounts[place.0];
        let order = &mut account.orders[place.1];
        let before = (Claim::of(order), Watch::of(order));
        let answer = change(order);
        let after = (Claim::of(order), Watch::of(order));
        if before.1.is_some() != after.1.is_some() {
            if after.1.is_some() {
                account.open.insert(place.1);
            } else {
                account.open.remove(&place.1);
            }
        }
        account.commitments.change(place.1, before.0, after.0);
        let number = account.arrivals[place.1];
        self.book[symbol].change(place, number, before.1, after.1);
        answer
    }

    pub(super) fn place_of(&self, account: usize, id: Uuid) -> Option<Place> {
        self.accounts[account]
            .by_id
            .get(&id)
            .map(|&index| (account, index))
    }

    pub(super) fn symbol_of(&self, place: Place) -> SymbolId {
        self.market.id(&self.at(place).symbol).unwrap_or_default()
    }

    /// Writes an order into its account and the book, without remembering it.
    pub(super) fn store(&mut self, account: usize, order: Order) -> Place {
        let symbol = self.market.register(&order.symbol);
        self.book.resize_with(self.market.len(), Book::default);
        let not_before = order.not_before;
        if let Some(place) = self.place_of(account, order.id) {
            self.amend(place, |known| *known = order);
            return self.timed(place, not_before);
        }
        let (claim, watch) = (Claim::of(&order), Watch::of(&order));
        self.arrivals += 1;
        let number = self.arrivals;
        let holder = &mut self.accounts[account];
        let place = (account, holder.add(order, number));
        if watch.is_some() {
            holder.open.insert(place.1);
        }
        holder.commitments.change(place.1, None, claim);
        self.book[symbol].change(place, number, None, watch);
        self.timed(place, not_before)
    }

    fn timed(&mut self, place: Place, not_before: Nanos) -> Place {
        if not_before > self.now && self.at(place).status.is_open() {
            self.timers.insert((not_before, place));
        }
        place
    }

    /// Writes a new order and remembers it.
    pub(super) fn enter(&mut self, account: usize, order: Order) -> Place {
        let place = self.store(account, order);
        self.dirty.push(place);
        place
    }

    pub(super) fn tell(&mut self, place: Place, event: UpdateEvent, fill: Option<Fill>) {
        let execution_id = fill
            .as_ref()
            .map_or_else(|| self.ids.take(), |fill| fill.execution_id);
        let order = self.at(place).clone();
        self.updates.push(Update {
            account: place.0,
            event,
            execution_id,
            at: self.now,
            order,
            fill,
        });
    }

    /// What happened since the last call, for those who listen.
    pub fn take_updates(&mut self) -> Vec<Update> {
        std::mem::take(&mut self.updates)
    }

    /// The next batch is taken even if nothing but time has changed.
    pub fn mark(&mut self) {
        self.marked = true;
    }

    /// Forgets what changed since the last call, where nobody remembers it.
    pub fn drop_batch(&mut self) {
        self.facts.clear();
        self.dirty.clear();
    }

    /// What changed since the last call, to be remembered before anybody is told.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let mut facts = std::mem::take(&mut self.facts);
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        for place in dirty {
            facts.push(Fact::Order {
                account: self.key(place.0),
                order: Box::new(self.at(place).clone()),
            });
        }
        let marked = std::mem::take(&mut self.marked) && self.now > self.remembered_at;
        if facts.is_empty() && !marked {
            return None;
        }
        self.remembered_at = self.now;
        Some(Batch {
            at: self.now,
            ids: self.ids.count(),
            facts,
        })
    }
}
