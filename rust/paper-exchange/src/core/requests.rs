//! What a client may ask for, after the wire format has been taken off.

use rust_decimal::Decimal;

use super::{OrderClass, OrderType, Side, TimeInForce};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakeProfit {
    pub limit: Option<Decimal>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StopLoss {
    pub stop: Option<Decimal>,
    pub limit: Option<Decimal>,
}

/// A new order.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOrder {
    pub symbol: String,
    pub side: Option<Side>,
    pub kind: OrderType,
    pub tif: TimeInForce,
    pub class: OrderClass,
    pub qty: Option<Decimal>,
    pub notional: Option<Decimal>,
    pub limit: Option<Decimal>,
    pub stop: Option<Decimal>,
    pub trail_price: Option<Decimal>,
    pub trail_percent: Option<Decimal>,
    pub extended_hours: bool,
    pub client_order_id: Option<String>,
    pub take_profit: Option<TakeProfit>,
    pub stop_loss: Option<StopLoss>,
}

impl NewOrder {
    /// A day order at the market.
    #[must_use]
    pub fn market(symbol: &str, side: Side, qty: Decimal) -> Self {
        Self {
            symbol: symbol.to_owned(),
            side: Some(side),
            kind: OrderType::Market,
            tif: TimeInForce::Day,
            class: OrderClass::Simple,
            qty: Some(qty),
            notional: None,
            limit: None,
            stop: None,
            trail_price: None,
            trail_percent: None,
            extended_hours: false,
            client_order_id: None,
            take_profit: None,
            stop_loss: None,
        }
    }

    /// A day order with a limit.
    #[must_use]
    pub fn limit(symbol: &str, side: Side, qty: Decimal, limit: Decimal) -> Self {
        Self {
            kind: OrderType::Limit,
            limit: Some(limit),
            ..Self::market(symbol, side, qty)
        }
    }
}

/// What a replacement changes; the rest stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replacement {
    pub qty: Option<Decimal>,
    pub tif: Option<TimeInForce>,
    pub limit: Option<Decimal>,
    pub stop: Option<Decimal>,
    pub trail: Option<Decimal>,
    pub client_order_id: Option<String>,
}

/// How much of a position to close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CloseSize {
    All,
    Quantity(Decimal),
    Percentage(Decimal),
}
