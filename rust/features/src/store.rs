//! Numbers from and to memory beyond the cache: rows that nobody reads soon, inputs of the next block.

use crate::batch::Path;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Into the cache, as any store.
    Cached,
    /// Past it: memory that isn't read first is written in half the time.
    Streamed,
    /// As that, in the vectors of AVX, which was found on this CPU.
    StreamedWide,
}

/// Bytes of results from which on they won't be in the second-level cache when they are read.
const MANY: usize = 1 << 20;

impl Store {
    /// What suits so many numbers on this path.
    pub(crate) fn suiting(numbers: usize, path: Path) -> Self {
        if !cfg!(target_arch = "x86_64") || numbers * size_of::<f64>() < MANY {
            return Self::Cached;
        }
        match path {
            Path::Avx2 if path.is_possible() => Self::StreamedWide,
            _ => Self::Streamed,
        }
    }

    /// Makes what was written visible to other threads, before they are told of it.
    #[inline(always)]
    pub(crate) fn finish(self) {
        #[cfg(target_arch = "x86_64")]
        if self != Self::Cached {
            // SAFETY: every x86-64 has the instruction; it touches no memory of ours.
            unsafe { std::arch::x86_64::_mm_sfence() };
        }
    }
}

/// Numbers of a line of the cache.
const LINE: usize = 8;

/// A row of results, written from its first number to its last. Past the cache only whole lines are
/// quick: what doesn't fill one is held back until more comes.
pub(crate) struct Out<'a> {
    /// What isn't written yet, and what is held back of it.
    rest: &'a mut [f64],
    /// A line with room before and behind it. How many numbers of it are held back:
    line: [f64; 3 * LINE],
    held: usize,
}

impl<'a> Out<'a> {
    pub(crate) fn new(row: &'a mut [f64]) -> Self {
        Self {
            rest: row,
            line: [0.0; 3 * LINE],
            held: 0,
        }
    }

    /// Writes the next numbers of the row.
    #[inline(always)]
    pub(crate) fn write(&mut self, store: Store, numbers: &[f64]) {
        match store {
            Store::Cached => self.take(numbers.len()).copy_from_slice(numbers),
            #[cfg(target_arch = "x86_64")]
            Store::Streamed => self.stream_pairs(numbers),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: there is such a store only where AVX was found.
            Store::StreamedWide => unsafe { self.stream_fours(numbers) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("it suits no other CPU"),
        }
    }

    // One copy of each, which stays where the core finds it for all rows.
    #[cfg(target_arch = "x86_64")]
    #[inline(never)]
    fn stream_pairs(&mut self, numbers: &[f64]) {
        self.stream(numbers, streamed);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(never)]
    #[target_feature(enable = "avx")]
    fn stream_fours(&mut self, numbers: &[f64]) {
        self.stream(numbers, |out, line| streamed_wide(out, line));
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn stream(&mut self, numbers: &[f64], store: impl Fn(&mut [f64; LINE], &[f64; LINE])) {
        let missing = self.missing();
        let (Some(first), Some(last)) =
            (numbers.first_chunk::<LINE>(), numbers.last_chunk::<LINE>())
        else {
            return numbers.iter().for_each(|number| self.hold(*number));
        };
        // Eight at a time even where fewer are wanted.
        self.line[LINE + self.held..][..LINE].copy_from_slice(first);
        let begun = std::mem::take(&mut self.held) + missing;
        let begun = self.take(begun);
        let (lines, others) = numbers[missing..].as_chunks::<LINE>();
        let outs = self.take(lines.len() * LINE).as_chunks_mut().0;
        for (out, line) in outs.iter_mut().zip(lines) {
            store(out, line);
        }
        // After the others: it was made of two pieces, which have to arrive before it is read.
        let completed = self.line[LINE..].as_chunks().0;
        match begun.as_chunks_mut() {
            ([line], []) => store(line, &completed[0]),
            _ => begun.iter_mut().zip(&completed[0]).for_each(single),
        }
        self.held = others.len();
        self.line[self.held..][..LINE].copy_from_slice(last);
    }

    /// Numbers until a line ends, with those that are held back.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn missing(&self) -> usize {
        let next = self.rest[self.held..].as_ptr();
        next.align_offset(LINE * size_of::<f64>())
    }

    #[cfg(target_arch = "x86_64")]
    fn hold(&mut self, number: f64) {
        self.line[LINE + self.held] = number;
        self.held += 1;
        if self.missing() == 0 {
            self.finish();
        }
    }

    /// Writes what is held back: the row, or what can be told of it, ends.
    pub(crate) fn finish(&mut self) {
        let held = std::mem::take(&mut self.held);
        let out = self.take(held).iter_mut();
        out.zip(&self.line[LINE..]).for_each(single);
    }

    #[inline(always)]
    fn take(&mut self, count: usize) -> &'a mut [f64] {
        let (next, rest) = std::mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        next
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn streamed(line: &mut [f64; LINE], numbers: &[f64; LINE]) {
    use std::arch::x86_64::{_mm_set_pd, _mm_stream_pd};

    debug_assert!(line.as_ptr().cast::<[f64; LINE]>().is_aligned());
    for at in [0, 2, 4, 6] {
        // SAFETY: `line` is writable and begins a line of the cache; every x86-64 has the
        // instruction, and `finish` orders it before what others see.
        unsafe {
            let pair = _mm_set_pd(numbers[at + 1], numbers[at]);
            _mm_stream_pd(line.as_mut_ptr().add(at), pair);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx")]
fn streamed_wide(line: &mut [f64; LINE], numbers: &[f64; LINE]) {
    use std::arch::x86_64::{_mm256_loadu_pd, _mm256_stream_pd};

    for at in [0, 4] {
        // SAFETY: as above, and `numbers` has four from there on.
        unsafe {
            let four = _mm256_loadu_pd(numbers.as_ptr().add(at));
            _mm256_stream_pd(line.as_mut_ptr().add(at), four);
        }
    }
}

/// One of the few that share a line with numbers of another row.
#[inline(always)]
fn single((out, number): (&mut f64, &f64)) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `out` is a writable number; every x86-64 has the instruction, and `finish` orders it
    // before what others see.
    unsafe {
        std::arch::x86_64::_mm_stream_si64(
            std::ptr::from_mut(out).cast(),
            number.to_bits().cast_signed(),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        *out = *number;
    }
}

/// Asks for numbers that are read soon, so that they are in the second-level cache by then.
#[inline(always)]
pub(crate) fn prefetch(numbers: &[f64]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(8) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, which changes nothing that can be seen.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_alignment_is_written_whole() {
        let numbers: Vec<f64> = (0..80).map(f64::from).collect();
        let wide = Path::Avx2.is_possible().then_some(Store::StreamedWide);
        let streamed = cfg!(target_arch = "x86_64").then_some(Store::Streamed);
        for store in [Some(Store::Cached), streamed, wide].into_iter().flatten() {
            for start in 0..9 {
                for (len, then) in (0..20).flat_map(|len| [(len, 0), (len, 5), (len, 24)]) {
                    let end = len + then;
                    let mut room = [-1.0; 80];
                    let mut out = Out::new(&mut room[start..start + end]);
                    out.write(store, &numbers[..len]);
                    out.write(store, &numbers[len..end]);
                    out.finish();
                    store.finish();
                    let (before, rest) = room.split_at(start);
                    assert!(before.iter().chain(&rest[end..]).all(|x| *x == -1.0));
                    assert_eq!(rest[..end], numbers[..end]);
                }
            }
        }
    }
}
