"""The broker's client against a server that misbehaves, over real sockets."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import stamina
from aiohttp import web

from console.broker.endpoint import Endpoint, Secret
from console.broker.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerNotFound,
    BrokerRateLimited,
    BrokerRefused,
    BrokerUnavailable,
    CircuitOpen,
    DuplicateOrderId,
    OutcomeUnknown,
)
from console.broker.session import READ_ATTEMPTS, BrokerSession

SECRET = "s3cret-never-shown"
KEY = "PKNEVERSHOWN"
ORDER = {"client_order_id": "c-1", "symbol": "IBM", "qty": "10", "side": "buy", "type": "market"}
READ_TIMEOUT_S = 0.4

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Exchange:
    """A server that answers with `handler` and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.handler: Handler = answer({})
        self.release = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.body_exists else None
        self.asked.append((request.method, request.path_qs, body))
        self.headers.append(dict(request.headers))
        return await self.handler(request)

    def endpoint(self, **changes: Any) -> Endpoint:
        settings: dict[str, Any] = {
            "connect_timeout_s": 2.0,
            "read_timeout_s": READ_TIMEOUT_S,
            "requests_per_minute": 0,
        }
        return Endpoint(
            key_id=KEY, secret_key=Secret(SECRET), trading_url=self.url, **(settings | changes)
        )


