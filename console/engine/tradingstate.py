"""ACTIVE, REDUCING, HALTED: latched in the journal, tightened by anyone, loosened by a person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from console.engine.books import Books
from console.engine.events import Event, TradingStateChanged
from console.engine.journal_files import JournalError
from console.engine.risk import Gatekeeper
from console.engine.state import Refusal, TradingState

SUBJECT = "trading-state"
_TIGHTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
_MACHINES = ("signal", "risk", "reconcile", "flatten", "broker", "strategy")
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

    def load(self) -> None:
        """Take the state that the last process left."""
        row = self._books.journal.latest(SUBJECT)
        if row is not None:
            body = msgspec.json.decode(row.body)
            self.state, self.reason = TradingState(body["state"]), str(body["reason"])
        self._gatekeeper.trading_state_changed(self.state, self.reason)

    def tightens(self, state: TradingState) -> bool:
        """Whether `state` allows less than what is in force."""
        return _TIGHTNESS[state] > _TIGHTNESS[self.state]

    async def asked(self, state: TradingState, reason: str, source: str) -> Refusal | None:
        """Change the state, or say why not.

        What tightens holds at once and is journaled then; what loosens is on disk before it holds.
        """
        if state is self.state:
            return None
        if self.tightens(state):
            on_disk = self._write(state, reason, source)
            self._hold(state, reason, source)
            await asyncio.gather(asyncio.wrap_future(on_disk), return_exceptions=True)
            return None
        if not is_person(source):
            return Refusal(
                check="trading_state", limit=self.state.value, value=state.value,
                message=f"{source} can't loosen the trading state",
                remedy="a person resumes trading",
            )  # fmt: skip
        try:
            await asyncio.wrap_future(self._write(state, reason, source))
        except JournalError as error:
            return Refusal(
                check="journal", limit="writable", value="not", message=str(error),
                remedy="repair the disk, then resume",
            )  # fmt: skip
        self._hold(state, reason, source)
        return None

    def _write(self, state: TradingState, reason: str, source: str) -> Future[int]:
        body = {
            "state": state.value,
            "reason": reason,
            "source": source,
            "text": f"{state.value} by {source}" + (f": {reason}" if reason else ""),
        }
        return self._books.set_standing(SUBJECT, SUBJECT, body, is_open=True, urgent=True)

    def _hold(self, state: TradingState, reason: str, source: str) -> None:
        self.state, self.reason = state, reason
        self._gatekeeper.trading_state_changed(state, reason)
        self._emit(TradingStateChanged(trading_state=state, reason=reason, source=source))
