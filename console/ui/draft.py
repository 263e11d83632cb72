"""An order being written: the fields of the ticket, which are the words of a line.

The ticket and the command line are two views of one `Draft`: `line()` writes it in the engine's
grammar, `from_order()` reads it back, and the grammar alone says whether it is an order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, TypeVar

from console.engine.commands import Level, SubmitOrder
from console.engine.state import OrderType, Side, TimeInForce

_T = TypeVar("_T")
FIELDS: dict[OrderType, tuple[str, ...]] = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit",),
    OrderType.STOP: ("stop",),
    OrderType.STOP_LIMIT: ("stop", "limit"),
    OrderType.TRAILING_STOP: ("trail",),
}
"""The prices that each type asks for."""
TYPES = tuple(FIELDS)
TIFS = tuple(TimeInForce)
PEGS = {"b": "bid", "m": "mid", "a": "ask"}
LEVEL_STEP = Decimal("0.25")
"""Percent, by which a nudge moves profit and stop levels."""


def number(text: str) -> Decimal | None:
    """A plain number, or None."""
    try:
        value = Decimal(text.replace("_", "").replace(",", ""))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def tick(price: Decimal) -> Decimal:
    """The smallest step of a price: a cent from a dollar upwards."""
    return Decimal("0.01") if price >= 1 else Decimal("0.0001")


def plain(value: Decimal) -> str:
    """A number as the grammar writes it."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Draft:
    """The ticket's fields as text, as typed; empty where nothing was."""

    side: Side = Side.BUY
    symbol: str = ""
    size: str = ""
    order_type: OrderType = OrderType.MARKET
    limit: str = ""
    stop: str = ""
    trail: str = ""
    tif: TimeInForce = TimeInForce.DAY
    profit: str = ""
    loss: str = ""
    """A level; `t1%` or `t0.50` is one that trails."""
    flags: tuple[str, ...] = ()
    """`ext` and `reduce`, which have no field of their own."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of this type of order, in the order that Tab takes."""
        return ("symbol", "size", "order_type", *FIELDS[self.order_type], "tif", "profit", "loss")

    def missing(self) -> str | None:
        """The first field without which it can't be an order."""
        needed = ("symbol", "size", *FIELDS[self.order_type])
        return next((name for name in needed if not getattr(self, name)), None)

    def line(self) -> str:
        """The command line that this is, complete or not."""
        words = [self.side.value, self.size, self.symbol]
        if "stop" in FIELDS[self.order_type] and self.stop:
            words += ["if", ">=" if self.side is Side.BUY else "<=", self.stop]
        if "limit" in FIELDS[self.order_type] and self.limit:
            words += ["@", self.limit]
        if "trail" in FIELDS[self.order_type] and self.trail:
            words += ["trail", self.trail]
        trails = self.loss.startswith("t")
        if trails and not self.profit and self.order_type is OrderType.MARKET:
            words += ["@", "market"]
        words += self._level("tp", self.profit, up=self.side is Side.BUY)
        if trails:
            words += ["trail", self.loss.removeprefix("t").strip()]
        else:
            words += self._level("sl", self.loss, up=self.side is Side.SELL)
        if self.tif is not TimeInForce.DAY:
            words.append(self.tif.value)
        return " ".join(word for word in (*words, *self.flags) if word)

    @staticmethod
    def _level(word: str, text: str, *, up: bool) -> list[str]:
        if not text:
            return []
        if text.endswith("%"):
            return [("+" if up else "-") + text.lstrip("+-")]
        return [word, text]

    @classmethod
    def from_order(cls, order: SubmitOrder) -> Draft:
        """The ticket that stands for `order`."""
        from console.engine.grammar import format_command

        size = format_command(order).removeprefix("preview ").split()[1]
        flags = ("ext",) * order.extended_hours + ("reduce",) * order.reduce_only
        trail = order.trail_percent
        return cls(
            side=order.side,
            symbol=order.symbol,
            size=size,
            order_type=order.order_type,
            limit=plain(order.limit_price) if order.limit_price is not None else "",
            stop=plain(order.stop_price) if order.stop_price is not None else "",
            trail=f"{plain(trail)}%"
            if trail is not None
            else plain(order.trail_price)
            if order.trail_price is not None
            else "",
            tif=order.time_in_force,
            profit=_level_text(order.take_profit),
            loss=_level_text(order.stop_loss),
            flags=flags,
        )

    # -- nudges ------------------------------------------------------------------------------

    def nudged(
        self,
        field: str,
        steps: int,
        *,
        price: Decimal | None,
        symbols: tuple[str, ...],
        lot: int = 1,
    ) -> Draft:
        """`field` moved by `steps`: ticks of a price, lots of a size, choices of a list.

        `price` is where an empty price starts from: the quote's middle, None where unknown.
        """
        changed: dict[str, Any]
        match field:
            case "symbol":
                return (
                    replace(self, symbol=_cycle(symbols, self.symbol, steps)) if symbols else self
                )
            case "order_type":
                return replace(self, order_type=_cycle(TYPES, self.order_type, steps))
            case "tif":
                return replace(self, tif=_cycle(TIFS, self.tif, steps))
            case "size":
                return replace(self, size=_nudged_size(self.size, steps, lot))
            case "profit" | "loss":
                changed = {field: _nudged_level(getattr(self, field), steps)}
                return replace(self, **changed)
            case "trail":
                return replace(self, trail=_nudged_level(self.trail, steps))
        changed = {field: _nudged_price(getattr(self, field), steps, price)}
        return replace(self, **changed)


