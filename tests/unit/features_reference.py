"""Series to try the features on, and TA-Lib's own numbers for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import talib
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.close)

    @property
    def columns(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        return self.open, self.high, self.low, self.close, self.volume

    def head(self, bars: int) -> Series:
        return Series(*(column[:bars].copy() for column in self.columns))

    def scaled(self, price: float = 1.0, volume: float = 1.0) -> Series:
        o, h, lo, c, v = self.columns
        return Series(o * price, h * price, lo * price, c * price, v * volume)


def market(bars: int = 1500, *, seed: int = 1, price: float = 150.0, tick: float = 0.01) -> Series:
    """A walk in whole ticks with flat stretches, bars of no range, jumps and missing volume."""
    rng = np.random.default_rng(seed)
    moves = np.round(rng.normal(0, 6, bars))
    moves[rng.random(bars) < 0.2] = 0
    moves[rng.random(bars) < 0.01] *= 80
    moves[bars // 3 : bars // 3 + 60] = 0
    close = price + np.cumsum(moves) * tick
    close += max(0.0, 20 * tick - close.min())
    open_ = np.concatenate(([close[0]], close[:-1]))
    reach = np.round(rng.random((2, bars)) * 5) * tick
    quiet = rng.random(bars) < 0.1
    quiet[bars // 3 : bars // 3 + 60] = True
    reach[:, quiet] = 0
    high = np.maximum(open_, close) + reach[0]
    low = np.minimum(open_, close) - reach[1]
    volume = np.round(rng.random(bars) * 1000)
    volume[rng.random(bars) < 0.05] = 0
    return Series(open_, high, low, close, volume)


def offset(bars: int = 1500) -> Series:
    """Cents of noise on ten million dollars."""
    rng = np.random.default_rng(3)
    close = 1e7 + np.cumsum(rng.normal(0, 0.05, bars))
    high, low = close + rng.random(bars), close - rng.random(bars)
    return Series(close, high, low, close, np.round(rng.random(bars) * 1000))


def constant(bars: int = 300, value: float = 10.1) -> Series:
    column = np.full(bars, value)
    return Series(*(column.copy() for _ in range(5)))


SERIES: dict[str, Callable[[], Series]] = {
    "market": market,
    "another market": lambda: market(seed=2, price=35.0),
    "one bar": lambda: market(1),
    "two bars": lambda: market(2),
    "40 bars": lambda: market(40),
    "constant": constant,
    "offset of 1e7": offset,
    "prices of 1e-6": lambda: market().scaled(1e-8),
    "prices of 1e9": lambda: market().scaled(1e7),
    "no volume": lambda: market().scaled(volume=0.0),
    "tiny volume": lambda: market().scaled(volume=1e-9),
    "millions of shares": lambda: market().scaled(volume=1e7),
}


def _band(middle: Floats, width: Floats, factor: float) -> Floats:
    return middle + factor * width


def _log_return(close: Floats) -> Floats:
    out = np.full(len(close), np.nan)
    out[1:] = talib.LN(close[1:] / close[:-1]) if len(close) > 1 else []
    return out


def _realized_vol(close: Floats, window: int) -> Floats:
    out = np.full(len(close), np.nan)
    if len(close) > 2:
        out[1:] = talib.STDDEV(_log_return(close)[1:], window, 1.0)
    return out


def _vwap(s: Series, window: int) -> Floats:
    typical = talib.TYPPRICE(s.high, s.low, s.close)
    volume = talib.SUM(s.volume, window)
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = talib.SUM(typical * s.volume, window) / volume
    return np.where(volume == 0, s.close, vwap)


_BY_STEM: dict[str, Callable[..., Floats]] = {
    "sma": lambda s, w: talib.SMA(s.close, w),
    "ema": lambda s, w: talib.EMA(s.close, w),
    "rsi": lambda s, w: talib.RSI(s.close, w),
    "macd": lambda s, *w: talib.MACD(s.close, *w)[0],
    "macd_signal": lambda s, *w: talib.MACD(s.close, *w)[1],
    "macd_hist": lambda s, *w: talib.MACD(s.close, *w)[2],
    "bb_upper": lambda s, w: talib.BBANDS(s.close, w, 2.0, 2.0)[0],
    "bb_middle": lambda s, w: talib.BBANDS(s.close, w, 2.0, 2.0)[1],
    "bb_lower": lambda s, w: talib.BBANDS(s.close, w, 2.0, 2.0)[2],
    "atr": lambda s, w: talib.ATR(s.high, s.low, s.close, w),
    "adx": lambda s, w: talib.ADX(s.high, s.low, s.close, w),
    "plus_di": lambda s, w: talib.PLUS_DI(s.high, s.low, s.close, w),
    "minus_di": lambda s, w: talib.MINUS_DI(s.high, s.low, s.close, w),
    "stoch_k": lambda s, w, k, d: talib.STOCH(s.high, s.low, s.close, w, k, 0, d, 0)[0],
    "stoch_d": lambda s, w, k, d: talib.STOCH(s.high, s.low, s.close, w, k, 0, d, 0)[1],
    "obv": lambda s: talib.OBV(s.close, s.volume),
    "mfi": lambda s, w: talib.MFI(s.high, s.low, s.close, s.volume, w),
    "cci": lambda s, w: talib.CCI(s.high, s.low, s.close, w),
    "roc": lambda s, w: talib.ROC(s.close, w),
    "willr": lambda s, w: talib.WILLR(s.high, s.low, s.close, w),
    "vwap": _vwap,
    "stddev": lambda s, w: talib.STDDEV(s.close, w, 1.0),
    "donchian_upper": lambda s, w: talib.MAX(s.high, w),
    "donchian_middle": lambda s, w: (talib.MAX(s.high, w) + talib.MIN(s.low, w)) / 2,
    "donchian_lower": lambda s, w: talib.MIN(s.low, w),
    "keltner_upper": lambda s, w, r: _band(
        talib.EMA(s.close, w), talib.ATR(s.high, s.low, s.close, r), 2.0
    ),
    "keltner_middle": lambda s, w, _: talib.EMA(s.close, w),
    "keltner_lower": lambda s, w, r: _band(
        talib.EMA(s.close, w), talib.ATR(s.high, s.low, s.close, r), -2.0
    ),
    "log_return": lambda s: _log_return(s.close),
    "realized_vol": lambda s, w: _realized_vol(s.close, w),
}

_DEFAULTS = {
    "macd": (12, 26, 9),
    "bb": (20,),
    "stoch": (14, 3, 3),
    "donchian": (20,),
    "keltner": (20, 10),
}


def expected(name: str, series: Series) -> Floats:
    """TA-Lib's numbers for the feature of this name."""
    parts = name.split("_")
    windows: tuple[int, ...] = tuple(int(part) for part in parts if part.isdigit())
    stem = "_".join(part for part in parts if not part.isdigit())
    windows = windows or _DEFAULTS.get(parts[0], ())
    return np.asarray(_BY_STEM[stem](series, *windows))
