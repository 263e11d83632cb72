"""An order as a person gives it, checked against the broker's rules and written out for the wire.
Pure.

The rules are Alpaca's for US equities; each refusal is an `OrderInvalid` that names the field, its
value, the rule and the way out.
"""

from __future__ import annotations

import re
import uuid
from decimal import Decimal, InvalidOperation
from typing import Any

from console.broker.models import OrderType

Amount = Decimal | int | float | str
"""What a caller may give; a float counts as the digits that it prints."""

TIMES_IN_FORCE = ("day", "gtc", "opg", "cls", "ioc", "fok")
SIDES = ("buy", "sell")
MAX_ID = 128

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,9}([./][A-Z]{1,4})?")
_ID = re.compile(r"[\x21-\x7e]+")
_WHOLE = Decimal(1)
_LARGEST = Decimal(10) ** 12


class OrderInvalid(ValueError):
    """An order that breaks a rule of the broker's; it was not sent."""

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        self.field = field
        self.value = str(value)
        self.rule = rule
        self.remedy = remedy
        super().__init__(f"{field} = {str(value)[:80]!r}: {rule}; {remedy}")


def exact(field: str, value: Amount | None) -> Decimal | None:
    """`value` as a positive Decimal, None for None. Raises `OrderInvalid`."""
    if value is None:
        return None
    try:
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        remedy = "write it like 10 or 195.06"
        raise OrderInvalid(field, value, "that is no number", remedy) from None
    if not amount.is_finite() or amount <= 0 or amount > _LARGEST:
        raise OrderInvalid(field, value, "it must be above zero", "give a positive amount")
    return amount


def check_symbol(symbol: str) -> str:
    """`symbol` if it can be one. Raises `OrderInvalid`."""
    if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
        rule = "a symbol is capital letters and digits, such as IBM or BRK.B"
        raise OrderInvalid("symbol", symbol, rule, "check the spelling")
    return symbol


def build(
    *,
    symbol: str,
    side: str,
    qty: Amount | None = None,
    notional: Amount | None = None,
    order_type: OrderType | str = OrderType.MARKET,
    time_in_force: str = "day",
    limit_price: Amount | None = None,
    stop_price: Amount | None = None,
    trail_price: Amount | None = None,
    trail_percent: Amount | None = None,
    take_profit: Amount | None = None,
    stop_loss: Amount | None = None,
    stop_loss_limit: Amount | None = None,
    extended_hours: bool = False,
    client_order_id: str | None = None,
) -> dict[str, Any]:
    """The request body of POST /v2/orders, amounts as Decimal. Raises `OrderInvalid`.

    `take_profit` and `stop_loss` make it a bracket (both) or one-triggers-other (one of them).
    """
    check_symbol(symbol)
    kind = _member("order_type", str(order_type), tuple(OrderType))
    _member("side", side, SIDES)
    _member("time_in_force", time_in_force, TIMES_IN_FORCE)
    prices = {
        "limit_price": exact("limit_price", limit_price),
        "stop_price": exact("stop_price", stop_price),
        "trail_price": exact("trail_price", trail_price),
        "trail_percent": exact("trail_percent", trail_percent),
    }
    legs = {
        "take_profit": exact("take_profit", take_profit),
        "stop_loss": exact("stop_loss", stop_loss),
        "stop_loss_limit": exact("stop_loss_limit", stop_loss_limit),
    }
    _check_prices(kind, prices)
    for name, price in (prices | legs).items():
        if name != "trail_percent":
            _check_tick(name, price)
    quantity = _check_size(exact("qty", qty), exact("notional", notional), kind, time_in_force)
    if extended_hours and (kind != OrderType.LIMIT or time_in_force not in ("day", "gtc")):
        raise OrderInvalid(
            "extended_hours",
            extended_hours,
            "outside regular hours only limit orders that are day or gtc are taken",
            "give a limit price, or leave extended_hours out",
        )
    order: dict[str, Any] = {
        "client_order_id": _check_id(client_order_id),
        "symbol": symbol,
        "side": side,
        "type": kind,
        "time_in_force": time_in_force,
        **quantity,
        **{name: price for name, price in prices.items() if price is not None},
    }
    if extended_hours:
        order["extended_hours"] = True
    return order | _bracket(order, legs)


