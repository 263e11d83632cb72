//! Where the numbers of a block lie: from the beginning of a cache line on, so that stores of a
//! whole vector never touch two.

use std::ops::{Deref, DerefMut};

use super::BLOCK;

/// Bytes of a cache line.
const LINE: usize = 64;

/// The numbers of a block's own bars. One behind the other, rows stand a line more apart than those
/// take: at a distance of some power of two they would compete for the same places of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Row {
    pub(crate) numbers: [f64; BLOCK],
    _apart: [f64; LINE / size_of::<f64>()],
}

impl Default for Row {
    fn default() -> Self {
        Self {
            numbers: [0.0; BLOCK],
            _apart: Default::default(),
        }
    }
}

/// The numbers of a block and of the bars before it that its windows look back on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    room: Vec<f64>,
    start: usize,
    len: usize,
}

impl Series {
    pub(crate) fn new(len: usize) -> Self {
        let room = vec![0.0; len + LINE / size_of::<f64>()];
        Self {
            start: room.as_ptr().align_offset(LINE),
            room,
            len,
        }
    }
}

impl Deref for Series {
    type Target = [f64];

    #[inline(always)]
    fn deref(&self) -> &[f64] {
        &self.room[self.start..self.start + self.len]
    }
}

impl DerefMut for Series {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.room[self.start..self.start + self.len]
    }
}
