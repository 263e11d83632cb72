"""The app: a client of the engine. It paints, then connects, and shows facts from then on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.binding import Binding
from textual.screen import Screen

from console.engine import commands as c
from console.engine.events import Event, MarketFrame, Severity
from console.engine.state import OrderView, RiskReport, TradingState
from console.ui import actions as registry
from console.ui import format as text
from console.ui.actions import Action, Context, bindings
from console.ui.deeds import Deeds
from console.ui.frames import Frames
from console.ui.screens.trade import TradeScreen
from console.ui.store import Fact, Phase, Store
from console.ui.theme import ThemeError, Themes
from console.ui.widgets.grid import Grid

if TYPE_CHECKING:
    from console.engine.link import Link
    from console.ui.widgets.chart import Bars

TICK_S = 0.5
"""How often ages and the clock are looked at."""
THEME_WATCH_S = 1.0
REQUEST_TIMEOUT_S = 20.0
PREVIEW_TIMEOUT_S = 5.0


class ConsoleApp(Deeds, inherit_bindings=False):
    """The console's face.

    Args:
        connect: makes the link to the engine. Called on a worker thread after the first paint; may
            take its time, and what it raises is shown, with a way to try again.
        theme: name of a theme file.
        keys: action id → key, over the registry's own.
        confirm: "all", "dangerous" or "none": which commands are confirmed in a dialog.
        feed_columns: features shown as columns of the feed pane.
        mode: DEMO, PAPER or EXCHANGE, shown until the engine says it itself.
        themes_dir: a person's own themes.
        limits: the [risk] settings, for the risk screen's bars.
        stale_after_s: a quote of this age is shown STALE.
        lot: shares by which the arrows move an order's size.
        export_dir: where exports go.
        log_file: the log whose end the services screen shows.
        monotonic: the clock that ages are measured by.

    Raises:
        ThemeError: the theme can't be used.
        KeymapError: the keys can't be bound so.
    """

    TITLE = "trading console"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Binding]] = bindings(Context.EVERYWHERE)  # type: ignore[assignment]

    def __init__(
        self,
        connect: Callable[[], Link],
        *,
        theme: str = "dark",
        keys: Mapping[str, str] | None = None,
        confirm: str = "all",
        feed_columns: Sequence[str] = (),
        mode: str = "",
        themes_dir: Path | None = None,
        limits: Mapping[str, Any] | None = None,
        stale_after_s: float = 15.0,
        lot: int = 100,
        export_dir: Path | None = None,
        log_file: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.themes = Themes((themes_dir,) if themes_dir is not None else ())
        loaded = self.themes.load(theme)
        self.actions = registry.rebind(keys or {})
        super().__init__()
        self.register_theme(loaded.theme)
        self.theme = loaded.name
        if self.console.color_system == "standard":  # sixteen colours: blends of others would blur
            self.register_theme(self.themes.load("sixteen").theme)
            self.theme = "sixteen"
        self.set_keymap({a.id: a.key for a in self.actions})
        self.store = Store(mode=mode, monotonic=monotonic)
        self.confirm = confirm
        self.feed_columns = tuple(feed_columns)
        self.stale_after_s = stale_after_s
        self.limits = dict(limits or {})
        self.lot = lot
        self.export_dir = export_dir or Path.cwd()
        self.log_file = log_file
        self.symbol = ""
        self.link: Link | None = None
        self._connect = connect
        self._unlisten: Callable[[], None] | None = None
        self._dirty = Fact.NOTHING
        self._frames = Frames(self.draw)
        self._asked_state = False
        self.whole = False
        """Every pane is there; a key that comes before that does nothing."""

    # -- life --------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(self.available_themes[self.theme].variables)

    def get_default_screen(self) -> Screen[Any]:
        return TradeScreen().fit(self.size)

    async def on_ready(self) -> None:
        """Painted for the first time: now what is heavy may come."""
        from console.ui.lines import Alerts

        await self.trade.complete()
        self.alerts = Alerts()
        self.whole = True
        self.run_worker(self._frames.run(), group="frames", exit_on_error=True)
        self.set_interval(TICK_S, self._tick)
        self.set_interval(THEME_WATCH_S, self._watch_themes)
        await self.open_link()

    async def open_link(self) -> None:
        """Connect, on a thread of its own; a link to an engine that is gone is closed first."""
        await self._close_link()
        self.mark(self.store.set_phase(Phase.CONNECTING))
        self.run_worker(
            self._open, thread=True, group="connect", exclusive=True, exit_on_error=False
        )

    def _open(self) -> None:
        try:
            link = self._connect()
        except Exception as error:  # noqa: BLE001  whatever it is, a person must read it
            self.call_from_thread(self._refused, str(error) or type(error).__name__)
        else:
            self.call_from_thread(self._opened, link)

    def _refused(self, reason: str) -> None:
        self.mark(self.store.set_phase(Phase.FAILED, reason))

    def _opened(self, link: Link) -> None:
        self.link = link
        self._unlisten = link.listen(self._on_event)

    async def act_quit(self) -> None:
        """Leave; the link is closed first."""
        await self._close_link()
        self.exit(0)

    async def _close_link(self) -> None:
        link, self.link = self.link, None
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        if link is not None:
            await link.close()

    async def on_unmount(self) -> None:
        await self._close_link()

    # -- facts -------------------------------------------------------------------------------

    def _on_event(self, event: Event | MarketFrame) -> None:
        self.mark(self.store.apply(event))

    def mark(self, facts: Fact) -> None:
        """Something changed: the next frame shows it."""
        if facts:
            self._dirty |= facts
            self._frames.want()

    def note_choice(self) -> None:
        """The person chose something: panes and footer follow."""
        self.mark(Fact.CHOICE | Fact.LINK)

    def _tick(self) -> None:
        self.mark(Fact.CLOCK)

    def draw(self) -> None:
        """One frame."""
        facts, self._dirty = self._dirty, Fact.NOTHING
        if self.store.gap and not self._asked_state:
            self._asked_state = True
            self.run_worker(self._ask_state(), group="state", exit_on_error=False)
        if not self.symbol and self.store.frame is not None and self.store.frame.symbols:
            self.symbol = self.store.frame.symbols[0]
            facts |= Fact.CHOICE
        if facts & Fact.MARKET and self.alerts:
            self._look_at_alerts()
        for screen in reversed(self.screen_stack):
            show = getattr(screen, "show", None)
            if show is not None:
                show(facts)
            if not screen.is_modal:
                break

    def _look_at_alerts(self) -> None:
        for alert, value in self.alerts.look(self.store):
            words = f"alert: {alert.words}, now {value:.6g}"
            self.say(Severity.WARNING, f"alert {alert.words}", words)
            self.bell()

    async def _ask_state(self) -> None:
        """A number was missing: start anew from a snapshot."""
        try:
            ack = await self.request(c.GetState(), quiet=True)
            if ack.state is not None and ack.state.seq >= self.store.seq:
                self.mark(self.store.restore(ack.state))
        finally:
            self._asked_state = False

    def _watch_themes(self) -> None:
        for loaded in self.themes.changed():
            if isinstance(loaded, ThemeError):
                self.mark(
                    self.store.notice(Severity.ERROR, f"theme {loaded.path.stem}", str(loaded))
                )
                continue
            self.register_theme(loaded.theme)
            if loaded.name == self.theme:
                self._invalidate_css()
                self.refresh_css(animate=False)

    # -- commands ----------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self.link is not None and self.store.phase is Phase.CONNECTED

    async def request(self, command: c.AnyCommand, *, quiet: bool = False) -> c.Ack:
        """Send one command; what goes wrong on the way is an answer too, never an exception."""
        if self.link is None:
            return c.Ack(
                id=command.id, outcome=c.Outcome.REFUSED, message="not connected to the engine"
            )
        from console.engine.link import NotSent

        limit = PREVIEW_TIMEOUT_S if quiet else REQUEST_TIMEOUT_S
        try:
            with contextlib.nullcontext() if quiet else self._frames.give_way():
                async with asyncio.timeout(limit + 1):
                    ack = await self.link.request(command, timeout_s=limit)
            return _with_order(command, ack)
        except NotSent as error:
            return c.Ack(id=command.id, outcome=c.Outcome.REFUSED, message=str(error))
        except TimeoutError:
            words = f"the engine did not answer within {limit:g} s"
        except Exception as error:  # noqa: BLE001  the person must learn that the outcome is open
            words = f"{type(error).__name__}: {error}"
        outcome = c.Outcome.REFUSED if quiet else c.Outcome.UNKNOWN
        return c.Ack(id=command.id, outcome=outcome, message=words)

    def ask(self, command: c.AnyCommand, report: RiskReport | None = None) -> None:
        """Have a command confirmed as [ui] confirm wants it, then send it."""
        from console.ui import words
        from console.ui.screens.dialogs import ConfirmDialog, KillDialog

        if isinstance(command, c.SubmitOrder) and command.preview:
            self.say(
                Severity.INFO, "preview", "a preview sends nothing: its risk line stands below"
            )
            return
        if isinstance(command, c.Flatten):
            self.push_screen(KillDialog())
            return
        dangerous = words.is_dangerous(command)
        harmless = isinstance(command, c.Reconcile | c.CancelOrder)
        if harmless or self.confirm == "none" or (self.confirm == "dangerous" and not dangerous):
            self.run_worker(self.send(command), group="send", exit_on_error=False)
            return
        sentence = words.describe(command, self.store, report)
        self.push_screen(ConfirmDialog(command, sentence, danger=dangerous, report=report))

    async def send(self, command: c.AnyCommand) -> None:
        """Unconfirmed; only a refusal opens the dialog."""
        from console.ui import words
        from console.ui.screens.dialogs import ConfirmDialog

        answer = await self.request(command)
        if answer.outcome is c.Outcome.ACCEPTED:
            self.done(command, answer)
        else:
            self.push_screen(
                ConfirmDialog(command, words.describe(command, self.store), answer=answer)
            )

    def done(self, command: c.AnyCommand, answer: c.Ack) -> None:
        """The engine took it."""
        from console.ui import words

        order = answer.order
        topic = f"done {command.id}" if order is None else f"order {order.client_order_id}"
        if order is None or order.client_order_id not in self._filled():
            self.say(Severity.INFO, topic, words.outcome(command, answer, self.store))
        if isinstance(command, c.SubmitOrder | c.ReplaceOrder):
            self.trade.entry.leave()

    def _filled(self) -> set[str]:
        return {fill.client_order_id for fill in list(self.store.fills)[-10:]}

    def not_done(self, answer: c.Ack) -> None:
        """A command failed after its dialog was left."""
        message = answer.message or "; ".join(r.message for r in answer.refusals)
        self.say(Severity.ERROR, f"failed {answer.id}", f"{answer.outcome.value}: {message}")

    def say(self, severity: Severity, topic: str, words: str) -> None:
        self.mark(self.store.notice(severity, topic, words))

    # -- what lines and fields refer to ------------------------------------------------------

    def order_at(self, row: int) -> str | None:
        return self.trade.orders.order_at(row)

    def quote(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        found = self.store.quote(symbol)
        if found is None or found.age > self.stale_after_s:
            return None
        return Decimal(str(found.bid)), Decimal(str(found.ask))

    def middle(self, symbol: str) -> Decimal | None:
        """Between bid and ask, None without a fresh quote."""
        found = self.quote(symbol)
        return (found[0] + found[1]) / 2 if found is not None else None

    def quote_words(self, symbol: str) -> str:
        """The quote beside the ticket."""
        found = self.store.quote(symbol)
        if found is None:
            return "no quote" if symbol in self.store.rows else ""
        words = f"{text.price(found.bid)} × {text.price(found.ask)}"
        return f"{words} {'STALE ' * (found.age > self.stale_after_s)}{text.age(found.age)}"

    def bars(self, symbol: str, count: int) -> Bars | None:
        """The newest `count` one-minute bars of `symbol`, None where the link has none."""
        ask = getattr(self.link, "bars", None)
        found = ask(symbol) if ask is not None else None
        if found is None:
            return None
        times, *prices = (column[-count:].tolist() for column in found)
        return (times, *prices)

    def choose(self, symbol: str) -> None:
        """The symbol that chart and ticket are about."""
        if symbol and symbol != self.symbol:
            self.symbol = symbol
            self.note_choice()

    def find_symbol(self, letters: str) -> None:
        """Select the first symbol of the feed that begins so."""
        wanted = letters.strip().upper()
        found = next((s for s in self.store.rows if s.startswith(wanted)), None)
        if wanted and found is not None:
            self.trade.feed.select(found)
            self.choose(found)

    # -- the situation, for the registry -----------------------------------------------------

    @property
    def trade(self) -> TradeScreen:
        screen = self.screen_stack[0]
        assert isinstance(screen, TradeScreen)
        return screen

    @property
    def demo(self) -> bool:
        return self.store.mode == "DEMO"

    @property
    def on_trade(self) -> bool:
        return isinstance(self.screen, TradeScreen)

    @property
    def away(self) -> bool:
        return not self.on_trade or self.trade.has_class("-zoomed")

    @property
    def selected_order(self) -> OrderView | None:
        key = self.trade.orders.selected
        return self.store.orders.get(key) if key is not None else None

    @property
    def has_order(self) -> bool:
        return self.selected_order is not None

    @property
    def has_open_order(self) -> bool:
        order = self.selected_order
        return order is not None and not order.state.is_final

    @property
    def has_position(self) -> bool:
        return self.symbol in self.store.positions

    @property
    def in_list(self) -> bool:
        return isinstance(self.focused, Grid)

    @property
    def halted(self) -> bool:
        return self.store.trading_state is TradingState.HALTED

    @property
    def without_engine(self) -> bool:
        return self.store.phase in (Phase.FAILED, Phase.LOST)

    def contexts_now(self) -> frozenset[Context]:
        """The contexts whose keys count at this moment."""
        palette = frozenset({Context.DIALOG, Context.EVERYWHERE})
        of_screen: frozenset[Context] = getattr(self.screen, "CONTEXTS", palette)
        return getattr(self.focused, "CONTEXTS", of_screen)

    def idle_hint(self) -> str:
        """What the empty command line says."""
        return f"buy 100 {self.symbol or 'IBM'} @ mid +2% -1%"

    def focus_pane(self) -> None:
        self.trade.set_focus(self.trade.last_pane)

    # -- keys --------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Carry each key out before the next: a burst of them lands where each was meant.

        Textual hands a key to the focused widget's queue and comes to its binding when it has
        bubbled back, by when the keys behind it may have been written already.
        """
        if isinstance(event, events.Key) and not event.is_forwarded and await self._taken(event):
            return
        await super().on_event(event)

    async def _taken(self, event: events.Key) -> bool:
        bound = self.screen.active_bindings.get(event.key)
        if bound is None or not bound.binding.priority:
            take = getattr(self.focused or self.screen, "take_key", None)
            if take is not None and take(event):
                return True
        if bound is None or not bound.enabled or not bound.binding.action.startswith("do("):
            return False
        return await self.run_action(bound.binding.action, bound.node)

    # -- actions -----------------------------------------------------------------------------

    def action_do(self, action_id: str) -> Any:
        action = registry.BY_ID[action_id]
        return getattr(self, action.method)()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "do":
            return self.whole and registry.BY_ID[str(parameters[0])].allowed(self)
        return super().check_action(action, parameters)

    def perform(self, action: Action) -> None:
        """Do what a palette or a click chose, where it belongs."""
        for node in (self.focused, self.screen, self):
            if node is not None and hasattr(node, action.method):
                self.run_worker(_finish(getattr(node, action.method)()), exit_on_error=False)
                return

    def on_order_entry_entered(self, message: Any) -> None:
        self.ask(message.command, message.report)


async def _finish(result: Any) -> None:
    if result is not None and hasattr(result, "__await__"):
        await result


def _with_order(command: c.AnyCommand, ack: c.Ack) -> c.Ack:
    """An order that was taken has a name; an answer without one leaves it in doubt."""
    taken = isinstance(command, c.SubmitOrder) and ack.outcome is c.Outcome.ACCEPTED
    if not taken or ack.order is not None or command.preview:  # type: ignore[union-attr]
        return ack
    words = "the engine said yes but named no order, so it is not known whether there is one"
    return c.Ack(id=ack.id, outcome=c.Outcome.UNKNOWN, message=ack.message or words)
