"""What may be asked of the engine. Each command is answered by exactly one `Ack`.

On the bus (port 5557) a command is JSON tagged by `type`; `id` is the sender's own and comes back
in the answer, so that a repeated command (same `id`) is answered again and not carried out twice.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec import Struct

from console.engine.state import (
    BarHistory,
    EngineView,
    OrderClass,
    OrderType,
    OrderView,
    Refusal,
    RiskReport,
    Side,
    StoryLine,
    TimeInForce,
    TradingState,
    TrailView,
)


def new_id() -> str:
    """A fresh command id."""
    return uuid.uuid4().hex


class Level(Struct, frozen=True, kw_only=True):
    """A price level: absolute, or in percent of the entry price (signed). Exactly one is set.

    A stop loss may trail instead, by an amount (`trail_price`) or by percent (`trail_percent`)
    behind the best price since the entry. The broker's legs don't, so the engine moves them.
    """

    price: Decimal | None = None
    percent: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None

    @property
    def trails(self) -> bool:
        """Whether it follows the price."""
        return self.trail_price is not None or self.trail_percent is not None


class Command(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all commands."""

    id: str = msgspec.field(default_factory=new_id)
    source: str = "keyboard"
    traceparent: str = ""
    """The W3C trace context that an order's trace goes on from; what is none is ignored."""


class SubmitOrder(Command, tag="SubmitOrder", frozen=True, kw_only=True):
    """Place an order, sized by exactly one of `qty`, `notional` and the two fractions.

    `position_fraction` (0–1] sells or covers that part of the position held, `equity_fraction`
    buys for that part of the account's equity; the engine turns both into shares.
    With `preview` nothing is sent: the answer carries the risk report alone.
    """

    symbol: str
    side: Side
    qty: Decimal | None = None
    notional: Decimal | None = None
    position_fraction: Decimal | None = None
    equity_fraction: Decimal | None = None
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    extended_hours: bool = False
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit: Level | None = None
    stop_loss: Level | None = None
    reduce_only: bool = False
    client_order_id: str | None = None
    preview: bool = False


def preview_of(order: SubmitOrder) -> SubmitOrder:
    """The same order as a question. A command of its own: the engine answers an id only once."""
    return msgspec.structs.replace(order, preview=True, id=new_id())


class ReplaceOrder(Command, tag="ReplaceOrder", frozen=True, kw_only=True):
    """Change a working order; what is None stays. The broker makes a new order of it."""

    client_order_id: str
    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: TimeInForce | None = None


class CancelOrder(Command, tag="CancelOrder", frozen=True, kw_only=True):
    client_order_id: str


class CancelAll(Command, tag="CancelAll", frozen=True, kw_only=True):
    """Cancel every open order, or those of one symbol."""

    symbol: str | None = None


class ClosePosition(Command, tag="ClosePosition", frozen=True, kw_only=True):
    """Close a position at the market, whole or by `fraction` (0–1].

    The symbol's open orders are canceled first.
    """

    symbol: str
    fraction: Decimal = Decimal(1)


class SetTradingState(Command, tag="SetTradingState", frozen=True, kw_only=True):
    """Halt, reduce or resume. Resuming is a person's: refused from `signal:` and `risk` sources."""

    state: TradingState
    reason: str = ""


class Flatten(Command, tag="Flatten", frozen=True, kw_only=True):
    """The kill switch: halt, cancel all, close all, verify flat; HALTED stays."""

    reason: str = ""


class SettleOrder(Command, tag="SettleOrder", frozen=True, kw_only=True):
    """A person's word on an order in UNKNOWN: `outcome` is the state that it truly reached."""

    client_order_id: str
    outcome: str


class Reconcile(Command, tag="Reconcile", frozen=True, kw_only=True):
    """Compare with the broker now."""


class GetState(Command, tag="GetState", frozen=True, kw_only=True):
    """Ask for everything: answered with `state`."""


class GetOrder(Command, tag="GetOrder", frozen=True, kw_only=True):
    """Ask for one order and its story, by client order id or the broker's id."""

    order_id: str


class GetBars(Command, tag="GetBars", frozen=True, kw_only=True):
    """Ask for the bars that the engine's feed keeps of a symbol: answered with `bars`.

    A feed that begins later warms up with them.
    """

    symbol: str


class ControlReplay(Command, tag="ControlReplay", frozen=True, kw_only=True):
    """Play the demo's recording otherwise: pause it, change its speed, step it by market seconds.

    What is None stays. Refused where no recording plays.
    """

    paused: bool | None = None
    speed: Decimal | None = None
    step_s: float | None = None


AnyCommand = (
    SubmitOrder
    | ReplaceOrder
    | CancelOrder
    | CancelAll
    | ClosePosition
    | SetTradingState
    | Flatten
    | SettleOrder
    | Reconcile
    | GetState
    | GetOrder
    | GetBars
    | ControlReplay
)


class Outcome(StrEnum):
    """How a command ended: done or under way, refused (nothing sent), or in doubt at the broker."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Ack(Struct, frozen=True, kw_only=True, tag_field="type", tag="Ack"):
    """The answer to the command `id`. For an order, `accepted` means that the broker has it."""

    id: str
    outcome: Outcome
    message: str = ""
    refusals: tuple[Refusal, ...] = ()
    order: OrderView | None = None
    orders: tuple[OrderView, ...] = ()
    risk: RiskReport | None = None
    state: EngineView | None = None
    story: tuple[StoryLine, ...] = ()
    trail: TrailView | None = None
    """The trailing leg that the order has or belongs to."""
    bars: BarHistory | None = None
    seq: int = 0
    """The engine's last event number when it answered."""
    ts: int = 0
    """Wall clock, ns."""


UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding may raise: no JSON or wrong fields, bytes that are no UTF-8, nesting too deep."""

_decoder: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_encoder = msgspec.json.Encoder()


def decode_command(payload: bytes) -> AnyCommand:
    """Parse one command.

    Raises one of `UNREADABLE`: for a field that is wrong `msgspec.ValidationError`, by its name.
    """
    return _decoder.decode(payload)


def encode(message: Struct) -> bytes:
    """A command or an ack as JSON."""
    return _encoder.encode(message)
