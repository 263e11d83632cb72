"""Numbers as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.ui import format as text

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (182.3, "182.30"), (Decimal("182.1"), "182.10"), (Decimal("182.125"), "182.125"), (0.1234, "0.1234"),
        (Decimal("0.5"), "0.5000"), (1234.5, "1,234.50"), (None, "–"), (NAN, "–"), (Decimal("1E+2"), "100.00"),
    ],
)  # fmt: skip
def test_prices(value: text.Number, expected: str) -> None:
    assert text.price(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "now"), (2.99, "now"), (3, "3s"), (59.9, "59s"), (60, "1m"), (3600, "1h"), (2e5, "2d"), (NAN, "–"), (None, "–")],
)  # fmt: skip
def test_ages_are_calm_while_fresh(seconds: float | None, expected: str) -> None:
    assert text.age(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (999, "999"), (1000, "1.00k"), (12345, "12.3k"), (999_949, "1.00M"), (4.5e9, "4.50G"), (NAN, "–")],
)  # fmt: skip
def test_counts_fit_five_characters(value: float, expected: str) -> None:
    assert text.compact(value) == expected


def test_a_direction_never_hangs_on_colour_alone() -> None:
    assert text.change(0.62) == "▲0.62"
    assert text.change(-0.31) == "▼0.31"
    assert text.change(0.001) == " 0.00"
    assert text.signed_money(Decimal("-1234.5")) == "-1,234.50"
    assert text.percent(-0.001) == "0.00%"


def test_shares_show_the_decimals_that_they_have() -> None:
    assert text.quantity(Decimal(100)) == "100"
    assert text.quantity(Decimal("0.500")) == "0.5"
    assert text.quantity(Decimal("12345.25")) == "12,345.25"


@given(st.datetimes(min_value=datetime(2007, 4, 1), max_value=datetime(2037, 12, 31)))  # noqa: DTZ001
def test_new_york_time_is_that_of_the_time_zone_database(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert text.clock(aware) == f"{aware.astimezone(ZoneInfo('America/New_York')):%H:%M:%S}"


@given(st.lists(st.floats(allow_infinity=False) | st.just(NAN), max_size=40), st.integers(1, 40))
def test_a_sparkline_always_has_its_width(values: list[float], width: int) -> None:
    assert len(text.spark(values, width)) == width


@given(st.floats(-1, 3), st.integers(1, 60))
def test_a_gauge_always_has_its_width(part: float, width: int) -> None:
    assert len(text.gauge(part, width)) == width


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("9,999", "9,999"),
        ("10,000", "10000"),
        ("9,999,000", "10.0M"),
        ("9,123,456", "9.12M"),
        ("$10,000", "$10.0k"),
    ],
)
def test_a_narrow_quantity_is_never_cut(number: str, expected: str) -> None:
    assert text.narrow(number, 5) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.021983512365725707", "0.022"), ("132.0512", "132.05"), ("88", "88"), ("live", "live"),
     ("2026-11-24T06:48:12.389Z gone", "2026-11-24T06:48:12.389Z gone")],
)  # fmt: skip
def test_a_services_figure_has_no_more_digits_than_can_be_read(value: str, expected: str) -> None:
    assert text.measured(value) == expected


def test_another_day_is_told_by_its_date() -> None:
    today = text.day(datetime(2013, 10, 8, 15, 0, tzinfo=UTC))
    assert text.when(datetime(2013, 10, 8, 14, 59, tzinfo=UTC), today) == "10:59"
    assert text.when(datetime(2013, 10, 7, 14, 59, tzinfo=UTC), today) == "10/07"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "+0ms"), (0.0123, "+12ms"), (3.44, "+3.4s"), (125, "+2m"), (-0.5, "+0ms")],
)
def test_how_long_a_step_took(seconds: float, words: str) -> None:
    first = datetime(2013, 10, 8, 15, 0, tzinfo=UTC)
    assert text.since(first, first + timedelta(seconds=seconds)) == words
