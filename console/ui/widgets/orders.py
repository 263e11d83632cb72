"""The orders pane: what the engine knows of each order; one in doubt is shown in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from console.engine.state import (
    OrderState,
    OrderType,
    OrderView,
    Side,
    TimeInForce,
    TrailPhase,
)
from console.ui import format as text
from console.ui.store import Fact
from console.ui.widgets.grid import Column, Grid
from console.ui.widgets.painted import Span

STATE_INKS = {
    OrderState.REFUSED: "error",
    OrderState.REJECTED: "error",
    OrderState.UNKNOWN: "alarm",
    OrderState.FILLED: "muted",
    OrderState.CANCELED: "muted",
    OrderState.EXPIRED: "muted",
    OrderState.REPLACED: "muted",
    OrderState.PARTIAL: "warning",
    OrderState.INTENT: "muted",
    OrderState.SENDING: "warning",
}


def state_text(order: OrderView) -> str:
    """Its state; where it is partly filled, how far; in doubt with a mark."""
    if order.state is OrderState.PARTIAL and order.qty:
        return f"{text.quantity(order.filled_qty)}/{text.quantity(order.qty)}"
    return "UNKNOWN!" if order.state is OrderState.UNKNOWN else order.state.value


def side_ink(order: OrderView) -> str:
    """The ink of a buy or a sale."""
    return "up" if order.side is Side.BUY else "down"


def size_text(order: OrderView) -> str:
    """How many shares, or for how much money."""
    return (
        text.quantity(order.qty) if order.qty is not None else f"${text.quantity(order.notional)}"
    )


def price_text(order: OrderView) -> str:
    """What it waits for or asks: `182.10`, `stp180.00`, `trl1%`, `mkt`."""
    match order.order_type:
        case OrderType.MARKET:
            filled = order.filled_avg_price
            return text.price(filled) if filled is not None else "mkt"
        case OrderType.LIMIT:
            return text.price(order.limit_price)
        case OrderType.STOP:
            return f"stp{text.price(order.stop_price)}"
        case OrderType.STOP_LIMIT:
            return f"stl{text.price(order.stop_price)}"
        case OrderType.TRAILING_STOP:
            if order.trail_percent is not None:
                return f"trl{text.quantity(order.trail_percent)}%"
            return f"trl{text.price(order.trail_price)}"


class Orders(Grid):
    SHOWS: ClassVar[Fact] = Fact.ORDERS | Fact.LINK | Fact.CONNECTIONS | Fact.CLOCK | Fact.CHOICE
    TITLE: ClassVar[str] = "ORDERS"
    FLEX: ClassVar[str | None] = "state"
    CONNECTIONS: ClassVar[tuple[str, ...]] = ("broker", "updates")
    _followed: str | None = None
    """The selected order if it was seen open while selected: then its replacement is followed."""
    _today = ""

    def holds_still(self) -> bool:
        """While a line is written that may name a row by its number."""
        focused = self.app.focused
        return focused is not None and focused.id == "line"

    def successor(self, key: str) -> str:
        order = self.store.orders.get(key)
        if order is None:
            return key
        if not order.state.is_final:
            self._followed = key
        elif self._followed != key:
            self._followed = None
        elif order.replaced_by in self.store.orders:
            self._followed = order.replaced_by
            return order.replaced_by
        return key

    def show(self, facts: Fact) -> None:
        now = self.store.market_time()
        self._today = "" if now is None else text.day(now)
        super().show(facts)

    def columns(self) -> Sequence[Column]:
        return (
            Column("row", "", 2, sortable=False),
            Column("time", "", 5, priority=3, left=True),
            Column("side", "", 4, left=True),
            Column("qty", "QTY", 5),
            Column("symbol", "SYM", 5, left=True),
            Column("price", "PRICE", 9),
            Column("tif", "TIF", 3, priority=4, left=True),
            Column("class", "CLASS", 7, priority=7, left=True),
            Column("source", "FROM", 12, priority=8, left=True),
            Column("state", "STATE", 8, left=True),
        )

    def keys(self) -> list[str]:
        return [o.client_order_id for o in self.store.sorted_orders()]

    def order_at(self, row: int) -> str | None:
        """The client order id in row `row`, from 1, as it stands on the screen."""
        keys = self._keys or self.keys()
        return keys[row - 1] if 0 < row <= len(keys) else None

    def row_of(self, key: str) -> int | None:
        """The row that `order_at` knows an order by."""
        keys = self._keys or self.keys()
        return keys.index(key) + 1 if key in keys else None

    def empty_text(self) -> str:
        return "no orders: b buys, s sells"

    def status(self) -> str:
        waiting = len(self.store.open_orders())
        words = [
            f"UNPROTECTED {text.quantity(trail.unprotected)} {trail.symbol}"
            for trail in self.store.unprotected()
        ]
        return ", ".join([*words, *([f"{waiting} open"] if waiting else [])])

    def sort_value(self, key: str, column: str) -> float | str:
        order = self.store.orders[key]
        match column:
            case "time":
                return order.created_at.timestamp()
            case "symbol":
                return order.symbol
            case "qty":
                return float(order.qty or order.notional or 0)
            case "price":
                return float(order.limit_price or order.stop_price or order.filled_avg_price or 0)
            case "side":
                return order.side.value
            case "tif":
                return order.time_in_force.value
            case "class":
                return order.order_class.value
            case "source":
                return order.source
        return order.state.value

    def row(self, key: str, columns: Sequence[Column]) -> Sequence[Span]:
        order = self.store.orders[key]
        final = order.state.is_final
        plain = "muted" if final else ""
        number = self._keys.index(key) + 1
        time = text.when(order.created_at, self._today) if order.parent is None else "   └─"
        tif = "" if order.time_in_force is TimeInForce.DAY else order.time_in_force.value
        cells: dict[str, Span] = {
            "row": (str(number) if number < 100 else "", "muted"),
            "time": (time, "muted"),
            "side": (order.side.value, side_ink(order)),
            "qty": (text.narrow(size_text(order), 5), plain),
            "symbol": (order.symbol, plain or "bold"),
            "price": (price_text(order), plain),
            "tif": (tif, "muted"),
            "class": ("" if order.order_class == "simple" else order.order_class.value, "muted"),
            "source": (order.source, "muted"),
            "state": (state_text(order), STATE_INKS.get(order.state, "accent")),
        }
        trail = self.store.trail_of(order)
        if trail is not None and trail.phase is not TrailPhase.ENDED:
            if order.client_order_id == trail.stop_order:
                cells["price"] = (f"tsl{text.price(order.stop_price)}", plain)
            elif order.client_order_id == trail.entry and trail.unprotected > 0:
                cells["state"] = ("NO STOP!", "alarm")
        return [cells[column.key] for column in columns]
