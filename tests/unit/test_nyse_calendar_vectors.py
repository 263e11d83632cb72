"""The vectors that the Rust calendar is tested against are what exchange-calendars says."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import exchange_calendars  # type: ignore[import-untyped]

VECTORS = Path(__file__).parents[1] / "vectors" / "nyse_calendar.json"


def test_the_vectors_are_those_of_the_reference_calendar() -> None:
    vectors = json.loads(VECTORS.read_text())
    first, last = dt.date.fromisoformat(vectors["first"]), dt.date.fromisoformat(vectors["last"])
    calendar = exchange_calendars.get_calendar(
        "XNYS", start=first.isoformat(), end=last.isoformat()
    )
    trading_days = set(calendar.schedule.index.date)
    weekdays = (first + dt.timedelta(days) for days in range((last - first).days + 1))
    closed = [day.isoformat() for day in weekdays if day.weekday() < 5 and day not in trading_days]
    local = calendar.schedule["close"].dt.tz_convert("America/New_York").dt.strftime("%H:%M")
    early = {day.date().isoformat(): close for day, close in local.items() if close != "16:00"}

    assert vectors["weekdays_closed"] == closed
    assert vectors["early_closes"] == early


def test_the_reference_calendar_knows_no_late_open() -> None:
    calendar = exchange_calendars.get_calendar("XNYS", start="1990-01-01", end="2050-12-31")
    opens = calendar.schedule["open"].dt.tz_convert("America/New_York").dt.strftime("%H:%M")
    assert set(opens) == {"09:30"}
