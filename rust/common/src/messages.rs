//! The bus's messages: one frame `topic {json}`, the JSON tagged by `type`, flat.
//!
//! `console/bridge/messages.py` is the same schema; `tests/vectors/bus_messages.json` holds both to it.
//! A number that is not finite, negative where it can't be or beyond [`LARGEST`] makes the whole
//! message malformed, as does a symbol with anything but capital letters, digits, `.`, `-` and `/`.

mod decode;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

pub use decode::{Received, parse, parse_json};

/// Topic of bars, quotes and trades.
pub const MARKET: &str = "market";
/// Topic of strategies' signals.
pub const SIGNAL: &str = "signal";
/// Topic of the engine's events.
pub const ENGINE: &str = "engine";
/// Topic of exposure, drawdown and the trading state.
pub const RISK: &str = "risk";

/// No frame is longer.
pub const MAX_FRAME: usize = 1 << 20;
/// No number in a message is larger; above it a float loses cents.
pub const LARGEST: f64 = 1e13;
/// The longest symbol.
pub const MAX_SYMBOL: usize = 16;
/// The longest text in a message: a strategy's name, an id, a reason.
pub const MAX_TEXT: usize = 1024;

/// One message, without its topic and its stamp.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum Message {
    BarUpdate(BarUpdate),
    QuoteUpdate(QuoteUpdate),
    TradeUpdate(TradeUpdate),
    Heartbeat(Heartbeat),
    Signal(Signal),
    Position(Position),
    RiskUpdate(RiskUpdate),
}

/// A bar that has ended at `timestamp` + its timeframe. Prices in dollars, `timestamp` in ns since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BarUpdate {
    pub symbol: String,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
    /// When the bar began.
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vwap: Option<f64>,
    #[serde(default = "one_minute")]
    pub timeframe: String,
    #[serde(default)]
    pub source: String,
}

fn one_minute() -> String {
    "1Min".to_owned()
}

/// The best bid and ask; sizes in shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuoteUpdate {
    pub symbol: String,
    pub bid_price: f64,
    pub bid_size: f64,
    pub ask_price: f64,
    pub ask_size: f64,
    pub timestamp: i64,
}

/// One print; size in shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TradeUpdate {
    pub symbol: String,
    pub price: f64,
    pub size: f64,
    pub timestamp: i64,
}

/// Sent by every publisher while it has nothing else to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub component: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Long,
    Short,
    Flat,
}

/// What a strategy wants to hold; `strength` in 0..=1 scales the size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    pub symbol: String,
    pub direction: Direction,
    pub strength: f64,
    pub timestamp: i64,
    #[serde(default)]
    pub strategy: String,
    /// The sender's own; the same id is acted on once.
    #[serde(default)]
    pub id: String,
    /// W3C trace context, so that an order's trace goes on from the sender's; may be empty.
    #[serde(default)]
    pub traceparent: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionSide {
    Long,
    Short,
}

/// A holding; `qty` is signed, negative is short. Money is text in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub symbol: String,
    pub qty: Decimal,
    pub side: PositionSide,
    pub avg_entry_price: Decimal,
    pub market_value: Decimal,
    pub unrealized_pl: Decimal,
    pub timestamp: i64,
}

/// ACTIVE takes all orders, REDUCING those that reduce, HALTED none; cancels always pass.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradingState {
    #[default]
    Active,
    Reducing,
    Halted,
}

impl TradingState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Reducing => "REDUCING",
            Self::Halted => "HALTED",
        }
    }
}

/// The account's risk. Money is text in JSON; `drawdown_pct` is percent below the peak, ≥ 0;
/// `var_95` is the loss in dollars that one day exceeds with a chance of 5 %.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskUpdate {
    pub equity: Decimal,
    pub peak_equity: Decimal,
    pub drawdown_pct: Decimal,
    pub gross_exposure: Decimal,
    pub net_exposure: Decimal,
    pub var_95: Decimal,
    pub trading_state: TradingState,
    #[serde(default)]
    pub reason: String,
    pub timestamp: i64,
}

/// Why a frame was dropped.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("a frame of {0} bytes; at most {MAX_FRAME} are taken")]
    TooLong(usize),
    #[error("no `topic {{json}}` in one frame")]
    NoTopic,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{field} = {value}: {rule}")]
    Value {
        field: &'static str,
        value: String,
        rule: &'static str,
    },
}

