"""Publisher and subscriber of the bus, for asyncio.

    async with ZMQPublisher("tcp://127.0.0.1:5556") as publisher:
        await publisher.publish_signal(Signal("AAPL", "long", 0.8, ts))
    async with ZMQSubscriber("tcp://127.0.0.1:5555") as sub:
        await sub.connect(["market"])
        async for topic, message in sub.receive():
            ...

Both connect: the services own the ports (5555, 5558 and 5559 are bound by those who publish there,
5556 by the execution-engine, which listens there to any number of strategies). `bind=True` makes
either the owner of its port instead; an endpoint with `*` in it is bound too, and port 0 takes a
free one, which `endpoint` then names.

`python -m console.bridge.zmq_bridge` shows both at work.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import zmq
from loguru import logger

from console.bridge import messages
from console.bridge.ends import BusEnd, BusHealth
from console.bridge.messages import (
    BarUpdate,
    Heartbeat,
    MalformedError,
    Message,
    Position,
    QuoteUpdate,
    RiskUpdate,
    Signal,
    TradeUpdate,
)
from console.bridge.security import BusKeys
from console.bridge.sockets import (
    BusState,
    BusTimeoutError,
    Monitor,
    has_input,
    readable,
)

HIGH_WATER_MARK = 262_144
HEARTBEAT_S = 1.0
STALE_AFTER_S = 5.0
SEND_TIMEOUT_S = 5.0
BATCH = 256
"""Messages taken from the socket before the loop's other tasks get their turn."""

_WAKE_S = 0.25
_TOUCH_S = 0.05
_ROUTES_AT_MOST = 1_000

_Route = tuple[str, Callable[[bytes], dict[str, Any]], bool]
"""A topic, how its messages are read, and whether they were asked for."""


