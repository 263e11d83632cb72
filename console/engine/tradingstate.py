"""ACTIVE, REDUCING, HALTED: latched in the journal, tightened by anyone, loosened by a person."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from console.engine.books import Books
from console.engine.events import Event, TradingStateChanged
from console.engine.journal import patiently
from console.engine.journal_files import JournalError
from console.engine.risk import Gatekeeper
from console.engine.state import Refusal, TradingState

SUBJECT = "trading-state"
_TIGHTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
_MACHINES = ("signal", "risk", "reconcile", "flatten", "broker", "strategy", "trail")
"""Sources that are no person, up to a colon."""


def is_person(source: str) -> bool:
    return source.partition(":")[0] not in _MACHINES


class TradingStateLatch:
    """See the module."""

    def __init__(self, books: Books, gatekeeper: Gatekeeper, emit: Callable[[Event], None]) -> None:
        self._books = books
        self._gatekeeper = gatekeeper
        self._emit = emit
        self.state = TradingState.ACTIVE
        self.reason = ""
        self._source = ""
        self._loosening = asyncio.Lock()
        self._on_its_way: TradingState | None = None
        """What is being loosened to: its row is written, and it does not hold yet."""
        self._tightenings = 0
        """Grows with every demand that a loosening on its way would undo."""

    def load(self) -> None:
        """Take the state that the last process left."""
        row = self._books.journal.latest(SUBJECT)
        if row is not None:
            body = msgspec.json.decode(row.body)
            self.state, self.reason = TradingState(body["state"]), str(body["reason"])
            self._source = str(body.get("source", ""))
        self._gatekeeper.trading_state_changed(self.state, self.reason)

    def tightens(self, state: TradingState) -> bool:
        """Whether `state` allows less than what is in force, or is about to be."""
        on_its_way = self.state if self._on_its_way is None else self._on_its_way
        return _TIGHTNESS[state] > min(_TIGHTNESS[self.state], _TIGHTNESS[on_its_way])

    def loosens(self, state: TradingState) -> bool:
        """Whether `state` allows more than what is in force."""
        return _TIGHTNESS[state] < _TIGHTNESS[self.state]

    async def asked(self, state: TradingState, reason: str, source: str) -> Refusal | None:
        """Change the state, or say why not.

        What tightens holds at once and is journaled then, if the disk takes it; what loosens is on
        disk before it holds, and gives way to whatever tightens meanwhile.
        """
        if self.tightens(state):
            self._tightenings += 1
        if state is self.state:
            return None
        if _TIGHTNESS[state] > _TIGHTNESS[self.state]:
            on_disk = self._write(state, reason, source)
            self._hold(state, reason, source)
            with contextlib.suppress(JournalError):
                await patiently(on_disk)
            return None
        if not is_person(source):
            return Refusal(
                check="trading_state", limit=self.state.value, value=state.value,
                message=f"{source} can't loosen the trading state",
                remedy="a person resumes trading",
            )  # fmt: skip
        async with self._loosening:
            if self.loosens(state):
                return await self._loosen(state, reason, source)
        return await self.asked(state, reason, source)

    async def _loosen(self, state: TradingState, reason: str, source: str) -> Refusal | None:
        self._on_its_way, before = state, self._tightenings
        failure: JournalError | None = None
        try:
            await patiently(self._write(state, reason, source))
        except JournalError as error:
            failure = error
        finally:
            self._on_its_way = None
        if failure is None and before == self._tightenings:
            self._hold(state, reason, source)
            return None
        # The row may be on disk, or get there yet: the last word is what holds.
        on_disk = self._write(self.state, self.reason, self._source)
        if failure is not None:
            return Refusal(
                check="journal", limit="writable", value="not", message=str(failure),
                remedy="repair the disk, then resume",
            )  # fmt: skip
        with contextlib.suppress(JournalError):
            await patiently(on_disk)
        return Refusal(
            check="trading_state", limit=self.state.value, value=state.value,
            message=f"it was tightened meanwhile: {self.state.value}, {self.reason}",
            remedy="see why, then resume again",
        )  # fmt: skip

    def _write(self, state: TradingState, reason: str, source: str) -> Future[int]:
        body = {
            "state": state.value,
            "reason": reason,
            "source": source,
            "text": f"{state.value} by {source}" + (f": {reason}" if reason else ""),
        }
        return self._books.set_standing(SUBJECT, SUBJECT, body, is_open=True, urgent=True)

    def _hold(self, state: TradingState, reason: str, source: str) -> None:
        self.state, self.reason, self._source = state, reason, source
        self._gatekeeper.trading_state_changed(state, reason)
        self._emit(TradingStateChanged(trading_state=state, reason=reason, source=source))
