//! What a run is told.

use chrono::NaiveDate;
use risk_manager::gate::Limits;
use rust_decimal::Decimal;
use serde::Deserialize;

/// The least time from a bar's end until an order made of it can meet a price.
const LEAST_LATENCY_MS: u64 = 1;
const LARGEST_CASH: i64 = 1_000_000_000_000;

/// Settings of one run. Times are market time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is traded; empty is every symbol with minute bars.
    pub symbols: Vec<String>,
    /// First and last session, both included; `None` is no limit.
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    /// Opening cash in dollars.
    pub cash: Decimal,
    /// Of partial fills and ids.
    pub seed: u64,
    pub partial_fills: bool,
    /// Taken from every fill at the market.
    pub slippage_bp: Decimal,
    /// From a bar's end until its orders reach the book; at least 1.
    pub latency_ms: u64,
    /// Buying power per dollar of equity: 1, 2 or 4.
    pub multiplier: u32,
    /// Dollars of a signal of strength 1.
    pub notional_per_signal: Decimal,
    /// Weaker signals to open are left aside.
    pub min_strength: f64,
    /// The `[risk]` section; `None` lets every order through that the exchange takes.
    pub limits: Option<serde_json::Value>,
    /// Bars before `from` that warm the features up, a symbol.
    pub warm_up: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            from: None,
            to: None,
            cash: Decimal::from(100_000),
            seed: 1,
            partial_fills: true,
            slippage_bp: Decimal::ZERO,
            latency_ms: LEAST_LATENCY_MS,
            multiplier: 2,
            notional_per_signal: Decimal::from(10_000),
            min_strength: 0.2,
            limits: Some(serde_json::json!({})),
            warm_up: 2_000,
        }
    }
}

/// A setting that can't be: its value, the rule, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value}: {rule}")]
pub struct SettingsError {
    pub name: &'static str,
    pub value: String,
    pub rule: String,
}

impl Settings {
    /// Checks the ranges and reads the limits.
    ///
    /// # Errors
    /// The first value that can't be.
    pub fn check(&self) -> Result<Option<Limits>, SettingsError> {
        let refuse = |name, value: String, rule: &str| {
            Err(SettingsError {
                name,
                value,
                rule: rule.to_owned(),
            })
        };
        if self.cash <= Decimal::ZERO || self.cash > Decimal::from(LARGEST_CASH) {
            return refuse(
                "cash",
                self.cash.to_string(),
                "above 0 and at most 1e12 dollars are taken",
            );
        }
        if self.slippage_bp < Decimal::ZERO || self.slippage_bp > Decimal::ONE_THOUSAND {
            let value = self.slippage_bp.to_string();
            return refuse("slippage_bp", value, "0 to 1000 basis points are taken");
        }
        if self.latency_ms > 3_600_000 {
            let value = self.latency_ms.to_string();
            return refuse("latency_ms", value, "at most an hour is taken");
        }
        if !matches!(self.multiplier, 1 | 2 | 4) {
            return refuse(
                "multiplier",
                self.multiplier.to_string(),
                "1, 2 or 4 is taken",
            );
        }
        if self.notional_per_signal <= Decimal::ZERO
            || self.notional_per_signal > Decimal::from(LARGEST_CASH)
        {
            let value = self.notional_per_signal.to_string();
            return refuse(
                "notional_per_signal",
                value,
                "above 0 and at most 1e12 dollars are taken",
            );
        }
        if !(0.0..=1.0).contains(&self.min_strength) {
            return refuse(
                "min_strength",
                self.min_strength.to_string(),
                "0 to 1 is taken",
            );
        }
        self.limits
            .as_ref()
            .map(|limits| Limits::from_json(&limits.to_string()))
            .transpose()
            .map_err(|error| SettingsError {
                name: "limits",
                value: "[risk]".to_owned(),
                rule: error,
            })
    }

    /// Nanoseconds from a bar's end until its orders reach the book.
    pub(crate) fn latency(&self) -> i64 {
        i64::try_from(self.latency_ms.max(LEAST_LATENCY_MS)).unwrap_or(i64::MAX / 2) * 1_000_000
    }
}
