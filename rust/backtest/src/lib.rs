//! A strategy on recorded prices: the exchange's core, the features and the risk gate that trade live,
//! without sockets and clocks.
//!
//! [`run`] plays the recorded sessions minute by minute. A strategy sees a bar when it is over and
//! answers with signals; `desk` makes orders of them by the rules of the execution-engine and the
//! engine, the gate judges them, the exchange fills them at prices after the bar. What happened is a
//! journal of lines whose hash tells two runs apart.

mod computers;
mod desk;
mod error;
mod journal;
mod outcome;
mod portfolio;
mod run;
mod settings;
mod setup;
pub mod strategies;
mod strategy;
mod tape;

pub use error::BacktestError;
pub use journal::Journal;
pub use outcome::{Curve, FillRow, OrderRow, Outcome, RefusalRow};
pub use portfolio::{Holding, Portfolio};
pub use run::run;
pub use settings::{Settings, SettingsError};
pub use strategy::{Bar, Direction, Fill, Quote, Side, Signal, Strategy};
