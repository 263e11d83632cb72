"""The broker's rules for an order, each with a case that it refuses."""

from decimal import Decimal
from typing import Any

import pytest

from console.broker.models import OrderType
from console.broker.orders import OrderInvalid, build

BASE: dict[str, Any] = {"symbol": "IBM", "qty": 10, "side": "buy", "client_order_id": "c-1"}
LIMIT = {"order_type": "limit", "limit_price": "195.06"}


def test_a_float_counts_as_the_digits_that_it_prints() -> None:
    order = build(**BASE | {"qty": 0.1, "order_type": OrderType.LIMIT, "limit_price": 195.1})
    assert order == {
        "client_order_id": "c-1",
        "symbol": "IBM",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "qty": Decimal("0.1"),
        "limit_price": Decimal("195.1"),
    }


def test_every_order_has_an_id_of_its_own() -> None:
    first, second = (build(symbol="IBM", qty=1, side="buy") for _ in range(2))
    assert first["client_order_id"] != second["client_order_id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": None, "notional": "100.50"},
        {"qty": "0.123456789"},
        LIMIT | {"time_in_force": "gtc", "extended_hours": True},
        {"order_type": "stop", "stop_price": 200},
        {"order_type": "stop_limit", "stop_price": 200, "limit_price": 201},
        {"order_type": "trailing_stop", "trail_percent": "1.5", "side": "sell"},
        {"order_type": "trailing_stop", "trail_price": "0.05"},
        LIMIT | {"limit_price": "0.1234"},
        {"symbol": "BRK.B"},
        {"take_profit": 200, "stop_loss": 190},
        LIMIT | {"take_profit": 200, "stop_loss": 190, "stop_loss_limit": 189},
        LIMIT | {"side": "sell", "take_profit": 190, "stop_loss": 200},
        {"stop_loss": 190},
    ],
)
def test_what_the_broker_takes_passes(changes: dict[str, Any]) -> None:
    build(**BASE | changes)


def test_legs_make_a_bracket_or_an_oto() -> None:
    bracket = build(**BASE, take_profit=200, stop_loss=190, stop_loss_limit=189)
    assert bracket["order_class"] == "bracket"
    assert bracket["take_profit"] == {"limit_price": 200}
    assert bracket["stop_loss"] == {"stop_price": 190, "limit_price": 189}
    assert build(**BASE, stop_loss=190)["order_class"] == "oto"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"symbol": "ibm"}, "symbol"),
        ({"symbol": "IBM\u202e"}, "symbol"),
        ({"symbol": "[red]X"}, "symbol"),
        ({"symbol": ""}, "symbol"),
        ({"side": "hold"}, "side"),
        ({"order_type": "iceberg"}, "order_type"),
        ({"time_in_force": "gtd"}, "time_in_force"),
        ({"qty": 0}, "qty"),
        ({"qty": -1}, "qty"),
        ({"qty": "ten"}, "qty"),
        ({"qty": True}, "qty"),
        ({"qty": float("nan")}, "qty"),
        ({"qty": float("inf")}, "qty"),
        ({"qty": "1e30"}, "qty"),
        ({"qty": "0.1234567891"}, "qty"),
        ({"qty": None}, "qty"),
        ({"notional": 100}, "qty"),
        ({"qty": None, "notional": "100.505"}, "notional"),
        ({"qty": "1.5", "time_in_force": "gtc"}, "qty"),
        ({"qty": "1.5", "order_type": "trailing_stop", "trail_price": 1}, "qty"),
        ({"order_type": "limit"}, "limit_price"),
        ({"limit_price": 195}, "limit_price"),
        ({"order_type": "stop"}, "stop_price"),
        ({"order_type": "stop_limit", "stop_price": 1}, "limit_price"),
        ({"order_type": "trailing_stop"}, "trail"),
        ({"order_type": "trailing_stop", "trail_price": 1, "trail_percent": 1}, "trail"),
        ({"order_type": "trailing_stop", "trail_percent": 100}, "trail_percent"),
        (LIMIT | {"limit_price": "195.061"}, "limit_price"),
        (LIMIT | {"limit_price": "0.12345"}, "limit_price"),
        ({"extended_hours": True}, "extended_hours"),
        (LIMIT | {"extended_hours": True, "time_in_force": "ioc"}, "extended_hours"),
        ({"client_order_id": "x" * 129}, "client_order_id"),
        ({"client_order_id": "two words"}, "client_order_id"),
        ({"client_order_id": ""}, "client_order_id"),
        ({"take_profit": 190, "stop_loss": 200}, "take_profit"),
        ({"side": "sell", "take_profit": 200, "stop_loss": 190}, "take_profit"),
        (LIMIT | {"take_profit": 190, "stop_loss": 180}, "take_profit"),
        (LIMIT | {"take_profit": 200, "stop_loss": 196}, "take_profit"),
        ({"stop_loss_limit": 190}, "stop_loss_limit"),
        ({"stop_loss": "190.001"}, "stop_loss"),
        ({"qty": "1.5", "stop_loss": 190}, "qty"),
        ({"time_in_force": "ioc", "stop_loss": 190}, "time_in_force"),
    ],
)
def test_what_the_broker_would_refuse_is_not_sent(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(OrderInvalid) as caught:
        build(**BASE | changes)
    assert caught.value.field == field
    assert caught.value.rule
    assert caught.value.remedy
