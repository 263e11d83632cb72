"""The engine's parts and how they hold together: each is given what it may know, and no more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.engine.account import AccountWatch
from console.engine.books import Books
from console.engine.bus import Bus, bus_keys
from console.engine.clocks import Clocks, JumpWatch, MarketClock, ReplayControl
from console.engine.desk import Desk
from console.engine.dispatch import Dispatch
from console.engine.events import Event, OrderFilled, Severity
from console.engine.execution import BrokerThread, Execution
from console.engine.facts import Facts
from console.engine.feed import Feed
from console.engine.flatten import KillSwitch
from console.engine.journal import Journal
from console.engine.lastprices import LastPrices
from console.engine.measures import Measures, OrderWatch
from console.engine.picture import Picture
from console.engine.protection import Protection
from console.engine.readiness import Readiness
from console.engine.reconcile import Reconciler
from console.engine.risk import Gatekeeper
from console.engine.riskwatch import RiskWatch, RiskWord
from console.engine.session import SessionWatch
from console.engine.state import ConnectionView, EngineView, OrderView, Side, TradingState
from console.engine.tradingstate import TradingStateLatch
from console.engine.updates import UpdatesWatch
from console.engine.upkeep import REFRESH_S, Upkeep

if TYPE_CHECKING:
    from console.broker.errors import BrokerAuthError
    from console.broker.session import BrokerSession
    from console.broker.streams import TradeUpdates
    from console.config import Settings
    from signal_bridge import FeedReceiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an engine is given, and what it does itself for its parts."""

    settings: Settings
    session: BrokerSession
    make_updates: Callable[..., TradeUpdates]
    receiver: FeedReceiver | None
    replay: ReplayControl | None
    state_dir: Path
    clocks: Clocks
    armed: str | None
    """The crash point of a test."""
    spawn: Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]]
    resume_flatten: Callable[[], None]
    on_risk: Callable[[RiskWord], Awaitable[None]]
    journal_failed: Callable[[str], None]
    """Called by whichever thread saw it."""
    watch: OrderWatch | None = None


