//! An account: cash, positions, orders and what happened to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::commitments::Commitments;
use super::{
    DayClose, ExchangeSettings, Ids, Market, Nanos, Order, OrderType, Sample, Side, Status,
};

/// What an account starts with unless the settings say otherwise.
pub(super) const OPENING_CASH: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);

/// Shares held, or owed when the quantity is negative.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub qty: Decimal,
    /// What the shares cost, with the sign of the quantity.
    pub cost: Decimal,
    /// The same, with shares from before the newest close at its price: the base of the day's profit.
    pub day_cost: Decimal,
    /// What `day_cost` would be without the newest close: the base of the day that this close ended.
    pub day_cost_before: Decimal,
}

impl Position {
    #[must_use]
    pub fn avg_entry(&self) -> Decimal {
        if self.qty.is_zero() {
            Decimal::ZERO
        } else {
            (self.cost / self.qty).round_dp(9).normalize()
        }
    }

    /// Adds a signed quantity of a signed value. The rules refuse an order that would cross zero; when
    /// two orders that were each allowed do it together, what is over opens the other side.
    fn add(&mut self, signed_qty: Decimal, value: Decimal) {
        let crosses = !self.qty.is_zero()
            && self.qty.is_sign_negative() != signed_qty.is_sign_negative()
            && signed_qty.abs() > self.qty.abs();
        if crosses {
            let over = self.qty + signed_qty;
            let value = (value * over / signed_qty).round_dp(2);
            *self = Self {
                qty: over,
                cost: value,
                day_cost: value,
                day_cost_before: value,
            };
            return;
        }
        let opens =
            self.qty.is_zero() || self.qty.is_sign_negative() == signed_qty.is_sign_negative();
        if opens {
            self.cost += value;
            self.day_cost += value;
            self.day_cost_before += value;
        } else {
            let share = -signed_qty / self.qty;
            self.cost -= (self.cost * share).round_dp(9);
            self.day_cost -= (self.day_cost * share).round_dp(9);
            self.day_cost_before -= (self.day_cost_before * share).round_dp(9);
        }
        self.qty += signed_qty;
        if self.qty.is_zero() {
            self.cost = Decimal::ZERO;
            self.day_cost = Decimal::ZERO;
            self.day_cost_before = Decimal::ZERO;
        }
    }
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    pub execution_id: Uuid,
    pub order_id: Uuid,
    pub symbol: Arc<str>,
    pub side: Side,
    pub qty: Decimal,
    pub price: Decimal,
    pub at: Nanos,
    pub cum_qty: Decimal,
    pub leaves_qty: Decimal,
    pub order_status: Status,
    /// The position's quantity after it.
    pub position_qty: Decimal,
}

impl Fill {
    /// What it moves, to the cent, always positive.
    #[must_use]
    pub fn value(&self) -> Decimal {
        (self.qty * self.price).round_dp(2)
    }
}

/// Settings that the account's owner may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    pub trade_confirm_email: String,
    pub suspend_trade: bool,
    pub no_shorting: bool,
    pub fractional_trading: bool,
    pub max_margin_multiplier: String,
    pub ptp_no_exception_entry: bool,
    pub max_options_trading_level: u8,
    pub disable_overnight_trading: bool,
}

impl Configuration {
    pub(super) fn new(multiplier: u32) -> Self {
        Self {
            trade_confirm_email: "all".to_owned(),
            suspend_trade: false,
            no_shorting: false,
            fractional_trading: true,
            max_margin_multiplier: multiplier.to_string(),
            ptp_no_exception_entry: false,
            max_options_trading_level: 0,
            disable_overnight_trading: false,
        }
    }
}

/// A named list of symbols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watchlist {
    pub id: Uuid,
    pub name: String,
    pub symbols: Vec<Arc<str>>,
    pub created_at: Nanos,
    pub updated_at: Nanos,
}

/// The account's figures at the present prices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balances {
    pub cash: Decimal,
    pub long_value: Decimal,
    pub short_value: Decimal,
    pub equity: Decimal,
    pub initial_margin: Decimal,
    pub maintenance_margin: Decimal,
    pub reserved: Decimal,
    pub buying_power: Decimal,
    pub regt_buying_power: Decimal,
    pub cash_buying_power: Decimal,
}

