use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::calendar::{self, HOUR, MINUTE, SECOND};
use proptest::prelude::*;

use super::*;
use crate::recording::Recording;

pub(crate) fn sample() -> Arc<Recording> {
    static SAMPLE: std::sync::OnceLock<Arc<Recording>> = std::sync::OnceLock::new();
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../console/sample"));
    SAMPLE
        .get_or_init(|| Arc::new(Recording::load(&folder).expect("the sample is in order")))
        .clone()
}

fn schedule() -> Arc<Schedule> {
    Arc::new(Schedule::new(sample(), None, None).unwrap())
}

fn date(text: &str) -> chrono::NaiveDate {
    text.parse().unwrap()
}

#[test]
fn speed_of_the_replay() {
    let begin = std::time::Instant::now();
    let schedule = schedule();
    eprintln!(
        "load {:?} {:?}",
        begin.elapsed(),
        schedule.recording().sessions()
    );
    let begin = std::time::Instant::now();
    let mut replay = Replay::new(schedule.clone(), schedule.start(), 1000.0);
    let mut count = [0_u64; 5];
    let end = schedule.start() + 9 * calendar::DAY;
    replay.advance_to(end, &mut |tick| {
        count[match tick {
            Tick::Open { .. } => 0,
            Tick::Quote(_) => 1,
            Tick::Trade(_) => 2,
            Tick::Bar(_) => 3,
            Tick::Close { .. } => 4,
        }] += 1;
    });
    let took = begin.elapsed();
    eprintln!(
        "{count:?} {took:?} {} M/s",
        count.iter().sum::<u64>() as f64 / took.as_secs_f64() / 1e6
    );
}