def answer(body: Any, status: int = 200, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        if isinstance(body, str | bytes):
            raw = body.encode() if isinstance(body, str) else body
            return web.Response(body=raw, status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return handler


@asynccontextmanager
async def serving(exchange: Exchange) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", exchange.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    exchange.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield
    finally:
        exchange.release.set()
        await runner.cleanup()


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    async with serving(exchange):
        yield exchange


@pytest.fixture(autouse=True)
def no_waits_between_attempts() -> Iterator[None]:
    with stamina.set_testing(True, attempts=READ_ATTEMPTS):
        yield


@pytest.fixture
def session(exchange: Exchange) -> BrokerSession:
    return BrokerSession(exchange.endpoint())


async def failure(call: Callable[[], object]) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await asyncio.to_thread(call)
    return caught.value


async def test_numbers_never_pass_through_a_float(
    exchange: Exchange, session: BrokerSession
) -> None:
    exchange.handler = answer('{"equity":"100000.10","n":0.1,"big":1234567890.123456789,"i":7}')
    account = await asyncio.to_thread(session.account)
    assert account == {
        "equity": "100000.10",
        "n": Decimal("0.1"),
        "big": Decimal("1234567890.123456789"),
        "i": 7,
    }
    assert not any(isinstance(value, float) for value in account.values())


async def test_an_order_is_posted_as_it_was_given(
    exchange: Exchange, session: BrokerSession
) -> None:
    exchange.handler = answer({"id": "o-1"})
    order = ORDER | {
        "qty": Decimal("1E+1"),
        "stop_loss": {"stop_price": Decimal("1.10")},
        "x": None,
    }
    assert await asyncio.to_thread(session.submit_order, order) == {"id": "o-1"}
    assert exchange.asked == [
        ("POST", "/v2/orders", ORDER | {"qty": "10", "stop_loss": {"stop_price": "1.10"}})
    ]
    assert exchange.headers[0]["APCA-API-KEY-ID"] == KEY


async def test_an_order_without_our_id_is_not_sent(
    exchange: Exchange, session: BrokerSession
) -> None:
    with pytest.raises(ValueError, match="client_order_id"):
        session.submit_order({"symbol": "IBM"})
    assert exchange.asked == []


class _NotNow(Exception):
    pass


@pytest.fixture
def bare_server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10.0)
        yield server


def _session_on(server: socket.socket, exchange: Exchange) -> BrokerSession:
    exchange.url = f"http://127.0.0.1:{server.getsockname()[1]}"
    return BrokerSession(exchange.endpoint())


def test_the_last_word_is_asked_when_all_is_ready_and_can_hold_the_order_back(
    exchange: Exchange, bare_server: socket.socket
) -> None:
    connections: list[socket.socket] = []

    def before() -> None:
        connections.append(bare_server.accept()[0])
        connections[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            connections[0].recv(1)
        raise _NotNow

    session = _session_on(bare_server, exchange)
    with pytest.raises(_NotNow):
        session.submit_order(ORDER, before=before)
    with connections[0] as connection:
        connection.setblocking(True)
        assert connection.recv(1) == b"", "closed, and not a byte sent"


def test_a_connection_that_is_closed_during_the_last_word_is_made_anew(
    exchange: Exchange, bare_server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.broker.bounded_http.IDLE_S", -1.0)
    session = _session_on(bare_server, exchange)

    def serve_one() -> bytes:
        with bare_server.accept()[0] as connection:
            request = connection.recv(65536)
            while not request.endswith(b"}"):
                request += connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b'Content-Length: 12\r\n\r\n{"id":"o-1"}'
            )
            return request

    with ThreadPoolExecutor(1) as threads:
        served = []

        def before() -> None:
            bare_server.accept()[0].close()
            served.append(threads.submit(serve_one))

        assert session.submit_order(ORDER, before=before) == {"id": "o-1"}
        assert served[0].result(10).startswith(b"POST /v2/orders")


async def test_a_resolver_that_hangs_is_given_up_in_time_and_nothing_was_sent(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.url = exchange.url.replace("127.0.0.1", "localhost")
    session = BrokerSession(exchange.endpoint(connect_timeout_s=0.3))
    await asyncio.to_thread(session._connection)
    honest, asked, answers = socket.getaddrinfo, [], threading.Event()

    def hang(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "localhost":
            asked.append(host)
            assert answers.wait(30)
        return honest(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    error = await failure(lambda: session.submit_order(ORDER))
    assert type(error) is BrokerUnavailable
    assert "name could not be resolved" in error.message
    await failure(lambda: session.submit_order(ORDER))
    assert time.monotonic() - began < 10
    assert asked == ["localhost"], "who asks meanwhile waits for the same answer"
    assert exchange.asked == []
    answers.set()
    exchange.handler = answer({"id": "o-1"})
    assert await asyncio.to_thread(session.submit_order, ORDER) == {"id": "o-1"}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_post_is_never_repeated_and_a_5xx_leaves_it_in_doubt(
    exchange: Exchange, session: BrokerSession, status: int
) -> None:
    exchange.handler = answer({"message": "internal"}, status)
    error = await failure(lambda: session.submit_order(ORDER))
    assert type(error) is OutcomeUnknown
    assert error.status == status
    assert len(exchange.asked) == 1


async def test_a_429_is_not_repeated_and_says_when_to_go_on(
    exchange: Exchange, session: BrokerSession
) -> None:
    exchange.handler = answer(
        {"code": 42910000, "message": "too many requests"}, 429, **{"Retry-After": "7"}
    )
    error = await failure(lambda: session.submit_order(ORDER))
    assert isinstance(error, BrokerRateLimited)
    assert (error.retry_after_s, error.code) == (7.0, 42910000)
    assert len(exchange.asked) == 1
    # Nor does anything else leave before that.
    exchange.handler = answer([])
    assert isinstance(await failure(session.positions), BrokerRateLimited)
    assert len(exchange.asked) == 1


async def test_a_server_that_says_nothing_is_given_up_in_time(
    exchange: Exchange, session: BrokerSession
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await exchange.release.wait()
        return web.Response()

    exchange.handler = hang
    await asyncio.to_thread(session._connection)
    began = time.monotonic()
    error = await failure(lambda: session.submit_order(ORDER))
    assert type(error) is OutcomeUnknown
    assert "no answer within" in error.message
    assert time.monotonic() - began < 10
    assert len(exchange.asked) == 1


async def test_a_body_that_drips_is_given_up_in_time(
    exchange: Exchange, session: BrokerSession
) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not exchange.release.is_set():
            await response.write(b" ")
            try:
                await asyncio.wait_for(exchange.release.wait(), READ_TIMEOUT_S / 8)
            except TimeoutError:
                continue
        return response

    exchange.handler = drip
    error = await failure(lambda: session.submit_order(ORDER))
    assert type(error) is OutcomeUnknown
    assert "did not end" in error.message


async def test_a_header_that_drips_is_given_up_in_time(exchange: Exchange) -> None:
    """Each byte comes in time; a client that limits each wait alone would wait for ever."""
    over = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        with contextlib.suppress(OSError):
            while not over.is_set():
                writer.write(b"a")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), READ_TIMEOUT_S / 8)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    exchange.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    session = BrokerSession(exchange.endpoint())
    try:
        error = await failure(lambda: session.submit_order(ORDER))
    finally:
        over.set()
        server.close()
    assert type(error) is OutcomeUnknown
    assert "no answer within" in error.message


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_cut_off_leaves_an_order_in_doubt(
    exchange: Exchange, session: BrokerSession, chunked: bool
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not chunked:
            response.content_length = 1000
        await response.prepare(request)
        await response.write(b'{"id":"o-1"')
        assert request.transport is not None
        request.transport.abort()
        return response

    exchange.handler = cut
    error = await failure(lambda: session.submit_order(ORDER))
    assert type(error) is OutcomeUnknown
    assert "cut off" in error.message
    read = await failure(session.account)
    assert type(read) is BrokerUnavailable


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "[1]", '{"id":', "NaN", '{"qty":NaN}', b'{"id":"\xff"}', "[" * 100_000],
)
async def test_an_unreadable_answer_leaves_an_order_in_doubt(
    exchange: Exchange, session: BrokerSession, body: str | bytes
) -> None:
    exchange.handler = answer(body)
    assert type(await failure(lambda: session.submit_order(ORDER))) is OutcomeUnknown
    assert type(await failure(session.account)) is BrokerUnavailable


async def test_a_redirect_is_not_followed_and_not_taken_for_success(
    exchange: Exchange, session: BrokerSession
) -> None:
    exchange.handler = answer("", 307, Location="https://api.alpaca.markets/v2/orders")
    assert type(await failure(lambda: session.submit_order(ORDER))) is OutcomeUnknown
    assert type(await failure(lambda: session.cancel_order("o-1"))) is OutcomeUnknown
    assert len(exchange.asked) == 2


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"message": "unauthorized."}, BrokerAuthError),
        (403, {"message": "forbidden."}, BrokerAuthError),
        (403, {"code": 40310000, "message": "insufficient buying power"}, BrokerRefused),
        (404, {"code": 40410000, "message": "order not found"}, BrokerNotFound),
        (404, "nothing here", BrokerNotFound),
        (422, {"code": 40010001, "message": "client_order_id must be unique"}, DuplicateOrderId),
        (422, {"code": 42210000, "message": "sub-penny"}, BrokerRefused),
        (422, "<html>", BrokerRefused),
    ],
)
async def test_a_refusal_has_its_type(
    exchange: Exchange, session: BrokerSession, status: int, body: Any, kind: type[BrokerError]
) -> None:
    exchange.handler = answer(body, status)
    error = await failure(lambda: session.submit_order(ORDER))
    assert type(error) is kind
    assert error.status == status


