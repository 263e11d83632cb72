"""The header: mode, market clock, equity, day's gain, trading state, connections and their age."""

from __future__ import annotations

from typing import ClassVar

from console.engine.state import ConnectionState, ConnectionView, TradingState
from console.ui import format as text
from console.ui.store import Fact, Phase
from console.ui.widgets.painted import TITLE, Lined, Span, sign_ink

_MARKS = {
    ConnectionState.CONNECTED: ("●", "up"),
    ConnectionState.CONNECTING: ("◐", "warning"),
    ConnectionState.STALE: ("◌", "warning"),
    ConnectionState.LOST: ("○", "error"),
}
_BADGES = {"DEMO": "demo", "PAPER": "paper"}
_STATES = {
    TradingState.ACTIVE: "up",
    TradingState.REDUCING: "warning",
    TradingState.HALTED: "alarm",
}
Part = tuple[int, list[Span]]
"""A piece of the line; pieces of a higher number leave first when it gets narrow."""


class Header(Lined):
    """One line, or two where the portfolio pane has no room."""

    SHOWS: ClassVar[Fact] = (
        Fact.LINK | Fact.ACCOUNT | Fact.SESSION | Fact.CONNECTIONS | Fact.TRADING | Fact.CLOCK
        | Fact.POSITIONS
    )  # fmt: skip
    DEFAULT_CSS = """
    Header { dock: top; height: 1; background: $panel; }
    """

    def compose_lines(self, width: int, height: int) -> list[list[Span]]:
        left = [self._badge(), self._clock(), self._trading()]
        if height < 2:
            left[2:2] = self._money(folded=False)
        right = self._connections()
        if _length(left) + _length(right) > width:  # what is well needs no figures
            brief = self._connections(brief=True)
            right = right[: len(brief)]
            if _length(left) + _length(right) > width:
                right = brief
        lines = [_fit(left, right, width)]
        if height >= 2:
            lines.append([(" ", TITLE), *_fit(self._money(folded=True), [], width - 1)])
        return lines

    def _badge(self) -> Part:
        mode = self.store.mode or "…"
        return 0, [(f" {mode} ", _BADGES.get(mode, "mark"))]

    def _clock(self) -> Part:
        store = self.store
        if store.phase is Phase.CONNECTING:
            return 1, [("connecting…", "warning")]
        if store.phase is Phase.FAILED:
            return 1, [("no engine", "error"), (f": {store.failure}", "warning")]
        if store.phase is Phase.LOST:
            return 1, [(f" {store.lost_words()} ", "alarm")]
        session = store.session
        if session is None:
            return 1, [("no clock", "warning")]
        moment = store.market_time()
        spans: list[Span] = [
            ("● open " if session.is_open else "○ closed ", "up" if session.is_open else "muted"),
            (f"{text.clock(moment)} ET", "bold"),
        ]
        if not session.is_open:
            spans.append((f" opens {text.minute(session.next_open)}", "muted"))
        if session.speed != 1 or store.mode == "DEMO":
            spans.append(
                (f" {text.speed(session.speed)}", "warning" if not session.speed else "muted")
            )
        return 1, spans

    def _money(self, *, folded: bool) -> list[Part]:
        account = self.store.account
        if account is None:
            return [(2, [("equity –", "muted")])]
        colour = sign_ink(account.day_pl)
        parts: list[Part] = [
            (2, [("equity ", "muted"), (text.money(account.equity), "bold")]),
            (2, [(text.arrow(account.day_pl) + text.signed_money(account.day_pl), colour),
                 (f" {text.percent(account.day_pl_pct)}", colour)]),
        ]  # fmt: skip
        if folded:
            gross, _ = self.store.exposure()
            parts += [
                (3, [("bp ", "muted"), (text.whole_money(account.buying_power), "")]),
                (4, [("cash ", "muted"), (text.whole_money(account.cash), "")]),
                (5, [("exp ", "muted"), (text.whole_money(gross), "")]),
            ]
        return parts

    def _trading(self) -> Part:
        store = self.store
        if store.phase is not Phase.CONNECTED:
            return 9, []
        state = store.trading_state
        if not store.ready and state is not TradingState.HALTED:
            return 1, [("not ready", "warning")]
        return 1, [
            (f" {state.value} " if state is TradingState.HALTED else state.value, _STATES[state])
        ]

    def _connections(self, *, brief: bool = False) -> list[Part]:
        store = self.store
        parts: list[Part] = []
        if store.phase is not Phase.CONNECTED:  # nobody knows how they are
            return parts
        for connection in store.connections.values():
            well = connection.state is ConnectionState.CONNECTED
            mark, ink = _MARKS[connection.state]
            note = "" if brief and well else self._note(connection)
            parts.append(
                (
                    6 if well else 3,
                    [(connection.name, "muted"), (mark, ink), (note, "muted" if well else ink)],
                )
            )
        if store.frame is not None and not brief:
            parts.append((8, [(f"{text.compact(store.frame.rate)}/s", "muted")]))
        return parts

    def _note(self, connection: ConnectionView) -> str:
        now = self.store.now()
        if connection.state is ConnectionState.LOST and connection.retry_at is not None:
            return f"↻{text.duration(max(0.0, connection.retry_at - now) + 0.999)}"
        if connection.state is not ConnectionState.CONNECTED:
            return text.duration(now - connection.since)
        if connection.latency_ms is not None:
            return text.milliseconds(connection.latency_ms)
        frame = self.store.frame
        if (
            connection.name == "feed"
            and frame is not None
            and now - frame.message_at > text.FRESH_S
        ):
            return text.age(now - frame.message_at)
        return ""


def _length(parts: list[Part]) -> int:
    return sum(sum(len(t) for t, _ in spans) + 2 for _, spans in parts if spans)


def _fit(left: list[Part], right: list[Part], width: int) -> list[Span]:
    """Both halves on one line; what matters least leaves until they fit."""
    left, right = [p for p in left if p[1]], [p for p in right if p[1]]
    while _length(left) + _length(right) > width:
        both = [*left, *right]
        least = max(range(len(both)), key=lambda i: (both[i][0], i), default=None)
        if least is None or both[least][0] == 0:
            break
        del (left if least < len(left) else right)[least - (0 if least < len(left) else len(left))]
    gap = max(0, width - _length(left) - _length(right))
    spans: list[Span] = [("", TITLE)]
    for _, part in left:
        spans += [*part, ("  ", "")]
    spans.append((" " * gap, ""))
    for _, part in right:
        spans += [("  ", ""), *part]
    return spans
