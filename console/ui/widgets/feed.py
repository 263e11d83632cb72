"""The feed pane: every symbol's prices, chosen features, sparkline and age."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import ClassVar

from console.ui import format as text
from console.ui.store import Fact
from console.ui.widgets.grid import Column, Grid
from console.ui.widgets.painted import Span

_SHORT = (
    "rsi",
    "adx",
    "mfi",
    "stoch",
    "willr",
    "plus_di",
    "minus_di",
    "realized_vol",
    "log_return",
    "roc",
)
_MOVING = ("last_at", "quote_at", "last", "bid", "ask", "day_volume", "previous_close")
_TITLES = {
    "realized_vol": "RVOLbp",
    "log_return": "RETbp",
    "macd_signal": "MACDsig",
    "macd_hist": "MACDhist",
    "bb_upper": "BB UP",
    "bb_middle": "BB MID",
    "bb_lower": "BB LOW",
    "plus_di": "+DI",
    "minus_di": "-DI",
    "stoch_k": "%K",
    "stoch_d": "%D",
    "willr": "%R",
    "stddev": "SD",
    "donchian_upper": "DON UP",
    "donchian_middle": "DON MID",
    "donchian_lower": "DON LOW",
    "keltner_upper": "KEL UP",
    "keltner_middle": "KEL MID",
    "keltner_lower": "KEL LOW",
    "spread": "SPR",
    "spread_bp": "SPRbp",
    "microprice": "MICRO",
    "imbalance": "IMBAL",
}
_USUAL = ("rsi_14", "realized_vol_20")
"""So common with these windows that the heading leaves them out."""
_FEATURE = "feature "
"""In front of a feature's name in its column's key: `spread` is one of our own columns too."""


def feature_width(name: str) -> int:
    """Enough for its values: oscillators are short, prices are not."""
    if name.startswith(_SHORT):
        return max(5, len(feature_title(name)))
    return max(8, len(feature_title(name)))


def feature_title(name: str) -> str:
    """A feature's heading: `EMA 26`, `MACDsig 5/35/5`. No two features have the same."""
    parts = name.split("_")
    windows: list[str] = []
    while parts[-1].isdigit():
        windows.insert(0, parts.pop())
    stem = "_".join(parts)
    title = _TITLES.get(stem, stem.upper().replace("_", " "))
    return title if not windows or name in _USUAL else f"{title} {'/'.join(windows)}"


