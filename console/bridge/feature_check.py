"""A short check of the native features: against plain Python, against themselves, by the clock."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from console.bridge.rust_bridge import MarketBar, RustFeatureComputer

_BARS = 20_000
_MINUTE_NS = 60_000_000_000
_TOLERANCE = 1e-9


class FeatureCheckError(Exception):
    """A number isn't what it must be; says which, where and by how much."""


def check() -> Iterator[str]:
    """One line for each thing checked; raises `FeatureCheckError` at the first that fails."""
    open_, high, low, close, volume = _market(_BARS)
    rows = zip(*(x.tolist() for x in (open_, high, low, close, volume)), strict=True)
    bars = [
        MarketBar("DEMO", o, h, lo, c, v, n * _MINUTE_NS) for n, (o, h, lo, c, v) in enumerate(rows)
    ]

    computer = RustFeatureComputer()
    last = {}
    for bar in bars[:100]:
        last = computer.compute_streaming(bar)
    yield f"{len(computer.names)} features a bar; after 100 bars: " + ", ".join(
        f"{name} {last[name]:.4f}" for name in ("sma_20", "rsi_14", "macd", "atr_14", "adx_14")
    )

    computer.reset()
    streamed = np.empty((_BARS, len(computer.names)))
    started = time.perf_counter()
    for bar, row in zip(bars, streamed, strict=True):
        computer.update_into(bar, row)
    spent = time.perf_counter() - started
    yield f"streaming: {1e6 * spent / _BARS:.2f} µs a bar, all of them, through Python"

    batch = computer.compute_batch(open_, high, low, close, volume)
    started = time.perf_counter()
    computer.compute_batch(open_, high, low, close, volume, out=batch)
    spent = time.perf_counter() - started
    if not np.array_equal(batch, streamed.T, equal_nan=True):
        raise FeatureCheckError("batch and streaming differ")
    yield f"batch: {1e9 * spent / _BARS:.0f} ns a bar, the same bits as streaming"

    by_name = dict(zip(computer.names, batch, strict=True))
    for name, expected in _plain(close).items():
        off = float(np.nanmax(np.abs(by_name[name] - expected) / np.maximum(np.abs(expected), 1.0)))
        if not off <= _TOLERANCE:
            raise FeatureCheckError(
                f"{name} is off plain Python by {off:.1e}, {_TOLERANCE} is allowed"
            )
    yield f"sma_20, ema_12, stddev_20, rsi_14: as plain Python has them, within {_TOLERANCE}"

    restored = RustFeatureComputer()
    restored.restore(computer.snapshot())
    after = MarketBar("DEMO", 1.0, 2.0, 0.5, 1.5, 100.0, _BARS * _MINUTE_NS)
    if restored.compute_streaming(after) != computer.compute_streaming(after):
        raise FeatureCheckError("a restored computer goes on differently")
    yield f"snapshot: {len(computer.snapshot())} bytes, and it goes on where it stopped"

    yield _microstructure()


def _market(bars: int) -> list[NDArray[np.float64]]:
    """A market in whole cents: open, high, low, close, volume."""
    rng = np.random.default_rng(7)
    close = 150.0 + np.cumsum(np.round(rng.normal(0, 0.05, bars), 2))
    open_ = close + np.round(rng.normal(0, 0.03, bars), 2)
    high = np.maximum(open_, close) + np.round(rng.random(bars) * 0.05, 2)
    low = np.minimum(open_, close) - np.round(rng.random(bars) * 0.05, 2)
    return [open_, high, low, close, np.round(rng.random(bars) * 10_000)]


def _plain(close: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The same in plain Python, bar by bar."""
    prices = close.tolist()
    out = {
        name: np.full(len(prices), np.nan) for name in ("sma_20", "ema_12", "stddev_20", "rsi_14")
    }
    for n in range(19, len(prices)):
        window = prices[n - 19 : n + 1]
        mean = math.fsum(window) / 20
        out["sma_20"][n] = mean
        out["stddev_20"][n] = math.sqrt(math.fsum((x - mean) ** 2 for x in window) / 20)
    ema = math.fsum(prices[:12]) / 12
    out["ema_12"][11] = ema
    for n in range(12, len(prices)):
        ema += (prices[n] - ema) * 2 / 13
        out["ema_12"][n] = ema
    changes = [b - a for a, b in itertools.pairwise(prices)]
    gain = math.fsum(max(x, 0.0) for x in changes[:14]) / 14
    loss = math.fsum(max(-x, 0.0) for x in changes[:14]) / 14
    out["rsi_14"][14] = 100 * gain / (gain + loss)
    for n, change in enumerate(changes[14:], start=15):
        gain = (gain * 13 + max(change, 0.0)) / 14
        loss = (loss * 13 + max(-change, 0.0)) / 14
        out["rsi_14"][n] = 100 * gain / (gain + loss)
    return out


def _microstructure() -> str:
    """A market whose spread is known: trades hit its bid and its ask by turns."""
    events = 2_000
    moments = np.arange(events, dtype=np.int64) * 1_000_000_000
    size = np.full(events, 100.0)
    quotes = {
        "timestamp": moments,
        "bid": np.full(events, 99.99),
        "bid_size": size * 3,
        "ask": np.full(events, 100.01),
        "ask_size": size,
    }
    price = np.where(np.arange(events) % 2 == 0, 100.01, 99.99)
    trades = {"timestamp": moments + 500_000_000, "price": price, "size": size}
    found = RustFeatureComputer.analyze_microstructure(quotes, trades, bucket_volume=1_000.0)
    for name, expected in (
        ("spread_bp", 2.0), ("imbalance", 0.5), ("microprice", 100.005),
        ("effective_spread", 0.02), ("realised_spread", 0.02), ("roll_spread", 0.04), ("vpin", 0.0),
    ):  # fmt: skip
        value = float(found[name][-1])
        if not math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-9):
            raise FeatureCheckError(f"{name} is {value}, {expected} is right")
    return "microstructure: spread, imbalance, microprice, Roll, VPIN of a known market are right"
