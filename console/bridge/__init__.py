"""Rust features and the ZeroMQ bus, as Python sees them."""