async def test_nobody_there_means_nothing_was_sent() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{placeholder.getsockname()[1]}"
        endpoint = Endpoint(
            key_id=KEY, secret_key=Secret(SECRET), trading_url=url, connect_timeout_s=1
        )
        error = await failure(lambda: BrokerSession(endpoint).submit_order(ORDER))
    assert type(error) is BrokerUnavailable
    assert "was not reached" in error.message


async def test_reads_are_repeated_and_look_ups_are_not(
    exchange: Exchange, session: BrokerSession
) -> None:
    answers = [answer("", 503), answer({"equity": "1"})]
    exchange.handler = lambda request: answers.pop(0)(request)
    assert await asyncio.to_thread(session.account) == {"equity": "1"}
    exchange.handler = answer("", 503)
    before = len(exchange.asked)
    assert type(await failure(lambda: session.order_by_client_id("c-1"))) is BrokerUnavailable
    assert len(exchange.asked) == before + 1


async def test_reads_rest_after_failures_while_cancels_go_out(
    exchange: Exchange, session: BrokerSession
) -> None:
    exchange.handler = answer("", 503)
    errors = [await failure(session.account) for _ in range(6)]
    assert isinstance(errors[-1], CircuitOpen)
    asked = len(exchange.asked)
    assert isinstance(await failure(session.positions), CircuitOpen)
    assert len(exchange.asked) == asked
    exchange.handler = answer("", 204)
    await asyncio.to_thread(session.cancel_order, "o-1")
    assert exchange.asked[-1][:2] == ("DELETE", "/v2/orders/o-1")


