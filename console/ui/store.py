"""What the engine has told the face so far: a replica that applies snapshots and numbered events.

The store holds facts only, nothing of a widget, and changes by facts only. Ages are measured on
its monotonic clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, IntFlag, auto
from math import isfinite, nan
from typing import TYPE_CHECKING

from console.engine import events
from console.engine.curve import EquityCurve
from console.engine.state import (
    AccountView,
    ConnectionState,
    ConnectionView,
    EngineView,
    FillView,
    NoticeView,
    OrderState,
    OrderView,
    PositionView,
    RiskView,
    ServiceView,
    SessionView,
    TradingState,
    TrailPhase,
    TrailView,
    is_superseded,
)
from console.ui import format as text

if TYPE_CHECKING:
    from signal_bridge import FeedFrame

_BAD_NEWS = (OrderState.REJECTED, OrderState.UNKNOWN, OrderState.EXPIRED)
MAX_FILLS = 2000
MAX_NOTICES = 200
MAX_FINAL_ORDERS = 500
MAX_ENDED_TRAILS = 50


class Fact(IntFlag):
    """Which part of the store changed; panes redraw for those that they show."""

    NOTHING = 0
    LINK = auto()
    ACCOUNT = auto()
    POSITIONS = auto()
    ORDERS = auto()
    FILLS = auto()
    SESSION = auto()
    CONNECTIONS = auto()
    SERVICES = auto()
    TRADING = auto()
    NOTICES = auto()
    MARKET = auto()
    CLOCK = auto()
    CHOICE = auto()
    """What the person has chosen: the symbol, the pane, a sort order."""
    ALL = (1 << 13) - 1


class Phase(Enum):
    """The link to the engine, as the face knows it."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"
    LOST = "lost"


@dataclass(slots=True)
class Notice:
    """A notice and how often it came in these words; notices of one topic fold into one."""

    severity: events.Severity
    topic: str
    text: str
    at: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Quote:
    """A symbol's bid and ask, and their age in seconds."""

    bid: float
    ask: float
    age: float

    @property
    def spread_bp(self) -> float:
        middle = (self.bid + self.ask) / 2
        return (self.ask - self.bid) / middle * 1e4 if middle > 0 else float("nan")


