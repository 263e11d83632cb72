//! Streaming: a chosen set, compiled once, and its state for each symbol.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use crate::codec::{Reader, Saved, Writer};
use crate::indicators::Previous;
use crate::names::{self, Feature, NameError, STANDARD};
use crate::node::{Kind, Node, Part, source};
use crate::standard::{Standard, WIDTH};

/// One bar. The open is kept for those who draw it; no feature looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bar {
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
}

/// A bar that can't be taken in: a single NaN would stay in every average for ever.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error(
    "{field} is {value}; a bar's {field} must be a finite number, leave out bars that have none"
)]
pub struct NotFinite {
    pub field: &'static str,
    pub value: f64,
}

impl Bar {
    /// Whether the features can take it in.
    #[inline(always)]
    pub fn check(&self) -> Result<(), NotFinite> {
        // NaN and infinity are the only numbers that don't vanish so.
        let zero = self.high * 0.0 + self.low * 0.0 + self.close * 0.0 + self.volume * 0.0;
        if zero == 0.0 {
            Ok(())
        } else {
            Err(self.culprit())
        }
    }

    #[cold]
    fn culprit(&self) -> NotFinite {
        let fields = [
            ("high", self.high),
            ("low", self.low),
            ("close", self.close),
            ("volume", self.volume),
        ];
        let (field, value) = fields
            .into_iter()
            .find(|(_, value)| !value.is_finite())
            .unwrap_or(fields[0]);
        NotFinite { field, value }
    }
}

/// Where one feature of a chosen set is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) slot: usize,
    pub(crate) part: Part,
    pub(crate) first_valid: usize,
}

impl Reading {
    /// The feature at bar `n`, from its indicator's numbers.
    #[inline(always)]
    pub(crate) fn of(&self, n: usize, numbers: [f64; 3]) -> f64 {
        if n < self.first_valid {
            f64::NAN
        } else {
            self.part.of(numbers)
        }
    }
}

/// A chosen set: its names, the indicators it takes, and where each number is read.
#[derive(Clone, Debug)]
pub struct Plan {
    names: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
    /// By kind, the features read from it.
    pub(crate) readings: Vec<Vec<Reading>>,
    standard: bool,
}

impl Plan {
    /// Compiles a list of names; their order is the order of the numbers.
    pub fn new(names: &[impl AsRef<str>]) -> Result<Self, NameError> {
        let features = names::parse(names)?;
        let mut kinds: Vec<Kind> = Vec::new();
        let mut readings: Vec<Vec<Reading>> = Vec::new();
        for (slot, feature) in features.iter().enumerate() {
            let (kind, part) = source(*feature);
            let at = kinds
                .iter()
                .position(|known| *known == kind)
                .unwrap_or_else(|| {
                    kinds.push(kind);
                    readings.push(Vec::new());
                    kinds.len() - 1
                });
            readings[at].push(Reading {
                slot,
                part,
                first_valid: Feature::first_valid(*feature),
            });
        }
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let standard = names == STANDARD;
        Ok(Self {
            names,
            kinds,
            readings,
            standard,
        })
    }

    /// The full set.
    pub fn standard() -> Self {
        Self::new(&STANDARD).expect("the full set is made of known names")
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Numbers a bar.
    pub fn width(&self) -> usize {
        self.names.len()
    }

    pub fn is_standard(&self) -> bool {
        self.standard
    }
}

/// State of a chosen set for one symbol.
#[derive(Clone, Debug)]
pub struct State(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Standard(Box<Standard>),
    Chosen {
        previous: Previous,
        nodes: Box<[Node]>,
    },
}

impl State {
    pub fn new(plan: &Plan) -> Self {
        if plan.standard {
            Self(Inner::Standard(Box::default()))
        } else {
            Self(Inner::Chosen {
                previous: Previous::default(),
                nodes: plan.kinds.iter().map(|kind| Node::new(*kind)).collect(),
            })
        }
    }

    /// Bars seen.
    pub fn bars(&self) -> usize {
        match &self.0 {
            Inner::Standard(standard) => standard.bars(),
            Inner::Chosen { previous, .. } => previous.n,
        }
    }

    /// Takes in a finite bar and writes `plan.width()` numbers; allocates nothing.
    ///
    /// # Panics
    /// If `out` is shorter or longer than the plan is wide.
    #[inline]
    pub fn update(&mut self, plan: &Plan, bar: &Bar, out: &mut [f64]) {
        match &mut self.0 {
            Inner::Standard(standard) => {
                let out: &mut [f64; WIDTH] = out.try_into().expect("as wide as the plan");
                standard.update(bar.high, bar.low, bar.close, bar.volume, out);
            }
            Inner::Chosen { previous, nodes } => {
                assert_eq!(out.len(), plan.width(), "as wide as the plan");
                let step = previous.step::<true>(bar.high, bar.low, bar.close, bar.volume);
                for (node, readings) in nodes.iter_mut().zip(&plan.readings) {
                    let numbers = node.update(&step);
                    for reading in readings {
                        out[reading.slot] = reading.of(step.n, numbers);
                    }
                }
            }
        }
    }

