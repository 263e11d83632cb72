//! State to bytes and back: each piece names its fields once, for both directions.

/// Writes a field or reads it.
pub(crate) trait Codec {
    fn float(&mut self, x: &mut f64);
    fn floats(&mut self, xs: &mut [f64]);
    /// A position below `bound`.
    fn index(&mut self, x: &mut usize, bound: usize);
    /// A count of bars.
    fn count(&mut self, x: &mut usize);
}

/// Something that outlives a restart.
pub(crate) trait Saved {
    fn exchange(&mut self, codec: &mut dyn Codec);
}

pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Codec for Writer<'_> {
    fn float(&mut self, x: &mut f64) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }

    fn floats(&mut self, xs: &mut [f64]) {
        self.0.reserve(8 * xs.len());
        for x in xs {
            self.float(x);
        }
    }

    fn index(&mut self, x: &mut usize, _bound: usize) {
        self.count(x);
    }

    fn count(&mut self, x: &mut usize) {
        self.0.extend_from_slice(&(*x as u64).to_le_bytes());
    }
}

/// Reads from the front; `broken` once a field was missing or out of bounds.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    pub(crate) broken: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            broken: false,
        }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        if len > self.rest.len() {
            self.broken = true;
            return &[];
        }
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.bytes(8).try_into().map_or(0, u64::from_le_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl Codec for Reader<'_> {
    fn float(&mut self, x: &mut f64) {
        *x = f64::from_bits(self.u64());
    }

    fn floats(&mut self, xs: &mut [f64]) {
        for x in xs {
            self.float(x);
        }
    }

    fn index(&mut self, x: &mut usize, bound: usize) {
        self.count(x);
        if *x >= bound {
            self.broken = true;
            *x = 0;
        }
    }

    fn count(&mut self, x: &mut usize) {
        let value = self.u64();
        // Far beyond any number of bars, far below where arithmetic on it could overflow.
        if value >> 48 != 0 {
            self.broken = true;
        }
        *x = (value & ((1 << 48) - 1)) as usize;
    }
}