class Store:
    """The replica. `apply` takes events in the order that they arrive."""

    def __init__(self, *, mode: str = "", monotonic: Callable[[], float] = time.monotonic) -> None:
        self.now = monotonic
        self.phase = Phase.CONNECTING
        self.phase_since = monotonic()
        self.failure = ""
        self.mode = mode
        self.seq = 0
        self.gap = False
        self.ready = False
        self.ready_reason = ""
        self.trading_state = TradingState.ACTIVE
        self.trading_reason = ""
        self.account: AccountView | None = None
        self.positions: dict[str, PositionView] = {}
        self.orders: dict[str, OrderView] = {}
        self.trails: dict[str, TrailView] = {}
        """Trailing legs by the order that has them."""
        self.session: SessionView | None = None
        self.playing_speed = 1.0
        """How fast the market's clock runs, or ran before it was paused."""
        self.connections: dict[str, ConnectionView] = {}
        self.services: dict[str, ServiceView] = {}
        self.engine: ConnectionView | None = None
        """The link to a far engine while it is broken."""
        self.fills: deque[FillView] = deque(maxlen=MAX_FILLS)
        self.before: tuple[FillView, ...] = ()
        """What had been filled when this face was connected."""
        self.risk: RiskView | None = None
        """What the risk-manager reckons, None until it did."""
        self.curve = EquityCurve()
        self.equity_peak = 0.0
        self.notices: deque[Notice] = deque(maxlen=MAX_NOTICES)
        self.frame: FeedFrame | None = None
        self.rows: dict[str, int] = {}
        """Symbol → its row in the frame."""
        self._columns: dict[str, list[float]] = {}
        self._handlers: dict[type, Callable[[events.Event], Fact]] = {
            events.OrderChanged: self._order_changed,
            events.OrderFilled: self._order_filled,
            events.PositionsChanged: self._positions_changed,
            events.AccountChanged: self._account_changed,
            events.TradingStateChanged: self._trading_state_changed,
            events.SessionChanged: self._session_changed,
            events.ConnectionChanged: self._connection_changed,
            events.ServiceChanged: self._service_changed,
            events.RiskChanged: self._risk_changed,
            events.TrailChanged: self._trail_changed,
            events.ReadyChanged: self._ready_changed,
            events.Noticed: self._noticed,
        }

    # -- facts in ----------------------------------------------------------------------------

    def apply(self, event: events.Event | events.MarketFrame) -> Fact:
        """Take one event in; says what changed.

        A delta that was seen already changes nothing. After a missing one `gap` is set, and stays
        until a snapshot comes; deltas are applied all the same, for newer facts beat older ones.
        """
        if isinstance(event, events.MarketFrame):
            return self._market(event.feed)
        if isinstance(event, events.Snapshot):
            return self.restore(event.state)
        if event.seq:
            if event.seq <= self.seq:
                return Fact.NOTHING
            self.gap |= event.seq != self.seq + 1
            self.seq = event.seq
        handler = self._handlers.get(type(event))
        return handler(event) if handler is not None else Fact.NOTHING

    def restore(self, view: EngineView) -> Fact:
        """Start anew from a snapshot."""
        self.seq, self.gap = view.seq, False
        self.mode = view.mode
        self.ready = view.ready
        self.trading_state, self.trading_reason = view.trading_state, view.trading_reason
        self._set_session(view.session)
        self.positions = {p.symbol: p for p in view.positions}
        self.orders = {o.client_order_id: o for o in view.orders}
        self.trails = {t.entry: t for t in view.trails}
        self.connections = {c.name: c for c in view.connections}
        self.services = {s.name: s for s in view.services}
        if not self.before:
            self.before = view.fills
        self.fills = deque(view.fills, maxlen=MAX_FILLS)
        self.risk = view.risk
        self.engine = None
        self._recall(view.notices)
        self._set_account(view.account)
        self.curve.recall(view.equity)
        self.set_phase(Phase.CONNECTED)
        return Fact.ALL

    def _recall(self, notices: Sequence[NoticeView]) -> None:
        """What the engine said before this face listened."""
        known = {notice.topic: notice for notice in self.notices}
        for n in notices:
            mine = known.get(n.topic)
            if mine is None or (mine.at < n.at and mine.text != n.text):
                known[n.topic] = Notice(events.Severity(n.severity), n.topic, n.text, n.at)
        self.notices = deque(sorted(known.values(), key=lambda n: n.at), maxlen=MAX_NOTICES)

    def set_phase(self, phase: Phase, failure: str = "") -> Fact:
        """The link's own state: set by whoever holds the link."""
        if phase is not self.phase:
            self.phase_since = self.now()
        self.phase, self.failure = phase, failure
        return Fact.ALL

    def notice(self, severity: events.Severity, topic: str, text: str) -> Fact:
        """Something to read; takes the place of an older one of its topic, counting repeats."""
        folded = next((n for n in self.notices if n.topic == topic), None)
        count = 1
        if folded is not None:
            self.notices.remove(folded)
            count += folded.count * (folded.text == text)
        self.notices.append(Notice(severity, topic, text, self.now(), count))
        return Fact.NOTICES

    def _market(self, frame: FeedFrame) -> Fact:
        if self.frame is None or self.frame.symbols != frame.symbols:
            self.rows = {symbol: i for i, symbol in enumerate(frame.symbols)}
        self.frame = frame
        self._columns.clear()
        return Fact.MARKET

    def column(self, name: str) -> list[float]:
        """A column of the newest frame (an array's, or a feature's) as plain floats, by row."""
        found = self._columns.get(name)
        if found is None:
            frame = self.frame
            if frame is None:
                return []
            if name in frame.feature_names:
                values = frame.features[:, frame.feature_names.index(name)]
            else:
                values = getattr(frame, name)
            found = self._columns[name] = values.tolist()
        return found

    def _order_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.OrderChanged)
        order = event.order
        before = self.orders.get(order.client_order_id)
        facts = Fact.ORDERS
        changed = before is None or before.state is not order.state
        if order.state in _BAD_NEWS and changed and not is_superseded(order):
            words = f"{order.side.value} {order.symbol} {order.state.value}: {order.reason}"
            severity = events.Severity.ERROR
            facts |= self.notice(severity, f"order {order.client_order_id}", words.rstrip(": "))
        self.orders[order.client_order_id] = order
        if len(self.orders) > 2 * MAX_FINAL_ORDERS:
            self._forget_oldest()
        return facts

    def _trail_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.TrailChanged)
        self.trails[event.trail.entry] = event.trail
        ended = [name for name, trail in self.trails.items() if trail.phase is TrailPhase.ENDED]
        for name in ended[: len(ended) - MAX_ENDED_TRAILS]:
            del self.trails[name]
        return Fact.ORDERS

    def trail_of(self, order: OrderView) -> TrailView | None:
        """The trailing leg that an order has or belongs to, if any."""
        own = self.trails.get(order.client_order_id) or self.trails.get(order.parent or "")
        if own is not None:
            return own
        stops = (t for t in self.trails.values() if t.stop_order == order.client_order_id)
        return next(stops, None)

    def unprotected(self) -> list[TrailView]:
        """Trailing legs with shares that no stop at the broker covers at this moment."""
        return [
            t for t in self.trails.values() if t.unprotected > 0 and t.phase is not TrailPhase.ENDED
        ]

    def _forget_oldest(self) -> None:
        final = [o for o in self.orders.values() if o.state.is_final]
        final.sort(key=lambda o: (not is_superseded(o), o.created_at))
        for order in final[: len(final) - MAX_FINAL_ORDERS]:
            del self.orders[order.client_order_id]

    def _order_filled(self, event: events.Event) -> Fact:
        assert isinstance(event, events.OrderFilled)
        fill = _as_fill(event)
        self.fills.append(fill)
        self.notice(events.Severity.INFO, f"order {event.client_order_id}", fill_words(fill))
        return Fact.FILLS | Fact.NOTICES

    def _positions_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.PositionsChanged)
        self.positions = {p.symbol: p for p in event.positions}
        return Fact.POSITIONS

    def _account_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.AccountChanged)
        self._set_account(event.account)
        return Fact.ACCOUNT

    def _set_account(self, account: AccountView | None) -> None:
        self.account = account
        moment = self.market_time()
        if account is None:
            return
        equity = float(account.equity)
        self.equity_peak = max(self.equity_peak, equity)
        if moment is not None:
            self.curve.add(moment, account.equity)

    def _trading_state_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.TradingStateChanged)
        self.trading_state, self.trading_reason = event.trading_state, event.reason
        return Fact.TRADING

    def _session_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.SessionChanged)
        self._set_session(event.session)
        return Fact.SESSION

    def _set_session(self, session: SessionView | None) -> None:
        self.session = session
        if session is not None and session.speed > 0:
            self.playing_speed = session.speed

    def _connection_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.ConnectionChanged)
        if event.connection.name == "engine":
            self.engine = event.connection
            return self.set_phase(Phase.LOST, event.connection.detail)
        self.connections[event.connection.name] = event.connection
        return Fact.CONNECTIONS

    def _service_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.ServiceChanged)
        self.services[event.service.name] = event.service
        return Fact.SERVICES

    def _risk_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.RiskChanged)
        self.risk = event.risk
        return Fact.ACCOUNT

    def _ready_changed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.ReadyChanged)
        self.ready, self.ready_reason = event.ready, event.reason
        return Fact.LINK

    def _noticed(self, event: events.Event) -> Fact:
        assert isinstance(event, events.Noticed)
        return self.notice(event.severity, event.topic, event.text)

    # -- questions ---------------------------------------------------------------------------

    def lost_words(self) -> str:
        """Since when the engine is gone, and when it is tried again."""
        now = self.now()
        words = f"engine lost {text.duration(now - self.phase_since)} ago"
        retry = self.engine.retry_at if self.engine is not None else None
        if retry is None:
            return words
        return f"{words}, retry in {text.duration(max(0.0, retry - now) + 0.999)}"

    def market_time(self) -> datetime | None:
        """The market's clock at this moment."""
        if self.session is None:
            return None
        elapsed = max(0.0, self.now() - self.session.as_of)
        return self.session.market_time + timedelta(seconds=elapsed * self.session.speed)

    @property
    def is_open(self) -> bool:
        """Whether the regular session is on, as far as is known."""
        return self.session is not None and self.session.is_open

    def quote(self, symbol: str) -> Quote | None:
        """The last quote of `symbol`, however old."""
        row = self.rows.get(symbol)
        if self.frame is None or row is None:
            return None
        bid, ask, at = (self.column(name)[row] for name in ("bid", "ask", "quote_at"))
        if not (isfinite(bid) and isfinite(ask) and isfinite(at)):
            return None
        return Quote(bid, ask, max(0.0, self.now() - at))

    def last(self, symbol: str) -> float:
        """The last price of `symbol`, NaN where none is known."""
        row = self.rows.get(symbol)
        if self.frame is None or row is None:
            return float("nan")
        return self.column("last")[row]

    def change(self, row: int) -> float:
        """Percent since the close before, or else since the day's open; NaN where unknown."""
        before, last = self.column("previous_close")[row], self.column("last")[row]
        if not before > 0:
            before = self.column("day_open")[row]
        return (last / before - 1) * 100 if before > 0 else nan

    def age(self, row: int) -> float:
        """Seconds since the newest quote or trade, NaN before the first."""
        times = (self.column("quote_at")[row], self.column("last_at")[row])
        newest = max((at for at in times if isfinite(at)), default=nan)
        return max(0.0, self.now() - newest) if isfinite(newest) else nan

    def sorted_orders(self) -> list[OrderView]:
        """Those that may still do something first, then the newest; legs follow their entry."""
        families: dict[str, list[OrderView]] = {}
        for order in self.orders.values():
            if is_superseded(order):
                continue
            families.setdefault(self._entry_of(order).client_order_id, []).append(order)

        def place(entry: str) -> tuple[bool, datetime, str]:
            is_open = any(not o.state.is_final for o in families[entry])
            return is_open, self.orders[entry].created_at, entry

        return [
            order
            for entry in sorted(families, key=place, reverse=True)
            for order in sorted(
                families[entry],
                key=lambda o: (o.client_order_id != entry, o.created_at, o.client_order_id),
            )
        ]

    def _entry_of(self, order: OrderView) -> OrderView:
        """The order that a leg belongs to, as it stands after replacements; others themselves."""
        entry = self.orders.get(order.parent or "")
        if entry is None:
            return order
        seen = {entry.client_order_id}
        while (newer := self.orders.get(entry.replaced_by or "")) is not None:
            if newer.client_order_id in seen:
                break
            seen.add(newer.client_order_id)
            entry = newer
        return entry

    def open_orders(self, symbol: str | None = None) -> list[OrderView]:
        """Orders that may still fill, of one symbol or of all."""
        return [
            o
            for o in self.orders.values()
            if not o.state.is_final and (symbol is None or o.symbol == symbol)
        ]

    def doubtful_orders(self) -> list[OrderView]:
        """Orders of which nobody knows whether the broker has them."""
        return [o for o in self.orders.values() if o.state is OrderState.UNKNOWN]

    def exposure(self) -> tuple[Decimal, Decimal]:
        """Gross and net market value of the positions."""
        values = [p.market_value for p in self.positions.values()]
        return sum((abs(v) for v in values), Decimal(0)), sum(values, Decimal(0))

    def trouble(self, *names: str) -> ConnectionView | None:
        """The first of these connections that is not as it should be."""
        for name in names:
            connection = self.connections.get(name)
            if connection is not None and connection.state is not ConnectionState.CONNECTED:
                return connection
        return None


def fill_words(fill: FillView) -> str:
    """`filled: buy 100 IBM at 182.50`."""
    what = f"{fill.side.value} {text.quantity(fill.qty)} {fill.symbol}"
    return f"filled: {what} at {text.price(fill.price)}"


def _as_fill(event: events.OrderFilled) -> FillView:
    return FillView(
        client_order_id=event.client_order_id,
        execution_id=event.execution_id,
        symbol=event.symbol,
        side=event.side,
        qty=event.qty,
        price=event.price,
        at=event.at,
        bid=event.bid,
        ask=event.ask,
    )
