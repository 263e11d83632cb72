"""Microstructure against slow and plain NumPy, streaming against batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from console.bridge.rust_bridge import RustFeatureComputer
from signal_bridge import QUOTE_FEATURES, TRADE_FEATURES, Microstructure

SECOND = 1_000_000_000
WINDOW, BUCKET, BUCKETS, DELAY_S, DECAY_S = 20, 700.0, 10, 3.0, 30.0
Table = dict[str, NDArray[np.generic]]


def market(events: int = 600, seed: int = 1) -> tuple[Table, Table]:
    """Quotes in cents and trades at, inside and at the middle of them, in the order of time."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(0, 2 * SECOND, events)).astype(np.int64)
    mid = 100 + np.cumsum(rng.integers(-2, 3, events)) / 100
    half = rng.integers(1, 4, events) / 100
    quotes: Table = {
        "timestamp": at,
        "bid": mid - half,
        "ask": mid + half,
        "bid_size": rng.integers(0, 9, events) * 100.0,
        "ask_size": rng.integers(0, 9, events) * 100.0,
    }
    after = np.sort(rng.integers(at[0], at[-1] + 5 * SECOND, events))
    standing = np.searchsorted(at, after, side="right") - 1
    price = mid[standing] + rng.integers(-1, 2, events) * half[standing]
    trades: Table = {
        "timestamp": after,
        "price": np.round(price, 2),
        "size": rng.integers(1, 30, events) * 10.0,
    }
    return quotes, trades


def analyze(quotes: Table, trades: Table) -> dict[str, NDArray[np.float64]]:
    return RustFeatureComputer.analyze_microstructure(
        quotes,
        trades,
        window=WINDOW,
        bucket_volume=BUCKET,
        buckets=BUCKETS,
        delay_s=DELAY_S,
        decay_s=DECAY_S,
    )


