//! market-data
