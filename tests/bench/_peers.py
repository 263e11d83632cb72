"""The full set as others compute it: by TA-Lib, tulipy, wickra, polars, plain Python and numba.

Each does what a user of it would write. Where one lacks a number, it is left out, which makes it
faster, not slower. Seeds of the two loops written here are simpler than TA-Lib's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import log, sqrt
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def talib_set(o: Floats, h: Floats, lo: Floats, c: Floats, v: Floats) -> None:
    t: Any = talib
    t.SMA(c, 20), t.EMA(c, 12), t.EMA(c, 26), t.RSI(c, 14), t.MACD(c, 12, 26, 9)
    t.BBANDS(c, 20, 2.0, 2.0), t.ATR(h, lo, c, 14), t.ADX(h, lo, c, 14)
    t.PLUS_DI(h, lo, c, 14), t.MINUS_DI(h, lo, c, 14), t.STOCH(h, lo, c, 14, 3, 0, 3, 0)
    t.OBV(c, v), t.MFI(h, lo, c, v, 14), t.CCI(h, lo, c, 20), t.ROC(c, 10), t.WILLR(h, lo, c, 14)
    t.SUM(t.TYPPRICE(h, lo, c) * v, 20) / t.SUM(v, 20)
    t.STDDEV(c, 20, 1.0)
    upper, lower = t.MAX(h, 20), t.MIN(lo, 20)
    (upper + lower) / 2
    middle, width = t.EMA(c, 20), t.ATR(h, lo, c, 10) * 2
    middle + width, middle - width
    returns = t.LN(c[1:] / c[:-1])
    t.STDDEV(returns, 20, 1.0)


def tulipy_set(ti: Any, o: Floats, h: Floats, lo: Floats, c: Floats, v: Floats) -> None:
    ti.sma(c, 20), ti.ema(c, 12), ti.ema(c, 26), ti.rsi(c, 14), ti.macd(c, 12, 26, 9)
    ti.bbands(c, 20, 2.0), ti.atr(h, lo, c, 14), ti.adx(h, lo, c, 14), ti.di(h, lo, c, 14)
    ti.stoch(h, lo, c, 14, 3, 3), ti.obv(c, v), ti.mfi(h, lo, c, v, 14), ti.cci(h, lo, c, 20)
    ti.roc(c, 10), ti.willr(h, lo, c, 14), ti.vwma((h + lo + c) / 3, v, 20), ti.stddev(c, 20)
    upper, lower = ti.max(h, 20), ti.min(lo, 20)
    (upper + lower) / 2
    middle, width = ti.ema(c, 20), ti.atr(h, lo, c, 10) * 2
    middle[-len(width) :] + width[-len(middle) :], middle[-len(width) :] - width[-len(middle) :]
    returns = ti.ln(c[1:] / c[:-1])
    ti.stddev(returns, 20)


def _wickra_indicators(w: Any) -> tuple[list[Any], list[Any]]:
    """Those of the close, and those of the bar."""
    return [
        w.SMA(20), w.EMA(12), w.EMA(26), w.RSI(14), w.MACD(12, 26, 9), w.BollingerBands(20, 2.0),
        w.ROC(10), w.StdDev(20), w.LogReturn(1), w.RealizedVolatility(20),
    ], [
        w.ATR(14), w.ADX(14), w.Stochastic(14, 3), w.OBV(), w.MFI(14), w.CCI(20), w.WilliamsR(14),
        w.RollingVWAP(20), w.Donchian(20), w.Keltner(20, 10, 2.0),
    ]  # fmt: skip


def wickra_set(w: Any, o: Floats, h: Floats, lo: Floats, c: Floats, v: Floats) -> None:
    of_close, of_bar = _wickra_indicators(w)
    for indicator in of_close:
        getattr(indicator, "batch_fast", indicator.batch)(c)
    of_close_and_volume, of_range, all_four = (3,), (8,), (4, 7)
    for at, indicator in enumerate(of_bar):
        if at in of_close_and_volume:
            indicator.batch(c, v)
        elif at in of_range:
            indicator.batch(h, lo)
        elif at in all_four:
            indicator.batch(h, lo, c, v)
        else:
            indicator.batch(h, lo, c)


def wickra_stream(w: Any) -> Callable[[float, float, float, float, float], None]:
    of_close, of_bar = _wickra_indicators(w)
    closes, bars = [i.update for i in of_close], [i.update for i in of_bar]

    def update(o: float, h: float, lo: float, c: float, v: float) -> None:
        bar = (o, h, lo, c, v, 0)
        for take in closes:
            take(c)
        for take in bars:
            take(bar)

    return update


def polars_windows(pl: Any, c: Floats) -> Callable[[], object]:
    """Eight of the set that polars has expressions for, on one thread as the others are."""
    frame = pl.DataFrame({"c": c})
    close = pl.col("c")
    names = [
        close.rolling_mean(20), close.rolling_std(20, ddof=0), close.rolling_max(20),
        close.ewm_mean(span=12, adjust=False), close.ewm_mean(span=26, adjust=False),
        close.rolling_min(20), close.pct_change(10), (close / close.shift(1)).log(),
    ]  # fmt: skip
    columns = [name.alias(str(at)) for at, name in enumerate(names)]
    return lambda: frame.select(columns)


class PlainPython:
    """The set bar by bar in constant time: sliding sums, deques for extremes."""

    def __init__(self) -> None:
        self.n = 0
        self.close = self.high = self.low = self.typical = 0.0
        self.ema = [0.0] * 4
        self.signal = self.obv = 0.0
        self.gain = self.loss = self.atr_14 = self.atr_10 = 0.0
        self.plus = self.minus = self.adx = 0.0
        self.fast_k, self.slow_k = deque([0.0] * 3, 3), deque([0.0] * 3, 3)
        self.sums = [0.0] * 9
        self.windows = [deque([0.0] * size, size) for size in (20,) * 7 + (14,) * 2]
        self.extremes: list[deque[tuple[int, float]]] = [deque() for _ in range(4)]

    def _extreme(self, at: int, x: float, window: int, sign: float) -> float:
        queue, n = self.extremes[at], self.n
        while queue and (queue[-1][1] - x) * sign <= 0:
            queue.pop()
        queue.append((n, x))
        if queue[0][0] <= n - window:
            queue.popleft()
        return queue[0][1]

    def update(self, o: float, h: float, lo: float, c: float, v: float) -> tuple[float, ...]:
        typical = (h + lo + c) / 3.0
        if self.n == 0:
            self.close, self.high, self.low, self.typical = c, h, lo, typical
            self.ema = [c] * 4
        before, sums = self.close, self.sums
        change, ret, flow = c - before, log(c / before), typical * v
        close_10 = self.windows[0][10]
        rises, falls = typical > self.typical, typical < self.typical
        for at, x in enumerate(
            (c, c * c, flow, v, ret, ret * ret, typical, flow * rises, flow * falls)
        ):
            window = self.windows[at]
            sums[at] += x - window[0]
            window.append(x)
        mean = sums[0] / 20
        deviation = sqrt(max(sums[1] / 20 - mean * mean, 0.0))
        mean_return = sums[4] / 20
        ema = self.ema
        for at, k in ((0, 2 / 13), (1, 2 / 27), (2, 2 / 21)):
            ema[at] += (c - ema[at]) * k
        macd = ema[0] - ema[1]
        self.signal += (macd - self.signal) * 0.2
        self.gain += ((change if change > 0 else 0.0) - self.gain) / 14
        self.loss += ((-change if change < 0 else 0.0) - self.loss) / 14
        moved = self.gain + self.loss
        self.obv += v if change > 0 else -v if change < 0 else 0.0
        reach = max(h - lo, abs(h - before), abs(lo - before))
        self.atr_14 += (reach - self.atr_14) / 14
        self.atr_10 += (reach - self.atr_10) / 10
        up, down = h - self.high, self.low - lo
        self.plus += ((up if up > down and up > 0 else 0.0) - self.plus) / 14
        self.minus += ((down if down > up and down > 0 else 0.0) - self.minus) / 14
        scale = 100 / self.atr_14 if self.atr_14 > 0 else 0.0
        plus, minus = self.plus * scale, self.minus * scale
        both = plus + minus
        self.adx += ((100 * abs(plus - minus) / both if both > 0 else 0.0) - self.adx) / 14
        high_14, low_14 = self._extreme(0, h, 14, 1), self._extreme(1, lo, 14, -1)
        high_20, low_20 = self._extreme(2, h, 20, 1), self._extreme(3, lo, 20, -1)
        span = high_14 - low_14
        fast = 100 * (c - low_14) / span if span > 0 else 0.0
        self.fast_k.append(fast)
        slow = sum(self.fast_k) / 3
        self.slow_k.append(slow)
        mean_typical = sums[6] / 20
        around = sum([abs(x - mean_typical) for x in self.windows[6]])
        flows = sums[7] + sums[8]
        self.close, self.high, self.low, self.typical = c, h, lo, typical
        self.n += 1
        return (
            mean, ema[0], ema[1], 100 * self.gain / moved if moved > 0 else 0.0, macd,
            self.signal, macd - self.signal, mean + 2 * deviation, mean, mean - 2 * deviation,
            self.atr_14, self.adx, plus, minus, slow, sum(self.slow_k) / 3, self.obv,
            100 * sums[7] / flows if flows > 0 else 0.0,
            (typical - mean_typical) / (0.00075 * around) if around > 0 else 0.0,
            100 * (c / close_10 - 1) if close_10 else 0.0, fast - 100 if span > 0 else 0.0,
            sums[2] / sums[3] if sums[3] else c, deviation, high_20, (high_20 + low_20) / 2, low_20,
            ema[2] + 2 * self.atr_10, ema[2], ema[2] - 2 * self.atr_10, ret,
            sqrt(max(sums[5] / 20 - mean_return * mean_return, 0.0)),
        )  # fmt: skip


def numba_fused(numba: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """`step(state, rings, o, h, l, c, v, out)` and `run(o, h, l, c, v, out)`, one pass for all."""

    @numba.njit(cache=True)  # type: ignore[untyped-decorator]
    def step(
        s: Floats, r: Floats, o: float, h: float, lo: float, c: float, v: float, out: Floats
    ) -> None:
        n = int(s[0])
        if n == 0:
            s[1], s[2], s[3], s[4] = c, h, lo, (h + lo + c) / 3
            s[14], s[15], s[16] = c, c, c
        before, typical = s[1], (h + lo + c) / 3
        ret, flow, change = np.log(c / before), typical * v, c - before
        positive = flow if typical > s[4] else 0.0
        negative = flow if typical < s[4] else 0.0
        old, old_14, close_10 = (n - 20) & 31, (n - 14) & 31, r[3, (n - 10) & 31]
        s[5] += c - r[3, old]
        s[6] += c * c - r[3, old] * r[3, old]
        s[7] += flow - r[1, old]
        s[8] += v - r[2, old]
        s[9] += ret - r[6, old]
        s[10] += ret * ret - r[6, old] * r[6, old]
        s[11] += positive - r[7, old_14]
        s[12] += negative - r[8, old_14]
        s[13] += typical - r[0, old]
        at = n & 31
        r[0, at], r[1, at], r[2, at], r[3, at], r[4, at] = typical, flow, v, c, h
        r[5, at], r[6, at], r[7, at], r[8, at] = lo, ret, positive, negative
        mean = s[5] / 20
        deviation = np.sqrt(max(s[6] / 20 - mean * mean, 0.0))
        s[14] += (c - s[14]) * (2.0 / 13)
        s[15] += (c - s[15]) * (2.0 / 27)
        s[16] += (c - s[16]) * (2.0 / 21)
        s[17] += (max(change, 0.0) - s[17]) / 14
        s[18] += (max(-change, 0.0) - s[18]) / 14
        moved, macd = s[17] + s[18], s[14] - s[15]
        s[19] += (macd - s[19]) * 0.2
        reach = max(h - lo, max(abs(h - before), abs(lo - before)))
        s[20] += (reach - s[20]) / 14
        s[21] += (reach - s[21]) / 10
        up, down = h - s[2], s[3] - lo
        s[22] += ((up if up > down and up > 0 else 0.0) - s[22]) / 14
        s[23] += ((down if down > up and down > 0 else 0.0) - s[23]) / 14
        scale = 100 / s[20] if s[20] > 0 else 0.0
        plus, minus = s[22] * scale, s[23] * scale
        both = plus + minus
        s[24] += ((100 * abs(plus - minus) / both if both > 0 else 0.0) - s[24]) / 14
        high, low = h, lo
        for back in range(1, min(14, n + 1)):
            high, low = max(high, r[4, (n - back) & 31]), min(low, r[5, (n - back) & 31])
        high_20, low_20 = high, low
        for back in range(14, min(20, n + 1)):
            high_20 = max(high_20, r[4, (n - back) & 31])
            low_20 = min(low_20, r[5, (n - back) & 31])
        span = high - low
        fast = 100 * (c - low) / span if span > 0 else 0.0
        slow = (fast + s[25] + s[26]) / 3
        smooth = (slow + s[27] + s[28]) / 3
        s[26], s[25], s[28], s[27] = s[25], fast, s[27], slow
        s[29] += v if change > 0 else (-v if change < 0 else 0.0)
        flows, mean_typical, around = s[11] + s[12], s[13] / 20, 0.0
        for back in range(20):
            around += abs(r[0, (n - back) & 31] - mean_typical)
        mean_return = s[9] / 20
        out[0], out[1], out[2], out[3] = mean, s[14], s[15], 100 * s[17] / max(moved, 1e-300)
        out[4], out[5], out[6], out[7] = macd, s[19], macd - s[19], mean + 2 * deviation
        out[8], out[9], out[10], out[11] = mean, mean - 2 * deviation, s[20], s[24]
        out[12], out[13], out[14], out[15], out[16] = plus, minus, slow, smooth, s[29]
        out[17] = 100 * s[11] / flows if flows > 0 else 0.0
        out[18] = (typical - mean_typical) / (0.015 * around / 20) if around > 0 else 0.0
        out[19] = 100 * (c / close_10 - 1) if n >= 10 else 0.0
        out[20] = fast - 100
        out[21] = s[7] / s[8] if s[8] > 0 else c
        out[22], out[23], out[24], out[25] = deviation, high_20, (high_20 + low_20) / 2, low_20
        out[26], out[27], out[28] = s[16] + 2 * s[21], s[16], s[16] - 2 * s[21]
        out[29], out[30] = ret, np.sqrt(max(s[10] / 20 - mean_return * mean_return, 0.0))
        s[0], s[1], s[2], s[3], s[4] = n + 1, c, h, lo, typical

    @numba.njit(cache=True)  # type: ignore[untyped-decorator]
    def run(o: Floats, h: Floats, lo: Floats, c: Floats, v: Floats, out: Floats) -> None:
        s, r = np.zeros(32), np.zeros((9, 32))
        for at in range(len(c)):
            step(s, r, o[at], h[at], lo[at], c[at], v[at], out[at])

    return step, run
