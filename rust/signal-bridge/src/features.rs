//! Python's view of the crate `features`.

mod arrays;
mod bar;

use std::collections::HashMap;
use std::sync::Arc;

use features::{Columns, Computer, Layout, Plan, STANDARD, SymbolId};

use numpy::{PyArray1, PyArray2, PyArray3, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyString, PyTuple};

pub(crate) use arrays::series;
use arrays::{grid, unfit, writable};
use bar::PyBar;

/// More threads than any machine has for it would only cost memory.
const MAX_THREADS: usize = 256;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyBar>()?;
    m.add_class::<FeatureComputer>()?;
    m.add("STANDARD_FEATURES", PyTuple::new(m.py(), STANDARD)?)
}

pub(crate) fn refused(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Symbols by the address of their interned string, kept alive beside it.
#[derive(Default)]
struct Known {
    last: (usize, Option<SymbolId>),
    ids: HashMap<usize, (Py<PyString>, SymbolId)>,
}

#[pyclass(subclass, module = "signal_bridge")]
pub(crate) struct FeatureComputer {
    computer: Computer,
    known: Known,
    keys: Vec<Py<PyString>>,
    /// A dict with all keys in place: copying it is cheaper than making one key by key.
    template: Py<PyDict>,
    numbers: Vec<f64>,
}

impl FeatureComputer {
    #[inline(always)]
    fn id(&mut self, symbol: &Bound<'_, PyString>) -> PyResult<SymbolId> {
        let address = symbol.as_ptr() as usize;
        if let (last, Some(id)) = self.known.last
            && last == address
        {
            return Ok(id);
        }
        self.look_up(symbol, address)
    }

    #[inline(never)]
    fn look_up(&mut self, symbol: &Bound<'_, PyString>, address: usize) -> PyResult<SymbolId> {
        let id = match self.known.ids.get(&address) {
            Some((_, id)) => *id,
            None => {
                let id = self.computer.symbol(symbol.to_str()?);
                self.known
                    .ids
                    .insert(address, (symbol.clone().unbind(), id));
                id
            }
        };
        self.known.last = (address, Some(id));
        Ok(id)
    }

    fn plan(&self) -> &Arc<Plan> {
        self.computer.plan()
    }
}

#[pymethods]
impl FeatureComputer {
    #[new]
    #[pyo3(signature = (names=None))]
    fn new(py: Python<'_>, names: Option<Vec<String>>) -> PyResult<Self> {
        let plan = match names {
            None => Plan::standard(),
            Some(names) => Plan::new(&names).map_err(refused)?,
        };
        let keys: Vec<_> = plan
            .names()
            .iter()
            .map(|name| PyString::intern(py, name).unbind())
            .collect();
        let template = PyDict::new(py);
        for key in &keys {
            template.set_item(key, f64::NAN)?;
        }
        Ok(Self {
            numbers: vec![f64::NAN; plan.width()],
            computer: Computer::new(plan),
            known: Known::default(),
            keys,
            template: template.unbind(),
        })
    }

    #[getter]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.keys)
    }

    #[getter]
    fn symbols<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let mut symbols: Vec<_> = self.computer.symbols().collect();
        symbols.sort_unstable();
        PyTuple::new(py, symbols)
    }

    fn bars_seen(&self, symbol: &str) -> usize {
        self.computer.bars(symbol)
    }

    fn compute_streaming<'py>(
        &mut self,
        py: Python<'py>,
        bar: &Bound<'py, PyBar>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let bar = bar.get();
        let id = self.id(bar.symbol.bind(py))?;
        self.computer
            .update(id, &bar.bar, &mut self.numbers)
            .map_err(refused)?;
        let numbers = self.template.bind(py).copy()?;
        for (key, value) in self.keys.iter().zip(&self.numbers) {
            numbers.set_item(key, PyFloat::new(py, *value))?;
        }
        Ok(numbers)
    }

    fn update_into(
        &mut self,
        py: Python<'_>,
        bar: &Bound<'_, PyBar>,
        out: &Bound<'_, PyArray1<f64>>,
    ) -> PyResult<()> {
        let bar = bar.get();
        let id = self.id(bar.symbol.bind(py))?;
        let width = self.numbers.len();
        let writable = writable(out);
        if !(writable && out.len() == width && out.is_c_contiguous() && out.is_aligned()) {
            return Err(unfit(out, width));
        }
        // SAFETY: the checks above make it `width` aligned, adjacent and writable floats; the GIL
        // is held throughout, so Python code can't touch the array meanwhile. rust-numpy's own
        // borrow flags would say the same at half the price of the whole call.
        let numbers = unsafe { std::slice::from_raw_parts_mut(out.data(), width) };
        self.computer.update(id, &bar.bar, numbers).map_err(refused)
    }

    /// One bar each of many symbols, in row order, into `out[bar, feature]`.
    fn update_many(
        &mut self,
        py: Python<'_>,
        bars: Vec<Bound<'_, PyBar>>,
        out: &Bound<'_, PyArray2<f64>>,
    ) -> PyResult<()> {
        let width = self.numbers.len();
        if out.shape() != [bars.len(), width] {
            return Err(PyValueError::new_err(format!(
                "out has the shape {:?}; ({}, {width}) is wanted: a row a bar, a column a feature",
                out.shape(),
                bars.len()
            )));
        }
        let mut rows = out.try_readwrite().map_err(refused)?;
        let rows = rows.as_slice_mut().map_err(|_| {
            PyValueError::new_err(
                "out isn't contiguous; np.empty((bars, features)) makes one that is",
            )
        })?;
        for bar in &bars {
            bar.get().bar.check().map_err(refused)?;
        }
        for (bar, row) in bars.iter().zip(rows.chunks_exact_mut(width)) {
            let bar = bar.get();
            let id = self.id(bar.symbol.bind(py))?;
            self.computer.update(id, &bar.bar, row).map_err(refused)?;
        }
        Ok(())
    }

    #[pyo3(signature = (open, high, low, close, volume, out=None))]
    #[allow(clippy::too_many_arguments)]
    fn compute_batch<'py>(
        slf: &Bound<'py, Self>,
        open: &Bound<'py, PyAny>,
        high: &Bound<'py, PyAny>,
        low: &Bound<'py, PyAny>,
        close: &Bound<'py, PyAny>,
        volume: &Bound<'py, PyAny>,
        out: Option<Bound<'py, PyArray2<f64>>>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let py = slf.py();
        let plan = Arc::clone(slf.borrow().plan());
        let (open, high) = (series(open, "open")?, series(high, "high")?);
        let (low, close) = (series(low, "low")?, series(close, "close")?);
        let volume = series(volume, "volume")?;
        let columns = Columns {
            high: high.as_slice()?,
            low: low.as_slice()?,
            close: close.as_slice()?,
            volume: volume.as_slice()?,
        };
        let bars = columns.len();
        if open.len() != bars {
            return Err(refused(features::BatchError::Length {
                field: "open",
                found: open.len(),
                expected: bars,
            }));
        }
        let shape = [plan.width(), bars];
        let out = match out {
            Some(out) if out.shape() == shape => out,
            Some(out) => {
                return Err(PyValueError::new_err(format!(
                    "out has the shape {:?}; ({}, {bars}) is wanted: a row a feature, a column a bar",
                    out.shape(),
                    plan.width()
                )));
            }
            // Zeroed by the system, page by page, as it is written.
            None => PyArray2::zeros(py, shape, false),
        };
        {
            let mut numbers = out.try_readwrite().map_err(refused)?;
            let numbers = numbers.as_slice_mut().map_err(|_| {
                PyValueError::new_err(
                    "out isn't contiguous; np.empty((features, bars)) makes one that is",
                )
            })?;
            py.detach(|| features::compute(&plan, &columns, numbers))
                .map_err(refused)?;
        }
        Ok(out)
    }

    #[pyo3(signature = (
        open, high, low, close, volume, out=None, *, layout="symbol_bar", threads=1
    ))]
    #[allow(clippy::too_many_arguments)]
    fn compute_many<'py>(
        slf: &Bound<'py, Self>,
        open: &Bound<'py, PyAny>,
        high: &Bound<'py, PyAny>,
        low: &Bound<'py, PyAny>,
        close: &Bound<'py, PyAny>,
        volume: &Bound<'py, PyAny>,
        out: Option<Bound<'py, PyArray3<f64>>>,
        layout: &str,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let py = slf.py();
        let plan = Arc::clone(slf.borrow().plan());
        let layout = match layout {
            "symbol_bar" => Layout::SymbolBar,
            "bar_symbol" => Layout::BarSymbol,
            other => {
                return Err(PyValueError::new_err(format!(
                    "layout {other:?} isn't known; it is \"symbol_bar\" or \"bar_symbol\""
                )));
            }
        };
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(PyValueError::new_err(format!(
                "threads = {threads}; 1 to {MAX_THREADS} can be used"
            )));
        }
        let close = grid(close, "close", None)?;
        let shape = [close.shape()[0], close.shape()[1]];
        grid(open, "open", Some(shape))?;
        let high = grid(high, "high", Some(shape))?;
        let low = grid(low, "low", Some(shape))?;
        let volume = grid(volume, "volume", Some(shape))?;
        let (symbols, bars) = match layout {
            Layout::SymbolBar => (shape[0], shape[1]),
            Layout::BarSymbol => (shape[1], shape[0]),
        };
        let wanted = [symbols, plan.width(), bars];
        let out = match out {
            Some(out) if out.shape() == wanted => out,
            Some(out) => {
                return Err(PyValueError::new_err(format!(
                    "out has the shape {:?}; {wanted:?} is wanted: symbols, features, bars",
                    out.shape(),
                )));
            }
            None => PyArray3::zeros(py, wanted, false),
        };
        let columns = Columns {
            high: high.as_slice()?,
            low: low.as_slice()?,
            close: close.as_slice()?,
            volume: volume.as_slice()?,
        };
        {
            let mut numbers = out.try_readwrite().map_err(refused)?;
            let numbers = numbers.as_slice_mut().map_err(|_| {
                PyValueError::new_err(format!(
                    "out isn't contiguous; np.empty({wanted:?}) makes one that is"
                ))
            })?;
            py.detach(|| {
                features::compute_many(&plan, &columns, symbols, layout, threads, numbers)
            })
            .map_err(refused)?;
        }
        Ok(out)
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.computer.snapshot())
    }

    fn restore(&mut self, snapshot: &[u8]) -> PyResult<()> {
        self.computer.restore(snapshot).map_err(refused)
    }

    #[pyo3(signature = (symbol=None))]
    fn reset(&mut self, symbol: Option<&str>) {
        self.computer.reset(symbol);
    }

    fn __repr__(&self) -> String {
        format!(
            "FeatureComputer({} features, {} symbols)",
            self.numbers.len(),
            self.computer.symbols().count()
        )
    }
}
