"""The orders that belong to a trailing leg: found in the books, and made for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from console.engine.books import Books
from console.engine.orders import new_client_order_id, open_qty
from console.engine.state import TRAIL_SOURCE, OrderClass, OrderState, OrderType, OrderView
from console.engine.trail import Plan, Protect

_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_NOT_THERE = frozenset({OrderState.SENDING, OrderState.UNKNOWN, OrderState.INTENT})


class Family(Struct, frozen=True, kw_only=True):
    """What the books hold of one plan."""

    entry: OrderView | None
    filled: Decimal
    exited: Decimal
    stops: tuple[OrderView, ...]
    """Open stops at work: an entry's own are so once the entry has ended."""
    profit: Decimal | None
    """The price of the open profit leg."""
    lost: OrderView | None
    """The newest stop that ended, where none is open."""
    expired: bool
    """Whether one of the legs ended with its day; the other goes with it."""
    reserved: Decimal
    """Open on the exit's side by orders of others."""
    legs: frozenset[str]
    members: frozenset[str]
    exits: tuple[str, ...]

    @property
    def how_lost(self) -> OrderState | None:
        """How the newest stop ended, where none is open."""
        if self.lost is None:
            return None
        return OrderState.EXPIRED if self.expired else self.lost.state


def subject_of(entry: str) -> str:
    """Where the journal keeps the plan of this entry."""
    return f"trail:{entry}"


def family_of(plan: Plan, books: Books) -> Family:
    """Look them up."""
    chain = list(_lineage(plan.entry, books))
    entries = {order.client_order_id for order in chain}
    entry = chain[-1] if chain else None
    roots = entries | set(plan.sent)
    of_symbol = [order for order in books.orders.values() if order.symbol == plan.symbol]
    found: dict[str, OrderView] = {}
    for order in sorted(of_symbol, key=lambda order: order.created_at):
        name = order.client_order_id
        # Another program's successor of a leg names no parent.
        ours = order.parent in roots or name in plan.sent or order.replaces in found
        if ours and order.side is plan.exit_side:
            found[name] = order
    for name in plan.exits:
        if name not in found and (known := books.find(name)) is not None:
            found[name] = known
    # Until its successor is known to be there, the old one is what protects.
    replaced = {
        order.replaces
        for order in found.values()
        if not order.state.is_final and order.state not in _NOT_THERE
    }
    entry_open = entry is not None and not entry.state.is_final

    def at_work(order: OrderView) -> bool:
        return (
            order.order_type in _STOPS
            and not order.state.is_final
            and order.state not in _NOT_THERE
            and order.client_order_id not in replaced
            and not (entry_open and order.parent in entries)
        )

    stops = tuple(order for order in found.values() if at_work(order))
    return Family(
        entry=entry,
        filled=sum((order.filled_qty for order in chain), Decimal(0)),
        exited=sum((order.filled_qty for order in found.values()), Decimal(0)),
        stops=stops,
        profit=_profit(found),
        lost=None if stops else _lost(found),
        expired=any(order.state is OrderState.EXPIRED for order in found.values()),
        reserved=sum(
            (
                open_qty(order)
                for order in of_symbol
                if order.client_order_id not in found
                and order.side is plan.exit_side
                and order.state is not OrderState.HELD
            ),
            Decimal(0),
        ),
        legs=frozenset(found),
        members=frozenset(entries | set(found)),
        exits=tuple(sorted(name for name, order in found.items() if order.filled_qty > 0)),
    )


def _lineage(name: str, books: Books) -> Iterator[OrderView]:
    """The entry, and what took its place, oldest first."""
    seen: set[str] = set()
    order = books.find(name)
    while order is not None and order.client_order_id not in seen:
        seen.add(order.client_order_id)
        yield order
        order = books.find(order.replaced_by) if order.replaced_by else None


def _profit(found: dict[str, OrderView]) -> Decimal | None:
    prices = (
        order.limit_price
        for order in found.values()
        if order.order_type is OrderType.LIMIT
        and not order.state.is_final
        and order.state not in _NOT_THERE
    )
    return next(prices, None)


def _lost(found: dict[str, OrderView]) -> OrderView | None:
    ended = [
        order
        for order in found.values()
        if order.order_type in _STOPS
        and order.state.is_final
        and order.state is not OrderState.REPLACED
    ]
    return max(ended, key=lambda order: order.updated_at, default=None)


def protecting_order(plan: Plan, action: Protect, now: datetime) -> OrderView:
    """The exit for shares that have no stop: at the market where its price is reached; with a
    take-profit both legs, of which one cancels the other; else the stop alone.
    """
    kind, order_class = OrderType.STOP, OrderClass.SIMPLE
    if action.at_market:
        kind = OrderType.MARKET
    elif plan.take_profit is not None:
        kind, order_class = OrderType.LIMIT, OrderClass.OCO
    return OrderView(
        client_order_id=new_client_order_id(),
        symbol=plan.symbol,
        side=plan.exit_side,
        order_type=kind,
        time_in_force=plan.time_in_force,
        order_class=order_class,
        qty=action.qty,
        limit_price=plan.take_profit if kind is OrderType.LIMIT else None,
        stop_price=plan.stop if kind is OrderType.STOP else None,
        # One with legs of its own has no parent: the comparison asks for legs that it misses.
        parent=None if order_class is OrderClass.OCO else plan.entry,
        state=OrderState.INTENT,
        source=TRAIL_SOURCE,
        created_at=now,
        updated_at=now,
    )


def succeeding_order(old: OrderView, stop: Decimal, now: datetime) -> OrderView:
    """The order that takes the place of `old` with its stop moved."""
    return replace(
        old,
        client_order_id=new_client_order_id(),
        id=None,
        state=OrderState.INTENT,
        qty=None if old.qty is None else old.qty - old.filled_qty,
        stop_price=stop,
        filled_qty=Decimal(0),
        filled_avg_price=None,
        replaces=old.client_order_id,
        replaced_by=None,
        source=TRAIL_SOURCE,
        reason="",
        created_at=now,
        updated_at=now,
    )