def rolling(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    return np.lib.stride_tricks.sliding_window_view(values, window)


def late(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.concatenate((np.full(length - len(values), np.nan), values))


def signs(price: NDArray[np.float64], mid: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.zeros(len(price))
    tick = 0.0
    for n in range(len(price)):
        if n and price[n] != price[n - 1]:
            tick = float(np.sign(price[n] - price[n - 1]))
        out[n] = np.sign(price[n] - mid[n]) if price[n] != mid[n] else tick
    return out


def plain_quotes(quotes: Table) -> dict[str, NDArray[np.float64]]:
    b, a, bs, as_ = (quotes[k].astype(np.float64) for k in ("bid", "ask", "bid_size", "ask_size"))
    size, mid = bs + as_, (a + b) / 2
    some = np.where(size > 0, size, 1)
    flow = (
        (b[1:] >= b[:-1]) * bs[1:] - (b[1:] <= b[:-1]) * bs[:-1]
        - (a[1:] <= a[:-1]) * as_[1:] + (a[1:] >= a[:-1]) * as_[:-1]
    )  # fmt: skip
    return {
        "spread": a - b,
        "spread_bp": 1e4 * (a - b) / mid,
        "mid": mid,
        "microprice": np.where(size > 0, (b * as_ + a * bs) / some, mid),
        "imbalance": np.where(size > 0, (bs - as_) / some, 0),
        "ofi": late(flow, len(b)),
    }


def plain_trades(quotes: Table, trades: Table) -> dict[str, NDArray[np.float64]]:
    at, quote_at = trades["timestamp"].astype(np.int64), quotes["timestamp"].astype(np.int64)
    price, size = trades["price"].astype(np.float64), trades["size"].astype(np.float64)
    mids = (quotes["bid"] + quotes["ask"]).astype(np.float64) / 2
    count = len(price)
    mid = mids[np.searchsorted(quote_at, at, side="right") - 1]
    sign = signs(price, mid)
    effective = 2 * sign * (price - mid)
    due = at + int(DELAY_S * SECOND)
    mid_due = mids[np.searchsorted(quote_at, due, side="right") - 1]
    paid = 2 * sign * (price - mid_due)
    settled = np.array([np.searchsorted(due, moment, side="right") for moment in at])
    realised = np.where(settled > 0, paid[settled - 1], np.nan)
    realised_bp = np.where(settled > 0, 1e4 * paid[settled - 1] / mid_due[settled - 1], np.nan)

    returns = np.diff(np.log(price))
    changes = np.diff(price)
    x, y = (sign * size)[1:], np.diff(mid)
    kyle = [
        np.cov(a, b, bias=True)[0, 1] / np.var(a)
        for a, b in zip(rolling(x, WINDOW), rolling(y, WINDOW), strict=True)
    ]
    amihud = rolling(np.abs(returns) / (price * size)[1:], WINDOW).mean(axis=1)
    covariance = [
        np.cov(a, b, bias=True)[0, 1]
        for a, b in zip(rolling(changes[1:], WINDOW), rolling(changes[:-1], WINDOW), strict=True)
    ]
    powers = rolling(np.abs(returns[1:]) * np.abs(returns[:-1]), WINDOW).sum(axis=1)
    age = np.maximum(at[:, None] - at[None, :], 0) / SECOND
    intensity = (np.tril(np.exp(-age / DECAY_S)) / DECAY_S).sum(axis=1)

    vpin = np.full(count, np.nan)
    imbalances: list[float] = []
    filled = signed = 0.0
    for n in range(count):
        left = size[n]
        while left > 0:
            taken = min(left, BUCKET - filled)
            filled, signed, left = filled + taken, signed + sign[n] * taken, left - taken
            if filled == BUCKET:
                imbalances.append(abs(signed))
                filled = signed = 0.0
        if len(imbalances) >= BUCKETS:
            vpin[n] = sum(imbalances[-BUCKETS:]) / (BUCKETS * BUCKET)
    return {
        "trade_sign": sign,
        "effective_spread": effective,
        "effective_spread_bp": 1e4 * effective / mid,
        "realised_spread": realised,
        "realised_spread_bp": realised_bp,
        "kyle_lambda": late(np.array(kyle), count),
        "amihud": late(amihud, count),
        "roll_spread": late(2 * np.sqrt(np.maximum(-np.array(covariance), 0)), count),
        "vpin": vpin,
        "trade_intensity": intensity,
        "realised_variance": late(rolling(returns**2, WINDOW).sum(axis=1), count),
        "bipower_variation": late(np.pi / 2 * powers, count),
    }


@pytest.mark.parametrize("seed", range(3))
def test_every_measure_is_that_of_plain_numpy(seed: int) -> None:
    quotes, trades = market(seed=seed)
    found = analyze(quotes, trades)
    wanted = plain_quotes(quotes) | plain_trades(quotes, trades)
    assert tuple(wanted) == (*QUOTE_FEATURES, *TRADE_FEATURES)
    for name, values in wanted.items():
        assert not np.isnan(values[-1]), f"{name} is tried on nothing"
        np.testing.assert_allclose(found[name], values, rtol=1e-8, atol=1e-11, err_msg=name)


def test_streaming_gives_the_bits_of_batch() -> None:
    quotes, trades = market(300)
    found = analyze(quotes, trades)
    measures = Microstructure(
        window=WINDOW, bucket_volume=BUCKET, buckets=BUCKETS, delay_s=DELAY_S, decay_s=DECAY_S
    )
    moments = [(int(at), 0, n) for n, at in enumerate(quotes["timestamp"].tolist())]
    moments += [(int(at), 1, n) for n, at in enumerate(trades["timestamp"].tolist())]
    for at, kind, n in sorted(moments):
        if kind == 0:
            fields = (float(quotes[k][n]) for k in ("bid", "bid_size", "ask", "ask_size"))
            numbers = measures.update_quote(*fields, at)
        else:
            numbers = measures.update_trade(float(trades["price"][n]), float(trades["size"][n]), at)
        for name, value in numbers.items():
            np.testing.assert_array_equal(value, found[name][n], err_msg=f"{name}[{n}]")
    assert set(measures.values()) == set(found)
    measures.reset()
    assert all(np.isnan(value) for value in measures.values().values())


def test_a_large_trade_fills_many_buckets_of_vpin() -> None:
    measures = Microstructure(bucket_volume=100.0, buckets=4)
    measures.update_quote(9.9, 1, 10.1, 1, 0)
    assert np.isnan(measures.update_trade(10.1, 399, 1)["vpin"])
    assert measures.update_trade(10.1, 1e12, 2)["vpin"] == 1.0


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"window": 1}, "window = 1"),
        ({"buckets": 0}, "buckets = 0"),
        ({"bucket_volume": 0.0}, "bucket_volume = 0"),
        ({"delay_s": float("nan")}, "delay_s = NaN"),
        ({"decay_s": float("inf")}, "decay_s = inf"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Microstructure(**setting)  # type: ignore[arg-type]


def test_events_that_do_not_fit_are_refused() -> None:
    quotes, trades = market(30)
    with pytest.raises(KeyError, match="bid_size"):
        analyze({k: v for k, v in quotes.items() if k != "bid_size"}, trades)
    with pytest.raises(ValueError, match="quote 1 comes before"):
        analyze(quotes | {"timestamp": quotes["timestamp"][::-1]}, trades)
    with pytest.raises(ValueError, match="price has 29 events, its timestamps are 30"):
        analyze(quotes, trades | {"price": trades["price"][1:]})
    with pytest.raises(ValueError, match="ask is NaN"):
        Microstructure().update_quote(1, 1, float("nan"), 1, 0)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), numbers, numbers, st.integers(-(2**63), 2**63 - 1))))
def test_no_finite_event_breaks_it(events: list[tuple[bool, float, float, int]]) -> None:
    measures = Microstructure(window=2, buckets=2, bucket_volume=1.0)
    for is_quote, first, second, at in events:
        if is_quote:
            measures.update_quote(first, second, second, first, at)
        else:
            measures.update_trade(first, second, at)
    assert len(measures.values()) == len(QUOTE_FEATURES) + len(TRADE_FEATURES)
