//! Recorded prices in memory, and the same as a stream of ticks.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::NaiveDate;
use common::calendar;
use paper_exchange::replay::{Replay, Schedule, Tick};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::features::refused;

/// A folder of recorded prices, read once.
#[pyclass(frozen, module = "signal_bridge")]
pub(crate) struct Recording {
    recording: Arc<paper_exchange::recording::Recording>,
}

impl Recording {
    pub(super) fn inner(&self) -> &Arc<paper_exchange::recording::Recording> {
        &self.recording
    }

    /// The symbols that a run follows, in its order: those that were chosen, or all.
    pub(super) fn names_of(&self, chosen: &[String]) -> Vec<String> {
        let recording = &self.recording;
        let live = recording.ids().filter(|id| recording.is_live(*id));
        live.map(|id| recording.name(id).to_owned())
            .filter(|name| chosen.is_empty() || chosen.contains(name))
            .collect()
    }
}

#[pymethods]
impl Recording {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        let loaded = py.detach(|| paper_exchange::recording::Recording::load(&folder));
        Ok(Self {
            recording: Arc::new(loaded.map_err(refused)?),
        })
    }

    /// Symbols with minute bars, sorted.
    #[getter]
    fn symbols(&self) -> Vec<String> {
        self.names_of(&[])
    }

    /// Days with a regular session, as `2013-10-07`, in order.
    #[getter]
    fn sessions(&self) -> Vec<String> {
        self.recording
            .sessions()
            .iter()
            .map(NaiveDate::to_string)
            .collect()
    }

    /// Minute bars in all.
    #[getter]
    fn bars(&self) -> usize {
        let ids = self.recording.ids();
        ids.map(|id| self.recording.series(id).minutes.len()).sum()
    }
}

fn date(name: &str, text: Option<&str>) -> PyResult<Option<NaiveDate>> {
    text.map(|text| {
        text.parse().map_err(|_| {
            PyValueError::new_err(format!(
                "{name} = {text:?}: a day such as 2013-10-07 is taken"
            ))
        })
    })
    .transpose()
}

/// The recorded sessions as quotes, trades and minute bars in the order of time, once.
#[pyclass(module = "signal_bridge")]
pub(crate) struct Tape {
    replay: Replay,
    names: Vec<Option<Py<PyString>>>,
    end: i64,
}

#[pymethods]
impl Tape {
    #[new]
    #[pyo3(signature = (recording, symbols, start=None, end=None, speed=1.0))]
    fn new(
        py: Python<'_>,
        recording: &Recording,
        symbols: Vec<String>,
        start: Option<&str>,
        end: Option<&str>,
        speed: f64,
    ) -> PyResult<Self> {
        let (start, end) = (date("--from", start)?, date("--to", end)?);
        let inner = recording.inner();
        if let Some(unknown) = symbols.iter().find(|symbol| inner.id(symbol).is_none()) {
            return Err(PyValueError::new_err(format!(
                "symbol {unknown:?} isn't in the recording; it holds {}",
                recording.names_of(&[]).join(", ")
            )));
        }
        let schedule = Schedule::new(Arc::clone(inner), start, end).map_err(refused)?;
        let sessions = inner.sessions();
        let last = sessions
            .iter()
            .rev()
            .find(|date| end.is_none_or(|end| **date <= end))
            .and_then(|date| calendar::session(*date));
        let begins = schedule.start();
        // From the day's first price on, those before the open too.
        let midnight = calendar::midnight(calendar::date_at(begins));
        Ok(Self {
            replay: Replay::new(Arc::new(schedule), midnight, speed),
            names: inner
                .ids()
                .map(|id| {
                    let name = inner.name(id);
                    let wanted = symbols.is_empty() || symbols.iter().any(|symbol| symbol == name);
                    wanted.then(|| PyString::intern(py, name).unbind())
                })
                .collect(),
            end: last.map_or(begins, |session| session.post_close),
        })
    }

    /// When the next tick comes, ns; None at the end.
    #[getter]
    fn next_at(&mut self) -> Option<i64> {
        self.replay.next_tick_at().filter(|at| *at <= self.end)
    }

    /// Everything up to `until`, about `limit` at most; the rest comes with the next call.
    fn take<'py>(
        &mut self,
        py: Python<'py>,
        until: i64,
        limit: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut ticks = Vec::new();
        let until = until.min(self.end);
        while ticks.len() < limit
            && let Some(at) = self.replay.next_tick_at().filter(|at| *at <= until)
        {
            self.replay.advance_to(at, &mut |tick| ticks.push(tick));
        }
        let told = PyList::empty(py);
        for tick in ticks {
            let Some(name) = tick.symbol().and_then(|id| self.names[id.index()].as_ref()) else {
                continue;
            };
            match tick {
                Tick::Quote(quote) => told.append((
                    "quote",
                    name,
                    quote.at,
                    quote.bid.to_f64(),
                    quote.bid_size,
                    quote.ask.to_f64(),
                    quote.ask_size,
                ))?,
                Tick::Trade(trade) => {
                    told.append(("trade", name, trade.at, trade.price.to_f64(), trade.size))?;
                }
                Tick::Bar(bar) => {
                    let prices = (bar.open.to_f64(), bar.high.to_f64(), bar.low.to_f64());
                    told.append((
                        "bar",
                        name,
                        bar.start,
                        prices.0,
                        prices.1,
                        prices.2,
                        bar.close.to_f64(),
                        bar.volume,
                        bar.trade_count,
                        bar.vwap.to_f64(),
                    ))?;
                }
                Tick::Open { .. } | Tick::Close { .. } => {}
            }
        }
        Ok(told)
    }
}