class Parts:
    """See the module. They run once the engine spawns what of them runs."""

    def __init__(self, given: Surroundings, journal: Journal, facts: Facts) -> None:
        settings, clocks, session = given.settings, given.clocks, given.session
        mode = settings.mode.value
        self.facts = facts
        self._resume_flatten = given.resume_flatten
        self._jumps = JumpWatch(clocks)
        self.orders_thread = BrokerThread("broker orders", self._keys_refused)
        self.cancels_thread = BrokerThread("broker cancels", self._keys_refused)
        self.reads_thread = reads = BrokerThread("broker reads", self._keys_refused)
        self.market = market = MarketClock(
            settings.demo.speed if mode == "DEMO" else 1.0, estimate=mode == "EXCHANGE"
        )
        self.gatekeeper = gatekeeper = Gatekeeper.of(settings)
        self.books = books = Books(
            journal, self._emit, gatekeeper, clocks, market, given.journal_failed
        )
        self.measures = measures = Measures(given.watch)
        self.trading = TradingStateLatch(books, gatekeeper, facts.emit)
        self.readiness = Readiness(facts, self.trading, lambda: market.known)
        self.execution = Execution(
            session,
            books,
            orders=self.orders_thread,
            reads=reads,
            cancels=self.cancels_thread,
            may_send=self._may_send,
            on_doubt=self.in_doubt,
            on_found=self._found_late,
            measures=measures,
            armed=given.armed,
            sleep=clocks.sleep,
            clock=clocks.monotonic,
        )
        self.account = AccountWatch(
            session, books, reads, gatekeeper, facts.emit, mode=mode, state_dir=given.state_dir
        )
        self.reconciler = Reconciler(
            session, books, reads, read_account=self.account.read, sleep=clocks.sleep
        )
        self.feed = Feed(
            given.receiver,
            gatekeeper,
            session,
            reads,
            clocks,
            market,
            frames_per_second=settings.feed.frames_per_second,
            history=settings.feed.history,
            quote_stale_s=settings.feed.quote_stale_s,
            on_frame=facts.deliver,
            on_connection=facts.connected,
            look_at_clocks=self._look_at_clocks,
        )
        self.session_watch = SessionWatch(
            session,
            reads,
            clocks,
            market,
            gatekeeper,
            mode=mode,
            replay=given.replay,
            emit=facts.emit,
            on_connection=self._broker_connected,
            given_up=lambda: self.readiness.auth_failure is not None,
            look_at_clocks=self._look_at_clocks,
        )
        self.upkeep = Upkeep(
            books,
            self.reconciler,
            self.readiness,
            self.trading,
            facts,
            refresh_s=REFRESH_S[mode],
            reconcile_s=settings.engine.reconcile_every_s,
            on_failure=self.session_watch.failed,
            after_comparison=self._compared,
        )
        self.updates = UpdatesWatch(
            given.make_updates,
            books,
            self.readiness,
            self.trading,
            self.upkeep,
            facts,
            clocks,
            on_line=session.rouse,
            stale_after_s=settings.broker.updates_stale_s,
            armed=given.armed,
        )
        risk_watch = RiskWatch(facts, clocks, stale_after_s=settings.bus.stale_after_s)
        self.picture = Picture(
            books,
            facts,
            self.readiness,
            self.trading,
            market,
            clocks,
            risk_watch,
            equity=self.account.curve,
            mode=mode,
        )
        self.last_prices = LastPrices(
            session, reads, clocks, market, stale_s=settings.feed.quote_stale_s
        )
        self.protection = Protection(
            books,
            self.execution,
            self.last_prices,
            self.readiness,
            self.trading,
            facts,
            clocks,
            market,
            flattening=lambda: self.kill_switch.at_work,
            spawn=given.spawn,
            every_s=settings.engine.trail_every_s,
            partial_s=settings.engine.partial_entry_s,
            armed=given.armed,
        )
        self.picture.trails = self.protection.views
        self.desk = Desk(
            books,
            self.execution,
            gatekeeper,
            self.feed,
            session,
            reads,
            clocks,
            market,
            self.protection,
            measures,
            blocked=self.readiness.blocked,
            compare=self.upkeep.compare,
        )
        self.protection.send_rest = self.desk.submit
        self.kill_switch = KillSwitch(
            books,
            self.execution,
            halt=self._halt,
            compare=self.upkeep.compare,
            close=self.desk.close_for_flatten,
            market_is_open=lambda: market.is_open_at(clocks.monotonic()),
            armed=given.armed,
        )
        self.dispatch = Dispatch(
            books,
            self.desk,
            self.protection,
            self.trading,
            self.readiness,
            self.kill_switch,
            self.session_watch,
            facts,
            clocks,
            measures,
            compare=self.upkeep.compare,
            view=self.view,
            history=self.feed.history,
            spawn=given.spawn,
            timeout_s=settings.engine.command_timeout_s,
        )
        self.bus = Bus(
            handle=self.dispatch.handle,
            snapshot=self.picture.snapshot,
            on_risk=given.on_risk,
            risk_watch=risk_watch,
            bind=settings.bus.bind,
            high_water_mark=settings.bus.high_water_mark,
            keys=bus_keys(settings),
        )

    @property
    def threads(self) -> tuple[BrokerThread, ...]:
        """The broker threads."""
        return self.orders_thread, self.cancels_thread, self.reads_thread

    def view(self) -> EngineView:
        """Everything that the engine knows at this moment."""
        return self.picture.view()

    def measured(self) -> dict[str, Any]:
        """Figures for metrics beside those of `Picture.health`; histograms are in seconds."""
        measures = self.measures
        return self.feed.figures() | {
            "fills": self.books.fills,
            "orders": Counter(order.state.value for order in self.books.open_orders()),
            "refusals": dict(measures.refusals),
            "risk_check_seconds": measures.check,
            "order_journal_seconds": measures.journal,
            "order_to_post_seconds": measures.to_post,
            "order_post_seconds": measures.post,
            "journal_flush_seconds": self.books.journal.flush_times,
        }

    def in_doubt(self, order: OrderView) -> None:
        """Tell a person of an order of which nobody knows whether the broker has it."""
        self.facts.notice(
            Severity.ERROR,
            f"unknown {order.client_order_id}",
            f"{order.client_order_id}: it is not known whether the broker has it ({order.reason}); "
            f"{order.symbol} takes no new orders until it is found or settled",
        )

    def _found_late(self) -> None:
        """By which executions it was filled, a look-up doesn't say."""
        self.upkeep.compare_soon()

    def _emit(self, event: Event) -> None:
        self.facts.emit(event)
        if isinstance(event, OrderFilled):
            self.upkeep.refresh_soon()

    def _may_send(self, order: OrderView) -> str | None:
        """Asked right before the POST, on its thread: what happened while the order waited."""
        trading = self.trading
        if self.readiness.auth_failure is not None:
            return self.readiness.auth_failure
        if order.source == "flatten" or trading.state is TradingState.ACTIVE:
            return None
        if trading.state is TradingState.REDUCING and self._reduces(order):
            return None
        return f"trading became {trading.state} meanwhile: {trading.reason}"

    def _reduces(self, order: OrderView) -> bool:
        held = self.books.held_qty(order.symbol)
        closing = Side.SELL if held > 0 else Side.BUY
        return order.qty is not None and order.side is closing and order.qty <= abs(held)

    def _broker_connected(self, connection: ConnectionView) -> None:
        self.facts.connected(connection)
        self.readiness.update()

    def _compared(self) -> None:
        self.session_watch.soon()
        self._resume_flatten()

    def _look_at_clocks(self) -> None:
        """Nothing here is reckoned by the wall clock; but a machine that slept has missed things,
        and its monotonic clock stood still meanwhile."""
        if by := self._jumps.look():
            text = f"the wall clock jumped by {by:+.0f} s; the books are compared with the broker"
            self.facts.notice(Severity.WARNING, "clock", text)
            self.gatekeeper.doubt_quotes()
            self.last_prices.doubt()
            self.upkeep.compare_soon()

    def _keys_refused(self, error: BrokerAuthError) -> None:
        self.updates.auth_failed(str(error))
        self.session_watch.soon()

    async def _halt(self, reason: str) -> None:
        await self.trading.asked(TradingState.HALTED, reason, "flatten")
        self.readiness.update()
