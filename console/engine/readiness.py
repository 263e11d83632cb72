"""Whether an order could be placed now, and if not, why."""

from __future__ import annotations

from collections.abc import Callable

from console.engine.events import ReadyChanged, Severity
from console.engine.facts import Facts
from console.engine.state import TradingState
from console.engine.tradingstate import TradingStateLatch


class Readiness:
    """The conditions, set by whoever knows; `update` tells everybody when their sum changes."""

    def __init__(
        self,
        facts: Facts,
        trading: TradingStateLatch,
        clock_known: Callable[[], bool] = lambda: True,
    ) -> None:
        self.started = False
        self.stopping = False
        self.reconciled = False
        self.line = 0
        """Counts the times at which trade updates may have been missed."""
        self.auth_failure: str | None = None
        """The keys don't hold. Nothing but a restart with others ends this."""
        self.journal_failure: str | None = None
        self.ready = False
        self.reason = "starting"
        self._facts = facts
        self._trading = trading
        self._clock_known = clock_known

    def updates_missed(self) -> None:
        """Nothing is told twice: until the books are compared again they may lack a fill."""
        self.line += 1
        self.reconciled = False

    def blocked(self) -> str | None:
        """Why no order may be placed at all, whatever it is; None when the risk gate decides."""
        if self.stopping:
            return "the engine is stopping"
        if self.auth_failure is not None:
            return self.auth_failure
        if self.journal_failure is not None:
            return f"the journal can't be written: {self.journal_failure}"
        if not self.reconciled:
            return "the books are not reconciled with the broker yet"
        if not self._facts.is_connected("updates"):
            return "the broker's trade updates are not connected"
        if not self._clock_known():
            return "the market's clock is not known yet"
        return None

    def update(self) -> None:
        """Look at the conditions again."""
        reason = self.blocked() if self.started else "starting"
        if reason is None and self._trading.state is TradingState.HALTED:
            reason = f"trading is HALTED: {self._trading.reason}"
        if (reason is None, reason or "") != (self.ready, self.reason):
            self.ready, self.reason = reason is None, reason or ""
            self._facts.emit(ReadyChanged(ready=self.ready, reason=self.reason))

    def journal_is_down(self, reason: str) -> None:
        """A row could not be written: no order leaves until one can."""
        if self.journal_failure is None:
            self.journal_failure = reason
            self._facts.notice(
                Severity.ERROR, "journal", f"{reason}; no order leaves until it can be written"
            )
            self.update()
