"""What the actions of the registry do where they concern the whole app: one method an action."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from console.engine import commands as c
from console.engine.events import Severity
from console.engine.state import OrderView, RiskReport, Side, TradingState
from console.ui import format as text
from console.ui.screens.base import ConsoleScreen
from console.ui.store import Store
from console.ui.theme import ThemeError, Themes

if TYPE_CHECKING:
    from console.ui.lines import Alerts, FaceLine
    from console.ui.screens.trade import TradeScreen

STEP_S = 60.0
MAX_SPEED, MIN_SPEED = 1000, 1


class Deeds(App[int], inherit_bindings=False):
    """The half of the app that acts; `ConsoleApp` is the half that it acts through."""

    store: Store
    themes: Themes
    symbol: str
    export_dir: Path
    alerts: Alerts

    @property
    def trade(self) -> TradeScreen:
        raise NotImplementedError

    @property
    def selected_order(self) -> OrderView | None:
        raise NotImplementedError

    @property
    def without_engine(self) -> bool:
        raise NotImplementedError

    def ask(self, command: c.AnyCommand, report: RiskReport | None = None) -> None:
        raise NotImplementedError

    async def send(self, command: c.AnyCommand) -> None:
        raise NotImplementedError

    def say(self, severity: Severity, topic: str, words: str) -> None:
        raise NotImplementedError

    async def open_link(self) -> None:
        raise NotImplementedError

    def note_choice(self) -> None:
        raise NotImplementedError

    # -- orders and trading state ------------------------------------------------------------

    def act_order_buy(self) -> None:
        self.trade.entry.open_ticket(Side.BUY, self.symbol)

    def act_order_sell(self) -> None:
        self.trade.entry.open_ticket(Side.SELL, self.symbol)

    def act_order_close(self) -> None:
        self.ask(c.ClosePosition(symbol=self.symbol))

    def act_order_cancel(self) -> None:
        order = self.selected_order
        if order is not None:
            self.ask(c.CancelOrder(client_order_id=order.client_order_id))

    def act_order_cancel_all(self) -> None:
        self.ask(c.CancelAll())

    def act_order_replace(self) -> None:
        order = self.selected_order
        if order is not None:
            price = order.limit_price or order.stop_price
            named = self.trade.orders.row_of(order.client_order_id) or order.client_order_id
            word = "@" if order.limit_price is not None else "stop"
            change = (
                f"{word} {text.price(price)}" if price is not None else text.quantity(order.qty)
            )
            self.trade.entry.open_line(f"replace {named} {change}")

    def act_line_open(self) -> None:
        self.trade.entry.open_line()

    def act_line_find(self) -> None:
        self.trade.entry.open_line(finding=True)

    def act_kill(self) -> None:
        self.ask(c.Flatten())

    def act_trading_halt(self) -> None:
        self.ask(c.SetTradingState(state=TradingState.HALTED, reason="by hand"))

    def act_trading_resume(self) -> None:
        self.ask(c.SetTradingState(state=TradingState.ACTIVE, reason="by hand"))

    def act_trading_reconcile(self) -> None:
        if self.without_engine:
            self.run_worker(self.open_link(), group="reopen", exit_on_error=False)
        else:
            self.ask(c.Reconcile())

    def act_palette(self) -> None:
        from console.ui.screens.palette import open_palette

        open_palette(self)
        self.note_choice()

    def act_view_theme(self) -> None:
        names = sorted(self.themes.paths())
        self.use_theme(
            names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        )

    def use_theme(self, name: str) -> None:
        """Change the colours; a theme with a mistake is named and not taken."""
        try:
            loaded = self.themes.load(name)
        except ThemeError as error:
            self.say(Severity.ERROR, f"theme {name}", str(error))
            return
        self.register_theme(loaded.theme)
        self.theme = name
        self.say(Severity.INFO, "theme", f"theme: {loaded.title}")

    # -- screens -----------------------------------------------------------------------------

    def _go(self, screen: ConsoleScreen | None) -> None:
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if screen is not None:
            self.push_screen(screen.fit(self.size))
        self.note_choice()

    def act_screen_trade(self) -> None:
        self._go(None)

    def act_screen_back(self) -> None:
        self._go(None)

    def act_order_story(self) -> None:
        self.act_screen_story()

    def act_screen_story(self) -> None:
        from console.ui.screens.story import StoryScreen

        order = self.selected_order
        if order is not None:
            self._go(StoryScreen(order.client_order_id))

    def act_screen_risk(self) -> None:
        from console.ui.screens.risk import RiskScreen

        self._go(RiskScreen())

    def act_screen_session(self) -> None:
        from console.ui.screens.session import SessionScreen

        self._go(SessionScreen())

    def act_screen_services(self) -> None:
        from console.ui.screens.services import ServicesScreen

        self._go(ServicesScreen())

    def act_screen_help(self) -> None:
        from console.ui.screens.help import HelpScreen

        self._go(HelpScreen())

    # -- the face's own lines ----------------------------------------------------------------

    def carry_out(self, line: FaceLine) -> None:
        """What was typed for the face alone."""
        from console.ui.lines import Alert, AlertsOff, AlertsShown, forgotten

        if isinstance(line, Alert):
            if self.alerts.add(line):
                self.say(Severity.INFO, f"alert {line.words}", f"watching {line.words}")
            else:
                self.say(Severity.ERROR, "alerts", "too many alerts; `alert off` forgets them")
        elif isinstance(line, AlertsOff):
            self.say(Severity.INFO, "alerts", forgotten(self.alerts.off(line.symbol)))
        elif isinstance(line, AlertsShown):
            self.say(Severity.INFO, "alerts", self.alerts.in_words())
        else:
            self.export(line.folder)

    def export(self, folder: Path | None = None) -> None:
        """Write the session as files, and say where."""
        from console.ui.export import write

        try:
            paths = write(self.store, folder or self.export_dir)
        except OSError as error:
            self.say(Severity.ERROR, "export", f"not exported: {error}")
        else:
            self.say(Severity.INFO, "export", f"exported: {paths[0]} and {paths[1].name}")

    # -- demo --------------------------------------------------------------------------------

    def act_replay_pause(self) -> None:
        paused = self.store.session is not None and self.store.session.speed == 0
        self._control(paused=not paused)

    def act_replay_step(self) -> None:
        self._control(step_s=STEP_S)

    def act_replay_faster(self) -> None:
        self._change_speed(2)

    def act_replay_slower(self) -> None:
        self._change_speed(0.5)

    def _change_speed(self, factor: float) -> None:
        wanted = max(MIN_SPEED, min(MAX_SPEED, self.store.playing_speed * factor))
        if self.store.session is not None and not self.store.session.speed:
            self.store.playing_speed = wanted  # nobody tells of a speed while it is paused
        self._control(speed=Decimal(str(round(wanted, 3))))

    def _control(self, **changes: Any) -> None:
        self.run_worker(self.send(c.ControlReplay(**changes)), group="replay", exit_on_error=False)
