"""From what a person asks for to what can be sent: shares, levels, and what is no order at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from console.engine.broker_rules import against_rules
from console.engine.commands import Level, ReplaceOrder, SubmitOrder
from console.engine.grammar import MAX_SYMBOL_LENGTH
from console.engine.orders import MAX_ID_LENGTH
from console.engine.risk import refused
from console.engine.state import OrderClass, OrderType, RiskReport, Side

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*([./][A-Z0-9]+)?")
_ID = re.compile(r"[!-~]+")
_SHARE = Decimal(1)
_SMALLEST = Decimal("0.000000001")
_LARGEST = Decimal(10) ** 12

_PRICES = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit_price",),
    OrderType.STOP: ("stop_price",),
    OrderType.STOP_LIMIT: ("limit_price", "stop_price"),
}


def malformed(order: SubmitOrder) -> RiskReport | None:
    """Why this can't be an order whatever the market and the account are like; None if it can."""
    if len(order.symbol) > MAX_SYMBOL_LENGTH or not _SYMBOL.fullmatch(order.symbol):
        return refused(
            "symbol", "letters and digits", ascii(order.symbol)[:40],
            f"{ascii(order.symbol)[:40]} is no symbol", "write a symbol such as IBM or BRK.B",
        )  # fmt: skip
    sizes = [order.qty, order.notional, order.position_fraction, order.equity_fraction]
    given = [size for size in sizes if size is not None]
    if len(given) != 1:
        return refused(
            "size", "exactly one", str(len(given)),
            "an order has exactly one of qty, notional, position_fraction and equity_fraction",
            "give one of them",
        )  # fmt: skip
    if not _is_sane(given[0]):
        return refused(
            "quantity", "> 0", str(given[0]), f"a size of {given[0]} is no size",
            "give one above zero",
        )  # fmt: skip
    if order.position_fraction is not None and order.position_fraction > 1:
        return refused(
            "size", "1", str(order.position_fraction),
            "more than the whole position can't be closed", "give a part above 0 and up to 1",
        )  # fmt: skip
    return _bad_prices(order) or _bad_id(order.client_order_id) or against_rules(order)


def _bad_prices(order: SubmitOrder) -> RiskReport | None:
    wanted = _PRICES.get(order.order_type)
    for name in ("limit_price", "stop_price", "trail_price", "trail_percent"):
        price: Decimal | None = getattr(order, name)
        if price is not None and not _is_sane(price):
            return _no_price(name, price)
        is_trail = name.startswith("trail")
        needed = wanted is not None and name in wanted
        if wanted is not None and (price is not None) != needed:
            return refused(
                "price", f"{order.order_type.value} orders", name,
                f"a {order.order_type.value} order {'needs a' if needed else 'takes no'} {name}",
                f"{'give' if needed else 'leave out'} {name}",
            )  # fmt: skip
        if wanted is None and not is_trail and price is not None:
            return refused(
                "price", "trailing stops", name, f"a trailing stop takes no {name}",
                f"leave out {name}",
            )  # fmt: skip
    if wanted is None and (order.trail_price is None) == (order.trail_percent is None):
        return refused(
            "price", "trailing stops", "trail",
            "a trailing stop has exactly one of trail_price and trail_percent", "give one of them",
        )  # fmt: skip
    for name, level in (("take_profit", order.take_profit), ("stop_loss", order.stop_loss)):
        if level is not None and level.price is not None and not _is_sane(level.price):
            return _no_price(name, level.price)
        if level is not None and level.percent is not None and not _is_sane(abs(level.percent)):
            return _no_price(name, level.percent)
        if level is not None and level.trails and (problem := _bad_trail(name, level)) is not None:
            return problem
    levels = (order.take_profit is not None) + (order.stop_loss is not None)
    need = {OrderClass.SIMPLE: 0, OrderClass.OTO: 1, OrderClass.BRACKET: 2, OrderClass.OCO: 2}
    if levels != need[order.order_class]:
        return refused(
            "levels", str(need[order.order_class]), str(levels),
            f"a {order.order_class.value} order has {need[order.order_class]} of take_profit and "
            "stop_loss", "give the levels that its class needs",
        )  # fmt: skip
    return None


def _bad_trail(name: str, level: Level) -> RiskReport | None:
    given = [level.price, level.percent, level.trail_price, level.trail_percent]
    if name == "take_profit":
        return refused(
            "levels", "a stop that trails", name, "a take profit can't trail", "give it a price"
        )
    if sum(value is not None for value in given) != 1:
        return refused(
            "levels", "exactly one", "several",
            "a level has one of price, percent, trail_price and trail_percent", "give one of them",
        )  # fmt: skip
    distance = level.trail_price if level.trail_percent is None else level.trail_percent
    if distance is None or not _is_sane(distance):
        return _no_price("trail", distance or Decimal(0))
    if level.trail_percent is not None and level.trail_percent >= 100:
        return refused(
            "levels", "< 100 %", str(level.trail_percent),
            f"a trail of {level.trail_percent} % reaches no price above zero", "give a smaller one",
        )  # fmt: skip
    return None


