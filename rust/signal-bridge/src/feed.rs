//! Python's view of the crate `feed`.

use std::time::Duration;

use common::bus::{BusConfig, Security};
use common::service::Failure;
use feed::{Bars, FeedError, Frame, Receiver, SPARK, Settings};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<FeedReceiver>()?;
    m.add_class::<FeedFrame>()?;
    m.add_function(wrap_pyfunction!(check_feed_features, m)?)
}

/// Whether a feed can have these columns; without a feed, for those who read settings.
#[pyfunction]
fn check_feed_features(names: Vec<String>) -> PyResult<()> {
    feed::Columns::new(&names)
        .map(|_| ())
        .map_err(|error| refused(error.into()))
}

fn refused(error: FeedError) -> PyErr {
    match error {
        FeedError::Symbol(..) => PyKeyError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}

fn failed(failure: Failure) -> PyErr {
    PyRuntimeError::new_err(failure.message)
}

#[pyclass(frozen, module = "signal_bridge")]
pub(crate) struct FeedReceiver {
    receiver: Receiver,
}

#[pymethods]
impl FeedReceiver {
    #[new]
    #[pyo3(signature = (
        endpoint, symbols, *, features, history, high_water_mark, stale_after_s,
        topic="market", secret_key=None, server_key=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        endpoint: &str,
        symbols: Vec<String>,
        features: Vec<String>,
        history: usize,
        high_water_mark: u32,
        stale_after_s: f64,
        topic: &str,
        secret_key: Option<String>,
        server_key: Option<String>,
    ) -> PyResult<Self> {
        let security = match (secret_key, server_key) {
            (None, None) => Security::Open,
            (Some(secret_key), Some(server_key)) => Security::Client {
                secret_key,
                server_key,
            },
            _ => {
                return Err(PyValueError::new_err(
                    "secret_key and server_key go together; give both for CURVE, or none",
                ));
            }
        };
        // The same clock as `time.monotonic`, so that ages are differences of like with like.
        let origin: f64 = py.import("time")?.call_method0("monotonic")?.extract()?;
        let settings = Settings {
            symbols,
            features,
            history,
            stale_after_s,
        };
        let bus = BusConfig {
            high_water_mark,
            security,
        };
        let receiver = Receiver::new(endpoint, topic, &settings, bus, origin).map_err(refused)?;
        Ok(Self { receiver })
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.receiver.start()).map_err(failed)
    }

    #[pyo3(signature = (timeout_s=2.0))]
    fn stop(&self, py: Python<'_>, timeout_s: f64) -> PyResult<()> {
        let limit = Duration::try_from_secs_f64(timeout_s).map_err(|_| {
            PyValueError::new_err(format!(
                "timeout_s = {timeout_s}: seconds from 0 up are wanted"
            ))
        })?;
        if py.detach(|| self.receiver.stop(limit)) {
            Ok(())
        } else {
            Err(PyRuntimeError::new_err(format!(
                "the feed's thread didn't end within {timeout_s} s"
            )))
        }
    }

    #[getter]
    fn running(&self) -> bool {
        self.receiver.is_running()
    }

    fn frame(&self, py: Python<'_>, now: f64) -> PyResult<FeedFrame> {
        FeedFrame::new(py, py.detach(|| self.receiver.frame(now)))
    }

    fn bars<'py>(&self, py: Python<'py>, symbol: &str) -> PyResult<Bound<'py, PyTuple>> {
        let bars = py.detach(|| self.receiver.bars(symbol)).map_err(refused)?;
        (
            PyArray1::from_vec(py, bars.timestamps),
            PyArray1::from_vec(py, bars.open),
            PyArray1::from_vec(py, bars.high),
            PyArray1::from_vec(py, bars.low),
            PyArray1::from_vec(py, bars.close),
            PyArray1::from_vec(py, bars.volume),
        )
            .into_pyobject(py)
    }

    #[allow(clippy::too_many_arguments)]
    fn seed(
        &self,
        py: Python<'_>,
        symbol: &str,
        timestamps: PyReadonlyArray1<'_, i64>,
        open: PyReadonlyArray1<'_, f64>,
        high: PyReadonlyArray1<'_, f64>,
        low: PyReadonlyArray1<'_, f64>,
        close: PyReadonlyArray1<'_, f64>,
        volume: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        let bars = Bars {
            timestamps: timestamps.as_array().to_vec(),
            open: open.as_array().to_vec(),
            high: high.as_array().to_vec(),
            low: low.as_array().to_vec(),
            close: close.as_array().to_vec(),
            volume: volume.as_array().to_vec(),
        };
        py.detach(|| self.receiver.seed(symbol, &bars))
            .map_err(refused)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, reconnects) = py.detach(|| self.receiver.stats());
        let counts = PyDict::new(py);
        for (name, count) in [
            ("received", stats.received),
            ("bars", stats.bars),
            ("quotes", stats.quotes),
            ("trades", stats.trades),
            ("heartbeats", stats.heartbeats),
            ("ignored", stats.ignored),
            ("late", stats.late),
            ("malformed", stats.malformed),
            ("gaps", stats.gaps),
            ("restarts", stats.restarts),
            ("reconnects", reconnects),
            ("bytes", stats.bytes),
        ] {
            counts.set_item(name, count)?;
        }
        Ok(counts)
    }
}

