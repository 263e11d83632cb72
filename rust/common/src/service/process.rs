use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Context, Failing, Failure, Ports, drained, runtime};

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
