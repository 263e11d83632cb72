"""A table that paints itself: one title line with the headings, then rows; only changed cells
are redrawn, the selection sticks to a key, and sorting is stable and seldom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.strip import Strip

from console.harmless import harmless
from console.ui import format as text
from console.ui.actions import Context, bindings
from console.ui.store import Fact, Phase
from console.ui.widgets.painted import Painted, Span

SORT_EVERY_S = 2.0
"""Rows change places at most this often, so that they can be read and pointed at."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `priority` 0 is always there, the higher ones leave first when it gets narrow."""

    key: str
    title: str
    width: int
    priority: int = 0
    left: bool = False
    sortable: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """A column and where it stands on the line."""

    column: Column
    x: int
    width: int

    def fit(self, value: str) -> str:
        value = harmless(value)
        if len(value) > self.width:
            return value[: self.width - 1] + "…" if self.width > 1 else value[: self.width]
        return value.ljust(self.width) if self.column.left else value.rjust(self.width)


Row = tuple[Span, ...]


class Grid(Painted, can_focus=True):
    """Rows by key out of the store. Subclasses say which keys there are and what cells show."""

    BINDINGS: ClassVar[list[Binding]] = bindings(Context.LIST)  # type: ignore[assignment]
    TITLE: ClassVar[str] = ""
    FLEX: ClassVar[str | None] = None
    """The column that takes the room left over."""
    CONNECTIONS: ClassVar[tuple[str, ...]] = ()
    """The connections that these facts come by; if one is lost, the pane says so."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.selected: str | None = None
        self.sort_key: str | None = None
        self.descending = True
        self._keys: list[str] = []
        self._sorted_at = float("-inf")
        self._top = 0
        self._placed: list[Placed] = []
        self._lines: list[tuple[str, Row]] = []
        """What stands on each line below the title: ground and cells."""
        self._head: tuple[Span, ...] = ()

    # -- for subclasses ----------------------------------------------------------------------

    def columns(self) -> Sequence[Column]:
        raise NotImplementedError

    def keys(self) -> list[str]:
        """The rows' keys in their natural order."""
        raise NotImplementedError

    def row(self, key: str, columns: Sequence[Column]) -> Sequence[Span]:
        """One span a column."""
        raise NotImplementedError

    def sort_value(self, key: str, column: str) -> float | str:
        """What rows are compared by; NaN goes last."""
        raise NotImplementedError

    def empty_text(self) -> str:
        """What stands there when there are no rows."""
        return "nothing here"

    def status(self) -> str:
        """A short word beside the title."""
        return ""

    def holds_still(self) -> bool:
        """Whether rows keep their places for now; new ones come last."""
        return False

    def fitted(self, columns: list[Column]) -> list[Column]:
        """Those of the columns for which there is room that make sense together."""
        return columns

    def successor(self, key: str) -> str:
        """The row that the selection goes on to from the selected one; mostly that one itself."""
        return key

    # -- facts in, lines out -----------------------------------------------------------------

    def show(self, facts: Fact) -> None:
        self._arrange()
        self._repaint()

    def on_resize(self) -> None:
        self._placed = []
        self._arrange()
        self._repaint()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._lines = []

    def on_focus(self) -> None:
        self._repaint()
        self._choose()

    def on_blur(self) -> None:
        self._repaint()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._keys) + 2

    @property
    def rows_visible(self) -> int:
        return max(0, self.size.height - 1)

    def _arrange(self) -> None:
        """Which keys, in which order, from which one on."""
        keys = self.keys()
        due = self.store.now() - self._sorted_at >= SORT_EVERY_S
        if self.holds_still():
            place = {key: i for i, key in enumerate(self._keys)}
            keys = sorted(keys, key=lambda key: place.get(key, len(place)))
        elif self.sort_key is not None:
            if due or set(keys) != set(self._keys):
                self._sorted_at = self.store.now()
                keys = self._sorted(keys)
            else:
                keys = self._keys
        if len(keys) != len(self._keys) and self.styles.is_auto_height:
            self.refresh(layout=True)
        self._keys = keys
        if self.selected is not None:
            self.selected = self.successor(self.selected)
        if self.selected not in keys:
            gone = self.selected is not None
            self.selected = keys[min(len(keys) - 1, self._top)] if keys else None
            if gone and self.app.focused is self:
                self._choose()
        visible = self.rows_visible
        at = keys.index(self.selected) if self.selected is not None else 0
        self._top = max(0, min(self._top, len(keys) - visible, at))
        if visible and at >= self._top + visible:
            self._top = at - visible + 1

    def _sorted(self, keys: list[str]) -> list[str]:
        """Stable: what compares equal keeps the place that it had."""
        place = {key: i for i, key in enumerate(self._keys)}
        keys = sorted(keys, key=lambda k: place.get(k, len(place)))
        column = self.sort_key or ""
        known: list[tuple[float | str, str]] = []
        unknown: list[tuple[float | str, str]] = []
        for key in keys:
            value = self.sort_value(key, column)
            (known if value == value else unknown).append((value, key))
        known.sort(key=lambda pair: pair[0], reverse=self.descending)
        return [key for _, key in (*known, *unknown)]

    def _place(self) -> list[Placed]:
        """The columns that fit, side by side."""
        if self._placed:
            return self._placed
        columns = list(self.columns())
        room = self.size.width - 1
        while columns and sum(c.width + 1 for c in columns) - 1 > room:
            least = max(columns, key=lambda c: (c.priority, columns.index(c)))
            if least.priority == 0:
                break
            columns.remove(least)
        columns = self.fitted(columns)
        spare = max(0, room + 1 - sum(c.width + 1 for c in columns))
        x = 1
        for column in columns:
            width = column.width + (spare if column.key == self.FLEX else 0)
            self._placed.append(Placed(column, x, width))
            x += width + 1
        return self._placed

    def _repaint(self) -> None:
        """Compare what should stand there with what does, and redraw the cells that differ."""
        if not self.size.width or not self.size.height:
            return
        placed = self._place()
        before, self._lines = self._lines, self._compose_lines(placed)
        head, self._head = self._head, self._title(placed)
        regions = [] if head == self._head else [Region(0, 0, self.size.width, 1)]
        if len(before) != len(self._lines):
            self.refresh()
            return
        for y, ((ground, cells), (old_ground, old_cells)) in enumerate(
            zip(self._lines, before, strict=True), start=1
        ):
            if ground != old_ground or len(cells) != len(old_cells):
                regions.append(Region(0, y, self.size.width, 1))
                continue
            if cells == old_cells:
                continue
            changed = [i for i, cell in enumerate(cells) if cell != old_cells[i]]
            if len(cells) != len(placed):
                regions.append(Region(0, y, self.size.width, 1))
                continue
            # One region a row: for each of several, Textual writes the row anew from its left.
            left, right = placed[changed[0]], placed[changed[-1]]
            regions.append(Region(left.x, y, right.x + right.width + 1 - left.x, 1))
        if regions:
            self.refresh(*regions)

    def _compose_lines(self, placed: list[Placed]) -> list[tuple[str, Row]]:
        lines: list[tuple[str, Row]] = []
        visible = self.rows_visible
        columns = [p.column for p in placed]
        for key in self._keys[self._top : self._top + visible]:
            ground = ""
            if key == self.selected:
                ground = "selected" if self.has_focus else "dim-selected"
            lines.append((ground, tuple(self.row(key, columns))))
        if not self._keys:
            lines += [("", ((f" {line}", "muted"),)) for line in self._message_lines()]
        lines += [("", ())] * (visible - len(lines))
        return lines[:visible]

    def _message_lines(self) -> list[str]:
        """The message, whole: a reason without its end is no help."""
        room = max(8, self.size.width - 2)
        return [part for line in self.message().split("\n") for part in wrap(line, room) or [""]]

    def message(self) -> str:
        """What the pane says while it has no rows."""
        store = self.store
        if store.phase is Phase.CONNECTING:
            return "connecting…"
        if store.phase is Phase.FAILED:
            return f"no engine: {store.failure}\nR tries again"
        return self.empty_text()

    def trouble(self) -> str:
        """Why these numbers may be old, in a few words; empty while all is well."""
        store = self.store
        if store.phase is Phase.LOST:
            return store.lost_words()
        lost = store.trouble(*self.CONNECTIONS)
        if lost is None or store.phase is not Phase.CONNECTED:
            return ""
        now = store.now()
        words = f"{lost.name} {lost.state.value} {text.duration(now - lost.since)}"
        if lost.retry_at is not None and lost.retry_at > now:
            words += f", retry in {text.duration(lost.retry_at - now + 0.999)}"
        return words

    def _title(self, placed: list[Placed]) -> tuple[Span, ...]:
        mark, ink = ("▌", "accent bold") if self.has_focus else (" ", "bold")
        title: list[Span] = [(mark + self.TITLE, ink)]
        if status := self.status():
            title.append((f" {status}", "muted"))
        if trouble := self.trouble():
            title.append((f"  {trouble}", "warning"))
            return tuple(title)
        used = sum(len(t) for t, _ in title)
        for spot in placed:
            heading = self._heading(spot)
            end = spot.x + spot.width
            start = spot.x if spot.column.left else end - len(heading)
            if start <= used or not heading:
                continue
            title.append((" " * (start - used), ""))
            title.append((heading, "muted bold" if spot.column.key == self.sort_key else "muted"))
            used = start + len(heading)
        return tuple(title)

    def _heading(self, spot: Placed) -> str:
        mark = ""
        if spot.column.key == self.sort_key:
            mark = text.DOWN if self.descending else text.UP
        return (spot.column.title + mark)[-spot.width :]

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            return self.strip(self._head or self._title(self._place()), width, "title")
        if y > len(self._lines):
            return self.strip((), width)
        ground, cells = self._lines[y - 1]
        mark = "▸" if ground else " "
        base = "selected" if ground == "selected" else ""
        placed = self._place()
        if len(cells) != len(placed):
            return self.strip(cells, width, base)
        # Neighbours of one style are one segment: Textual works, and writes, by segments.
        words, style = mark, self.ink("accent", base)
        segments: list[Segment] = []
        plain = self.ink("", base)
        last = placed[-1]
        for spot, (value, inks) in zip(placed, cells, strict=True):
            ink = self.ink(inks, base) if value else plain
            if ink is not style:
                segments.append(Segment(words, style))
                words, style = "", ink
            words += spot.fit(value) if spot is last else spot.fit(value) + " "
        segments.append(Segment(words, style))
        used = last.x + last.width
        # Numbers, arrows and sparks are one cell a character; other text may not be.
        texts = (value for spot, (value, _) in zip(placed, cells, strict=True) if spot.column.left)
        if used > width or not all(map(str.isascii, texts)):
            return Strip(segments).adjust_cell_length(width, plain)
        if used < width:
            segments.append(Segment(" " * (width - used), plain))
        return Strip(segments, width)

    # -- actions -----------------------------------------------------------------------------

    def select(self, key: str) -> None:
        """Put the selection on `key`, if there is such a row."""
        if key in self._keys and key != self.selected:
            self.selected = key
            self._arrange()
            self._repaint()
            self._choose()

    def _choose(self) -> None:
        """Tell the screen at once, not by message: the next key may act on what is selected."""
        chosen = getattr(self.screen, "chosen", None)
        if chosen is not None and self.selected is not None:
            chosen(self, self.selected)

    def _move(self, by: int) -> None:
        if self.selected is not None and self._keys:
            at = self._keys.index(self.selected) + by
            self.select(self._keys[max(0, min(len(self._keys) - 1, at))])

    def act_list_up(self) -> None:
        self._move(-1)

    def act_list_down(self) -> None:
        self._move(1)

    def act_list_page_up(self) -> None:
        self._move(-max(1, self.rows_visible - 1))

    def act_list_page_down(self) -> None:
        self._move(max(1, self.rows_visible - 1))

    def act_list_first(self) -> None:
        self._move(-len(self._keys))

    def act_list_last(self) -> None:
        self._move(len(self._keys))

    def act_list_sort(self) -> None:
        """The next column; after the last one, the natural order again."""
        names = [p.column.key for p in self._place() if p.column.sortable]
        if self.sort_key in names[:-1]:
            self.sort_key = names[names.index(self.sort_key) + 1]
        else:
            self.sort_key = names[0] if self.sort_key is None and names else None
        self._resort()

    def act_list_reverse(self) -> None:
        self.descending = not self.descending
        self._resort()

    def _resort(self) -> None:
        self._sorted_at = float("-inf")
        self._arrange()
        self._repaint()

    def on_click(self, event: events.Click) -> None:
        at = self._top + event.y - 1
        if event.y == 0:
            self._sort_by(event.x)
        elif event.y >= 1 and at < len(self._keys):
            self.select(self._keys[at])

    def _sort_by(self, x: int) -> None:
        """The column under a heading; once more turns the order round."""
        for spot in self._place():
            if spot.column.sortable and spot.x <= x <= spot.x + spot.width:
                self.descending = self.sort_key != spot.column.key or not self.descending
                self.sort_key = spot.column.key
                self._resort()
                return

    def on_mouse_scroll_down(self) -> None:
        self._move(1)

    def on_mouse_scroll_up(self) -> None:
        self._move(-1)
