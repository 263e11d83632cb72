"""Mean reversion: outside Bollinger's bands and oversold or overbought, back to the middle.

Long when close < BB_lower and RSI < oversold; short when close > BB_upper and RSI > 100 − oversold.
Out when the close is back at the middle band, and before the session's close. The bands are
SMA(n) ± 2σ(n).

Sources: J. Bollinger, *Bollinger on Bollinger Bands* (2001), method III (reversals);
J. W. Wilder, *New Concepts in Technical Trading Systems* (1978), for RSI.
"""

from __future__ import annotations

from console.strategies.base import Answer, Bar, Features, Portfolio, Signal, Strategy
from console.strategies.parameters import param


class BollingerReversion(Strategy):
    features = ("bb_lower_{window}", "bb_middle_{window}", "bb_upper_{window}", "rsi_{rsi}")

    window: int = param(20, low=2, high=1950, help="bars of the bands")
    rsi: int = param(14, low=2, high=390, help="bars of the relative strength index")
    oversold: float = param(30.0, low=1, high=50, help="an index below buys, its mirror sells")
    allow_short: bool = param(True, help="sell short above the upper band")
    exit_minutes: int = param(5, low=0, high=389, help="flat so long before the close")
    strength: float = param(1.0, low=0, high=1, help="of its signals")

    def on_bar(self, bar: Bar, features: Features, portfolio: Portfolio) -> Answer:
        lower, middle, upper, rsi = features
        held = portfolio.qty(bar.symbol)
        is_late = bar.minutes_left <= self.exit_minutes
        if held > 0:
            return Signal(bar.symbol, "flat") if is_late or bar.close >= middle else None
        if held < 0:
            return Signal(bar.symbol, "flat") if is_late or bar.close <= middle else None
        if is_late:
            return None
        if bar.close < lower and rsi < self.oversold:
            return Signal(bar.symbol, "long", self.strength)
        if self.allow_short and bar.close > upper and rsi > 100 - self.oversold:
            return Signal(bar.symbol, "short", self.strength)
        return None
