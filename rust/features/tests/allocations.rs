//! Streaming allocates nothing once a symbol is known.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use features::micro::{Market, MicroSettings, Quote, Trade};
use features::{Bar, Computer, Plan, STANDARD};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract, and it is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn bar(n: usize) -> Bar {
    let close = 100.0 + (n % 7) as f64 * 0.01;
    Bar {
        open: close,
        high: close + 0.02,
        low: close - 0.01,
        close,
        volume: n as f64,
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
}

#[test]
fn a_bar_allocates_nothing_cold_or_warm_fused_or_chosen() {
    for names in [
        &STANDARD[..],
        &["rsi_7", "sma_50", "macd_5_35_5", "stoch_d_5_3_3"],
    ] {
        let mut computer = Computer::new(Plan::new(names).expect("known names"));
        let id = computer.symbol("IBM");
        let mut out = vec![0.0; names.len()];
        let count = allocations(|| {
            for n in 0..200 {
                computer.update(id, &bar(n), &mut out).expect("finite");
            }
        });
        assert_eq!(count, 0, "{names:?}");
    }
}

#[test]
fn quotes_and_trades_allocate_nothing() {
    let mut market = Market::new(MicroSettings::default()).expect("the defaults are sound");
    let mut step = |n: i64| {
        let bid = 100.0 + (n % 5) as f64 * 0.01;
        let quote = Quote {
            bid,
            bid_size: 3.0,
            ask: bid + 0.01,
            ask_size: 2.0,
        };
        market.quote(quote, n * 1_000_000_000);
        market.trade(Trade {
            price: bid,
            size: 100.0,
            timestamp: n * 1_000_000_000,
        });
    };
    let count = allocations(|| (0..2000).for_each(&mut step));
    assert_eq!(count, 0);
}
