"""Opening-range breakout: the first minutes set a range, the first close beyond it sets the side.

The range is the highest high and lowest low of the first `minutes` bars. The first close above it
goes long, the first below it short, once a day and symbol. A close at the other end of the range is
the stop; before the session's close everything is sold.

Source: T. Crabel, *Day Trading with Short Term Price Patterns and Opening Range Breakout* (1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.strategies.base import Answer, Bar, Features, Portfolio, Signal, Strategy
from console.strategies.parameters import param


@dataclass(slots=True)
class _Range:
    high: float
    low: float
    has_traded: bool = False


class OpeningRange(Strategy):
    minutes: int = param(30, low=1, high=380, help="minutes that set the range")
    allow_short: bool = param(True, help="sell short below the range")
    exit_minutes: int = param(5, low=0, high=389, help="flat so long before the close")
    strength: float = param(1.0, low=0, high=1, help="of its signals")

    def begin(self, symbols: Sequence[str]) -> None:
        self._ranges: dict[str, _Range] = {}

    def on_bar(self, bar: Bar, features: Features, portfolio: Portfolio) -> Answer:
        symbol, close = bar.symbol, bar.close
        if bar.minute < self.minutes:
            known = self._ranges.get(symbol)
            if known is None or bar.minute == 0 or known.has_traded:
                self._ranges[symbol] = _Range(bar.high, bar.low)
            else:
                known.high, known.low = max(known.high, bar.high), min(known.low, bar.low)
            return None
        held = portfolio.qty(symbol)
        if bar.minutes_left <= self.exit_minutes:
            self._ranges.pop(symbol, None)
            return Signal(symbol, "flat") if held else None
        opening = self._ranges.get(symbol)
        if opening is None:
            return None
        if held:
            beyond = close <= opening.low if held > 0 else close >= opening.high
            return Signal(symbol, "flat") if beyond else None
        if opening.has_traded:
            return None
        if close > opening.high:
            opening.has_traded = True
            return Signal(symbol, "long", self.strength)
        if self.allow_short and close < opening.low:
            opening.has_traded = True
            return Signal(symbol, "short", self.strength)
        return None
