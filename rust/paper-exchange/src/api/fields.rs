//! Requests taken apart: JSON bodies and query strings, with errors that name the field.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use common::calendar;
use futures_util::StreamExt;
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::error::ApiError;
use super::manners::{LARGEST_BODY, waste};
use crate::core::Nanos;

/// The fields of a JSON object, kept as written: a number is never a float here.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, Box<RawValue>>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, ApiError> {
        let mut chunks = request.into_body().into_data_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(|_| ApiError::body())?);
            if bytes.len() > LARGEST_BODY {
                waste(Body::from_stream(chunks)).await;
                return Err(ApiError::too_large());
            }
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|_| ApiError::body())
    }
}

impl Fields {
    fn raw(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.get())
            .filter(|text| *text != "null")
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        self.raw(name)
            .map(|raw| {
                serde_json::from_str::<String>(raw).map_err(|_| wrong(name, raw, "a string"))
            })
            .transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.raw(name)
            .map(|raw| serde_json::from_str(raw).map_err(|_| wrong(name, raw, "true or false")))
            .transpose()
    }

    /// A number, or a string that is one.
    pub(super) fn decimal(&self, name: &str) -> Result<Option<Decimal>, ApiError> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let text = if raw.starts_with('"') {
            serde_json::from_str::<String>(raw).map_err(|_| wrong(name, raw, "a number"))?
        } else {
            raw.to_owned()
        };
        if text.is_empty() {
            return Ok(None);
        }
        decimal(&text)
            .map(Some)
            .ok_or_else(|| wrong(name, raw, "a number"))
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, ApiError> {
        self.raw(name)
            .map(|raw| {
                serde_json::from_str(raw)
                    .map(Self)
                    .map_err(|_| wrong(name, raw, "an object"))
            })
            .transpose()
    }

    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        self.raw(name)
            .map(|raw| serde_json::from_str(raw).map_err(|_| wrong(name, raw, "a list of strings")))
            .transpose()
    }

    /// One of the words that `from_word` knows.
    pub(super) fn word<T>(
        &self,
        name: &str,
        from_word: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .map(|text| {
                from_word(&text)
                    .ok_or_else(|| ApiError::malformed(format!("invalid {name}: {text}")))
            })
            .transpose()
    }
}

fn wrong(name: &str, raw: &str, wanted: &str) -> ApiError {
    let shown: String = raw.chars().take(80).collect();
    ApiError::malformed(format!("{name} must be {wanted}, not {shown}"))
}

/// A decimal number in plain or scientific notation.
fn decimal(text: &str) -> Option<Decimal> {
    if text.len() > 64 {
        return None;
    }
    Decimal::from_str_exact(text)
        .or_else(|_| Decimal::from_str(text))
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// The query string. A name that comes twice counts as a list.
#[derive(Debug, Default)]
pub struct Params(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::malformed("query string is not valid"))?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            params
                .entry(name)
                .and_modify(|earlier: &mut String| {
                    earlier.push(',');
                    earlier.push_str(&value);
                })
                .or_insert(value);
        }
        Ok(Self(params))
    }
}

impl Params {
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A comma-separated list; empty when the parameter is absent.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        self.text(name)
            .map(|text| {
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default()
    }

    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(ApiError::malformed(format!(
                "{name} must be true or false, not {other}"
            ))),
        }
    }

    pub fn decimal(&self, name: &str) -> Result<Option<Decimal>, ApiError> {
        self.text(name)
            .map(|text| {
                decimal(text).ok_or_else(|| {
                    ApiError::malformed(format!("{name} must be a number, not {text}"))
                })
            })
            .transpose()
    }

    /// A whole number from 1 to `largest`; `default` when absent.
    pub fn count(&self, name: &str, default: usize, largest: usize) -> Result<usize, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        match text.parse::<usize>() {
            Ok(count) if (1..=largest).contains(&count) => Ok(count),
            _ => Err(ApiError::malformed(format!(
                "{name} must be from 1 to {largest}, not {text}"
            ))),
        }
    }

    pub fn uuid(&self, name: &str) -> Result<Option<Uuid>, ApiError> {
        self.text(name)
            .map(|text| {
                Uuid::try_parse(text)
                    .map_err(|_| ApiError::malformed(format!("{name} must be a UUID, not {text}")))
            })
            .transpose()
    }

    /// RFC 3339, or a date, which stands for its first moment in New York.
    pub fn time(&self, name: &str) -> Result<Option<Nanos>, ApiError> {
        self.text(name)
            .map(|text| {
                time(text).ok_or_else(|| {
                    ApiError::malformed(format!(
                        "{name} must be an RFC 3339 time or a date YYYY-MM-DD, not {text}"
                    ))
                })
            })
            .transpose()
    }

    pub fn date(&self, name: &str) -> Result<Option<NaiveDate>, ApiError> {
        Ok(self.time(name)?.map(calendar::date_at))
    }

    pub fn ascending(&self) -> Result<bool, ApiError> {
        match self.text("direction") {
            None | Some("desc") => Ok(false),
            Some("asc") => Ok(true),
            Some(other) => Err(ApiError::malformed(format!(
                "direction must be asc or desc, not {other}"
            ))),
        }
    }
}

/// RFC 3339, the same without an offset (UTC), a date (New York's midnight), or seconds since the epoch.
#[must_use]
pub fn time(text: &str) -> Option<Nanos> {
    // An unescaped + of an offset arrives as a space.
    let repaired = text.replace(' ', "+");
    if let Ok(time) =
        DateTime::parse_from_rfc3339(&repaired).or_else(|_| DateTime::parse_from_rfc3339(text))
    {
        return time.timestamp_nanos_opt();
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(calendar::midnight(date));
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .and_then(|time| time.and_utc().timestamp_nanos_opt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        serde_json::from_str(json).map(Fields).expect("an object")
    }

    #[test]
    fn numbers_are_read_as_written() {
        let body =
            fields(r#"{"a":150.10,"b":"0.123456789","c":1e2,"d":"x","e":true,"f":null,"g":"NaN"}"#);
        let decimal = |name: &str| {
            body.decimal(name)
                .ok()
                .flatten()
                .map(|value| value.to_string())
        };
        assert_eq!(decimal("a").as_deref(), Some("150.10"));
        assert_eq!(decimal("b").as_deref(), Some("0.123456789"));
        assert_eq!(decimal("c").as_deref(), Some("100"));
        assert_eq!(decimal("f"), None);
        for name in ["d", "e", "g"] {
            assert!(body.decimal(name).is_err(), "{name}");
        }
    }

    #[test]
    fn times_are_read_in_every_form_that_clients_send() {
        let nine = 1_381_152_600_000_000_000;
        for text in [
            "2013-10-07T13:30:00Z",
            "2013-10-07T09:30:00-04:00",
            "2013-10-07T15:30:00 02:00",
            "2013-10-07 13:30:00",
        ] {
            assert_eq!(time(text), Some(nine), "{text}");
        }
        assert_eq!(time("2013-10-07"), Some(1_381_118_400_000_000_000));
        assert_eq!(time("yesterday"), None);
    }
}
