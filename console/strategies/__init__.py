"""Strategies: the base, examples, and what runs them live and on recorded prices.

A strategy is pure: bars come in, signals go out, time is in what it is told. The same object runs
in a backtest and on the bus.

    from console.strategies import Signal, Strategy, param

    class Momentum(Strategy):
        features = ("roc_{window}",)
        window: int = param(10, low=2, high=390, help="minutes that are looked back")

        def on_bar(self, bar, features, portfolio):
            return Signal(bar.symbol, "long" if features[0] > 0 else "flat")
"""

from __future__ import annotations

from console.strategies.base import Answer as Answer
from console.strategies.base import Bar as Bar
from console.strategies.base import Features as Features
from console.strategies.base import Fill as Fill
from console.strategies.base import Portfolio as Portfolio
from console.strategies.base import Quote as Quote
from console.strategies.base import Signal as Signal
from console.strategies.base import Strategy as Strategy
from console.strategies.errors import StrategyError as StrategyError
from console.strategies.parameters import param as param
