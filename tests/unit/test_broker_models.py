"""Money stays exact, and what the broker added since is kept."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.broker import models
from console.broker.models import (
    BarInfo,
    BulkResult,
    OrderInfo,
    OrderType,
    PortfolioMetrics,
    PositionInfo,
    QuoteInfo,
    RiskMetrics,
    TimeFrame,
)

NOW = datetime(2013, 1, 2, 15, 0, tzinfo=UTC)
ACCOUNT = {
    "equity": "101000.50",
    "last_equity": "100000",
    "cash": "50000.25",
    "portfolio_value": "101000.50",
    "buying_power": "151000.75",
    "multiplier": "2",
}


def position(symbol: str = "IBM", **changes: Any) -> PositionInfo:
    raw = {
        "symbol": symbol,
        "qty": "10",
        "side": "long",
        "avg_entry_price": "195.0625",
        "current_price": "196",
        "market_value": "1960",
        "cost_basis": "1950.625",
        "unrealized_pl": "9.375",
        "unrealized_plpc": "0.00480615",
    }
    return PositionInfo.from_broker(raw | changes, NOW)


@pytest.mark.parametrize("value", ["1.10", Decimal("1.10"), 7, "-0", "1e3", "  5 "])
def test_exact_numbers_are_taken(value: Any) -> None:
    assert models.number(value) == Decimal(value)


@pytest.mark.parametrize(
    "value", [1.1, True, None, "", "x", "NaN", "Infinity", "1e999", "1e-999", [], b"1"]
)
def test_what_is_no_exact_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="no "):
        models.number(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=0, max_value=10**12))
def test_text_and_numbers_mean_the_same(value: Decimal) -> None:
    assert models.number(format(value, "f")) == models.number(value) == value


def test_the_portfolio_in_dollars_and_percent() -> None:
    held = (
        position(),
        position("SPY", side="short", qty="-5", unrealized_pl="-3", cost_basis="-500"),
    )
    metrics = PortfolioMetrics.from_broker(ACCOUNT, held, NOW)
    assert metrics.total_equity == Decimal("101000.50")
    assert metrics.day_pl == Decimal("1000.50")
    assert metrics.day_pl_pct == Decimal("1.0005")
    assert metrics.total_pl == Decimal("6.375")
    assert metrics.total_pl_pct == Decimal("6.375") / Decimal("2450.625") * 100
    assert metrics.positions_count == 2
    for name in ("total_equity", "cash", "portfolio_value", "buying_power", "total_pl", "day_pl"):
        assert isinstance(getattr(metrics, name), Decimal)


def test_an_empty_account_divides_by_nothing() -> None:
    nothing = dict.fromkeys(ACCOUNT, "0")
    metrics = PortfolioMetrics.from_broker(nothing, (), NOW)
    assert (metrics.day_pl_pct, metrics.total_pl_pct) == (0, 0)
    assert RiskMetrics.of(nothing, (), (), NOW).leverage == 0


def test_a_short_position_has_a_positive_quantity() -> None:
    short = position(side="short", qty="-10", market_value="-1960")
    assert (short.qty, short.side, short.market_value) == (10, "short", -1960)
    assert short.unrealized_pl_pct == Decimal("0.480615")


def test_an_order_with_numbers_of_either_kind() -> None:
    order = OrderInfo.from_broker(
        {
            "id": "o-1",
            "client_order_id": "c-1",
            "symbol": "IBM",
            "side": "buy",
            "type": "limit",
            "time_in_force": "day",
            "status": "partially_filled",
            "qty": "10",
            "filled_qty": 3,
            "filled_avg_price": Decimal("195.10"),
            "limit_price": "195.1",
            "submitted_at": "2013-01-02T14:30:00.123456789Z",
            "legs": [{"id": "o-2", "type": "stop", "status": "held", "qty": "10"}],
        }
    )
    assert order.order_type is OrderType.LIMIT
    assert (order.qty, order.filled_qty) == (10, 3)
    assert order.submitted_at == datetime(2013, 1, 2, 14, 30, 0, 123456, tzinfo=UTC)
    assert order.legs[0].status == "held"
    assert order.notional is None


def test_words_that_the_broker_added_are_kept() -> None:
    order = OrderInfo.from_broker(
        {"id": "o-1", "type": "iceberg", "status": "contemplating", "time_in_force": "gtd"}
    )
    assert (order.order_type, order.status, order.time_in_force) == (
        "iceberg",
        "contemplating",
        "gtd",
    )


def test_a_number_that_is_none_names_its_field() -> None:
    with pytest.raises(ValueError, match="filled_qty"):
        OrderInfo.from_broker({"id": "o-1", "filled_qty": "many"})


def test_quotes_and_bars() -> None:
    quote = QuoteInfo.from_broker(
        "IBM", {"t": "2013-01-02T14:30:00Z", "bp": Decimal("195.09"), "bs": 2, "ap": 0, "as": 0}
    )
    assert quote.spread is None
    bar = BarInfo.from_broker(
        "IBM", {"t": "2013-01-02T14:30:00Z", "o": 1, "h": 2, "l": 1, "c": Decimal("1.5"), "v": 9}
    )
    assert (bar.close, bar.volume, bar.vwap) == (Decimal("1.5"), 9, None)


@pytest.mark.parametrize(
    ("raw", "done"),
    [
        ({"id": "o-1", "status": 200, "body": None}, True),
        ({"id": "o-1", "status": 500, "body": {"code": 1, "message": "no"}}, False),
        ({"symbol": "IBM", "status": 200, "body": {"id": "o-1"}}, True),
        ({"symbol": "IBM"}, False),
    ],
)
def test_what_became_of_one_of_many(raw: dict[str, Any], done: bool) -> None:
    assert BulkResult.from_broker(raw).done is done


@pytest.mark.parametrize("text", [*TimeFrame, "7Min", "59Min", "23Hour", "12Month"])
def test_time_frames_that_exist(text: str) -> None:
    assert models.timeframe(text) == text


@pytest.mark.parametrize("text", ["", "60Min", "24Hour", "2Day", "5Month", "0Min", "1min", "1Min "])
def test_time_frames_that_do_not(text: str) -> None:
    with pytest.raises(ValueError, match="time frame"):
        models.timeframe(text)


def test_a_time_without_zone_is_none() -> None:
    assert models.instant("2013-01-02T09:30:00-05:00") == datetime(2013, 1, 2, 14, 30, tzinfo=UTC)
    assert models.instant(datetime(2013, 1, 2, 9, tzinfo=timezone(-timedelta(hours=5)))).hour == 14
    for value in ("2013-01-02T09:30:00", 5, None, "soon"):
        with pytest.raises(ValueError, match=r"time|format"):
            models.instant(value)


def test_drawdown_volatility_and_value_at_risk() -> None:
    # Twenty days up by 1 %, one of them down by 10 %.
    equity = [Decimal(100_000)]
    for day in range(21):
        equity.append(equity[-1] * (Decimal("0.9") if day == 10 else Decimal("1.01")))
    risk = RiskMetrics.of(ACCOUNT, (position(),), tuple(equity), NOW)
    assert risk.max_drawdown_pct == pytest.approx(Decimal(10))
    # The 5th percentile of 21 returns, nearest rank, is the second worst.
    assert risk.var_95 == 0
    assert risk.volatility_pct is not None
    assert 35 < risk.volatility_pct < 40
    assert risk.gross_exposure == risk.net_exposure == 1960
    assert risk.largest_position == "IBM"
    assert risk.days == 22


def test_the_worst_of_twenty_days_is_the_value_at_risk() -> None:
    equity = [Decimal(100)]
    for day in range(20):
        equity.append(equity[-1] * (Decimal("0.9") if day == 10 else Decimal(1)))
    risk = RiskMetrics.of(ACCOUNT | {"equity": "1000"}, (), tuple(equity), NOW)
    assert risk.var_95 == pytest.approx(Decimal(100))


def test_too_few_days_say_nothing() -> None:
    risk = RiskMetrics.of(ACCOUNT, (), (Decimal(1),) * 20, NOW)
    assert (risk.var_95, risk.volatility_pct, risk.max_drawdown_pct) == (None, None, None)
