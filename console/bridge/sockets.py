"""ZeroMQ sockets in an asyncio loop: readiness, the options that all have, their monitor."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from enum import StrEnum
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from console.bridge.messages import MAX_FRAME
from console.bridge.security import BusKeys

LARGEST_HIGH_WATER_MARK = 1 << 20
HANDSHAKE_MS = 5_000
RECONNECT_MS = 100
RECONNECT_MAX_MS = 2_000
ZMTP_HEARTBEAT_MS = 2_000
ZMTP_TIMEOUT_MS = 5_000
REVIVE_AFTER_S = 1.0

_ENDPOINT = re.compile(
    r"tcp://(?P<host>\*|[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\]):(?P<port>\*|[0-9]{1,5})"
)
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_DELAYED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_ALIVE = frozenset(
    {
        zmq.EVENT_CONNECTED,
        zmq.EVENT_CONNECT_DELAYED,
        zmq.EVENT_CONNECT_RETRIED,
        zmq.EVENT_HANDSHAKE_SUCCEEDED,
    }
)


class BusError(Exception):
    """Base of what can go wrong on the bus."""


class BusTimeoutError(BusError, TimeoutError):
    """No subscriber came, or none made room, in time: nothing was sent."""


class BusClosedError(BusError):
    """Used outside `async with`."""


class BusState(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    STALE = "stale"
    """Connected, and silent for longer than `stale_after_s`."""
    LOST = "lost"
    """It was connected; the socket tries again by itself."""


def make_socket(
    context: zmq.Context[Any],
    kind: int,
    *,
    high_water_mark: int,
    keys: BusKeys | None,
    bind: bool,
) -> zmq.Socket[Any]:
    """A socket with the limits that all sockets of the bus have."""
    if not 1 <= high_water_mark <= LARGEST_HIGH_WATER_MARK:
        raise ValueError(
            f"high_water_mark = {high_water_mark}: 1 to {LARGEST_HIGH_WATER_MARK} messages"
        )
    socket: zmq.Socket[Any] = context.socket(kind, socket_class=zmq.Socket)
    socket.linger = 0
    socket.sndhwm = socket.rcvhwm = high_water_mark
    socket.maxmsgsize = MAX_FRAME
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle = 10
    socket.tcp_keepalive_intvl = 5
    socket.heartbeat_ivl = ZMTP_HEARTBEAT_MS
    socket.heartbeat_timeout = ZMTP_TIMEOUT_MS
    socket.handshake_ivl = HANDSHAKE_MS
    socket.reconnect_ivl = RECONNECT_MS
    socket.reconnect_ivl_max = RECONNECT_MAX_MS
    socket.setsockopt(zmq.CONNECT_TIMEOUT, HANDSHAKE_MS)
    if keys is not None:
        if bind:
            keys.secure_server(socket)
        else:
            keys.secure_client(socket)
    return socket


async def readable(socket: zmq.Socket[Any], timeout_s: float) -> bool:
    """Wait until something can be received; False after `timeout_s`.

    A ZeroMQ descriptor only says that something changed, so the socket itself is asked, and the
    descriptor is watched only while nothing is there: watched for longer it would wake the loop
    without end whenever the reader is slower than the sender.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    descriptor = socket.fileno()
    while not has_input(socket):
        left = deadline - loop.time()
        if left <= 0:
            return False
        changed = loop.create_future()
        loop.add_reader(descriptor, _resolve, changed)
        timer = loop.call_later(left, _resolve, changed)
        _waiting.setdefault(id(socket), set()).add(changed)
        try:
            await changed
        finally:
            timer.cancel()
            loop.remove_reader(descriptor)
            _waiting[id(socket)].discard(changed)
            if not _waiting[id(socket)]:
                del _waiting[id(socket)]
        if socket.closed:
            return False
    return True


def has_input(socket: zmq.Socket[Any]) -> bool:
    """Whether a `recv` would answer now; also lets the socket do its own work.

    That work takes the sign that something came from the descriptor: who waits for it is told.
    """
    found = bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
    if found:
        for changed in _waiting.get(id(socket), ()):
            _resolve(changed)
    return found


_waiting: dict[int, set[asyncio.Future[None]]] = {}
"""Who waits in `readable`, by the socket's identity; of the loop that the socket belongs to."""


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def check_endpoint(endpoint: str, *, bind: bool, secured: bool) -> None:
    """Raise `BusError` for what is no address, or may not be bound without keys."""
    match = _ENDPOINT.fullmatch(endpoint)
    if not match or (match["port"] != "*" and int(match["port"]) > 65_535):
        raise BusError(
            f"{endpoint!r} is no address of the bus; tcp://127.0.0.1:5556 is wanted, "
            "an IP address or localhost, and a port"
        )
    if bind and not secured and not _is_loopback(match["host"]):
        raise BusError(
            f"{endpoint!r} is reachable from outside; that needs keys "
            "(bus.security.enabled = true), or bind 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Monitor:
    """What a socket's connections do. `drain` it often: its queue is bounded."""

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self.connections = 0
        self.established = 0
        """Handshakes that succeeded since the start: reconnects are all but the first."""
        self.detail = ""
        self._broken_at: float | None = None
        self.socket = socket.get_monitor_socket(_EVENTS)
        self._owner = socket

    def drain(self) -> bool:
        """Take in what happened; True if something did."""
        happened = False
        while has_input(self.socket):
            happened = True
            event = parse_monitor_message(self.socket.recv_multipart(zmq.NOBLOCK))["event"]
            broke = event not in _ALIVE
            self._broken_at = time.monotonic() if broke else None
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.connections += 1
                self.established += 1
                self.detail = ""
            elif event == zmq.EVENT_DISCONNECTED:
                self.connections = max(0, self.connections - 1)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.detail = "the other side refuses our key"
            elif event in (
                zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
            ):
                self.detail = "the handshake failed: is bus.security on at both sides?"
            elif event == zmq.EVENT_CONNECT_RETRIED and not self.detail:
                self.detail = "nobody listens there yet"
        return happened

    def given_up(self) -> bool:
        """Whether libzmq stopped trying, as it does after a broken protocol or a refused key.

        True once for each time, a second after the last sign of life.
        """
        broken_at = self._broken_at
        if self.connections or broken_at is None or time.monotonic() - broken_at < REVIVE_AFTER_S:
            return False
        self._broken_at = None
        return True

    def close(self) -> None:
        self._owner.disable_monitor()
        self.socket.close(0)