def _level_text(level: Level | None) -> str:
    if level is None:
        return ""
    if level.trail_percent is not None:
        return f"t{plain(level.trail_percent)}%"
    if level.trail_price is not None:
        return f"t{plain(level.trail_price)}"
    if level.percent is not None:
        return f"{plain(abs(level.percent))}%"
    return plain(level.price) if level.price is not None else ""


def _cycle(choices: tuple[_T, ...], current: _T, steps: int) -> _T:
    at = choices.index(current) if current in choices else -1 if steps > 0 else 0
    return choices[(at + (1 if steps > 0 else -1)) % len(choices)]


def _nudged_size(size: str, steps: int, lot: int) -> str:
    head = "$" if size.startswith("$") else ""
    tail = "%" if size.endswith("%") else ""
    value = number(size.strip("$%")) if size else Decimal(0)
    if value is None:
        return size
    step = Decimal(100) if head else Decimal(1) if tail else Decimal(lot)
    least = min(step, value) if value > 0 else step
    return f"{head}{plain(max(least, value + steps * step))}{tail}"


def _nudged_level(text: str, steps: int) -> str:
    if text.startswith("t"):
        moved = _nudged_level(text.removeprefix("t"), steps)
        return f"t{moved}" if moved else ""
    if text and not text.endswith("%"):
        return _nudged_price(text, steps, None)
    value = number(text.strip("%+-")) or Decimal(0)
    percent = value + steps * LEVEL_STEP
    return f"{plain(percent)}%" if percent > 0 else ""


def _nudged_price(text: str, steps: int, start: Decimal | None) -> str:
    for peg in PEGS.values():
        if text.startswith(peg):
            offset = (number(text[3:]) if text[3:] else Decimal(0)) or Decimal(0)
            offset += steps * tick(start or Decimal(1))
            return peg + (f"{offset:+f}" if offset else "")
    value = number(text) if text else start
    if value is None or value <= 0:
        return text
    step = tick(value)
    moved = (value / step).to_integral_value() * step + (steps * step if text else 0)
    return plain_price(max(step, moved))


def plain_price(value: Decimal) -> str:
    """A price for a field: cents always, finer where it is."""
    step = tick(value)
    return f"{value.quantize(step):f}"


def shares_at_risk(equity: Decimal, risk_pct: Decimal, entry: Decimal, stop: Decimal) -> Decimal:
    """How many whole shares lose `risk_pct` percent of `equity` from `entry` to `stop`."""
    distance = abs(entry - stop)
    if distance == 0:
        return Decimal(0)
    return (equity * risk_pct / 100 / distance).to_integral_value(ROUND_FLOOR)
