//! The pre-trade gate, for the engine's own thread: decimals in, a verdict out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use risk_manager::gate::{Account, Gate, Limits, OpenOrder, Order, Refusal, Verdict};
use rust_decimal::Decimal;

use crate::decimal::Exact;

/// Amounts beyond this overflow when they are multiplied; nothing real is so large.
const LARGEST: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

fn parsed<T: std::str::FromStr<Err = String>>(name: &str, text: &str) -> PyResult<T> {
    text.parse()
        .map_err(|error| PyValueError::new_err(format!("{name} = {error}")))
}

fn sane(name: &str, Exact(value): Exact) -> PyResult<Decimal> {
    if value.abs() <= LARGEST {
        Ok(value)
    } else {
        Err(PyValueError::new_err(format!(
            "{name} = {value}: at most {LARGEST} is taken"
        )))
    }
}

/// Judges every order before it is sent; see `rust/risk-manager/src/gate.rs`.
#[pyclass(module = "signal_bridge", frozen)]
pub(crate) struct RiskGate {
    gate: Mutex<Gate>,
}

impl RiskGate {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limits_from(text: &str) -> PyResult<Limits> {
    Limits::from_json(text).map_err(PyValueError::new_err)
}

#[pymethods]
impl RiskGate {
    #[new]
    fn new(limits: &str) -> PyResult<Self> {
        Ok(Self {
            gate: Mutex::new(Gate::new(limits_from(limits)?)),
        })
    }

    fn set_limits(&self, limits: &str) -> PyResult<()> {
        let limits = limits_from(limits)?;
        self.gate().set_limits(limits);
        Ok(())
    }

    fn set_trading_state(&self, state: &str, reason: &str) -> PyResult<()> {
        let state = serde_json::from_value(serde_json::Value::from(state)).map_err(|_| {
            PyValueError::new_err(format!(
                "state = {state:?} is none of ACTIVE, REDUCING, HALTED"
            ))
        })?;
        self.gate().set_trading_state(state, reason);
        Ok(())
    }

    fn set_session(&self, is_open: bool) {
        self.gate().set_session(is_open);
    }

    fn set_account(
        &self,
        equity: Exact,
        last_equity: Exact,
        cash: Exact,
        buying_power: Exact,
        multiplier: Exact,
    ) -> PyResult<()> {
        let account = Account {
            equity: sane("equity", equity)?,
            last_equity: sane("last_equity", last_equity)?,
            cash: sane("cash", cash)?,
            buying_power: sane("buying_power", buying_power)?,
            multiplier: sane("multiplier", multiplier)?,
        };
        self.gate().set_account(account);
        Ok(())
    }

    fn set_position(&self, symbol: &str, qty: Exact, price: Exact) -> PyResult<()> {
        let (qty, price) = (sane("qty", qty)?, sane("price", price)?);
        self.gate().set_position(symbol, qty, price);
        Ok(())
    }

    /// Sides that are 0 or NaN are missing; `at` in monotonic seconds.
    fn set_quote(&self, symbol: &str, bid: f64, ask: f64, last: f64, at: f64) {
        self.gate().set_quote(symbol, bid, ask, last, at);
    }

