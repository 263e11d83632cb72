"""What all screens have in common: header, footer, the registry's keys, and the store's facts."""

from __future__ import annotations

from typing import ClassVar, Self

from textual.app import ComposeResult
from textual.binding import Binding
from textual.geometry import Size
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
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-short"),
        (34, "-tall"),
    ]
    DEFAULT_CSS = """
    ConsoleScreen { background: $background; color: $foreground; layout: vertical; }
    ConsoleScreen.-narrow Header { height: 2; }
    """
    CONTEXTS: ClassVar[frozenset[Context]] = frozenset({Context.SCREENS, Context.EVERYWHERE})

    def fit(self, size: Size) -> Self:
        """Take the classes of `size` before the first layout: then one layout is enough."""
        for extent, steps in (
            (size.width, self.HORIZONTAL_BREAKPOINTS),
            (size.height, self.VERTICAL_BREAKPOINTS),
        ):
            self.add_class([name for edge, name in steps if extent >= edge][-1])
        return self

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
