//! Windows over the last so many values: sums, extremes and the values themselves.

use std::fmt::Debug;

use crate::codec::{Codec, Saved};
use crate::formulas::{greater, lesser};

/// How long a window is: known to the compiler (`Fixed`) or only when the set is chosen (`Any`).
pub(crate) trait Window: Copy + Debug {
    /// Room for the blocks of a [`Tree`].
    type Blocks: AsRef<[f64]> + AsMut<[f64]> + Clone + Debug;
    /// Room for the values of a [`Recent`], twice.
    type Values: AsRef<[f64]> + AsMut<[f64]> + Clone + Debug;

    fn len(self) -> usize;
    fn blocks(self, fill: f64) -> Self::Blocks;
    fn values(self) -> Self::Values;
}

/// A window of `W` bars, at most 31, in place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fixed<const W: usize>;

impl<const W: usize> Window for Fixed<W> {
    type Blocks = [f64; 32];
    type Values = [f64; 64];

    #[inline(always)]
    fn len(self) -> usize {
        const { assert!(W > 0 && W < 32) }
        W
    }

    fn blocks(self, fill: f64) -> Self::Blocks {
        [fill; 32]
    }

    fn values(self) -> Self::Values {
        [0.0; 64]
    }
}

/// A window whose length is chosen at run time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Any(pub usize);

impl Window for Any {
    type Blocks = Box<[f64]>;
    type Values = Box<[f64]>;

    #[inline(always)]
    fn len(self) -> usize {
        self.0
    }

    fn blocks(self, fill: f64) -> Self::Blocks {
        vec![fill; 2 << self.0.ilog2()].into()
    }

    fn values(self) -> Self::Values {
        vec![0.0; 2 * self.0].into()
    }
}

/// How two neighbouring blocks become one.
pub(crate) trait Fold {
    const IDENTITY: f64;
    fn fold(newer: f64, older: f64) -> f64;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum;
#[derive(Clone, Copy, Debug)]
pub(crate) struct Highest;
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lowest;

impl Fold for Sum {
    const IDENTITY: f64 = 0.0;
    #[inline(always)]
    fn fold(newer: f64, older: f64) -> f64 {
        newer + older
    }
}

impl Fold for Highest {
    const IDENTITY: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn fold(newer: f64, older: f64) -> f64 {
        greater(newer, older)
    }
}

impl Fold for Lowest {
    const IDENTITY: f64 = f64::INFINITY;
    #[inline(always)]
    fn fold(newer: f64, older: f64) -> f64 {
        lesser(newer, older)
    }
}

/// A fold over the last `window` values, each made anew from blocks of 1, 2, 4, … values: nothing
/// is ever subtracted, so nothing drifts, and a value that left the window left no trace.
///
/// Blocks of `size` values lie at `slots[size..2 * size]`, the one that ends with bar `n` at
/// `size + n % size`; that is exactly as far back as a block twice as long needs to look.
#[derive(Clone, Debug)]
pub(crate) struct Tree<F: Fold, W: Window> {
    window: W,
    slots: W::Blocks,
    fold: std::marker::PhantomData<F>,
}

impl<F: Fold, W: Window> Tree<F, W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            window,
            slots: window.blocks(F::IDENTITY),
            fold: std::marker::PhantomData,
        }
    }

    /// Takes in the value of bar `n`.
    #[inline(always)]
    pub(crate) fn push(&mut self, n: usize, x: f64) {
        let slots = self.slots.as_mut();
        let mut block = x;
        let mut size = 1;
        loop {
            let older = std::mem::replace(&mut slots[size + (n & (size - 1))], block);
            if 2 * size > self.window.len() {
                return;
            }
            block = F::fold(block, older);
            size *= 2;
        }
    }

    /// The fold over the `len` values up to bar `n`, the newest pushed; `len` not above the window.
    #[inline(always)]
    pub(crate) fn over(&self, n: usize, len: usize) -> f64 {
        let slots = self.slots.as_ref();
        let mut total = F::IDENTITY;
        let mut covered = 0;
        let mut size = 1;
        while size <= len {
            if len & size != 0 {
                let block = slots[size + (n.wrapping_sub(covered) & (size - 1))];
                total = if covered == 0 {
                    block
                } else {
                    F::fold(total, block)
                };
                covered += size;
            }
            size *= 2;
        }
        total
    }

    /// Takes in the value of bar `n` and gives the fold over the window that ends with it.
    #[inline(always)]
    pub(crate) fn step(&mut self, n: usize, x: f64) -> f64 {
        self.push(n, x);
        self.over(n, self.window.len())
    }
}

impl<F: Fold, W: Window> Saved for Tree<F, W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        // The room of a fixed window is larger than what it uses.
        let used = 2 << self.window.len().ilog2();
        codec.floats(&mut self.slots.as_mut()[..used]);
    }
}

/// The last `window` values in the order of time, readable as one slice: each is written twice,
/// a window apart.
#[derive(Clone, Debug)]
pub(crate) struct Recent<W: Window> {
    window: W,
    values: W::Values,
    head: usize,
}

impl<W: Window> Recent<W> {
    pub(crate) fn new(window: W) -> Self {
        Self {
            window,
            values: window.values(),
            head: 0,
        }
    }

    /// The `window` values before the one that is about to be pushed, oldest first.
    #[inline(always)]
    pub(crate) fn slice(&self) -> &[f64] {
        &self.values.as_ref()[self.head..self.head + self.window.len()]
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, x: f64) {
        let len = self.window.len();
        let values = self.values.as_mut();
        values[self.head] = x;
        values[self.head + len] = x;
        self.head += 1;
        if self.head == len {
            self.head = 0;
        }
    }
}

impl<W: Window> Saved for Recent<W> {
    fn exchange(&mut self, codec: &mut dyn Codec) {
        let len = self.window.len();
        codec.index(&mut self.head, len);
        let (front, back) = self.values.as_mut().split_at_mut(len);
        codec.floats(front);
        back[..len].copy_from_slice(front);
    }
}

/// Sums `f` over a window in four interleaved lanes, the oldest value in the first: as fast as SIMD
/// and the same everywhere. The newest value comes by itself: streaming hasn't stored it yet.
#[inline(always)]
pub(crate) fn lanes(others: &[f64], newest: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    // Minus zero is what adds nothing to any number: that addition can be left out.
    let mut lane = [-0.0; 4];
    let chunks = others.chunks_exact(4);
    let rest = chunks.remainder().iter().chain(std::iter::once(&newest));
    for chunk in chunks {
        for (sum, x) in lane.iter_mut().zip(chunk) {
            *sum += f(*x);
        }
    }
    for (sum, x) in lane.iter_mut().zip(rest) {
        *sum += f(*x);
    }
    (lane[0] + lane[1]) + (lane[2] + lane[3])
}
