//! From bytes to a message in one pass: `type` first, as every publisher writes it, then its fields.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::{MAX_FRAME, Malformed, Message};

/// A message as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Received<'a> {
    pub topic: &'a str,
    /// The publisher's count, from 1; 0 when it doesn't count.
    pub seq: u64,
    /// The publisher's wall clock in ns; 0 when it didn't say.
    pub ts: i64,
    pub message: Message,
}

/// Take a frame apart.
///
/// # Errors
/// Anything that isn't a message of the schema; see [`Malformed`].
pub fn parse(frame: &[u8]) -> Result<Received<'_>, Malformed> {
    if frame.len() > MAX_FRAME {
        return Err(Malformed::TooLong(frame.len()));
    }
    let space = frame
        .iter()
        .take(65)
        .position(|&byte| byte == b' ')
        .ok_or(Malformed::NoTopic)?;
    let topic = std::str::from_utf8(&frame[..space])
        .ok()
        .filter(|topic| !topic.is_empty() && topic.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or(Malformed::NoTopic)?;
    let (seq, ts, message) = parse_json(&frame[space + 1..])?;
    Ok(Received {
        topic,
        seq,
        ts,
        message,
    })
}

/// The JSON alone: (`seq`, `ts`, message).
///
/// # Errors
/// As [`parse`].
pub fn parse_json(json: &[u8]) -> Result<(u64, i64, Message), Malformed> {
    let Tagged { stamp, message } = serde_json::from_slice(json)?;
    message.check()?;
    Ok((stamp.seq, stamp.ts, message))
}

#[derive(Clone, Copy, Default)]
struct Stamp {
    seq: u64,
    ts: i64,
}

struct Tagged {
    stamp: Stamp,
    message: Message,
}

impl<'de> Deserialize<'de> for Tagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TaggedVisitor)
    }
}

struct TaggedVisitor;

impl<'de> Visitor<'de> for TaggedVisitor {
    type Value = Tagged;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `type`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tagged, A::Error> {
        match map.next_key_seed(Text)? {
            Some(key) if key == "type" => {
                let kind = map.next_value_seed(Text)?;
                fields(&kind, map)
            }
            first => reordered(first, map),
        }
    }
}

/// The slow way, for senders that put `type` elsewhere: gather, then decode again.
fn reordered<'de, A: MapAccess<'de>>(
    first: Option<Cow<'de, str>>,
    mut map: A,
) -> Result<Tagged, A::Error> {
    let mut rest = serde_json::Map::new();
    let mut kind = None;
    let mut next = first;
    while let Some(key) = next {
        if key == "type" {
            kind = Some(map.next_value::<String>()?);
        } else {
            rest.insert(key.into_owned(), map.next_value()?);
        }
        next = map.next_key_seed(Text)?;
    }
    let kind = kind.ok_or_else(|| A::Error::missing_field("type"))?;
    fields(&kind, de::value::MapDeserializer::new(rest.into_iter()))
        .map_err(|error: serde_json::Error| A::Error::custom(error))
}

fn fields<'de, A: MapAccess<'de>>(kind: &str, map: A) -> Result<Tagged, A::Error> {
    let mut stamp = Stamp::default();
    macro_rules! by_kind {
        ($($name:ident),*) => {
            match kind {
                $(stringify!($name) => Message::$name(Deserialize::deserialize(
                    MapAccessDeserializer::new(Stamped { map, stamp: &mut stamp }),
                )?),)*
                other => {
                    return Err(A::Error::unknown_variant(other, &[$(stringify!($name)),*]));
                }
            }
        };
    }
    let message = by_kind!(
        BarUpdate,
        QuoteUpdate,
        TradeUpdate,
        Heartbeat,
        Signal,
        Position,
        RiskUpdate
    );
    Ok(Tagged { stamp, message })
}

/// A map without its `seq` and `ts`, which are kept aside.
struct Stamped<'s, A> {
    map: A,
    stamp: &'s mut Stamp,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Stamped<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(Text)? {
                None => return Ok(None),
                Some(Cow::Borrowed("seq")) => self.stamp.seq = self.map.next_value()?,
                Some(Cow::Borrowed("ts")) => self.stamp.ts = self.map.next_value()?,
                Some(Cow::Owned(key)) if key == "seq" => self.stamp.seq = self.map.next_value()?,
                Some(Cow::Owned(key)) if key == "ts" => self.stamp.ts = self.map.next_value()?,
                Some(Cow::Borrowed(key)) => {
                    return seed
                        .deserialize(BorrowedStrDeserializer::new(key))
                        .map(Some);
                }
                Some(Cow::Owned(key)) => {
                    return seed.deserialize(StrDeserializer::new(&key)).map(Some);
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Text, borrowed from the input where it can be.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
