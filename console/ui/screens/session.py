"""The session screen: equity curve, fills, and what they cost against the quote."""

from __future__ import annotations

from math import isfinite
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding

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
        for fill, (bp, _) in zip(fills, costs, strict=True):
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
        points = [value for _, value in self.store.equity]
        if len(points) < 2:
            return [[(" the equity curve begins with the next change", "muted")]]
        room = max(10, width - 14)
        if len(points) > room:
            points = [points[int(i * (len(points) - 1) / (room - 1))] for i in range(room)]
        low, high = min(points), max(points)
        scale = (CURVE_ROWS * 8 - 1) / (high - low) if high > low else 0.0
        levels = [1 + int((value - low) * scale) for value in points]
        account = self.store.account
        start = float(account.last_equity) if account is not None else points[0]
        lines: list[list[Span]] = []
        for row in range(CURVE_ROWS - 1, -1, -1):
            glyphs = "".join(_EIGHTHS[max(0, min(8, level - row * 8))] for level in levels)
            label = (
                text.money(high) if row == CURVE_ROWS - 1 else text.money(low) if row == 0 else ""
            )
            ink = "up" if points[-1] >= start else "down"
            lines.append([(" ", ""), (glyphs, ink), (f" {label:>12}", "muted")])
        return lines


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
