//! How a service is run: as a thread of the console ([`Handle`]) or as a process ([`run_process`]).
//!
//! A service is one future, `run(settings, context)`. It says once which ports it took
//! ([`Context::started`]), answers the commands that come ([`Context::calls`]) and returns soon
//! after [`Context::stopped`] resolves.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

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

/// A service that runs on a thread of its own, with a runtime of its own.
#[derive(Debug)]
pub struct Handle {
    name: String,
    ports: Ports,
    stop: CancellationToken,
    calls: mpsc::Sender<Call>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// None while it runs.
    end: Mutex<Option<Result<(), Failure>>>,
    ended: std::sync::Condvar,
}

impl Handle {
    /// Start a service and wait until it says that it has started.
    ///
    /// # Errors
    /// What the service failed with before that, or that it took longer than `limit`.
    pub fn start<F, Fut, E>(name: &str, limit: Duration, service: F) -> Result<Self, Failure>
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>>,
        E: Failing,
    {
        Self::start_waiting(name, limit, service, || Ok(()))
    }

    /// As [`Handle::start`]; `poll` is asked every 50 ms whether to go on waiting.
    pub fn start_waiting<F, Fut, E>(
        name: &str,
        limit: Duration,
        service: F,
        mut poll: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Self, Failure>
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>>,
        E: Failing,
    {
        let (context, mut controls) = Context::new();
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let end =
                        std::panic::catch_unwind(AssertUnwindSafe(|| drive(service, context)))
                            .unwrap_or_else(|panic| Err(Failure::failed(panic_text(&*panic))));
                    *lock(&shared.end) = Some(end);
                    shared.ended.notify_all();
                }
            })
            .map_err(|error| Failure::failed(format!("{name}: no thread to run on: {error}")))?;
        let mut handle = Self {
            name: name.to_owned(),
            ports: Ports::new(),
            stop: controls.stop.clone(),
            calls: controls.calls.clone(),
            shared,
            thread: Mutex::new(Some(thread)),
        };
        let deadline = Instant::now() + limit;
        loop {
            match controls.started.try_recv() {
                Ok(ports) => {
                    handle.ports = ports;
                    return Ok(handle);
                }
                Err(_)
                    if !handle.wait(Duration::from_millis(if limit.is_zero() { 0 } else { 2 })) => {
                }
                Err(_) => {
                    return Err(handle.failure().unwrap_or_else(|| {
                        Failure::failed(format!("{name} ended before it had started"))
                    }));
                }
            }
            if let Err(failure) = poll() {
                let _ = handle.stop(DRAIN);
                return Err(failure);
            }
            if Instant::now() >= deadline {
                let _ = handle.stop(Duration::from_secs(1));
                return Err(Failure::failed(format!(
                    "{name} hadn't started after {:.1} s; its log says what it waits for",
                    limit.as_secs_f64()
                )));
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ports that it took, by name.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn is_alive(&self) -> bool {
        lock(&self.shared.end).is_none()
    }

    /// What it died of; None while it lives or after it was stopped.
    pub fn failure(&self) -> Option<Failure> {
        lock(&self.shared.end).clone().and_then(Result::err)
    }

    /// Send a command and wait for its answer.
    pub fn call(&self, command: Value, limit: Duration) -> Result<Value, Failure> {
        let name = &self.name;
        let (reply, answer) = blocking::sync_channel(1);
        self.calls
            .try_send(Call { command, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Failure::failed(format!(
                    "{name} has {CALLS} commands waiting; try again later"
                )),
                mpsc::error::TrySendError::Closed(_) => {
                    Failure::failed(format!("{name} takes no commands or has ended"))
                }
            })?;
        match answer.recv_timeout(limit) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(message)) => Err(Failure::config(format!("{name}: {message}"))),
            Err(blocking::RecvTimeoutError::Timeout) => Err(Failure::failed(format!(
                "{name} didn't answer within {:.1} s",
                limit.as_secs_f64()
            ))),
            Err(blocking::RecvTimeoutError::Disconnected) => Err(Failure::failed(format!(
                "{name} takes no commands or has ended"
            ))),
        }
    }

    /// Ask it to end, wait for that, join its thread. May be called again.
    ///
    /// # Errors
    /// It still runs after `limit`; it is left to end by itself.
    pub fn stop(&self, limit: Duration) -> Result<(), Failure> {
        self.stop.cancel();
        if !self.wait(limit) {
            return Err(Failure::failed(format!(
                "{} still ran {:.1} s after it was asked to stop",
                self.name,
                limit.as_secs_f64()
            )));
        }
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
        Ok(())
    }

    /// Ask it to end and don't wait.
    pub fn cancel(&self) {
        self.stop.cancel();
    }

    /// Wait until it has ended; false when it still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> bool {
        let end = lock(&self.shared.end);
        let (end, _) = self
            .shared
            .ended
            .wait_timeout_while(end, limit, |end| end.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        end.is_some()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Run a service as this process until it ends or SIGTERM or SIGINT comes; a second signal leaves at once.
///
/// Prints a failure as one line to stderr. The exit code is 0, 70 or 78.
pub fn run_process<F, Fut, E>(name: &str, service: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Failing,
{
    let (context, controls) = Context::new();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failure) => return leave(name, &failure),
    };
    let result = runtime.block_on(async {
        tokio::spawn(announce(name.to_owned(), controls.started));
        // Kept so that `calls()` stays open for as long as the process lives.
        let _calls = controls.calls;
        let signals = tokio::spawn(stop_on_signal(controls.stop.clone()));
        let result = drained(service(context), controls.stop).await;
        signals.abort();
        result
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => leave(name, &failure),
    }
}

fn leave(name: &str, failure: &Failure) -> ExitCode {
    eprintln!("{name}: {failure}");
    ExitCode::from(failure.exit_code)
}

async fn announce(name: String, started: oneshot::Receiver<Ports>) {
    if let Ok(ports) = started.await {
        let ports = serde_json::to_string(&ports).unwrap_or_default();
        tracing::info!(service = %name, %ports, "started");
    }
}

#[cfg(unix)]
async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals can't be heard; the service ends only by SIGKILL");
        return;
    };
    for round in 0.. {
        let code = tokio::select! {
            _ = terminate.recv() => 143,
            _ = interrupt.recv() => 130,
        };
        if round > 0 {
            std::process::exit(code);
        }
        tracing::info!("stopping");
        stop.cancel();
    }
}

