use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use omq_tokio::{Endpoint, Message as Parcel, Socket, SocketType};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::link::Link;
use super::{BusConfig, endpoint, options, socket};
use crate::service::Failure;

/// Requests that may wait for their answers at one time.
const IN_FLIGHT: usize = 64;

/// Why a request has no answer, and what is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nobody was connected, so nothing was sent.
    #[error("nobody answers there; nothing was sent")]
    NotSent,
    /// It was sent and not answered in time: it may have been carried out.
    #[error("no answer in time; it may have been carried out")]
    InDoubt,
    /// Too many wait already; nothing was sent.
    #[error("{IN_FLIGHT} requests wait for their answers already; nothing was sent")]
    Busy,
}

/// Sends requests to a ROUTER, one frame each, and hears the answers, told apart by their `id`.
#[derive(Debug)]
pub struct Requester {
    endpoint: Endpoint,
    config: BusConfig,
    connection: Mutex<Connection>,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    link: Link,
    waiting: Arc<Mutex<Waiting>>,
    reader: JoinHandle<()>,
    reconnects: u64,
}

type Waiting = HashMap<String, oneshot::Sender<Vec<u8>>>;

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Requester {
    /// Connect to `url`, which need not be there yet.
    ///
    /// # Errors
    /// `url` isn't an address.
    pub async fn connect(url: &str, config: &BusConfig) -> Result<Self, Failure> {
        let endpoint = endpoint(url)?;
        let connection = Connection::open(&endpoint, config).await?;
        Ok(Self {
            endpoint,
            config: config.clone(),
            connection: Mutex::new(connection),
        })
    }

    /// Whether the other side is there.
    pub fn connected(&self) -> bool {
        lock(&self.connection).link.peers() > 0
    }

    pub fn reconnects(&self) -> u64 {
        let connection = lock(&self.connection);
        connection.reconnects + connection.link.reconnects()
    }

    /// Wait until the other side is there; false when `limit` is over first.
    pub async fn wait_connected(&self, limit: Duration) -> bool {
        let mut peers = lock(&self.connection).link.changes();
        let there = peers.wait_for(|peers| *peers > 0);
        matches!(tokio::time::timeout(limit, there).await, Ok(Ok(_)))
    }

    /// Send `json`, whose `id` is `id`, and wait for the answer with that `id`.
    ///
    /// # Errors
    /// See [`RequestError`]: it says whether anything was sent.
    pub async fn request(
        &self,
        id: &str,
        json: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        let (socket, waiting, answer) = {
            let connection = lock(&self.connection);
            if connection.link.peers() == 0 {
                return Err(RequestError::NotSent);
            }
            let (sender, answer) = oneshot::channel();
            let mut waiting = lock(&connection.waiting);
            if waiting.len() >= IN_FLIGHT {
                return Err(RequestError::Busy);
            }
            waiting.insert(id.to_owned(), sender);
            drop(waiting);
            (
                connection.socket.clone_shared(),
                Arc::clone(&connection.waiting),
                answer,
            )
        };
        let _guard = Forget { waiting, id };
        let exchange = async {
            socket.send(Parcel::single(json)).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(Some(answer)) => Ok(answer),
            _ => {
                self.forget_unsent().await;
                Err(RequestError::InDoubt)
            }
        }
    }

    /// While nobody is connected, the library keeps what is unsent and would deliver it at the next
    /// connection, long after its sender gave up. A new socket takes that with it.
    async fn forget_unsent(&self) {
        if self.connected() {
            return;
        }
        match Connection::open(&self.endpoint, &self.config).await {
            Ok(mut fresh) => {
                let mut connection = lock(&self.connection);
                fresh.reconnects = connection.reconnects + connection.link.reconnects();
                *connection = fresh;
            }
            Err(error) => tracing::error!(%error, "no new connection for requests"),
        }
    }
}

impl Connection {
    async fn open(endpoint: &Endpoint, config: &BusConfig) -> Result<Self, Failure> {
        let socket = socket(SocketType::Dealer, options(config)?)?;
        let link = Link::watch(&socket, Some(endpoint.clone()));
        socket
            .connect(endpoint.clone())
            .await
            .map_err(|error| Failure::failed(format!("{endpoint}: {error}")))?;
        let waiting = Arc::new(Mutex::new(Waiting::new()));
        let reader = tokio::spawn(hear(socket.clone_shared(), Arc::clone(&waiting)));
        Ok(Self {
            socket,
            link,
            waiting,
            reader,
            reconnects: 0,
        })
    }
}

struct Forget<'a> {
    waiting: Arc<Mutex<Waiting>>,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.waiting).remove(self.id);
    }
}

async fn hear(socket: Socket, waiting: Arc<Mutex<Waiting>>) {
    #[derive(Deserialize)]
    struct Answer {
        id: String,
    }
    while let Ok(parcel) = socket.recv().await {
        let Some(bytes) = parcel.part_slice(parcel.len().saturating_sub(1)) else {
            continue;
        };
        match serde_json::from_slice::<Answer>(bytes) {
            Ok(Answer { id }) => {
                // Nobody waits for it any more when it came too late.
                if let Some(sender) = lock(&waiting).remove(&id) {
                    let _ = sender.send(bytes.to_vec());
                }
            }
            Err(error) => tracing::warn!(%error, "an answer that can't be read"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
