"""Fault 26: what is no message, on each port of the bus: counted, dropped, logged once."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import zmq
import zmq.asyncio
from loguru import logger

from console.engine.commands import Ack, GetState, Outcome, SubmitOrder, encode
from console.engine.events import Snapshot
from console.engine.link import RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import Side, TradingState
from signal_bridge import FeedReceiver, Service
from tests.faults.harness import LIMIT_S, assert_books_agree

MINUTE = 60_000_000_000
OPEN = 1_381_152_600_000_000_000

NO_MESSAGE = {
    "empty": b"",
    "no JSON": b"not json",
    "cut off": b'{"type":"TradeUpdate","symbol":"IBM"',
    "no UTF-8": b'{"type":"\xff\xfe"}',
    "a list": b"[1,2,3]",
    "null": b"null",
    "no type": b'{"symbol":"IBM"}',
    "a number for a type": b'{"type":5}',
    "an unknown type": b'{"type":"Nonsense","id":"x"}',
    "NaN": b'{"type":"TradeUpdate","symbol":"IBM","price":NaN,"size":1,"timestamp":1}',
    "infinity": b'{"type":"Signal","symbol":"IBM","direction":"long","strength":Infinity}',
    "nested too deep": b"[" * 100_000,
    "huge": b'{"type":"' + b"x" * 900_000 + b'"}',
}
"""None of these is a message on any port."""


def trade(**fields: Any) -> bytes:
    body = {"type": "TradeUpdate", "symbol": "IBM", "price": 182.5, "size": 100}
    return json.dumps(body | {"timestamp": OPEN, "seq": 1, "ts": 1} | fields).encode()


def signal(**fields: Any) -> bytes:
    body = {"type": "Signal", "symbol": "IBM", "direction": "long", "strength": 1.0}
    return json.dumps(body | {"timestamp": OPEN, "strategy": "test"} | fields).encode()


def word(**fields: Any) -> bytes:
    body = {"type": "RiskUpdate", "trading_state": "HALTED", "reason": "drawdown"}
    return json.dumps(body | {"seq": 1, "ts": 1} | fields).encode()


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What was logged meanwhile."""
    lines: list[str] = []
    number = logger.add(lambda message: lines.append(str(message)), level="WARNING")
    yield lines
    logger.remove(number)


class Publisher:
    """A plain libzmq publisher, bound or connected, that knows when it is heard."""

    def __init__(self, context: zmq.asyncio.Context, connect_to: int | None = None) -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        if connect_to is None:
            self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        else:
            self.socket.connect(f"tcp://127.0.0.1:{connect_to}")

    async def heard(self, by: int = 1) -> None:
        async with asyncio.timeout(LIMIT_S):
            for _ in range(by):
                assert (await self.socket.recv())[:1] == b"\x01"

    async def send(self, *frames: bytes) -> None:
        async with asyncio.timeout(LIMIT_S):
            await self.socket.send_multipart(frames)


@pytest.fixture
async def context() -> AsyncIterator[zmq.asyncio.Context]:
    context = zmq.asyncio.Context()
    yield context
    context.destroy(linger=0)


