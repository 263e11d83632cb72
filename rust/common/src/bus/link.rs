//! What the connections of a socket do, and the one thing the library doesn't: after a handshake
//! that was refused it stops dialing for good, so that a peer restarted with the right key would
//! never be found. Here it is dialed again, after a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use omq_tokio::{Endpoint, MonitorEvent, MonitorRecvError, Socket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const AFTER_REFUSAL: Duration = Duration::from_secs(2);

/// Connections of one socket, watched by a task that ends with it.
#[derive(Debug)]
pub(super) struct Link {
    peers: watch::Receiver<usize>,
    reconnects: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Link {
    /// Watch `socket`; dial `redial` again when its connections were refused.
    pub(super) fn watch(socket: &Socket, redial: Option<Endpoint>) -> Self {
        let (peers_sender, peers) = watch::channel(0);
        let reconnects = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(follow(
            socket.clone_shared(),
            redial,
            peers_sender,
            Arc::clone(&reconnects),
        ));
        Self {
            peers,
            reconnects,
            task,
        }
    }

    /// How many peers are connected now.
    pub(super) fn peers(&self) -> usize {
        *self.peers.borrow()
    }

    /// How many times a connection was there again after it was lost.
    pub(super) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// A receiver that changes with the number of peers.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.peers.clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    socket: Socket,
    redial: Option<Endpoint>,
    peers: watch::Sender<usize>,
    reconnects: Arc<AtomicU64>,
) {
    let mut monitor = socket.monitor();
    let mut lost = false;
    loop {
        match monitor.recv().await {
            Ok(MonitorEvent::HandshakeSucceeded { .. }) => {
                if lost {
                    reconnects.fetch_add(1, Ordering::Relaxed);
                    lost = false;
                }
            }
            Ok(MonitorEvent::Disconnected { .. }) => lost = true,
            Ok(MonitorEvent::ConnectStopped { reason, .. }) => {
                tracing::warn!(?reason, "the peer refused this connection; trying again");
                redial_later(&socket, redial.as_ref()).await;
            }
            Ok(MonitorEvent::Closed) | Err(MonitorRecvError::Closed) => return,
            // Events were missed: a refusal may have been among them.
            Err(_) => {
                if count(&socket).await == 0 {
                    redial_later(&socket, redial.as_ref()).await;
                }
            }
            Ok(_) => continue,
        }
        let now = count(&socket).await;
        peers.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

async fn count(socket: &Socket) -> usize {
    socket.connections().await.map_or(0, |peers| peers.len())
}

async fn redial_later(socket: &Socket, redial: Option<&Endpoint>) {
    let Some(endpoint) = redial else { return };
    tokio::time::sleep(AFTER_REFUSAL).await;
    // Unknown to the socket when the refusal already took it off the list: then this fails, rightly.
    let _ = socket.disconnect(endpoint.clone()).await;
    if let Err(error) = socket.connect(endpoint.clone()).await {
        tracing::warn!(%error, "dialing again failed");
    }
}
