"""Alpaca paper trading through alpaca-py: orders, account, data and streams."""
