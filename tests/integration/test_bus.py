"""Publisher and subscriber over real sockets."""

import asyncio
import stat
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
from loguru import logger

from console.bridge import (
    BarUpdate,
    BusClosedError,
    BusError,
    BusState,
    BusTimeoutError,
    MalformedError,
    Signal,
    ZMQPublisher,
    ZMQSubscriber,
    security,
    sockets,
)

LIMIT_S = 30.0
ANYWHERE = "tcp://127.0.0.1:*"


def signal(strength: float = 0.8) -> Signal:
    return Signal("AAPL", "long", strength, 1_400_000_000_000_000_000)


def bar(number: int) -> BarUpdate:
    return BarUpdate("IBM", 1.0, 2.0, 0.5, 1.5, float(number), number)


async def take(subscriber: ZMQSubscriber, count: int) -> list[tuple[str, dict[str, Any]]]:
    """The next `count` messages that are no heartbeats."""
    taken: list[tuple[str, dict[str, Any]]] = []
    async with asyncio.timeout(LIMIT_S):
        async for item in subscriber.receive():
            if item[1]["type"] != "Heartbeat":
                taken.append(item)
            if len(taken) == count:
                break
    return taken


async def take_any(subscriber: ZMQSubscriber) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        _, message = await anext(subscriber.receive())
    return message


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def warnings_logged() -> Any:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), level="WARNING")
    yield lines
    logger.remove(sink)


class RawPublisher:
    """A plain PUB socket, for frames that no publisher of ours would send."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(LIMIT_S * 1e3)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{self.port}"

    async def subscribed(self) -> None:
        await asyncio.to_thread(self.socket.recv)

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@pytest.fixture
def raw() -> Any:
    publisher = RawPublisher()
    yield publisher
    publisher.close()


async def test_a_message_is_received_when_it_comes_also_while_the_socket_was_looked_at(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks at a socket takes the sign that something came from whoever waits for it."""
    monkeypatch.setattr("console.bridge.zmq_bridge._WAKE_S", 10 * LIMIT_S)
    monkeypatch.setattr("console.bridge.zmq_bridge._TOUCH_S", 10 * LIMIT_S)
    async with ZMQSubscriber(raw.endpoint) as subscriber:
        await subscriber.connect(["market"])
        await raw.subscribed()
        waiting = asyncio.create_task(take_any(subscriber))
        await until(lambda: bool(sockets._waiting))
        # The loop does nothing else until it is here, and has been seen.
        raw.socket.send(b'market {"type":"Heartbeat","component":"x","seq":1,"ts":1}')
        deadline = time.monotonic() + LIMIT_S
        while not sockets.has_input(subscriber._live):
            assert time.monotonic() < deadline
        assert (await waiting)["type"] == "Heartbeat"


async def test_a_signal_reaches_the_owner_of_the_port() -> None:
    async with (
        ZMQSubscriber(ANYWHERE, bind=True) as engine,
        ZMQPublisher(engine.endpoint) as strategy,
    ):
        await engine.connect(["signal"])
        assert await strategy.publish_signal(signal()) == 1
        ((topic, message),) = await take(engine, 1)
    assert topic == "signal"
    assert message["type"] == "Signal"
    assert (message["symbol"], message["direction"], message["strength"]) == ("AAPL", "long", 0.8)
    assert message["seq"] == 1
    assert abs(message["ts"] - time.time_ns()) < LIMIT_S * 1e9


