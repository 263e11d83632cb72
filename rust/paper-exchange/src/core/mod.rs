//! The exchange without its surroundings: orders, matching, accounts, positions, activities.
//!
//! Everything that happens enters through [`Exchange`] with the market time it happens at. What must
//! be told to somebody comes out as [`Update`]s, what must be remembered as [`Fact`]s.

mod account;
mod assets;
mod auctions;
mod book;
mod commitments;
mod exchange;
mod facts;
mod groups;
mod history;
mod ids;
mod market;
mod matching;
mod order;
mod queries;
mod refusal;
mod replacement;
mod requests;
mod rules;
mod session;
mod submission;
mod watchlists;

pub use account::{Account, Balances, Configuration, Fill, Position, Watchlist};
pub use assets::Asset;
pub use exchange::{Exchange, ExchangeSettings, Update, UpdateEvent};
pub use facts::{Batch, Fact};
pub use history::{DayBase, DayClose, History, HistoryRequest, Sample};
pub use ids::Ids;
pub use market::{Market, Quoted, SymbolId};
pub use order::{Order, OrderClass, OrderType, Role, Side, Status, TimeInForce};
pub use queries::{ActivityQuery, OrderQuery, OrderScope};
pub use refusal::{Refusal, RefusalKind};
pub use requests::{CloseSize, NewOrder, Replacement, StopLoss, TakeProfit};
pub use session::Phase;
pub use submission::Receipt;

/// Nanoseconds since the Unix epoch, market time.
pub type Nanos = i64;

pub(crate) const SECOND: Nanos = 1_000_000_000;
pub(crate) const MINUTE: Nanos = 60 * SECOND;
pub(crate) const DAY: Nanos = 24 * 60 * MINUTE;
