//! Trade updates on their way to whoever listens, and the last of them for who comes back.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::core::Nanos;

/// Updates that a slow listener may be behind.
const QUEUE: usize = 4096;
/// Updates that a listener can ask for afterwards.
const KEPT: usize = 10_000;

/// One update.
#[derive(Clone, Debug)]
pub struct Message {
    pub account: usize,
    pub at: Nanos,
    /// From 1 in each run of the exchange.
    pub number: u64,
    /// As the websocket says it.
    pub json: Bytes,
}

/// Where updates are told, and heard.
#[derive(Debug)]
pub struct Updates {
    sender: broadcast::Sender<Message>,
    recent: Mutex<VecDeque<Message>>,
}

impl Default for Updates {
    fn default() -> Self {
        Self {
            sender: broadcast::channel(QUEUE).0,
            recent: Mutex::default(),
        }
    }
}

impl Updates {
    /// Tells everybody.
    pub fn publish(&self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for message in messages {
            if recent.len() == KEPT {
                recent.pop_front();
            }
            recent.push_back(message.clone());
            // Nobody listening is no error.
            let _ = self.sender.send(message);
        }
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// What is told from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Message> {
        self.sender.subscribe()
    }

    /// What was told to `account`, oldest first, as far as it is kept, and what is told from then on.
    pub fn subscribe_with_past(
        &self,
        account: usize,
    ) -> (Vec<Message>, broadcast::Receiver<Message>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let past = recent
            .iter()
            .filter(|message| message.account == account)
            .cloned()
            .collect();
        (past, self.sender.subscribe())
    }
}
