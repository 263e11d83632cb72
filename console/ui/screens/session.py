"""The session screen: equity curve, fills, and what they cost against the quote."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import isfinite
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding

from console.engine.curve import EquityPoint
from console.ui import format as text
from console.ui.actions import Context, bindings
from console.ui.export import slippage_bp
from console.ui.screens.base import ConsoleScreen
from console.ui.store import Fact
from console.ui.widgets.page import Page
from console.ui.widgets.painted import TITLE, Span, sign_ink

CURVE_ROWS = 8
_HEADINGS = (
    f" {'TIME':<9}{'SIDE':<5}{'QTY':>8} {'SYM':<6}{'PRICE':>10}{'BID':>10}{'ASK':>10}{'SLIP bp':>9}"
)
_STEPS_MIN = (5, 10, 15, 30, 60, 120, 180)
"""Minutes between two times below the curve, the smallest for which there is room."""
_EIGHTHS = " ▁▂▃▄▅▆▇█"


class Session(Page):
    SHOWS: ClassVar[Fact] = Fact.ACCOUNT | Fact.FILLS | Fact.LINK | Fact.SESSION

    def lines(self, width: int) -> list[list[Span]]:
        store = self.store
        lines: list[list[Span]] = [self._title(), *self._curve(width), []]
        fills = list(reversed(store.fills))
        costs = [(slippage_bp(f), float(f.qty * f.price)) for f in fills]
        known = [(bp, worth) for bp, worth in costs if isfinite(bp)]
        total = sum(worth for _, worth in known)
        head = f"  {len(fills)}"
        if total:
            average = sum(bp * worth for bp, worth in known) / total
            money = sum(bp * worth for bp, worth in known) / 1e4
            head += f" · slippage {average:+.1f} bp, {money:+,.2f}"
        lines.append([(" FILLS", TITLE), (head if fills else "", "muted")])
        if not fills:
            return [*lines, [(" no fills yet", "muted")]]
        lines.append(
            [
                (
                    _HEADINGS,
                    "muted",
                )
            ]
        )
        day = text.day(store.market_time())
        for fill, (bp, _) in zip(fills, costs, strict=True):
            if text.day(fill.at) != day:
                day = text.day(fill.at)
                lines.append([(f" {day}", "muted bold")])
            lines.append(
                [
                    (f" {text.clock(fill.at):<9}", "muted"),
                    (f"{fill.side.value:<5}", "up" if fill.side == "buy" else "down"),
                    (f"{text.quantity(fill.qty):>8} {fill.symbol:<6}", ""),
                    (f"{text.price(fill.price):>10}", ""),
                    (f"{text.price(fill.bid):>10}{text.price(fill.ask):>10}", "muted"),
                    (f"{text.signed(bp):>9}", "warning" if bp > 5 else ""),
                ]
            )  # fmt: skip
        return lines

    def _title(self) -> list[Span]:
        account = self.store.account
        spans: list[Span] = [
            (" SESSION", TITLE),
            (f"  {text.day(self.store.market_time())}", "muted"),
        ]
        if account is not None:
            colour = sign_ink(account.day_pl)
            spans += [
                (f"   equity {text.money(account.equity)} ", ""),
                (text.arrow(account.day_pl) + text.signed_money(account.day_pl), colour),
            ]
        return spans

    def _curve(self, width: int) -> list[list[Span]]:
        points = self.store.curve.points()
        if len(points) < 2:
            return [[(" the equity curve begins with the next change", "muted")]]
        room = max(10, width - 14)
        first, last = points[0].at, self._end(points[-1].at)
        step = (last - first) / (room - 1)
        values = _sampled(points, [first + step * i for i in range(room)])
        low, high = min(values), max(values)
        scale = (CURVE_ROWS * 8 - 1) / (high - low) if high > low else 0.0
        levels = [1 + int((value - low) * scale) for value in values]
        account = self.store.account
        start = float(account.last_equity) if account is not None else values[0]
        inks = ["up" if value >= start else "down" for value in values]
        lines: list[list[Span]] = []
        for row in range(CURVE_ROWS - 1, -1, -1):
            label = (
                text.money(high) if row == CURVE_ROWS - 1 else text.money(low) if row == 0 else ""
            )
            spans: list[Span] = [(" ", "")]
            for ink, run in groupby(zip(levels, inks, strict=True), key=lambda cell: cell[1]):
                glyphs = (_EIGHTHS[max(0, min(8, level - row * 8))] for level, _ in run)
                spans.append(("".join(glyphs), ink))
            spans.append((" " * (room - len(values)) + f" {label:>12}", "muted"))
            lines.append(spans)
        return [*lines, [(" " + _times(first, last, room), "muted")]]

    def _end(self, last: datetime) -> datetime:
        """The curve's right edge: today's close while that is still to come."""
        session = self.store.session
        if session is None or text.day(session.next_close) != text.day(last):
            return last
        return max(last, session.next_close)


def _sampled(points: Sequence[EquityPoint], moments: Sequence[datetime]) -> list[float]:
    """What the account was worth at each moment up to the last point; ascending moments."""
    values: list[float] = []
    at = 0
    for moment in moments:
        if moment > points[-1].at and values:
            break
        while at + 1 < len(points) and points[at + 1].at <= moment:
            at += 1
        values.append(float(points[at].equity))
    values[-1] = float(points[-1].equity)
    return values


def _times(first: datetime, last: datetime, room: int) -> str:
    """Times of day below a curve of `room` cells."""
    line = [" "] * room
    span = (last - first).total_seconds() or 1.0
    steps = next((m for m in _STEPS_MIN if m * 60 / span * room >= 8), _STEPS_MIN[-1]) * 60
    tick = (int(first.timestamp()) // steps + 1) * steps
    while tick <= last.timestamp():
        label = text.minute(datetime.fromtimestamp(tick, UTC))
        at = round((tick - first.timestamp()) / span * (room - 1)) - len(label) // 2
        if at >= 0 and at + len(label) <= room:
            line[at : at + len(label)] = label
        tick += steps
    return "".join(line)


class SessionScreen(ConsoleScreen):
    BINDINGS: ClassVar[list[Binding]] = bindings(Context.SESSION)
    CONTEXTS: ClassVar[frozenset[Context]] = frozenset(
        {Context.SCREENS, Context.EVERYWHERE, Context.SESSION}
    )

    def body(self) -> ComposeResult:
        self.page = Session()
        yield self.page

    def on_mount(self) -> None:
        self.page.focus()

    def act_session_export(self) -> None:
        self.app.export()
