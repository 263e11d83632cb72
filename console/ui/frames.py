"""When a frame is drawn: soon after something changed, never where a key would wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

FRAME_S = 1 / 30
"""Between two frames of the screen, at least."""
MAX_FRAME_S = 0.5
"""However much they cost, at least two frames a second."""
SHARE = 0.25
"""Of the thread's time that frames may take."""
HOLD_S = 0.02
"""So long at most a frame gives way to a command that has just left."""


class Frames:
    """Calls `draw` at once when a frame is wanted, but never more than thirty times a second.

    Where frames cost more than a quarter of this thread's time they come less often, and so they do
    where this thread wakes late, because others want the processor too. A command on its way needs
    the interpreter of this process in other threads: until it is answered, or has had its moment,
    nothing is drawn. Of the app's loop alone.
    """

    def __init__(self, draw: Callable[[], None]) -> None:
        self._draw = draw
        self._wanted = asyncio.Event()
        self._answered = asyncio.Event()
        self._under_way = 0
        self._hold_until = 0.0

    def want(self) -> None:
        """Something changed."""
        self._wanted.set()

    @contextlib.contextmanager
    def give_way(self) -> Iterator[None]:
        """A command is on its way inside of this."""
        self._under_way += 1
        self._answered.clear()
        self._hold_until = asyncio.get_running_loop().time() + HOLD_S
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._answered.set()

    async def run(self) -> None:
        """Draw until cancelled."""
        clock, spent, late = asyncio.get_running_loop().time, time.thread_time(), 0.0
        while True:
            await self._wanted.wait()
            if self._under_way:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._hold_until):
                        await self._answered.wait()
            self._wanted.clear()
            self._draw()
            before, spent = spent, time.thread_time()
            pause = min(MAX_FRAME_S, max(FRAME_S, (spent - before) / SHARE, late / SHARE))
            due = clock() + pause
            await asyncio.sleep(pause)
            late = clock() - due
