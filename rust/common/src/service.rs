//! How a service is run: as a thread of the console ([`Handle`]) or as a process ([`run_process`]).
//!
//! A service is one future, `run(settings, context)`. It says once which ports it took
//! ([`Context::started`]), answers the commands that come ([`Context::calls`]) and returns soon
//! after [`Context::stopped`] resolves.

mod handle;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use handle::Handle;
pub use process::run_process;

/// Exit code of a setting or a port that can't be used (sysexits' EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;
/// Exit code of a service that failed while it ran (sysexits' EX_SOFTWARE).
pub const EXIT_FAILED: u8 = 70;
/// How long a service may take from the stop signal to its end.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Commands that wait for a service; one more is refused.
const CALLS: usize = 64;

/// Names of ports and their numbers, such as `market` → 5555.
pub type Ports = BTreeMap<String, u16>;

/// What an error of a service must tell besides its text: the exit code that it is worth.
pub trait Failing: fmt::Display {
    /// 78 for settings and ports, else 70.
    fn exit_code(&self) -> u8 {
        EXIT_FAILED
    }
}

/// Why a service isn't there: one line that names value, rule and remedy, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
    pub exit_code: u8,
}

impl Failure {
    /// A setting or a port that can't be used.
    pub fn config(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: EXIT_CONFIG,
        }
    }

    /// Anything that went wrong in running.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: EXIT_FAILED,
        }
    }

    /// A port that can't be bound. `setting` is where its number comes from, such as `ports.market`.
    pub fn port(setting: &str, address: &str, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => "is taken by another process".to_owned(),
            io::ErrorKind::AddrNotAvailable => "isn't an address of this machine".to_owned(),
            io::ErrorKind::PermissionDenied => "needs rights that this user lacks".to_owned(),
            _ => format!("can't be bound ({error})"),
        };
        Self::config(format!(
            "{setting}: {address} {why}; stop what uses it or set another port (0 takes a free one)"
        ))
    }
}

impl Failing for Failure {
    fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

/// One command to a running service: JSON in, JSON out.
#[derive(Debug)]
pub struct Call {
    pub command: Value,
    reply: blocking::SyncSender<Result<Value, String>>,
}

impl Call {
    /// Answer it; the one who asked may be gone.
    pub fn answer(self, answer: Result<Value, String>) {
        let _ = self.reply.try_send(answer);
    }
}

/// What a service gets beside its settings.
#[derive(Clone, Debug)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stop: CancellationToken,
    started: Mutex<Option<oneshot::Sender<Ports>>>,
    calls: Mutex<Option<mpsc::Receiver<Call>>>,
}

/// The other end of a [`Context`]: what the runner of a service holds.
#[derive(Debug)]
pub struct Controls {
    pub stop: CancellationToken,
    pub started: oneshot::Receiver<Ports>,
    pub calls: mpsc::Sender<Call>,
}

impl Context {
    /// A context and what drives it; for tests and for services inside one runtime.
    pub fn new() -> (Self, Controls) {
        let stop = CancellationToken::new();
        let (started_sender, started) = oneshot::channel();
        let (calls, call_receiver) = mpsc::channel(CALLS);
        let inner = Inner {
            stop: stop.clone(),
            started: Mutex::new(Some(started_sender)),
            calls: Mutex::new(Some(call_receiver)),
        };
        let controls = Controls {
            stop,
            started,
            calls,
        };
        (
            Self {
                inner: Arc::new(inner),
            },
            controls,
        )
    }

    /// Say that the service is up and which ports it took. Only the first call counts.
    pub fn started(&self, ports: Ports) {
        if let Some(sender) = lock(&self.inner.started).take() {
            let _ = sender.send(ports);
        }
    }

    /// Resolves when the service should end.
    pub async fn stopped(&self) {
        self.inner.stop.cancelled().await;
    }

    /// The token behind [`Context::stopped`], for tasks of the service.
    pub fn token(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// The commands to this service, in order. Only the first caller gets them.
    pub fn calls(&self) -> Option<mpsc::Receiver<Call>> {
        lock(&self.inner.calls).take()
    }
}

/// Read a service's settings out of JSON; the error names the field and what it may be.
pub fn settings_from_json<S: DeserializeOwned>(name: &str, text: &str) -> Result<S, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::config(format!(
            "settings of {name}: {error}; see its section in config.toml"
        ))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime for its tasks: {error}")))
}

/// The service's own end, or the end of its patience: [`DRAIN`] after the stop it is dropped.
async fn drained<E: Failing>(
    service: impl Future<Output = Result<(), E>>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        end = AssertUnwindSafe(service).catch_unwind() => match end {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure { message: error.to_string(), exit_code: error.exit_code() }),
            Err(panic) => Err(Failure::failed(panic_text(&*panic))),
        },
        () = late => Err(Failure::failed(format!(
            "still busy {} s after it was asked to stop, and left so", DRAIN.as_secs()
        ))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("a defect ended it: {text}; please report it")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
