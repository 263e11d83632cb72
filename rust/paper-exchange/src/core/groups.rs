//! Brackets and their like: what happens to one order of a group when something happens to another.

use rust_decimal::Decimal;

use super::exchange::Place;
use super::{Exchange, Phase, Role, Status, UpdateEvent};

impl Exchange {
    pub(super) fn group_after_fill(&mut self, place: Place, complete: bool) {
        let order = self.at(place);
        match order.role {
            Some(Role::Entry) if complete => {
                let qty = order.filled_qty;
                self.start_legs(place, qty);
            }
            Some(Role::TakeProfit | Role::StopLoss) => {
                let left = order.remaining();
                for other in self.siblings(place) {
                    if complete {
                        self.finish(other, Status::Canceled);
                    } else {
                        self.edit(other, |order| order.qty = Some(order.filled_qty + left));
                    }
                }
            }
            _ => {}
        }
    }

    /// When an order of the group ended without being filled: the legs protect what the entry did buy,
    /// and of two legs the other goes too.
    pub(super) fn group_after_end(&mut self, place: Place) {
        let order = self.at(place);
        match order.role {
            Some(Role::Entry) => {
                let qty = order.filled_qty;
                if qty.is_zero() {
                    for leg in self.siblings(place) {
                        self.finish(leg, Status::Canceled);
                    }
                } else {
                    self.start_legs(place, qty);
                }
            }
            Some(Role::TakeProfit | Role::StopLoss) => {
                for other in self.siblings(place) {
                    // An entry order that still works doesn't depend on its legs.
                    if self.at(other).role != Some(Role::Entry) {
                        self.finish(other, Status::Canceled);
                    }
                }
            }
            None => {}
        }
    }

    /// The legs wait no longer. Where there are two, the stop stays `held`: it is watched, but the
    /// shares are in the market only once.
    fn start_legs(&mut self, entry: Place, qty: Decimal) {
        let legs = self.siblings(entry);
        let paired = legs.len() > 1;
        for leg in legs {
            let role = self.at(leg).role;
            let now = self.now;
            let open = self.phase == Phase::Regular;
            let stays_held = paired && role == Some(Role::StopLoss);
            self.edit(leg, |order| {
                order.waiting = false;
                order.qty = Some(qty);
                order.updated_at = now;
                if !stays_held {
                    order.status = if open { Status::New } else { Status::Accepted };
                }
            });
            if open && !stays_held {
                self.tell(leg, UpdateEvent::New, None);
                self.try_match(leg, None);
            }
        }
    }

    /// The other open orders of the same group.
    pub(super) fn siblings(&self, place: Place) -> Vec<Place> {
        let Some(group) = self.at(place).group else {
            return Vec::new();
        };
        let members = self.accounts[place.0].commitments.group(group);
        members
            .filter(|&index| index != place.1)
            .map(|index| (place.0, index))
            .collect()
    }
}