async def test_ids_cannot_leave_their_place_in_the_path(
    exchange: Exchange, session: BrokerSession
) -> None:
    exchange.handler = answer({})
    await asyncio.to_thread(session.order, "../account?x=1")
    assert exchange.asked[-1][1] == "/v2/orders/..%2Faccount%3Fx%3D1"
    with pytest.raises(ValueError, match="no id"):
        session.cancel_order("..")


async def test_query_values_are_those_that_the_broker_knows(
    exchange: Exchange, session: BrokerSession
) -> None:
    exchange.handler = answer([])
    await asyncio.to_thread(lambda: session.orders(nested=True, symbols=["IBM", "SPY"], limit=5))
    assert "nested=true" in exchange.asked[-1][1]
    assert "symbols=IBM%2CSPY" in exchange.asked[-1][1]
    await asyncio.to_thread(lambda: session.close_all_positions(cancel_orders=False))
    assert exchange.asked[-1][:2] == ("DELETE", "/v2/positions?cancel_orders=false")


async def test_all_orders_are_fetched_page_by_page(
    exchange: Exchange, session: BrokerSession
) -> None:
    # Two orders share the time at the edge of the first page.
    times = [f"2013-01-02T14:30:{59 - n // 10:02d}.{999 - n % 10:03d}000Z" for n in range(520)]
    times[500] = times[499]
    book = [{"id": str(n), "submitted_at": at} for n, at in enumerate(times)]

    async def page(request: web.Request) -> web.StreamResponse:
        until = request.query.get("until", "9999")
        until = until.replace("+00:00", "Z")
        return web.json_response([o for o in book if o["submitted_at"] < until][:500])

    exchange.handler = page
    found = await asyncio.to_thread(session.orders)
    assert [order["id"] for order in found] == [order["id"] for order in book]
    assert len(exchange.asked) == 2


async def test_bars_are_fetched_page_by_page(exchange: Exchange, session: BrokerSession) -> None:
    pages = {None: ({"IBM": [1, 2]}, "next"), "next": ({"IBM": [3], "SPY": [4]}, None)}

    async def page(request: web.Request) -> web.StreamResponse:
        bars, token = pages[request.query.get("page_token")]
        return web.json_response({"bars": bars, "next_page_token": token})

    exchange.handler = page
    bars = await asyncio.to_thread(lambda: session.bars(["IBM", "SPY"], "1Min"))
    assert bars == {"IBM": [1, 2, 3], "SPY": [4]}
    exchange.handler = answer({"bars": None, "next_page_token": None})
    assert await asyncio.to_thread(lambda: session.bars(["IBM"], "1Min")) == {"IBM": []}


async def test_no_failure_shows_a_key(exchange: Exchange, session: BrokerSession) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"message": f"bad {dict(request.headers)}"}, status=422)

    exchange.handler = echo
    error = await failure(lambda: session.submit_order(ORDER))
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        link = link.__cause__ or link.__context__
    for item in seen:
        text = f"{item!r} {item} {vars(item)}"
        assert SECRET not in text
        assert KEY not in text
    assert SECRET not in repr(session.endpoint)
    assert "***" in error.message


async def test_each_thread_has_its_own_connection(
    exchange: Exchange, session: BrokerSession
) -> None:
    peers: set[Any] = set()

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    exchange.handler = note

    def several() -> object:
        return [session.account() for _ in range(3)]

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(first, several)
        await loop.run_in_executor(second, several)
    assert len(peers) == 2


async def test_a_closed_session_sends_nothing(exchange: Exchange, session: BrokerSession) -> None:
    exchange.handler = answer({})
    await asyncio.to_thread(session.account)
    session.close()
    session.close()
    assert "closed" in (await failure(session.account)).message
    assert len(exchange.asked) == 1


async def test_proxy_variables_are_not_trusted(
    exchange: Exchange, session: BrokerSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    exchange.handler = answer({"equity": "1"})
    assert await asyncio.to_thread(session.account) == {"equity": "1"}
