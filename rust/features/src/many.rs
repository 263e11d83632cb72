//! Many symbols at once, on as many threads as wanted.

use std::sync::{Mutex, PoisonError};

use crate::batch::{BatchError, Columns, Path, Worker};
use crate::store::Store;
use crate::stream::Plan;

/// How the bars of many symbols lie in one array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A row a symbol.
    SymbolBar,
    /// A row a bar: the way in which a market is recorded.
    BarSymbol,
}

/// Symbols that a thread takes at a time, and whose columns are gathered in one pass over rows of
/// bars.
const GROUP: usize = 8;

/// Computes every symbol of `columns`, each of them `symbols × bars` in the given layout. `out` is
/// `[symbol][feature][bar]`. Symbols are shared out among `threads` (at least one).
pub fn compute_many(
    plan: &Plan,
    columns: &Columns<'_>,
    symbols: usize,
    layout: Layout,
    threads: usize,
    out: &mut [f64],
) -> Result<(), BatchError> {
    columns.check_lengths()?;
    let bars = columns.len().checked_div(symbols).unwrap_or(0);
    let expected = plan.width() * bars * symbols;
    if out.len() != expected {
        return Err(BatchError::Out {
            found: out.len(),
            expected,
            width: plan.width(),
            bars,
        });
    }
    if expected == 0 {
        return Ok(());
    }
    let path = Path::best();
    let store = Store::suiting(expected, path);
    // Handed out group by group, so that a thread that is held up holds up nobody else.
    let groups = Mutex::new(out.chunks_mut(GROUP * plan.width() * bars).enumerate());
    let work = || -> Result<(), (usize, BatchError)> {
        let mut worker = Worker::new(path, plan, store);
        let mut scratch = Gathered::new(GROUP * bars, layout);
        loop {
            let next = groups.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((group, out)) = next else {
                return Ok(());
            };
            let first = group * GROUP;
            let count = out.len() / (plan.width() * bars);
            let rows = match layout {
                Layout::SymbolBar => columns.range(first * bars..(first + count) * bars),
                Layout::BarSymbol => scratch.gather(columns, symbols, first, count),
            };
            for (at, out) in out.chunks_exact_mut(plan.width() * bars).enumerate() {
                worker
                    .compute(&rows.range(at * bars..(at + 1) * bars), out)
                    .map_err(|error| (first + at, error))?;
            }
        }
    };
    let threads = threads.clamp(1, symbols.div_ceil(GROUP));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        std::iter::once(own).chain(joined).collect()
    });
    // Groups are taken in order, so the lowest symbol at fault is found however many threads ran.
    let faults = outcomes.into_iter().filter_map(Result::err);
    match faults.min_by_key(|(symbol, _)| *symbol) {
        Some((symbol, error)) => Err(error.of_symbol(symbol)),
        None => Ok(()),
    }
}

/// Columns of some symbols out of rows of bars.
struct Gathered([Vec<f64>; 4]);

impl Gathered {
    fn new(room: usize, layout: Layout) -> Self {
        let room = match layout {
            Layout::SymbolBar => 0,
            Layout::BarSymbol => room,
        };
        Self(std::array::from_fn(|_| vec![0.0; room]))
    }

    fn gather(
        &mut self,
        columns: &Columns<'_>,
        symbols: usize,
        first: usize,
        count: usize,
    ) -> Columns<'_> {
        let bars = columns.len() / symbols;
        let sources = [columns.high, columns.low, columns.close, columns.volume];
        for (source, gathered) in sources.iter().zip(&mut self.0) {
            for (bar, row) in source.chunks_exact(symbols).enumerate() {
                for (symbol, value) in row[first..first + count].iter().enumerate() {
                    gathered[symbol * bars + bar] = *value;
                }
            }
        }
        let [high, low, close, volume] = &self.0;
        Columns {
            high,
            low,
            close,
            volume,
        }
    }
}
