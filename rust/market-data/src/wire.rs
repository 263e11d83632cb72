//! A frame of the broker's stream: a list of entries in msgpack or JSON, told apart by `T`.

use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// One entry, with the fields of all kinds; what a kind doesn't have is None.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    #[serde(rename = "T")]
    pub(crate) kind: String,
    #[serde(rename = "S")]
    pub(crate) symbol: Option<String>,
    #[serde(rename = "t")]
    pub(crate) time: Option<Time>,
    #[serde(rename = "o")]
    pub(crate) open: Option<f64>,
    #[serde(rename = "h")]
    pub(crate) high: Option<f64>,
    #[serde(rename = "l")]
    pub(crate) low: Option<f64>,
    /// The close of a bar; the conditions of a quote or trade, which are not kept.
    #[serde(rename = "c", deserialize_with = "number_or_nothing")]
    pub(crate) close: Option<f64>,
    #[serde(rename = "v")]
    pub(crate) volume: Option<f64>,
    #[serde(rename = "n")]
    pub(crate) trade_count: Option<u64>,
    #[serde(rename = "vw")]
    pub(crate) vwap: Option<f64>,
    #[serde(rename = "bp")]
    pub(crate) bid_price: Option<f64>,
    #[serde(rename = "bs")]
    pub(crate) bid_size: Option<f64>,
    #[serde(rename = "ap")]
    pub(crate) ask_price: Option<f64>,
    #[serde(rename = "as")]
    pub(crate) ask_size: Option<f64>,
    #[serde(rename = "p")]
    pub(crate) price: Option<f64>,
    #[serde(rename = "s")]
    pub(crate) size: Option<f64>,
    pub(crate) msg: Option<String>,
    pub(crate) code: Option<i64>,
    pub(crate) bars: Option<Vec<String>>,
}

/// A moment in ns since the epoch: msgpack's timestamp extension, or RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) i64);

/// Read a frame of msgpack.
pub(crate) fn from_msgpack(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}

/// Read a frame of JSON.
pub(crate) fn from_json(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// What the client says.
#[derive(Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub(crate) enum Request<'a> {
    Auth {
        key: &'a str,
        secret: &'a str,
    },
    Subscribe {
        bars: &'a [String],
        quotes: &'a [String],
        trades: &'a [String],
    },
    Unsubscribe {
        bars: &'a [String],
        quotes: &'a [String],
        trades: &'a [String],
    },
}

impl Request<'_> {
    pub(crate) fn to_msgpack(&self) -> Result<Vec<u8>, String> {
        rmp_serde::to_vec_named(self).map_err(|error| error.to_string())
    }
}

fn number_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    struct NumberOrNothing;

    impl<'de> Visitor<'de> for NumberOrNothing {
        type Value = Option<f64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, or conditions")
        }

        fn visit_f64<E>(self, value: f64) -> Result<Option<f64>, E> {
            Ok(Some(value))
        }

        fn visit_u64<E>(self, value: u64) -> Result<Option<f64>, E> {
            Ok(Some(value as f64))
        }

        fn visit_i64<E>(self, value: i64) -> Result<Option<f64>, E> {
            Ok(Some(value as f64))
        }

        fn visit_unit<E>(self) -> Result<Option<f64>, E> {
            Ok(None)
        }

        fn visit_str<E>(self, _: &str) -> Result<Option<f64>, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<f64>, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    }

    deserializer.deserialize_any(NumberOrNothing)
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl<'de> Visitor<'de> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RFC 3339 or a msgpack timestamp")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
        chrono::DateTime::parse_from_rfc3339(text)
            .ok()
            .and_then(|time| time.timestamp_nanos_opt())
            .map(Time)
            .ok_or_else(|| E::custom(format!("{text:?} is no RFC 3339 time")))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, extension: D) -> Result<Time, D::Error> {
        struct Extension;

        impl<'de> Visitor<'de> for Extension {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("extension -1 of 4, 8 or 12 bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Time, A::Error> {
                let kind: i8 = seq
                    .next_element()?
                    .ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let Raw(bytes) = seq
                    .next_element()?
                    .ok_or_else(|| de::Error::invalid_length(1, &self))?;
                timestamp(kind, &bytes).map(Time).ok_or_else(|| {
                    de::Error::custom(format!("extension {kind} of {} bytes", bytes.len()))
                })
            }
        }

        extension.deserialize_tuple(2, Extension)
    }
}

