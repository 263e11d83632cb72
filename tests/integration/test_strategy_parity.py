"""One strategy, two ways: on the bus it signals what it signals in a backtest; and who hears it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import zmq
import zmq.asyncio

from console.bridge import BarUpdate, ZMQPublisher, ZMQSubscriber
from console.bridge.messages import MARKET, SIGNAL
from console.bridge.tape import play
from console.services import sample_dir
from console.strategies import Bar, Portfolio, Signal, Strategy
from console.strategies.backtest import Conditions, backtest
from console.strategies.live import Addresses, LiveStrategy
from signal_bridge import Recording, Tape
from tests.conftest import LIMIT_S

SYMBOLS = ("AIG", "BAC")
ACCOUNT = {"cash": "100000", "equity": "100000"}


class Sides(Strategy):
    """Follows the features alone, so that what the account holds makes no difference."""

    features = ("sma_9", "rsi_5", "atr_14")

    def on_bar(self, bar: Bar, features: Any, portfolio: Portfolio) -> Signal | None:
        sma, rsi, atr = features
        if bar.minutes_left < 3:
            return Signal(bar.symbol, "flat")
        if abs(bar.close - sma) < atr / 2:
            return None
        strength = round(min(1.0, rsi / 100 + bar.minute / 1_000), 4)
        return Signal(bar.symbol, "long" if bar.close > sma else "short", strength)


async def snapshots(socket: zmq.asyncio.Socket) -> None:
    """What the engine says to each who comes: nothing is held."""
    event = {"type": "Snapshot", "seq": 1, "ts": 1, "state": {"positions": [], "account": ACCOUNT}}
    while True:
        change = await socket.recv()
        if change[:1] == b"\x01":
            await socket.send(b"engine " + json.dumps(event).encode())


@asynccontextmanager
async def quiet_engine() -> AsyncIterator[str]:
    """The events port of an engine that holds nothing and does nothing."""
    context = zmq.asyncio.Context()
    engine = context.socket(zmq.XPUB)
    engine.linger = 0
    port = engine.bind_to_random_port("tcp://127.0.0.1")
    speaking = asyncio.create_task(snapshots(engine))
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        context.destroy(linger=0)


async def nothing(_symbol: str) -> list[Bar]:
    return []


async def test_the_bus_and_a_backtest_hear_the_same_signals() -> None:
    recording = Recording(sample_dir())
    day = {"start": "2013-10-07", "end": "2013-10-08"}
    result = backtest(recording, Sides(), Conditions(symbols=SYMBOLS, limits=None, **day))
    words = [line.split(" ") for line in result.journal.splitlines()]
    signaled = [word for word in words if word[1] == "signal"]
    expected = [(s, d, float(x), int(at)) for at, _, s, d, x in signaled]
    assert len(expected) > 200

    heard: list[tuple[str, str, float, int]] = []
    stop = asyncio.Event()
    async with (
        quiet_engine() as events,
        ZMQPublisher("tcp://127.0.0.1:*", bind=True, timeout_s=LIMIT_S) as market,
        ZMQSubscriber("tcp://127.0.0.1:*", bind=True) as signals,
    ):
        await signals.connect([SIGNAL])
        addresses = Addresses(market.endpoint, signals.endpoint, events)
        live = LiveStrategy(Sides(), SYMBOLS, addresses, history=nothing)
        running = asyncio.create_task(live.run(stop))
        await asyncio.wait_for(live.ready.wait(), LIMIT_S)
        tape = Tape(recording, list(SYMBOLS), day["start"], day["end"], 60.0)
        playing = asyncio.create_task(
            play(tape, lambda message: market.publish(message, MARKET), speed=0)
        )
        async with asyncio.timeout(LIMIT_S):
            async for _topic, told in signals.receive():
                if told["type"] == "Signal":
                    fields = ("symbol", "direction", "strength", "timestamp")
                    heard.append(tuple(told[name] for name in fields))  # type: ignore[arg-type]
                    if len(heard) >= len(expected):
                        break
        await asyncio.wait_for(playing, LIMIT_S)
        stop.set()
        counts = await asyncio.wait_for(running, LIMIT_S)
    assert heard == expected
    assert (counts.gaps, counts.late, counts.unsent) == (0, 0, 0)
    assert counts.signals == len(expected)


async def test_a_signal_that_nobody_takes_is_counted_and_the_next_one_is_sent(
    monkeypatch: pytest.MonkeyPatch, until_async: Callable[..., Awaitable[Any]]
) -> None:
    class Always(Strategy):
        def on_bar(self, bar: Bar, features: Any, portfolio: Portfolio) -> Signal:
            return Signal(bar.symbol, "long")

    monkeypatch.setattr("console.strategies.live.SEND_S", 0.3)
    open_at = 1_381_152_600_000_000_000
    stop = asyncio.Event()
    async with (
        quiet_engine() as events,
        ZMQPublisher("tcp://127.0.0.1:*", bind=True, timeout_s=LIMIT_S) as market,
        AsyncExitStack() as listening,
    ):

        async def bar(number: int) -> None:
            start = open_at + number * 60_000_000_000
            await market.publish_bar(BarUpdate("AIG", 50, 51, 49, 50, 100, start))

        first = ZMQSubscriber("tcp://127.0.0.1:*", bind=True)
        await listening.enter_async_context(first)
        await first.connect([SIGNAL])
        port = first.endpoint
        live = LiveStrategy(
            Always(), ("AIG",), Addresses(market.endpoint, port, events), history=nothing
        )
        running = asyncio.create_task(live.run(stop))
        await asyncio.wait_for(live.ready.wait(), LIMIT_S)
        await bar(0)
        await until_async(lambda: live.counts.signals == 1)
        await listening.aclose()
        await until_async(lambda: live.health()["signals"].connections == 0)
        await bar(1)
        await until_async(lambda: live.counts.signals + live.counts.unsent == 2)
        async with ZMQSubscriber(port, bind=True) as second:
            await second.connect([SIGNAL])
            sent = live.counts.signals
            number = 2
            while live.counts.signals == sent:
                await bar(number)
                number += 1
                await until_async(
                    lambda: live.counts.signals + live.counts.unsent >= number  # noqa: B023
                )
                assert number < 200
            stop.set()
            counts = await asyncio.wait_for(running, LIMIT_S)
    assert counts.unsent >= 1
    assert counts.shown == counts.signals + counts.unsent
