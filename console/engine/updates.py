"""The broker's trade updates in the engine: facts into the books, and what a cut line means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from console.broker.errors import BrokerError
from console.engine.books import Books
from console.engine.clocks import Clocks
from console.engine.crash import crash_here
from console.engine.events import Severity
from console.engine.facts import Facts
from console.engine.readiness import Readiness
from console.engine.state import ConnectionState, ConnectionView, TradingState
from console.engine.tradingstate import TradingStateLatch
from console.engine.upkeep import Upkeep

if TYPE_CHECKING:
    from console.broker.streams import StreamState, TradeUpdates

_STREAM_STATES = {
    "connecting": ConnectionState.CONNECTING,
    "connected": ConnectionState.CONNECTED,
    "stale": ConnectionState.STALE,
}


class UpdatesWatch:
    """See the module. Of the engine's loop alone."""

    def __init__(
        self,
        make: Callable[..., TradeUpdates],
        books: Books,
        readiness: Readiness,
        trading: TradingStateLatch,
        upkeep: Upkeep,
        facts: Facts,
        clocks: Clocks,
        *,
        on_line: Callable[[], None],
        stale_after_s: float,
        armed: str | None,
    ) -> None:
        self._books = books
        self._readiness = readiness
        self._trading = trading
        self._upkeep = upkeep
        self._facts = facts
        self._clocks = clocks
        self._on_line = on_line
        self._armed = armed
        self._stale_after_s = stale_after_s
        self._looked_at = clocks.monotonic()
        self._lost = 0
        self._halting: asyncio.Task[object] | None = None
        self._stream = make(
            self._on_update, self._on_stream, stale_after_s=stale_after_s, clock=clocks.monotonic
        )

    async def run(self) -> None:
        """Keep the stream until `stop`; keys that don't hold end it, and trading with it."""
        try:
            await self._stream.run()
        except BrokerError as error:
            self.auth_failed(str(error))
            self._books.wake()

    def stop(self) -> None:
        """Let `run` return."""
        self._stream.stop()

    async def doubting(self) -> None:
        """Silence while orders are open is natural, or a line that is deaf: the broker is asked.

        What it knows and the line didn't tell shows which; then the line is replaced. Until
        cancelled, or until the keys don't hold.
        """
        tick = min(1.0, self._stale_after_s / 4)
        while self._readiness.auth_failure is None:
            await asyncio.sleep(tick)
            if not (self._is_silent() and self._facts.is_connected("updates")):
                continue
            heard = self._stream.received
            found = await self._upkeep.try_compare()
            self._looked_at = self._clocks.monotonic()
            if found is None:
                continue
            if (found.changed or found.external) and heard == self._stream.received:
                self._stream.renew(f"it told nothing of this: {found.in_words()}")

    def _is_silent(self) -> bool:
        if not self._books.held_open():
            return False
        since = max(self._looked_at, self._stream.state.since, self._stream.last_message_at or 0.0)
        return self._clocks.monotonic() - since >= self._stale_after_s

    def _on_update(self, update: dict[str, Any]) -> None:
        self._books.updated(update)
        if update.get("event") in ("fill", "partial_fill"):
            crash_here("mid-fill", self._armed)
        self._upkeep.refresh_soon()

    def _on_stream(self, state: StreamState) -> None:
        connection = _STREAM_STATES.get(state.status.value, ConnectionState.LOST)
        was_connected = self._facts.is_connected("updates")
        retry = state.retry_in_s
        self._facts.connected(
            ConnectionView(
                name="updates",
                state=connection,
                since=state.since,
                detail=state.detail,
                retry_at=None if retry is None else self._clocks.monotonic() + retry,
            )
        )
        again = connection is ConnectionState.CONNECTED and not was_connected
        if again:
            self._on_line()
        if self._any_lost() or again:
            # Nothing is replayed.
            self._readiness.updates_missed()
            self._upkeep.compare_soon()
        self._readiness.update()
        self._books.wake()

    def _any_lost(self) -> bool:
        """Whether a message came since that could not be read or handled."""
        lost = self._stream.lost if self._readiness.started else 0
        if lost == self._lost:
            return False
        self._lost = lost
        self._facts.notice(
            Severity.WARNING,
            "updates",
            f"{lost} trade updates could not be read or handled; the broker is asked instead",
        )
        return True

    def auth_failed(self, reason: str) -> None:
        """The keys don't hold: asking again only locks the door, so everything stops here."""
        if self._readiness.auth_failure is None:
            self._readiness.auth_failure = reason
            self._facts.notice(Severity.ERROR, "broker", reason)
            self._upkeep.awake()
            if self._readiness.started:
                self._halting = asyncio.create_task(
                    self._trading.asked(TradingState.HALTED, reason, "broker")
                )
        self._readiness.update()
