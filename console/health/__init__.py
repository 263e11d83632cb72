"""What a supervisor sees: /health, /ready, /live and /metrics, and the state behind them."""
