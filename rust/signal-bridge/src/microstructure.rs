//! Python's view of `features::micro`.

use features::micro::{
    Market, MicroSettings, QUOTE_FEATURES, Quote, QuoteColumns, TRADE_FEATURES, Trade,
    TradeColumns, compute,
};
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::features::{refused, series};

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Microstructure>()?;
    m.add("QUOTE_FEATURES", PyTuple::new(m.py(), QUOTE_FEATURES)?)?;
    m.add("TRADE_FEATURES", PyTuple::new(m.py(), TRADE_FEATURES)?)
}

type Table<'py> = Bound<'py, PyArray2<f64>>;

#[pyclass(module = "signal_bridge")]
pub(crate) struct Microstructure {
    settings: MicroSettings,
    market: Market,
}

fn finite(fields: &[(&str, f64)]) -> PyResult<()> {
    match fields.iter().find(|(_, value)| !value.is_finite()) {
        Some((name, value)) => Err(PyValueError::new_err(format!(
            "{name} is {value}; a finite number is wanted"
        ))),
        None => Ok(()),
    }
}

fn mapping<'py>(py: Python<'py>, names: &[&str], numbers: &[f64]) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    for (name, number) in names.iter().zip(numbers) {
        values.set_item(pyo3::types::PyString::intern(py, name), number)?;
    }
    Ok(values)
}

#[pymethods]
impl Microstructure {
    #[new]
    #[pyo3(signature = (
        *, window=50, bucket_volume=10_000.0, buckets=50, delay_s=5.0, decay_s=60.0
    ))]
    fn new(
        window: usize,
        bucket_volume: f64,
        buckets: usize,
        delay_s: f64,
        decay_s: f64,
    ) -> PyResult<Self> {
        let settings = MicroSettings {
            window,
            bucket_volume,
            buckets,
            delay_s,
            decay_s,
        };
        let market = Market::new(settings).map_err(refused)?;
        Ok(Self { settings, market })
    }

    fn update_quote<'py>(
        &mut self,
        py: Python<'py>,
        bid: f64,
        bid_size: f64,
        ask: f64,
        ask_size: f64,
        timestamp: i64,
    ) -> PyResult<Bound<'py, PyDict>> {
        finite(&[
            ("bid", bid),
            ("bid_size", bid_size),
            ("ask", ask),
            ("ask_size", ask_size),
        ])?;
        let numbers = self.market.quote(
            Quote {
                bid,
                bid_size,
                ask,
                ask_size,
            },
            timestamp,
        );
        mapping(py, &QUOTE_FEATURES, numbers)
    }

    fn update_trade<'py>(
        &mut self,
        py: Python<'py>,
        price: f64,
        size: f64,
        timestamp: i64,
    ) -> PyResult<Bound<'py, PyDict>> {
        finite(&[("price", price), ("size", size)])?;
        let numbers = self.market.trade(Trade {
            price,
            size,
            timestamp,
        });
        mapping(py, &TRADE_FEATURES, numbers)
    }

    /// The newest numbers of quotes and trades by name.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let values = mapping(py, &QUOTE_FEATURES, &self.market.quote_numbers)?;
        values.update(mapping(py, &TRADE_FEATURES, &self.market.trade_numbers)?.as_mapping())?;
        Ok(values)
    }

    fn reset(&mut self) -> PyResult<()> {
        self.market = Market::new(self.settings).map_err(refused)?;
        Ok(())
    }

    #[pyo3(signature = (
        quote_timestamps, bid, bid_size, ask, ask_size, trade_timestamps, price, size
    ))]
    #[allow(clippy::too_many_arguments)]
    fn compute_batch<'py>(
        slf: &Bound<'py, Self>,
        quote_timestamps: PyReadonlyArray1<'py, i64>,
        bid: &Bound<'py, PyAny>,
        bid_size: &Bound<'py, PyAny>,
        ask: &Bound<'py, PyAny>,
        ask_size: &Bound<'py, PyAny>,
        trade_timestamps: PyReadonlyArray1<'py, i64>,
        price: &Bound<'py, PyAny>,
        size: &Bound<'py, PyAny>,
    ) -> PyResult<(Table<'py>, Table<'py>)> {
        let py = slf.py();
        let settings = slf.borrow().settings;
        let (bid, bid_size) = (series(bid, "bid")?, series(bid_size, "bid_size")?);
        let (ask, ask_size) = (series(ask, "ask")?, series(ask_size, "ask_size")?);
        let (price, size) = (series(price, "price")?, series(size, "size")?);
        let quotes = QuoteColumns {
            timestamp: quote_timestamps.as_slice()?,
            bid: bid.as_slice()?,
            bid_size: bid_size.as_slice()?,
            ask: ask.as_slice()?,
            ask_size: ask_size.as_slice()?,
        };
        let trades = TradeColumns {
            timestamp: trade_timestamps.as_slice()?,
            price: price.as_slice()?,
            size: size.as_slice()?,
        };
        let of_quotes = PyArray2::zeros(py, [QUOTE_FEATURES.len(), quotes.timestamp.len()], false);
        let of_trades = PyArray2::zeros(py, [TRADE_FEATURES.len(), trades.timestamp.len()], false);
        {
            let (mut rows, mut others) = (of_quotes.readwrite(), of_trades.readwrite());
            let (rows, others) = (rows.as_slice_mut()?, others.as_slice_mut()?);
            py.detach(|| compute(settings, &quotes, &trades, rows, others))
                .map_err(refused)?;
        }
        Ok((of_quotes, of_trades))
    }
}
