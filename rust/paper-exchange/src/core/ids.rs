//! Identifiers that come out the same on every run with the same seed.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A numbered source of UUIDs. Its counter is part of what is stored, so that none is given twice.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: u64,
    next: u64,
}

impl Ids {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.next
    }

    /// Goes on after `count` identifiers already given.
    pub fn resume(&mut self, count: u64) {
        self.next = self.next.max(count);
    }

    pub fn take(&mut self) -> Uuid {
        let number = self.next;
        self.next += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(number.to_be_bytes());
        from_hash(hash)
    }

    /// A draw for `id`, independent of how many were made before: the same order gets the same luck.
    #[must_use]
    pub fn draw(&self, id: Uuid, salt: u8) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(id.as_bytes());
        hash.update([salt]);
        let bytes = hash.finalize();
        u64::from_be_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ])
    }

    /// The UUID that stands for a name, whatever the seed: assets and accounts keep theirs.
    #[must_use]
    pub fn named(kind: &str, name: &str) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(kind.as_bytes());
        hash.update([0]);
        hash.update(name.as_bytes());
        from_hash(hash)
    }
}

fn from_hash(hash: Sha256) -> Uuid {
    let digest = hash.finalize();
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Uuid::from_bytes(bytes)
}
