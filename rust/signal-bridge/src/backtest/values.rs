//! What a strategy in Python is told: a bar, a quote, a fill, the portfolio.

use std::collections::HashMap;

use backtest::Portfolio;
use common::calendar::{self, MINUTE};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// A finished minute bar, and where in its session it lies.
#[pyclass(frozen, module = "signal_bridge")]
pub(crate) struct SessionBar {
    #[pyo3(get)]
    pub(super) symbol: Py<PyString>,
    #[pyo3(get)]
    pub(super) open: f64,
    #[pyo3(get)]
    pub(super) high: f64,
    #[pyo3(get)]
    pub(super) low: f64,
    #[pyo3(get)]
    pub(super) close: f64,
    #[pyo3(get)]
    pub(super) volume: f64,
    #[pyo3(get)]
    pub(super) timestamp: i64,
    #[pyo3(get)]
    pub(super) end: i64,
    #[pyo3(get)]
    pub(super) minute: i32,
    #[pyo3(get)]
    pub(super) minutes_left: i32,
    #[pyo3(get)]
    pub(super) is_regular: bool,
}

#[pymethods]
impl SessionBar {
    #[new]
    fn new(
        symbol: &Bound<'_, PyString>,
        open: f64,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
        timestamp: i64,
    ) -> PyResult<Self> {
        let end = timestamp + MINUTE;
        let session = calendar::session(calendar::date_at(timestamp));
        let place = session.map(|session| {
            let minute = (timestamp - session.open).div_euclid(MINUTE);
            let left = (session.close - end).div_euclid(MINUTE);
            let regular = session.open < end && end <= session.close;
            (minute as i32, left as i32, regular)
        });
        let (minute, minutes_left, is_regular) = place.unwrap_or((-1, -1, false));
        Ok(Self {
            symbol: PyString::intern(symbol.py(), symbol.to_str()?).unbind(),
            open,
            high,
            low,
            close,
            volume,
            timestamp,
            end,
            minute,
            minutes_left,
            is_regular,
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "SessionBar({}, open={}, high={}, low={}, close={}, volume={}, timestamp={}, minute={})",
            self.symbol.bind(py).repr()?,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.timestamp,
            self.minute
        ))
    }
}

/// A new best bid and offer.
#[pyclass(frozen, module = "signal_bridge")]
pub(crate) struct Quote {
    #[pyo3(get)]
    pub(super) symbol: Py<PyString>,
    #[pyo3(get)]
    pub(super) bid: f64,
    #[pyo3(get)]
    pub(super) ask: f64,
    #[pyo3(get)]
    pub(super) bid_size: f64,
    #[pyo3(get)]
    pub(super) ask_size: f64,
    #[pyo3(get)]
    pub(super) timestamp: i64,
}

#[pymethods]
impl Quote {
    #[new]
    fn new(
        symbol: Py<PyString>,
        bid: f64,
        ask: f64,
        bid_size: f64,
        ask_size: f64,
        timestamp: i64,
    ) -> Self {
        Self {
            symbol,
            bid,
            ask,
            bid_size,
            ask_size,
            timestamp,
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let symbol = self.symbol.bind(py).repr()?;
        Ok(format!(
            "Quote({symbol}, bid={}, ask={}, timestamp={})",
            self.bid, self.ask, self.timestamp
        ))
    }
}

/// An execution of one's own.
#[pyclass(frozen, module = "signal_bridge")]
pub(crate) struct Fill {
    #[pyo3(get)]
    pub(super) symbol: Py<PyString>,
    #[pyo3(get)]
    pub(super) side: Py<PyString>,
    #[pyo3(get)]
    pub(super) qty: f64,
    #[pyo3(get)]
    pub(super) price: f64,
    #[pyo3(get)]
    pub(super) timestamp: i64,
}

#[pymethods]
impl Fill {
    #[new]
    fn new(symbol: Py<PyString>, side: Py<PyString>, qty: f64, price: f64, timestamp: i64) -> Self {
        Self {
            symbol,
            side,
            qty,
            price,
            timestamp,
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Fill({}, {}, qty={}, price={}, timestamp={})",
            self.symbol.bind(py).repr()?,
            self.side.bind(py).repr()?,
            self.qty,
            self.price,
            self.timestamp
        ))
    }
}

/// Cash, holdings and what they are worth.
#[pyclass(name = "Portfolio", module = "signal_bridge")]
pub(crate) struct PyPortfolio {
    pub(super) portfolio: Portfolio,
    names: Vec<Py<PyString>>,
    numbers: HashMap<String, usize>,
}

impl PyPortfolio {
    pub(super) fn of(py: Python<'_>, names: &[String], cash: f64) -> Self {
        Self {
            portfolio: Portfolio::new(names.len(), cash),
            names: names
                .iter()
                .map(|name| PyString::intern(py, name).unbind())
                .collect(),
            numbers: names
                .iter()
                .enumerate()
                .map(|(number, name)| (name.clone(), number))
                .collect(),
        }
    }

    fn number(&self, symbol: &str) -> PyResult<usize> {
        self.numbers.get(symbol).copied().ok_or_else(|| {
            let mut known: Vec<&str> = self.numbers.keys().map(String::as_str).collect();
            known.sort_unstable();
            PyKeyError::new_err(format!(
                "symbol {symbol:?} isn't followed; the strategy has {}",
                known.join(", ")
            ))
        })
    }
}

#[pymethods]
impl PyPortfolio {
    #[new]
    #[pyo3(signature = (symbols, cash=0.0))]
    fn new(py: Python<'_>, symbols: Vec<String>, cash: f64) -> Self {
        Self::of(py, &symbols, cash)
    }

    #[getter]
    fn cash(&self) -> f64 {
        self.portfolio.cash()
    }

    #[getter]
    fn equity(&self) -> f64 {
        self.portfolio.equity()
    }

    #[getter]
    fn gross(&self) -> f64 {
        self.portfolio.gross()
    }

    #[getter]
    fn symbols(&self, py: Python<'_>) -> Vec<Py<PyString>> {
        self.names.iter().map(|name| name.clone_ref(py)).collect()
    }

    /// By symbol, what is held now.
    #[getter]
    fn positions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let positions = PyDict::new(py);
        for (name, holding) in self.names.iter().zip(self.portfolio.holdings()) {
            if holding.qty != 0.0 {
                positions.set_item(name, holding.qty)?;
            }
        }
        Ok(positions)
    }

    fn qty(&self, symbol: &str) -> PyResult<f64> {
        Ok(self.portfolio.qty(self.number(symbol)?))
    }

    fn avg_price(&self, symbol: &str) -> PyResult<f64> {
        Ok(self.portfolio.holdings()[self.number(symbol)?].avg_price)
    }

    fn price(&self, symbol: &str) -> PyResult<f64> {
        Ok(self.portfolio.holdings()[self.number(symbol)?].price)
    }

    fn mark(&mut self, symbol: &str, price: f64) -> PyResult<()> {
        let number = self.number(symbol)?;
        self.portfolio.mark(number, price);
        Ok(())
    }

    fn hold(&mut self, symbol: &str, qty: f64, avg_price: f64) -> PyResult<()> {
        let number = self.number(symbol)?;
        self.portfolio.hold(number, qty, avg_price);
        Ok(())
    }

    fn set_account(&mut self, cash: f64, equity: f64) {
        self.portfolio.set_cash(cash);
        self.portfolio.reckon();
        self.portfolio.set_equity(equity);
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Portfolio(equity={:.2}, cash={:.2}, positions={})",
            self.portfolio.equity(),
            self.portfolio.cash(),
            self.positions(py)?.repr()?
        ))
    }
}
