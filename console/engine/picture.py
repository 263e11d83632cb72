"""Everything that the engine knows, put together for whoever asks: the view, and its health."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from loguru import logger

from console.engine.books import Books
from console.engine.bus import Bus
from console.engine.clocks import Clocks, MarketClock
from console.engine.curve import EquityCurve
from console.engine.events import Event, MarketFrame, OrderFilled, Snapshot
from console.engine.facts import Facts
from console.engine.readiness import Readiness
from console.engine.riskwatch import RiskWatch
from console.engine.state import EngineView, FillView, OrderState, TrailView
from console.engine.tradingstate import TradingStateLatch

if TYPE_CHECKING:
    from console.broker.session import SessionStats


FILLS_SHOWN = 500


class _FillRow(msgspec.Struct, frozen=True):
    fill: FillView


class Picture:
    """See the module."""

    def __init__(
        self,
        books: Books,
        facts: Facts,
        readiness: Readiness,
        trading: TradingStateLatch,
        market: MarketClock,
        clocks: Clocks,
        risk_watch: RiskWatch,
        *,
        equity: EquityCurve,
        mode: str,
    ) -> None:
        self._equity = equity
        self._books = books
        self._facts = facts
        self._readiness = readiness
        self._trading = trading
        self._market = market
        self._clocks = clocks
        self._risk_watch = risk_watch
        self._mode = mode
        self._fills: deque[FillView] | None = None
        self.trails: Callable[[], tuple[TrailView, ...]] = tuple

    def view(self) -> EngineView:
        """The state of this moment, after the event numbered `seq`."""
        return EngineView(
            seq=self._facts.seq,
            mode=self._mode,
            ready=self._readiness.ready,
            trading_state=self._trading.state,
            trading_reason=self._trading.reason,
            account=self._books.account,
            positions=tuple(self._books.positions.values()),
            orders=self._books.shown(),
            session=self._market.view(),
            connections=tuple(self._facts.connections.values()),
            services=tuple(self._facts.services.values()),
            fills=tuple(self._newest_fills()),
            risk=self._risk_watch.view,
            equity=self._equity.points(),
            notices=self._facts.notices,
            trails=self.trails(),
        )

    def _newest_fills(self) -> deque[FillView]:
        """Those in the journal at the first look, and from then on those that are told."""
        if self._fills is None:
            rows = self._books.journal.newest("fill", FILLS_SHOWN)
            self._fills = deque(maxlen=FILLS_SHOWN)
            for row in rows:
                try:
                    self._fills.append(msgspec.json.decode(row.body, type=_FillRow).fill)
                except msgspec.MsgspecError as error:
                    logger.warning("journal row {} holds no fill: {}", row.seq, error)
            self._facts.subscribe(self._told)
        return self._fills

    def _told(self, event: Event | MarketFrame) -> None:
        if isinstance(event, OrderFilled) and self._fills is not None:
            self._fills.append(msgspec.convert(event, FillView, from_attributes=True))

    def snapshot(self) -> Snapshot:
        """The same as the event that a new listener begins with."""
        return Snapshot(seq=self._facts.seq, ts=self._clocks.wall_ns(), state=self.view())

    def health(self, line: SessionStats, bus: Bus) -> dict[str, Any]:
        """Figures for health and metrics; `connections` is by name (state, seconds in it)."""
        now = self._clocks.monotonic()
        held = self._books.held_open()
        journal = self._books.journal
        return {
            "ready": self._readiness.ready,
            "reason": self._readiness.reason,
            "trading_state": self._trading.state.value,
            "connections": {
                c.name: (c.state.value, now - c.since) for c in self._facts.connections.values()
            },
            "open_orders": len(held),
            "in_doubt": sum(order.state is OrderState.UNKNOWN for order in held),
            "positions": len(self._books.positions),
            "events": self._facts.seq,
            "journal_rows": journal.last_seq,
            "journal_flushes": journal.flushes,
            "journal_failure": self._readiness.journal_failure or "",
            "broker_latency_ms": line.latency_ms,
            "broker_requests": line.requests,
            "broker_failures": line.failures,
            "bus_malformed": bus.malformed,
            "bus_turned_away": bus.turned_away,
        }
