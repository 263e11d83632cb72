"""One strategy, two ways: on the bus it signals at the same bars what it signals in a backtest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import zmq
import zmq.asyncio

from console.bridge import ZMQPublisher, ZMQSubscriber
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


async def test_the_bus_and_a_backtest_hear_the_same_signals() -> None:
    recording = Recording(sample_dir())
    day = {"start": "2013-10-07", "end": "2013-10-08"}
    result = backtest(recording, Sides(), Conditions(symbols=SYMBOLS, limits=None, **day))
    words = [line.split(" ") for line in result.journal.splitlines()]
    expected = [
        (s, d, float(x), int(at)) for at, what, s, d, x in (w for w in words if w[1] == "signal")
    ]
    assert len(expected) > 200

    async def nothing(_symbol: str) -> list[Bar]:
        return []

    context = zmq.asyncio.Context()
    engine = context.socket(zmq.XPUB)
    engine.linger = 0
    port = engine.bind_to_random_port("tcp://127.0.0.1")
    speaking = asyncio.create_task(snapshots(engine))
    heard: list[tuple[str, str, float, int]] = []
    stop = asyncio.Event()
    try:
        async with (
            ZMQPublisher("tcp://127.0.0.1:*", bind=True, timeout_s=LIMIT_S) as market,
            ZMQSubscriber("tcp://127.0.0.1:*", bind=True) as signals,
        ):
            await signals.connect([SIGNAL])
            addresses = Addresses(market.endpoint, signals.endpoint, f"tcp://127.0.0.1:{port}")
            live = LiveStrategy(Sides(), SYMBOLS, addresses, history=nothing)
            running = asyncio.create_task(live.run(stop))
            await asyncio.wait_for(live.ready.wait(), LIMIT_S)
            tape = Tape(recording, list(SYMBOLS), day["start"], day["end"], 60.0)
            playing = asyncio.create_task(
                play(tape, lambda message: market.publish(message, MARKET), speed=0)
            )
            async with asyncio.timeout(LIMIT_S):
                async for _topic, message in signals.receive():
                    if message["type"] == "Signal":
                        heard.append(
                            (
                                message["symbol"], message["direction"], message["strength"],
                                message["timestamp"],
                            )
                        )  # fmt: skip
                        if len(heard) >= len(expected):
                            break
            await asyncio.wait_for(playing, LIMIT_S)
            stop.set()
            counts = await asyncio.wait_for(running, LIMIT_S)
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        context.destroy(linger=0)
    assert heard == expected
    assert (counts.gaps, counts.late, counts.unsent) == (0, 0, 0)
    assert counts.signals == len(expected)