impl Message {
    /// The value of `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BarUpdate(_) => "BarUpdate",
            Self::QuoteUpdate(_) => "QuoteUpdate",
            Self::TradeUpdate(_) => "TradeUpdate",
            Self::Heartbeat(_) => "Heartbeat",
            Self::Signal(_) => "Signal",
            Self::Position(_) => "Position",
            Self::RiskUpdate(_) => "RiskUpdate",
        }
    }

    /// Whether every value is one that the bus carries.
    pub fn check(&self) -> Result<(), Malformed> {
        match self {
            Self::BarUpdate(bar) => {
                symbol(&bar.symbol)?;
                not_negative("open", bar.open)?;
                not_negative("high", bar.high)?;
                not_negative("low", bar.low)?;
                not_negative("close", bar.close)?;
                not_negative("volume", bar.volume)?;
                not_negative("vwap", bar.vwap.unwrap_or(0.0))?;
                timestamp(bar.timestamp)?;
                text("timeframe", &bar.timeframe)?;
                text("source", &bar.source)
            }
            Self::QuoteUpdate(quote) => {
                symbol(&quote.symbol)?;
                not_negative("bid_price", quote.bid_price)?;
                not_negative("bid_size", quote.bid_size)?;
                not_negative("ask_price", quote.ask_price)?;
                not_negative("ask_size", quote.ask_size)?;
                timestamp(quote.timestamp)
            }
            Self::TradeUpdate(trade) => {
                symbol(&trade.symbol)?;
                not_negative("price", trade.price)?;
                not_negative("size", trade.size)?;
                timestamp(trade.timestamp)
            }
            Self::Heartbeat(beat) => text("component", &beat.component),
            Self::Signal(signal) => {
                symbol(&signal.symbol)?;
                if !(0.0..=1.0).contains(&signal.strength) {
                    return Err(refused("strength", &signal.strength, "0 to 1 is taken"));
                }
                timestamp(signal.timestamp)?;
                text("strategy", &signal.strategy)?;
                text("id", &signal.id)?;
                text("traceparent", &signal.traceparent)
            }
            Self::Position(position) => {
                symbol(&position.symbol)?;
                timestamp(position.timestamp)
            }
            Self::RiskUpdate(risk) => {
                timestamp(risk.timestamp)?;
                text("reason", &risk.reason)
            }
        }
    }

    /// The frame `topic {json}` with its stamp: `seq` counts from 1, `ts` is the wall clock in ns.
    ///
    /// # Errors
    /// A value that the bus doesn't carry: it is refused here rather than dropped by every reader.
    pub fn frame(&self, topic: &str, seq: u64, ts: i64) -> Result<Vec<u8>, Malformed> {
        use std::io::Write;

        self.check()?;
        let mut frame = Vec::with_capacity(320);
        frame.extend_from_slice(topic.as_bytes());
        frame.push(b' ');
        serde_json::to_writer(&mut frame, self)?;
        frame.pop();
        let _ = write!(frame, ",\"seq\":{seq},\"ts\":{ts}}}");
        Ok(frame)
    }
}

fn refused(field: &'static str, value: &impl std::fmt::Debug, rule: &'static str) -> Malformed {
    Malformed::Value {
        field,
        value: format!("{value:?}").chars().take(80).collect(),
        rule,
    }
}

fn not_negative(field: &'static str, value: f64) -> Result<(), Malformed> {
    if (0.0..=LARGEST).contains(&value) {
        Ok(())
    } else {
        Err(refused(field, &value, "0 to 1e13 is taken"))
    }
}

fn timestamp(value: i64) -> Result<(), Malformed> {
    if value >= 0 {
        Ok(())
    } else {
        Err(refused("timestamp", &value, "ns since 1970, not negative"))
    }
}

fn symbol(value: &str) -> Result<(), Malformed> {
    if is_symbol(value) {
        Ok(())
    } else {
        Err(refused(
            "symbol",
            &value,
            "1 to 16 capital letters, digits, '.', '-', '/'",
        ))
    }
}

fn text(field: &'static str, value: &str) -> Result<(), Malformed> {
    if value.len() <= MAX_TEXT {
        Ok(())
    } else {
        Err(refused(field, &value, "at most 1024 bytes of text"))
    }
}

/// Whether the bus carries this symbol: 1 to 16 of A–Z, 0–9, `.`, `-`, `/`.
pub fn is_symbol(value: &str) -> bool {
    (1..=MAX_SYMBOL).contains(&value.len())
        && value.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || b".-/".contains(&byte)
        })
}

#[cfg(test)]
mod tests;
