//! paper-exchange
