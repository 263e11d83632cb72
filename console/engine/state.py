"""What the engine knows, as values: the views that events carry and screens show.

Money, prices of orders and quantities are `Decimal`; in JSON they are strings. Times are
timezone-aware UTC datetimes of the *market's* clock unless a name says otherwise.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from console.engine.curve import EquityPoint


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(StrEnum):
    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    CLS = "cls"
    IOC = "ioc"
    FOK = "fok"


class OrderClass(StrEnum):
    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class OrderState(StrEnum):
    """Where an order stands; the allowed moves are in `console.engine.orders`."""

    INTENT = "INTENT"
    REFUSED = "REFUSED"
    SENDING = "SENDING"
    ACK = "ACK"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    WORKING = "WORKING"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REPLACED = "REPLACED"

    @property
    def is_final(self) -> bool:
        """Nothing more is expected; a late fill may still arrive and count."""
        return self in _FINAL


_FINAL = frozenset(
    {
        OrderState.REFUSED,
        OrderState.REJECTED,
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.EXPIRED,
        OrderState.REPLACED,
    }
)


class TradingState(StrEnum):
    """ACTIVE takes all orders, REDUCING those that reduce, HALTED none; cancels always pass."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


TRAIL_SOURCE = "trail"
"""The source of orders that the engine sends for a trailing leg."""


class TrailPhase(StrEnum):
    """Where a trailing leg stands: what protects the shares that its entry bought."""

    WAITING = "waiting"
    """Nothing is bought yet; the legs wait at the broker for the entry."""
    PARTIAL = "partial"
    """The entry is filled in part: the broker's legs take hold when it is complete or ends."""
    TRAILING = "trailing"
    """The stop rests at the broker, and the engine moves it."""
    EXPOSED = "exposed"
    """The entry has ended, and shares of it have no stop at the broker."""
    ENDED = "ended"


