"""The life of an order: one table of moves, and how the broker's words become moves in it.

    INTENT ─ refused by a check ─▶ REFUSED
      │
    SENDING ── no clear answer ──▶ UNKNOWN ── found, or settled by a person ─▶ any state below
      │
     ACK ─▶ HELD ─▶ WORKING ─▶ PARTIAL ─▶ FILLED
      └────────┴───────┴──────────┴─▶ CANCELED · EXPIRED · REPLACED · REJECTED

`MOVES` is the whole truth of it. Facts may arrive late, twice or out of order: a move that isn't in
the table is no move (the order stays where it is), but a fill always counts, even after the end.
An end that the broker never told (not sent, settled by a person) gives way to what it tells later.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec.structs import replace

from console.engine.clocks import parse_time
from console.engine.state import OrderClass, OrderState, OrderType, OrderView, Side, TimeInForce

S = OrderState

_ENDS = {S.FILLED, S.CANCELED, S.EXPIRED, S.REPLACED, S.REJECTED}

MOVES: Mapping[OrderState, frozenset[OrderState]] = {
    S.INTENT: frozenset({S.REFUSED, S.SENDING}),
    S.REFUSED: frozenset(),
    # REFUSED after SENDING: its row could not be written, so it never left.
    S.SENDING: frozenset({S.REFUSED, S.UNKNOWN, S.ACK, S.HELD, S.WORKING, S.PARTIAL} | _ENDS),
    S.UNKNOWN: frozenset({S.ACK, S.HELD, S.WORKING, S.PARTIAL} | _ENDS),
    S.ACK: frozenset({S.HELD, S.WORKING, S.PARTIAL} | _ENDS),
    S.HELD: frozenset({S.WORKING, S.PARTIAL} | _ENDS),
    S.WORKING: frozenset({S.PARTIAL} | _ENDS),
    S.PARTIAL: frozenset(_ENDS),
    # What ended may still turn out to have been filled: the fill crossed the end on its way.
    S.CANCELED: frozenset({S.FILLED}),
    S.EXPIRED: frozenset({S.FILLED}),
    S.REPLACED: frozenset({S.FILLED}),
    S.REJECTED: frozenset({S.FILLED}),
    S.FILLED: frozenset(),
}
"""From each state, the states that an order may move to."""

RANK: Mapping[OrderState, int] = {
    S.INTENT: 0,
    S.SENDING: 1,
    S.UNKNOWN: 2,
    S.ACK: 3,
    S.HELD: 4,
    S.WORKING: 5,
    S.PARTIAL: 6,
    S.CANCELED: 7,
    S.EXPIRED: 7,
    S.REPLACED: 7,
    S.REJECTED: 7,
    S.REFUSED: 8,
    S.FILLED: 8,
}
"""How far an order has come. Every move in `MOVES` raises it, so no order ever goes back."""

STATUSES: Mapping[str, OrderState | None] = {
    "accepted": S.ACK,
    "pending_new": S.ACK,
    "accepted_for_bidding": S.ACK,
    "held": S.HELD,
    "new": S.WORKING,
    "pending_cancel": S.WORKING,
    "pending_replace": S.WORKING,
    "stopped": S.WORKING,
    "suspended": S.WORKING,
    "done_for_day": S.WORKING,
    "calculated": S.WORKING,
    "partially_filled": S.PARTIAL,
    "filled": S.FILLED,
    "canceled": S.CANCELED,
    "expired": S.EXPIRED,
    "replaced": S.REPLACED,
    "rejected": S.REJECTED,
}
"""The broker's word for each state; one that isn't here says nothing about the state."""

SETTLEMENTS = frozenset({S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED})
"""What a person may settle an order in doubt to."""

MAX_ID_LENGTH = 128


def new_client_order_id() -> str:
    """An id that no order had before."""
    return f"tc-{uuid.uuid4().hex}"


class OrderPayloadError(ValueError):
    """An order of the broker's that lacks what an order must have."""


def may_move(order: OrderState, to: OrderState) -> bool:
    return to in MOVES[order]


