use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    CALLS, Call, Context, DRAIN, Failing, Failure, Ports, drained, lock, panic_text, runtime,
};

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
