"""Rust for Python: features, the feed receiver, the risk gate and the embedded services."""

from signal_bridge._native import *  # noqa: F403
from signal_bridge._native import __all__ as __all__
