"""urllib3's connections with one limit for a whole answer, and a last word before a request.

A socket's time-out is for each wait alone: a server that sends a byte of a header now and then
would hold its caller for ever. Nor is it for the resolver of names, which is asked apart.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from console.broker.names import addresses

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


IDLE_S = 0.1
"""A connection that was waited with for longer may have been closed at its other end."""


class _UntilThen(io.RawIOBase):
    """A connection's bytes, as long as its own time-out, counted from the beginning, is not up."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket) -> None:
        self._raw = raw
        self._connection = connection
        self._timeout_s = connection.gettimeout()
        self._deadline = time.monotonic() + (self._timeout_s or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._timeout_s is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._connection.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        if not self.closed:
            # Closed under way, as when a session ends, it takes no time-out any more.
            if self._connection.fileno() >= 0:
                self._connection.settimeout(self._timeout_s)
            self._raw.close()
        super().close()


class _BoundedAnswer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp: io.BufferedReader = io.BufferedReader(_UntilThen(self.fp.detach(), sock))


class _LastWord(threading.local):
    """What this thread's next request asks when it is made up, connected, and not yet sent."""

    ask: Callable[[], None] | None = None


_last_word = _LastWord()


@contextlib.contextmanager
def last_word(ask: Callable[[], None] | None) -> Iterator[None]:
    """Requests of this thread, inside, call `ask` right before their first byte; it may raise."""
    _last_word.ask = ask
    try:
        yield
    finally:
        _last_word.ask = None


class _Asks(HTTPConnection):
    response_class = _BoundedAnswer

    def _new_conn(self) -> socket.socket:
        """Connected to the first address that lets it, the name resolved within the same limit."""
        host, limit_s = self._dns_host, self.timeout if isinstance(self.timeout, float) else None
        began = time.monotonic()
        try:
            found = addresses(host, self.port, limit_s)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure: NewConnectionError | ConnectTimeoutError | None = None
        try:
            for address in found:
                if failure and limit_s is not None and time.monotonic() - began > limit_s:
                    break
                self._dns_host = address
                try:
                    return super()._new_conn()
                except (NewConnectionError, ConnectTimeoutError) as error:
                    failure = failure or error
        finally:
            self._dns_host = host
        raise failure or NewConnectionError(self, f"{host} has no address")

    def request(self, *args: Any, **kwargs: Any) -> None:
        if _last_word.ask is not None:
            if self.is_closed:
                self.connect()
            asked = time.monotonic()
            _last_word.ask()
            if time.monotonic() - asked > IDLE_S and not self.is_connected:
                self.close()
                self.connect()
        super().request(*args, **kwargs)


class _Connection(_Asks):
    pass


class _SecureConnection(_Asks, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _Pool, "https": _SecurePool}
"""For `PoolManager.pool_classes_by_scheme`."""
