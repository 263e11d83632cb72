//! Why a request was not carried out.

use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// Which of Alpaca's classes of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A field is missing or malformed.
    Malformed,
    /// The request is understood and breaks a rule of the market or of the order's state.
    Unprocessable,
    /// Buying power or shares are lacking, or it would trade with itself.
    Forbidden,
    NotFound,
}

/// A refusal with the words and the values that Alpaca would give.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    pub details: Map<String, Value>,
}

impl Refusal {
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Malformed, message)
    }

    #[must_use]
    pub fn rule(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Unprocessable, message)
    }

    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Forbidden, message)
    }

    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn buying_power(available: Decimal, cost: Decimal) -> Self {
        Self::forbidden("insufficient buying power")
            .with("buying_power", text(available.round_dp(2)))
            .with("cost_basis", text(cost.round_dp(2)))
    }

    pub(super) fn quantity(symbol: &str, asked: Decimal, existing: Decimal, held: Decimal) -> Self {
        let available = (existing.abs() - held).max(Decimal::ZERO);
        Self::forbidden(format!(
            "insufficient qty available for order (requested: {}, available: {})",
            text(asked),
            text(available)
        ))
        .with("symbol", symbol)
        .with("existing_qty", text(existing))
        .with("held_for_orders", text(held))
        .with("available", text(available))
    }

    fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: Map::new(),
        }
    }
}

fn text(value: Decimal) -> String {
    value.normalize().to_string()
}