#[derive(Clone, Debug)]
pub struct Account {
    pub key_id: String,
    pub secret_hash: String,
    pub id: Uuid,
    pub number: String,
    pub created_at: Nanos,
    pub cash: Decimal,
    pub opening_cash: Decimal,
    pub configuration: Configuration,
    pub positions: BTreeMap<Arc<str>, Position>,
    pub fills: Vec<Fill>,
    pub watchlists: Vec<Watchlist>,
    pub samples: Vec<Sample>,
    pub closes: Vec<DayClose>,
    pub(super) orders: Vec<Order>,
    pub(super) by_id: HashMap<Uuid, usize>,
    pub(super) by_client_id: HashMap<String, usize>,
    pub(super) open: BTreeSet<usize>,
    /// When each order came to the exchange, by its number.
    pub(super) arrivals: Vec<u64>,
    pub(super) commitments: Commitments,
}

impl Account {
    pub(super) fn new(
        key_id: &str,
        secret_hash: &str,
        created_at: Nanos,
        settings: &ExchangeSettings,
    ) -> Self {
        let id = Ids::named("account", key_id);
        Self {
            key_id: key_id.to_owned(),
            secret_hash: secret_hash.to_owned(),
            number: format!("PA{}", &id.simple().to_string()[..10].to_uppercase()),
            id,
            created_at,
            cash: settings.opening_cash,
            opening_cash: settings.opening_cash,
            configuration: Configuration::new(settings.multiplier),
            positions: BTreeMap::new(),
            fills: Vec::new(),
            watchlists: Vec::new(),
            samples: Vec::new(),
            closes: Vec::new(),
            orders: Vec::new(),
            by_id: HashMap::new(),
            by_client_id: HashMap::new(),
            open: BTreeSet::new(),
            arrivals: Vec::new(),
            commitments: Commitments::default(),
        }
    }

    #[must_use]
    pub fn order(&self, id: Uuid) -> Option<&Order> {
        self.by_id.get(&id).map(|&index| &self.orders[index])
    }

    #[must_use]
    pub fn order_by_client_id(&self, client_order_id: &str) -> Option<&Order> {
        self.by_client_id
            .get(client_order_id)
            .map(|&index| &self.orders[index])
    }

    #[must_use]
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    pub fn open_orders(&self) -> impl Iterator<Item = &Order> {
        self.open.iter().map(|&index| &self.orders[index])
    }

    #[must_use]
    pub fn multiplier(&self) -> Decimal {
        self.configuration
            .max_margin_multiplier
            .parse()
            .unwrap_or(Decimal::ONE)
    }

    #[must_use]
    pub fn position_qty(&self, symbol: &str) -> Decimal {
        self.positions
            .get(symbol)
            .map_or(Decimal::ZERO, |position| position.qty)
    }

    pub(super) fn put_watchlist(&mut self, watchlist: Watchlist) {
        match self
            .watchlists
            .iter_mut()
            .find(|list| list.id == watchlist.id)
        {
            Some(list) => *list = watchlist,
            None => self.watchlists.push(watchlist),
        }
    }

    /// A new order, open or not. Its number.
    pub(super) fn add(&mut self, order: Order, arrival: u64) -> usize {
        let index = self.orders.len();
        self.by_id.insert(order.id, index);
        self.by_client_id
            .insert(order.client_order_id.clone(), index);
        self.orders.push(order);
        self.arrivals.push(arrival);
        index
    }

    /// Moves cash and shares for a fill and remembers it.
    pub(super) fn book(&mut self, fill: Fill) {
        let position = self.positions.entry(Arc::clone(&fill.symbol)).or_default();
        let value = fill.side.signed(fill.value());
        position.add(fill.side.signed(fill.qty), value);
        if position.qty.is_zero() {
            self.positions.remove(&fill.symbol);
        }
        self.cash -= value;
        self.fills.push(fill);
    }

    /// Shares of `symbol` that open orders on `side` may take from the position; a replaced order is left
    /// out by `except`.
    #[must_use]
    pub fn held(&self, symbol: &str, side: Side, except: Option<Uuid>) -> Decimal {
        let held = self.commitments.held(&self.orders, symbol, side, None);
        let excepted = self.counted(except).filter(|order| {
            &*order.symbol == symbol && order.side == side && order.group.is_none()
        });
        held - excepted.map_or(Decimal::ZERO, Order::remaining)
    }

