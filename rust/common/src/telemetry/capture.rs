//! Log lines kept until the program around the services takes them: a bounded queue.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that wait to be taken; the next ones are dropped and counted.
const WAITING: usize = 4096;
/// Crates whose lines are wanted at the level that is set; of the others warnings are enough.
const OWN: [&str; 7] = [
    "common",
    "market_data",
    "execution_engine",
    "risk_manager",
    "paper_exchange",
    "feed",
    "features",
];

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    /// The service's thread, or the module where the thread has no name.
    pub source: String,
    pub message: String,
    /// Name and value of what was said beside the message.
    pub fields: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Queue {
    lines: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Line>,
    dropped: u64,
}

static QUEUE: Queue = Queue {
    lines: Mutex::new(Waiting {
        lines: VecDeque::new(),
        dropped: 0,
    }),
    came: Condvar::new(),
};
static LEVEL: AtomicU8 = AtomicU8::new(3);
static START: Once = Once::new();

/// Keep lines of `level` and above from now on; may be called again with another one.
pub fn start(level: LevelFilter) {
    LEVEL.store(rank(level), Ordering::Relaxed);
    START.call_once(|| {
        // Another log that was started before keeps its place, and nothing is captured.
        let _ = tracing_subscriber::registry().with(Capture).try_init();
    });
    tracing::callsite::rebuild_interest_cache();
}

/// The lines that came, oldest first, and how many were dropped before them; waits for one until
/// `limit` is over.
pub fn take(limit: Duration) -> (Vec<Line>, u64) {
    let waiting = QUEUE.waiting();
    let (mut waiting, _) = QUEUE
        .came
        .wait_timeout_while(waiting, limit, |waiting| waiting.lines.is_empty())
        .unwrap_or_else(PoisonError::into_inner);
    let dropped = std::mem::take(&mut waiting.dropped);
    (waiting.lines.drain(..).collect(), dropped)
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Line) {
        let mut waiting = self.waiting();
        if waiting.lines.len() < WAITING {
            waiting.lines.push_back(line);
            self.came.notify_one();
        } else {
            waiting.dropped += 1;
        }
    }
}

fn rank(level: LevelFilter) -> u8 {
    match level.into_level() {
        None => 0,
        Some(Level::ERROR) => 1,
        Some(Level::WARN) => 2,
        Some(Level::INFO) => 3,
        Some(Level::DEBUG) => 4,
        Some(_) => 5,
    }
}

struct Capture;

impl<S: Subscriber> Layer<S> for Capture {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let wanted = LEVEL.load(Ordering::Relaxed);
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        let most = if OWN.contains(&crate_name) {
            wanted
        } else {
            wanted.min(2)
        };
        rank(LevelFilter::from_level(*metadata.level())) <= most
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let thread = std::thread::current();
        let source = thread
            .name()
            .filter(|name| !name.starts_with("tokio"))
            .unwrap_or_else(|| event.metadata().target());
        QUEUE.push(Line {
            level: *event.metadata().level(),
            source: source.to_owned(),
            message: words.message,
            fields: words.fields,
        });
    }
}

#[derive(Default)]
struct Words {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test alone: the log of a process is one.
    #[test]
    fn lines_are_kept_by_level_up_to_a_bound() {
        start(LevelFilter::INFO);
        let speak = || {
            tracing::info!(port = 7, name = "x", "it {}", "runs");
            tracing::debug!("a detail");
        };
        std::thread::Builder::new()
            .name("market-data".to_owned())
            .spawn(speak)
            .unwrap()
            .join()
            .unwrap();
        let (lines, dropped) = take(Duration::from_secs(30));
        let mine = |lines: Vec<Line>| -> Vec<Line> {
            lines
                .into_iter()
                .filter(|line| line.source == "market-data")
                .collect()
        };
        let lines = mine(lines);
        assert_eq!((lines.len(), dropped), (1, 0), "{lines:?}");
        assert_eq!(
            (lines[0].level, lines[0].message.as_str()),
            (Level::INFO, "it runs")
        );
        assert_eq!(
            lines[0].fields,
            [("port", "7".to_owned()), ("name", "x".to_owned())]
        );

        start(LevelFilter::DEBUG);
        std::thread::Builder::new()
            .name("market-data".to_owned())
            .spawn(speak)
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(mine(take(Duration::from_secs(30)).0).len(), 2);

        start(LevelFilter::ERROR);
        speak();
        for count in 0..WAITING + 10 {
            tracing::error!(count, "too much");
        }
        let (lines, dropped) = take(Duration::ZERO);
        assert_eq!(lines.len(), WAITING);
        assert!(dropped >= 10, "{dropped}");
    }
}
