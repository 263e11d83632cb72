//! risk-manager