    /// The same, leaving out the orders of one group.
    pub(super) fn held_outside(&self, symbol: &str, side: Side, group: Uuid) -> Decimal {
        self.commitments
            .held(&self.orders, symbol, side, Some(group))
    }

    /// Buying power that the open orders keep back.
    #[must_use]
    pub fn reserved(&self, market: &Market, except: Option<Uuid>) -> Decimal {
        let excepted = self.counted(except).filter(|order| !order.closes);
        self.commitments.reserved(&self.orders, market)
            - excepted.map_or(Decimal::ZERO, |order| cost_of(order, market))
    }

    /// The order, if it is among those that claim something.
    fn counted(&self, id: Option<Uuid>) -> Option<&Order> {
        id.and_then(|id| self.order(id))
            .filter(|order| order.status.is_open() && !order.waiting)
    }

    #[must_use]
    pub fn balances(&self, market: &Market) -> Balances {
        self.balances_without(market, None)
    }

    pub(super) fn balances_without(&self, market: &Market, except: Option<Uuid>) -> Balances {
        let (mut long_value, mut short_value) = (Decimal::ZERO, Decimal::ZERO);
        for (symbol, position) in &self.positions {
            let price = market.mark(symbol).unwrap_or_else(|| position.avg_entry());
            let value = (price * position.qty).round_dp(2);
            if value.is_sign_negative() {
                short_value += value;
            } else {
                long_value += value;
            }
        }
        let equity = self.cash + long_value + short_value;
        let gross = long_value - short_value;
        let multiplier = self.multiplier();
        let reserved = self.reserved(market, except);
        let initial_rate = if multiplier > Decimal::ONE {
            Decimal::new(5, 1)
        } else {
            Decimal::ONE
        };
        let power = |times: Decimal| {
            ((equity * times - gross).max(Decimal::ZERO) - reserved).max(Decimal::ZERO)
        };
        let buying_power = if multiplier > Decimal::ONE {
            power(multiplier)
        } else {
            (self.cash + short_value - reserved).max(Decimal::ZERO)
        };
        Balances {
            cash: self.cash,
            long_value,
            short_value,
            equity,
            initial_margin: (gross * initial_rate).round_dp(2),
            maintenance_margin: (long_value * Decimal::new(25, 2)
                - short_value * Decimal::new(30, 2))
            .round_dp(2),
            reserved,
            buying_power,
            regt_buying_power: power(multiplier.min(Decimal::TWO)),
            cash_buying_power: (self.cash + short_value - reserved).max(Decimal::ZERO),
        }
    }
}

/// What an order that opens a position keeps back: its notional, its limit or stop price, the ask for
/// a market order, and for a short sale at least 103 % of the ask.
pub(super) fn cost_of(order: &Order, market: &Market) -> Decimal {
    if let Some(cost) = fixed_cost_of(order) {
        return cost;
    }
    let Some(quoted) = market.id(&order.symbol).map(|id| market.get(id)) else {
        return Decimal::ZERO;
    };
    let touch = quoted
        .ask
        .or(quoted.last)
        .or(quoted.bid)
        .unwrap_or(Decimal::ZERO);
    let price = match order.side {
        Side::Buy => order.stop.unwrap_or(touch).max(touch),
        Side::Sell => order
            .limit
            .unwrap_or(Decimal::ZERO)
            .max(touch * Decimal::new(103, 2)),
    };
    (price * order.remaining()).round_dp(2)
}

/// The same where it doesn't follow the quote.
pub(super) fn fixed_cost_of(order: &Order) -> Option<Decimal> {
    if let Some(notional) = order.notional {
        return Some((notional - order.filled_value).max(Decimal::ZERO));
    }
    let price = match (order.kind, order.side) {
        (OrderType::Limit | OrderType::Stop | OrderType::StopLimit, Side::Buy) => {
            order.limit.or(order.stop)?
        }
        _ => return None,
    };
    Some((price * order.remaining()).round_dp(2))
}
