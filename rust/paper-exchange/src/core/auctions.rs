//! The opening and the closing auction: one price for all.

use rust_decimal::Decimal;

use super::exchange::Place;
use super::{Exchange, Status, SymbolId, TimeInForce};

impl Exchange {
    /// At the session's first print.
    pub(super) fn opening_auction(&mut self, symbol: SymbolId, price: Decimal) {
        self.auction(symbol, TimeInForce::Opg, price);
    }

    /// At the session's end, at each symbol's last print.
    pub(super) fn closing_auction(&mut self) {
        for symbol in 0..self.market.len() {
            let quoted = self.market.get(symbol);
            let traded = quoted.last_at >= self.session.open;
            if let Some(price) = quoted.last.filter(|_| traded) {
                self.auction(symbol, TimeInForce::Cls, price);
            }
        }
    }

    fn auction(&mut self, symbol: SymbolId, tif: TimeInForce, price: Decimal) {
        let places: Vec<Place> = self.book[symbol]
            .all()
            .into_iter()
            .filter(|&place| {
                let order = self.at(place);
                order.tif == tif && order.status == Status::New
            })
            .collect();
        for place in places {
            let order = self.at(place);
            if order.accepts(price) {
                let qty = order.remaining();
                self.execute(place, qty, price);
            } else {
                self.finish(place, Status::Canceled);
            }
        }
    }
}