type Column = Py<PyArray1<f64>>;
type Table = Py<PyArray2<f64>>;

#[pyclass(frozen, get_all, module = "signal_bridge")]
pub(crate) struct FeedFrame {
    number: u64,
    symbols: Py<PyTuple>,
    feature_names: Py<PyTuple>,
    versions: Py<PyArray1<u64>>,
    last: Column,
    bid: Column,
    ask: Column,
    bid_size: Column,
    ask_size: Column,
    day_open: Column,
    day_high: Column,
    day_low: Column,
    day_volume: Column,
    previous_close: Column,
    quote_at: Column,
    last_at: Column,
    market_at: Column,
    features: Table,
    sparks: Table,
    received: u64,
    gaps: u64,
    malformed: u64,
    rate: f64,
    message_at: f64,
    state: &'static str,
}

fn column(py: Python<'_>, values: Vec<f64>) -> Column {
    let array = PyArray1::from_vec(py, values);
    array.readwrite().make_nonwriteable();
    array.unbind()
}

fn table(py: Python<'_>, values: Vec<f64>, rows: usize, columns: usize) -> PyResult<Table> {
    let array = PyArray1::from_vec(py, values).reshape([rows, columns])?;
    array.readwrite().make_nonwriteable();
    Ok(array.unbind())
}

impl FeedFrame {
    fn new(py: Python<'_>, frame: Frame) -> PyResult<Self> {
        let rows = frame.symbols.len();
        let width = frame.feature_names.len();
        Ok(Self {
            number: frame.number,
            symbols: PyTuple::new(py, frame.symbols.iter())?.unbind(),
            feature_names: PyTuple::new(py, frame.feature_names.iter())?.unbind(),
            versions: {
                let versions = PyArray1::from_vec(py, frame.versions);
                versions.readwrite().make_nonwriteable();
                versions.unbind()
            },
            last: column(py, frame.last),
            bid: column(py, frame.bid),
            ask: column(py, frame.ask),
            bid_size: column(py, frame.bid_size),
            ask_size: column(py, frame.ask_size),
            day_open: column(py, frame.day_open),
            day_high: column(py, frame.day_high),
            day_low: column(py, frame.day_low),
            day_volume: column(py, frame.day_volume),
            previous_close: column(py, frame.previous_close),
            quote_at: column(py, frame.quote_at),
            last_at: column(py, frame.last_at),
            market_at: column(py, frame.market_at),
            features: table(py, frame.features, rows, width)?,
            sparks: table(py, frame.sparks, rows, SPARK)?,
            received: frame.received,
            gaps: frame.gaps,
            malformed: frame.malformed,
            rate: frame.rate,
            message_at: frame.message_at,
            state: frame.state.as_str(),
        })
    }
}

#[pymethods]
impl FeedFrame {
    /// Which symbols changed since another frame of the same receiver; all, without one.
    #[pyo3(signature = (other))]
    fn changed_since<'py>(
        &self,
        py: Python<'py>,
        other: Option<&Self>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let versions = self.versions.bind(py).readonly();
        let versions = versions.as_slice()?;
        let changed = match other {
            Some(other) if other.symbols.bind(py).eq(self.symbols.bind(py))? => {
                let earlier = other.versions.bind(py).readonly();
                versions
                    .iter()
                    .zip(earlier.as_slice()?)
                    .map(|(now, then)| now != then)
                    .collect()
            }
            _ => vec![true; versions.len()],
        };
        Ok(PyArray1::from_vec(py, changed))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!(
            "FeedFrame(number={}, symbols={}, state={:?})",
            self.number,
            self.symbols.bind(py),
            self.state
        )
    }
}