def _is_sane(number: Decimal) -> bool:
    """Whether it is above zero and of a magnitude that anything can be reckoned with."""
    return number.is_finite() and _SMALLEST <= number <= _LARGEST


def _no_price(name: str, price: Decimal) -> RiskReport:
    return refused("price", "> 0", str(price), f"{name} {price} is no price", "give one above zero")


def malformed_change(change: ReplaceOrder) -> RiskReport | None:
    """Why no order can be changed so; None if one can."""
    numbers: Iterable[tuple[str, Decimal | None]] = (
        ("qty", change.qty), ("limit_price", change.limit_price),
        ("stop_price", change.stop_price), ("trail", change.trail),
    )  # fmt: skip
    for name, number in numbers:
        if number is not None and not _is_sane(number):
            return refused(
                "quantity" if name == "qty" else "price", "> 0", str(number),
                f"{name} {number} is no number to change it to", "give one above zero",
            )  # fmt: skip
    return None


def _bad_id(client_order_id: str | None) -> RiskReport | None:
    if client_order_id is None:
        return None
    if len(client_order_id) > MAX_ID_LENGTH or not _ID.fullmatch(client_order_id):
        return refused(
            "client_order_id", f"{MAX_ID_LENGTH} printable characters",
            ascii(client_order_id)[:40], "this client_order_id can't be used",
            "leave it out: the engine makes one",
        )  # fmt: skip
    return None


def reference_price(order: SubmitOrder, touch: tuple[Decimal, Decimal] | None) -> Decimal | None:
    """What a share of it will cost about: the limit, else the trigger, else the touch it meets."""
    if order.limit_price is not None:
        return order.limit_price
    if order.stop_price is not None:
        return order.stop_price
    if touch is None:
        return None
    return touch[1] if order.side is Side.BUY else touch[0]


def shares_of(
    order: SubmitOrder, price: Decimal | None, held: Decimal, equity: Decimal | None
) -> Decimal | RiskReport:
    """The quantity: whole shares, never more than asked for; all of a position to its last part.

    `held` is the signed position, `equity` the account's.
    """
    if order.qty is not None:
        return order.qty
    if order.position_fraction is not None:
        against = held if order.side is Side.SELL else -held
        if against <= 0:
            which = "long" if order.side is Side.SELL else "short"
            return refused(
                "position", f"a {which} position", str(held),
                f"there is no {which} position in {order.symbol} to {order.side.value} a part of",
                "give a number of shares",
            )  # fmt: skip
        if order.position_fraction == 1:
            return against
        part = against * order.position_fraction
        # A third is no decimal: what lies within rounding of a whole share is that share.
        near = part.quantize(_SMALLEST, rounding=ROUND_HALF_EVEN)
        return _whole(near, order, f"{held.normalize():f} held")
    if price is None:
        return refused(
            "quote", "a price", "none", f"no price of {order.symbol} is known to reckon with",
            "give a number of shares, or a limit price",
        )  # fmt: skip
    if order.notional is not None:
        return _whole(order.notional / price, order, f"${order.notional} at {price}")
    if equity is None:
        return refused(
            "account", "known", "unknown", "the account's equity is not known yet",
            "wait until the engine is ready",
        )  # fmt: skip
    amount = equity * (order.equity_fraction or Decimal(0))
    return _whole(amount / price, order, f"${amount:.2f} at {price}")


def _whole(shares: Decimal, order: SubmitOrder, reckoning: str) -> Decimal | RiskReport:
    whole = shares.quantize(_SHARE, rounding=ROUND_DOWN)
    if whole > 0:
        return whole
    return refused(
        "quantity", "1 share", f"{shares:.4f}",
        f"{reckoning} comes to less than one share of {order.symbol}", "ask for more",
    )  # fmt: skip


def tick_rounded(price: Decimal) -> Decimal:
    """To the broker's precision: two decimals from a dollar on, four below."""
    tick = Decimal("0.01") if price >= 1 else Decimal("0.0001")
    return price.quantize(tick, rounding=ROUND_HALF_EVEN)


def level_price(level: Level | None, entry: Decimal | None) -> Decimal | None:
    """A level as a price: as given, or in percent of the entry.

    Raises:
        ValueError: neither or both are given, or there is no entry to reckon from.
    """
    if level is None:
        return None
    if (level.price is None) == (level.percent is None):
        raise ValueError("a level is either a price or a percentage of the entry")
    if level.price is not None:
        return level.price
    if entry is None or level.percent is None:
        raise ValueError("a level in percent needs a quote or a limit price to reckon from")
    price = tick_rounded(entry * (1 + level.percent / 100))
    if price <= 0:
        raise ValueError(f"{level.percent}% of {entry} is no price above zero")
    return price
