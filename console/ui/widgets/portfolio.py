"""The portfolio pane: what the account is worth and what it can still do."""

from __future__ import annotations

from typing import ClassVar

from console.ui import format as text
from console.ui.store import Fact, Phase
from console.ui.widgets.painted import TITLE, Lined, Span, sign_ink, spread


class Portfolio(Lined):
    SHOWS: ClassVar[Fact] = (
        Fact.ACCOUNT | Fact.POSITIONS | Fact.LINK | Fact.CONNECTIONS | Fact.CLOCK
    )
    DEFAULT_CSS = "Portfolio { height: 7; }"

    def compose_lines(self, width: int, height: int) -> list[list[Span]]:
        store = self.store
        lost = store.trouble("broker") if store.phase is Phase.CONNECTED else None
        note = ""
        if store.phase is Phase.LOST:
            note = f"as of {text.duration(store.now() - store.phase_since)} ago"
        elif lost is not None:
            note = f"{lost.name} {lost.state.value} {text.duration(store.now() - lost.since)}"
        title: list[Span] = [(" PORTFOLIO", TITLE)]
        lines = [spread(title, [(note + " ", "warning")] if note else [], width)]
        account = store.account
        if account is None:
            words = {Phase.CONNECTING: "connecting…", Phase.FAILED: f"no engine: {store.failure}"}
            return [*lines, [(" " + words.get(store.phase, "no account yet"), "muted")]]
        plain = "stale" if note else ""
        gross, net = store.exposure()
        equity = account.equity
        day = sign_ink(account.day_pl)
        used = float(gross / equity) if equity else 0.0
        rows: list[tuple[str, str, str, list[Span]]] = [
            ("Equity", text.money(equity), plain or "bold", []),
            ("Day P&L", text.arrow(account.day_pl) + text.signed_money(account.day_pl),
             plain or day, [(text.percent(account.day_pl_pct), plain or day)]),
            ("Cash", text.money(account.cash), plain, []),
            ("Buying power", text.money(account.buying_power), plain, []),
            ("Exposure", text.money(gross), plain,
             [(text.gauge(used / 2, 8), "volume"), (f" {text.share(used * 100, 0)}", "muted")]),
            ("Net", text.money(net), "muted", []),
        ]  # fmt: skip
        for label, value, ink, extra in rows:
            line: list[Span] = [(f" {label:<13}", "muted"), (f"{value:>14}", ink)]
            lines.append([*line, ("  ", ""), *extra] if extra else line)
        return lines