def _member(field: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise OrderInvalid(field, value, "no such word", f"one of {', '.join(allowed)}")
    return str(value)


def _check_id(client_order_id: str | None) -> str:
    if client_order_id is None:
        return uuid.uuid4().hex
    if not _ID.fullmatch(client_order_id) or len(client_order_id) > MAX_ID:
        raise OrderInvalid(
            "client_order_id",
            client_order_id,
            f"at most {MAX_ID} printable ASCII characters without a blank",
            "leave it out to get one",
        )
    return client_order_id


_NEEDS = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit_price",),
    OrderType.STOP: ("stop_price",),
    OrderType.STOP_LIMIT: ("limit_price", "stop_price"),
    OrderType.TRAILING_STOP: (),
}


def _check_prices(kind: str, prices: dict[str, Decimal | None]) -> None:
    needed = _NEEDS[OrderType(kind)]
    for name in needed:
        if prices[name] is None:
            raise OrderInvalid(name, None, f"a {kind} order needs it", f"give a {name}")
    trails = [name for name in ("trail_price", "trail_percent") if prices[name] is not None]
    allowed: tuple[str, ...] = needed
    if kind == OrderType.TRAILING_STOP:
        allowed = ("trail_price", "trail_percent")
        if len(trails) != 1:
            rule = "a trailing stop has exactly one of trail_price and trail_percent"
            raise OrderInvalid("trail", " and ".join(trails) or None, rule, "give one of them")
    for name, price in prices.items():
        if price is not None and name not in allowed:
            raise OrderInvalid(
                name, price, f"a {kind} order has none", "leave it out, or change the order type"
            )
    percent = prices["trail_percent"]
    if percent is not None and percent >= 100:
        raise OrderInvalid("trail_percent", percent, "it must be below 100", "give a percentage")


def _check_tick(name: str, price: Decimal | None) -> None:
    if price is None:
        return
    places = 2 if price >= _WHOLE else 4
    if price != price.quantize(Decimal(1).scaleb(-places)):
        raise OrderInvalid(
            name,
            price,
            f"prices {'from' if places == 2 else 'below'} $1 have {places} decimals at most",
            "round it to the tick",
        )


def _check_size(
    qty: Decimal | None, notional: Decimal | None, kind: str, time_in_force: str
) -> dict[str, Decimal]:
    if (qty is None) == (notional is None):
        raise OrderInvalid(
            "qty",
            qty,
            "an order has either qty or notional",
            "give the shares, or the dollars, not both",
        )
    name, size, places = ("qty", qty, 9) if qty is not None else ("notional", notional, 2)
    assert size is not None
    if size != size.quantize(Decimal(1).scaleb(-places)):
        raise OrderInvalid(name, size, f"{places} decimals at most", "round it")
    fractional = qty is None or qty != qty.to_integral_value()
    if fractional and (time_in_force != "day" or kind == OrderType.TRAILING_STOP):
        raise OrderInvalid(
            name,
            size,
            "parts of a share are taken only as day orders, and not as trailing stops",
            "give whole shares, or time_in_force day",
        )
    return {name: size}


def _bracket(order: dict[str, Any], legs: dict[str, Decimal | None]) -> dict[str, Any]:
    profit, stop, stop_limit = legs["take_profit"], legs["stop_loss"], legs["stop_loss_limit"]
    if stop_limit is not None and stop is None:
        rule = "it goes with a stop_loss"
        raise OrderInvalid("stop_loss_limit", stop_limit, rule, "give the stop_loss too")
    if profit is None and stop is None:
        return {}
    if "qty" not in order or order["qty"] != order["qty"].to_integral_value():
        rule = "orders with legs are for whole shares"
        raise OrderInvalid("qty", order.get("qty"), rule, "give whole shares")
    if order["time_in_force"] not in ("day", "gtc") or order.get("extended_hours"):
        raise OrderInvalid(
            "time_in_force",
            order["time_in_force"],
            "orders with legs are day or gtc, in regular hours",
            "give day or gtc",
        )
    entry = order.get("limit_price") or order.get("stop_price")
    up = 1 if order["side"] == "buy" else -1
    for high, low, names in (
        (profit, stop, "take_profit and stop_loss"),
        (profit, entry, "take_profit and the entry"),
        (entry, stop, "the entry and stop_loss"),
    ):
        if high is not None and low is not None and (high - low) * up <= 0:
            where = "above" if up == 1 else "below"
            rule = f"of {names} the first must lie {where} the second for a {order['side']}"
            raise OrderInvalid("take_profit", high, rule, "check the side and the prices")
    result: dict[str, Any] = {"order_class": "bracket" if profit and stop else "oto"}
    if profit is not None:
        result["take_profit"] = {"limit_price": profit}
    if stop is not None:
        result["stop_loss"] = {"stop_price": stop}
        if stop_limit is not None:
            result["stop_loss"]["limit_price"] = stop_limit
    return result
