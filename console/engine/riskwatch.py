"""What is heard of the risk-manager: whether it still speaks, and its own figures."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from console.engine.clocks import Clocks
from console.engine.events import RiskChanged
from console.engine.facts import Facts
from console.engine.state import ConnectionState, ConnectionView, RiskView, TradingState


class RiskWord(msgspec.Struct, frozen=True, tag_field="type", tag="RiskUpdate"):
    """What the engine reads of the risk-manager's `RiskUpdate`."""

    trading_state: TradingState
    reason: str = ""
    equity: Decimal | None = None
    peak_equity: Decimal = Decimal(0)
    drawdown_pct: Decimal = Decimal(0)
    gross_exposure: Decimal = Decimal(0)
    net_exposure: Decimal = Decimal(0)
    var_95: Decimal = Decimal(0)


class RiskWatch:
    """See the module. Of the engine's loop alone."""

    def __init__(self, facts: Facts, clocks: Clocks, *, stale_after_s: float) -> None:
        self.stale_after_s = stale_after_s
        self.view: RiskView | None = None
        """The newest figures, None until some came."""
        self._facts = facts
        self._clocks = clocks
        self._connection: ConnectionView | None = None
        self._heard_at: float | None = None
        self._demand = (TradingState.ACTIVE, "")

    def expect(self) -> None:
        """A risk-manager is to be heard from now on."""
        if self._connection is None:
            self._is(ConnectionState.CONNECTING, "nothing heard yet")

    def heard(self, word: RiskWord | None) -> bool:
        """It spoke: its figures, or a mere sign of life. Whether it asks for something new.

        It repeats what it asks for until it hears that a person has resumed; such a repetition is
        on its way while they do, and must not undo it.
        """
        self._heard_at = self._clocks.monotonic()
        self._is(ConnectionState.CONNECTED)
        if word is None:
            return False
        before, self._demand = self._demand, (word.trading_state, word.reason)
        self._figures(word)
        return self._demand != before

    def _figures(self, word: RiskWord) -> None:
        if word.equity is None:
            return
        view = RiskView(
            equity=word.equity,
            peak_equity=word.peak_equity,
            drawdown_pct=word.drawdown_pct,
            gross_exposure=word.gross_exposure,
            net_exposure=word.net_exposure,
            var_95=word.var_95,
        )
        if view != self.view:
            self.view = view
            self._facts.emit(RiskChanged(risk=view))

    def silent(self) -> None:
        """Nothing came for `stale_after_s`."""
        if self._heard_at is None:
            self._is(ConnectionState.LOST, "the risk-manager has never spoken")
        else:
            self._is(ConnectionState.STALE, "the risk-manager is silent")

    def _is(self, state: ConnectionState, detail: str = "") -> None:
        if self._connection is not None and self._connection.state is state:
            return
        self._connection = ConnectionView(
            name="risk",
            state=state,
            since=self._clocks.monotonic(),
            last_seen=self._heard_at,
            detail=detail,
        )
        self._facts.connected(self._connection)
