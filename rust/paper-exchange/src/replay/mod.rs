//! Recorded sessions as a stream of ticks in market time, and the clock that says how late it is there.

mod clock;
mod day;
mod prints;
mod schedule;
mod stream;
mod tick;

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) use tests::sample;

pub use clock::{Clock, ClockError, ClockSettings};
pub use day::SymbolDay;
pub(crate) use prints::prints;
pub use schedule::{LEAD, PlayDay, Schedule, ScheduleError};
pub use stream::Replay;
pub use tick::{Bar, Price, Print, Quote, SymbolId, Tick, Trade};