def decimal_of(value: Any) -> Decimal | None:
    """A number of the broker's: text, int or Decimal. None for null, empty or no finite number."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def moved(order: OrderView, to: OrderState, *, at: datetime, reason: str = "") -> OrderView:
    """`order` in the state `to`, or unchanged when the table has no such move."""
    if not may_move(order.state, to):
        return order
    return replace(order, state=to, updated_at=at, reason=reason)


def lacks_legs(order: OrderView) -> bool:
    """Whether the broker has legs of it that nobody here has been told of."""
    return (
        order.order_class is not OrderClass.SIMPLE
        and order.parent is None
        and not order.legs
        and order.id is not None
        and order.state not in (OrderState.REJECTED, OrderState.REFUSED)
    )


def open_qty(order: OrderView) -> Decimal:
    """What may still be filled; of an order by notional, nothing is known before it is filled."""
    if order.state.is_final or order.qty is None:
        return Decimal(0)
    return max(Decimal(0), order.qty - order.filled_qty)


def apply_payload(order: OrderView, payload: Mapping[str, Any], *, at: datetime) -> OrderView:
    """What `order` is after the broker described it so, at market time `at`.

    The filled quantity only grows, whatever the state. An order that has ended with less than its
    fills is FILLED once they are all there. Returns `order` itself where nothing is new.
    """
    filled = decimal_of(payload.get("filled_qty")) or Decimal(0)
    average = decimal_of(payload.get("filled_avg_price"))
    told = STATUSES.get(str(payload.get("status", "")))
    known = _description(order, payload)
    if filled > order.filled_qty:
        known["filled_qty"] = filled
        known["filled_avg_price"] = average
    elif average is not None and order.filled_avg_price is None and filled == order.filled_qty:
        known["filled_avg_price"] = average
    now_filled = max(filled, order.filled_qty)
    if told is OrderState.WORKING and now_filled > 0:
        told = OrderState.PARTIAL
    qty = known.get("qty", order.qty)
    if qty is not None and 0 < qty <= now_filled:
        told = OrderState.FILLED
    if told is not None and may_move(_state_before(order, known), told):
        known["state"] = told
        rejected = told is OrderState.REJECTED
        why = payload.get("reject_reason") or "the broker rejected it"
        known["reason"] = str(why) if rejected else ""
    changes = {name: value for name, value in known.items() if getattr(order, name) != value}
    return replace(order, updated_at=at, **changes) if changes else order


def _state_before(order: OrderView, known: Mapping[str, Any]) -> OrderState:
    """Where the broker's word finds the order. One that ended here without the broker ever having
    named it ended by our word, or a person's: the broker knows better, so it was in doubt.
    """
    if order.state.is_final and order.id is None and "id" in known:
        return OrderState.UNKNOWN
    return order.state


def _description(order: OrderView, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the broker says of the order itself, for fields that it knows better than we do."""
    known: dict[str, Any] = {}
    if order.id is None and payload.get("id"):
        known["id"] = str(payload["id"])
    for name in ("qty", "limit_price", "stop_price", "trail_price", "trail_percent"):
        value = decimal_of(payload.get(name))
        if value is not None:
            known[name] = value
    for name in ("replaces", "replaced_by"):
        if payload.get(name):
            known[name] = str(payload[name])
    return known


def order_from_payload(
    payload: Mapping[str, Any], *, at: datetime, source: str = "external", parent: str | None = None
) -> OrderView:
    """An order that was made elsewhere, as the broker describes it.

    Raises:
        OrderPayloadError: it has no id, symbol or side.
    """
    identity, symbol = payload.get("id"), payload.get("symbol")
    if not identity or not symbol:
        raise OrderPayloadError(f"an order without {'a symbol' if identity else 'an id'}")
    try:
        blank = OrderView(
            client_order_id=str(payload.get("client_order_id") or identity),
            id=str(identity),
            symbol=str(symbol),
            side=Side(str(payload.get("side"))),
            order_type=OrderType(str(payload.get("order_type") or payload.get("type"))),
            time_in_force=TimeInForce(str(payload.get("time_in_force"))),
            order_class=OrderClass(str(payload.get("order_class") or "simple")),
            notional=decimal_of(payload.get("notional")),
            extended_hours=bool(payload.get("extended_hours")),
            state=OrderState.SENDING,
            source=source,
            parent=parent,
            created_at=_time_of(payload.get("submitted_at") or payload.get("created_at")) or at,
            updated_at=at,
        )
    except ValueError as error:
        raise OrderPayloadError(f"order {identity}: {error}") from error
    order = apply_payload(blank, payload, at=at)
    return order if order.state is not OrderState.SENDING else replace(order, state=OrderState.ACK)


def _time_of(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return parse_time(text)
    except ValueError:
        return None


def event_time(payload: Mapping[str, Any]) -> datetime | None:
    """When a trade update happened, by the market's clock."""
    return _time_of(payload.get("timestamp") or payload.get("at"))


def same_order(order: OrderView, payload: Mapping[str, Any]) -> bool:
    """Whether the broker's order under our id is the one that we meant to send.

    One that replaces another is for what that one has not filled, so its size says nothing. Where
    a trailing stop stands is the broker's to say; what is ours is how far behind it trails.
    """
    same = (
        payload.get("client_order_id") == order.client_order_id
        and payload.get("symbol") == order.symbol
        and payload.get("side") == order.side.value
        and (payload.get("order_type") or payload.get("type")) == order.order_type.value
    )
    if not same or order.replaces is not None:
        return same
    if order.order_type is OrderType.TRAILING_STOP:
        given = [n for n in ("trail_price", "trail_percent") if getattr(order, n) is not None]
    else:
        given = ["stop_price"]
    return all(
        decimal_of(payload.get(name)) == getattr(order, name)
        for name in ("qty", "limit_price", *given)
    )


def order_request(
    order: OrderView, take_profit: Decimal | None = None, stop_loss: Decimal | None = None
) -> dict[str, Any]:
    """The body of the one POST: numbers as text, fields that aren't set left out."""
    request: dict[str, Any] = {
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.order_type.value,
        "time_in_force": order.time_in_force.value,
    }
    for name in ("qty", "notional", "limit_price", "stop_price", "trail_price", "trail_percent"):
        value: Decimal | None = getattr(order, name)
        if value is not None:
            request[name] = f"{value:f}"
    if order.extended_hours:
        request["extended_hours"] = True
    if order.order_class is not OrderClass.SIMPLE:
        request["order_class"] = order.order_class.value
    if take_profit is not None:
        request["take_profit"] = {"limit_price": f"{take_profit:f}"}
    if stop_loss is not None:
        request["stop_loss"] = {"stop_price": f"{stop_loss:f}"}
    return request


def in_words(order: OrderView) -> str:
    """`buy 100 IBM @ 182.50`, for people."""
    size = f"{order.qty.normalize():f}" if order.qty is not None else f"${order.notional}"
    price = f" @ {order.limit_price}" if order.limit_price is not None else ""
    stop = f" if {order.stop_price}" if order.stop_price is not None else ""
    return f"{order.side.value} {size} {order.symbol}{stop}{price}"
