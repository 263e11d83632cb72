use std::time::{Duration, SystemTime, UNIX_EPOCH};

use omq_tokio::{Message as Parcel, Socket, SocketType};

use super::link::Link;
use super::{BusConfig, Listen, options, socket};
use crate::messages::{Heartbeat, Malformed, Message};
use crate::service::Failure;

/// Publishes on one topic and numbers what it says. A reader that is too slow loses messages and
/// sees the gap in `seq`; nobody waits for it.
#[derive(Debug)]
pub struct Publisher {
    socket: Socket,
    link: Link,
    topic: &'static str,
    component: &'static str,
    port: u16,
    seq: u64,
}

impl Publisher {
    /// Bind to a port; 0 takes a free one.
    ///
    /// # Errors
    /// The port is taken or the address isn't this machine's: exit code 78.
    pub async fn bind(
        listen: Listen<'_>,
        topic: &'static str,
        component: &'static str,
        config: &BusConfig,
    ) -> Result<Self, Failure> {
        let socket = socket(SocketType::Pub, options(config)?)?;
        let link = Link::watch(&socket, None);
        let port = listen.bind(&socket, &config.security).await?;
        Ok(Self {
            socket,
            link,
            topic,
            component,
            port,
            seq: 0,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many messages it has sent.
    pub fn sent(&self) -> u64 {
        self.seq
    }

    /// How many readers are connected.
    pub fn readers(&self) -> usize {
        self.link.peers()
    }

    /// Number a message and send it.
    ///
    /// # Errors
    /// The message holds a value that the bus doesn't carry; no number is used up.
    pub async fn publish(&mut self, message: &Message) -> Result<(), Malformed> {
        let frame = message.frame(self.topic, self.seq + 1, wall_ns())?;
        self.seq += 1;
        if let Err(error) = self.socket.send(Parcel::single(frame)).await {
            tracing::error!(%error, topic = self.topic, "a message couldn't be sent");
        }
        Ok(())
    }

    /// Send a heartbeat.
    pub async fn beat(&mut self) {
        let beat = Message::Heartbeat(Heartbeat {
            component: self.component.to_owned(),
        });
        if let Err(error) = self.publish(&beat).await {
            tracing::error!(%error, "a heartbeat couldn't be sent");
        }
    }

    /// Wait until `readers` have subscribed, counted since the start; false when `limit` is over first.
    pub async fn wait_for_readers(&self, readers: usize, limit: Duration) -> bool {
        let readers = readers.try_into().unwrap_or(u64::MAX);
        self.socket.wait_subscribed(readers, limit).await.is_ok()
    }
}

/// The wall clock in ns since the epoch; 0 before it.
pub(crate) fn wall_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
}
