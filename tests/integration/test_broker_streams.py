"""The broker's websockets against a server that behaves, cuts, mutes and refuses."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from console.broker.endpoint import Endpoint, Secret
from console.broker.errors import BrokerAuthError, BrokerRefused
from console.broker.streams import MarketUpdates, StreamState, StreamStatus, TradeUpdates

LIMIT_S = 30.0
KEY, SECRET = "PKTEST", "s3cret-never-shown"

Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Endpoint]:
    async with serve(script, "127.0.0.1", 0, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Endpoint(
            key_id=KEY,
            secret_key=Secret(SECRET),
            trading_url=f"http://127.0.0.1:{port}",
            connect_timeout_s=5,
            read_timeout_s=5,
        )


class Watcher:
    """Keeps what a stream said, and lets a test wait for it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.states: list[StreamState] = []
        self._changed = asyncio.Event()

    def message(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._changed.set()

    def state(self, state: StreamState) -> None:
        self.states.append(state)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def statuses(self) -> list[StreamStatus]:
        return [state.status for state in self.states]


@asynccontextmanager
async def running(stream: TradeUpdates | MarketUpdates) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(stream.run())
    try:
        yield task
    finally:
        stream.stop()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(task, return_exceptions=True)


async def welcome(socket: ServerConnection) -> None:
    """Alpaca's handshake for trade updates, in binary frames that carry JSON."""
    asked = json.loads(await socket.recv())
    assert asked == {
        "action": "authenticate",
        "data": {"key_id": KEY, "secret_key": SECRET},
    }
    await say(socket, "authorization", {"status": "authorized", "action": "authenticate"})
    assert json.loads(await socket.recv())["data"] == {"streams": ["trade_updates"]}
    await say(socket, "listening", {"streams": ["trade_updates"]})


async def say(socket: ServerConnection, stream: str, data: Any) -> None:
    await socket.send(json.dumps({"stream": stream, "data": data}).encode())


def fill(number: int) -> dict[str, Any]:
    return {"event": "fill", "execution_id": str(number), "price": "195.10", "qty": "1"}


def ids(watcher: Watcher) -> list[str]:
    return [message["execution_id"] for message in watcher.messages]


async def test_updates_arrive_in_order_and_numbers_stay_exact() -> None:
    async def script(socket: ServerConnection) -> None:
        await welcome(socket)
        await say(socket, "trade_updates", fill(1))
        await socket.send(b'{"stream":"trade_updates","data":{"execution_id":"2","price":195.1}}')
        await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = TradeUpdates(endpoint, watcher.message, watcher.state)
        async with running(stream):
            await watcher.until(lambda: len(watcher.messages) == 2)
    assert ids(watcher) == ["1", "2"]
    assert watcher.messages[1]["price"] == Decimal("195.1")
    assert watcher.statuses() == [
        StreamStatus.CONNECTING,
        StreamStatus.CONNECTED,
        StreamStatus.STOPPED,
    ]


async def test_an_update_that_overtakes_the_handshake_is_not_lost() -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await say(socket, "authorization", {"status": "authorized"})
        await say(socket, "trade_updates", fill(1))
        await socket.recv()
        await say(socket, "listening", {"streams": ["trade_updates"]})
        await say(socket, "trade_updates", fill(2))
        await socket.wait_closed()

    watcher = Watcher()
    async with (
        serving(script) as endpoint,
        running(TradeUpdates(endpoint, watcher.message, watcher.state)),
    ):
        await watcher.until(lambda: len(watcher.messages) == 2)
    assert ids(watcher) == ["1", "2"]


async def test_a_cut_connection_is_made_again() -> None:
    count = 0

    async def script(socket: ServerConnection) -> None:
        nonlocal count
        count += 1
        await welcome(socket)
        await say(socket, "trade_updates", fill(count))
        if count == 1:
            socket.transport.abort()
        else:
            await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = TradeUpdates(endpoint, watcher.message, watcher.state, first_wait_s=0.01)
        async with running(stream):
            await watcher.until(lambda: "2" in ids(watcher))
            assert stream.connections == 2
    assert watcher.statuses().count(StreamStatus.CONNECTED) == 2
    lost = next(state for state in watcher.states if state.status is StreamStatus.LOST)
    assert lost.retry_in_s is not None
    assert lost.attempt == 1


async def test_a_muted_stream_is_replaced_only_while_something_is_expected() -> None:
    async def script(socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.wait_closed()

    now = 0.0
    expected = False
    asked = asyncio.Event()

    def expecting() -> bool:
        nonlocal now
        now += 10.0
        asked.set()
        return expected

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = TradeUpdates(
            endpoint,
            watcher.message,
            watcher.state,
            stale_after_s=0.1,
            expecting=expecting,
            clock=lambda: now,
            first_wait_s=0.01,
        )
        async with running(stream):
            for _ in range(3):
                asked.clear()
                await asyncio.wait_for(asked.wait(), LIMIT_S)
            assert StreamStatus.STALE not in watcher.statuses()
            expected = True
            await watcher.until(lambda: watcher.statuses().count(StreamStatus.CONNECTED) >= 2)
    statuses = watcher.statuses()
    stale = statuses.index(StreamStatus.STALE)
    assert statuses[stale + 1] is StreamStatus.LOST


async def test_wrong_keys_are_fatal_and_are_not_tried_again() -> None:
    tried = 0

    async def script(socket: ServerConnection) -> None:
        nonlocal tried
        tried += 1
        await socket.recv()
        await say(socket, "authorization", {"status": "unauthorized", "action": "authenticate"})
        await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = TradeUpdates(endpoint, watcher.message, watcher.state)
        with pytest.raises(BrokerAuthError) as caught:
            await asyncio.wait_for(stream.run(), LIMIT_S)
    assert tried == 1
    assert watcher.statuses()[-1] is StreamStatus.REFUSED
    assert SECRET not in f"{caught.value!r}{watcher.states}"


async def test_a_redirect_is_not_followed() -> None:
    led_astray = 0

    async def elsewhere(socket: ServerConnection) -> None:
        nonlocal led_astray
        led_astray += 1
        await socket.wait_closed()

    async with serving(elsewhere) as other:
        location = Headers([("Location", other.updates_url), ("Content-Length", "0")])

        def redirect(_: ServerConnection, __: Request) -> Response:
            return Response(302, "Found", location, b"")

        async with serve(elsewhere, "127.0.0.1", 0, process_request=redirect) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            endpoint = Endpoint(
                key_id=KEY, secret_key=Secret(SECRET), trading_url=f"http://127.0.0.1:{port}"
            )
            watcher = Watcher()
            async with running(TradeUpdates(endpoint, watcher.message, watcher.state)):
                await watcher.until(lambda: StreamStatus.LOST in watcher.statuses())
    assert led_astray == 0
    assert any("HTTP 302" in state.detail for state in watcher.states)


async def test_a_message_survives_its_handlers_exception() -> None:
    async def script(socket: ServerConnection) -> None:
        await welcome(socket)
        for number in (1, 2, 3):
            await say(socket, "trade_updates", fill(number))
        await socket.wait_closed()

    watcher = Watcher()
    failures = {"1": 1, "2": 99}

    def handler(message: dict[str, Any]) -> None:
        identity = message["execution_id"]
        if failures.get(identity, 0):
            failures[identity] -= 1
            raise RuntimeError("the owner's mistake")
        watcher.message(message)

    async with serving(script) as endpoint:
        stream = TradeUpdates(endpoint, handler, watcher.state)
        async with running(stream):
            await watcher.until(lambda: "3" in ids(watcher))
    assert ids(watcher) == ["1", "3"]
    assert [message["execution_id"] for message in stream.undelivered] == ["2"]
    assert any("could not be handled" in state.detail for state in watcher.states)


@pytest.mark.parametrize("frame", ["", "NaN", "[]", '{"stream":"trade_updates","data":7}', "\x00"])
async def test_a_malformed_frame_is_counted_and_the_stream_goes_on(frame: str) -> None:
    async def script(socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.send(frame)
        await say(socket, "trade_updates", fill(1))
        await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = TradeUpdates(endpoint, watcher.message, watcher.state)
        async with running(stream):
            await watcher.until(lambda: ids(watcher) == ["1"])
        assert stream.connections == 1
        assert stream.malformed == (frame != "[]")


async def test_a_server_that_never_answers_is_given_up_and_tried_again() -> None:
    tried = 0

    async def script(socket: ServerConnection) -> None:
        nonlocal tried
        tried += 1
        await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        impatient = Endpoint(
            key_id=KEY,
            secret_key=Secret(SECRET),
            trading_url=endpoint.trading_url,
            read_timeout_s=0.05,
        )
        stream = TradeUpdates(impatient, watcher.message, watcher.state, first_wait_s=0.01)
        async with running(stream):
            await watcher.until(lambda: tried >= 2)
    assert any("no answer in time" in state.detail for state in watcher.states)


def test_waits_grow_by_half_chance_to_a_limit() -> None:
    endpoint = Endpoint(key_id=KEY, secret_key=Secret(SECRET))
    for chance, expected in ((0.0, [0.25, 0.5, 1.0]), (1.0, [0.5, 1.0, 2.0])):
        stream = TradeUpdates(
            endpoint, lambda _: None, lambda _: None, chance=lambda chance=chance: chance
        )
        waits = []
        for attempt in (1, 2, 3, 50):
            stream._attempt = attempt
            waits.append(stream._wait_s())
        assert waits[:3] == expected
        assert waits[3] == 30.0 * (0.5 + chance / 2)


async def market_welcome(socket: ServerConnection) -> None:
    await socket.send(json.dumps([{"T": "success", "msg": "connected"}]))
    assert json.loads(await socket.recv()) == {"action": "auth", "key": KEY, "secret": SECRET}
    await socket.send(json.dumps([{"T": "success", "msg": "authenticated"}]))


async def test_market_data_comes_message_by_message() -> None:
    subscribed: list[Any] = []

    async def script(socket: ServerConnection) -> None:
        await market_welcome(socket)
        subscribed.append(json.loads(await socket.recv()))
        await socket.send(json.dumps([{"T": "subscription", "bars": ["IBM"]}]))
        await socket.send(b'[{"T":"b","S":"IBM","c":195.1},{"T":"q","S":"IBM","bp":195.09}]')
        await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = MarketUpdates(
            endpoint, watcher.message, watcher.state, bars=["IBM"], quotes=["IBM"]
        )
        async with running(stream):
            await watcher.until(lambda: len(watcher.messages) == 2)
    assert subscribed == [{"action": "subscribe", "bars": ["IBM"], "quotes": ["IBM"]}]
    assert [message["T"] for message in watcher.messages] == ["b", "q"]
    assert watcher.messages[0]["c"] == Decimal("195.1")


@pytest.mark.parametrize(
    ("code", "kind"), [(402, BrokerAuthError), (406, BrokerRefused), (405, BrokerRefused)]
)
async def test_a_refused_data_connection_is_fatal(code: int, kind: type[Exception]) -> None:
    tried = 0

    async def script(socket: ServerConnection) -> None:
        nonlocal tried
        tried += 1
        await socket.send(json.dumps([{"T": "success", "msg": "connected"}]))
        await socket.recv()
        await socket.send(json.dumps([{"T": "error", "code": code, "msg": "no"}]))
        await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = MarketUpdates(endpoint, watcher.message, watcher.state, bars=["IBM"])
        with pytest.raises(kind):
            await asyncio.wait_for(stream.run(), LIMIT_S)
    assert tried == 1


async def test_a_slow_client_error_reconnects() -> None:
    tried = 0

    async def script(socket: ServerConnection) -> None:
        nonlocal tried
        tried += 1
        await market_welcome(socket)
        await socket.recv()
        await socket.send(json.dumps([{"T": "subscription", "bars": ["IBM"]}]))
        if tried == 1:
            await socket.send(json.dumps([{"T": "error", "code": 407, "msg": "slow client"}]))
        await socket.wait_closed()

    watcher = Watcher()
    async with serving(script) as endpoint:
        stream = MarketUpdates(
            endpoint, watcher.message, watcher.state, bars=["IBM"], first_wait_s=0.01
        )
        async with running(stream):
            await watcher.until(lambda: watcher.statuses().count(StreamStatus.CONNECTED) == 2)
    assert any("slow client" in state.detail for state in watcher.states)
