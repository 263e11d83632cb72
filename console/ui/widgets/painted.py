"""The base of all widgets here: lines of text painted as strips, in inks that the theme gives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from console.harmless import harmless
from console.ui import format as text
from console.ui.actions import BY_ID
from console.ui.store import Fact, Store

if TYPE_CHECKING:
    from console.ui.app import ConsoleApp

Span = tuple[str, str]
"""A text and the names of its inks, such as `("▲0.62", "up")` or `("IBM", "accent bold")`."""


INKS: dict[str, tuple[str, str, str]] = {
    "muted": ("muted", "", ""),
    "accent": ("accent", "", ""),
    "up": ("up", "", ""),
    "down": ("down", "", ""),
    "warning": ("warning", "", ""),
    "error": ("error", "", "bold"),
    "stale": ("stale", "", ""),
    "rule": ("rule", "", ""),
    "volume": ("volume", "", ""),
    "bold": ("", "", "bold"),
    "under": ("", "", "underline"),
    "title": ("", "panel", ""),
    "selected": ("", "selection", ""),
    "input": ("", "input", ""),
    "mark": ("background", "accent", ""),
    "demo": ("badge-text", "demo", "bold"),
    "paper": ("badge-text", "paper", "bold"),
    "alarm": ("background", "error", "bold"),
}
"""Ink → the theme's roles for the text and for the ground, and attributes. (As component classes
of each widget they would be 700 more nodes to style: 80 ms before the first paint.)"""

TITLE = "title bold"
"""The inks of a title: a line that begins with them has the title's ground to its end."""


class Doer:
    """Carries out actions of the registry: its own `act_…` methods first, then the app's."""

    app: ConsoleApp

    def action_do(self, action_id: str) -> object:
        method = BY_ID[action_id].method
        target = getattr(self, method, None) or getattr(self.app, method)
        return target()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "do":
            return True
        return self.app.whole and BY_ID[str(parameters[0])].allowed(self.app)


class Painted(Doer, Widget, inherit_bindings=False):  # type: ignore[misc]
    """A widget that paints its own lines and shows some of the store's facts."""

    SHOWS: ClassVar[Fact] = Fact.NOTHING
    """The facts after which `show` is called."""

    DEFAULT_CSS = "Painted { background: $background; color: $foreground; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._inks: dict[tuple[str, str], Style] = {}

    @cached_property
    def store(self) -> Store:
        return self.app.store

    def show(self, facts: Fact) -> None:
        """Take over what changed in the store and ask for a redraw of it."""
        self.refresh()

    def ink(self, names: str, ground: str = "") -> Style:
        """The style of these inks on this ground (cached until the theme changes)."""
        found = self._inks.get((names, ground))
        if found is None:
            found = self.rich_style
            variables = self.app.theme_variables
            for name in (*ground.split(), *names.split()):
                text_role, ground_role, attributes = INKS[name]
                found += Style(
                    color=variables[text_role] if text_role else None,
                    bgcolor=variables[ground_role] if ground_role else None,
                    bold="bold" in attributes or None,
                    underline="underline" in attributes or None,
                )
            self._inks[names, ground] = found
        return found

    def strip(self, spans: Iterable[Span], width: int, ground: str = "") -> Strip:
        """One line, cut or padded to `width` cells."""
        segments = [
            Segment(harmless(words), self.ink(names, ground)) for words, names in spans if words
        ]
        return Strip(segments).adjust_cell_length(width, self.ink("", ground))

    def notify_style_update(self) -> None:
        self._inks.clear()
        super().notify_style_update()


class Lined(Painted):
    """A widget whose whole text is composed at once and redrawn where a line of it differs."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lines: list[list[Span]] = []

    def compose_lines(self, width: int, height: int) -> list[list[Span]]:
        """All lines for this size, from the top."""
        raise NotImplementedError

    def show(self, facts: Fact) -> None:
        if not self.size.width:
            return
        before, self._lines = self._lines, self.compose_lines(*self.size)
        if len(before) != len(self._lines):
            self.refresh()
            return
        changed = [y for y, line in enumerate(self._lines) if line != before[y]]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def on_resize(self) -> None:
        self._lines = self.compose_lines(*self.size)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        spans = self._lines[y] if y < len(self._lines) else []
        ground = "title" if spans and spans[0][1] == TITLE else ""
        return self.strip(spans, self.size.width, ground)


def sign_ink(value: text.Number) -> str:
    """The ink of a gain, a loss, or neither."""
    return ("muted", "up", "down")[text.sign(value)]


def spread(left: list[Span], right: list[Span], width: int) -> list[Span]:
    """`left` and `right` at the two ends of a line; the right one goes where there is no room."""
    used = sum(len(words) for words, _ in left)
    wanted = sum(len(words) for words, _ in right)
    if used + wanted + 1 > width:
        return left
    return [*left, (" " * (width - used - wanted), ""), *right]
