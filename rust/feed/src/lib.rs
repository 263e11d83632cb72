//! The console's receiving end of the market bus: messages in, features and history kept, frames out.
//!
//! [`Feed`] is the pure part: time is an argument, nothing is received. [`Receiver`] runs one on a
//! thread of its own.

mod columns;
mod day;
mod fast_bar;
mod feed;
mod frame;
mod history;
mod receiver;
mod symbol;

pub use columns::Columns;
pub use feed::{Feed, FeedError, Settings, Stats};
pub use frame::{ConnectionState, Frame, SPARK};
pub use history::{Bars, HistoryBar};
pub use receiver::Receiver;
