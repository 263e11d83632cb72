"""The trade screen: portfolio, positions, orders, feed, chart, and order entry below."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from console.ui.actions import Context, bindings
from console.ui.screens.base import ConsoleScreen
from console.ui.store import Fact
from console.ui.widgets.feed import Feed
from console.ui.widgets.grid import Grid
from console.ui.widgets.orders import Orders
from console.ui.widgets.portfolio import Portfolio
from console.ui.widgets.positions import Positions

if TYPE_CHECKING:
    from console.ui.widgets.entry import OrderEntry


class TradeScreen(ConsoleScreen):
    BINDINGS: ClassVar[list[Binding]] = bindings(Context.TRADE)
    DEFAULT_CSS = """
    TradeScreen #panes { height: 1fr; }
    TradeScreen #left { dock: left; width: 46; border-right: vkey $rule; }
    TradeScreen #right { width: 1fr; }
    TradeScreen #positions { height: auto; min-height: 4; max-height: 30%; }
    TradeScreen #orders { height: 3fr; }
    TradeScreen #activity { height: 2fr; }
    TradeScreen #feed { height: auto; min-height: 6; max-height: 45%; }
    TradeScreen #chart { height: 1fr; }
    TradeScreen.-wide #left { width: 56; }
    TradeScreen.-narrow #panes { layout: vertical; }
    TradeScreen.-narrow #left { dock: none; width: 100%; height: 2fr; border-right: none; }
    TradeScreen.-narrow #right { width: 100%; height: 1fr; min-height: 6; }
    TradeScreen.-narrow #portfolio, TradeScreen.-narrow #chart { display: none; }
    TradeScreen.-narrow #activity, TradeScreen.-short #activity { display: none; }
    TradeScreen.-narrow #positions { height: 1fr; max-height: 100%; }
    TradeScreen.-narrow #feed { height: 1fr; max-height: 100%; }
    TradeScreen.-narrow #orders { height: 1fr; }
    TradeScreen.-zoomed #panes .pane, TradeScreen.-zoomed #panes .side { display: none; }
    TradeScreen.-zoomed #panes .side.-holds {
        display: block; dock: none; width: 100%; height: 100%; border-right: none;
    }
    TradeScreen.-zoomed #panes .pane.-zoom { display: block; height: 100%; max-height: 100%; }
    """
    CONTEXTS: ClassVar[frozenset[Context]] = frozenset(
        {Context.SCREENS, Context.EVERYWHERE, Context.TRADE, Context.LIST}
    )

    def body(self) -> ComposeResult:
        self.feed = Feed(self.app.feed_columns, stale_after_s=self.app.stale_after_s, id="feed")
        self.positions, self.orders = Positions(id="positions"), Orders(id="orders")
        self._entry: OrderEntry | None = None
        self.last_pane: Grid = self.feed
        left: list[Widget] = [Portfolio(id="portfolio"), self.positions, self.orders]
        for pane in (*left, self.feed):
            pane.add_class("pane")
        with Horizontal(id="panes"):
            yield Vertical(self.feed, id="right", classes="side")
            yield Vertical(*left, id="left", classes="side")

    async def complete(self) -> None:
        """Mount what the first paint does without: chart, activity and order entry."""
        from console.ui.widgets.activity import Activity
        from console.ui.widgets.chart import Chart
        from console.ui.widgets.entry import OrderEntry

        chart, activity, self._entry = Chart(id="chart"), Activity(id="activity"), OrderEntry()
        for pane in (chart, activity):
            pane.add_class("pane")
        await self.query_one("#right").mount(chart)
        await self.query_one("#left").mount(activity)
        await self.mount(self._entry, after="#panes")

    def on_mount(self) -> None:
        self.set_focus(self.feed)

    def show(self, facts: Fact) -> None:
        super().show(facts)
        if self._entry is not None and self._entry.SHOWS & facts:
            self._entry.show(facts)

    @property
    def entry(self) -> OrderEntry:
        assert self._entry is not None, "keys count from `complete` on"
        return self._entry

    @property
    def panes(self) -> tuple[Grid, ...]:
        return self.feed, self.positions, self.orders

    def on_descendant_focus(self) -> None:
        if isinstance(self.focused, Grid):
            self.last_pane = self.focused
        self.app.note_choice()

    def on_descendant_blur(self) -> None:
        self.app.note_choice()

    def chosen(self, grid: Grid, key: str) -> None:
        """Chart and ticket follow the selection, whichever pane it is in."""
        symbol = key
        if grid is self.orders:
            order = self.app.store.orders.get(key)
            symbol = order.symbol if order is not None else ""
        self.app.choose(symbol)

    def act_view_next(self) -> None:
        self._step(1)

    def act_view_previous(self) -> None:
        self._step(-1)

    def _step(self, by: int) -> None:
        panes = self.panes
        at = panes.index(self.last_pane)
        pane = panes[(at + by) % len(panes)]
        if self.has_class("-zoomed"):
            self._zoom(pane)
        self.set_focus(pane)
        # Focus is told by message, and another key may come before it.
        self.last_pane = pane
        if pane.selected is not None:
            self.chosen(pane, pane.selected)

    def act_view_zoom(self) -> None:
        """The focused pane on the whole screen, and back."""
        if self.has_class("-zoomed"):
            self.unzoom()
        else:
            self._zoom(self.last_pane)

    def _zoom(self, pane: Grid) -> None:
        self.unzoom()
        self.add_class("-zoomed")
        pane.add_class("-zoom")
        if pane.parent is not None and isinstance(pane.parent, Widget):
            pane.parent.add_class("-holds")
        self.app.note_choice()

    def unzoom(self) -> bool:
        """Back to all panes; whether there was anything to undo."""
        zoomed = self.has_class("-zoomed")
        self.remove_class("-zoomed")
        for widget in self.query(".-zoom, .-holds"):
            widget.remove_class("-zoom", "-holds")
        if zoomed:
            self.app.note_choice()
        return zoomed

    def act_screen_back(self) -> None:
        self.unzoom()
