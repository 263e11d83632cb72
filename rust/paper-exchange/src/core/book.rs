//! The open orders of a symbol, found by what could make them trade.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::exchange::Place;
use super::{Order, OrderType, Quoted, Side, Status, TimeInForce};

/// What an open order has to be looked at for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Watch {
    /// No price: it waits for a time, an auction or another order.
    Nothing,
    /// Every price.
    Everything,
    /// Every print.
    Prints,
    /// A price as good as its limit.
    Limit(Side, Decimal),
    /// A print at its stop.
    Stop(Side, Decimal),
}

impl Watch {
    /// `None` when the order is no longer open.
    pub(super) fn of(order: &Order) -> Option<Self> {
        if !order.status.is_open() {
            return None;
        }
        let works = matches!(order.status, Status::New | Status::PartiallyFilled)
            || (order.status == Status::Held && !order.waiting);
        if !works || matches!(order.tif, TimeInForce::Opg | TimeInForce::Cls) {
            return Some(Self::Nothing);
        }
        if order.is_stop() && !order.triggered {
            return Some(match order.stop {
                Some(stop) if order.kind != OrderType::TrailingStop => Self::Stop(order.side, stop),
                _ => Self::Prints,
            });
        }
        let rests = !matches!(order.tif, TimeInForce::Ioc | TimeInForce::Fok);
        Some(match order.limit {
            Some(limit) if rests && order.is_limit_now() => Self::Limit(order.side, limit),
            _ => Self::Everything,
        })
    }
}

/// The book of one symbol. Orders are numbered as they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    orders: BTreeMap<u64, Place>,
    everything: BTreeSet<u64>,
    prints: BTreeSet<u64>,
    limits: [BTreeSet<(Decimal, u64)>; 2],
    stops: [BTreeSet<(Decimal, u64)>; 2],
}

impl Book {
    /// The order, number `number`, was looked at for `before` and is for `after`.
    pub(super) fn change(
        &mut self,
        place: Place,
        number: u64,
        before: Option<Watch>,
        after: Option<Watch>,
    ) {
        if before == after {
            return;
        }
        match (before, after) {
            (None, Some(_)) => {
                self.orders.insert(number, place);
            }
            (Some(_), None) => {
                self.orders.remove(&number);
            }
            _ => {}
        }
        match before {
            Some(Watch::Everything) => {
                self.everything.remove(&number);
            }
            Some(Watch::Prints) => {
                self.prints.remove(&number);
            }
            Some(Watch::Limit(side, limit)) => {
                self.limits[side as usize].remove(&(limit, number));
            }
            Some(Watch::Stop(side, stop)) => {
                self.stops[side as usize].remove(&(stop, number));
            }
            Some(Watch::Nothing) | None => {}
        }
        match after {
            Some(Watch::Everything) => {
                self.everything.insert(number);
            }
            Some(Watch::Prints) => {
                self.prints.insert(number);
            }
            Some(Watch::Limit(side, limit)) => {
                self.limits[side as usize].insert((limit, number));
            }
            Some(Watch::Stop(side, stop)) => {
                self.stops[side as usize].insert((stop, number));
            }
            Some(Watch::Nothing) | None => {}
        }
    }

    /// All open orders, as they came.
    pub(super) fn all(&self) -> Vec<Place> {
        self.orders.values().copied().collect()
    }

    /// The orders that the standing quote or the print may move, as they came.
    pub(super) fn concerned(&self, quoted: &Quoted, print: Option<Decimal>) -> Vec<Place> {
        if self.orders.is_empty() {
            return Vec::new();
        }
        let [buys, sells] = &self.limits;
        let above =
            |prices: &BTreeSet<(Decimal, u64)>, least: Option<Decimal>, found: &mut Vec<u64>| {
                if let Some(least) = least {
                    found.extend(prices.range((least, 0)..).map(|(_, number)| *number));
                }
            };
        let below =
            |prices: &BTreeSet<(Decimal, u64)>, most: Option<Decimal>, found: &mut Vec<u64>| {
                if let Some(most) = most {
                    found.extend(prices.range(..=(most, u64::MAX)).map(|(_, number)| *number));
                }
            };
        let mut found: Vec<u64> = self.everything.iter().copied().collect();
        // The lower of ask and print is what a buyer could have had, the higher of bid and print a seller.
        above(buys, lesser(quoted.ask, print), &mut found);
        below(sells, greater(quoted.bid, print), &mut found);
        if print.is_some() {
            found.extend(&self.prints);
            let [buys, sells] = &self.stops;
            below(buys, print, &mut found);
            above(sells, print, &mut found);
        }
        found.sort_unstable();
        found.iter().map(|number| self.orders[number]).collect()
    }
}

fn lesser(one: Option<Decimal>, other: Option<Decimal>) -> Option<Decimal> {
    one.into_iter().chain(other).min()
}

fn greater(one: Option<Decimal>, other: Option<Decimal>) -> Option<Decimal> {
    one.into_iter().chain(other).max()
}
