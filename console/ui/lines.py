"""Lines that concern the face alone: alerts and exports. All others are the engine's grammar.

alert IBM rsi_14 > 70        alert IBM last < 181.50
alert off IBM                alert off
export                       export ~/days
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console.engine.grammar import GrammarError
from console.ui.store import Store

PLAIN_COLUMNS = {"last": "last", "bid": "bid", "ask": "ask", "volume": "day_volume"}
"""What an alert may watch beside the features and the spread → the frame's own name."""
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


FaceLine = Alert | AlertsOff | Export


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


def _alert(line: str, words: Sequence[str], store: Store) -> Alert | AlertsOff:
    if words and words[0].lower() == "off":
        return AlertsOff(words[1].upper() if len(words) > 1 else None)
    if len(words) < 4:
        raise GrammarError(len(line), "write symbol, column, > or <, level: alert IBM last > 182")
    symbol, column, relation, level = words[0].upper(), words[1].lower(), words[2], words[3]
    if symbol not in store.rows:
        known = ", ".join(list(store.rows)[:8])
        raise GrammarError(line.index(words[0]), f"{symbol} is not in the feed; there are {known}")
    if column not in columns(store):
        known = ", ".join(columns(store))
        raise GrammarError(line.index(words[1]), f"{column} is no column; there are {known}")
    if relation not in ("<", ">"):
        raise GrammarError(line.index(relation), f"{relation} is not > or <")
    try:
        return Alert(symbol, column, relation == ">", float(level))
    except ValueError:
        raise GrammarError(line.rindex(level), f"{level} is no number") from None


def columns(store: Store) -> tuple[str, ...]:
    """What an alert may watch."""
    features = store.frame.feature_names if store.frame is not None else ()
    return (*PLAIN_COLUMNS, "spread", *features)


class Alerts:
    """The alerts set in this face. They are looked at with every frame and end with the face."""

    def __init__(self) -> None:
        self._met: dict[Alert, bool] = {}

    def __len__(self) -> int:
        return len(self._met)

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
    if alert.column == "spread":
        quote = store.quote(alert.symbol)
        return quote.spread_bp if quote is not None else None
    name = PLAIN_COLUMNS.get(alert.column, alert.column)
    if name == alert.column and name not in ("last", "bid", "ask", *store.frame.feature_names):
        return None
    return store.column(name)[row]
