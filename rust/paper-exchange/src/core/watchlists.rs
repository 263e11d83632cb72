//! Changes to an account's watchlists.

use std::sync::Arc;

use uuid::Uuid;

use super::{Exchange, Fact, Refusal, Watchlist};

const LONGEST_NAME: usize = 64;

impl Exchange {
    /// A new list.
    ///
    /// # Errors
    /// The name is empty, too long or taken, or a symbol is unknown.
    pub fn create_watchlist(
        &mut self,
        account: usize,
        name: &str,
        symbols: &[String],
    ) -> Result<Watchlist, Refusal> {
        let list = Watchlist {
            id: self.ids.take(),
            name: name.to_owned(),
            symbols: symbols
                .iter()
                .map(|symbol| Arc::from(symbol.as_str()))
                .collect(),
            created_at: self.now,
            updated_at: self.now,
        };
        self.put_watchlist(account, list)
    }

    /// Writes a list, new or changed.
    ///
    /// # Errors
    /// As [`Exchange::create_watchlist`].
    pub fn put_watchlist(
        &mut self,
        account: usize,
        mut list: Watchlist,
    ) -> Result<Watchlist, Refusal> {
        if list.name.is_empty() || list.name.chars().count() > LONGEST_NAME {
            return Err(Refusal::malformed(
                "watchlist name must have 1 to 64 characters",
            ));
        }
        let lists = &self.accounts[account].watchlists;
        if lists
            .iter()
            .any(|other| other.id != list.id && other.name == list.name)
        {
            return Err(Refusal::malformed("watchlist name must be unique"));
        }
        if let Some(unknown) = list
            .symbols
            .iter()
            .find(|symbol| self.market.id(symbol).is_none())
        {
            return Err(Refusal::rule(format!("asset \"{unknown}\" not found")));
        }
        list.updated_at = self.now;
        self.facts.push(Fact::Watchlist {
            account: self.key(account),
            watchlist: list.clone(),
        });
        self.accounts[account].put_watchlist(list.clone());
        Ok(list)
    }

    pub fn delete_watchlist(&mut self, account: usize, id: Uuid) {
        self.facts.push(Fact::WatchlistDeleted {
            account: self.key(account),
            id,
        });
        self.accounts[account]
            .watchlists
            .retain(|list| list.id != id);
    }
}
