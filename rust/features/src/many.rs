//! Many symbols at once, on as many threads as wanted.

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

/// Symbols whose columns are gathered in one pass over rows of bars.
const GATHER: usize = 8;

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
    let each = symbols.div_ceil(threads.clamp(1, symbols));
    let store = Store::suiting(expected);
    let work = |first: usize, out: &mut [f64]| match layout {
        Layout::SymbolBar => by_rows(plan, store, columns, bars, first, out),
        Layout::BarSymbol => gathered(plan, store, columns, symbols, bars, first, out),
    };
    if each == symbols {
        return work(0, out);
    }
    std::thread::scope(|scope| {
        let parts: Vec<_> = out
            .chunks_mut(each * plan.width() * bars)
            .enumerate()
            .map(|(at, part)| scope.spawn(move || work(at * each, part)))
            .collect();
        parts.into_iter().try_for_each(|part| {
            part.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// The symbols from `first` on, as many as `out` has room for.
fn by_rows(
    plan: &Plan,
    store: Store,
    columns: &Columns<'_>,
    bars: usize,
    first: usize,
    out: &mut [f64],
) -> Result<(), BatchError> {
    let mut worker = Worker::new(Path::best(), plan, store);
    for (at, out) in out.chunks_exact_mut(plan.width() * bars).enumerate() {
        let start = (first + at) * bars;
        let row = columns.range(start..start + bars);
        worker
            .compute(&row, out)
            .map_err(|error| error.of_symbol(first + at))?;
    }
    Ok(())
}

/// As `by_rows`, from rows of bars: some symbols at a time are gathered into columns.
fn gathered(
    plan: &Plan,
    store: Store,
    columns: &Columns<'_>,
    symbols: usize,
    bars: usize,
    first: usize,
    out: &mut [f64],
) -> Result<(), BatchError> {
    let width = plan.width() * bars;
    let mut worker = Worker::new(Path::best(), plan, store);
    let mut scratch: [Vec<f64>; 4] = std::array::from_fn(|_| vec![0.0; GATHER * bars]);
    for (at, out) in out.chunks_mut(GATHER * width).enumerate() {
        let start = first + at * GATHER;
        let count = out.len() / width;
        let sources = [columns.high, columns.low, columns.close, columns.volume];
        for (source, gathered) in sources.iter().zip(&mut scratch) {
            for (bar, row) in source.chunks_exact(symbols).enumerate() {
                for (symbol, value) in row[start..start + count].iter().enumerate() {
                    gathered[symbol * bars + bar] = *value;
                }
            }
        }
        let [high, low, close, volume] = &scratch;
        let group = Columns {
            high,
            low,
            close,
            volume,
        };
        for (symbol, out) in out.chunks_exact_mut(width).enumerate() {
            let row = group.range(symbol * bars..(symbol + 1) * bars);
            worker
                .compute(&row, out)
                .map_err(|error| error.of_symbol(start + symbol))?;
        }
    }
    Ok(())
}