    #[pyo3(signature = (client_order_id, symbol, side, open_qty, price, in_doubt, order_type = "limit"))]
    #[expect(
        clippy::too_many_arguments,
        reason = "flat arguments are cheap to pass from Python"
    )]
    fn set_order(
        &self,
        client_order_id: &str,
        symbol: &str,
        side: &str,
        open_qty: Exact,
        price: Option<Exact>,
        in_doubt: bool,
        order_type: &str,
    ) -> PyResult<()> {
        let order = OpenOrder {
            side: parsed("side", side)?,
            open_qty: sane("open_qty", open_qty)?,
            price: price.map(|price| sane("price", price)).transpose()?,
            order_type: parsed("order_type", order_type)?,
            in_doubt,
        };
        self.gate().set_order(client_order_id, symbol, order);
        Ok(())
    }

    fn remove_order(&self, client_order_id: &str) {
        self.gate().remove_order(client_order_id);
    }

    fn count_fill(
        &self,
        client_order_id: &str,
        symbol: &str,
        side: &str,
        qty: Exact,
        price: Exact,
    ) -> PyResult<()> {
        let (side, qty, price) = (
            parsed("side", side)?,
            sane("qty", qty)?,
            sane("price", price)?,
        );
        self.gate()
            .count_fill(client_order_id, symbol, side, qty, price);
        Ok(())
    }

    /// Dollars at risk in all, open orders and those in doubt counted as filled.
    #[getter]
    fn gross_exposure(&self) -> Decimal {
        self.gate().gross_exposure()
    }

    #[pyo3(signature = (
        symbol, side, qty, order_type, limit_price = None, stop_price = None, *, now, tif = "day",
        extended_hours = false, reduce_only = false, stop_loss = None, take_profit = None,
        source = "", record = true,
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "flat arguments are cheap to pass from Python"
    )]
    fn check(
        &self,
        symbol: &str,
        side: &str,
        qty: Exact,
        order_type: &str,
        limit_price: Option<Exact>,
        stop_price: Option<Exact>,
        now: f64,
        tif: &str,
        extended_hours: bool,
        reduce_only: bool,
        stop_loss: Option<Exact>,
        take_profit: Option<Exact>,
        source: &str,
        record: bool,
    ) -> PyResult<RiskVerdict> {
        // Whoever asks is judged alike; the source is there for the log of the caller.
        let _ = source;
        let order = Order {
            symbol: symbol.to_owned(),
            side: parsed("side", side)?,
            qty: qty.0,
            order_type: parsed("order_type", order_type)?,
            limit_price: limit_price.map(|price| price.0),
            stop_price: stop_price.map(|price| price.0),
            time_in_force: parsed("tif", tif)?,
            extended_hours,
            reduce_only,
            stop_loss: stop_loss.map(|price| price.0),
            take_profit: take_profit.map(|price| price.0),
        };
        Ok(RiskVerdict {
            verdict: self.gate().check(&order, now, record),
        })
    }
}

type Told<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn told(refusals: &[Refusal]) -> Vec<Told<'_>> {
    refusals
        .iter()
        .map(|refusal| {
            (
                refusal.check,
                refusal.limit.as_str(),
                refusal.value.as_str(),
                refusal.message.as_str(),
                refusal.remedy.as_str(),
            )
        })
        .collect()
}

/// What the gate says of one order.
#[pyclass(module = "signal_bridge", frozen)]
pub(crate) struct RiskVerdict {
    verdict: Verdict,
}

#[pymethods]
impl RiskVerdict {
    #[getter]
    fn allowed(&self) -> bool {
        self.verdict.allowed()
    }

    /// (check, limit, value, message, remedy) of each refusal.
    #[getter]
    fn refusals(&self) -> Vec<Told<'_>> {
        told(&self.verdict.refusals)
    }

    /// As `refusals`, of what is worth a word and no reason to refuse.
    #[getter]
    fn warnings(&self) -> Vec<Told<'_>> {
        told(&self.verdict.warnings)
    }

    #[getter]
    fn checks_run(&self) -> u32 {
        self.verdict.checks_run
    }

    #[getter]
    fn price(&self) -> Option<Decimal> {
        self.verdict.price
    }

    #[getter]
    fn qty(&self) -> Decimal {
        self.verdict.qty
    }

    #[getter]
    fn notional(&self) -> Option<Decimal> {
        self.verdict.notional
    }

    #[getter]
    fn equity_pct(&self) -> Option<Decimal> {
        self.verdict.equity_pct
    }

    #[getter]
    fn buying_power_after(&self) -> Option<Decimal> {
        self.verdict.buying_power_after
    }

    #[getter]
    fn spread_cost(&self) -> Option<Decimal> {
        self.verdict.spread_cost
    }

    #[getter]
    fn loss_at_stop(&self) -> Option<Decimal> {
        self.verdict.loss_at_stop
    }

    #[getter]
    fn max_qty(&self) -> Option<Decimal> {
        self.verdict.max_qty
    }

    fn __repr__(&self) -> String {
        match self.verdict.refusals.first() {
            None => format!("<RiskVerdict allowed, {} checks>", self.verdict.checks_run),
            Some(refusal) => format!(
                "<RiskVerdict refused by {}: {}>",
                refusal.check, refusal.message
            ),
        }
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<RiskGate>()?;
    m.add_class::<RiskVerdict>()
}
