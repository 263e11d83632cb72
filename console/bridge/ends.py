"""What both ends of the bus share: a context, a socket, its monitor, its keys, and their health."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import zmq
from zmq.auth.asyncio import AsyncioAuthenticator

from console.bridge.security import BusKeys
from console.bridge.sockets import (
    BusClosedError,
    BusError,
    BusState,
    Monitor,
    check_endpoint,
    make_socket,
)

_LINGER_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BusHealth:
    """How one end of the bus does. Ages in seconds, None where nothing came yet.

    `gaps` counts missing messages by their numbers; it is None for a subscriber that binds, since
    the numbers of several publishers interleave there.
    """

    state: BusState
    endpoint: str
    connections: int
    reconnects: int
    messages: int
    malformed: int = 0
    gaps: int | None = 0
    restarts: int = 0
    message_age_s: float | None = None
    detail: str = ""


class BusEnd:
    """One socket within `async with`; publisher and subscriber add what they do with it."""

    _kind: int

    def __init__(
        self,
        endpoint: str,
        *,
        bind: bool,
        high_water_mark: int,
        keys: BusKeys | None,
    ) -> None:
        self.endpoint = endpoint
        self._bind = bind or "*" in endpoint
        check_endpoint(endpoint, bind=self._bind, secured=keys is not None)
        self._high_water_mark = high_water_mark
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[Any] | None = None
        self._monitor: Monitor | None = None
        self._authenticator: AsyncioAuthenticator | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._count = 0
        self._last_at: float | None = None

    async def __aenter__(self) -> Self:
        self._open()
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def _keep(self) -> None:
        """What has to happen while the owner does something else."""
        raise NotImplementedError

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _live(self) -> zmq.Socket[Any]:
        if self._socket is None:
            raise BusClosedError(f"{type(self).__name__} is closed; use it within `async with`")
        return self._socket

    def _open(self) -> None:
        if self._socket is not None:
            raise BusError(f"{type(self).__name__} is open already")
        self._context = zmq.Context(io_threads=1)
        try:
            if self._keys is not None and self._bind:
                self._authenticator = self._keys.authenticator(self._context)
            self._socket = make_socket(
                self._context,
                self._kind,
                high_water_mark=self._high_water_mark,
                keys=self._keys,
                bind=self._bind,
            )
            self._configure(self._socket)
            self._monitor = Monitor(self._socket)
            if self._bind:
                self._socket.bind(self.endpoint)
                self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
            else:
                self._socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            self._release(0)
            what = "bind" if self._bind else "connect to"
            raise BusError(
                f"can't {what} {self.endpoint!r}: {error.strerror}; "
                "a free address such as tcp://127.0.0.1:5556 is wanted"
            ) from None
        except BaseException:
            self._release(0)
            raise

    def _configure(self, socket: zmq.Socket[Any]) -> None:
        """Options of the one kind, before it binds or connects."""

    async def close(self) -> None:
        """Give everything back. What was published and not yet sent gets up to a second."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        context = self._release(_LINGER_MS)
        if context is not None:
            await asyncio.to_thread(context.term)

    def _release(self, linger_ms: int) -> zmq.Context[Any] | None:
        if self._authenticator is not None:
            self._authenticator.stop()
        if self._monitor is not None:
            self._monitor.close()
        if self._socket is not None:
            self._socket.close(linger_ms)
        context, self._context = self._context, None
        self._socket = self._monitor = self._authenticator = None
        return context

    def _watch(self) -> None:
        """Take in what the connection does, and bring it back where libzmq has given it up."""
        monitor, socket = self._monitor, self._socket
        if monitor is None or socket is None:
            return
        monitor.drain()
        if not self._bind and monitor.given_up():
            with suppress(zmq.ZMQError):
                socket.disconnect(self.endpoint)
            socket.connect(self.endpoint)

    def health(self) -> BusHealth:
        """How this end does; never waits."""
        monitor = self._monitor
        if monitor is None:
            return BusHealth(
                state=BusState.LOST,
                endpoint=self.endpoint,
                connections=0,
                reconnects=0,
                messages=self._count,
                detail="closed",
            )
        monitor.drain()
        age = None if self._last_at is None else time.monotonic() - self._last_at
        return BusHealth(
            state=self._state(monitor, age),
            endpoint=self.endpoint,
            connections=monitor.connections,
            reconnects=max(0, monitor.established - 1),
            messages=self._count,
            message_age_s=age,
            detail=monitor.detail,
        )

    def _state(self, monitor: Monitor, _age: float | None) -> BusState:
        if monitor.connections:
            return BusState.CONNECTED
        return BusState.LOST if monitor.established else BusState.CONNECTING
