//! What is held and what a day may cost.

use std::collections::HashMap;

use common::engine::PositionView;
use common::messages::BarUpdate;
use rust_decimal::Decimal;

/// The 95th percentile of the standard normal distribution.
const Z_95: f64 = 1.644_853_6;
/// Trading minutes of a day: variances of minutes add up to the day's.
const MINUTES: f64 = 390.0;
/// RiskMetrics' weight of the past (J.P. Morgan/Reuters, 1996).
const DECAY: f64 = 0.94;
/// Minutes until a measured volatility is believed.
const WARM: u32 = 30;
/// Standard deviation of a day for a symbol that isn't measured yet.
const UNMEASURED: f64 = 0.02;

/// Exponentially weighted variance of one-minute log returns.
#[derive(Clone, Copy, Debug, Default)]
struct Volatility {
    last: f64,
    variance: f64,
    count: u32,
}

impl Volatility {
    fn observe(&mut self, close: f64) {
        if self.last > 0.0 && close > 0.0 {
            let squared = (close / self.last).ln().powi(2);
            self.variance = if self.count == 0 {
                squared
            } else {
                DECAY * self.variance + (1.0 - DECAY) * squared
            };
            self.count = self.count.saturating_add(1);
        }
        self.last = close;
    }

    /// Standard deviation of a day's return.
    fn of_a_day(&self) -> f64 {
        if self.count < WARM {
            UNMEASURED
        } else {
            (self.variance * MINUTES).sqrt()
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Portfolio {
    positions: Vec<PositionView>,
    prices: HashMap<String, Decimal>,
    volatility: HashMap<String, Volatility>,
}

/// Dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub(crate) gross: Decimal,
    pub(crate) net: Decimal,
    pub(crate) var_95: Decimal,
}

impl Portfolio {
    pub(crate) fn set_positions(&mut self, positions: Vec<PositionView>) {
        self.positions = positions;
    }

    pub(crate) fn count(&self) -> usize {
        self.positions.len()
    }

    /// A price of now.
    pub(crate) fn on_price(&mut self, symbol: &str, price: f64) {
        let Some(price) = Decimal::try_from(price)
            .ok()
            .filter(|price| *price > Decimal::ZERO)
        else {
            return;
        };
        match self.prices.get_mut(symbol) {
            Some(known) => *known = price,
            None => {
                self.prices.insert(symbol.to_owned(), price);
            }
        }
    }

    /// A one-minute bar that has ended.
    pub(crate) fn on_bar(&mut self, bar: &BarUpdate) {
        if bar.timeframe == "1Min" {
            self.volatility
                .entry(bar.symbol.clone())
                .or_default()
                .observe(bar.close);
        }
        self.on_price(&bar.symbol, bar.close);
    }

    /// The value at risk takes every position to lose at the same time: no diversification is
    /// credited, so that it errs on the high side.
    pub(crate) fn exposure(&self) -> Exposure {
        let mut exposure = Exposure::default();
        let mut var = 0.0;
        for position in &self.positions {
            let price = self
                .prices
                .get(&position.symbol)
                .unwrap_or(&position.current_price);
            let value = (position.qty * *price).round_dp(2);
            exposure.net += value;
            exposure.gross += value.abs();
            let volatility = self
                .volatility
                .get(&position.symbol)
                .map_or(UNMEASURED, Volatility::of_a_day);
            var += f64::try_from(value.abs()).unwrap_or_default() * volatility * Z_95;
        }
        exposure.var_95 = Decimal::try_from(var).unwrap_or_default().round_dp(2);
        exposure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(symbol: &str, qty: i64, price: i64) -> PositionView {
        PositionView {
            symbol: symbol.to_owned(),
            qty: qty.into(),
            current_price: price.into(),
            market_value: (qty * price).into(),
        }
    }

    fn bar(close: f64) -> BarUpdate {
        BarUpdate {
            symbol: "IBM".to_owned(),
            open: close,
            high: close,
            low: close,
            close,
            volume: 1.0,
            timestamp: 1,
            trade_count: None,
            vwap: None,
            timeframe: "1Min".to_owned(),
            source: String::new(),
        }
    }

    #[test]
    fn exposure_is_gross_and_net() {
        let mut portfolio = Portfolio::default();
        portfolio.set_positions(vec![position("IBM", 100, 100), position("BAC", -500, 10)]);
        let exposure = portfolio.exposure();
        assert_eq!(
            (exposure.gross, exposure.net),
            (15_000.into(), 5_000.into())
        );
        portfolio.on_price("BAC", 12.0);
        portfolio.on_price("BAC", f64::NAN);
        assert_eq!(portfolio.exposure().net, 4_000.into());
    }

    #[test]
    fn an_unmeasured_symbol_counts_with_two_percent_a_day() {
        let mut portfolio = Portfolio::default();
        portfolio.set_positions(vec![position("IBM", 100, 100)]);
        assert_eq!(portfolio.exposure().var_95, "328.97".parse().unwrap());
        portfolio.set_positions(Vec::new());
        assert_eq!(portfolio.exposure(), Exposure::default());
    }

    #[test]
    fn value_at_risk_follows_the_measured_volatility() {
        let mut portfolio = Portfolio::default();
        portfolio.set_positions(vec![position("IBM", 100, 100)]);
        // A return of ±0.1 % each minute: its variance is 1e-6 whatever the weights are.
        let mut close = 100.0_f64;
        for minute in 0..200 {
            close *= if minute % 2 == 0 {
                0.001_f64.exp()
            } else {
                (-0.001_f64).exp()
            };
            portfolio.on_bar(&bar(close));
        }
        portfolio.on_price("IBM", 100.0);
        let wanted = 10_000.0 * 0.001 * MINUTES.sqrt() * Z_95;
        let var = f64::try_from(portfolio.exposure().var_95).unwrap();
        assert!((var - wanted).abs() < 0.01, "{var} is not {wanted}");
    }

    #[test]
    fn bars_of_other_timeframes_measure_nothing() {
        let mut portfolio = Portfolio::default();
        for close in 1..100 {
            let day = BarUpdate {
                timeframe: "1Day".to_owned(),
                ..bar(f64::from(close))
            };
            portfolio.on_bar(&day);
        }
        portfolio.set_positions(vec![position("IBM", 1, 100)]);
        assert!(portfolio.exposure().var_95 < 10.into());
    }
}
