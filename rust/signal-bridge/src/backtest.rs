//! A strategy in Python on recorded prices, and the values that it is told.

mod python_strategy;
mod recording;
mod values;

use std::convert::Infallible;

use backtest::strategies::EmaCross;
use backtest::{BacktestError, FillRow, OrderRow, Outcome, Settings, Strategy};
use numpy::PyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use serde::de::DeserializeOwned;

use crate::features::refused;
use python_strategy::PythonStrategy;
use recording::{Recording, Tape};
use values::{Fill, PyPortfolio, Quote, SessionBar};

/// Strategies that are written in Rust, by name.
const NATIVE: [&str; 1] = ["ema_cross"];

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SessionBar>()?;
    m.add_class::<Quote>()?;
    m.add_class::<Fill>()?;
    m.add_class::<PyPortfolio>()?;
    m.add_class::<Recording>()?;
    m.add_class::<Tape>()?;
    m.add_class::<Rows>()?;
    m.add("NATIVE_STRATEGIES", NATIVE)?;
    m.add_function(wrap_pyfunction!(check_features, m)?)?;
    m.add_function(wrap_pyfunction!(run_backtest, m)?)?;
    m.add_function(wrap_pyfunction!(run_native_backtest, m)?)
}

/// How many bars it takes until all of these have a value.
#[pyfunction]
fn check_features(names: Vec<String>) -> PyResult<usize> {
    if names.is_empty() {
        return Ok(0);
    }
    features::Plan::new(&names).map_err(refused)?;
    let needed = names
        .iter()
        .filter_map(|name| name.parse::<features::Feature>().ok())
        .map(|feature| feature.first_valid() + 1);
    Ok(needed.max().unwrap_or(0))
}

fn read<T: DeserializeOwned>(what: &str, text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| PyValueError::new_err(format!("{what}: {error}")))
}

#[pyfunction]
#[pyo3(signature = (recording, settings, features, on_bar, row, on_quote=None, on_fill=None))]
#[allow(clippy::too_many_arguments)]
fn run_backtest<'py>(
    py: Python<'py>,
    recording: &Recording,
    settings: &str,
    features: Vec<String>,
    on_bar: Bound<'py, PyAny>,
    row: Bound<'py, PyAny>,
    on_quote: Option<Bound<'py, PyAny>>,
    on_fill: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let settings: Settings = read("settings of the backtest", settings)?;
    let names = recording.names_of(&settings.symbols);
    let mut strategy = PythonStrategy::new(py, names, on_bar, row, on_quote, on_fill)?;
    let mut interrupted = None;
    let outcome = backtest::run(
        recording.inner(),
        &settings,
        &features,
        &mut strategy,
        &mut || match py.check_signals() {
            Ok(()) => true,
            Err(error) => {
                interrupted = Some(error);
                false
            }
        },
    );
    match outcome {
        Ok(outcome) => told(py, outcome),
        Err(_) if interrupted.is_some() => Err(interrupted.take().unwrap_or_else(|| refused(""))),
        Err(BacktestError::Strategy(error)) => Err(error),
        Err(error) => Err(refused(error)),
    }
}

#[pyfunction]
fn run_native_backtest<'py>(
    py: Python<'py>,
    recording: &Recording,
    settings: &str,
    name: &str,
    parameters: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let settings: Settings = read("settings of the backtest", settings)?;
    let outcome = match name {
        "ema_cross" => {
            let strategy: EmaCross = read("parameters of ema_cross", parameters)?;
            let features = strategy.features();
            native(py, recording, &settings, &features, strategy)?
        }
        other => {
            return Err(PyValueError::new_err(format!(
                "no strategy {other:?} is written in Rust; there is {}",
                NATIVE.join(", ")
            )));
        }
    };
    told(py, outcome)
}

fn native<S: Strategy<Error = Infallible> + Send>(
    py: Python<'_>,
    recording: &Recording,
    settings: &Settings,
    features: &[String],
    mut strategy: S,
) -> PyResult<Outcome> {
    let recording = recording.inner();
    let mut interrupted = None;
    let outcome = py.detach(|| {
        backtest::run(
            recording,
            settings,
            features,
            &mut strategy,
            &mut || match Python::attach(|py| py.check_signals()) {
                Ok(()) => true,
                Err(error) => {
                    interrupted = Some(error);
                    false
                }
            },
        )
    });
    outcome.map_err(|error| interrupted.unwrap_or_else(|| refused(error)))
}

/// Orders and fills of a run; Python's own objects are made of them when somebody wants to see them.
#[pyclass(frozen, name = "BacktestRows", module = "signal_bridge")]
struct Rows {
    names: Vec<Py<PyString>>,
    orders: Vec<OrderRow>,
    fills: Vec<FillRow>,
}

#[pymethods]
impl Rows {
    fn orders<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let orders = PyList::empty(py);
        for order in &self.orders {
            orders.append((
                order.at,
                &order.client_order_id,
                &self.names[order.symbol],
                order.side.word(),
                order.qty,
                order.bid,
                order.ask,
            ))?;
        }
        Ok(orders)
    }

    fn fills<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let fills = PyList::empty(py);
        for fill in &self.fills {
            fills.append((
                fill.at,
                fill.order,
                &self.names[fill.symbol],
                fill.side.word(),
                fill.qty,
                fill.price,
                fill.position,
            ))?;
        }
        Ok(fills)
    }
}

fn told(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyDict>> {
    let told = PyDict::new(py);
    let names: Vec<_> = outcome
        .symbols
        .iter()
        .map(|name| PyString::intern(py, name))
        .collect();
    told.set_item("hash", outcome.journal.hash())?;
    told.set_item("sessions", outcome.sessions)?;
    told.set_item("bars", outcome.bars)?;
    told.set_item("shown", outcome.shown)?;
    told.set_item("signals", outcome.signals)?;
    told.set_item("idle_signals", outcome.idle_signals)?;
    told.set_item("halted", outcome.halted)?;
    told.set_item("cash", outcome.cash)?;
    told.set_item("curve_at", PyArray1::from_vec(py, outcome.curve.at))?;
    told.set_item("curve_equity", PyArray1::from_vec(py, outcome.curve.equity))?;
    told.set_item("curve_gross", PyArray1::from_vec(py, outcome.curve.gross))?;
    told.set_item("closes", outcome.closes)?;
    told.set_item("positions", outcome.positions)?;
    let refusals = PyList::empty(py);
    for refusal in outcome.refusals {
        refusals.append((
            refusal.at,
            &names[refusal.symbol],
            refusal.check,
            refusal.why,
        ))?;
    }
    told.set_item("refusals", refusals)?;
    let rows = Rows {
        names: names.iter().map(|name| name.clone().unbind()).collect(),
        orders: outcome.orders,
        fills: outcome.fills,
    };
    told.set_item("rows", Bound::new(py, rows)?)?;
    told.set_item("symbols", names)?;
    told.set_item("journal", outcome.journal.into_text())?;
    Ok(told)
}