class ConnectionState(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    STALE = "stale"
    LOST = "lost"


class OrderView(Struct, frozen=True, kw_only=True):
    """One order as the engine knows it. `id` is the broker's, None until it answered."""

    client_order_id: str
    id: str | None = None
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass = OrderClass.SIMPLE
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    state: OrderState
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    source: str = "keyboard"
    """Who asked: keyboard, cli, signal:<strategy>, or external (made outside this engine)."""
    reason: str = ""
    """Why it was refused, rejected or is in doubt, in words."""
    parent: str | None = None
    legs: tuple[str, ...] = ()
    replaces: str | None = None
    replaced_by: str | None = None
    created_at: datetime
    updated_at: datetime


def is_superseded(order: OrderView) -> bool:
    """Whether it is a stop of a trailing leg that has moved on, or a move that came too late:
    of interest in its story alone.
    """
    if order.source != TRAIL_SOURCE:
        return False
    late = order.replaces is not None and order.state is OrderState.REJECTED
    return late or order.state is OrderState.REPLACED


class PositionView(Struct, frozen=True, kw_only=True):
    """A holding. `qty` is signed: negative is short. `unrealized_pl_pct` is in percent."""

    symbol: str
    qty: Decimal
    side: str
    avg_entry_price: Decimal
    current_price: Decimal
    market_value: Decimal
    cost_basis: Decimal
    unrealized_pl: Decimal
    unrealized_pl_pct: Decimal
    day_pl: Decimal = Decimal(0)


class AccountView(Struct, frozen=True, kw_only=True):
    """The account's amounts in US dollars; `day_pl_pct` in percent of last close's equity."""

    equity: Decimal
    last_equity: Decimal
    cash: Decimal
    buying_power: Decimal
    long_market_value: Decimal
    short_market_value: Decimal
    day_pl: Decimal
    day_pl_pct: Decimal
    multiplier: Decimal = Decimal(1)
    account_status: str = "ACTIVE"


class SessionView(Struct, frozen=True, kw_only=True):
    """The market's clock: `market_time` at monotonic second `as_of`, running at `speed`."""

    market_time: datetime
    as_of: float
    speed: float
    is_open: bool
    next_open: datetime
    next_close: datetime


class ConnectionView(Struct, frozen=True, kw_only=True):
    """One connection (feed, broker, updates, risk…); times are monotonic seconds."""

    name: str
    state: ConnectionState
    since: float
    last_seen: float | None = None
    latency_ms: float | None = None
    detail: str = ""
    retry_at: float | None = None


class TrailView(Struct, frozen=True, kw_only=True):
    """The trailing leg of one order, named by its `entry`; `side` is the entry's.

    The stop and the take-profit rest at the broker. Before the entry is filled, `stop` and `high`
    are what the order was reckoned with. For a short entry `high` is the lowest price.
    """

    entry: str
    symbol: str
    side: Side
    phase: TrailPhase
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    high: Decimal
    stop: Decimal
    take_profit: Decimal | None = None
    unprotected: Decimal = Decimal(0)
    """Shares bought that no stop at the broker covers at this moment."""
    stop_order: str | None = None
    """Client order id of the stop that rests at the broker."""
    text: str = ""
    """Who manages which leg, and what keeps it from trailing, in words."""


class FillView(Struct, frozen=True, kw_only=True):
    """One execution. `bid` and `ask` stood when its order was sent, where that was known."""

    client_order_id: str
    execution_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None


class RiskView(Struct, frozen=True, kw_only=True):
    """The risk-manager's own reckoning, in dollars; `drawdown_pct` in percent below the peak.

    `var_95` is what a day loses at most, 19 days out of 20.
    """

    equity: Decimal
    peak_equity: Decimal
    drawdown_pct: Decimal
    gross_exposure: Decimal
    net_exposure: Decimal
    var_95: Decimal


class ServiceView(Struct, frozen=True, kw_only=True):
    """One service's health as it says itself."""

    name: str
    status: str
    message: str = ""
    port: int | None = None
    metrics: dict[str, str] = {}


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a check refused: which check, its limit, the value that broke it, and the way out."""

    check: str
    limit: str
    value: str
    message: str
    remedy: str = ""


class RiskReport(Struct, frozen=True, kw_only=True):
    """What the pre-trade check says of an order: the risk line before Enter."""

    allowed: bool
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Refusal, ...] = ()
    checks_run: int = 0
    price: Decimal | None = None
    """The price that the check reckoned with: the limit, or the touch that a market order meets."""
    qty: Decimal | None = None
    notional: Decimal | None = None
    equity_pct: Decimal | None = None
    buying_power_after: Decimal | None = None
    spread_cost: Decimal | None = None
    loss_at_stop: Decimal | None = None
    max_qty: Decimal | None = None


class StoryLine(Struct, frozen=True, kw_only=True):
    """One step in an order's life, from the journal: when (wall clock), what, and in words."""

    seq: int
    at: datetime
    kind: str
    text: str
    market_time: datetime | None = None


class BarHistory(Struct, frozen=True, kw_only=True):
    """One-minute bars that are complete, oldest first; prices as floats, as on the market topic."""

    timestamps: tuple[int, ...]
    """Start of each bar, market time in ns."""
    open: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    close: tuple[float, ...]
    volume: tuple[float, ...]


class NoticeView(Struct, frozen=True, kw_only=True):
    """Something a person should read: how bad (info, warning, error), about what, and when, in
    monotonic seconds.
    """

    severity: str
    topic: str
    text: str
    at: float


class EngineView(Struct, frozen=True, kw_only=True):
    """Everything at one moment; the deltas after it are numbered from `seq` + 1."""

    seq: int
    mode: str
    """DEMO, PAPER or EXCHANGE (another Alpaca-compatible exchange on loopback)."""
    ready: bool
    trading_state: TradingState
    trading_reason: str = ""
    account: AccountView | None = None
    positions: tuple[PositionView, ...] = ()
    orders: tuple[OrderView, ...] = ()
    session: SessionView | None = None
    connections: tuple[ConnectionView, ...] = ()
    services: tuple[ServiceView, ...] = ()
    fills: tuple[FillView, ...] = ()
    """The newest, oldest first; those of before a restart too."""
    risk: RiskView | None = None
    notices: tuple[NoticeView, ...] = ()
    """The newest of each topic, oldest first: who comes late reads them too."""
    equity: tuple[EquityPoint, ...] = ()
    """What the account was worth today, minute by minute, oldest first."""
    trails: tuple[TrailView, ...] = ()
    """Trailing legs that have not ended, and those that ended last."""
