//! Lists of orders and activities, filtered, sorted and cut as the API asks.

use uuid::Uuid;

use super::{Account, Fill, Nanos, Order, Side};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderScope {
    #[default]
    Open,
    Closed,
    All,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderQuery {
    pub scope: OrderScope,
    pub limit: usize,
    /// Submitted later than this.
    pub after: Option<Nanos>,
    /// Submitted earlier than this.
    pub until: Option<Nanos>,
    pub ascending: bool,
    /// Leaves the legs to their parents.
    pub nested: bool,
    pub symbols: Vec<String>,
    pub side: Option<Side>,
    pub after_order: Option<Uuid>,
    pub before_order: Option<Uuid>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActivityQuery {
    pub limit: usize,
    pub after: Option<Nanos>,
    pub until: Option<Nanos>,
    pub ascending: bool,
    pub order_id: Option<Uuid>,
    /// Execution id of the last activity of the page before.
    pub page_after: Option<Uuid>,
}

impl Account {
    #[must_use]
    pub fn list_orders(&self, query: &OrderQuery) -> Vec<&Order> {
        let number = |id: Option<Uuid>| id.and_then(|id| self.by_id.get(&id).copied());
        let (after, before) = (number(query.after_order), number(query.before_order));
        let wanted = |index: usize, order: &Order| {
            (match query.scope {
                OrderScope::Open => order.status.is_open(),
                OrderScope::Closed => !order.status.is_open(),
                OrderScope::All => true,
            }) && query.after.is_none_or(|at| order.submitted_at > at)
                && query.until.is_none_or(|at| order.submitted_at < at)
                && (query.symbols.is_empty()
                    || query.symbols.iter().any(|symbol| **symbol == *order.symbol))
                && query.side.is_none_or(|side| side == order.side)
                && !(query.nested && order.parent.is_some())
                && after.is_none_or(|after| index > after)
                && before.is_none_or(|before| index < before)
        };
        let mut indices: Box<dyn Iterator<Item = usize>> = match (query.scope, query.ascending) {
            (OrderScope::Open, true) => Box::new(self.open.iter().copied()),
            (OrderScope::Open, false) => Box::new(self.open.iter().rev().copied()),
            (_, true) => Box::new(0..self.orders.len()),
            (_, false) => Box::new((0..self.orders.len()).rev()),
        };
        let mut found = Vec::new();
        while found.len() < query.limit
            && let Some(index) = indices.next()
        {
            let order = &self.orders[index];
            if wanted(index, order) {
                found.push(order);
            }
        }
        found
    }

    /// Fills, the newest first unless asked otherwise.
    #[must_use]
    pub fn list_fills(&self, query: &ActivityQuery) -> Vec<&Fill> {
        let wanted = |fill: &&Fill| {
            query.after.is_none_or(|at| fill.at > at)
                && query.until.is_none_or(|at| fill.at < at)
                && query.order_id.is_none_or(|id| fill.order_id == id)
        };
        let known = query
            .page_after
            .and_then(|id| self.fills.iter().rposition(|fill| fill.execution_id == id));
        let page = match known {
            Some(last) if query.ascending => &self.fills[last + 1..],
            Some(last) => &self.fills[..last],
            None => &self.fills[..],
        };
        if query.ascending {
            page.iter().filter(wanted).take(query.limit).collect()
        } else {
            page.iter().rev().filter(wanted).take(query.limit).collect()
        }
    }
}
