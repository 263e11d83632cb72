"""Every action there is: the one registry from which keys, footer, help and palette are drawn.

An action's `id` is what a config rebinds (`[ui.keys] order.buy = "B"`); the method that carries it
out is named after it (`act_order_buy`) and stands in the app or in the widget that has its context.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS


class Context(StrEnum):
    """Where a key counts. Several can be in force at once: see `TOGETHER`."""

    EVERYWHERE = "everywhere"
    SCREENS = "on every screen"
    TRADE = "on the trade screen"
    LIST = "in a list"
    TICKET = "in the order ticket"
    LINE = "in the command line"
    SESSION = "on the session screen"
    DIALOG = "in a dialog"


TOGETHER: tuple[frozenset[Context], ...] = (
    frozenset({Context.EVERYWHERE, Context.SCREENS, Context.TRADE, Context.LIST}),
    frozenset({Context.EVERYWHERE, Context.SCREENS, Context.SESSION}),
    frozenset({Context.EVERYWHERE, Context.TICKET}),
    frozenset({Context.EVERYWHERE, Context.LINE}),
    frozenset({Context.EVERYWHERE, Context.DIALOG}),
)
"""Contexts whose keys are in force at the same time; within one set a key means one thing."""


class Situation(Protocol):
    """What an action's `allowed` may look at."""

    @property
    def connected(self) -> bool: ...
    @property
    def demo(self) -> bool: ...
    @property
    def on_trade(self) -> bool: ...
    @property
    def away(self) -> bool:
        """Not on the whole trade screen: there is something to go back to."""
        ...

    @property
    def has_order(self) -> bool:
        """An order is selected."""
        ...

    @property
    def has_open_order(self) -> bool:
        """The selected order can still be canceled."""
        ...

    @property
    def has_position(self) -> bool:
        """The selected symbol is held."""
        ...

    @property
    def in_list(self) -> bool: ...
    @property
    def halted(self) -> bool: ...
    @property
    def without_engine(self) -> bool: ...


Rule = Callable[[Situation], bool]


def _always(_: Situation) -> bool:
    return True


def _connected(now: Situation) -> bool:
    return now.connected


