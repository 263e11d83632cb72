"""Features beside their peers: streaming, batch, many symbols, microstructure, snapshots, the feed.

Peers run in the same process by turns with ours; each figure is the best of its rounds, in CPU time
of the thread, so that a busy machine disturbs it less. Libraries that aren't installed are left
out and said so (`make bench` installs them).
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray

from signal_bridge import Bar, FeatureComputer, Microstructure

ROOT = Path(__file__).parents[2]
BARS, SYMBOLS, MINUTES = 100_000, 500, 390
Floats = NDArray[np.float64]
Work = Callable[[], object]


def optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"   {name} isn't installed and is left out")
        return None


def measure(works: dict[str, Work], items: int, rounds: int = 9) -> dict[str, float]:
    """Nanoseconds of CPU an item, the best of the rounds, all by turns."""
    best = dict.fromkeys(works, math.inf)
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            started = time.thread_time_ns()
            work()
            best[name] = min(best[name], (time.thread_time_ns() - started) / items)
    return best


def table(title: str, figures: dict[str, float], target: str, ours: str) -> None:
    print(f"\n{title}   (target: {target})")
    for name, value in figures.items():
        ratio = "" if name == ours else f"   ours is {figures[ours] / value:.3f} of it"
        print(f"   {name:34} {value:10.1f} ns{ratio}")


def walk(bars: int, seed: int = 1) -> list[Floats]:
    """Open, high, low, close, volume in whole cents."""
    rng = np.random.default_rng(seed)
    close = 150 + np.cumsum(np.round(rng.normal(0, 0.05, bars), 2))
    close += max(0.0, 1 - float(close.min()))
    high = close + np.round(rng.random(bars) * 0.05, 2)
    low = close - np.round(rng.random(bars) * 0.05, 2)
    return [close.copy(), high, low, close, np.round(rng.random(bars) * 1000) + 1]


def talib_set(o: Floats, h: Floats, lo: Floats, c: Floats, v: Floats) -> None:
    """Set F as a user of TA-Lib computes it."""
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


def wickra_set(w: Any, o: Floats, h: Floats, lo: Floats, c: Floats, v: Floats) -> None:
    for name, windows in (
        ("SMA", (20,)), ("EMA", (12,)), ("EMA", (26,)), ("RSI", (14,)), ("MACD", (12, 26, 9)),
        ("BollingerBands", (20, 2.0)), ("ROC", (10,)), ("StdDev", (20,)), ("LogReturn", (1,)),
        ("RealizedVolatility", (20,)),
    ):  # fmt: skip
        indicator = getattr(w, name)(*windows)
        getattr(indicator, "batch_fast", indicator.batch)(c)
    w.ATR(14).batch(h, lo, c), w.ADX(14).batch(h, lo, c), w.Stochastic(14, 3).batch(h, lo, c)
    w.OBV().batch(c, v), w.MFI(14).batch(h, lo, c, v), w.CCI(20).batch(h, lo, c)
    w.WilliamsR(14).batch(h, lo, c), w.RollingVWAP(20).batch(h, lo, c, v)
    w.Donchian(20).batch(h, lo), w.Keltner(20, 10, 2.0).batch(h, lo, c)


def polars_windows(pl: Any, c: Floats) -> Work:
    """Eight of the set that polars has expressions for: a part, and still slower."""
    frame = pl.DataFrame({"c": c})
    close = pl.col("c")
    names = [
        close.rolling_mean(20), close.rolling_std(20, ddof=0), close.rolling_max(20),
        close.ewm_mean(span=12, adjust=False), close.ewm_mean(span=26, adjust=False),
        close.rolling_min(20), close.pct_change(10), (close / close.shift(1)).log(),
    ]  # fmt: skip
    columns = [name.alias(str(at)) for at, name in enumerate(names)]
    return lambda: frame.select(columns)


def streaming() -> None:
    count = 2_000
    rows = [column.tolist() for column in walk(count)]
    bars = [Bar("SPY", *row, at) for at, row in enumerate(zip(*rows, strict=True))]
    computer, out = FeatureComputer(), np.empty(31)
    windows = [[np.ascontiguousarray(x[:256]) for x in walk(256)]]

    def into() -> None:
        update = computer.update_into
        for bar in bars:
            update(bar, out)

    def mapping() -> None:
        update = computer.compute_streaming
        for bar in bars:
            update(bar)

    def loop() -> None:
        for _ in bars:
            pass

    figures = measure(
        {"update_into": into, "compute_streaming": mapping, "empty loop": loop}, count, 25
    )
    figures |= {
        "TA-Lib on a window of 256": measure({"": lambda: talib_set(*windows[0])}, 1, 200)[""],
    }
    table(
        "One bar through Python, 31 numbers", figures, "≤ 150 ns; mapping ≤ 800 ns", "update_into"
    )


def batch() -> None:
    columns = walk(BARS)
    computer, out = FeatureComputer(), np.empty((31, BARS))
    works: dict[str, Work] = {
        "compute_batch": lambda: computer.compute_batch(*columns, out=out),
        "TA-Lib": lambda: talib_set(*columns),
    }
    for name, work in (("tulipy", tulipy_set), ("wickra", wickra_set)):
        if (library := optional(name)) is not None:
            works[name] = lambda work=work, library=library: work(library, *columns)  # type: ignore[misc]
    if (polars := optional("polars")) is not None:
        works["polars, 8 of 31"] = polars_windows(polars, columns[3])
    table(
        "A series of 100,000 bars, a bar", measure(works, BARS), "≤ 0.30 of TA-Lib", "compute_batch"
    )


def many() -> None:
    series = [walk(MINUTES, seed) for seed in range(SYMBOLS)]
    columns = [np.stack([one[at] for one in series]) for at in range(5)]
    computer, out = FeatureComputer(), np.empty((SYMBOLS, 31, MINUTES))

    def loop() -> None:
        for one in series:
            talib_set(*one)

    works: dict[str, Work] = {
        "compute_many": lambda: computer.compute_many(*columns, out=out),
        "TA-Lib, a loop": loop,
    }
    figures = measure(works, SYMBOLS * MINUTES, 5)
    table("500 symbols of 390 bars, a bar", figures, "≤ 0.30 of TA-Lib", "compute_many")
    spent = dict.fromkeys((1, 2), math.inf)
    for _ in range(7):
        for threads in spent:
            started = time.perf_counter()
            computer.compute_many(*columns, out=out, threads=threads)
            spent[threads] = min(spent[threads], time.perf_counter() - started)
    print(f"   two threads are {spent[1] / spent[2]:.2f} × one, by the wall clock (target: ≥ 1.8)")


def events() -> None:
    measures, count = Microstructure(), 20_000
    moments = np.arange(count, dtype=np.int64) * 1_000_000_000
    _, high, low, close, volume = walk(count)
    quotes = (moments, low, volume, high, volume)
    works: dict[str, Work] = {
        "compute_batch": lambda: measures.compute_batch(*quotes, moments, close, volume),
    }
    table(
        "Microstructure, a quote or trade", measure(works, 2 * count), "≤ 150 ns", "compute_batch"
    )


def snapshots() -> None:
    computer = FeatureComputer()
    for symbol in range(500):
        for _ in range(3):
            computer.compute_streaming(Bar(f"S{symbol}", 1, 1, 1, 1, 1, 0))
    taken = computer.snapshot()
    works: dict[str, Work] = {"both": lambda: computer.restore(computer.snapshot())}
    milliseconds = measure(works, 1)["both"] / 1e6
    print(f"\nSnapshot and restore of 500 symbols: {milliseconds:.2f} ms, {len(taken) >> 10} KiB "
          "(target: ≤ 5 ms)")  # fmt: skip


def in_rust() -> None:
    """The same without Python around it."""
    command = ["cargo", "run", "--release", "--quiet", "-p", "features", "--example", "speed"]
    done = subprocess.run(
        command, cwd=ROOT / "rust", capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode != 0:
        print(f"\nIn Rust alone: not built: {done.stderr.strip().splitlines()[-1]}")
        return
    figures = json.loads(done.stdout)
    print("\nIn Rust alone, ns a bar or event by the wall clock (target: streaming ≤ 90)")
    for name, value in figures.items():
        print(f"   {name:34} {value:10.1f} ns")


def main() -> int:
    np.seterr(all="ignore")
    for section in (streaming, batch, many, events, snapshots, in_rust):
        section()
    return 0


if __name__ == "__main__":
    sys.exit(main())
