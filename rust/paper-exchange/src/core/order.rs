//! An order and the words that describe it.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Nanos;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $(#[serde(rename = $word)] $variant),+ }

        impl $name {
            /// The word on the wire.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value that a word on the wire stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words!(Side { Buy = "buy", Sell = "sell" });
words!(OrderType {
    Market = "market",
    Limit = "limit",
    Stop = "stop",
    StopLimit = "stop_limit",
    TrailingStop = "trailing_stop",
});
words!(TimeInForce { Day = "day", Gtc = "gtc", Opg = "opg", Cls = "cls", Ioc = "ioc", Fok = "fok" });
words!(OrderClass { Simple = "simple", Bracket = "bracket", Oco = "oco", Oto = "oto" });
words!(
    /// What an order is in its group; Alpaca's `group_role`.
    Role { Entry = "entry", TakeProfit = "take_profit", StopLoss = "stop_loss" }
);
words!(Status {
    PendingNew = "pending_new",
    Accepted = "accepted",
    Held = "held",
    New = "new",
    PartiallyFilled = "partially_filled",
    Filled = "filled",
    Canceled = "canceled",
    Expired = "expired",
    Replaced = "replaced",
    Rejected = "rejected",
});

impl Side {
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `qty` with the sign that buying or selling gives it.
    #[must_use]
    pub fn signed(self, qty: Decimal) -> Decimal {
        match self {
            Self::Buy => qty,
            Self::Sell => -qty,
        }
    }
}

impl Status {
    /// Whether the order can still trade.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::PendingNew | Self::Accepted | Self::Held | Self::New | Self::PartiallyFilled
        )
    }
}

/// One order in its present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: Uuid,
    pub client_order_id: String,
    pub symbol: Arc<str>,
    pub side: Side,
    pub kind: OrderType,
    pub tif: TimeInForce,
    pub class: OrderClass,
    pub status: Status,
    pub qty: Option<Decimal>,
    pub notional: Option<Decimal>,
    pub limit: Option<Decimal>,
    pub stop: Option<Decimal>,
    pub trail_price: Option<Decimal>,
    pub trail_percent: Option<Decimal>,
    pub hwm: Option<Decimal>,
    pub extended_hours: bool,
    pub filled_qty: Decimal,
    /// Σ price × quantity of its fills.
    pub filled_value: Decimal,
    pub created_at: Nanos,
    pub updated_at: Nanos,
    pub submitted_at: Nanos,
    pub filled_at: Option<Nanos>,
    pub canceled_at: Option<Nanos>,
    pub expired_at: Option<Nanos>,
    pub replaced_at: Option<Nanos>,
    pub failed_at: Option<Nanos>,
    pub expires_at: Nanos,
    pub replaces: Option<Uuid>,
    pub replaced_by: Option<Uuid>,
    pub group: Option<Uuid>,
    pub role: Option<Role>,
    pub parent: Option<Uuid>,
    pub legs: Vec<Uuid>,
    /// A stop whose price was touched: from then on it is a market or a limit order.
    pub triggered: bool,
    /// A leg that waits for its entry order to fill.
    pub waiting: bool,
    /// Nothing fills before: latency at first, later the pause between two parts of a fill.
    pub not_before: Nanos,
    /// Whether the rest of a partial fill is on its way.
    pub split: bool,
    pub closes: bool,
}

impl Order {
    /// What is left to trade; for a notional order unknown until a price is.
    #[must_use]
    pub fn remaining(&self) -> Decimal {
        self.qty.map_or(Decimal::ZERO, |qty| qty - self.filled_qty)
    }

    #[must_use]
    pub fn filled_avg_price(&self) -> Option<Decimal> {
        (!self.filled_qty.is_zero()).then(|| {
            (self.filled_value / self.filled_qty)
                .round_dp(6)
                .normalize()
        })
    }

    /// Whether it rests in the book as a limit order now.
    #[must_use]
    pub fn is_limit_now(&self) -> bool {
        match self.kind {
            OrderType::Limit => true,
            OrderType::StopLimit => self.triggered,
            _ => false,
        }
    }

    #[must_use]
    pub fn is_stop(&self) -> bool {
        matches!(
            self.kind,
            OrderType::Stop | OrderType::StopLimit | OrderType::TrailingStop
        )
    }

    /// Whether `price` is within its limit.
    #[must_use]
    pub fn accepts(&self, price: Decimal) -> bool {
        match (self.limit, self.side) {
            (Some(limit), Side::Buy) => price <= limit,
            (Some(limit), Side::Sell) => price >= limit,
            (None, _) => true,
        }
    }
}
