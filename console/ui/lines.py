"""Lines that concern the face alone: alerts and exports. All others are the engine's grammar.

alert IBM rsi_14 > 70        alert IBM change < -1%
alert off IBM                alert off                   alert (which there are)
export                       export ~/days
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from console.engine.grammar import GrammarError
from console.ui.store import Store

PLAIN_COLUMNS = {"last": "last", "bid": "bid", "ask": "ask", "volume": "day_volume"}
"""What an alert may watch as it stands in the frame → the frame's own name."""
RECKONED = ("change", "spread", "age")
"""And what the feed pane reckons: percent since the close before, basis points, seconds."""
_SAME = {"chg": "change", "chg%": "change", "change%": "change", "vol": "volume"}
MAX_ALERTS = 100


@dataclass(frozen=True, slots=True)
class Alert:
    """Tells once when a column passes a level; again after it went back."""

    symbol: str
    column: str
    above: bool
    level: float

    @property
    def words(self) -> str:
        return f"{self.symbol} {self.column} {'>' if self.above else '<'} {self.level:g}"


@dataclass(frozen=True, slots=True)
class AlertsOff:
    """Forget the alerts of one symbol, or all."""

    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """Write the session as CSV and Markdown into `folder`, None for the usual one."""

    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class AlertsShown:
    """Say which alerts there are."""


FaceLine = Alert | AlertsOff | AlertsShown | Export


def parse_face_line(line: str, store: Store) -> FaceLine | None:
    """A line for the face, or None for one that is the engine's.

    Raises:
        GrammarError: it begins as one of these and goes on wrong.
    """
    words = line.split()
    match words[0].lower() if words else "":
        case "export":
            return Export(Path(words[1]).expanduser() if len(words) > 1 else None)
        case "alert" | "alerts":
            return _alert(line, words[1:], store)
    return None


def _alert(line: str, words: Sequence[str], store: Store) -> Alert | AlertsOff | AlertsShown:
    if not words:
        return AlertsShown()
    if words[0].lower() == "off":
        return AlertsOff(words[1].upper() if len(words) > 1 else None)
    parts = re.findall(r"[<>]+=?|[^\s<>=]+", " ".join(words))
    if len(parts) < 4:
        raise GrammarError(len(line), "write symbol, column, > or <, level: alert IBM last > 182")
    symbol, column, relation, level = parts[0].upper(), parts[1].lower(), parts[2], parts[3]
    column = _SAME.get(column, column)
    if symbol not in store.rows:
        known = ", ".join(list(store.rows)[:8])
        raise GrammarError(line.index(words[0]), f"{symbol} is not in the feed; there are {known}")
    if column not in columns(store):
        known = ", ".join(columns(store))
        raise GrammarError(line.index(parts[1]), f"{column} is no column; there are {known}")
    if relation not in ("<", ">"):
        raise GrammarError(line.index(relation), f"{relation} is not > or <")
    if len(parts) > 4:
        raise GrammarError(line.rindex(parts[4]), f"{parts[4]} is too much: an alert has one level")
    try:
        value = float(level.removeprefix("$").removesuffix("%").replace(",", ""))
    except ValueError:
        value = nan
    if not isfinite(value):
        raise GrammarError(line.rindex(level), f"{level} is no number")
    return Alert(symbol, column, relation == ">", value)


def columns(store: Store) -> tuple[str, ...]:
    """What an alert may watch."""
    features = store.frame.feature_names if store.frame is not None else ()
    known = (*PLAIN_COLUMNS, *RECKONED)
    return (*known, *(name for name in features if name not in known))


class Alerts:
    """The alerts set in this face. They are looked at with every frame and end with the face."""

    def __init__(self) -> None:
        self._met: dict[Alert, bool] = {}

    def __len__(self) -> int:
        return len(self._met)

    def in_words(self) -> str:
        """Which there are."""
        return f"watching {', '.join(a.words for a in self._met)}" if self._met else "no alerts"

    def add(self, alert: Alert) -> bool:
        """Watch it from now on; False where there are too many already."""
        if alert not in self._met and len(self._met) >= MAX_ALERTS:
            return False
        self._met[alert] = False
        return True

    def off(self, symbol: str | None) -> int:
        """Forget those of `symbol`, or all; how many those were."""
        gone = [a for a in self._met if symbol is None or a.symbol == symbol]
        for alert in gone:
            del self._met[alert]
        return len(gone)

    def look(self, store: Store) -> list[tuple[Alert, float]]:
        """Those that came true since the last look, with the value that did it."""
        passed = []
        for alert, before in self._met.items():
            value = _value(alert, store)
            if value is None or value != value:
                continue
            met = value > alert.level if alert.above else value < alert.level
            self._met[alert] = met
            if met and not before:
                passed.append((alert, value))
        return passed


def _value(alert: Alert, store: Store) -> float | None:
    row = store.rows.get(alert.symbol)
    if row is None or store.frame is None:
        return None
    match alert.column:
        case "spread":
            quote = store.quote(alert.symbol)
            return quote.spread_bp if quote is not None else None
        case "change":
            return store.change(row)
        case "age":
            return store.age(row)
    name = PLAIN_COLUMNS.get(alert.column, alert.column)
    if name == alert.column and name not in ("last", "bid", "ask", *store.frame.feature_names):
        return None
    return store.column(name)[row]


def forgotten(count: int) -> str:
    """What `alert off` did."""
    return f"{count} alert{'s' * (count != 1)} forgotten"