    pub(crate) fn exchange(&mut self, codec: &mut dyn crate::codec::Codec) {
        match &mut self.0 {
            Inner::Standard(standard) => standard.exchange(codec),
            Inner::Chosen { previous, nodes } => {
                previous.exchange(codec);
                for node in nodes {
                    node.exchange(codec);
                }
            }
        }
    }
}

/// A snapshot that can't be taken up, and why.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SnapshotError {
    #[error("these {0} bytes are no snapshot of features; warm up from bars instead")]
    Foreign(usize),
    #[error(
        "the snapshot has version {found}, this program reads version {expected}; warm up from bars instead"
    )]
    Version { found: u64, expected: u64 },
    #[error(
        "the snapshot is of {found:?}, here {expected:?} are computed; choose the same features or warm up from bars"
    )]
    Names {
        found: Vec<String>,
        expected: Vec<String>,
    },
    #[error("the snapshot is cut short or damaged; warm up from bars instead")]
    Damaged,
}

const MAGIC: &[u8; 8] = b"features";
/// Raised whenever the layout of any state changes.
const VERSION: u64 = 1;

/// Index of a symbol in a [`Computer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolId(usize);

/// A chosen set over many symbols.
#[derive(Clone, Debug)]
pub struct Computer {
    plan: Arc<Plan>,
    ids: HashMap<String, usize>,
    states: Vec<State>,
}

impl Computer {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan: Arc::new(plan),
            ids: HashMap::new(),
            states: Vec::new(),
        }
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The symbol's place; a new symbol starts cold.
    pub fn symbol(&mut self, symbol: &str) -> SymbolId {
        if let Some(id) = self.ids.get(symbol) {
            return SymbolId(*id);
        }
        self.states.push(State::new(&self.plan));
        self.ids.insert(symbol.to_owned(), self.states.len() - 1);
        SymbolId(self.states.len() - 1)
    }

    /// Symbols known, in no particular order.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(String::as_str)
    }

    /// Bars that the symbol has seen.
    pub fn bars(&self, symbol: &str) -> usize {
        self.ids.get(symbol).map_or(0, |id| self.states[*id].bars())
    }

    /// Takes in a bar and writes `plan().width()` numbers; NaN where more bars are needed.
    #[inline]
    pub fn update(&mut self, id: SymbolId, bar: &Bar, out: &mut [f64]) -> Result<(), NotFinite> {
        bar.check()?;
        self.states[id.0].update(&self.plan, bar, out);
        Ok(())
    }

    /// Forgets one symbol, or all.
    pub fn reset(&mut self, symbol: Option<&str>) {
        match symbol {
            Some(symbol) => {
                if let Some(id) = self.ids.get(symbol) {
                    self.states[*id] = State::new(&self.plan);
                }
            }
            None => {
                for state in &mut self.states {
                    *state = State::new(&self.plan);
                }
            }
        }
    }

    /// All state as bytes, for [`Computer::restore`].
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put(&mut bytes, VERSION);
        put_text(&mut bytes, &self.plan.names.join(" "));
        put(&mut bytes, self.ids.len() as u64);
        let mut symbols: Vec<_> = self.ids.iter().collect();
        symbols.sort();
        for (symbol, id) in symbols {
            put_text(&mut bytes, symbol);
            self.states[*id].clone().exchange(&mut Writer(&mut bytes));
        }
        bytes
    }

    /// Takes up a snapshot of the same features; replaces everything, or nothing on an error.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(MAGIC.len()) != MAGIC {
            return Err(SnapshotError::Foreign(bytes.len()));
        }
        let version = reader.u64();
        if version != VERSION {
            return Err(SnapshotError::Version {
                found: version,
                expected: VERSION,
            });
        }
        let names = text(&mut reader)?;
        if names != self.plan.names.join(" ") {
            return Err(SnapshotError::Names {
                found: names.split(' ').map(str::to_owned).collect(),
                expected: self.plan.names.clone(),
            });
        }
        // A symbol keeps its id, so that whoever holds one goes on with the right state.
        let mut restored = self.clone();
        restored.reset(None);
        for _ in 0..reader.u64() {
            let symbol = text(&mut reader)?;
            let SymbolId(id) = restored.symbol(&symbol);
            restored.states[id].exchange(&mut reader);
            if reader.broken {
                return Err(SnapshotError::Damaged);
            }
        }
        if reader.broken || !reader.is_empty() {
            return Err(SnapshotError::Damaged);
        }
        *self = restored;
        Ok(())
    }
}

fn put(bytes: &mut Vec<u8>, value: u64) {
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn text(reader: &mut Reader<'_>) -> Result<String, SnapshotError> {
    let len = usize::try_from(reader.u64()).map_err(|_| SnapshotError::Damaged)?;
    let bytes = reader.bytes(len);
    if reader.broken {
        return Err(SnapshotError::Damaged);
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| SnapshotError::Damaged)
}