async def test_signals_are_sent_though_their_publisher_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reader comes while the publisher ends, with more waiting than TCP buffers hold."""
    monkeypatch.setattr("console.bridge.ends._LINGER_MS", int(LIMIT_S * 1e3))
    count = 20_000
    async with ZMQSubscriber(ANYWHERE, bind=True, high_water_mark=10) as engine:
        await engine.connect(["signal"])
        strategy = ZMQPublisher(engine.endpoint, heartbeat_s=None)
        await strategy.__aenter__()
        for _ in range(count):
            await strategy.publish_signal(Signal("AAPL", "long", 0.8, 1, strategy="x" * 1_000))
        ending = asyncio.create_task(strategy.close())
        assert len(await take(engine, count)) == count
        await ending


async def test_nothing_is_sent_into_the_void() -> None:
    async with ZMQSubscriber(ANYWHERE, bind=True) as engine:
        await engine.connect(["other"])
        async with ZMQPublisher(engine.endpoint, timeout_s=0.2) as strategy:
            with pytest.raises(BusTimeoutError, match="nobody listens to 'signal'"):
                await strategy.publish_signal(signal())
            assert strategy.health().messages == 0
    async with ZMQPublisher(engine.endpoint, timeout_s=0.1) as alone:
        with pytest.raises(TimeoutError):
            await alone.publish_signal(signal())


async def test_a_signal_waits_for_a_subscriber_who_comes_later() -> None:
    async with ZMQPublisher(ANYWHERE, bind=True, timeout_s=LIMIT_S) as publisher:
        sending = asyncio.create_task(publisher.publish_signal(signal()))
        async with ZMQSubscriber(publisher.endpoint) as subscriber:
            await subscriber.connect(["signal"])
            assert len(await take(subscriber, 1)) == 1
        assert await sending == 1


async def test_nothing_waits_for_a_reader_that_has_gone(
    until_async: Callable[..., Awaitable[Any]],
) -> None:
    async with AsyncExitStack() as first_life:
        first = await first_life.enter_async_context(ZMQSubscriber("tcp://127.0.0.1:*", bind=True))
        await first.connect(["signal"])
        async with ZMQPublisher(first.endpoint, timeout_s=LIMIT_S) as publisher:
            await publisher.publish_signal(Signal("IBM", "long", 1.0, 1))
            await first_life.aclose()
            await until_async(lambda: publisher.health().connections == 0)
            for at in range(2, 5):
                with pytest.raises(BusTimeoutError, match="nobody listens"):
                    await publisher.publish_signal(Signal("IBM", "long", 1.0, at), timeout_s=0.05)
            # Back again it hears what is sent from then on, and nothing of the time between.
            async with ZMQSubscriber(first.endpoint, bind=True) as second:
                await second.connect(["signal"])
                await publisher.publish_signal(Signal("IBM", "flat", 1.0, 9))
                async with asyncio.timeout(LIMIT_S):
                    _topic, heard = await anext(second.receive())
    assert (heard["direction"], heard["timestamp"], heard["seq"]) == ("flat", 9, 2)


async def test_topics_are_matched_whole() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True, heartbeat_s=None) as publisher,
        ZMQSubscriber(publisher.endpoint) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        await publisher.publish(bar(1), "market2")
        await publisher.publish(bar(2), "market")
        assert [message["timestamp"] for _, message in await take(subscriber, 1)] == [2]


async def test_a_burst_arrives_whole_and_in_order() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True) as publisher,
        ZMQSubscriber(publisher.endpoint) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        await publisher.subscribed("market", LIMIT_S)
        for number in range(20_000):
            await publisher.publish_bar(bar(number))
        taken = await take(subscriber, 20_000)
        health = subscriber.health()
    assert [message["timestamp"] for _, message in taken] == list(range(20_000))
    assert (health.gaps, health.malformed, health.restarts) == (0, 0, 0)


async def test_leaving_the_loop_and_coming_back_loses_nothing() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True, heartbeat_s=None) as publisher,
        ZMQSubscriber(publisher.endpoint) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        for number in range(100):
            await publisher.publish_bar(bar(number))
        seen = [(await take(subscriber, 1))[0][1]["timestamp"] for _ in range(100)]
    assert seen == list(range(100))


async def test_batches_carry_the_same() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True, heartbeat_s=None) as publisher,
        ZMQSubscriber(publisher.endpoint) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        for number in range(1_000):
            await publisher.publish_bar(bar(number))
        seen: list[int] = []
        async with asyncio.timeout(LIMIT_S):
            async for batch in subscriber.receive_batches():
                assert 1 <= len(batch) <= 256
                seen += [message["timestamp"] for _, message in batch]
                if len(seen) == 1_000:
                    break
    assert seen == list(range(1_000))


async def test_a_full_queue_is_waited_for_and_nothing_is_dropped(raw: RawPublisher) -> None:
    del raw
    async with (
        ZMQPublisher(ANYWHERE, bind=True, high_water_mark=10, timeout_s=LIMIT_S) as publisher,
        ZMQSubscriber(publisher.endpoint, high_water_mark=10) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        big = "x" * 1_000

        async def send() -> None:
            for number in range(20_000):
                await publisher.publish_bar(
                    BarUpdate("IBM", 1.0, 1.0, 1.0, 1.0, 1.0, number, source=big)
                )

        sending = asyncio.create_task(send())
        taken = await take(subscriber, 20_000)
        await sending
    assert [message["timestamp"] for _, message in taken] == list(range(20_000))


async def test_a_subscriber_that_never_reads_makes_the_publisher_say_so() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True, high_water_mark=10, timeout_s=0.2) as publisher,
        ZMQSubscriber(publisher.endpoint, high_water_mark=10) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        await publisher.subscribed("market", LIMIT_S)

        async def fill() -> None:
            for number in range(100_000):
                await publisher.publish_bar(
                    BarUpdate("IBM", 1.0, 1.0, 1.0, 1.0, 1.0, number, source="x" * 1_000)
                )

        with pytest.raises(BusTimeoutError, match="queue stayed full"):
            await fill()


async def test_gaps_and_restarts_are_counted(raw: RawPublisher) -> None:
    async with ZMQSubscriber(raw.endpoint) as subscriber:
        await subscriber.connect(["market"])
        await raw.subscribed()
        for number in (5, 6, 9, 10, 1, 2, 4):
            raw.socket.send(b'market {"type":"Heartbeat","component":"x","seq":%d}' % number)
        received = subscriber.receive()
        for _ in range(7):
            await asyncio.wait_for(anext(received), LIMIT_S)
        health = subscriber.health()
    assert health.gaps == 2 + 1
    assert health.restarts == 1


async def test_bad_frames_are_counted_dropped_and_told_once(
    raw: RawPublisher, warnings_logged: list[str]
) -> None:
    bad = [
        b"market",
        b"market ",
        b"market {",
        b"market []",
        b'market {"type":"Nonsense"}',
        b'market {"type":"BarUpdate","symbol":"IBM"}',
        b'market {"type":"TradeUpdate","symbol":"IBM","price":NaN,"size":1,"timestamp":1}',
        b'market {"type":"TradeUpdate","symbol":"IBM","price":1e999,"size":1,"timestamp":1}',
        b'market {"type":"TradeUpdate","symbol":"I\\u202eBM","price":1,"size":1,"timestamp":1}',
        b'market {"type":"Heartbeat","component":"\xff"}',
        b"market " + b"[" * 10_000,
    ]
    async with ZMQSubscriber(raw.endpoint) as subscriber:
        await subscriber.connect([])
        await raw.subscribed()
        for frame in bad:
            raw.socket.send(frame)
        raw.socket.send(b'market {"type":"Heartbeat","component":"good"}')
        async with asyncio.timeout(LIMIT_S):
            topic, message = await anext(subscriber.receive())
        assert (topic, message["component"]) == ("market", "good")
        assert subscriber.health().malformed == len(bad)
    assert len(warnings_logged) == 1


async def test_a_frame_beyond_the_limit_never_arrives(raw: RawPublisher) -> None:
    async with ZMQSubscriber(raw.endpoint) as subscriber:
        await subscriber.connect(["market"])
        await raw.subscribed()
        raw.socket.send(b"market " + b"x" * (1 << 20))
        # libzmq hangs up on such a sender and never comes back by itself.
        await until(lambda: subscriber.health().reconnects >= 1)
        receiving = asyncio.create_task(take_any(subscriber))
        async with asyncio.timeout(LIMIT_S):
            while not receiving.done():
                raw.socket.send(b'market {"type":"Heartbeat","component":"good"}')
                await asyncio.wait({receiving}, timeout=0.05)
    assert receiving.result()["component"] == "good"


async def test_events_of_the_engine_pass_by_their_type(raw: RawPublisher) -> None:
    async with ZMQSubscriber(raw.endpoint) as subscriber:
        await subscriber.connect(["engine"])
        await raw.subscribed()
        raw.socket.send(b'engine {"no":"type"}')
        raw.socket.send(b'engine {"type":"OrderChanged","seq":"3"}')
        raw.socket.send(b'engine {"type":"OrderChanged","seq":true}')
        raw.socket.send(b'engine {"type":"OrderChanged","seq":3,"order":{"qty":"10"}}')
        async with asyncio.timeout(LIMIT_S):
            topic, message = await anext(subscriber.receive())
        assert (topic, message["order"]) == ("engine", {"qty": "10"})
        assert subscriber.health().malformed == 3


async def test_a_subscriber_finds_a_publisher_that_comes_back() -> None:
    async with ZMQPublisher(ANYWHERE, bind=True) as first:
        endpoint = first.endpoint
        subscriber = ZMQSubscriber(endpoint)
        await subscriber.__aenter__()
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        await first.publish_bar(bar(1))
        await take(subscriber, 1)
    try:
        await until(lambda: subscriber.health().state is BusState.LOST)
        async with ZMQPublisher(endpoint, bind=True, timeout_s=LIMIT_S) as second:
            await second.publish_bar(bar(2))
            assert (await take(subscriber, 1))[0][1]["timestamp"] == 2
            assert subscriber.health().state is BusState.CONNECTED
            assert subscriber.health().reconnects == 1
    finally:
        await subscriber.close()


async def test_silence_is_stale_and_heartbeats_end_it() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True, heartbeat_s=None) as publisher,
        ZMQSubscriber(publisher.endpoint, stale_after_s=0.1) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        await publisher.publish_bar(bar(1))
        await take(subscriber, 1)
        await until(lambda: subscriber.health().state is BusState.STALE)
        await publisher.publish_bar(bar(2))
        await take(subscriber, 1)
        assert subscriber.health().state is BusState.CONNECTED


async def test_heartbeats_come_by_themselves() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True, heartbeat_s=0.02, component="tester") as publisher,
        ZMQSubscriber(publisher.endpoint) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        await publisher.publish_bar(bar(1))
        async with asyncio.timeout(LIMIT_S):
            async for _, message in subscriber.receive():
                if message["type"] == "Heartbeat" and message["seq"] >= 3:
                    break
        assert message["component"] == "tester"
        assert subscriber.health().gaps == 0


async def test_what_no_reader_would_take_is_refused_and_costs_no_number() -> None:
    async with (
        ZMQPublisher(ANYWHERE, bind=True) as publisher,
        ZMQSubscriber(publisher.endpoint) as subscriber,
    ):
        await subscriber.connect(["market"], timeout_s=LIMIT_S)
        await publisher.publish_bar(bar(1))
        with pytest.raises(MalformedError):
            await publisher.publish_bar(BarUpdate("IBM", float("nan"), 1, 1, 1, 1, 1))
        assert await publisher.publish_bar(bar(2)) == 2


async def test_closing_ends_a_receiver_that_waits() -> None:
    subscriber = ZMQSubscriber(ANYWHERE, bind=True)
    await subscriber.__aenter__()
    await subscriber.connect(["market"])

    async def all_of_it() -> int:
        return len([item async for item in subscriber.receive()])

    receiving = asyncio.create_task(all_of_it())
    await asyncio.sleep(0)
    await subscriber.close()
    await subscriber.close()
    assert await asyncio.wait_for(receiving, LIMIT_S) == 0
    assert subscriber.health().detail == "closed"


async def test_use_outside_its_block_and_bad_addresses_are_said() -> None:
    with pytest.raises(BusClosedError):
        await ZMQPublisher("tcp://127.0.0.1:1").publish_signal(signal())
    for endpoint in ("nonsense", "tcp://127.0.0.1:99999", "ftp://127.0.0.1:1", "tcp://a b:1"):
        with pytest.raises(BusError, match="wanted"):
            ZMQSubscriber(endpoint)
    for endpoint in ("tcp://0.0.0.0:0", "tcp://*:5555", "tcp://192.168.0.7:5555", "tcp://[::]:0"):
        with pytest.raises(BusError, match="reachable from outside"):
            ZMQPublisher(endpoint, bind=True)
    async with ZMQSubscriber(ANYWHERE, bind=True) as owner:
        with pytest.raises(BusError, match="can't bind"):
            async with ZMQSubscriber(owner.endpoint, bind=True):
                pass
    with pytest.raises(ValueError, match="high_water_mark"):
        async with ZMQSubscriber(ANYWHERE, bind=True, high_water_mark=0):
            pass


@pytest.fixture
def keys(tmp_path: Path) -> security.BusKeys:
    return security.generate(tmp_path / "keys")


async def test_with_keys_only_those_allowed_get_in(keys: security.BusKeys) -> None:
    stranger = security.BusKeys(client=security.Keypair.new(), server_public=keys.server_public)
    async with (
        ZMQPublisher(ANYWHERE, bind=True, keys=keys, timeout_s=LIMIT_S) as publisher,
        ZMQSubscriber(publisher.endpoint, keys=stranger) as refused,
        ZMQSubscriber(publisher.endpoint) as naked,
        ZMQSubscriber(publisher.endpoint, keys=keys) as allowed,
    ):
        for subscriber in (refused, naked, allowed):
            await subscriber.connect(["market"])
        await publisher.publish_bar(bar(1))
        assert len(await take(allowed, 1)) == 1
        await until(lambda: "refuses our key" in refused.health().detail)
        assert refused.health().messages == naked.health().messages == 0


async def test_a_server_with_another_key_is_not_talked_to(
    keys: security.BusKeys, tmp_path: Path
) -> None:
    other = security.generate(tmp_path / "other")
    imposter = security.BusKeys(
        client=other.client,
        server_public=other.server_public,
        server=other.server,
        allowed=frozenset({keys.client.public}),
    )
    async with ZMQSubscriber(ANYWHERE, bind=True, keys=imposter) as false_engine:
        await false_engine.connect(["signal"])
        async with ZMQPublisher(false_engine.endpoint, keys=keys, timeout_s=0.3) as strategy:
            with pytest.raises(BusTimeoutError):
                await strategy.publish_signal(signal())


def test_key_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keys = security.generate(folder)
    assert security.load(folder) == keys == security.generate(folder)
    assert keys.allowed == {keys.client.public}
    assert keys.client.secret.decode() not in repr(keys)
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (folder / security.CLIENT_KEY).chmod(0o644)
    with pytest.raises(security.KeyFileError, match="chmod 600"):
        security.load(folder)


@pytest.mark.parametrize(
    "content", ["", "public = 7", 'public = "x"\nsecret = "y"', "not toml at all ["]
)
def test_a_key_file_without_keys_is_named(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "keys"
    security.generate(folder)
    (folder / security.CLIENT_KEY).write_text(content)
    with pytest.raises(security.KeyFileError, match=r"client\.key"):
        security.load(folder)


def test_a_client_needs_only_the_servers_public_half(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keys = security.generate(folder)
    (folder / security.SERVER_KEY).unlink()
    client = security.load(folder)
    assert client.server is None
    assert client.server_public == keys.server_public
    (folder / security.SERVER_PUBLIC).unlink()
    with pytest.raises(security.KeyFileError, match=r"server\.pub"):
        security.load(folder)
