"""A page of text that is longer than the screen: scrolled by the arrows."""

from __future__ import annotations

from typing import ClassVar

from textual import events

from console.ui.store import Fact
from console.ui.widgets.painted import Lined, Span


class Page(Lined, can_focus=True):
    SHOWS: ClassVar[Fact] = Fact.ALL & ~Fact.MARKET
    DEFAULT_CSS = "Page { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._top = 0

    def lines(self, width: int) -> list[list[Span]]:
        """The whole text."""
        raise NotImplementedError

    def compose_lines(self, width: int, height: int) -> list[list[Span]]:
        lines = self.lines(width)
        self._top = max(0, min(self._top, len(lines) - height))
        return lines[self._top : self._top + height]

    def _scroll(self, by: int) -> None:
        self._top = max(0, self._top + by)
        self.show(Fact.CHOICE)

    def on_key(self, event: events.Key) -> None:
        page = max(1, self.size.height - 1)
        by = {
            "up": -1,
            "down": 1,
            "pageup": -page,
            "pagedown": page,
            "home": -(10**6),
            "end": 10**6,
        }
        if event.key in by:
            event.stop()
            self._scroll(by[event.key])

    def on_mouse_scroll_down(self) -> None:
        self._scroll(3)

    def on_mouse_scroll_up(self) -> None:
        self._scroll(-3)
