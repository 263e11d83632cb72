use rust_decimal::Decimal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Buy,
    Sell,
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }

    /// 1 for buy, −1 for sell.
    pub(super) fn sign(self) -> Decimal {
        match self {
            Self::Buy => Decimal::ONE,
            Self::Sell => Decimal::NEGATIVE_ONE,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderType {
    Market,
    Limit,
    Stop,
    StopLimit,
    TrailingStop,
}

impl OrderType {
    /// Whether it waits for a price before it is in the book.
    pub(super) fn is_triggered(self) -> bool {
        matches!(self, Self::Stop | Self::StopLimit | Self::TrailingStop)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeInForce {
    Day,
    Gtc,
    Opg,
    Cls,
    Ioc,
    Fok,
}

macro_rules! from_text {
    ($kind:ident { $($text:literal => $value:ident),* }) => {
        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$value),)*
                    other => Err(format!("{other:?} is none of {}", [$($text),*].join(", "))),
                }
            }
        }
    };
}

from_text!(Side { "buy" => Buy, "sell" => Sell });
from_text!(OrderType {
    "market" => Market, "limit" => Limit, "stop" => Stop, "stop_limit" => StopLimit,
    "trailing_stop" => TrailingStop
});
from_text!(TimeInForce {
    "day" => Day, "gtc" => Gtc, "opg" => Opg, "cls" => Cls, "ioc" => Ioc, "fok" => Fok
});

/// An order to be judged; prices in dollars a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub symbol: String,
    pub side: Side,
    pub qty: Decimal,
    pub order_type: OrderType,
    pub limit_price: Option<Decimal>,
    pub stop_price: Option<Decimal>,
    pub time_in_force: TimeInForce,
    pub extended_hours: bool,
    pub reduce_only: bool,
    /// Legs of a bracket.
    pub stop_loss: Option<Decimal>,
    pub take_profit: Option<Decimal>,
}

impl Order {
    /// A market order for the day, to be changed by the caller.
    pub fn market(symbol: &str, side: Side, qty: Decimal) -> Self {
        Self {
            symbol: symbol.to_owned(),
            side,
            qty,
            order_type: OrderType::Market,
            limit_price: None,
            stop_price: None,
            time_in_force: TimeInForce::Day,
            extended_hours: false,
            reduce_only: false,
            stop_loss: None,
            take_profit: None,
        }
    }

    pub fn limit(symbol: &str, side: Side, qty: Decimal, price: Decimal) -> Self {
        Self {
            order_type: OrderType::Limit,
            limit_price: Some(price),
            ..Self::market(symbol, side, qty)
        }
    }
}
