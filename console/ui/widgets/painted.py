"""The base of all widgets here: lines of text painted as strips, in inks that the theme gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from console.ui import format as text
from console.ui.actions import BY_ID
from console.ui.store import Fact, Store

if TYPE_CHECKING:
    from console.ui.app import ConsoleApp

Span = tuple[str, str]
"""A text and the names of its inks, such as `("▲0.62", "up")` or `("IBM", "accent bold")`."""


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
        return BY_ID[str(parameters[0])].allowed(self.app)


class Painted(Doer, Widget, inherit_bindings=False):  # type: ignore[misc]
    """A widget that paints its own lines and shows some of the store's facts."""

    SHOWS: ClassVar[Fact] = Fact.NOTHING
    """The facts after which `show` is called."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{name}"
        for name in (
            "muted", "accent", "up", "down", "warning", "error", "stale", "rule", "volume", "bold",
            "title", "heading", "selected", "input", "demo", "paper", "alarm", "mark", "under",
        )
    }  # fmt: skip
    DEFAULT_CSS = """
    Painted { background: $background; color: $foreground; }
    Painted > .ink--muted { color: $muted; }
    Painted > .ink--accent { color: $accent; }
    Painted > .ink--up { color: $up; }
    Painted > .ink--down { color: $down; }
    Painted > .ink--warning { color: $warning; }
    Painted > .ink--error { color: $error; text-style: bold; }
    Painted > .ink--stale { color: $stale; }
    Painted > .ink--rule { color: $rule; }
    Painted > .ink--volume { color: $volume; }
    Painted > .ink--bold { text-style: bold; }
    Painted > .ink--under { text-style: underline; }
    Painted > .ink--title { background: $panel; }
    Painted > .ink--heading { background: $panel; color: $muted; }
    Painted > .ink--selected { background: $selection; }
    Painted > .ink--input { background: $input; }
    Painted > .ink--mark { background: $accent; color: $badge-text; }
    Painted > .ink--demo { background: $demo; color: $badge-text; text-style: bold; }
    Painted > .ink--paper { background: $paper; color: $badge-text; text-style: bold; }
    Painted > .ink--alarm { background: $error; color: $background; text-style: bold; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._inks: dict[tuple[str, str], Style] = {}

    @property
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
            for name in (*ground.split(), *names.split()):
                found += self.get_component_rich_style(f"ink--{name}", partial=True)
            self._inks[names, ground] = found
        return found

    def strip(self, spans: Iterable[Span], width: int, ground: str = "") -> Strip:
        """One line, cut or padded to `width` cells."""
        segments = [Segment(words, self.ink(names, ground)) for words, names in spans if words]
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
