use omq_tokio::{Error, Message as Parcel, Socket, SocketType};

use super::link::Link;
use super::{BusConfig, Listen, endpoint, options, socket};
use crate::service::Failure;

/// One frame as it came, `topic {json}`.
#[derive(Clone, Debug)]
pub struct Frame(Parcel);

impl Frame {
    /// Its bytes; empty when it came in more than one part, which is malformed on this bus.
    pub fn bytes(&self) -> &[u8] {
        if self.0.len() == 1 {
            self.0.part_slice(0).unwrap_or_default()
        } else {
            &[]
        }
    }
}

/// Counts what is missing in a publisher's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    last: u64,
    /// Numbers that never came.
    pub missed: u64,
    /// How often the numbers began anew: the publisher was started again.
    pub restarts: u64,
}

impl Gaps {
    /// Take the next number; answers how many are missing before it. 0 is no number.
    pub fn observe(&mut self, seq: u64) -> u64 {
        if seq == 0 {
            return 0;
        }
        let missed = match self.last {
            0 => 0,
            last if seq > last => seq - last - 1,
            _ => {
                self.restarts += 1;
                0
            }
        };
        self.last = seq;
        self.missed = self.missed.saturating_add(missed);
        missed
    }
}

/// What a subscriber has seen of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriberStats {
    pub received: u64,
    pub reconnects: u64,
    pub peers: usize,
}

/// Hears the topics it asked for, from one publisher that it connects to or from all that connect
/// to it. It reconnects by itself.
#[derive(Debug)]
pub struct Subscriber {
    socket: Socket,
    link: Link,
    port: Option<u16>,
    received: u64,
}

impl Subscriber {
    /// Connect to a publisher, which need not be there yet. A topic matches whole words only.
    ///
    /// # Errors
    /// `url` isn't an address.
    pub async fn connect(url: &str, topics: &[&str], config: &BusConfig) -> Result<Self, Failure> {
        let endpoint = endpoint(url)?;
        let socket = subscribed(topics, config).await?;
        let link = Link::watch(&socket, Some(endpoint.clone()));
        socket
            .connect(endpoint)
            .await
            .map_err(|error| Failure::failed(format!("{url}: {error}")))?;
        Ok(Self {
            socket,
            link,
            port: None,
            received: 0,
        })
    }

    /// Bind, for publishers to connect to.
    ///
    /// # Errors
    /// The port is taken or the address isn't this machine's: exit code 78.
    pub async fn bind(
        listen: Listen<'_>,
        topics: &[&str],
        config: &BusConfig,
    ) -> Result<Self, Failure> {
        let socket = subscribed(topics, config).await?;
        let link = Link::watch(&socket, None);
        let port = listen.bind(&socket, &config.security).await?;
        Ok(Self {
            socket,
            link,
            port: Some(port),
            received: 0,
        })
    }

    /// The port it is bound to.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The next frame; None when the socket is closed. May be dropped while it waits.
    pub async fn recv(&mut self) -> Option<Frame> {
        loop {
            match self.socket.recv().await {
                Ok(parcel) => {
                    self.received += 1;
                    return Some(Frame(parcel));
                }
                Err(Error::Closed) => return None,
                Err(error) => tracing::warn!(%error, "a message was lost"),
            }
        }
    }

    /// A frame that is there already.
    pub fn try_recv(&mut self) -> Option<Frame> {
        let parcel = self.socket.try_recv().ok()?;
        self.received += 1;
        Some(Frame(parcel))
    }

    pub fn stats(&self) -> SubscriberStats {
        SubscriberStats {
            received: self.received,
            reconnects: self.link.reconnects(),
            peers: self.link.peers(),
        }
    }

    /// A receiver that changes with the number of connected peers.
    pub fn peer_changes(&self) -> tokio::sync::watch::Receiver<usize> {
        self.link.changes()
    }
}

async fn subscribed(topics: &[&str], config: &BusConfig) -> Result<Socket, Failure> {
    let socket = socket(SocketType::Sub, options(config)?)?;
    for topic in topics {
        // With its space, so that `market` doesn't match `marketing`; the empty topic is everything.
        let prefix = if topic.is_empty() {
            String::new()
        } else {
            format!("{topic} ")
        };
        socket
            .subscribe(prefix)
            .await
            .map_err(|error| Failure::failed(format!("topic {topic:?}: {error}")))?;
    }
    Ok(socket)
}
