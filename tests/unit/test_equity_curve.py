"""The account's worth over a day, as the engine keeps it and every face shows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from console.engine.curve import EquityCurve, EquityPoint

OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)


def point(minutes: float, equity: int) -> EquityPoint:
    return EquityPoint(OPEN + timedelta(minutes=minutes), Decimal(equity))


def curve(*points: EquityPoint) -> EquityCurve:
    made = EquityCurve()
    for one in points:
        made.add(one.at, one.equity)
    return made


def test_a_minute_has_one_point_its_newest() -> None:
    made = curve(point(0, 100), point(0.2, 101), point(0.9, 102), point(1, 103))
    assert made.points() == (point(0.9, 102), point(1, 103))


def test_the_next_day_begins_anew_and_the_evening_is_still_today() -> None:
    made = curve(point(0, 100), point(10.4 * 60, 101))
    assert len(made.points()) == 2  # 19:54 in New York is tomorrow in UTC, nearly
    tomorrow = point(24 * 60, 102)
    made.add(tomorrow.at, tomorrow.equity)
    assert made.points() == (tomorrow,)


def test_what_was_before_is_recalled_in_order_and_beats_nothing_known() -> None:
    made = curve(point(5.5, 105))
    made.recall([point(-24 * 60, 90), point(3, 103), point(4, 104), point(5, 999)])
    assert made.points() == (point(3, 103), point(4, 104), point(5.5, 105))


def test_an_empty_curve_recalls_a_whole_one() -> None:
    made = EquityCurve()
    made.recall([point(3, 103), point(4, 104)])
    assert made.points() == (point(3, 103), point(4, 104))


def test_a_day_has_at_most_a_point_a_minute() -> None:
    made = curve(*(point(second / 60, second) for second in range(-330 * 60, 630 * 60, 20)))
    assert len(made.points()) == 960