def _demo(now: Situation) -> bool:
    return now.connected and now.demo


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done. `footer` is its place in the footer, 0 for not there."""

    id: str
    key: str
    label: str
    tooltip: str
    context: Context
    group: str
    allowed: Rule = _always
    footer: int = 0

    @property
    def method(self) -> str:
        return "act_" + self.id.replace(".", "_")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.key.split(","))

    @property
    def key_text(self) -> str:
        return " ".join(map(key_text, self.keys[:2]))


_KEY_NAMES = {
    "question_mark": "?", "slash": "/", "colon": ":", "enter": "⏎", "escape": "esc", "space": "space",
    "up": "↑", "down": "↓", "left": "←", "right": "→", "shift+up": "⇧↑", "shift+down": "⇧↓",
    "full_stop": ".", "plus": "+", "minus": "-", "tab": "tab", "shift+tab": "⇧tab", "equals_sign": "=",
    "pageup": "pgup", "pagedown": "pgdn", "percent_sign": "%", "less_than_sign": "<", "comma": ",",
    "greater_than_sign": ">", "left_square_bracket": "[", "right_square_bracket": "]",
}  # fmt: skip


def key_text(key: str) -> str:
    """A key as people write it: `ctrl+q` is `^q`."""
    return _KEY_NAMES.get(key, key.replace("ctrl+", "^"))


E, S, T, L, K, C, N, D = Context
ACTIONS: tuple[Action, ...] = (
    # orders
    Action("order.buy", "b", "buy", "Open the ticket to buy the selected symbol", T, "Orders", footer=1),
    Action("order.sell", "s", "sell", "Open the ticket to sell the selected symbol", T, "Orders", footer=2),
    Action("order.close", "x", "close", "Close the selected symbol's position", T, "Orders", lambda s: s.connected and s.has_position, 3),
    Action("order.cancel", "c", "cancel", "Cancel the selected order", T, "Orders", lambda s: s.connected and s.has_open_order, 4),
    Action("order.cancel_all", "C", "cancel all", "Cancel every open order", T, "Orders", _connected),
    Action("order.replace", "r", "replace", "Change price or quantity of the selected order", T, "Orders", lambda s: s.connected and s.has_open_order),
    Action("order.story", "enter", "story", "What happened to the selected order", T, "Orders", lambda s: s.has_order, 5),
    Action("line.open", "colon", "command", "Type a command: buy, sell, close, cancel…", T, "Orders", footer=7),
    Action("line.find", "slash", "find", "Go to a symbol by its first letters", T, "Lists", footer=6),
    # trading state
    Action("kill", "k", "kill", "Kill switch: halt, cancel all, close all; by a typed word", S, "Safety", _connected, 8),
    Action("trading.halt", "H", "halt", "Take no more orders; positions stay", S, "Safety", lambda s: s.connected and not s.halted),
    Action("trading.resume", "A", "resume", "Take orders again", S, "Safety", lambda s: s.connected),
    Action("trading.reconcile", "R", "reconcile", "Compare everything with the broker; without an engine, connect", S, "Safety", lambda s: s.connected or s.without_engine),
    # screens
    Action("screen.trade", "1", "trade", "Portfolio, positions, orders, feed and chart", S, "Screens", lambda s: s.away, 12),
    Action("screen.story", "2", "order story", "The timeline of one order", S, "Screens", lambda s: s.has_order, 13),
    Action("screen.risk", "3", "risk", "Exposure, limits, drawdown and trading state", S, "Screens", footer=14),
    Action("screen.session", "4", "session", "Equity curve, fills and slippage", S, "Screens", footer=15),
    Action("screen.services", "5", "services", "Health of every service and connection", S, "Screens", footer=16),
    Action("screen.help", "question_mark,f1", "help", "Every key and what it does", S, "Screens", footer=9),
    Action("screen.back", "escape", "back", "Leave this screen, or undo the zoom", S, "Screens", lambda s: s.away, 1),
    Action("palette", "ctrl+p", "palette", "Find any action by name", E, "Screens"),
    Action("view.zoom", "z", "zoom", "The focused pane on the whole screen, and back", T, "Screens"),
    Action("view.theme", "t", "next theme", "Change the colours", S, "Screens"),
    Action("view.next", "tab", "next pane", "Go to the next pane", S, "Lists"),
    Action("view.previous", "shift+tab", "previous pane", "Go to the pane before", S, "Lists"),
    # lists
    Action("list.up", "up", "up", "One row up", L, "Lists"),
    Action("list.down", "down,j", "down", "One row down", L, "Lists"),
    Action("list.page_up", "pageup", "page up", "One page up", L, "Lists"),
    Action("list.page_down", "pagedown", "page down", "One page down", L, "Lists"),
    Action("list.first", "home", "first", "To the first row", L, "Lists"),
    Action("list.last", "end", "last", "To the last row", L, "Lists"),
    Action("list.sort", "o", "sort", "Sort by the next column", L, "Lists"),
    Action("list.reverse", "O", "reverse", "Turn the sort order round", L, "Lists"),
    # session
    Action("session.export", "e", "export", "Write the session as CSV and Markdown", N, "Session", footer=2),
    # demo
    Action("replay.pause", "space", "pause", "Stop the recording, or let it run", S, "Demo", _demo, 10),
    Action("replay.step", "full_stop", "step", "One market minute forward", S, "Demo", _demo),
    Action("replay.faster", "plus,equals_sign", "faster", "Twice the speed, up to 1000×", S, "Demo", _demo),
    Action("replay.slower", "minus", "slower", "Half the speed, down to 1×", S, "Demo", _demo),
    # ticket
    Action("ticket.submit", "enter", "send", "To the next empty field, then confirm", K, "Ticket", footer=1),
    Action("ticket.close", "escape", "leave", "Close the ticket; nothing is sent", K, "Ticket", footer=2),
    Action("ticket.next", "tab,right", "next field", "To the next field", K, "Ticket", footer=3),
    Action("ticket.previous", "shift+tab,left", "field before", "To the field before", K, "Ticket"),
    Action("ticket.up", "up", "more", "A tick, a lot or a choice up", K, "Ticket", footer=4),
    Action("ticket.down", "down", "less", "A tick, a lot or a choice down", K, "Ticket"),
    Action("ticket.up_ten", "shift+up,pageup", "ten more", "Ten ticks or lots up", K, "Ticket", footer=5),
    Action("ticket.down_ten", "shift+down,pagedown", "ten less", "Ten ticks or lots down", K, "Ticket"),
    Action("ticket.up_one", "ctrl+up", "one more", "A single share more", K, "Ticket"),
    Action("ticket.down_one", "ctrl+down", "one less", "A single share less", K, "Ticket"),
    Action("ticket.flip", "ctrl+s", "buy/sell", "Change the side", K, "Ticket"),
    Action("ticket.line", "ctrl+l", "as text", "Go on in the command line", K, "Ticket", footer=6),
    # command line
    Action("line.submit", "enter", "go", "Do what the line says", C, "Command line", footer=1),
    Action("line.close", "escape", "leave", "Leave the line; nothing is sent", C, "Command line", footer=2),
    Action("line.older", "up", "history", "The line before", C, "Command line", footer=3),
    Action("line.newer", "down", "newer", "The line after", C, "Command line"),
    Action("line.ticket", "tab", "as ticket", "Go on in the ticket", C, "Command line", footer=4),
    # dialogs
    Action("dialog.confirm", "enter", "confirm", "Do it", D, "Dialogs", footer=1),
    Action("dialog.cancel", "escape", "back", "Don't", D, "Dialogs", footer=2),
    # leaving
    Action("quit", "ctrl+q", "quit", "Leave the console", E, "Screens", footer=11),
)  # fmt: skip
del E, S, T, L, K, C, N, D
BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}


class KeymapError(ValueError):
    """A rebinding that can't be: the action or key, the rule, the way out."""


