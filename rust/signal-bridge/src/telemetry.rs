//! The embedded services' log, for Python to take.

use std::time::Duration;

use common::telemetry::capture;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

type Line = (&'static str, String, String, Vec<(&'static str, String)>);

/// Keep the services' log lines of `level` and above, for `take_log`; may be called again.
#[pyfunction]
fn start_log(level: &str) -> PyResult<()> {
    let level = match level {
        "debug" => "debug",
        "info" => "info",
        "warning" => "warn",
        "error" => "error",
        other => {
            return Err(PyValueError::new_err(format!(
                "level = {other:?} is none of debug, info, warning, error"
            )));
        }
    };
    let level = level
        .parse()
        .map_err(|_| PyValueError::new_err("level is none of tracing's"))?;
    capture::start(level);
    Ok(())
}

/// The lines that came, oldest first, as (level, source, message, [(name, value)]), and how many
/// were dropped; waits for one for `timeout_s` at most.
#[pyfunction]
#[pyo3(signature = (*, timeout_s))]
fn take_log(py: Python<'_>, timeout_s: f64) -> PyResult<(Vec<Line>, u64)> {
    let limit = Duration::try_from_secs_f64(timeout_s).map_err(|_| {
        PyValueError::new_err(format!(
            "timeout_s = {timeout_s}: a number of seconds from 0 up is wanted"
        ))
    })?;
    let (lines, dropped) = py.detach(|| capture::take(limit));
    let lines = lines
        .into_iter()
        .map(|line| {
            let level = match line.level {
                tracing::Level::ERROR => "ERROR",
                tracing::Level::WARN => "WARNING",
                tracing::Level::INFO => "INFO",
                _ => "DEBUG",
            };
            (level, line.source, line.message, line.fields)
        })
        .collect();
    Ok((lines, dropped))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(start_log, m)?)?;
    m.add_function(wrap_pyfunction!(take_log, m)?)
}
