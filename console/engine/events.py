"""What the engine says happened: facts, in the past tense, numbered without a gap.

A reader starts from `Snapshot` and applies the deltas whose `seq` follows; where a number is
missing it asks for a new snapshot (`GetState`). On the bus (port 5558, topic `engine`) every
event is JSON tagged by `type`. `MarketFrame` alone stays in the process: a remote reader
subscribes to the market topic itself.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from console.engine.state import (
    AccountView,
    ConnectionView,
    EngineView,
    OrderView,
    PositionView,
    RiskView,
    ServiceView,
    SessionView,
    Side,
    TradingState,
    TrailView,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from signal_bridge import FeedFrame

    _Floats = NDArray[np.float64]
    Bars = tuple[NDArray[np.int64], _Floats, _Floats, _Floats, _Floats, _Floats]
    """Time (ns), open, high, low, close, volume; oldest first, the bar in progress last."""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all events. `ts` is the wall clock in ns."""

    seq: int = 0
    ts: int = 0


class Snapshot(Event, tag="Snapshot", frozen=True, kw_only=True):
    state: EngineView


class OrderChanged(Event, tag="OrderChanged", frozen=True, kw_only=True):
    order: OrderView


class OrderFilled(Event, tag="OrderFilled", frozen=True, kw_only=True):
    """One execution; the order as a whole follows in `OrderChanged`.

    `bid` and `ask` are the quote that stood when the order was sent, where one was known.
    """

    client_order_id: str
    execution_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None


class PositionsChanged(Event, tag="PositionsChanged", frozen=True, kw_only=True):
    """All positions held now; a symbol that is missing is flat."""

    positions: tuple[PositionView, ...]


class AccountChanged(Event, tag="AccountChanged", frozen=True, kw_only=True):
    account: AccountView


class TradingStateChanged(Event, tag="TradingStateChanged", frozen=True, kw_only=True):
    trading_state: TradingState
    reason: str
    source: str


class SessionChanged(Event, tag="SessionChanged", frozen=True, kw_only=True):
    session: SessionView


class ConnectionChanged(Event, tag="ConnectionChanged", frozen=True, kw_only=True):
    connection: ConnectionView


class ServiceChanged(Event, tag="ServiceChanged", frozen=True, kw_only=True):
    service: ServiceView


class RiskChanged(Event, tag="RiskChanged", frozen=True, kw_only=True):
    """What the risk-manager reckons."""

    risk: RiskView


class TrailChanged(Event, tag="TrailChanged", frozen=True, kw_only=True):
    """A trailing leg: what protects its shares, and where it stands."""

    trail: TrailView


class ReadyChanged(Event, tag="ReadyChanged", frozen=True, kw_only=True):
    ready: bool
    reason: str = ""


class Noticed(Event, tag="Noticed", frozen=True, kw_only=True):
    """Something a person should read. Notices with the same `topic` fold into one."""

    severity: Severity
    topic: str
    text: str


AnyEvent = (
    Snapshot
    | OrderChanged
    | OrderFilled
    | PositionsChanged
    | AccountChanged
    | TradingStateChanged
    | SessionChanged
    | ConnectionChanged
    | ServiceChanged
    | RiskChanged
    | TrailChanged
    | ReadyChanged
    | Noticed
)


class MarketFrame:
    """One frozen frame of the feed, at most thirty a second, unnumbered: the newest is enough."""

    __slots__ = ("feed",)

    def __init__(self, feed: FeedFrame) -> None:
        self.feed = feed


_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def decode_event(payload: bytes) -> AnyEvent:
    """Parse one event. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return _decoder.decode(payload)