def metric(port: int, name: str) -> int:
    """A counter in a service's /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_S) as answer:
        lines = answer.read().decode().splitlines()
    values = [line.rpartition(" ")[2] for line in lines if name in line and line[0] != "#"]
    assert values, f"no {name} in {lines}"
    return int(float(values[0]))


async def test_26_on_5555_the_feed_goes_on_with_the_next_true_message(context, until_async):
    publisher = Publisher(context)
    receiver = FeedReceiver(
        f"tcp://127.0.0.1:{publisher.port}", ["IBM"], features=["sma_20"], history=60,
        high_water_mark=1000, stale_after_s=60.0,
    )  # fmt: skip
    receiver.start()
    try:
        await publisher.heard()
        bad = [
            *NO_MESSAGE.values(),
            *(trade(price=price) for price in ("182.5", None, -1.0, 0, [182.5], True)),
            *(trade(symbol=symbol) for symbol in ("", "ibm", "I\u202eBM", "[b]IBM", "A" * 200, 5)),
            trade(timestamp=2**70),
            trade(timestamp="yesterday"),
            trade().replace(b"182.5", b"1e999"),
        ]
        for payload in bad:
            await publisher.send(b"market " + payload)
        await publisher.send(b"market")
        await publisher.send(b"market " + trade(), b"and another part")
        await publisher.send(b"market " + trade(price=191.25))
        await until_async(lambda: receiver.frame(time.monotonic()).last[0] == 191.25)
        counted = receiver.stats()["malformed"]
        assert len(bad) <= counted <= len(bad) + 2
    finally:
        receiver.stop()


async def test_26_on_5556_no_order_comes_of_it_and_the_next_signal_trades(
    bench, other, context, until_async
):
    service = Service.start(
        "execution-engine",
        json.dumps({
            "signal_port": 0, "health_port": 0, "heartbeat_s": 0.05, "market_url": "tcp://127.0.0.1:9",
            "commands_url": f"tcp://127.0.0.1:{bench.engine.ports['commands']}",
        }),
        timeout_s=LIMIT_S,
    )  # fmt: skip
    try:
        publisher = Publisher(context, service.ports["signal"])
        await publisher.heard()
        bad = [
            *NO_MESSAGE.values(),
            trade(),
            *(signal(strength=s) for s in (-0.5, 1.5, "1", None)),
            *(signal(direction=d) for d in ("up", "", None, 1)),
            *(signal(symbol=s) for s in ("", "I\x1b[2JBM", "I\u202eBM", "[b]IBM[/b]")),
        ]
        for payload in bad:
            await publisher.send(b"signal " + payload)
        await publisher.send(b"signal " + signal())
        order = await bench.until(
            lambda: next((o for o in bench.engine.view().orders if o.state.is_final), None),
            "the order of the true signal",
        )
        assert order.symbol == "IBM"
        await assert_books_agree(bench, other, orders=1)
        health = service.ports["execution_engine_health"]

        async def counted() -> bool:
            return await asyncio.to_thread(metric, health, "malformed") == len(bad)

        await until_async(counted, "the execution-engine has counted them")
    finally:
        await asyncio.to_thread(service.stop, timeout_s=LIMIT_S)


async def test_26_on_5557_each_is_answered_and_the_next_command_is_carried_out(
    bench, other, context, said
):
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.connect(f"tcp://127.0.0.1:{bench.engine.ports['commands']}")
    submit = {"type": "SubmitOrder", "id": "x", "symbol": "IBM", "side": "buy"}
    bad = [
        *NO_MESSAGE.values(),
        b'{"type":"SubmitOrder","id":"x","symbol":"IBM","side":"buy","qty":NaN}',
        *(json.dumps(submit | {"qty": qty}).encode() for qty in ([], {}, True, "ten", "")),
        json.dumps(submit | {"side": "up", "qty": "1"}).encode(),
        json.dumps(submit | {"symbol": None, "qty": "1"}).encode(),
    ]
    async with asyncio.timeout(LIMIT_S):
        for payload in bad:
            await dealer.send(payload)
            ack = msgspec.json.decode(await dealer.recv(), type=Ack)
            assert (ack.outcome, ack.refusals[0].check) == (Outcome.REFUSED, "command"), payload[
                :80
            ]
        # These are commands, of quantities that are none.
        for qty in ("NaN", "Infinity", "-1", "0", "1e400", "1e-400"):
            await dealer.send(json.dumps(submit | {"id": f"q-{qty}", "qty": qty}).encode())
            ack = msgspec.json.decode(await dealer.recv(), type=Ack)
            assert (ack.outcome, ack.order) == (Outcome.REFUSED, None), (qty, ack)
        await dealer.send_multipart([b"two", b"parts"])
        # Longer than a message may be: the line is closed, and made again by libzmq.
        await dealer.send(b"x" * (2 << 20))
        good = SubmitOrder(id="good", symbol="IBM", side=Side.BUY, qty=Decimal(5))
        while True:
            await dealer.send(encode(good))
            if await dealer.poll(2_000):
                break
        ack = msgspec.json.decode(await dealer.recv(), type=Ack)
    assert (ack.id, ack.outcome) == ("good", Outcome.ACCEPTED)
    assert bench.engine.health()["bus_malformed"] == len(bad) + 1
    assert len([line for line in said if "malformed" in line]) == 1
    await assert_books_agree(bench, other, orders=1)


async def test_26_on_5558_a_face_and_the_risk_manager_go_on_with_the_next_true_event(
    context, until_async
):
    publisher = Publisher(context)
    state = {"seq": 1, "mode": "DEMO", "ready": True, "trading_state": "ACTIVE", "orders": []}
    snapshot = json.dumps({"type": "Snapshot", "seq": 1, "ts": 1, "state": state}).encode()
    bad = [
        *NO_MESSAGE.values(),
        snapshot.replace(b'"seq": 1', b'"seq": "one"'),
        snapshot.replace(b'"ACTIVE"', b'"ASLEEP"'),
        b'{"type":"OrderChanged","seq":2}',
        b'{"type":"PositionsChanged","seq":2,"positions":7}',
    ]
    heard: list[Any] = []
    link = RemoteLink(
        RuntimeInfo(pid=1, mode="DEMO", started_at="", ports={"events": publisher.port}),
        with_feed=False,
    )
    service = Service.start(
        "risk-manager",
        json.dumps({
            "risk_port": 0, "health_port": 0, "heartbeat_s": 0.05, "commands_url": "tcp://127.0.0.1:9",
            "events_url": f"tcp://127.0.0.1:{publisher.port}",
        }),
        timeout_s=LIMIT_S,
    )  # fmt: skip
    try:
        link.listen(heard.append)
        await publisher.heard(by=2)
        for payload in bad:
            await publisher.send(b"engine " + payload)
        health = service.ports["risk_manager_health"]

        async def counted() -> bool:
            count = await asyncio.to_thread(metric, health, "malformed")
            # Of a type, or with a word, that is not for the risk-manager it is not malformed.
            return len(bad) - 4 <= count <= len(bad)

        await until_async(counted, "the risk-manager has counted them")
        await publisher.send(b"engine " + snapshot)
        await until_async(lambda: heard)
        assert [type(event) for event in heard] == [Snapshot]
    finally:
        await link.close()
        await asyncio.to_thread(service.stop, timeout_s=LIMIT_S)


async def test_26_on_5559_nothing_halts_trading_but_the_true_word(bench, other, context, said):
    publisher = Publisher(context)
    bench.engine.watch_risk(publisher.port)
    await publisher.heard()
    bad = [
        *NO_MESSAGE.values(),
        *(word(trading_state=s) for s in ("halted", "OFF", None, 1, ["HALTED"])),
        word(reason=7),
    ]
    for payload in bad:
        await publisher.send(b"risk " + payload)
    await publisher.send(b'risk {"type":"Heartbeat","component":"risk-manager","seq":1,"ts":1}')
    await publisher.send(b"risk " + word(trading_state="REDUCING"))
    await bench.until(lambda: bench.engine.view().trading_state is not TradingState.ACTIVE)
    assert bench.engine.view().trading_state is TradingState.REDUCING
    # Of a type that is not for the engine it is not malformed.
    others = sum(payload in NO_MESSAGE.values() and b'"type":"' in payload for payload in bad)
    counted = bench.engine.health()["bus_malformed"]
    assert len(bad) - others <= counted <= len(bad)
    assert len([line for line in said if "malformed" in line]) == 1
    assert (await bench.ask(GetState())).state is not None
    await assert_books_agree(bench, other, orders=0, trading_state=TradingState.REDUCING)
