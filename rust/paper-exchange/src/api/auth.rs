//! Who is asking.
//!
//! A key id that begins with `PK` is an account of its own, opened when it is first used; the secret of
//! that first use is the right one from then on. Only its hash is kept.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::limit;
use crate::server::Shared;

const LONGEST: usize = 128;

/// A key id and its secret. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub key_id: String,
    pub secret_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The account that a request acts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub account: usize,
}

impl Credentials {
    #[must_use]
    pub fn new(key_id: &str, secret_key: &str) -> Self {
        Self {
            key_id: key_id.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }

    /// From Alpaca's two headers, or from HTTP basic authentication.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let (Some(key_id), Some(secret_key)) =
            (text("APCA-API-KEY-ID"), text("APCA-API-SECRET-KEY"))
        {
            return Some(Self::new(key_id, secret_key));
        }
        let basic = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let encoded = basic
            .strip_prefix("Basic ")
            .or_else(|| basic.strip_prefix("basic "))?;
        let decoded = String::from_utf8(base64(encoded.trim())?).ok()?;
        let (key_id, secret_key) = decoded.split_once(':')?;
        Some(Self::new(key_id, secret_key))
    }

    /// Whether they could be those of an account at all.
    #[must_use]
    pub fn are_plausible(&self) -> bool {
        self.key_id.starts_with("PK")
            && self.key_id.len() <= LONGEST
            && self
                .key_id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !self.secret_key.is_empty()
            && self.secret_key.len() <= LONGEST
    }

    /// What is kept of the secret.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.key_id.as_bytes());
        hash.update([0]);
        hash.update(self.secret_key.as_bytes());
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Whether the two hashes are the same, in a time that doesn't tell where they differ.
#[must_use]
pub fn same_hash(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for character in text.trim_end_matches('=').bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// Lets a request through that has the right keys and is within its limit. Handlers find its
/// [`Identity`] among the extensions.
pub async fn require(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(credentials) = Credentials::from_headers(request.headers()) else {
        return ApiError::unauthorized().into_response();
    };
    let identity = match shared.authenticate(&credentials).await {
        Ok(identity) => identity,
        Err(error) => return error.into_response(),
    };
    let allowance = shared.limiter.take(identity.account);
    if allowance.is_some_and(|allowance| allowance.refused) {
        return limit::stamped(ApiError::too_many_requests().into_response(), allowance);
    }
    request.extensions_mut().insert(identity);
    limit::stamped(next.run(request).await, allowance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_authentication_is_understood() {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            "Basic UEtERU1POmRlbW8=".parse().expect("a header"),
        );
        assert_eq!(
            Credentials::from_headers(&headers),
            Some(Credentials::new("PKDEMO", "demo"))
        );
        headers.insert(AUTHORIZATION, "Basic ?!".parse().expect("a header"));
        assert_eq!(Credentials::from_headers(&headers), None);
    }

    #[test]
    fn keys_that_are_no_paper_keys_are_refused() {
        for (key, secret) in [
            ("AKLIVE", "x"),
            ("", "x"),
            ("PKDEMO", ""),
            ("PK DEMO", "x"),
            ("pkdemo", "x"),
        ] {
            assert!(
                !Credentials::new(key, secret).are_plausible(),
                "{key}:{secret}"
            );
        }
        assert!(Credentials::new("PKDEMO", "demo").are_plausible());
    }

    #[test]
    fn credentials_are_never_shown() {
        assert!(!format!("{:?}", Credentials::new("PKDEMO", "demo")).contains("demo"));
    }
}
