"""The chart: one-minute bars of the selected symbol as candles, with volume, the position's
average price and the prices of working orders."""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, ClassVar

from console.ui import format as text
from console.ui.store import Fact, Phase
from console.ui.widgets.painted import TITLE, Lined, Span, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

AXIS = 10
REFRESH_S = 0.5
"""Bars are asked for at most this often."""

# (upper half, lower half) of a cell: 0 nothing, 1 wick, 2 body.
_GLYPHS = {
    (0, 0): " ", (1, 1): "│", (2, 2): "┃", (1, 0): "╵", (0, 1): "╷", (2, 0): "╹", (0, 2): "╻",
    (2, 1): "╿", (1, 2): "╽",
}  # fmt: skip
_VOLUMES = " ▁▂▃▄▅▆▇█"

Bars = tuple[
    "Sequence[int]",
    "Sequence[float]",
    "Sequence[float]",
    "Sequence[float]",
    "Sequence[float]",
    "Sequence[float]",
]
"""Time (ns), open, high, low, close, volume; oldest first."""


class Chart(Lined):
    SHOWS: ClassVar[Fact] = (
        Fact.MARKET | Fact.ORDERS | Fact.POSITIONS | Fact.LINK | Fact.CHOICE | Fact.CLOCK
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._symbol = ""
        self._asked_at = float("-inf")

    def show(self, facts: Fact) -> None:
        now = self.store.now()
        only_prices = not facts & ~(Fact.MARKET | Fact.CLOCK)
        if only_prices and self._symbol == self.app.symbol and now - self._asked_at < REFRESH_S:
            return
        self._symbol, self._asked_at = self.app.symbol, now
        super().show(facts)

    def compose_lines(self, width: int, height: int) -> list[list[Span]]:
        if width < AXIS + 4 or height < 4:
            return []
        symbol = self.app.symbol
        bars = self.app.bars(symbol, width - AXIS - 1) if symbol else None
        title: list[Span] = [(f" {symbol or 'CHART'}", TITLE), (" 1m" if symbol else "", "muted")]
        if bars is None or not len(bars[0]):
            if self.store.phase is Phase.CONNECTING:
                words = "connecting…"
            elif self.store.phase is Phase.FAILED:
                words = f"no engine: {self.store.failure}"
            else:
                words = "no bars yet" if symbol else "choose a symbol in the feed"
            return [title, [(f" {words}", "muted")]]
        last = len(bars[0]) - 1
        title.append(
            (f"   O {text.price(bars[1][last])}  H {text.price(bars[2][last])}  "
             f"L {text.price(bars[3][last])}  C {text.price(bars[4][last])}  "
             f"V {text.compact(bars[5][last])}", "muted")
        )  # fmt: skip
        day = datetime.fromtimestamp(bars[0][last] / 1e9, UTC)
        head = spread(title, [(text.day(day) + " ", "muted")], width)
        return [head, *self._plot(bars, width, height - 1)]

    def _plot(self, bars: Bars, width: int, height: int) -> list[list[Span]]:
        times, opens, highs, lows, closes, volumes = bars
        count = len(times)
        volume_rows = 2 if height >= 10 else 0
        rows = height - volume_rows - 1
        levels = self._levels()
        low, high = _scale(lows, highs)
        pad = max((high - low) * 0.04, high * 2e-5)
        low, high = low - pad, high + pad
        scale = (2 * rows - 1) / (high - low)
        columns = width - AXIS - 1

        def half(price: float) -> int:
            return max(0, min(2 * rows - 1, round((price - low) * scale)))

        cells = [[(" ", "")] * columns for _ in range(rows)]
        tags: list[tuple[int, str, str]] = []
        for price, label, ink in levels:
            if low <= price <= high:
                row = rows - 1 - half(price) // 2
                glyph = "┄" if label.startswith("avg") else "─"
                cells[row] = [(glyph, ink)] * columns
                tags.append((row, f" {label} ", ink))
        start = columns - count
        for i in range(count):
            top, bottom = half(max(opens[i], closes[i])), half(min(opens[i], closes[i]))
            wick_top, wick_bottom = half(highs[i]), half(lows[i])
            ink = "up" if closes[i] >= opens[i] else "down"
            for cell in range(wick_bottom // 2, wick_top // 2 + 1):
                halves = tuple(
                    2 if bottom <= h <= top else 1 if wick_bottom <= h <= wick_top else 0
                    for h in (2 * cell + 1, 2 * cell)
                )
                glyph = _GLYPHS[halves]  # type: ignore[index]
                if glyph != " ":
                    cells[rows - 1 - cell][start + i] = (glyph, ink)
        for row, tag, ink in tags:
            if len(tag) < columns - 1:
                cells[row][1 : 1 + len(tag)] = [(character, ink) for character in tag]
        lines = [_joined(row) for row in cells]
        self._label(lines, low, high, rows, closes[count - 1])
        if volume_rows:
            lines += _volume_lines(list(volumes), start, volume_rows)
        lines.append(_time_axis(times, start, columns))
        return lines

    def _levels(self) -> list[tuple[float, str, str]]:
        """Prices worth a line across the chart: of the position and of orders that wait."""
        store, symbol = self.store, self.app.symbol
        levels: list[tuple[float, str, str]] = []
        position = store.positions.get(symbol)
        if position is not None:
            average = position.avg_entry_price
            levels.append((float(average), f"avg {text.price(average)}", "muted"))
        for order in store.open_orders(symbol):
            price = order.limit_price or order.stop_price
            if price is not None:
                label = f"{order.side.value} {text.quantity(order.qty)} @ {text.price(price)}"
                levels.append((float(price), label, "up" if order.side == "buy" else "down"))
        return levels

    def _label(
        self, lines: list[list[Span]], low: float, high: float, rows: int, last: float
    ) -> None:
        """Round prices beside the plot, and the last one marked."""
        step = _round_step((high - low) / max(2, rows / 3))
        labels: dict[int, Span] = {}
        scale = (2 * rows - 1) / (high - low)
        price = ceil(low / step) * step
        while price <= high:
            labels[rows - 1 - round((price - low) * scale) // 2] = (f"┤{price:>9,.2f}", "muted")
            price += step
        labels[rows - 1 - round((last - low) * scale) // 2] = (f" {text.price(last):>8} ", "mark")
        for row in range(rows):
            lines[row].append(labels.get(row, ("│", "rule")))


def _scale(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """What the plot spans: all bars, unless a few stray prints would press the others flat."""
    low, high = min(lows), max(highs)
    stray = len(lows) // 20
    if stray:
        most_low, most_high = sorted(lows)[stray], sorted(highs)[-1 - stray]
        reach = max(most_high - most_low, most_high * 1e-4)
        low, high = max(low, most_low - reach), min(high, most_high + reach)
    return low, high


def _joined(cells: list[Span]) -> list[Span]:
    """Neighbours of one ink as one span."""
    spans: list[Span] = [(" ", "")]
    for glyph, ink in cells:
        if spans and spans[-1][1] == ink:
            spans[-1] = (spans[-1][0] + glyph, ink)
        else:
            spans.append((glyph, ink))
    return spans


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5 × 10ⁿ, a cent at least."""
    if not isfinite(rough) or rough <= 0:
        return 1.0
    power = 10.0 ** floor(log10(rough))
    return max(0.01, next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999))


def _volume_lines(volumes: list[float], start: int, rows: int) -> list[list[Span]]:
    top = max((v for v in volumes if isfinite(v)), default=0.0) or 1.0
    lines: list[list[Span]] = []
    for row in range(rows - 1, -1, -1):
        glyphs = []
        for volume in volumes:
            eighths = ceil(volume / top * rows * 8) - row * 8 if isfinite(volume) else 0
            glyphs.append(_VOLUMES[max(0, min(8, eighths))])
        line: list[Span] = [(" " * (start + 1) + "".join(glyphs), "volume")]
        line.append((f"│{text.compact(top):>8}" if row == rows - 1 else "│", "rule"))
        lines.append(line)
    return lines


def _time_axis(times: Sequence[int], start: int, columns: int) -> list[Span]:
    axis = [" "] * (columns + 1)
    after = 0
    for i, at in enumerate(times):
        minute = int(at) // 60_000_000_000
        x = start + 1 + i
        if minute % 15 == 0 and x >= after and x + 5 <= columns + 1:
            axis[x : x + 5] = text.minute(datetime.fromtimestamp(minute * 60, UTC))
            after = x + 8
    return [("".join(axis), "muted")]
