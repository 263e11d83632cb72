"""From what is asked for to whole shares, and what is no order at all."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.engine.commands import Level, SubmitOrder
from console.engine.sizing import (
    level_price,
    malformed,
    reference_price,
    shares_of,
    tick_rounded,
)
from console.engine.state import OrderClass, OrderType, RiskReport, Side, TimeInForce

D = Decimal
TOUCH = (D("182.30"), D("182.33"))


def order(side: Side = Side.BUY, **fields) -> SubmitOrder:
    return SubmitOrder(symbol="IBM", side=side, **fields)


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"side": Side.BUY}, D("182.33")),
        ({"side": Side.SELL}, D("182.30")),
        ({"limit_price": D(180)}, D(180)),
        ({"stop_price": D(190)}, D(190)),
        ({"limit_price": D(191), "stop_price": D(190)}, D(191)),
    ],
)
def test_a_share_is_reckoned_at_what_it_will_cost(fields, price):
    assert reference_price(order(qty=D(1), **fields), TOUCH) == price


def test_without_a_quote_a_market_order_has_no_price():
    assert reference_price(order(qty=D(1)), None) is None
    refused = shares_of(order(notional=D(1000)), None, D(0), D(100_000))
    assert isinstance(refused, RiskReport)
    assert refused.refusals[0].check == "quote"


@pytest.mark.parametrize(
    ("fields", "held", "shares"),
    [
        ({"qty": D("0.25")}, 0, D("0.25")),
        ({"notional": D(10_000)}, 0, D(54)),
        ({"equity_fraction": D("0.05")}, 0, D(27)),
        ({"side": Side.SELL, "position_fraction": D("0.5")}, 101, D(50)),
        ({"side": Side.SELL, "position_fraction": D(1)}, "7.5", D("7.5")),
        ({"side": Side.SELL, "position_fraction": D(1) / D(3)}, 99, D(33)),
        ({"side": Side.BUY, "position_fraction": D(1)}, -40, D(40)),
    ],
)
def test_shares_are_whole_and_never_more_than_asked(fields, held, shares):
    assert shares_of(order(**fields), D("182.33"), D(held), D(100_000)) == shares


@pytest.mark.parametrize(
    ("fields", "held", "check"),
    [
        ({"notional": D(100)}, 0, "quantity"),
        ({"side": Side.SELL, "position_fraction": D("0.5")}, 0, "position"),
        ({"side": Side.SELL, "position_fraction": D("0.5")}, -10, "position"),
        ({"side": Side.BUY, "position_fraction": D(1)}, 10, "position"),
        ({"side": Side.SELL, "position_fraction": D("0.5")}, 1, "quantity"),
    ],
)
def test_what_comes_to_no_share_is_refused(fields, held, check):
    refused = shares_of(order(**fields), D("182.33"), D(held), D(100_000))
    assert isinstance(refused, RiskReport)
    assert [refusal.check for refusal in refused.refusals] == [check]


def test_part_of_an_equity_that_is_not_known_is_refused():
    refused = shares_of(order(equity_fraction=D("0.1")), D(10), D(0), None)
    assert isinstance(refused, RiskReport)
    assert refused.refusals[0].check == "account"


@given(
    st.decimals("0.01", "1000000", places=2),
    st.decimals("0.01", "5000", places=2),
)
def test_an_amount_of_money_is_never_overspent(amount, price):
    shares = shares_of(order(notional=amount), price, D(0), None)
    if isinstance(shares, RiskReport):
        assert amount < price
    else:
        assert shares == shares.to_integral_value()
        assert shares * price <= amount < (shares + 1) * price


@pytest.mark.parametrize(
    ("level", "entry", "price"),
    [
        (None, D(100), None),
        (Level(price=D("99.5")), None, D("99.5")),
        (Level(percent=D(2)), D("182.33"), D("185.98")),
        (Level(percent=D(-1)), D("0.5555"), D("0.5499")),
    ],
)
def test_a_level_is_a_price_at_the_brokers_precision(level, entry, price):
    assert level_price(level, entry) == price


@pytest.mark.parametrize(
    ("level", "entry"),
    [
        (Level(), D(100)),
        (Level(price=D(1), percent=D(1)), D(100)),
        (Level(percent=D(1)), None),
        (Level(percent=D(-100)), D(100)),
    ],
)
def test_a_level_that_is_none_is_refused(level, entry):
    with pytest.raises(ValueError, match=r"level|price"):
        level_price(level, entry)


def test_ticks_are_a_cent_from_a_dollar_on_and_a_hundredth_of_it_below():
    assert tick_rounded(D("1.005")) == D("1.00")
    assert tick_rounded(D("0.99995")) == D("1.0000")
    assert tick_rounded(D("182.336")) == D("182.34")


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({}, "size"),
        ({"qty": D(1), "notional": D(1)}, "size"),
        ({"qty": D(0)}, "quantity"),
        ({"qty": D("Infinity")}, "quantity"),
        ({"position_fraction": D("1.01")}, "size"),
        ({"qty": D(1), "order_type": OrderType.LIMIT}, "price"),
        ({"qty": D(1), "limit_price": D(-1)}, "price"),
        ({"qty": D(1), "stop_price": D(5)}, "price"),
        ({"qty": D(1), "order_type": OrderType.TRAILING_STOP}, "price"),
        (
            {"qty": D(1), "order_type": OrderType.TRAILING_STOP, "limit_price": D(5)},
            "price",
        ),
        ({"qty": D(1), "order_class": OrderClass.BRACKET}, "levels"),
        ({"qty": D(1), "take_profit": Level(price=D(200))}, "levels"),
        ({"qty": D(1), "client_order_id": "x" * 129}, "client_order_id"),
        ({"qty": D(1), "client_order_id": "\u202eabc"}, "client_order_id"),
    ],
)
def test_what_can_be_no_order_is_refused_by_its_check(fields, check):
    refused = malformed(order(**fields))
    assert refused is not None
    assert [refusal.check for refusal in refused.refusals] == [check]


BRACKET = {
    "order_class": OrderClass.BRACKET,
    "take_profit": Level(price=D(200)),
    "stop_loss": Level(price=D(180)),
}
LIMIT = {"order_type": OrderType.LIMIT, "limit_price": D(190)}


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        *(
            (BRACKET | {"time_in_force": tif}, "time_in_force")
            for tif in (TimeInForce.OPG, TimeInForce.CLS, TimeInForce.IOC, TimeInForce.FOK)
        ),
        (BRACKET | LIMIT | {"extended_hours": True}, "extended_hours"),
        (BRACKET | {"qty": D("1.5")}, "quantity"),
        (
            {"order_type": OrderType.STOP, "stop_price": D(180), "time_in_force": TimeInForce.IOC},
            "time_in_force",
        ),
        ({"extended_hours": True}, "extended_hours"),
        (LIMIT | {"extended_hours": True, "time_in_force": TimeInForce.IOC}, "extended_hours"),
        ({"qty": D("1.5"), "time_in_force": TimeInForce.GTC}, "quantity"),
        ({"qty": D("0.1234567891")}, "quantity"),
        (LIMIT | {"limit_price": D("190.005")}, "price"),
        (LIMIT | {"limit_price": D("0.12345")}, "price"),
        ({"order_type": OrderType.STOP, "stop_price": D("180.001")}, "price"),
    ],
)
def test_what_the_broker_never_takes_is_refused_before_it_is_sent(fields, check):
    refused = malformed(order(**({"qty": D(1)} | fields)))
    assert refused is not None
    (refusal,) = refused.refusals
    assert refusal.check == check
    assert refusal.remedy


@pytest.mark.parametrize(
    "fields",
    [
        BRACKET | {"time_in_force": TimeInForce.GTC},
        LIMIT | {"extended_hours": True, "time_in_force": TimeInForce.GTC},
        LIMIT | {"time_in_force": TimeInForce.IOC},
        {"time_in_force": TimeInForce.OPG},
        {"qty": D("1.5")},
        LIMIT | {"limit_price": D("190.010")},
        LIMIT | {"limit_price": D("0.1234")},
    ],
)
def test_what_the_broker_takes_is_let_through(fields):
    assert malformed(order(**({"qty": D(1)} | fields))) is None


@pytest.mark.parametrize("symbol", ["", "ibm", "IBM ", "IBM\n", "[red]IBM", "A" * 13, "\u202eMBI"])
def test_a_symbol_with_anything_odd_in_it_is_refused_harmlessly(symbol):
    refused = malformed(SubmitOrder(symbol=symbol, side=Side.BUY, qty=D(1)))
    assert refused is not None
    assert refused.refusals[0].check == "symbol"
    assert refused.refusals[0].value.isascii()


def test_a_sound_order_is_let_through():
    assert malformed(order(qty=D(1))) is None
    assert (
        malformed(
            order(
                qty=D(1),
                order_type=OrderType.STOP_LIMIT,
                limit_price=D(191),
                stop_price=D(190),
                order_class=OrderClass.BRACKET,
                take_profit=Level(percent=D(2)),
                stop_loss=Level(percent=D(-1)),
            )
        )
        is None
    )
