"""What the engine does without being asked: refresh, compare with the broker, mend the journal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from loguru import logger

from console.broker.errors import BrokerError
from console.engine.books import Books
from console.engine.events import Severity
from console.engine.facts import Facts
from console.engine.readiness import Readiness
from console.engine.reconcile import Reconciled, Reconciler
from console.engine.state import TradingState
from console.engine.tradingstate import TradingStateLatch

_T = TypeVar("_T")

REFRESH_S = {"DEMO": 1.0, "EXCHANGE": 2.0, "PAPER": 5.0}
AFTER_FILL_S = 0.1
"""Fills that follow one another closely share a refresh."""
RETRY_S = 1.0
MEND_S = 1.0


class Upkeep:
    """See the module."""

    def __init__(
        self,
        books: Books,
        reconciler: Reconciler,
        readiness: Readiness,
        trading: TradingStateLatch,
        facts: Facts,
        *,
        refresh_s: float,
        reconcile_s: float,
        on_failure: Callable[[BrokerError], None],
        after_comparison: Callable[[], None],
    ) -> None:
        self._books = books
        self._reconciler = reconciler
        self._readiness = readiness
        self._trading = trading
        self._facts = facts
        self._refresh_s = refresh_s
        self._reconcile_s = reconcile_s
        self._on_failure = on_failure
        self._after_comparison = after_comparison
        self._refresh = asyncio.Event()
        self._reconcile = asyncio.Event()
        self._compared = False

    def refresh_soon(self) -> None:
        """Account and positions have changed at the broker."""
        self._refresh.set()

    def awake(self) -> None:
        """Something that every loop here depends on has changed."""
        self._refresh.set()
        self._reconcile.set()

    def compare_soon(self) -> None:
        """The books may lack something."""
        self._reconcile.set()

    async def compare(self) -> Reconciled:
        """Reconcile now and draw the consequences. Raises `BrokerError`."""
        self._reconcile.clear()
        self._compared = False
        line = self._readiness.line
        found = await self._reconciler.run()
        self._compared = True
        if line == self._readiness.line:
            self._readiness.reconciled = True
        if found.unexplained:
            text = f"positions differ and no fill explains it: {found.in_words()}"
            self._facts.notice(Severity.ERROR, "reconcile", text)
            if self._trading.tightens(TradingState.REDUCING):
                await self._trading.asked(TradingState.REDUCING, text, "reconcile")
        elif found.changed or found.external:
            self._facts.notice(Severity.INFO, "reconcile", found.in_words())
        self._readiness.update()
        return found

    async def refreshing(self) -> None:
        """Keep account and positions current until cancelled, or until the keys don't hold."""
        while True:
            await _woken(self._refresh, self._refresh_s, AFTER_FILL_S)
            if self._readiness.auth_failure is not None:
                return
            if self._books.lacks_executions():
                self.compare_soon()
            await self._tried(self._refreshed)

    async def _refreshed(self) -> bool:
        await self._reconciler.refresh()
        return True

    async def comparing(self) -> None:
        """Reconcile every while, and at once when asked; until cancelled or without good keys."""
        while True:
            done = self._compared and self._readiness.reconciled
            await _woken(self._reconcile, self._reconcile_s if done else RETRY_S)
            if self._readiness.auth_failure is not None:
                return
            if await self.try_compare() is not None:
                self._after_comparison()

    async def try_compare(self) -> Reconciled | None:
        """`compare`; None, and told, when it failed."""
        return await self._tried(self.compare)

    async def _tried(self, call: Callable[[], Awaitable[_T]]) -> _T | None:
        try:
            return await call()
        except BrokerError as error:
            self._on_failure(error)
        except Exception as error:  # noqa: BLE001 — what is kept up outlives a mistake in it
            logger.opt(exception=error).error("upkeep failed")
            text = f"{type(error).__name__} while the books were compared; see the log"
            self._facts.notice(Severity.ERROR, "upkeep", text)
        return None

    async def mending(self) -> None:
        """While the journal can't be written it is tried; once it can, what it missed follows."""
        while True:
            await asyncio.sleep(MEND_S)
            if self._readiness.journal_failure is None:
                continue
            rows = self._books.write_again()
            rows.append(self._books.note("journal", "engine", {"text": "it can be written again"}))
            results = await asyncio.gather(
                *(asyncio.wrap_future(row) for row in rows), return_exceptions=True
            )
            if not any(isinstance(result, BaseException) for result in results):
                self._readiness.journal_failure = None
                self._facts.notice(Severity.WARNING, "journal", "the journal can be written again")
                self._readiness.update()
                # What could not be done without it, such as closing for the kill switch.
                self.compare_soon()


async def _woken(event: asyncio.Event, pause_s: float, settle_s: float = 0.0) -> None:
    """Until the event, but no longer than the pause; then a moment for what follows closely."""
    # Not `wait_for`: on Python 3.11 it loses a cancellation that comes with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await event.wait()
    if event.is_set():
        await asyncio.sleep(settle_s)
    event.clear()
