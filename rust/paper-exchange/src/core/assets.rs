//! What can be traded.

use uuid::Uuid;

use super::Ids;

/// A US equity, with what Alpaca says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    pub id: Uuid,
    pub symbol: String,
    pub name: String,
    pub exchange: &'static str,
}

impl Asset {
    /// The asset of a recorded symbol. A name and a listing are known for the sample's symbols and a
    /// few more; any other symbol is listed on the NYSE under its own name.
    #[must_use]
    pub fn of(symbol: &str) -> Self {
        let (name, exchange) = match symbol {
            "SPY" => ("SPDR S&P 500 ETF Trust", "ARCA"),
            "IBM" => (
                "International Business Machines Corporation Common Stock",
                "NYSE",
            ),
            "BAC" => ("Bank of America Corporation Common Stock", "NYSE"),
            "AIG" => ("American International Group, Inc. Common Stock", "NYSE"),
            "AAPL" => ("Apple Inc. Common Stock", "NASDAQ"),
            other => (other, "NYSE"),
        };
        Self {
            id: Ids::named("asset", symbol),
            symbol: symbol.to_owned(),
            name: name.to_owned(),
            exchange,
        }
    }
}