class ZMQPublisher(BusEnd):
    """Sends messages, each only when somebody is there to hear it.

    Args:
        endpoint: `tcp://host:port`.
        bind: own the port instead of connecting to it.
        component: who the heartbeats say they come from.
        timeout_s: how long a `publish` waits for a subscriber, or for room in its queue.
        high_water_mark: messages that wait for a slow subscriber; then `publish` waits.
        heartbeat_s: between heartbeats on every topic used so far; None sends none.
        keys: CURVE keys (`console.bridge.security.load`), None without `[bus.security]`.

    Messages are numbered per topic from 1, without a gap.
    """

    _kind = zmq.XPUB

    def __init__(
        self,
        endpoint: str,
        *,
        bind: bool = False,
        component: str = "strategy",
        timeout_s: float = SEND_TIMEOUT_S,
        high_water_mark: int = HIGH_WATER_MARK,
        heartbeat_s: float | None = HEARTBEAT_S,
        keys: BusKeys | None = None,
    ) -> None:
        super().__init__(endpoint, bind=bind, high_water_mark=high_water_mark, keys=keys)
        self._component = component
        self._timeout_s = timeout_s
        self._heartbeat_s = heartbeat_s
        self._subscriptions: set[bytes] = set()
        self._seq: dict[str, int] = {}

    def _configure(self, socket: zmq.Socket[Any]) -> None:
        # A full queue is an error to be waited out, never a message dropped in silence.
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        # Nothing waits in a queue for a reader that has gone: it would come back to old signals.
        socket.setsockopt(zmq.IMMEDIATE, 1)

    async def publish(
        self, message: Message, topic: str | None = None, *, timeout_s: float | None = None
    ) -> int:
        """Send one message and return its number on that topic.

        Raises:
            BusTimeoutError: nobody subscribed to the topic, or its queue stayed full, for
                `timeout_s`; nothing was sent.
            MalformedError: the message holds what no reader would take.
        """
        topic = topic or message.default_topic
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        await self._subscriber(topic.encode(), deadline)
        while not self._try_send(message, topic):
            if time.monotonic() >= deadline:
                raise BusTimeoutError(
                    f"{self.endpoint}: the subscriber's queue stayed full "
                    f"({self._high_water_mark} messages); slow down, or raise bus.high_water_mark"
                )
            # libzmq says neither by descriptor nor otherwise when an XPUB has room again.
            await asyncio.sleep(0.001)
        return self._seq[topic]

    async def publish_signal(self, signal: Signal, *, timeout_s: float | None = None) -> int:
        """On topic `signal`; returns when it is on its way to the execution-engine."""
        return await self.publish(signal, messages.SIGNAL, timeout_s=timeout_s)

    async def publish_position(
        self, position: Position, *, topic: str = messages.SIGNAL, timeout_s: float | None = None
    ) -> int:
        return await self.publish(position, topic, timeout_s=timeout_s)

    async def publish_bar(self, bar: BarUpdate, *, timeout_s: float | None = None) -> int:
        """On topic `market`, as the next three."""
        return await self.publish(bar, messages.MARKET, timeout_s=timeout_s)

    async def publish_quote(self, quote: QuoteUpdate, *, timeout_s: float | None = None) -> int:
        return await self.publish(quote, messages.MARKET, timeout_s=timeout_s)

    async def publish_trade(self, trade: TradeUpdate, *, timeout_s: float | None = None) -> int:
        return await self.publish(trade, messages.MARKET, timeout_s=timeout_s)

    async def publish_risk(self, risk: RiskUpdate, *, timeout_s: float | None = None) -> int:
        return await self.publish(risk, messages.RISK, timeout_s=timeout_s)

    async def subscribed(self, topic: str, timeout_s: float | None = None) -> None:
        """Wait until somebody listens to `topic`. Raises `BusTimeoutError`."""
        limit = self._timeout_s if timeout_s is None else timeout_s
        await self._subscriber(topic.encode(), time.monotonic() + limit)

    def _heard(self, topic: bytes) -> bool:
        """Whether somebody hears it now; that a reader has gone, its connection says first."""
        monitor = self._monitor
        if not self._bind and monitor is not None:
            monitor.drain()
            if not monitor.connections:
                return False
        return any(topic.startswith(prefix) for prefix in self._subscriptions)

    async def _subscriber(self, topic: bytes, deadline: float) -> None:
        socket = self._live
        self._take_subscriptions(socket)
        while not self._heard(topic + b" "):
            left = deadline - time.monotonic()
            if left <= 0:
                health = self.health()
                why = f"{health.state}: {health.detail}" if health.detail else str(health.state)
                raise BusTimeoutError(
                    f"{self.endpoint}: nobody listens to {topic.decode()!r}, so nothing was sent "
                    f"({why}); start {'a subscriber' if self._bind else 'the owner of that port'}"
                )
            await readable(socket, min(left, _WAKE_S))
            self._watch()
            socket = self._live
            self._take_subscriptions(socket)

    def _take_subscriptions(self, socket: zmq.Socket[Any]) -> None:
        while has_input(socket):
            change = socket.recv(zmq.NOBLOCK)
            if change[:1] == b"\x01":
                self._subscriptions.add(change[1:])
            elif change[:1] == b"\x00":
                self._subscriptions.discard(change[1:])

    def _try_send(self, message: Message, topic: str) -> bool:
        number = self._seq.get(topic, 0) + 1
        raw = messages.frame(message, topic, number, time.time_ns())
        try:
            self._live.send(raw, zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._seq[topic] = number
        self._count += 1
        self._last_at = time.monotonic()
        return True

    async def _keep(self) -> None:
        heartbeat = Heartbeat(self._component)
        every_s = self._heartbeat_s
        while True:
            await asyncio.sleep(_WAKE_S if every_s is None else every_s)
            self._watch()
            self._take_subscriptions(self._live)
            for topic in list(self._seq) if every_s is not None else ():
                if self._heard(topic.encode() + b" "):
                    self._try_send(heartbeat, topic)


class ZMQSubscriber(BusEnd):
    """Receives messages, checked and decoded, as `(topic, dict)`.

    Args:
        endpoint: `tcp://host:port`.
        bind: own the port; any number of publishers connect to it.
        high_water_mark: messages that wait here; beyond it the publisher drops, and `gaps` counts.
        stale_after_s: silent for longer, and `health()` says stale.
        keys: CURVE keys (`console.bridge.security.load`), None without `[bus.security]`.

    Topics are matched whole. A frame that is no message of the schema is counted and dropped, and
    the first one logged. Types of topics other than market, signal and risk are not this schema's:
    of those every JSON object with a `type` passes. The socket reconnects by itself, for ever.
    """

    _kind = zmq.SUB
    _CHECKED = frozenset({messages.MARKET, messages.SIGNAL, messages.RISK})

    def __init__(
        self,
        endpoint: str,
        *,
        bind: bool = False,
        high_water_mark: int = HIGH_WATER_MARK,
        stale_after_s: float = STALE_AFTER_S,
        keys: BusKeys | None = None,
    ) -> None:
        super().__init__(endpoint, bind=bind, high_water_mark=high_water_mark, keys=keys)
        self._stale_after_s = stale_after_s
        self._topics: set[str] | None = set()
        self._pending: deque[tuple[str, dict[str, Any]]] = deque()
        self._next_seq: dict[str, int] = {}
        self._routes: dict[bytes, _Route] = {}
        self._malformed = 0
        self._gaps = 0
        self._restarts = 0
        self._told = False

    async def connect(self, topics: Iterable[str] = (), *, timeout_s: float | None = None) -> None:
        """Subscribe to `topics`, all of them if none is given; may be called again for more.

        The connection is made in the background, whenever the other side is there. With `timeout_s`
        wait for it, and raise `BusTimeoutError` if it isn't made in time.
        """
        if isinstance(topics, str):
            topics = [topics]
        wanted = list(topics)
        socket = self._live
        self._routes.clear()
        if not wanted:
            self._topics = None
            socket.subscribe(b"")
        for topic in wanted:
            socket.subscribe(topic.encode())
            if self._topics is not None:
                self._topics.add(topic)
        # Subscribing is work of the socket's own, too, in which something may have come.
        has_input(socket)
        if timeout_s is None:
            return
        deadline = time.monotonic() + timeout_s
        while (monitor := self._monitor) is not None:
            monitor.drain()
            if monitor.connections:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise BusTimeoutError(
                    f"{self.endpoint}: no connection within {timeout_s:g} s"
                    f"{' (' + monitor.detail + ')' if monitor.detail else ''}"
                )
            await readable(monitor.socket, left)

    async def receive(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Each message as it comes, until the subscriber is closed.

        Leaving the loop and coming back loses nothing. One receiver at a time.
        """
        pending = self._pending
        while self._socket is not None:
            while pending:
                yield pending.popleft()
            await self._fill()

    async def receive_batches(self) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
        """Likewise, but all that came at once in one list, at most 256."""
        while self._socket is not None:
            if self._pending:
                batch = list(self._pending)
                self._pending.clear()
                yield batch
            await self._fill()

    def health(self) -> BusHealth:
        basic = super().health()
        return BusHealth(
            state=basic.state,
            endpoint=basic.endpoint,
            connections=basic.connections,
            reconnects=basic.reconnects,
            messages=basic.messages,
            malformed=self._malformed,
            gaps=None if self._bind else self._gaps,
            restarts=self._restarts,
            message_age_s=basic.message_age_s,
            detail=basic.detail,
        )

    def _state(self, monitor: Monitor, _age: float | None) -> BusState:
        state = super()._state(monitor, _age)
        stale = state is BusState.CONNECTED and _age is not None and _age > self._stale_after_s
        return BusState.STALE if stale else state

    async def _fill(self) -> None:
        """Wait for messages and take a batch of them."""
        socket = self._live
        if not self._take(socket):
            await readable(socket, _WAKE_S)
        else:
            await asyncio.sleep(0)
        self._watch()

    async def _keep(self) -> None:
        # libzmq hands a new publisher our subscriptions when this socket is next touched, so it has
        # to be, even while nobody receives.
        while True:
            await asyncio.sleep(_TOUCH_S)
            has_input(self._live)
            self._watch()

    def _take(self, socket: zmq.Socket[Any]) -> int:
        receive, keep, accept = socket.recv, self._pending.append, self._accept
        taken = 0
        try:
            while taken < BATCH:
                raw = receive(zmq.NOBLOCK)
                taken += 1
                item = accept(raw)
                if item is not None:
                    keep(item)
        except zmq.Again:
            pass
        if taken:
            self._last_at = time.monotonic()
        return taken

    def _accept(self, raw: bytes) -> tuple[str, dict[str, Any]] | None:
        self._count += 1
        head, blank, body = raw.partition(b" ")
        try:
            route = self._routes.get(head) or self._route(head, blank)
            message = route[1](body)
        except MalformedError as error:
            self._drop(raw, error)
            return None
        topic = route[0]
        number = message.get("seq")
        if number:
            if number != self._next_seq.get(topic, number):
                self._gap(self._next_seq[topic] - 1, number)
            self._next_seq[topic] = number + 1
        return (topic, message) if route[2] else None

    def _route(self, head: bytes, blank: bytes) -> _Route:
        """How to read a topic's messages, and whether they are wanted."""
        if not blank:
            raise MalformedError("no `topic {json}` in one frame")
        topic = messages.parse_topic(head)
        decode = messages.parse_json if topic in self._CHECKED else messages.parse_any_json
        route = (topic, decode, self._topics is None or topic in self._topics)
        if len(self._routes) < _ROUTES_AT_MOST:
            self._routes[head] = route
        return route

    def _gap(self, last: int, number: int) -> None:
        if self._bind:
            return
        if number <= last:
            self._restarts += 1
        else:
            self._gaps += number - last - 1

    def _drop(self, raw: bytes, error: MalformedError) -> None:
        self._malformed += 1
        if not self._told:
            self._told = True
            logger.warning(
                "{}: a frame of {} bytes was dropped ({}); the next ones are only counted",
                self.endpoint,
                len(raw),
                error,
            )


if __name__ == "__main__":
    from console.bridge.bus_check import main

    sys.exit(main())
