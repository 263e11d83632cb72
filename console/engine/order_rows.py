"""The rows of the journal that tell of orders, and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote as percent_encoded

from msgspec import Struct

from console.engine.orders import same_order
from console.engine.state import OrderState, OrderView


class OrderRow(Struct, frozen=True, kw_only=True):
    """The body of an `order` row."""

    order: OrderView
    text: str = ""
    price: Decimal | None = None
    """What the risk check reckoned with, and what the order reserves at while it is open."""
    bid: Decimal | None = None
    ask: Decimal | None = None
    """The quote that stood when the order was sent."""
    request: dict[str, Any] | None = None
    raw: dict[str, Any] | None = None


class SentAt(Struct, frozen=True):
    """What was known of the market when an order was sent."""

    price: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None


def key_of(kind: str, identity: str) -> str:
    """A journal key; whatever the id holds, the key has no space in it."""
    return f"{kind}:{percent_encoded(identity, safe='-_.:')}"


def is_anothers(known: OrderView, payload: Mapping[str, Any]) -> bool:
    """Whether the broker's order has the id of one of ours that never came to be, or may not have:
    what is in doubt is not settled by an order that differs from it.
    """
    never = known.state.is_final or known.state is OrderState.UNKNOWN
    return known.id is None and never and not same_order(known, payload)


def in_plain_words(update: Mapping[str, Any]) -> str:
    event = str(update.get("event", "?")).replace("_", " ")
    if update.get("qty") is not None and update.get("price") is not None:
        return f"{event}: {update['qty']} at {update['price']}"
    return event