/// The three sizes of msgpack's timestamp, in ns since the epoch.
fn timestamp(kind: i8, bytes: &[u8]) -> Option<i64> {
    if kind != -1 {
        return None;
    }
    let (seconds, nanos) = match *bytes {
        [_, _, _, _] => (i64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
        [_, _, _, _, _, _, _, _] => {
            let packed = u64::from_be_bytes(bytes.try_into().ok()?);
            let seconds = i64::try_from(packed & ((1 << 34) - 1)).ok()?;
            (seconds, i64::try_from(packed >> 34).ok()?)
        }
        [a, b, c, d, ..] if bytes.len() == 12 => (
            i64::from_be_bytes(bytes[4..].try_into().ok()?),
            i64::from(u32::from_be_bytes([a, b, c, d])),
        ),
        _ => return None,
    };
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

struct Raw(Vec<u8>);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As alpaca-py's own tests have it: `msgpack.packb([{"T":"q",…,"t":Timestamp(…)}])`.
    fn packed_trade(time: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x91, 0x86];
        for (key, value) in [("T", "t"), ("S", "IBM")] {
            bytes.extend([0xa0 | key.len() as u8]);
            bytes.extend(key.as_bytes());
            bytes.extend([0xa0 | value.len() as u8]);
            bytes.extend(value.as_bytes());
        }
        bytes.extend([0xa1, b'p', 0xcb]);
        bytes.extend(195.06f64.to_be_bytes());
        bytes.extend([0xa1, b's', 0x64]);
        bytes.extend([0xa1, b'c', 0x91, 0xa1, b'@']);
        bytes.extend([0xa1, b't']);
        bytes.extend(time);
        bytes
    }

    const NS: i64 = 1_357_137_000_123_456_789;

    #[test]
    fn msgpack_with_each_size_of_timestamp_is_read() {
        let (seconds, nanos) = (NS / 1_000_000_000, NS % 1_000_000_000);
        let four = [&[0xd6, 0xff][..], &(seconds as u32).to_be_bytes()].concat();
        let packed = ((nanos as u64) << 34) | seconds as u64;
        let eight = [&[0xd7, 0xff][..], &packed.to_be_bytes()].concat();
        let twelve = [
            &[0xc7, 12, 0xff][..],
            &(nanos as u32).to_be_bytes(),
            &seconds.to_be_bytes(),
        ]
        .concat();
        for (time, ns) in [(four, NS - nanos), (eight, NS), (twelve, NS)] {
            let entries = from_msgpack(&packed_trade(&time)).unwrap();
            let entry = &entries[0];
            assert_eq!(entry.kind, "t");
            assert_eq!(entry.symbol.as_deref(), Some("IBM"));
            assert_eq!((entry.price, entry.size), (Some(195.06), Some(100.0)));
            assert_eq!(entry.time, Some(Time(ns)));
            assert_eq!(entry.close, None);
        }
    }

    #[test]
    fn json_is_read_alike() {
        let text = r#"[{"T":"b","S":"SPY","o":388.985,"h":389.13,"l":388.975,"c":389.12,"v":49378,"n":12,"vw":389.0,"t":"2021-02-22T19:15:00.5Z","x":[1,{"y":null}]}]"#;
        let entry = &from_json(text.as_bytes()).unwrap()[0];
        assert_eq!((entry.close, entry.volume), (Some(389.12), Some(49378.0)));
        assert_eq!(entry.time, Some(Time(1_614_021_300_500_000_000)));
    }

    #[test]
    fn what_isnt_a_frame_is_refused() {
        assert!(from_json(b"{}").is_err());
        assert!(from_json(br#"[{"T":"t","t":"yesterday"}]"#).is_err());
        assert!(from_msgpack(b"\xc1").is_err());
        assert!(from_msgpack(&packed_trade(&[0xd6, 5, 0, 0, 0, 0])).is_err());
    }

    #[test]
    fn requests_are_what_the_broker_expects() {
        let symbols = ["IBM".to_owned()];
        let request = Request::Subscribe {
            bars: &symbols,
            quotes: &symbols,
            trades: &[],
        };
        let value = serde_json::to_value(&request).unwrap();
        let wanted =
            serde_json::json!({"action":"subscribe","bars":["IBM"],"quotes":["IBM"],"trades":[]});
        assert_eq!(value, wanted);
        let packed = request.to_msgpack().unwrap();
        let unpacked: serde_json::Value = rmp_serde::from_slice(&packed).unwrap();
        assert_eq!(unpacked, wanted);
    }
}