#[cfg(not(unix))]
async fn stop_on_signal(stop: CancellationToken) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.is_cancelled() {
            std::process::exit(130);
        }
        stop.cancel();
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime for its tasks: {error}")))
}

fn drive<F, Fut, E>(service: F, context: Context) -> Result<(), Failure>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Failing,
{
    let runtime = runtime()?;
    let stop = context.token();
    let result = runtime.block_on(drained(service(context), stop));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
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
mod tests {
    use super::*;
    use serde_json::json;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn echo(context: Context) -> Result<(), Failure> {
        let mut calls = context.calls().expect("the first caller gets them");
        context.started(Ports::from([("echo".to_owned(), 7)]));
        loop {
            tokio::select! {
                () = context.stopped() => return Ok(()),
                Some(call) = calls.recv() => {
                    let answer = match call.command.get("say") {
                        Some(word) => Ok(json!({ "said": word })),
                        None => Err("say what?".to_owned()),
                    };
                    call.answer(answer);
                }
            }
        }
    }

    #[test]
    fn a_service_starts_answers_and_stops() {
        let handle = Handle::start("echo", LIMIT, echo).unwrap();
        assert_eq!(handle.ports()["echo"], 7);
        assert!(handle.is_alive());
        let answer = handle.call(json!({"say": "yes"}), LIMIT).unwrap();
        assert_eq!(answer, json!({"said": "yes"}));
        let refused = handle.call(json!({}), LIMIT).unwrap_err();
        assert!(refused.message.contains("say what?"), "{refused}");
        handle.stop(LIMIT).unwrap();
        handle.stop(LIMIT).unwrap();
        assert!(!handle.is_alive());
        assert_eq!(handle.failure(), None);
        assert!(handle.call(json!({"say": 1}), LIMIT).is_err());
    }

    #[test]
    fn a_failure_before_the_start_is_the_starts_failure() {
        let refused = Handle::start("refuser", LIMIT, |_| async {
            Err::<(), _>(Failure::config("ports.market: taken"))
        })
        .unwrap_err();
        assert_eq!(refused, Failure::config("ports.market: taken"));
    }

    #[test]
    fn a_panic_is_a_failure_and_not_the_end_of_the_process() {
        let handle = Handle::start("fragile", LIMIT, |context| async move {
            context.started(Ports::new());
            if context.calls().is_some() {
                panic!("seven is missing");
            }
            Ok::<(), Failure>(())
        })
        .unwrap();
        assert!(handle.wait(LIMIT));
        let failure = handle.failure().unwrap();
        assert!(failure.message.contains("seven is missing"), "{failure}");
        assert_eq!(failure.exit_code, EXIT_FAILED);
    }

    #[test]
    fn a_start_that_takes_too_long_is_refused() {
        let late = Handle::start("late", Duration::ZERO, |context| async move {
            context.stopped().await;
            Ok::<(), Failure>(())
        })
        .unwrap_err();
        assert!(late.message.contains("hadn't started"), "{late}");
    }

    #[test]
    fn a_dropped_handle_ends_its_service() {
        let (ended, end) = blocking::channel();
        let handle = Handle::start("dropped", LIMIT, |context| async move {
            context.started(Ports::new());
            context.stopped().await;
            ended.send(()).map_err(|_| Failure::failed("nobody waits"))
        })
        .unwrap();
        drop(handle);
        end.recv_timeout(LIMIT).unwrap();
    }

    #[test]
    fn settings_errors_name_the_field() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Settings {
            #[serde(rename = "port")]
            _port: u16,
        }
        let error = settings_from_json::<Settings>("echo", r#"{"prt": 1}"#).unwrap_err();
        assert!(error.message.contains("prt"), "{error}");
        assert_eq!(error.exit_code, EXIT_CONFIG);
    }
}
