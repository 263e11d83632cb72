//! What the services say to the engine and hear of it: commands and answers (5557), events (5558).
//!
//! `console/engine/{commands,events,state}.py` is the schema; here is the part of it that services
//! need. Unknown fields and events are skipped: the engine may say more than a service understands.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::messages::TradingState;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Buy,
    Sell,
}

/// A request to the engine; the answer carries the same `id`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum Command {
    /// A market order for the day, sized in dollars; the engine makes shares of it.
    SubmitOrder {
        id: String,
        source: String,
        symbol: String,
        side: Side,
        #[serde(skip_serializing_if = "Option::is_none")]
        qty: Option<Decimal>,
        #[serde(skip_serializing_if = "Option::is_none")]
        notional: Option<Decimal>,
        reduce_only: bool,
        #[serde(skip_serializing_if = "String::is_empty")]
        traceparent: String,
    },
    /// Cancel the symbol's orders and close what is held.
    ClosePosition {
        id: String,
        source: String,
        symbol: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        traceparent: String,
    },
    /// Ask for everything.
    GetState { id: String, source: String },
}

impl Command {
    pub fn id(&self) -> &str {
        match self {
            Self::SubmitOrder { id, .. }
            | Self::ClosePosition { id, .. }
            | Self::GetState { id, .. } => id,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Accepted,
    Refused,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    pub check: String,
    #[serde(default)]
    pub message: String,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Ack {
    pub id: String,
    pub outcome: Outcome,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub refusals: Vec<Refusal>,
    #[serde(default)]
    pub state: Option<EngineState>,
}

/// An event, with the engine's number.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Event {
    #[serde(default)]
    pub seq: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type")]
pub enum What {
    Snapshot {
        state: Box<EngineState>,
    },
    OrderChanged {
        order: OrderView,
    },
    PositionsChanged {
        positions: Vec<PositionView>,
    },
    AccountChanged {
        account: AccountView,
    },
    TradingStateChanged {
        trading_state: TradingState,
        #[serde(default)]
        reason: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct EngineState {
    #[serde(default)]
    pub seq: u64,
    #[serde(default)]
    pub trading_state: TradingState,
    #[serde(default)]
    pub trading_reason: String,
    #[serde(default)]
    pub account: Option<AccountView>,
    #[serde(default)]
    pub positions: Vec<PositionView>,
    #[serde(default)]
    pub orders: Vec<OrderView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AccountView {
    pub equity: Decimal,
    pub last_equity: Decimal,
}

/// A holding; `qty` is signed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PositionView {
    pub symbol: String,
    pub qty: Decimal,
    pub current_price: Decimal,
    pub market_value: Decimal,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OrderView {
    pub client_order_id: String,
    pub symbol: String,
    pub side: Side,
    pub state: OrderState,
    #[serde(default)]
    pub qty: Option<Decimal>,
    #[serde(default)]
    pub notional: Option<Decimal>,
    #[serde(default)]
    pub limit_price: Option<Decimal>,
    #[serde(default)]
    pub filled_qty: Decimal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderState {
    Intent,
    Refused,
    Sending,
    Ack,
    Rejected,
    Unknown,
    Held,
    Working,
    Partial,
    Filled,
    Canceled,
    Expired,
    Replaced,
}

impl OrderState {
    /// Whether more fills are to be expected.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Sending | Self::Ack | Self::Unknown | Self::Held | Self::Working | Self::Partial
        )
    }
}

impl OrderView {
    /// Dollars that may still be filled, at `price` a share; 0 when it is over.
    pub fn open_notional(&self, price: Decimal) -> Decimal {
        if !self.state.is_open() {
            return Decimal::ZERO;
        }
        match (self.qty, self.notional) {
            (Some(qty), _) => (qty - self.filled_qty).max(Decimal::ZERO) * price,
            (None, Some(notional)) => notional,
            (None, None) => Decimal::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_as_the_engine_reads_it() {
        let command = Command::SubmitOrder {
            id: "a".to_owned(),
            source: "signal:m".to_owned(),
            symbol: "IBM".to_owned(),
            side: Side::Buy,
            qty: None,
            notional: Some("8000".parse().unwrap()),
            reduce_only: false,
            traceparent: String::new(),
        };
        let wanted = r#"{"type":"SubmitOrder","id":"a","source":"signal:m","symbol":"IBM","side":"buy","notional":"8000","reduce_only":false}"#;
        assert_eq!(serde_json::to_string(&command).unwrap(), wanted);
    }

    #[test]
    fn events_that_arent_for_services_are_skipped() {
        let event: Event =
            serde_json::from_str(r#"{"type":"Noticed","seq":7,"severity":"info","text":"x"}"#)
                .unwrap();
        assert_eq!((event.seq, event.what), (7, What::Other));
    }

    #[test]
    fn a_snapshot_is_read() {
        let text = r#"{"type":"Snapshot","seq":3,"ts":1,"state":{"seq":3,"mode":"DEMO","ready":true,
            "trading_state":"REDUCING","account":{"equity":"99000.5","last_equity":"100000","cash":"1"},
            "positions":[{"symbol":"IBM","qty":"-5","side":"short","current_price":"100","market_value":"-500"}],
            "orders":[{"client_order_id":"a","symbol":"IBM","side":"buy","state":"PARTIAL","qty":"5","filled_qty":"2"}]}}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        let What::Snapshot { state } = event.what else {
            panic!("{event:?}")
        };
        assert_eq!(state.trading_state, TradingState::Reducing);
        assert_eq!(state.account.unwrap().equity, "99000.5".parse().unwrap());
        let ten = Decimal::TEN;
        assert_eq!(state.orders[0].open_notional(ten), "30".parse().unwrap());
    }
}
