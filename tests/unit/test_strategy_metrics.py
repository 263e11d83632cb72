"""Figures of a run, against tables reckoned by hand and against what must hold for all of them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.strategies import metrics
from console.strategies.trades import Execution, Order, Trade, round_trips

DAY = 86_400_000_000_000
equities = st.lists(st.floats(1_000, 1_000_000), min_size=1, max_size=40)


def floats(*values: float) -> Any:
    return np.array(values, dtype=np.float64)


def days(count: int) -> Any:
    return np.arange(count, dtype=np.int64) * DAY


def fill(
    at: int,
    side: str,
    qty: str,
    price: str,
    position: str,
    *,
    bid: float = 99.0,
    ask: float = 101.0,
) -> Execution:
    order = Order(at, f"o{at}", "IBM", side, Decimal(qty), bid, ask)  # type: ignore[arg-type]
    return Execution(at, order, "IBM", order.side, Decimal(qty), Decimal(price), Decimal(position))


def trade(profit: str) -> Trade:
    one = Decimal(1)
    return Trade("IBM", "long", 0, 1, one, one, one, Decimal(profit))


def test_returns_are_measured_from_the_opening_cash() -> None:
    returns = metrics.session_returns(floats(110, 99), 100)
    assert returns == pytest.approx([0.1, -0.1])
    assert metrics.total_return_pct(99, 100) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("closing", "days_", "expected"),
    [(121, 365.25 * 2, 10.0), (110, 365.25, 10.0), (110, 89, None), (0, 400, None)],
)
def test_a_yearly_return_where_it_means_something(
    closing: float, days_: float, expected: float | None
) -> None:
    found = metrics.cagr_pct(closing, 100, days_)
    assert found == (None if expected is None else pytest.approx(expected))


def test_volatility_sharpe_and_sortino_by_hand() -> None:
    returns = floats(0.01, -0.02, 0.03, 0.0)
    # mean 0.005; sample variance (0.000025+0.000625+0.000625+0.000025)/3; downside √(0.0004/4).
    deviation = math.sqrt(0.0013 / 3)
    assert metrics.volatility_pct(returns) == pytest.approx(deviation * math.sqrt(252) * 100)
    assert metrics.sharpe(returns) == pytest.approx(0.005 / deviation * math.sqrt(252))
    assert metrics.sortino(returns) == pytest.approx(0.005 / 0.01 * math.sqrt(252))


@pytest.mark.parametrize("returns", [floats(), floats(0.01)])
def test_one_session_has_no_risk_figures(returns: Any) -> None:
    assert metrics.volatility_pct(returns) is None
    assert metrics.sharpe(returns) is None
    assert metrics.sortino(returns) is None


def test_without_variation_or_loss_there_is_no_ratio() -> None:
    assert metrics.sharpe(floats(0.5, 0.5)) is None
    assert metrics.sortino(floats(0.01, 0.02)) is None


@pytest.mark.parametrize(
    ("equity", "pct", "length", "recovered"),
    [
        ((100, 110, 99, 105, 110, 120), 10.0, 3, True),
        ((100, 120, 60, 90), 50.0, 2, False),
        ((101, 102, 103), 0.0, 0, True),
        # Below what it began with: the peak is the opening cash.
        ((90, 80, 95), 20.0, 2, False),
        # The first of two equal peaks isn't where the deeper fall began.
        ((110, 100, 110, 88, 110), 20.0, 2, True),
    ],
)
def test_the_deepest_drawdown_and_its_length(
    equity: tuple[float, ...], pct: float, length: float, recovered: bool
) -> None:
    found = metrics.max_drawdown(days(len(equity)), floats(*equity), 100)
    assert found.pct == pytest.approx(pct)
    assert found.days == pytest.approx(length)
    assert found.recovered is recovered


@given(equities, st.floats(1_000, 1_000_000))
def test_a_drawdown_is_a_part_and_the_worst_of_all(equity: list[float], opening: float) -> None:
    found = metrics.max_drawdown(days(len(equity)), floats(*equity), opening)
    worst, peak = 0.0, opening
    for value in equity:
        peak = max(peak, value)
        worst = max(worst, (peak - value) / peak * 100)
    assert found.pct == pytest.approx(worst)
    assert 0 <= found.pct < 100
    assert 0 <= found.days <= len(equity) - 1


@given(equities, st.floats(0.5, 20))
def test_figures_don_t_depend_on_the_size_of_the_account(equity: list[float], scale: float) -> None:
    small, large = floats(*equity), floats(*equity) * scale
    at = days(len(equity))
    one = metrics.max_drawdown(at, small, equity[0])
    other = metrics.max_drawdown(at, large, equity[0] * scale)
    assert one.pct == pytest.approx(other.pct, abs=1e-9)
    returns = metrics.session_returns(small, equity[0])
    scaled = metrics.session_returns(large, equity[0] * scale)
    assert returns == pytest.approx(scaled, abs=1e-9)


def test_turnover_exposure_and_time_in_the_market() -> None:
    fills = [fill(1, "buy", "10", "100", "10"), fill(2, "sell", "10", "101", "0")]
    assert metrics.turnover(fills, floats(1_000, 1_020)) == pytest.approx(2_010 / 1_010)
    assert metrics.exposure_pct(floats(0, 500), floats(1_000, 1_000)) == pytest.approx(25)
    assert metrics.in_market_pct(floats(0, 500, 0, 100)) == pytest.approx(50)
    assert metrics.turnover([], floats()) == metrics.exposure_pct(floats(), floats()) == 0


def test_winners_and_their_factor() -> None:
    trades = [trade("30"), trade("-10"), trade("-5"), trade("0")]
    assert metrics.win_rate_pct(trades) == pytest.approx(25)
    assert metrics.profit_factor(trades) == pytest.approx(2)
    assert metrics.profit_factor([trade("3")]) is None
    assert metrics.win_rate_pct([]) is None


def test_slippage_is_weighted_by_value_and_signed_by_side() -> None:
    # Bought at the ask: 1 % of the middle; sold in the middle: nothing.
    fills = [fill(1, "buy", "30", "101", "30"), fill(2, "sell", "30", "100", "0")]
    expected = 100 * 3_030 / 6_030
    assert metrics.average_slippage_bp(fills) == pytest.approx(expected)
    assert metrics.average_slippage_bp(fills[:1], touch=True) == 0
    assert fills[1].touch_slippage_bp == pytest.approx(-1 / 99 * 1e4)
    unquoted = [fill(1, "buy", "1", "100", "1", bid=math.nan, ask=math.nan)]
    assert metrics.average_slippage_bp(unquoted) is None


def test_round_trips_of_parts_turns_and_what_is_left_open() -> None:
    trips = round_trips(
        [
            fill(1, "buy", "60", "100", "60"),
            fill(2, "buy", "40", "101", "100"),
            fill(3, "sell", "50", "103", "50"),
            # Through zero: 50 end the long, 20 begin a short.
            fill(4, "sell", "70", "102", "-20"),
            fill(5, "buy", "20", "99", "0"),
            fill(6, "sell", "5", "100", "-5"),
        ]
    )
    assert [(t.side, t.opened_at, t.closed_at, t.qty) for t in trips] == [
        ("long", 1, 4, Decimal(100)),
        ("short", 4, 5, Decimal(20)),
    ]
    long, short = trips
    assert long.profit == 50 * 103 + 50 * 102 - 60 * 100 - 40 * 101
    assert (long.entry_price, long.exit_price) == (Decimal("100.4"), Decimal("102.5"))
    assert short.profit == 20 * (102 - 99)
    assert short.return_pct == pytest.approx(3 / 102 * 100)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(50, 150)), max_size=30))
def test_what_trips_earn_is_what_the_cash_says(steps: list[tuple[int, int]]) -> None:
    position, cash, fills = 0, Decimal(0), []
    for at, (qty, price) in enumerate(steps, 1):
        if qty == 0:
            continue
        position += qty
        cash -= qty * price
        side = "buy" if qty > 0 else "sell"
        fills.append(fill(at, side, str(abs(qty)), str(price), str(position)))
    if position:
        side = "sell" if position > 0 else "buy"
        fills.append(fill(99, side, str(abs(position)), "100", "0"))
        cash += position * 100
    assert sum((trip.profit for trip in round_trips(fills)), Decimal(0)) == cash
