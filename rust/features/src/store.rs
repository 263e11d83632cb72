//! Numbers from and to memory beyond the cache: rows that nobody reads soon, inputs of the next block.

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Into the cache, as any store.
    Cached,
    /// Past it: memory that isn't read first is written in half the time.
    Streamed,
}

/// Bytes of results from which on they won't be in the second-level cache when they are read.
const MANY: usize = 1 << 20;

impl Store {
    /// What suits so many numbers.
    pub(crate) fn suiting(numbers: usize) -> Self {
        if cfg!(target_arch = "x86_64") && numbers * size_of::<f64>() >= MANY {
            Self::Streamed
        } else {
            Self::Cached
        }
    }

    /// Copies `numbers` into `out`, which is as long.
    #[inline(always)]
    pub(crate) fn copy(self, out: &mut [f64], numbers: &[f64]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Streamed => streamed(out, numbers),
            _ => out.copy_from_slice(numbers),
        }
    }

    /// Makes what was written visible to other threads, before they are told of it.
    #[inline(always)]
    pub(crate) fn finish(self) {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Streamed {
            // SAFETY: every x86-64 has the instruction; it touches no memory of ours.
            unsafe { std::arch::x86_64::_mm_sfence() };
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn streamed(out: &mut [f64], numbers: &[f64]) {
    use std::arch::x86_64::{_mm_set_pd, _mm_stream_pd};

    let head = out.as_ptr().align_offset(64).min(out.len());
    let (front, out) = out.split_at_mut(head);
    let (first, numbers) = numbers.split_at(head);
    single(front, first);
    let (lines, back) = out.as_chunks_mut::<8>();
    let (whole, last) = numbers.as_chunks::<8>();
    for (line, numbers) in lines.iter_mut().zip(whole) {
        for at in [0, 2, 4, 6] {
            // SAFETY: `line` is eight writable floats, aligned to 64 bytes as the front was cut off;
            // every x86-64 has the instruction, and `finish` orders it before what others see.
            unsafe {
                let pair = _mm_set_pd(numbers[at + 1], numbers[at]);
                _mm_stream_pd(line.as_mut_ptr().add(at), pair);
            }
        }
    }
    single(back, last);
}

/// The few numbers that share a line with those of another call, one by one.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn single(out: &mut [f64], numbers: &[f64]) {
    for (out, number) in out.iter_mut().zip(numbers) {
        // SAFETY: `out` is a writable number; every x86-64 has the instruction, and `finish` orders
        // it before what others see.
        unsafe {
            std::arch::x86_64::_mm_stream_si64(
                std::ptr::from_mut(out).cast(),
                number.to_bits().cast_signed(),
            );
        }
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
    fn every_length_and_alignment_is_copied_whole() {
        let numbers: Vec<f64> = (0..40).map(f64::from).collect();
        for store in [Store::Cached, Store::Streamed] {
            for start in 0..4 {
                for len in 0..20 {
                    let mut out = [-1.0; 40];
                    store.copy(&mut out[start..start + len], &numbers[..len]);
                    store.finish();
                    let (before, rest) = out.split_at(start);
                    assert!(before.iter().chain(&rest[len..]).all(|x| *x == -1.0));
                    assert_eq!(rest[..len], numbers[..len]);
                }
            }
        }
    }
}
