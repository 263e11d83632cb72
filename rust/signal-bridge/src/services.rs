//! The Rust services, embedded: each on a thread of its own inside the Python process.

use std::collections::BTreeMap;
use std::time::Duration;

use common::service::{DRAIN, Failure, Handle, settings_from_json};
use pyo3::prelude::*;
use pyo3::{create_exception, exceptions::PyRuntimeError};

create_exception!(
    signal_bridge,
    ServiceError,
    PyRuntimeError,
    "A service that can't start, answer or stop; `exit_code` is 78 for settings and ports, else 70."
);

const NAMES: &str = "market-data, execution-engine, risk-manager or paper-exchange";
/// How often a wait looks whether Python wants to handle a signal.
const POLL: Duration = Duration::from_millis(50);

fn raised(py: Python<'_>, failure: &Failure) -> PyErr {
    let error = ServiceError::new_err(failure.message.clone());
    match error.value(py).setattr("exit_code", failure.exit_code) {
        Ok(()) => error,
        Err(other) => other,
    }
}

fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| {
        pyo3::exceptions::PyValueError::new_err(format!(
            "timeout_s = {value}: a number of seconds from 0 up is wanted"
        ))
    })
}

fn launch(name: &str, settings: &str, limit: Duration, poll: &mut Poll) -> Result<Handle, Failure> {
    macro_rules! start {
        ($service:ident) => {{
            let settings = settings_from_json::<$service::Settings>(name, settings)?;
            Handle::start_waiting(
                name,
                limit,
                |context| $service::run(settings, context),
                || poll.signals(),
            )
        }};
    }
    match name {
        "market-data" => start!(market_data),
        "execution-engine" => start!(execution_engine),
        "risk-manager" => start!(risk_manager),
        "paper-exchange" => start!(paper_exchange),
        other => Err(Failure::config(format!(
            "service {other:?} doesn't exist; it is {NAMES}"
        ))),
    }
}

/// Lets Python handle Ctrl-C while Rust waits; keeps what the handler raised.
#[derive(Default)]
struct Poll {
    raised: Option<PyErr>,
    last: Option<std::time::Instant>,
}

impl Poll {
    fn signals(&mut self) -> Result<(), Failure> {
        if self.last.is_some_and(|last| last.elapsed() < POLL) {
            return Ok(());
        }
        self.last = Some(std::time::Instant::now());
        Python::attach(|py| py.check_signals()).map_err(|error| {
            self.raised = Some(error);
            Failure::failed("interrupted")
        })
    }

    fn error(&mut self, py: Python<'_>, failure: &Failure) -> PyErr {
        self.raised.take().unwrap_or_else(|| raised(py, failure))
    }
}

/// A running service. Keep the object: when it is collected, the service is asked to stop.
#[pyclass(module = "signal_bridge", frozen)]
pub(crate) struct Service {
    handle: Handle,
}

#[pymethods]
impl Service {
    /// Start a service by its name with settings in JSON; returns when its ports are bound.
    #[staticmethod]
    #[pyo3(signature = (name, settings, *, timeout_s = 10.0))]
    fn start(py: Python<'_>, name: &str, settings: &str, timeout_s: f64) -> PyResult<Self> {
        let limit = seconds(timeout_s)?;
        let mut poll = Poll::default();
        py.detach(|| launch(name, settings, limit, &mut poll))
            .map(|handle| Self { handle })
            .map_err(|failure| poll.error(py, &failure))
    }

    #[getter]
    fn name(&self) -> &str {
        self.handle.name()
    }

    #[getter]
    fn ports(&self) -> BTreeMap<String, u16> {
        self.handle.ports().clone()
    }

    #[getter]
    fn alive(&self) -> bool {
        self.handle.is_alive()
    }

    #[getter]
    fn failure(&self) -> Option<String> {
        self.handle.failure().map(|failure| failure.message)
    }

    /// Send a command, JSON in and out.
    #[pyo3(signature = (command, *, timeout_s = 5.0))]
    fn call(&self, py: Python<'_>, command: &str, timeout_s: f64) -> PyResult<String> {
        let limit = seconds(timeout_s)?;
        let command = serde_json::from_str(command)
            .map_err(|error| raised(py, &Failure::config(format!("command {command}: {error}"))))?;
        py.detach(|| self.handle.call(command, limit))
            .map(|answer| answer.to_string())
            .map_err(|failure| raised(py, &failure))
    }

    /// Ask it to stop and wait until it has; again and again does no harm.
    #[pyo3(signature = (*, timeout_s = 5.0))]
    fn stop(&self, py: Python<'_>, timeout_s: f64) -> PyResult<()> {
        let limit = seconds(timeout_s)?;
        py.detach(|| self.handle.stop(limit))
            .map_err(|failure| raised(py, &failure))
    }

    fn __repr__(&self) -> String {
        let state = if self.handle.is_alive() {
            "running"
        } else {
            "ended"
        };
        format!(
            "<Service {} {state} {:?}>",
            self.handle.name(),
            self.handle.ports()
        )
    }
}

/// Run a service in this thread until it ends or a Python signal handler raises.
///
/// KeyboardInterrupt and SystemExit out of a handler drain the service first, then go on.
#[pyfunction]
fn run_service(py: Python<'_>, name: &str, settings: &str) -> PyResult<()> {
    let mut poll = Poll::default();
    let result = py.detach(|| {
        let handle = launch(name, settings, Duration::from_secs(60), &mut poll)?;
        while !handle.wait(POLL) {
            if let Err(interrupted) = poll.signals() {
                handle.stop(DRAIN + Duration::from_secs(1))?;
                return Err(interrupted);
            }
        }
        handle.stop(DRAIN)?;
        handle.failure().map_or(Ok(()), Err)
    });
    result.map_err(|failure| poll.error(py, &failure))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Service>()?;
    m.add_function(wrap_pyfunction!(run_service, m)?)?;
    m.add("ServiceError", m.py().get_type::<ServiceError>())
}
