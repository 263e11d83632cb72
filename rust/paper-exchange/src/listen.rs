//! The door: connections are taken in here, and turned away while that is asked for.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// More headers than are answered in JSON are refused by their reader.
const HEADERS: usize = 4096;
/// How long requests may take to their end after the service was asked to stop.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to take a connection, or to have the port back.
const PAUSE: Duration = Duration::from_millis(20);

/// Until when connections are refused, if they are.
pub(crate) type Closed = Option<Instant>;

/// Serves until `stop`. While `closed` names a later instant nobody listens on the port, and connections
/// end with the request that they are at.
pub(crate) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    app: Router,
    mut closed: watch::Receiver<Closed>,
    stop: CancellationToken,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    while !stop.is_cancelled() {
        let until = *closed.borrow_and_update();
        if let Some(until) = until.filter(|until| *until > Instant::now()) {
            listener = None;
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(until) => {}
                Ok(()) = closed.changed() => {}
            }
            continue;
        }
        let Some(door) = &listener else {
            // Somebody else may have the port now; it is wanted back all the same.
            match TcpListener::bind(address).await {
                Ok(door) => listener = Some(door),
                Err(_) => sleep(PAUSE).await,
            }
            continue;
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Ok(()) = closed.changed() => {}
            Some(_) = connections.join_next() => {}
            taken = door.accept(), if connections.len() < CONNECTIONS => match taken {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, app.clone(), closed.clone(), stop.clone()));
                }
                // Out of descriptors, or the client went away again.
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(PATIENCE, finished).await;
    // Whoever hasn't finished a request by then is left behind.
    connections.shutdown().await;
}

async fn converse(
    stream: TcpStream,
    app: Router,
    mut closed: watch::Receiver<Closed>,
    stop: CancellationToken,
) {
    // Small frames of a websocket don't wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    closed.mark_unchanged();
    let sent_away = async {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = closed.changed() => match changed {
                    Ok(()) if closed.borrow().is_some() => return,
                    Ok(()) => {}
                    Err(_) => return stop.cancelled().await,
                },
            }
        }
    };
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sent_away => connection.as_mut().graceful_shutdown(),
    }
    // A client that breaks off is no error of the exchange.
    let _ = connection.await;
}
