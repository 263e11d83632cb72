use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};

/// The `[risk]` section of the configuration, and when a quote is too old.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    #[serde(deserialize_with = "exact")]
    pub max_order_qty: Decimal,
    #[serde(deserialize_with = "exact")]
    pub max_order_notional: Decimal,
    #[serde(deserialize_with = "exact")]
    pub max_position_notional: Decimal,
    #[serde(deserialize_with = "exact")]
    pub max_gross_exposure_pct: Decimal,
    pub max_open_orders: usize,
    pub max_orders_per_minute: usize,
    pub duplicate_window_s: f64,
    #[serde(deserialize_with = "exact")]
    pub price_collar_pct: Decimal,
    #[serde(deserialize_with = "exact")]
    pub max_daily_loss_pct: Decimal,
    #[serde(deserialize_with = "exact")]
    pub max_drawdown_pct: Decimal,
    pub allow_short: bool,
    pub allowed_symbols: Vec<String>,
    pub blocked_symbols: Vec<String>,
    pub symbols: BTreeMap<String, SymbolLimits>,
    pub quote_stale_s: f64,
}

/// What one symbol has of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SymbolLimits {
    #[serde(deserialize_with = "maybe_exact")]
    pub max_order_qty: Option<Decimal>,
    #[serde(deserialize_with = "maybe_exact")]
    pub max_order_notional: Option<Decimal>,
    #[serde(deserialize_with = "maybe_exact")]
    pub max_position_notional: Option<Decimal>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_order_qty: Decimal::from(10_000),
            max_order_notional: Decimal::from(50_000),
            max_position_notional: Decimal::from(100_000),
            max_gross_exposure_pct: Decimal::from(200),
            max_open_orders: 100,
            max_orders_per_minute: 120,
            duplicate_window_s: 2.0,
            price_collar_pct: Decimal::from(5),
            max_daily_loss_pct: Decimal::from(5),
            max_drawdown_pct: Decimal::from(10),
            allow_short: true,
            allowed_symbols: Vec::new(),
            blocked_symbols: Vec::new(),
            symbols: BTreeMap::new(),
            quote_stale_s: 15.0,
        }
    }
}

impl Limits {
    /// Read them from JSON; amounts are numbers or text.
    ///
    /// # Errors
    /// An unknown key or a value that can't be: the text names it.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let limits: Self =
            serde_json::from_str(text).map_err(|error| format!("limits of [risk]: {error}"))?;
        for (name, value) in [
            ("max_order_qty", limits.max_order_qty),
            ("max_order_notional", limits.max_order_notional),
            ("max_position_notional", limits.max_position_notional),
            ("max_gross_exposure_pct", limits.max_gross_exposure_pct),
            ("price_collar_pct", limits.price_collar_pct),
            ("max_daily_loss_pct", limits.max_daily_loss_pct),
            ("max_drawdown_pct", limits.max_drawdown_pct),
        ] {
            if value <= Decimal::ZERO {
                return Err(format!("risk.{name} = {value}: it must be above 0"));
            }
        }
        for (name, seconds) in [
            ("risk.duplicate_window_s", limits.duplicate_window_s),
            ("feed.quote_stale_s", limits.quote_stale_s),
        ] {
            if !(0.0..=86_400.0).contains(&seconds) {
                return Err(format!("{name} = {seconds}: 0 to 86400 seconds are taken"));
            }
        }
        Ok(limits)
    }

    pub(super) fn order_qty(&self, symbol: &str) -> Decimal {
        self.of(symbol, |own| own.max_order_qty, self.max_order_qty)
    }

    pub(super) fn order_notional(&self, symbol: &str) -> Decimal {
        self.of(
            symbol,
            |own| own.max_order_notional,
            self.max_order_notional,
        )
    }

    pub(super) fn position_notional(&self, symbol: &str) -> Decimal {
        self.of(
            symbol,
            |own| own.max_position_notional,
            self.max_position_notional,
        )
    }

    fn of(
        &self,
        symbol: &str,
        own: impl Fn(&SymbolLimits) -> Option<Decimal>,
        general: Decimal,
    ) -> Decimal {
        self.symbols.get(symbol).and_then(own).unwrap_or(general)
    }
}

/// A decimal out of a JSON number or text, as it is written: 0.1 is a tenth.
pub(crate) fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    maybe_exact(deserializer)?.ok_or_else(|| serde::de::Error::custom("a number is wanted"))
}

fn maybe_exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let text = match &value {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => text.clone(),
        other => return Err(serde::de::Error::custom(format!("{other} is no number"))),
    };
    text.parse()
        .or_else(|_| Decimal::from_scientific(&text))
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is no number")))
}
