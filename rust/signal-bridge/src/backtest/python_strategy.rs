//! A Python object as a strategy: its methods are called with values that are made once or are cheap to make.

use std::collections::HashMap;

use backtest::{Bar, Direction, Fill, Portfolio, Quote, Side, Signal, Strategy};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyString, PyTuple};

use super::values;
use super::values::{PyPortfolio, SessionBar};

pub(super) struct PythonStrategy<'py> {
    py: Python<'py>,
    names: Vec<Py<PyString>>,
    numbers: HashMap<String, usize>,
    portfolio: Bound<'py, PyPortfolio>,
    on_bar: Bound<'py, PyAny>,
    /// Makes the row of features out of a tuple.
    row: Bound<'py, PyAny>,
    on_quote: Option<Bound<'py, PyAny>>,
    on_fill: Option<Bound<'py, PyAny>>,
    shown: Option<u64>,
}

impl<'py> PythonStrategy<'py> {
    pub(super) fn new(
        py: Python<'py>,
        names: Vec<String>,
        on_bar: Bound<'py, PyAny>,
        row: Bound<'py, PyAny>,
        on_quote: Option<Bound<'py, PyAny>>,
        on_fill: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            py,
            portfolio: Bound::new(py, PyPortfolio::of(py, &names, 0.0))?,
            numbers: names
                .iter()
                .enumerate()
                .map(|(number, name)| (name.clone(), number))
                .collect(),
            names: names
                .iter()
                .map(|name| PyString::intern(py, name).unbind())
                .collect(),
            on_bar,
            row,
            on_quote,
            on_fill,
            shown: None,
        })
    }

    /// Brings what Python sees of the portfolio up to date.
    fn show(&mut self, portfolio: &Portfolio) -> PyResult<()> {
        if self.shown != Some(portfolio.stamp()) {
            let mut shown = self.portfolio.try_borrow_mut()?;
            shown.portfolio.clone_from(portfolio);
            self.shown = Some(portfolio.stamp());
        }
        Ok(())
    }

    fn hear(&self, answer: &Bound<'py, PyAny>, signals: &mut Vec<Signal>) -> PyResult<()> {
        if answer.is_none() {
            return Ok(());
        }
        if answer.hasattr(intern!(self.py, "direction"))? {
            signals.push(self.signal(answer)?);
            return Ok(());
        }
        let Ok(several) = answer.try_iter() else {
            return Err(no_signal(answer));
        };
        for signal in several {
            let signal = signal?;
            if !signal.hasattr(intern!(self.py, "direction"))? {
                return Err(no_signal(answer));
            }
            signals.push(self.signal(&signal)?);
        }
        Ok(())
    }

    fn signal(&self, signal: &Bound<'py, PyAny>) -> PyResult<Signal> {
        let py = self.py;
        let symbol = signal.getattr(intern!(py, "symbol"))?;
        let symbol = symbol.extract::<&str>()?;
        let Some(&symbol) = self.numbers.get(symbol) else {
            let mut known: Vec<&str> = self.numbers.keys().map(String::as_str).collect();
            known.sort_unstable();
            return Err(PyValueError::new_err(format!(
                "signal for {symbol:?}: this run follows {}; name it among --symbols",
                known.join(", ")
            )));
        };
        let direction = signal.getattr(intern!(py, "direction"))?;
        let direction = match direction.extract::<&str>()? {
            "long" => Direction::Long,
            "short" => Direction::Short,
            "flat" => Direction::Flat,
            other => {
                return Err(PyValueError::new_err(format!(
                    "signal with direction {other:?}: long, short or flat is taken"
                )));
            }
        };
        let strength: f64 = signal.getattr(intern!(py, "strength"))?.extract()?;
        if !(0.0..=1.0).contains(&strength) {
            return Err(PyValueError::new_err(format!(
                "signal with strength {strength}: 0 to 1 is taken"
            )));
        }
        Ok(Signal {
            symbol,
            direction,
            strength,
        })
    }

    /// Says in the traceback where it happened.
    fn noted(&self, error: PyErr, what: &str, symbol: usize, at: i64) -> PyErr {
        let name = &self.names[symbol];
        let note = format!("while the strategy was told of a {what} of {name} at {at} ns");
        let _ = error.value(self.py).call_method1("add_note", (note,));
        error
    }

    fn bar(
        &mut self,
        bar: &Bar,
        features: &[f64],
        portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> PyResult<()> {
        let py = self.py;
        self.show(portfolio)?;
        let told = SessionBar {
            symbol: self.names[bar.symbol].clone_ref(py),
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: bar.volume,
            timestamp: bar.start,
            end: bar.end,
            minute: bar.minute,
            minutes_left: bar.minutes_left,
            is_regular: true,
        };
        let numbers = PyTuple::new(py, features.iter().map(|number| PyFloat::new(py, *number)))?;
        let row = self.row.call1((numbers,))?;
        let answer = self
            .on_bar
            .call1((Bound::new(py, told)?, row, &self.portfolio))?;
        self.hear(&answer, signals)
    }
}

#[cold]
fn no_signal(answer: &Bound<'_, PyAny>) -> PyErr {
    let kind = answer.get_type().name();
    let kind = kind.map_or_else(|_| "something".to_owned(), |kind| kind.to_string());
    PyTypeError::new_err(format!(
        "a strategy answered with {kind}; None, a Signal or several of them are taken"
    ))
}

impl Strategy for PythonStrategy<'_> {
    type Error = PyErr;

    fn on_bar(
        &mut self,
        bar: &Bar,
        features: &[f64],
        portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> PyResult<()> {
        self.bar(bar, features, portfolio, signals)
            .map_err(|error| self.noted(error, "bar", bar.symbol, bar.start))
    }

    fn wants_quotes(&self) -> bool {
        self.on_quote.is_some()
    }

    fn on_quote(
        &mut self,
        quote: &Quote,
        portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> PyResult<()> {
        let Some(on_quote) = self.on_quote.clone() else {
            return Ok(());
        };
        self.show(portfolio)?;
        let told = values::Quote {
            symbol: self.names[quote.symbol].clone_ref(self.py),
            bid: quote.bid,
            ask: quote.ask,
            bid_size: quote.bid_size,
            ask_size: quote.ask_size,
            timestamp: quote.at,
        };
        Bound::new(self.py, told)
            .and_then(|told| on_quote.call1((told, &self.portfolio)))
            .and_then(|answer| self.hear(&answer, signals))
            .map_err(|error| self.noted(error, "quote", quote.symbol, quote.at))
    }

    fn on_fill(
        &mut self,
        fill: &Fill,
        portfolio: &Portfolio,
        signals: &mut Vec<Signal>,
    ) -> PyResult<()> {
        let Some(on_fill) = self.on_fill.clone() else {
            return Ok(());
        };
        self.show(portfolio)?;
        let side = match fill.side {
            Side::Buy => intern!(self.py, "buy"),
            Side::Sell => intern!(self.py, "sell"),
        };
        let told = values::Fill {
            symbol: self.names[fill.symbol].clone_ref(self.py),
            side: side.clone().unbind(),
            qty: fill.qty,
            price: fill.price,
            timestamp: fill.at,
        };
        Bound::new(self.py, told)
            .and_then(|told| on_fill.call1((told, &self.portfolio)))
            .and_then(|answer| self.hear(&answer, signals))
            .map_err(|error| self.noted(error, "fill", fill.symbol, fill.at))
    }
}
