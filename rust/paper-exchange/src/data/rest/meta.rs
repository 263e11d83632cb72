//! Codes and what they stand for.

use axum::Json;
use axum::extract::{Path, Query};
use serde_json::{Value, json};

use super::query::{Fields, Refused};

pub(super) async fn exchanges() -> Json<Value> {
    Json(json!({
        "A": "NYSE American (AMEX)",
        "B": "NASDAQ OMX BX",
        "C": "National Stock Exchange",
        "D": "FINRA ADF",
        "E": "Market Independent",
        "H": "MIAX",
        "I": "International Securities Exchange",
        "J": "Cboe EDGA",
        "K": "Cboe EDGX",
        "L": "Long Term Stock Exchange",
        "M": "Chicago Stock Exchange",
        "N": "New York Stock Exchange",
        "P": "NYSE Arca",
        "Q": "NASDAQ OMX",
        "S": "NASDAQ Small Cap",
        "T": "NASDAQ Int",
        "U": "Members Exchange",
        "V": "IEX",
        "W": "CBOE",
        "X": "NASDAQ OMX PSX",
        "Y": "Cboe BYX",
        "Z": "Cboe BZX",
    }))
}

/// The conditions that the exchange's own quotes and trades carry.
pub(super) async fn conditions(
    Path(ticktype): Path<String>,
    Query(fields): Query<Fields>,
) -> Result<Json<Value>, Refused> {
    let tape = fields.get("tape").map(String::as_str).unwrap_or_default();
    if !matches!(tape, "A" | "B" | "C") {
        return Err(Refused::invalid(format!(
            "invalid tape: {tape} is none of A, B, C"
        )));
    }
    let regular = if tape == "C" { "@" } else { " " };
    match ticktype.as_str() {
        "trade" => Ok(Json(json!({
            regular: "Regular Sale",
            "6": "Closing Prints",
            "O": "Opening Prints",
            "T": "Form T",
        }))),
        "quote" => Ok(Json(json!({"R": "Regular, Two-Sided Open"}))),
        other => Err(Refused::invalid(format!(
            "invalid ticktype: {other} is neither trade nor quote"
        ))),
    }
}
