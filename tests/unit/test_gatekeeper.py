"""The gate as the engine feeds it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from console.engine.risk import Gatekeeper
from console.engine.state import (
    AccountView,
    OrderState,
    OrderType,
    OrderView,
    Side,
    TimeInForce,
    TradingState,
)

NOW = datetime(2013, 10, 7, 14, 0, tzinfo=UTC)
D = Decimal
S = OrderState


def order(state: OrderState, client_order_id: str = "first", **fields) -> OrderView:
    return OrderView(
        **{
            "client_order_id": client_order_id,
            "symbol": "IBM",
            "side": Side.BUY,
            "order_type": OrderType.LIMIT,
            "time_in_force": TimeInForce.DAY,
            "qty": D(9),
            "limit_price": D(100),
            "state": state,
            "created_at": NOW,
            "updated_at": NOW,
        }
        | fields
    )


def account(buying_power: str = "1000") -> AccountView:
    return AccountView(
        equity=D(1000),
        last_equity=D(1000),
        cash=D(1000),
        buying_power=D(buying_power),
        long_market_value=D(0),
        short_market_value=D(0),
        day_pl=D(0),
        day_pl_pct=D(0),
    )


def told(gatekeeper: Gatekeeper, buying_power: str = "1000") -> None:
    """The broker is asked and answers, and nothing happens meanwhile."""
    gatekeeper.account_changed(account(buying_power), gatekeeper.account_asked())


@pytest.fixture
def gatekeeper(make_settings) -> Gatekeeper:
    gatekeeper = Gatekeeper.of(make_settings("risk.max_gross_exposure_pct=10000"))
    gatekeeper.session_changed(is_open=True)
    gatekeeper.trading_state_changed(TradingState.ACTIVE, "")
    told(gatekeeper)
    for symbol in ("IBM", "BAC"):
        gatekeeper.quote(symbol, 99.9, 100.0, 100.0, 50.0)
    return gatekeeper


def refusals(gatekeeper: Gatekeeper, symbol: str = "BAC") -> set[str]:
    report = gatekeeper.check(order(S.INTENT, "next", symbol=symbol), now=50.0, record=False)
    return {refusal.check for refusal in report.refusals}


def test_alone_the_order_is_let_through(gatekeeper):
    assert refusals(gatekeeper) == set()


@pytest.mark.parametrize("state", [S.SENDING, S.UNKNOWN])
def test_figures_of_the_broker_dont_free_what_it_may_not_know_of(gatekeeper, state):
    gatekeeper.order_changed(order(state), D(100))
    assert "buying_power" in refusals(gatekeeper)
    told(gatekeeper)
    assert "buying_power" in refusals(gatekeeper)


def test_what_the_broker_has_is_in_its_figures(gatekeeper):
    gatekeeper.order_changed(order(S.SENDING), D(100))
    gatekeeper.order_changed(order(S.WORKING), D(100))
    told(gatekeeper, "950")
    assert refusals(gatekeeper) == set()


def test_an_order_acknowledged_after_the_question_is_not_in_the_answer(gatekeeper):
    gatekeeper.order_changed(order(S.SENDING), D(100))
    asked_at = gatekeeper.account_asked()
    gatekeeper.order_changed(order(S.WORKING), D(100))
    gatekeeper.account_changed(account(), asked_at)
    assert "buying_power" in refusals(gatekeeper)
    told(gatekeeper, "950")
    assert refusals(gatekeeper) == set()


def fill(gatekeeper: Gatekeeper, before: OrderView) -> None:
    """It is filled whole, in the order in which the books tell it."""
    gatekeeper.filled(before, D(9), D(100))
    gatekeeper.order_changed(replace(before, state=S.FILLED, filled_qty=D(9)), D(100))
    gatekeeper.position_changed("IBM", D(9), D(100))


def test_what_was_filled_stays_spent_until_the_figures_say_so(gatekeeper):
    gatekeeper.order_changed(order(S.SENDING), D(100))
    fill(gatekeeper, order(S.SENDING))
    assert "buying_power" in refusals(gatekeeper)
    told(gatekeeper, "950")
    assert refusals(gatekeeper) == set()


def test_figures_asked_for_before_a_fill_dont_free_its_money(gatekeeper):
    gatekeeper.order_changed(order(S.SENDING), D(100))
    asked_at = gatekeeper.account_asked()
    fill(gatekeeper, order(S.SENDING))
    gatekeeper.account_changed(account(), asked_at)
    assert "buying_power" in refusals(gatekeeper)


def test_a_fill_of_an_order_that_the_figures_include_is_not_paid_twice(gatekeeper):
    gatekeeper.order_changed(order(S.SENDING), D(100))
    gatekeeper.order_changed(order(S.WORKING), D(100))
    told(gatekeeper, "950")
    fill(gatekeeper, order(S.WORKING))
    assert refusals(gatekeeper) == set()


def test_a_fill_that_closes_spends_nothing(gatekeeper):
    gatekeeper.position_changed("IBM", D(9), D(100))
    selling = order(S.SENDING, side=Side.SELL)
    gatekeeper.order_changed(selling, D(100))
    gatekeeper.filled(selling, D(9), D(100))
    gatekeeper.order_changed(replace(selling, state=S.FILLED, filled_qty=D(9)), D(100))
    gatekeeper.position_changed("IBM", D(0), D(0))
    assert refusals(gatekeeper) == set()


@pytest.mark.parametrize("state", [S.REJECTED, S.CANCELED, S.FILLED, S.REFUSED])
def test_what_has_ended_reserves_nothing(gatekeeper, state):
    gatekeeper.order_changed(order(S.SENDING), D(100))
    gatekeeper.order_changed(replace(order(state)), D(100))
    assert refusals(gatekeeper) == set()


def test_an_order_in_doubt_blocks_its_symbol_and_no_other(gatekeeper):
    gatekeeper.order_changed(order(S.UNKNOWN, qty=D(1)), D(100))
    assert refusals(gatekeeper, "IBM") - {"duplicate", "self_match"}
    assert refusals(gatekeeper, "BAC") == set()


def test_an_order_without_a_size_is_no_question(gatekeeper):
    with pytest.raises(ValueError, match="no quantity"):
        gatekeeper.check(order(S.INTENT, qty=None), now=50.0)
