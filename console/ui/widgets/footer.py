"""The footer: the keys that count at this moment, out of the registry."""

from __future__ import annotations

from typing import ClassVar

from textual import events

from console.ui.actions import Action, Context
from console.ui.store import Fact
from console.ui.widgets.painted import TITLE, Lined, Span

_HIDDEN = ("Demo", "Screens")
"""Groups whose actions leave the footer while they are not allowed, instead of fading."""


class Footer(Lined):
    SHOWS: ClassVar[Fact] = Fact.ALL & ~Fact.MARKET & ~Fact.CLOCK
    DEFAULT_CSS = """
    Footer { dock: bottom; height: 1; background: $panel; }
    """

    def __init__(self, *contexts: Context) -> None:
        super().__init__()
        self.contexts = frozenset(contexts)
        self._spots: list[tuple[int, int, Action]] = []

    def compose_lines(self, width: int, height: int) -> list[list[Span]]:
        contexts = self.app.contexts_now() or self.contexts
        actions = [a for a in self.app.actions if a.footer and a.context in contexts]
        actions.sort(key=lambda a: (a.context is Context.EVERYWHERE, a.footer))
        spans: list[Span] = [(" ", TITLE)]
        self._spots = []
        x = 1
        for action in actions:
            allowed = action.allowed(self.app)
            if not allowed and action.group in _HIDDEN:
                continue
            key, label = action.key_text.split(" ", 1)[0], f" {action.label}  "
            if x + len(key) + len(label) > width:
                break
            spans += [
                (key, "accent bold" if allowed else "rule"),
                (label, "" if allowed else "rule"),
            ]
            self._spots.append((x, x + len(key) + len(label) - 2, action))
            x += len(key) + len(label)
        return [spans]

    async def on_click(self, event: events.Click) -> None:
        for start, end, action in self._spots:
            if start <= event.x < end and action.allowed(self.app):
                self.app.perform(action)
                return
