"""The command line: text with a cursor and a history; where it makes no sense it is underlined."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding
from textual.strip import Strip

from console.ui.actions import Context, bindings
from console.ui.store import Fact
from console.ui.widgets.painted import Painted, Span, spread

if TYPE_CHECKING:
    from console.engine.grammar import GrammarError
    from console.ui.widgets.entry import OrderEntry

MAX_HISTORY = 200
MAX_LENGTH = 200


class CommandLine(Painted, can_focus=True):
    BINDINGS: ClassVar[list[Binding]] = bindings(Context.LINE)  # type: ignore[assignment]
    CONTEXTS: ClassVar[frozenset[Context]] = frozenset({Context.LINE, Context.EVERYWHERE})
    SHOWS: ClassVar[Fact] = Fact.CHOICE
    DEFAULT_CSS = """
    CommandLine { height: 1; }
    CommandLine:focus { background: $input; }
    """

    def __init__(self, entry: OrderEntry) -> None:
        super().__init__(id="line")
        self.entry = entry
        self.value = ""
        self.cursor = 0
        self.finding = False
        self.history: list[str] = []
        self._at = 0
        self._draft = ""

    def begin(self, value: str = "", *, finding: bool = False) -> None:
        """Take the focus with `value`, the cursor behind it."""
        self.value, self.cursor, self.finding = value, len(value), finding
        self._at, self._draft = len(self.history), value
        self.screen.set_focus(self)
        self.refresh()

    def clear(self) -> None:
        self.value, self.cursor, self.finding = "", 0, False
        self.refresh()

    def remember(self, line: str) -> None:
        """Keep `line` in the history, once if it is repeated."""
        line = line.strip()
        if line and self.history[-1:] != [line]:
            self.history = [*self.history, line][-MAX_HISTORY:]
        self._at = len(self.history)

    # -- keys --------------------------------------------------------------------------------

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return character is not None and character.isprintable()

    def on_key(self, event: events.Key) -> None:
        if self.take_key(event):
            event.stop()
            event.prevent_default()

    def take_key(self, event: events.Key) -> bool:
        """Edit the line; False for a key that edits nothing."""
        return self._edit(event.key, event.character if event.is_printable else None)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._insert(" ".join(event.text.split()))

    def _edit(self, key: str, character: str | None) -> bool:
        value, at = self.value, self.cursor
        if character is not None:
            self._insert(character)
            return True
        match key:
            case "backspace":
                self._set(value[: max(0, at - 1)] + value[at:], max(0, at - 1))
            case "delete":
                self._set(value[:at] + value[at + 1 :], at)
            case "left" | "ctrl+b":
                self._set(value, max(0, at - 1))
            case "right" | "ctrl+f":
                self._set(value, min(len(value), at + 1))
            case "home" | "ctrl+a":
                self._set(value, 0)
            case "end" | "ctrl+e":
                self._set(value, len(value))
            case "ctrl+u":
                self._set(value[at:], 0)
            case "ctrl+k":
                self._set(value[:at], at)
            case "ctrl+w":
                start = len(value[:at].rstrip().rpartition(" ")[0])
                self._set(value[:start] + value[at:], start)
            case _:
                return False
        return True

    def _insert(self, text: str) -> None:
        value = (self.value[: self.cursor] + text + self.value[self.cursor :])[:MAX_LENGTH]
        self._set(value, min(len(value), self.cursor + len(text)))

    def _set(self, value: str, cursor: int) -> None:
        changed = value != self.value
        self.value, self.cursor = value, cursor
        if changed and self.finding:
            self.app.find_symbol(value)
        elif changed:
            self.entry.line_changed(value)
        self.refresh()

    # -- actions -----------------------------------------------------------------------------

    def act_line_submit(self) -> None:
        if self.finding or not self.value.strip():
            self.entry.leave()
        else:
            self.entry.submit(self.value)

    def act_line_close(self) -> None:
        self.entry.leave()

    def act_line_older(self) -> None:
        self._recall(self._at - 1)

    def act_line_newer(self) -> None:
        self._recall(self._at + 1)

    def _recall(self, at: int) -> None:
        if self.finding or not 0 <= at <= len(self.history):
            return
        if self._at == len(self.history):
            self._draft = self.value
        self._at = at
        value = self.history[at] if at < len(self.history) else self._draft
        self._set(value, len(value))

    def act_line_ticket(self) -> None:
        """On in the ticket, if the line is an order."""
        if self.entry.order is not None:
            self.entry.to_ticket()

    # -- lines -------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        prompt = "/" if self.finding else ":"
        if not self.entry.active:
            hint = f" {prompt} " + self.app.idle_hint()
            return self.strip([(hint, "muted")], width)
        value, error = self.value, self.entry.error
        spans: list[Span] = [(f" {prompt} ", "accent bold")]
        if not self.has_focus:
            spans.append((value, "muted"))
            return self.strip(spans, width)
        bad_from, bad_to = self._bad(value, error)
        room = max(1, width - 4)
        first = max(0, self.cursor - room + 1)
        for i in range(first, len(value) + 1):
            character = value[i] if i < len(value) else " "
            inks = "mark" if i == self.cursor else "warning under" if bad_from <= i < bad_to else ""
            spans.append((character, inks))
        hint = "enter a symbol's first letters" if self.finding and not value else ""
        return self.strip(spread(spans, [(hint + " ", "muted")], width), width)

    @staticmethod
    def _bad(value: str, error: GrammarError | None) -> tuple[int, int]:
        """Where the line makes no sense: the word at the error's column."""
        if error is None or error.column >= len(value):
            return -1, -1
        end = value.find(" ", error.column)
        return error.column, len(value) if end < 0 else end
