"""The broker's two websockets: trade updates and market data, each kept alive until stopped.

    CONNECTING → CONNECTED → STALE → LOST → CONNECTING …      REFUSED and STOPPED are final

`run()` connects, hands every message to `on_message`, and after any failure waits (twice as long
each time, half of it by chance) and connects anew. Wrong keys and a second connection on one
account are fatal: `run()` raises, since asking again would only lock the door. Nothing is replayed
after a reconnect: whoever sees CONNECTED again must ask the broker what was missed.

A message whose handler raised is offered again, before the next; after three times it is put into
`undelivered` and the state says so, so that its owner can ask the broker instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from loguru import logger
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from console.broker import answers
from console.broker.endpoint import Endpoint, HostRefused, allowed_host
from console.broker.errors import BrokerAuthError, BrokerError, BrokerRefused

Message = dict[str, Any]

PING_EVERY_S = 5.0
PONG_WITHIN_S = 10.0
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_AFTER_S = 10.0
"""A connection that held so long starts the waits anew."""

_LARGEST_MESSAGE = 1 << 20
_OFFERS = 3
_FATAL_CODES = {405, 406, 408, 409}
"""Too many symbols, a second connection, no v2, no subscription: asking again won't help."""


class StreamStatus(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    """Authenticated and subscribed."""
    STALE = "stale"
    """Open, but silent for too long; it is being replaced."""
    LOST = "lost"
    """`retry_in_s` says when it is tried again."""
    REFUSED = "refused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """Where a stream stands since monotonic second `since`; `attempt` counts failures in a row."""

    status: StreamStatus
    detail: str = ""
    since: float
    attempt: int = 0
    retry_in_s: float | None = None


class _Gone(Exception):
    """This connection is of no more use; another is made."""


class _Connect(connect):
    """`websockets.connect` that follows no redirect: it could lead to a host that isn't allowed."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Stream:
    """What both streams share: the life of a connection."""

    name = "stream"

    def __init__(
        self,
        endpoint: Endpoint,
        url: str,
        on_message: Callable[[Message], None],
        on_state: Callable[[StreamState], None],
        *,
        stale_after_s: float,
        expecting: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        if not allowed_host(url):
            raise HostRefused(f"{url!r} is neither Alpaca nor loopback")
        self.url = url
        self.received = 0
        self.malformed = 0
        self.lost = 0
        """Messages that could not be read or handled; the state is told again at each."""
        self.connections = 0
        self.last_message_at: float | None = None
        self.undelivered: deque[Message] = deque(maxlen=1_000)
        """Messages whose handler raised three times, oldest first."""
        self._endpoint = endpoint
        self._on_message = on_message
        self._on_state = on_state
        self._stale_after_s = stale_after_s
        self._expecting = expecting
        self._clock = clock
        self._chance = chance
        self._first_wait_s = first_wait_s
        self._stopping = asyncio.Event()
        self._useless = ""
        self._running = False
        self._attempt = 0
        self.state = StreamState(status=StreamStatus.STOPPED, since=clock())

    async def run(self) -> None:
        """Keep the stream alive until `stop()`; cancelling it closes the connection too.

        Raises:
            BrokerAuthError: the keys were not accepted.
            BrokerRefused: the broker allows no (further) connection.
        """
        if self._running:
            raise RuntimeError(f"{self.name}.run() is running already")
        self._running = True
        try:
            while not self._stopping.is_set():
                self._enter(StreamStatus.CONNECTING)
                began = self._clock()
                reason = await self._one_connection()
                if self._stopping.is_set():
                    break
                if self._clock() - began > STEADY_AFTER_S:
                    self._attempt = 0
                self._attempt += 1
                wait = self._wait_s()
                self._enter(StreamStatus.LOST, reason, retry_in_s=wait)
                await self._stopped_within(wait)
        except BrokerError as error:
            self._enter(StreamStatus.REFUSED, str(error))
            raise
        finally:
            self._running = False
            if self.state.status is not StreamStatus.REFUSED:
                self._enter(StreamStatus.STOPPED)

    def stop(self) -> None:
        """Ask `run()` to return; it does within a second. Of the loop's own thread only."""
        self._stopping.set()

    def renew(self, reason: str) -> None:
        """Replace the connection: it stands and is of no use. Of the loop's own thread only."""
        self._useless = reason

    # -- one connection ----------------------------------------------------------------------------

    async def _one_connection(self) -> str:
        """Serve one connection to its end and say why it ended."""
        try:
            async with _Connect(
                self.url,
                proxy=None,
                compression=None,
                open_timeout=self._endpoint.connect_timeout_s,
                close_timeout=1.0,
                ping_interval=PING_EVERY_S,
                ping_timeout=PONG_WITHIN_S,
                max_size=_LARGEST_MESSAGE,
                max_queue=1_024,
            ) as socket:
                self.connections += 1
                await self._before_stop(self._open(socket), self._endpoint.read_timeout_s)
                if self._stopping.is_set():
                    return ""
                self._enter(StreamStatus.CONNECTED)
                await self._before_stop(self._serve(socket), None)
                return ""
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403):
                raise BrokerAuthError("the keys were not accepted", status=status) from None
            return f"HTTP {status} instead of a websocket"
        except TimeoutError:
            return "no answer in time"
        except ConnectionClosed as error:
            frame = error.rcvd or error.sent
            why = answers.clean(frame.reason, 100) if frame and frame.reason else ""
            return f"the connection closed ({frame.code if frame else 'cut off'}) {why}".strip()
        except _Gone as error:
            return str(error)
        except (InvalidHandshake, OSError) as error:
            return answers.clean(str(error) or type(error).__name__, 160)

    async def _before_stop(self, work: Awaitable[None], timeout_s: float | None) -> None:
        """Do `work` unless stopped first. Raises TimeoutError after `timeout_s`."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {task, stopped}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                task.result()
            elif not stopped.done():
                raise TimeoutError
        finally:
            for other in (task, stopped):
                other.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    async def _serve(self, socket: ClientConnection) -> None:
        quiet_since = self._clock()
        self._useless = ""
        tick = min(1.0, self._stale_after_s / 4)
        while True:
            if useless := self._useless:
                self._enter(StreamStatus.STALE, useless)
                raise _Gone(useless)
            try:
                # Not `wait_for`: on Python 3.11 it loses a cancellation that comes with a message.
                async with asyncio.timeout(tick):
                    frame = await socket.recv(decode=False)
            except TimeoutError:
                if not self._expecting():
                    quiet_since = self._clock()
                elif (silence := self._clock() - quiet_since) >= self._stale_after_s:
                    self._enter(StreamStatus.STALE, f"silent for {silence:.0f} s")
                    raise _Gone(f"silent for {silence:.0f} s") from None
                continue
            quiet_since = self._clock()
            for message in self._messages(frame):
                await self._deliver(message)

    async def _open(self, socket: ClientConnection) -> None:
        """Authenticate and subscribe. Raises `BrokerError` (fatal) or `_Gone` (try again)."""
        raise NotImplementedError

    def _messages(self, frame: bytes) -> Iterable[Message]:
        """The messages in one frame that are for the handler."""
        raise NotImplementedError

    def _parsed(self, frame: bytes) -> Any:
        self.last_message_at = self._clock()
        try:
            return answers.parse(frame)
        except answers.UnreadableError as error:
            if self.malformed == 0:
                logger.warning(
                    "{}: a message is {}; the next ones are only counted", self.name, error
                )
            self._malformed()
            return None

    def _malformed(self) -> None:
        self.malformed += 1
        self._lose(f"{self.malformed} messages could not be read")

    def _lose(self, detail: str) -> None:
        self.lost += 1
        self._enter(self.state.status, detail)

    async def _deliver(self, message: Message) -> None:
        self.received += 1
        for offer in range(_OFFERS):
            try:
                self._on_message(message)
            except Exception as error:  # noqa: BLE001 - whatever the owner's code raises
                logger.opt(exception=error).error(
                    "{}: the handler failed on a message ({} of {})", self.name, offer + 1, _OFFERS
                )
                await asyncio.sleep(0)
            else:
                return
        self.undelivered.append(message)
        self._lose(f"{len(self.undelivered)} messages could not be handled")

    # -- between connections -----------------------------------------------------------------------

    def _wait_s(self) -> float:
        longest = min(LONGEST_WAIT_S, self._first_wait_s * 2.0 ** min(self._attempt - 1, 16))
        return longest / 2 + self._chance() * longest / 2

    async def _stopped_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _enter(
        self, status: StreamStatus, detail: str = "", *, retry_in_s: float | None = None
    ) -> None:
        changed = status is not self.state.status
        self.state = StreamState(
            status=status,
            detail=detail,
            since=self._clock() if changed else self.state.since,
            attempt=self._attempt,
            retry_in_s=retry_in_s,
        )
        try:
            self._on_state(self.state)
        except Exception as error:  # noqa: BLE001 - the stream outlives its watcher's mistakes
            logger.opt(exception=error).error("{}: the state handler failed", self.name)

    async def _send(self, socket: ClientConnection, message: Message) -> None:
        await socket.send(msgspec.json.encode(message).decode())

    def _keys(self) -> tuple[str, str]:
        return self._endpoint.key_id, self._endpoint.secret_key.get_secret_value()


class TradeUpdates(_Stream):
    """What happens to the account's orders.

    `on_message` gets each update's `data`: `{event, execution_id, order, timestamp, price, qty,
    position_qty}`, numbers as the broker sent them (text, int or Decimal). The broker sends nothing
    between updates, not even a heartbeat; `expecting` says whether silence is odd (an order is
    open), and only then does `stale_after_s` run. A dead line is noticed by pings in any case.
    """

    name = "trade updates"

    def __init__(
        self,
        endpoint: Endpoint,
        on_message: Callable[[Message], None],
        on_state: Callable[[StreamState], None],
        *,
        stale_after_s: float = 30.0,
        expecting: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        super().__init__(
            endpoint,
            endpoint.updates_url,
            on_message,
            on_state,
            stale_after_s=stale_after_s,
            expecting=expecting,
            clock=clock,
            chance=chance,
            first_wait_s=first_wait_s,
        )
        self._early: list[Message] = []

    async def _open(self, socket: ClientConnection) -> None:
        key_id, secret = self._keys()
        keys = {"key_id": key_id, "secret_key": secret}
        self._early.clear()
        await self._send(socket, {"action": "authenticate", "data": keys})
        answer = await self._answer(socket, "authorization")
        if answer.get("status") != "authorized":
            raise BrokerAuthError("the keys were not accepted by the stream of trade updates")
        await self._send(socket, {"action": "listen", "data": {"streams": ["trade_updates"]}})
        answer = await self._answer(socket, "listening")
        if "trade_updates" not in (answer.get("streams") or ()):
            raise _Gone("the stream of trade updates was not granted")
        for message in self._early:
            await self._deliver(message)

    async def _answer(self, socket: ClientConnection, stream: str) -> Message:
        while True:
            message = self._parsed(await socket.recv(decode=False))
            if not isinstance(message, dict) or not isinstance(message.get("data"), dict):
                continue
            if message.get("stream") == stream:
                return dict(message["data"])
            # An update may overtake the answer to "listen".
            if message.get("stream") == "trade_updates":
                self._early.append(message["data"])

    def _messages(self, frame: bytes) -> Iterable[Message]:
        message = self._parsed(frame)
        if isinstance(message, dict) and message.get("stream") == "trade_updates":
            if isinstance(message.get("data"), dict):
                yield message["data"]
            else:
                self._malformed()


class MarketUpdates(_Stream):
    """Bars, quotes and trades as they happen, in JSON.

    `on_message` gets each message by itself: `T` is b, q or t (also u, d, s), the rest as
    the broker sends it. Raises `BrokerRefused` from `run()` when the account has a data connection
    already (406) or a symbol limit is passed (405).
    """

    name = "market data"

    def __init__(
        self,
        endpoint: Endpoint,
        on_message: Callable[[Message], None],
        on_state: Callable[[StreamState], None],
        *,
        bars: Sequence[str] = (),
        quotes: Sequence[str] = (),
        trades: Sequence[str] = (),
        stale_after_s: float = 30.0,
        expecting: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        super().__init__(
            endpoint,
            endpoint.market_stream_url,
            on_message,
            on_state,
            stale_after_s=stale_after_s,
            expecting=expecting,
            clock=clock,
            chance=chance,
            first_wait_s=first_wait_s,
        )
        self._wanted = {"bars": list(bars), "quotes": list(quotes), "trades": list(trades)}

    async def _open(self, socket: ClientConnection) -> None:
        key_id, secret = self._keys()
        await self._answer(socket, "connected")
        await self._send(socket, {"action": "auth", "key": key_id, "secret": secret})
        await self._answer(socket, "authenticated")
        wanted = {kind: symbols for kind, symbols in self._wanted.items() if symbols}
        if wanted:
            await self._send(socket, {"action": "subscribe", **wanted})
            await self._answer(socket, "subscription")

    async def _answer(self, socket: ClientConnection, wanted: str) -> None:
        while True:
            for message in self._control(await socket.recv(decode=False)):
                if wanted in (message.get("T"), message.get("msg")):
                    return

    def _messages(self, frame: bytes) -> Iterable[Message]:
        for message in self._control(frame):
            if message.get("T") not in ("success", "subscription"):
                yield message

    def _control(self, frame: bytes) -> list[Message]:
        """The messages of one frame; an error among them is raised."""
        parsed = self._parsed(frame)
        messages = (
            [item for item in parsed if isinstance(item, dict)] if isinstance(parsed, list) else []
        )
        for message in messages:
            if message.get("T") == "error":
                raise self._error(message)
        return messages

    def _error(self, message: Message) -> Exception:
        code = message.get("code")
        said = answers.clean(str(message.get("msg") or "no reason given"))
        if code in (401, 402):
            return BrokerAuthError(f"market data: {said}", code=code)
        if code in _FATAL_CODES:
            remedy = (
                "let one program at a time use the account's data connection" if code == 406 else ""
            )
            return BrokerRefused(f"market data: {said} ({code})", code=code, remedy=remedy)
        return _Gone(f"{said} ({code})")
