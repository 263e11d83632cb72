"""The activity pane: what happened, newest first; what is repeated stands once, with its count."""

from __future__ import annotations

from typing import ClassVar

from console.ui import format as text
from console.ui.store import Fact, fill_words
from console.ui.widgets.painted import TITLE, Lined, Span

_INKS = {"error": "error", "warning": "warning"}
_MARKS = {"error": "✗", "warning": "!"}


class Activity(Lined):
    SHOWS: ClassVar[Fact] = Fact.NOTICES | Fact.CLOCK | Fact.LINK

    def compose_lines(self, width: int, height: int) -> list[list[Span]]:
        store = self.store
        lines: list[list[Span]] = [[(" ACTIVITY", TITLE)]]
        now = store.now()
        for notice in reversed(store.notices):
            if len(lines) >= height:
                break
            severity = notice.severity.value
            count = f" ×{notice.count}" if notice.count > 1 else ""
            words = notice.text + count
            room = width - 11
            if len(words) > room:
                words = words[: room - 1] + "…"
            lines.append(
                [
                    (f"{text.age(now - notice.at):>6} ", "muted"),
                    (f"{_MARKS.get(severity, '·')} ", _INKS.get(severity, "muted")),
                    (words, _INKS.get(severity, "")),
                ]
            )
        earlier = reversed(store.before)
        lines += [_line(text.minute(fill.at), fill_words(fill)) for fill in earlier]
        if len(lines) == 1:
            lines.append([(" nothing yet", "muted")])
        return lines[:height]


def _line(at: str, words: str) -> list[Span]:
    return [(f"{at:>6} ", "muted"), ("· ", "muted"), (words, "muted")]
