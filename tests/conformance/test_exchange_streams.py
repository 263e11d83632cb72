"""Streams as the clients of several languages hold them, their limits, and a port that is shut."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import msgpack
import pytest
import requests

from tests.conformance.asking import Api

LIMIT_S = 30.0
OPEN = {"paused": True, "start": "2013-10-07T14:00:00Z"}


class DataStream:
    """A websocket of `/v2/iex`, in JSON or msgpack."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, packed: bool) -> None:
        self.socket = socket
        self.packed = packed

    async def hear(self) -> Any:
        """The next frame, which has the type that Alpaca's have; None at the end."""
        frame = await self.socket.receive(timeout=LIMIT_S)
        if frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            return None
        assert frame.type is (aiohttp.WSMsgType.BINARY if self.packed else aiohttp.WSMsgType.TEXT)
        return msgpack.unpackb(frame.data, timestamp=3) if self.packed else json.loads(frame.data)

    async def say(self, **request: Any) -> Any:
        if self.packed:
            await self.socket.send_bytes(msgpack.packb(request))
        else:
            await self.socket.send_json(request)
        return await self.hear()

    async def authenticate(self, key: str = "PKDATA") -> Any:
        assert await self.hear() == [{"T": "success", "msg": "connected"}]
        return await self.say(action="auth", key=key, secret="s")


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    async with aiohttp.ClientSession() as session:

        async def one(url: str, *, packed: bool = False) -> DataStream:
            headers = {"Content-Type": "application/msgpack"} if packed else {}
            return DataStream(await session.ws_connect(f"{url}/v2/iex", headers=headers), packed)

        yield one


@pytest.mark.parametrize("packed", [False, True])
async def test_a_second_data_stream_of_a_key_is_refused_until_the_first_has_ended(
    make_exchange: Callable[..., Any], connect: Callable[..., Any],
    until_async: Callable[..., Any], packed: bool,
) -> None:  # fmt: skip
    url = make_exchange(**OPEN, data_connections=1).url
    first, second = [await connect(url, packed=packed) for _ in range(2)]
    assert await first.authenticate() == [{"T": "success", "msg": "authenticated"}]
    refused = [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
    assert await second.authenticate() == refused
    assert await second.hear() is None
    other = await connect(url, packed=packed)
    assert (await other.authenticate("PKOTHER"))[0]["msg"] == "authenticated"
    await first.socket.close()

    async def free() -> bool:
        third = await connect(url, packed=packed)
        return bool((await third.authenticate())[0]["T"] == "success")

    await until_async(free, "the key's place is free again")


async def test_a_data_stream_has_so_many_symbols_at_most(
    make_exchange: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    stream = await connect(make_exchange(**OPEN, data_symbols=30).url)
    await stream.authenticate()
    thirty = [f"S{number}" for number in range(30)]
    [answer] = await stream.say(action="subscribe", trades=thirty, quotes=thirty[:5])
    assert sorted(answer["trades"]) == sorted(thirty)
    refused = [{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]
    assert await stream.say(action="subscribe", bars=["ONE"]) == refused
    [answer] = await stream.say(action="unsubscribe", trades=["S29"])
    assert len(answer["trades"]) == 29
    [answer] = await stream.say(action="subscribe", bars=["ONE"])
    assert answer["bars"] == ["ONE"]


class Events:
    """Server-sent trade events on a thread of its own, as the Go client reads them."""

    def __init__(self, api: Api, query: str = "") -> None:
        self.api = api
        url = f"{api.url}/v2/events/trades{query}"
        headers = {**api.session.headers}
        self.answer = requests.get(url, headers=headers, stream=True, timeout=LIMIT_S)
        self.heard: list[dict[str, Any]] = []
        self.thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        for line in self.answer.iter_lines():
            if line.startswith(b"data: "):
                self.heard.append(json.loads(line[6:]))

    def __enter__(self) -> Events:
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.api.ask("POST", "/_exchange/faults", {"disconnect": True})
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        self.answer.close()

    def events(self) -> list[str]:
        return [event["event"] for event in self.heard]


@pytest.fixture
def api(make_exchange: Callable[..., Any]) -> Iterator[Api]:
    api = Api(make_exchange(**OPEN).url, "PKEVENTS")
    yield api
    api.session.close()


def test_trade_events_tell_what_the_websocket_tells(api: Api, until: Callable[..., Any]) -> None:
    with Events(api) as stream:
        order = api.order(client_order_id="told")
        Api(api.url, "PKOTHER").order()
        until(lambda: len(stream.heard) == 3, "three events")
        assert stream.events() == ["pending_new", "new", "fill"]
        fill = stream.heard[-1]
        assert (fill["order"]["id"], fill["qty"], fill["position_qty"]) == (order["id"], "10", "10")
        assert fill["at"] == fill["timestamp"]
        ids = [event["event_id"] for event in stream.heard]
        assert ids == sorted(set(ids))
        assert {len(identity) for identity in ids} == {26}


def test_trade_events_of_the_past_are_told_first(api: Api, until: Callable[..., Any]) -> None:
    api.order()
    with Events(api, "?since=2013-10-07T14:00:00Z") as stream:
        until(lambda: len(stream.heard) == 3, "what was before")
        api.order(qty="1")
        until(lambda: len(stream.heard) == 6, "and what comes after")
        third = stream.heard[2]["event_id"]
    with Events(api, f"?since_id={third}&until_id={third}") as stream:
        # Its end lies in the past: the answer ends by itself when the next event is beyond it.
        until(lambda: not stream.thread.is_alive(), "the end")
        assert stream.events() == ["fill"]
    with Events(api) as stream:
        api.order(qty="2")
        until(lambda: len(stream.heard) == 3, "only what is new")
        assert {event["order"]["qty"] for event in stream.heard} == {"2"}


@pytest.mark.parametrize(
    "query", ["until=2013-10-08", "until_id=1", "since=2013-10-07&since_id=1", "since=x"]
)
def test_a_window_of_events_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    answer = api.answer("GET", f"/v2/events/trades?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_the_port_can_be_shut_for_a_while(api: Api, until: Callable[..., Any]) -> None:
    assert api.answer("POST", "/_exchange/faults", {"refuse_s": 61}).status_code == 422
    port = int(api.url.rsplit(":", 1)[1])
    api.order(client_order_id="before")
    begun = time.monotonic()
    answer = api.answer("POST", "/_exchange/faults", {"refuse_s": 1.5})
    assert answer.ok

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused, "connections are refused")
    with pytest.raises(requests.ConnectionError):
        api.answer("GET", "/v2/clock")
    until(lambda: not refused(), "and taken again")
    assert time.monotonic() - begun >= 1.4
    assert api.answer("GET", "/v2/account").ok
    assert api.ask("GET", "/v2/orders:by_client_order_id?client_order_id=before")
