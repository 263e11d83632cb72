"""What all screens have in common: header, footer, the registry's keys, and the store's facts."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen

from console.ui.actions import Context, bindings
from console.ui.store import Fact
from console.ui.widgets.footer import Footer
from console.ui.widgets.header import Header
from console.ui.widgets.painted import Doer, Painted


class ConsoleScreen(Doer, Screen[None], inherit_bindings=False):  # type: ignore[misc]
    """A full screen between header and footer."""

    BINDINGS: ClassVar[list[Binding]] = bindings(Context.SCREENS)  # type: ignore[assignment]
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  Textual has it as an attribute
        (0, "-narrow"),
        (100, "-normal"),
        (140, "-wide"),
    ]
    DEFAULT_CSS = """
    ConsoleScreen { background: $background; color: $foreground; layout: vertical; }
    ConsoleScreen.-narrow Header { height: 2; }
    """
    CONTEXTS: ClassVar[frozenset[Context]] = frozenset({Context.SCREENS, Context.EVERYWHERE})

    def compose(self) -> ComposeResult:
        yield Header()
        yield from self.body()
        yield Footer(*self.CONTEXTS)

    def body(self) -> ComposeResult:
        """What stands between header and footer."""
        yield from ()

    def show(self, facts: Fact) -> None:
        """Hand the facts to the widgets that show them."""
        for widget in self.query(Painted):
            if widget.SHOWS & facts and widget.display:
                widget.show(facts)

    def on_screen_resume(self) -> None:
        self.app.note_choice()
