"""The feed receiver on a real socket, with a publisher made of libzmq."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import zmq

from signal_bridge import FeatureComputer, FeedFrame, FeedReceiver

LIMIT_S = 30.0
MINUTE = 60_000_000_000
OPEN = 1_381_152_600_000_000_000
"""Monday, 7 October 2013, 9:30 in New York."""


class Publisher:
    """Numbers its messages, and knows when a subscriber came."""

    def __init__(self, port: int = 0) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set_hwm(1_000_000)
        self.socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.endpoint: str = self.socket.get_string(zmq.LAST_ENDPOINT)
        self.port = int(self.endpoint.rsplit(":", 1)[1])
        self.seq = 0

    def until_subscribed(self) -> None:
        assert self.socket.poll(LIMIT_S * 1000), "nobody subscribed"
        assert self.socket.recv() == b"\x01market "

    def send(self, kind: str, **fields: Any) -> None:
        self.seq += 1
        body = {"type": kind, **fields, "seq": self.seq, "ts": time.time_ns()}
        self.socket.send(b"market " + json.dumps(body).encode())

    def bar(self, symbol: str, number: int, close: float) -> None:
        self.send(
            "BarUpdate", symbol=symbol, open=close, high=close + 1, low=close - 1, close=close,
            volume=100, timestamp=OPEN + number * MINUTE,
        )  # fmt: skip

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@contextmanager
def following(endpoint: str, **changes: Any) -> Iterator[FeedReceiver]:
    wanted: dict[str, Any] = {
        "features": ["sma_20", "rsi_14", "spread", "imbalance"],
        "history": 60,
        "high_water_mark": 262_144,
        "stale_after_s": 60.0,
    }
    receiver = FeedReceiver(endpoint, ["SPY", "IBM"], **(wanted | changes))
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
        assert not receiver.running


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()


def until(receiver: FeedReceiver, ready: Callable[[FeedFrame], bool]) -> FeedFrame:
    """The first frame for which it holds."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        frame = receiver.frame(time.monotonic())
        if ready(frame):
            return frame
        time.sleep(0.002)
    raise AssertionError(f"not within {LIMIT_S} s: {frame}, {receiver.stats()}")


def test_bars_quotes_and_trades_arrive_as_a_frame(publisher: Publisher) -> None:
    with following(publisher.endpoint) as receiver:
        assert receiver.frame(time.monotonic()).state == "connecting"
        publisher.until_subscribed()
        began = time.monotonic()
        closes = 100 + np.round(np.random.default_rng(1).normal(0, 1, 50), 2)
        for number, close in enumerate(closes.tolist()):
            publisher.bar("IBM", number, close)
        publisher.send(
            "QuoteUpdate", symbol="IBM", bid_price=100.0, bid_size=3, ask_price=100.1, ask_size=1,
            timestamp=OPEN + 50 * MINUTE,
        )  # fmt: skip
        publisher.send(
            "TradeUpdate", symbol="IBM", price=100.05, size=7, timestamp=OPEN + 50 * MINUTE
        )
        frame = until(receiver, lambda frame: frame.received == 52)
        assert (frame.symbols, frame.state) == (("SPY", "IBM"), "connected")
        assert frame.feature_names == ("sma_20", "rsi_14", "spread", "imbalance")
        column = closes.astype(np.float64)
        features = FeatureComputer(["sma_20", "rsi_14"]).compute_batch(
            column, column + 1, column - 1, column, np.full(50, 100.0)
        )
        np.testing.assert_array_equal(frame.features[1, :2], features[:, -1])
        np.testing.assert_allclose(frame.features[1, 2:], [0.1, 0.5])
        assert np.isnan(frame.features[0]).all()
        assert frame.last[1] == 100.05
        for moment in (frame.last_at[1], frame.quote_at[1], frame.message_at):
            assert began <= moment <= time.monotonic(), "on the clock of time.monotonic"
        timestamps, *_, close, volume = receiver.bars("IBM")
        np.testing.assert_array_equal(timestamps, OPEN + np.arange(51) * MINUTE)
        np.testing.assert_array_equal(close, [*closes, 100.05])
        assert volume[-1] == 7
        assert frame.sparks.shape == (2, 32)
        assert frame.sparks[1, -1] == 100.05
        assert not frame.last.flags.writeable


def test_a_frame_says_what_changed(publisher: Publisher) -> None:
    with following(publisher.endpoint) as receiver:
        publisher.until_subscribed()
        publisher.bar("IBM", 0, 100.0)
        first = until(receiver, lambda frame: frame.received == 1)
        np.testing.assert_array_equal(first.changed_since(None), [True, True])
        again = receiver.frame(time.monotonic())
        assert again.number == first.number
        np.testing.assert_array_equal(again.changed_since(first), [False, False])
        publisher.bar("SPY", 0, 170.0)
        second = until(receiver, lambda frame: frame.number > first.number)
        np.testing.assert_array_equal(second.changed_since(first), [True, False])


