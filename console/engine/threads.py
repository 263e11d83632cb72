"""The broker threads: blocking calls made one after the other, the urgent ones first."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

from console.broker.errors import BrokerAuthError, BrokerUnavailable

_T = TypeVar("_T")


class Priority(IntEnum):
    """What goes first on a broker thread."""

    CANCEL = 0
    ORDER = 1
    LOOK_UP = 2
    READ = 3


class BrokerThread:
    """One thread for blocking calls, the urgent ones first, with a bounded queue."""

    CAPACITY = 2_000

    def __init__(
        self, name: str, on_auth_error: Callable[[BrokerAuthError], None] = lambda _: None
    ) -> None:
        self._on_auth_error = on_auth_error
        self._queue: queue.PriorityQueue[
            tuple[int, int, Callable[[], Any], asyncio.Future[Any], asyncio.AbstractEventLoop]
        ] = queue.PriorityQueue(self.CAPACITY)
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def run(self, call: Callable[[], _T], priority: Priority = Priority.READ) -> _T:
        """Make the call on the thread. A caller that is cancelled doesn't stop a call under way.

        Keys that don't hold are told to whoever owns the thread, whatever the call was for.

        Raises:
            BrokerUnavailable: too many calls wait, or the thread is stopped; nothing was sent.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        if self._stopping.is_set():
            raise BrokerUnavailable("the engine is stopping", remedy="nothing was sent")
        try:
            self._queue.put_nowait((priority, next(self._numbers), call, future, loop))
        except queue.Full:
            raise BrokerUnavailable(
                f"{self.CAPACITY} requests wait for the broker", remedy="nothing was sent; wait"
            ) from None
        try:
            return await future
        except BrokerAuthError as error:
            self._on_auth_error(error)
            raise

    def _run(self) -> None:
        while True:
            try:
                _, _, call, future, loop = self._queue.get(timeout=0.1)
            except queue.Empty:
                if self._stopping.is_set():
                    return
                continue
            if future.cancelled():
                continue
            result: Any = None
            failure: BaseException | None = None
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 — it is raised again where it was asked for
                failure = error
            try:
                loop.call_soon_threadsafe(_settle, future, result, failure)
            except RuntimeError:
                return

    def stop(self) -> None:
        """Take no more calls; those that wait are still made."""
        self._stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