class Feed(Grid):
    SHOWS: ClassVar[Fact] = (
        Fact.MARKET | Fact.CLOCK | Fact.LINK | Fact.CONNECTIONS | Fact.SESSION | Fact.CHOICE
    )
    TITLE: ClassVar[str] = "FEED"
    FLEX: ClassVar[str | None] = "spark"
    CONNECTIONS: ClassVar[tuple[str, ...]] = ("feed",)

    def __init__(
        self,
        features: Sequence[str] = (),
        *,
        stale_after_s: float = 15.0,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self.features = tuple(features)
        self.stale_after_s = stale_after_s
        self._cached: dict[str, tuple[object, list[Span]]] = {}

    def columns(self) -> Sequence[Column]:
        return (
            Column("symbol", "", 6, left=True),
            Column("last", "LAST", 8),
            Column("change", "CHG %", 6),
            Column("bid", "BID", 8, priority=3),
            Column("ask", "ASK", 8, priority=3),
            Column("spread", "SPRbp", 5),
            *(
                Column(_FEATURE + name, feature_title(name), feature_width(name), priority=4 + i)
                for i, name in enumerate(self.features)
            ),
            Column("volume", "VOL", 6, priority=9),
            Column("spark", "", 6, priority=2, sortable=False),
            Column("age", "AGE", 5),
        )  # fmt: skip

    def fitted(self, columns: list[Column]) -> list[Column]:
        """A bid without its ask says little; its room is the sparkline's."""
        both = {"bid", "ask"} <= {column.key for column in columns}
        return columns if both else [c for c in columns if c.key not in ("bid", "ask")]

    @property
    def _known(self) -> tuple[str, ...]:
        """The chosen features that the frame has; others show a dash."""
        frame = self.store.frame
        names = frame.feature_names if frame is not None else ()
        return tuple(name for name in self.features if name in names)

    def keys(self) -> list[str]:
        frame = self.store.frame
        return list(frame.symbols) if frame is not None else []

    def empty_text(self) -> str:
        return "no symbols: name some in [feed] symbols of config.toml"

    def message(self) -> str:
        if self.store.frame is None and self.store.trouble("feed") is None:
            return "waiting for the first prices…" if self.store.ready else super().message()
        return super().message()

    def status(self) -> str:
        frame = self.store.frame
        if frame is None:
            return ""
        now = self.store.now()
        live = sum(1 for at in self.store.column("quote_at") if now - at <= self.stale_after_s)
        return f"{live}/{len(frame.symbols)}"

    def sort_value(self, key: str, column: str) -> float | str:
        frame = self.store.frame
        row = self.store.rows.get(key)
        if frame is None or row is None:
            return nan
        if column == "symbol":
            return key
        if column == "change":
            return self.store.change(row)
        if column == "spread":
            quote = self.store.quote(key)
            return quote.spread_bp if quote is not None else nan
        if column == "age":
            return self.store.age(row)
        if column == "volume":
            return self.store.column("day_volume")[row]
        return self.store.column(column.removeprefix(_FEATURE))[row]

    def row(self, key: str, columns: Sequence[Column]) -> Sequence[Span]:
        row = self.store.rows[key]
        age = self.store.age(row)
        stale = not age <= self.stale_after_s
        # A row is put together anew only if its numbers or the reading of its age changed.
        moved = tuple(self.store.column(name)[row] for name in (*_MOVING, *self._known))
        looks = (text.age(age), stale, self.store.is_open, len(columns), self.size.width)
        stamp = (moved, looks)
        cached = self._cached.get(key)
        if cached is not None and cached[0] == stamp:
            return cached[1]
        spans = [self._cell(key, row, column, age, stale) for column in columns]
        self._cached[key] = (stamp, spans)
        return spans

    def _cell(self, key: str, row: int, column: Column, age: float, stale: bool) -> Span:
        frame = self.store.frame
        assert frame is not None
        plain = "stale" if stale else ""
        match column.key:
            case "symbol":
                return key, "bold"
            case "last":
                return text.price(self.store.column("last")[row]), plain or "bold"
            case "change":
                value = self.store.change(row)
                colour = ("muted", "up", "down")[
                    text.sign(round(value, 2) if isfinite(value) else 0)
                ]
                return text.change(value), plain or colour
            case "bid" | "ask":
                return text.price(self.store.column(column.key)[row]), plain
            case "spread":
                quote = self.store.quote(key)
                return text.basis_points(quote.spread_bp if quote else None), plain or "muted"
            case "volume":
                return text.compact(self.store.column("day_volume")[row]), "muted"
            case "spark":
                width = next((p.width for p in self._place() if p.column.key == "spark"), 8)
                return text.spark(frame.sparks[row].tolist(), min(width, 32)), plain or "muted"
            case "age":
                return self._age_cell(age, stale)
        name = column.key.removeprefix(_FEATURE)
        if name in frame.feature_names:
            return text.feature(self.store.column(name)[row], name), plain
        return text.NOTHING, "muted"

    def _age_cell(self, age: float, stale: bool) -> Span:
        if not isfinite(age):
            return text.NOTHING, "muted"
        if stale and not self.store.is_open:
            return text.age(age), "muted"
        if stale:
            return ("STALE" if age < 100 and int(age) % 2 == 0 else text.age(age)), "warning bold"
        return text.age(age), "muted" if age < text.FRESH_S else ""