def rebind(keys: Mapping[str, str]) -> tuple[Action, ...]:
    """All actions with a person's own keys.

    Raises:
        KeymapError: an unknown action, an empty key, or two actions on one key.
    """
    for name, key in keys.items():
        if name not in BY_ID:
            known = ", ".join(BY_ID)
            raise KeymapError(f"[ui.keys] {name}: no such action; known are {known}")
        if not key.strip():
            raise KeymapError(
                f"[ui.keys] {name}: the key is empty; write for example {name} = 'f5'"
            )
    actions = tuple(replace(a, key=_named(keys[a.id])) if a.id in keys else a for a in ACTIONS)
    if clash := next(clashes(actions), None):
        key, first, second = clash
        raise KeymapError(
            f"[ui.keys] {key!r} would do both {first.id} and {second.id}; give one another key"
        )
    return actions


def _named(keys: str) -> str:
    """Keys as Textual names them: `/` is `slash`, `ctrl+?` is `ctrl+question_mark`."""
    return ",".join(_key_name(key.strip()) for key in re.split(r",(?=.)", keys.strip()))


def _key_name(key: str) -> str:
    head, plus, last = key.rpartition("+") if len(key) > 1 else ("", "", key)
    if len(last) == 1 and not last.isalnum():
        name = unicodedata.name(last).lower().replace("-", "_").replace(" ", "_")
        last = KEY_NAME_REPLACEMENTS.get(name, name)
    return f"{head}{plus}{last}" if last else key


def clashes(actions: tuple[Action, ...] = ACTIONS) -> Iterator[tuple[str, Action, Action]]:
    """Two actions on one key where both count."""
    for together in TOGETHER:
        taken: dict[str, Action] = {}
        for action in actions:
            if action.context not in together:
                continue
            for key in action.keys:
                if key in taken:
                    yield key, taken[key], action
                taken.setdefault(key, action)


def bindings(*contexts: Context) -> list[Binding]:
    """Textual's bindings of these contexts; each carries its action's id, for rebinding."""
    return [
        Binding(
            a.key,
            f"do('{a.id}')",
            a.label,
            id=a.id,
            tooltip=a.tooltip,
            priority=a.context is Context.EVERYWHERE,
        )
        for a in ACTIONS
        if a.context in contexts
    ]
