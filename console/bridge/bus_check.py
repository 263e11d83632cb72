"""The bus at work over real sockets: what `python -m console.bridge.zmq_bridge` shows."""

from __future__ import annotations

import asyncio
import sys
import time

from console.bridge import messages
from console.bridge.messages import BarUpdate, MessageType, Signal
from console.bridge.sockets import BusError, BusTimeoutError
from console.bridge.zmq_bridge import SEND_TIMEOUT_S, ZMQPublisher, ZMQSubscriber


async def _self_check(count: int) -> None:
    """A strategy's signal to a port of its owner, and bars through one, over real sockets."""
    async with (
        ZMQSubscriber("tcp://127.0.0.1:*", bind=True) as engine,
        ZMQPublisher(engine.endpoint, component="self-check") as strategy,
    ):
        await engine.connect([messages.SIGNAL])
        await strategy.publish_signal(Signal("IBM", "long", 0.8, time.time_ns()))
        async with asyncio.timeout(SEND_TIMEOUT_S):
            topic, message = await anext(engine.receive())
        print(f"signal to {engine.endpoint}: {topic} {message}")
    async with (
        ZMQPublisher("tcp://127.0.0.1:*", bind=True, component="self-check") as market,
        ZMQSubscriber(market.endpoint) as feed,
    ):
        await feed.connect([messages.MARKET], timeout_s=SEND_TIMEOUT_S)
        began = time.perf_counter()
        async with asyncio.timeout(60):
            received = await _bars_through(market, feed, count)
        seconds = time.perf_counter() - began
        health = feed.health()
    print(
        f"{received:,} bars published, received and decoded in {seconds:.2f} s "
        f"({received / seconds:,.0f}/s, both ends in this one thread)"
    )
    print(f"malformed {health.malformed}, gaps {health.gaps}, {health.state} at {health.endpoint}")
    if received != count or health.gaps or health.malformed:
        raise BusError(f"{count - received} of {count} bars are missing")
    try:
        async with ZMQPublisher(market.endpoint, timeout_s=0.2) as alone:
            await alone.publish_signal(Signal("IBM", "flat", 0.0, time.time_ns()))
    except BusTimeoutError as error:
        print(f"and into the void nothing goes: {error}")
    else:
        raise BusError("a signal without a subscriber was not refused")


async def _bars_through(market: ZMQPublisher, feed: ZMQSubscriber, count: int) -> int:
    async def publish() -> None:
        for number in range(count):
            price = 190.0 + number % 100 / 100
            await market.publish_bar(
                BarUpdate("IBM", price, price + 0.5, price - 0.5, price, 100.0, number)
            )

    publishing = asyncio.create_task(publish())
    received = 0
    async for _, message in feed.receive():
        received += message["type"] == MessageType.BAR_UPDATE
        if received == count:
            break
    await publishing
    return received


def main() -> int:
    """Show the bus at work. 0, or 1 and the reason."""
    try:
        asyncio.run(_self_check(50_000))
    except (BusError, TimeoutError) as error:
        print(f"the bus does not work: {error or 'no message in time'}", file=sys.stderr)
        return 1
    return 0
