"""What the account was worth over one market day: kept by the engine, drawn by a face."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

MINUTE_S = 60


class EquityPoint(Struct, frozen=True, array_like=True):
    """The account's equity in dollars at a moment of market time."""

    at: datetime
    equity: Decimal


class EquityCurve:
    """The newest amount of each market minute; a moment of another day begins it anew."""

    def __init__(self) -> None:
        self._day: date | None = None
        self._points: dict[int, EquityPoint] = {}

    def add(self, at: datetime, equity: Decimal) -> None:
        """The account is worth this now."""
        day = _day_of(at)
        if day != self._day:
            self._day, self._points = day, {}
        self._points[_minute(at)] = EquityPoint(at, equity)

    def recall(self, points: Iterable[EquityPoint]) -> None:
        """What it was worth before; of other days and of minutes that are known nothing counts."""
        for point in points:
            self._day = self._day or _day_of(point.at)
            if _day_of(point.at) == self._day:
                self._points.setdefault(_minute(point.at), point)

    def points(self) -> tuple[EquityPoint, ...]:
        """Oldest first, at most one a minute."""
        return tuple(self._points[minute] for minute in sorted(self._points))


def _day_of(at: datetime) -> date:
    """New York's date while anything trades there: it is four or five hours behind UTC."""
    return (at - timedelta(hours=5)).date()


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // MINUTE_S