def test_gaps_and_rubbish_are_counted_and_the_rest_goes_on(publisher: Publisher) -> None:
    with following(publisher.endpoint) as receiver:
        publisher.until_subscribed()
        publisher.bar("IBM", 0, 100.0)
        publisher.seq += 3
        publisher.bar("IBM", 1, 101.0)
        for rubbish in (b"market {", b"market ", b"market [1]", b'market {"type":"Nonsense"}'):
            publisher.socket.send(rubbish)
        publisher.socket.send_multipart([b"market ", b"{}"])
        publisher.socket.send(b"market " + b"x" * 70_000)
        publisher.bar("IBM", 2, 102.0)
        frame = until(receiver, lambda frame: frame.last[1] == 102.0)
        assert (frame.gaps, frame.malformed) == (3, 6)


def test_a_publisher_that_comes_back_is_followed_again() -> None:
    publisher = Publisher()
    with following(publisher.endpoint) as receiver:
        publisher.until_subscribed()
        publisher.bar("IBM", 0, 100.0)
        until(receiver, lambda frame: frame.last[1] == 100.0)
        publisher.close()
        until(receiver, lambda frame: frame.state == "lost")
        publisher = Publisher(publisher.port)
        try:
            publisher.until_subscribed()
            publisher.bar("IBM", 1, 101.0)
            frame = until(receiver, lambda frame: frame.last[1] == 101.0)
            assert frame.state == "connected"
            stats = receiver.stats()
            assert (stats["restarts"], stats["bars"]) == (1, 2)
            assert stats["reconnects"] >= 1
        finally:
            publisher.close()


def test_a_publisher_may_come_after_the_receiver() -> None:
    probe = Publisher()
    probe.close()
    with following(f"tcp://127.0.0.1:{probe.port}") as receiver:
        assert receiver.frame(time.monotonic()).state == "connecting"
        publisher = Publisher(probe.port)
        try:
            publisher.until_subscribed()
            publisher.bar("SPY", 0, 170.0)
            until(receiver, lambda frame: frame.last[0] == 170.0)
        finally:
            publisher.close()


def test_silence_is_stale(publisher: Publisher) -> None:
    with following(publisher.endpoint, stale_after_s=5.0) as receiver:
        publisher.until_subscribed()
        publisher.bar("IBM", 0, 100.0)
        frame = until(receiver, lambda frame: frame.state == "connected")
        assert receiver.frame(frame.message_at + 5.1).state == "stale"


def test_a_burst_within_the_high_water_mark_arrives_whole(publisher: Publisher) -> None:
    burst = 50_000
    with following(publisher.endpoint) as receiver:
        publisher.until_subscribed()
        for number in range(burst):
            publisher.bar("IBM", number, 100.0)
        frame = until(receiver, lambda frame: frame.received >= burst)
        assert (frame.received, frame.gaps, frame.malformed) == (burst, 0, 0)
        assert len(receiver.bars("IBM")[0]) == 60


def test_stopping_is_idempotent_and_what_was_seen_stays(publisher: Publisher) -> None:
    with following(publisher.endpoint) as receiver:
        receiver.start()
        publisher.until_subscribed()
        publisher.bar("IBM", 0, 100.0)
        until(receiver, lambda frame: frame.last[1] == 100.0)
    receiver.stop()
    assert receiver.frame(time.monotonic()).last[1] == 100.0


def test_what_cannot_be_followed_is_refused() -> None:
    settings: dict[str, Any] = {
        "features": ["sma_20"], "history": 60, "high_water_mark": 1000, "stale_after_s": 5.0,
    }  # fmt: skip
    url = "tcp://127.0.0.1:5555"
    with pytest.raises(ValueError, match='"smaa"'):
        FeedReceiver(url, ["IBM"], **(settings | {"features": ["smaa"]}))
    with pytest.raises(ValueError, match="at least one"):
        FeedReceiver(url, [], **settings)
    with pytest.raises(ValueError, match="go together"):
        FeedReceiver(url, ["IBM"], **settings, secret_key="x")
    with pytest.raises(RuntimeError, match="tcp://127"):
        FeedReceiver("nowhere", ["IBM"], **settings).start()
    with pytest.raises(RuntimeError, match="high_water_mark = 0"):
        FeedReceiver(url, ["IBM"], **(settings | {"high_water_mark": 0})).start()
    with pytest.raises(KeyError, match="it follows IBM"):
        FeedReceiver(url, ["IBM"], **settings).bars("GE")
