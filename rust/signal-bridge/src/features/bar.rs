//! One bar, as Python has it.

use pyo3::prelude::*;
use pyo3::types::PyString;

#[pyclass(frozen, name = "Bar", module = "signal_bridge")]
pub(crate) struct PyBar {
    pub(super) symbol: Py<PyString>,
    pub(super) bar: features::Bar,
    timestamp: i64,
}

#[pymethods]
impl PyBar {
    #[new]
    #[pyo3(signature = (symbol, open, high, low, close, volume, timestamp))]
    fn new(
        symbol: &Bound<'_, PyString>,
        open: f64,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
        timestamp: i64,
    ) -> PyResult<Self> {
        // Interned, so that the computer knows a symbol by its address.
        let symbol = PyString::intern(symbol.py(), symbol.to_str()?).unbind();
        Ok(Self {
            symbol,
            bar: features::Bar {
                open,
                high,
                low,
                close,
                volume,
            },
            timestamp,
        })
    }

    #[getter]
    fn symbol(&self, py: Python<'_>) -> Py<PyString> {
        self.symbol.clone_ref(py)
    }

    #[getter]
    fn open(&self) -> f64 {
        self.bar.open
    }

    #[getter]
    fn high(&self) -> f64 {
        self.bar.high
    }

    #[getter]
    fn low(&self) -> f64 {
        self.bar.low
    }

    #[getter]
    fn close(&self) -> f64 {
        self.bar.close
    }

    #[getter]
    fn volume(&self) -> f64 {
        self.bar.volume
    }

    #[getter]
    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let Ok(other) = other.cast::<Self>() else {
            return false;
        };
        let other = other.get();
        self.timestamp == other.timestamp && self.bar == other.bar && self.symbol.is(&other.symbol)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (self.symbol.bind(py), self.timestamp, self.bar.close)
            .into_pyobject(py)?
            .hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let features::Bar {
            open,
            high,
            low,
            close,
            volume,
        } = self.bar;
        Ok(format!(
            "Bar({}, open={open}, high={high}, low={low}, close={close}, volume={volume}, timestamp={})",
            self.symbol.bind(py).repr()?,
            self.timestamp
        ))
    }
}
