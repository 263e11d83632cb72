//! What an account's open orders keep back, added up as they come, change and go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::account::{cost_of, fixed_cost_of};
use super::{Market, Order, Role, Side};

/// What one open order claims.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Claim {
    symbol: Arc<str>,
    side: Side,
    group: Option<Uuid>,
    /// A leg that waits claims nothing yet.
    waits: bool,
    /// One of two legs of which only one can trade.
    is_exit: bool,
    qty: Decimal,
    cost: Cost,
    /// The limit of an order that is nothing but a limit order.
    limit: Option<Decimal>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cost {
    None,
    Fixed(Decimal),
    /// It follows the quote.
    Floating,
}

impl Claim {
    /// `None` when the order is no longer open.
    pub(super) fn of(order: &Order) -> Option<Self> {
        if !order.status.is_open() {
            return None;
        }
        let cost = if order.closes || order.waiting {
            Cost::None
        } else {
            fixed_cost_of(order).map_or(Cost::Floating, Cost::Fixed)
        };
        let is_exit = matches!(order.role, Some(Role::TakeProfit | Role::StopLoss));
        Some(Self {
            symbol: Arc::clone(&order.symbol),
            side: order.side,
            group: order.group,
            waits: order.waiting,
            is_exit: is_exit && order.group.is_some(),
            qty: order.remaining(),
            cost,
            limit: order.limit.filter(|_| !order.is_stop()),
        })
    }
}

/// The claims on one symbol from one side.
#[derive(Clone, Debug, Default)]
struct Row {
    /// Quantity of the orders that are no legs.
    plain: Decimal,
    /// Legs, by their number.
    exits: BTreeSet<usize>,
    /// Limit orders by their price.
    limits: BTreeSet<(Decimal, usize)>,
    /// Orders of other types.
    others: BTreeSet<usize>,
}

/// All claims of an account. Orders are named by their number in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Commitments {
    rows: HashMap<Arc<str>, [Row; 2]>,
    fixed: Decimal,
    floating: BTreeSet<usize>,
    groups: HashMap<Uuid, BTreeSet<usize>>,
}

impl Commitments {
    /// Order `index` claimed `before` and claims `after`.
    pub(super) fn change(&mut self, index: usize, before: Option<Claim>, after: Option<Claim>) {
        if before == after {
            return;
        }
        if let Some(claim) = before {
            self.remove(index, &claim);
        }
        if let Some(claim) = after {
            self.add(index, claim);
        }
    }

    fn add(&mut self, index: usize, claim: Claim) {
        match claim.cost {
            Cost::None => {}
            Cost::Fixed(cost) => self.fixed += cost,
            Cost::Floating => {
                self.floating.insert(index);
            }
        }
        if let Some(group) = claim.group {
            self.groups.entry(group).or_default().insert(index);
        }
        if claim.waits {
            return;
        }
        let row = &mut self.rows.entry(claim.symbol).or_default()[claim.side as usize];
        if claim.is_exit {
            row.exits.insert(index);
        } else {
            row.plain += claim.qty;
        }
        match claim.limit {
            Some(limit) => row.limits.insert((limit, index)),
            None => row.others.insert(index),
        };
    }

    fn remove(&mut self, index: usize, claim: &Claim) {
        match claim.cost {
            Cost::None => {}
            Cost::Fixed(cost) => self.fixed -= cost,
            Cost::Floating => {
                self.floating.remove(&index);
            }
        }
        if let Some(group) = claim.group
            && let Some(members) = self.groups.get_mut(&group)
        {
            members.remove(&index);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
        if claim.waits {
            return;
        }
        let Some(rows) = self.rows.get_mut(&claim.symbol) else {
            return;
        };
        let row = &mut rows[claim.side as usize];
        if claim.is_exit {
            row.exits.remove(&index);
        } else {
            row.plain -= claim.qty;
        }
        match claim.limit {
            Some(limit) => row.limits.remove(&(limit, index)),
            None => row.others.remove(&index),
        };
    }

    /// Buying power kept back.
    pub(super) fn reserved(&self, orders: &[Order], market: &Market) -> Decimal {
        let floating: Decimal = self
            .floating
            .iter()
            .map(|&index| cost_of(&orders[index], market))
            .sum();
        self.fixed + floating
    }

    /// Shares of `symbol` that orders on `side` may take from the position, those of one group left out.
    /// Of the legs of a group only one can trade, so only the largest counts.
    pub(super) fn held(
        &self,
        orders: &[Order],
        symbol: &str,
        side: Side,
        except_group: Option<Uuid>,
    ) -> Decimal {
        let Some(row) = self.row(symbol, side) else {
            return Decimal::ZERO;
        };
        let mut groups: HashMap<Uuid, Decimal> = HashMap::new();
        for &index in &row.exits {
            let order = &orders[index];
            if let Some(group) = order.group.filter(|group| Some(*group) != except_group) {
                let largest = groups.entry(group).or_default();
                *largest = (*largest).max(order.remaining());
            }
        }
        let entries: Decimal = except_group
            .and_then(|group| self.groups.get(&group))
            .into_iter()
            .flatten()
            .map(|&index| &orders[index])
            .filter(|order| order.role == Some(Role::Entry))
            .filter(|order| *order.symbol == *symbol && order.side == side)
            .map(Order::remaining)
            .sum();
        row.plain - entries + groups.values().sum::<Decimal>()
    }

    /// An order on `side` that one on the other side with this `limit`, or without any, could trade with.
    pub(super) fn crossed(
        &self,
        symbol: &str,
        side: Side,
        limit: Option<Decimal>,
    ) -> Option<usize> {
        let row = self.row(symbol, side)?;
        if let Some(&other) = row.others.first() {
            return Some(other);
        }
        let (best, index) = match side {
            Side::Sell => row.limits.first()?,
            Side::Buy => row.limits.last()?,
        };
        let crosses = limit.is_none_or(|limit| match side {
            Side::Sell => limit >= *best,
            Side::Buy => limit <= *best,
        });
        crosses.then_some(*index)
    }

    /// The open orders of a group.
    pub(super) fn group(&self, group: Uuid) -> impl Iterator<Item = usize> + '_ {
        self.groups.get(&group).into_iter().flatten().copied()
    }

    fn row(&self, symbol: &str, side: Side) -> Option<&Row> {
        self.rows.get(symbol).map(|rows| &rows[side as usize])
    }
}
