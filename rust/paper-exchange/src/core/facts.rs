//! What must be remembered so that an account comes back as it was.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Account, Configuration, Exchange, Fill, Nanos, Order, Sample, Watchlist};

/// One change. The account is named by its key id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    Opened {
        account: Arc<str>,
        secret_hash: String,
        at: Nanos,
    },
    Order {
        account: Arc<str>,
        order: Box<Order>,
    },
    Fill {
        account: Arc<str>,
        fill: Fill,
    },
    Configured {
        account: Arc<str>,
        configuration: Configuration,
    },
    Watchlist {
        account: Arc<str>,
        watchlist: Watchlist,
    },
    WatchlistDeleted {
        account: Arc<str>,
        id: Uuid,
    },
    DayClosed {
        account: Arc<str>,
        at: Nanos,
        equity: Decimal,
        maintenance_margin: Decimal,
        marks: Vec<(Arc<str>, Decimal)>,
    },
    Sampled {
        account: Arc<str>,
        sample: Sample,
    },
}

/// Changes that belong together: all of them are remembered, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub at: Nanos,
    /// Identifiers given so far.
    pub ids: u64,
    pub facts: Vec<Fact>,
}

impl Exchange {
    /// Puts back what an earlier run remembered. Call it before anything else happens.
    pub fn restore(&mut self, batch: Batch) {
        self.ids.resume(batch.ids);
        self.set_time(batch.at.max(self.now));
        for fact in batch.facts {
            self.restore_fact(fact);
        }
    }

    fn restore_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Opened {
                account,
                secret_hash,
                at,
            } => {
                let account = Account::new(&account, &secret_hash, at, &self.settings);
                self.insert_account(account);
            }
            Fact::Order { account, order } => {
                if let Some(number) = self.account_number(&account) {
                    self.market.register(&order.symbol);
                    self.store(number, *order);
                }
            }
            Fact::Fill { account, fill } => {
                if let Some(number) = self.account_number(&account) {
                    self.market.register(&fill.symbol);
                    self.accounts[number].book(fill);
                }
            }
            Fact::Configured {
                account,
                configuration,
            } => {
                if let Some(account) = self.account_mut(&account) {
                    account.configuration = configuration;
                }
            }
            Fact::Watchlist { account, watchlist } => {
                if let Some(account) = self.account_mut(&account) {
                    account.put_watchlist(watchlist);
                }
            }
            Fact::WatchlistDeleted { account, id } => {
                if let Some(account) = self.account_mut(&account) {
                    account.watchlists.retain(|list| list.id != id);
                }
            }
            Fact::DayClosed {
                account,
                at,
                equity,
                maintenance_margin,
                marks,
            } => {
                for (symbol, price) in &marks {
                    let id = self.market.register(symbol);
                    let quoted = self.market.get_mut(id);
                    quoted.closed(at, *price);
                    quoted.last.get_or_insert(*price);
                }
                if let Some(account) = self.account_mut(&account) {
                    account.close_day(at, equity, maintenance_margin, &marks);
                }
            }
            Fact::Sampled { account, sample } => {
                if let Some(account) = self.account_mut(&account) {
                    account.samples.push(sample);
                }
            }
        }
    }

    fn account_mut(&mut self, key_id: &str) -> Option<&mut Account> {
        self.account_number(key_id)
            .map(|number| &mut self.accounts[number])
    }

    /// The whole state as one batch, from which [`Exchange::restore`] makes the same exchange again.
    #[must_use]
    pub fn snapshot(&self) -> Batch {
        let mut facts = Vec::new();
        for account in &self.accounts {
            let key: Arc<str> = Arc::from(account.key_id.as_str());
            facts.push(Fact::Opened {
                account: Arc::clone(&key),
                secret_hash: account.secret_hash.clone(),
                at: account.created_at,
            });
            facts.push(Fact::Configured {
                account: Arc::clone(&key),
                configuration: account.configuration.clone(),
            });
            for order in account.orders() {
                facts.push(Fact::Order {
                    account: Arc::clone(&key),
                    order: Box::new(order.clone()),
                });
            }
            self.snapshot_history(account, &key, &mut facts);
            for watchlist in &account.watchlists {
                facts.push(Fact::Watchlist {
                    account: Arc::clone(&key),
                    watchlist: watchlist.clone(),
                });
            }
        }
        Batch {
            at: self.now,
            ids: self.ids.count(),
            facts,
        }
    }

    /// Fills and day closes in the order in which they happened: the day's base prices depend on it.
    fn snapshot_history(&self, account: &Account, key: &Arc<str>, facts: &mut Vec<Fact>) {
        let mut closes = account.closes.iter().peekable();
        for fill in &account.fills {
            while let Some(close) = closes.next_if(|close| close.at <= fill.at) {
                facts.push(close.fact(key));
            }
            facts.push(Fact::Fill {
                account: Arc::clone(key),
                fill: fill.clone(),
            });
        }
        facts.extend(closes.map(|close| close.fact(key)));
        for sample in &account.samples {
            facts.push(Fact::Sampled {
                account: Arc::clone(key),
                sample: *sample,
            });
        }
    }
}
