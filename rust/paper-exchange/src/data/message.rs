//! What clients of the stream say and what they are answered, apart from prices.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::hub::{Channel, Subscriptions};
use super::wire::Format;

/// A request of a client.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Request {
    Authenticate { key: String, secret: String },
    Subscribe(Subscriptions),
    Unsubscribe(Subscriptions),
}

/// Alpaca's numbers and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Syntax,
    NotAuthenticated,
    AuthFailed,
    AlreadyAuthenticated,
    AuthTimeout,
    SymbolLimit,
    ConnectionLimit,
    SlowClient,
    Insufficient,
    SubscribeAction,
    Internal,
}

impl Refusal {
    pub(super) const fn code(self) -> u16 {
        match self {
            Refusal::Syntax => 400,
            Refusal::NotAuthenticated => 401,
            Refusal::AuthFailed => 402,
            Refusal::AlreadyAuthenticated => 403,
            Refusal::AuthTimeout => 404,
            Refusal::SymbolLimit => 405,
            Refusal::ConnectionLimit => 406,
            Refusal::SlowClient => 407,
            Refusal::Insufficient => 409,
            Refusal::SubscribeAction => 410,
            Refusal::Internal => 500,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Refusal::Syntax => "invalid syntax",
            Refusal::NotAuthenticated => "not authenticated",
            Refusal::AuthFailed => "auth failed",
            Refusal::AlreadyAuthenticated => "already authenticated",
            Refusal::AuthTimeout => "auth timeout",
            Refusal::SymbolLimit => "symbol limit exceeded",
            Refusal::ConnectionLimit => "connection limit exceeded",
            Refusal::SlowClient => "slow client",
            Refusal::Insufficient => "insufficient subscription",
            Refusal::SubscribeAction => "invalid subscribe action for this feed",
            Refusal::Internal => "internal error",
        }
    }

    /// Whether the connection ends with it.
    pub(super) const fn is_fatal(self) -> bool {
        matches!(
            self,
            Refusal::AuthFailed
                | Refusal::AuthTimeout
                | Refusal::ConnectionLimit
                | Refusal::SlowClient
                | Refusal::Insufficient
                | Refusal::Internal
        )
    }

    pub(super) fn message(self) -> Value {
        json!([{"T": "error", "code": self.code(), "msg": self.words()}])
    }
}

pub(super) fn success(message: &str) -> Value {
    json!([{"T": "success", "msg": message}])
}

/// What a client is subscribed to. Corrections and cancellations come with the trades, as at Alpaca.
pub(super) fn subscription(subscriptions: &Subscriptions) -> Value {
    let of = |channel: Channel| json!(subscriptions.get(&channel).cloned().unwrap_or_default());
    let mut message = Map::new();
    message.insert("T".to_owned(), json!("subscription"));
    for channel in Channel::ALL {
        message.insert(channel.name().to_owned(), of(channel));
    }
    for follower in ["corrections", "cancelErrors"] {
        message.insert(follower.to_owned(), of(Channel::Trades));
    }
    Value::Array(vec![Value::Object(message)])
}

/// Encodes an answer in the client's format.
pub(super) fn encode(message: &Value, format: Format) -> Vec<u8> {
    match format {
        Format::Json => message.to_string().into_bytes(),
        // A value without floats or deep nesting always encodes.
        Format::MsgPack => rmp_serde::to_vec(message).unwrap_or_default(),
    }
}

/// Understands a frame: text is JSON, binary is what the connection speaks.
pub(super) fn decode(frame: &[u8], format: Format) -> Result<Request, Refusal> {
    let value: Value = match format {
        Format::Json => serde_json::from_slice(frame).map_err(|_| Refusal::Syntax)?,
        Format::MsgPack => rmp_serde::from_slice(frame).map_err(|_| Refusal::Syntax)?,
    };
    let fields = value.as_object().ok_or(Refusal::Syntax)?;
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match fields.get("action").and_then(Value::as_str) {
        Some("auth") => Ok(Request::Authenticate {
            key: text("key"),
            secret: text("secret"),
        }),
        Some("subscribe") => subscriptions(fields).map(Request::Subscribe),
        Some("unsubscribe") => subscriptions(fields).map(Request::Unsubscribe),
        _ => Err(Refusal::Syntax),
    }
}

fn subscriptions(fields: &Map<String, Value>) -> Result<Subscriptions, Refusal> {
    let mut wanted = Subscriptions::new();
    for (name, symbols) in fields {
        if name == "action" {
            continue;
        }
        let symbols = match symbols {
            Value::Array(symbols) => symbols,
            Value::Null => continue,
            _ => return Err(Refusal::Syntax),
        };
        let symbols = symbols
            .iter()
            .map(|symbol| {
                symbol
                    .as_str()
                    .filter(|symbol| is_wanted(symbol))
                    .map(str::to_owned)
            })
            .collect::<Option<BTreeSet<String>>>()
            .ok_or(Refusal::Syntax)?;
        match Channel::ALL.iter().find(|channel| channel.name() == name) {
            Some(channel) => {
                wanted.insert(*channel, symbols);
            }
            // These follow the trades and can't be asked for by themselves.
            None if matches!(name.as_str(), "corrections" | "cancelErrors") => {}
            None if matches!(name.as_str(), "news" | "orderbooks") && !symbols.is_empty() => {
                return Err(Refusal::SubscribeAction);
            }
            None if matches!(name.as_str(), "news" | "orderbooks") => {}
            None => return Err(Refusal::Syntax),
        }
    }
    if wanted.values().all(BTreeSet::is_empty) {
        Err(Refusal::Syntax)
    } else {
        Ok(wanted)
    }
}

/// A symbol that a subscription may name: known or not, or all.
fn is_wanted(symbol: &str) -> bool {
    symbol == "*"
        || ((1..=32).contains(&symbol.len())
            && symbol.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'/' | b'_')
            }))
}
