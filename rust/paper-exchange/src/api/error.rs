//! Refusals in Alpaca's form.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::manners::LARGEST_BODY;
use crate::core::{Refusal, RefusalKind};

/// An answer that refuses.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    /// Alpaca's own number; refused credentials have none.
    pub code: Option<u32>,
    pub message: String,
    pub details: Map<String, Value>,
}

impl ApiError {
    #[must_use]
    pub fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            code: Some(code),
            message: message.into(),
            details: Map::new(),
        }
    }

    /// A field that is missing or malformed.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 40_010_001, message)
    }

    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, 40_410_000, message)
    }

    /// A body that is no JSON object.
    #[must_use]
    pub fn body() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            40_010_000,
            "request body format is invalid",
        )
    }

    #[must_use]
    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            41_310_000,
            format!("request body is larger than {LARGEST_BODY} bytes"),
        )
    }

    /// No credentials.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: None,
            message: "unauthorized.".to_owned(),
            details: Map::new(),
        }
    }

    /// Credentials that are not right.
    #[must_use]
    pub fn forbidden() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: None,
            message: "forbidden.".to_owned(),
            details: Map::new(),
        }
    }

    #[must_use]
    pub fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            42_910_000,
            "too many requests.",
        )
    }

    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            50_010_000,
            "internal server error occurred",
        )
    }

    /// The JSON that a client reads.
    #[must_use]
    pub fn body_json(&self) -> Value {
        let mut body = self.details.clone();
        if let Some(code) = self.code {
            body.insert("code".to_owned(), json!(code));
        }
        body.insert("message".to_owned(), json!(self.message));
        Value::Object(body)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal.kind {
            RefusalKind::Malformed => (StatusCode::UNPROCESSABLE_ENTITY, 40_010_001),
            RefusalKind::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, 42_210_000),
            RefusalKind::Forbidden => (StatusCode::FORBIDDEN, 40_310_000),
            RefusalKind::NotFound => (StatusCode::NOT_FOUND, 40_410_000),
        };
        Self {
            status,
            code: Some(code),
            message: refusal.message,
            details: refusal.details,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body_json())).into_response()
    }
}

/// For a path or a method that the API doesn't have.
pub async fn endpoint_not_found() -> ApiError {
    ApiError::not_found("endpoint not found.")
}
