"""Momentum: two exponential averages that cross, with a stop that trails by true ranges.

Long when EMA(fast) crosses above EMA(slow), short (or flat) when it crosses below. The stop of a
long is max over its bars of close − stop_atr·ATR, that of a short the mirror image; a close at or
beyond it ends the position. Nothing is held over night.

Sources: R. Appel, *Technical Analysis: Power Tools for Active Investors* (2005), for the crossing;
J. W. Wilder, *New Concepts in Technical Trading Systems* (1978), for ATR and the volatility stop.
`rust/backtest/src/strategies/ema_cross.rs` is the same in Rust, to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from console.strategies.base import Answer, Bar, Features, Portfolio, Signal, Strategy
from console.strategies.errors import StrategyError
from console.strategies.parameters import param


class EmaCross(Strategy):
    features = ("ema_{fast}", "ema_{slow}", "atr_{atr}")

    fast: int = param(20, low=2, high=1950, help="bars of the fast average")
    slow: int = param(60, low=3, high=1950, help="bars of the slow average")
    atr: int = param(14, low=2, high=390, help="bars of the average true range")
    stop_atr: float = param(3.0, low=0.1, high=50, help="true ranges from the close to the stop")
    allow_short: bool = param(True, help="sell short on a cross below")
    exit_minutes: int = param(5, low=0, high=389, help="flat so long before the close")
    strength: float = param(1.0, low=0, high=1, help="of its signals")

    def check(self) -> None:
        if self.fast >= self.slow:
            raise StrategyError(
                f"ema_cross: fast = {self.fast} is not below slow = {self.slow}; "
                "the fast average has the fewer bars"
            )

    def begin(self, symbols: Sequence[str]) -> None:
        self._above: dict[str, bool] = {}
        self._stops = dict.fromkeys(symbols, math.nan)

    def on_bar(self, bar: Bar, features: Features, portfolio: Portfolio) -> Answer:
        fast, slow, atr = features
        symbol, close = bar.symbol, bar.close
        above = fast > slow
        crossed = self._above.get(symbol, above) != above
        self._above[symbol] = above
        held = portfolio.qty(symbol)
        if bar.minutes_left <= self.exit_minutes:
            return Signal(symbol, "flat") if held else None
        reach = self.stop_atr * atr
        if crossed:
            if above:
                self._stops[symbol] = close - reach
                return Signal(symbol, "long", self.strength)
            if self.allow_short:
                self._stops[symbol] = close + reach
                return Signal(symbol, "short", self.strength)
            return Signal(symbol, "flat") if held else None
        if held > 0:
            # The first of two wins against NaN, which a stop is until there is one.
            self._stops[symbol] = stop = max(close - reach, self._stops[symbol])
            return Signal(symbol, "flat") if close <= stop else None
        if held < 0:
            self._stops[symbol] = stop = min(close + reach, self._stops[symbol])
            return Signal(symbol, "flat") if close >= stop else None
        return None
