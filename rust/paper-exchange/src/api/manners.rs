//! What holds for every answer: it is in Alpaca's form and has an id, whatever was sent.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

use super::error::ApiError;

/// The largest body that is read.
pub(super) const LARGEST_BODY: usize = 1 << 20;
/// So much of a larger one is taken and thrown away, so that its sender comes to read the refusal.
const LARGEST_WASTE: usize = 64 << 20;
const WASTE_LIMIT: Duration = Duration::from_secs(10);
const HEADERS: usize = 100;
const LONGEST_MESSAGE: usize = 4096;

/// Refuses what no handler is to see, and puts every refusal into Alpaca's words.
pub async fn keep(request: Request, next: Next) -> Response {
    let answer = match refused(&request) {
        Some(refusal) => {
            waste(request.into_body()).await;
            refusal.into_response()
        }
        None => next.run(request).await,
    };
    let mut answer = if is_foreign(&answer) {
        translated(answer).await
    } else {
        answer
    };
    let id = Uuid::new_v4().simple().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert("x-request-id", id);
    }
    answer
}

fn refused(request: &Request) -> Option<ApiError> {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LARGEST_BODY as u64) {
        return Some(ApiError::too_large());
    }
    if request.headers().len() > HEADERS {
        return Some(ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            43_110_000,
            format!("request has more than {HEADERS} headers"),
        ));
    }
    (!is_readable(request.uri().path())).then(|| ApiError::not_found("endpoint not found."))
}

/// Whether the path, its escapes undone, is text.
fn is_readable(path: &str) -> bool {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| std::str::from_utf8(after.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0'))
}

/// Reads a body to its end for nothing.
pub(super) async fn waste(body: Body) {
    let mut chunks = body.into_data_stream();
    let reading = async {
        let mut left = LARGEST_WASTE;
        while let Some(Ok(chunk)) = chunks.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = timeout(WASTE_LIMIT, reading).await;
}

/// A refusal that the framework wrote, not the exchange.
fn is_foreign(answer: &Response) -> bool {
    let status = answer.status();
    let is_json = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    (status.is_client_error() || status.is_server_error()) && !is_json
}

async fn translated(answer: Response) -> Response {
    let status = answer.status();
    let text = to_bytes(answer.into_body(), LONGEST_MESSAGE).await;
    let message = text
        .ok()
        .and_then(|text| String::from_utf8(text.to_vec()).ok())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| {
            status
                .canonical_reason()
                .unwrap_or("refused")
                .to_lowercase()
        });
    let code = u32::from(status.as_u16()) * 100_000 + 10_000;
    ApiError::new(status, code, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_readable_when_its_escapes_make_text() {
        for path in [
            "/v2/assets/IBM",
            "/v2/assets/BRK%2FB",
            "/%C3%A4",
            "/100%",
            "/%zz",
        ] {
            assert!(is_readable(path), "{path}");
        }
        for path in ["/v2/assets/%FF", "/%C3%28", "/v2/orders/%00"] {
            assert!(!is_readable(path), "{path}");
        }
    }
}
