"""What the broker takes of no account and in no market: said before anything is sent."""

from __future__ import annotations

from decimal import Decimal

from console.engine.commands import SubmitOrder
from console.engine.risk import refused
from console.engine.state import OrderClass, OrderType, RiskReport, TimeInForce

_STANDING = (TimeInForce.DAY, TimeInForce.GTC)
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)
_DECIMALS = 9


def against_rules(order: SubmitOrder) -> RiskReport | None:
    """Which rule of the broker an order breaks by itself; None where it keeps them all."""
    return _time(order) or _class(order) or _fraction(order) or _precision(order)


def _time(order: SubmitOrder) -> RiskReport | None:
    word, tif = order.order_class.value, order.time_in_force
    if order.order_class is not OrderClass.SIMPLE and tif not in _STANDING:
        return refused(
            "time_in_force", "day or gtc", tif.value,
            f"the broker takes {word} orders as day or gtc, not {tif.value}",
            "leave the legs out, or write day or gtc",
        )  # fmt: skip
    if order.order_type in _STOPS and tif not in _STANDING:
        kind = order.order_type.value.replace("_", " ")
        return refused(
            "time_in_force", "day or gtc", tif.value,
            f"the broker takes {kind} orders as day or gtc, not {tif.value}",
            "write day or gtc",
        )  # fmt: skip
    limit_order = order.order_type is OrderType.LIMIT and tif in _STANDING
    if order.extended_hours and not limit_order:
        return refused(
            "extended_hours", "limit, day or gtc", f"{order.order_type.value}, {tif.value}",
            "outside the session the broker takes limit orders alone, day or gtc",
            "give it a limit, or leave extended hours out",
        )  # fmt: skip
    return None


def _class(order: SubmitOrder) -> RiskReport | None:
    word = order.order_class.value
    if order.order_class is OrderClass.SIMPLE:
        return None
    if order.extended_hours:
        return refused(
            "extended_hours", "simple orders", word,
            f"the broker takes {word} orders in the regular session alone",
            "leave the legs or extended hours out",
        )  # fmt: skip
    if order.order_type is OrderType.TRAILING_STOP:
        return refused(
            "order_class", "simple", word, f"a trailing stop can't be the entry of a {word} order",
            "leave its legs out",
        )  # fmt: skip
    if order.order_class is OrderClass.OCO and order.order_type is not OrderType.LIMIT:
        return refused(
            "order_class", "limit", order.order_type.value,
            "the broker takes oco orders as limit orders alone", "give it a limit",
        )  # fmt: skip
    return None


def _fraction(order: SubmitOrder) -> RiskReport | None:
    qty = order.qty
    if qty is None or qty == qty.to_integral_value():
        return None
    if qty != round(qty, _DECIMALS):
        return refused(
            "quantity", f"{_DECIMALS} decimals", f"{qty:f}",
            f"a share has no smaller part than {_DECIMALS} decimals", "give fewer decimals",
        )  # fmt: skip
    simple = order.order_class is OrderClass.SIMPLE
    trails = order.order_type is OrderType.TRAILING_STOP
    if order.time_in_force is TimeInForce.DAY and simple and not trails:
        return None
    return refused(
        "quantity", "whole shares", f"{qty:f}",
        "a part of a share is for the day, without legs and without a trail",
        "give whole shares, or a plain order for the day",
    )  # fmt: skip


def _precision(order: SubmitOrder) -> RiskReport | None:
    for name in ("limit_price", "stop_price", "trail_price"):
        price: Decimal | None = getattr(order, name)
        if price is None:
            continue
        places = 2 if price >= 1 else 4
        if price != round(price, places):
            return refused(
                "price", f"{places} decimals", f"{price:f}",
                f"{name.replace('_', ' ')} {price:f} is finer than the broker's tick",
                f"give {round(price, places):f}",
            )  # fmt: skip
    return None
