"""The engine: its parts put together, commands handed to them, and the facts that come of it.

    engine = Engine(settings, session=…, updates=…, feed=…, state_dir=…)
    await engine.start()          # journal, bus, trade updates, reconciliation; then ready
    ack = await engine.handle(SubmitOrder(…))
    await engine.stop("SIGTERM")

Everything runs in the loop that `start` was called in; blocking calls to the broker are made on
three threads of the engine's own. No part of it knows of a screen, a signal or a command line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from console.broker.errors import BrokerAuthError, BrokerError
from console.engine.clocks import SYSTEM_CLOCKS, Clocks, ReplayControl
from console.engine.commands import Ack, AnyCommand
from console.engine.crash import armed_point
from console.engine.events import Severity, Snapshot
from console.engine.facts import Facts, OnEvent
from console.engine.flatten import Step
from console.engine.journal import Journal
from console.engine.measures import OrderWatch
from console.engine.orders import moved
from console.engine.parts import Parts, Surroundings
from console.engine.risk import limits_json
from console.engine.riskwatch import RiskWord
from console.engine.state import (
    EngineView,
    OrderState,
    ServiceView,
    TradingState,
)

if TYPE_CHECKING:
    from console.broker.session import BrokerSession
    from console.broker.streams import TradeUpdates
    from console.config import Settings
    from console.engine.events import Bars
    from signal_bridge import FeedReceiver

FIRST_CONTACT_S = 8.0
"""How long a start waits for the trade updates; once they fail it goes on without, not ready."""
DRAIN_PART = 0.8
"""Of `engine.drain_timeout_s`, what orders under way may take; the rest is for closing things."""


class Engine:
    """See the module. `ports` holds "commands" and "events" once it is started."""

    def __init__(
        self,
        settings: Settings,
        *,
        session: BrokerSession,
        updates: Callable[..., TradeUpdates],
        feed: FeedReceiver | None,
        state_dir: Path,
        replay: ReplayControl | None = None,
        clock: Clocks = SYSTEM_CLOCKS,
        watch: OrderWatch | None = None,
    ) -> None:
        """Put the parts together; no network, no disk, no thread before `start`.

        Raises:
            CrashPointRefused: a crash point is armed outside tests.
        """
        self._settings = settings
        self._session = session
        self._make_updates = updates
        self._receiver = feed
        self._state_dir = state_dir
        self._replay = replay
        self._clocks = clock
        self._watch = watch
        self._mode = settings.mode.value
        self._armed = armed_point()
        self._facts = Facts(clock)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping: asyncio.Task[None] | None = None
        self.ports: dict[str, int] = {}

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the journal, bind the bus, connect and reconcile.

        With a broker that doesn't answer it still starts, not ready, and goes on trying.

        Raises:
            StateDirLocked, JournalError, PortTaken, WrongAccount, BrokerAuthError: it doesn't
                start, and has closed again what it had opened.
        """
        self._loop = asyncio.get_running_loop()
        self._journal = Journal.open(
            self._state_dir, name=f"journal-{self._mode.lower()}.db", wall_ns=self._clocks.wall_ns
        )
        try:
            self._put_together()
        except BaseException:
            self._journal.close()
            raise
        try:
            await self._connect()
        except BaseException:
            await self.stop("the start failed")
            raise

    async def _connect(self) -> None:
        self._take_up()
        ports = self._settings.ports
        self.ports = await self._bus.start(commands=ports.commands, events=ports.events)
        self._facts.publish = self._bus.publish
        if ports.risk:
            self._bus.watch_risk(ports.risk)
        await self._session_watch.poll()
        streaming = self._spawn(self._updates.run(), "trade updates")
        await self._books.until(
            lambda: self._facts.is_connected("updates", or_lost=True) or streaming.done(),
            FIRST_CONTACT_S,
        )
        if self._readiness.auth_failure is not None:
            raise BrokerAuthError(self._readiness.auth_failure, remedy="")
        try:
            await self._upkeep.compare()
        except BrokerAuthError:
            raise
        except BrokerError as error:
            self._facts.notice(Severity.ERROR, "broker", f"not reconciled yet: {error}")
        self._readiness.started = True
        for order in self._books.held_open():
            if order.state is OrderState.UNKNOWN:
                self._parts.in_doubt(order)
                look_up = self._execution.look_up(order.client_order_id)
                self._spawn(look_up, f"look-up of {order.client_order_id}")
        for work, name in (
            (self._session_watch.run(), "market clock"),
            (self._feed.run(), "feed"),
            (self._upkeep.refreshing(), "refresh"),
            (self._upkeep.comparing(), "reconcile"),
            (self._upkeep.mending(), "journal watch"),
            (self._updates.doubting(), "silence watch"),
            (self._parts.protection.run(), "trailing legs"),
            (self._parts.last_prices.run(), "last prices"),
            (self._warm_up(), "warm-up"),
        ):
            self._spawn(work, name)
        self._resume_flatten()
        self._readiness.update()
        logger.info("the engine is started: {}", self._readiness.reason or "ready")

    def _put_together(self) -> None:
        given = Surroundings(
            settings=self._settings,
            session=self._session,
            make_updates=self._make_updates,
            receiver=self._receiver,
            replay=self._replay,
            state_dir=self._state_dir,
            clocks=self._clocks,
            armed=self._armed,
            spawn=self._spawn,
            resume_flatten=self._resume_flatten,
            on_risk=self._on_risk,
            journal_failed=self._journal_failed,
            watch=self._watch,
        )
        self._parts = parts = Parts(given, self._journal, self._facts)
        self._books = parts.books
        self._gatekeeper = parts.gatekeeper
        self._trading = parts.trading
        self._readiness = parts.readiness
        self._execution = parts.execution
        self._feed = parts.feed
        self._session_watch = parts.session_watch
        self._upkeep = parts.upkeep
        self._updates = parts.updates
        self._kill_switch = parts.kill_switch
        self._bus = parts.bus

    def _take_up(self) -> None:
        """Where the last process left off; what was under way then is in doubt now."""
        verdict = self._journal.opened
        if not verdict.sound:
            self._facts.notice(
                Severity.ERROR,
                "journal",
                f"the journal was damaged ({verdict.problem}): {verdict.rows} rows are sound and "
                f"in use, the rest is kept in {verdict.kept_aside}",
            )
        self._trading.load()
        self._parts.reconciler.load()
        for order in self._books.load():
            if order.state in (OrderState.SENDING, OrderState.INTENT):
                doubtful = moved(
                    order,
                    OrderState.UNKNOWN,
                    at=self._books.now(),
                    reason="the engine ended while it was being sent; it is looked up",
                )
                self._books.record(doubtful, doubtful.reason)
        self._parts.protection.load()
        self._books.note("started", "engine", {"text": f"started, {self._mode}"})

    async def stop(self, reason: str) -> None:
        """Take no more commands, let what is under way come to its outcome, close everything.

        Within `engine.drain_timeout_s`, and only once; who calls again waits for the same end.
        Positions and open orders that are left are the last line in the log.
        """
        if not hasattr(self, "_bus"):
            return
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(reason), name="stop")
        await asyncio.shield(self._stopping)

    async def _stop(self, reason: str) -> None:
        deadline = self._loop.time() + self._settings.engine.drain_timeout_s * DRAIN_PART
        if self._readiness.started:
            await self._leave_as_wished(deadline)
        self._readiness.stopping = True
        self._readiness.update()

        def nothing_leaves() -> bool:
            return all(o.state is not OrderState.SENDING for o in self._books.held_open())

        await self._books.until(nothing_leaves, max(0.0, deadline - self._loop.time()))
        self._updates.stop()
        for thread in self._parts.threads:
            thread.stop()
        await self._kill_switch.stop()
        await self._parts.reconciler.stop()
        await self._cancel_all(deadline)
        await self._bus.stop()
        self._session.close()
        for thread in self._parts.threads:
            await asyncio.to_thread(thread.join, max(0.1, deadline - self._loop.time()))
        held = {p.symbol: f"{p.qty.normalize():f}" for p in self._books.positions.values()}
        left = [o.client_order_id for o in self._books.held_open()]
        self._books.write_again()
        self._books.note(
            "stopped", "engine", {"text": f"stopped: {reason}", "held": held, "open": left}
        )
        await asyncio.to_thread(self._journal.close)
        logger.info("the engine is stopped ({}): positions {}, open orders {}", reason, held, left)

    async def _cancel_all(self, deadline: float) -> None:
        """End every task; one that loses its cancellation in a library is cancelled again."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=0.25)
            if self._loop.time() > deadline:
                break
        for task in self._tasks:
            logger.error("{} does not end", task.get_name())

    async def _leave_as_wished(self, deadline: float) -> None:
        """Open orders and positions at exit as `[engine] on_exit` wants them."""
        wish = self._settings.engine.on_exit
        with contextlib.suppress(TimeoutError, BrokerError):
            async with asyncio.timeout_at(deadline):
                if wish == "flatten":
                    await self._kill_switch.run("on exit")
                elif wish == "cancel_orders":
                    self._parts.protection.taken_in_hand("the exit")
                    await self._execution.cancel_all()
                    await self._books.until(lambda: not self._books.held_open(), 2.0)

    # -- what is asked -----------------------------------------------------------------------

    async def handle(self, command: AnyCommand) -> Ack:
        """Carry out a command and answer it; the same id again gets the same answer.

        Never raises for what a command asks; after `engine.command_timeout_s` the answer is that
        it is still under way.
        """
        return await self._parts.dispatch.handle(command)

    async def _on_risk(self, word: RiskWord) -> None:
        """The risk-manager may only tighten; whatever else it says is not for us."""
        if self._trading.tightens(word.trading_state):
            await self._trading.asked(word.trading_state, word.reason or "a risk limit", "risk")
            self._facts.notice(Severity.ERROR, "risk", f"{word.trading_state}: {word.reason}")
            self._readiness.update()

    def _resume_flatten(self) -> None:
        if self._kill_switch.unfinished() is not None:
            self._spawn(self._go_on_flattening(), "flatten resumed")

    async def _go_on_flattening(self) -> None:
        left = self._kill_switch.unfinished()
        if left is None:
            return
        state = self._trading.state
        if state is not TradingState.HALTED and not self._kill_switch.is_running:
            # A person has resumed, and the process ended before that was noted here.
            await self._kill_switch.abandon(f"trading is {state}")
            return
        step = Step.CLOSE if left.step is Step.VERIFY else left.step
        await self._kill_switch.run(left.reason, step)

    def watch_risk(self, port: int) -> None:
        """Take the risk-manager's word from this port; for when it was not known at start."""
        self._bus.watch_risk(port)

    def set_limits(self, settings: Settings) -> None:
        """New risk limits. That they loosen nothing is for the caller to have seen to."""
        self._gatekeeper.set_limits(limits_json(settings))
        self._books.note("limits", "engine", {"text": "risk limits were read again"})

    def notice(self, severity: Severity, topic: str, text: str) -> None:
        """Something that a person should read, from whoever hosts the engine."""
        self._facts.notice(severity, topic, text)

    def set_service(self, service: ServiceView) -> None:
        """A service's health, as its owner sees it."""
        self._facts.service(service)

    # -- what happens ------------------------------------------------------------------------

    def _journal_failed(self, reason: str) -> None:
        """Called by whichever thread saw it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._journal_is_down, reason)

    def _journal_is_down(self, reason: str) -> None:
        if self._stopping is None:
            self._readiness.journal_is_down(reason)

    async def _warm_up(self) -> None:
        problem = await self._feed.seed()
        if problem is not None:
            self._facts.notice(Severity.WARNING, "feed", problem)
        for problem in await self._parts.desk.know(self._settings.feed.symbols):
            text = f"{problem}: take it out of [feed] symbols"
            self._facts.notice(Severity.WARNING, f"feed {problem}", text)

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).error("{} ended", task.get_name())
            self._facts.notice(Severity.ERROR, task.get_name(), f"it ended: {error}")

    # -- what is known -----------------------------------------------------------------------

    def subscribe(self, callback: OnEvent) -> Callable[[], None]:
        """Call `callback(event)` in the engine's loop from now on; call the answer to end it."""
        return self._facts.subscribe(callback)

    def bars(self, symbol: str) -> Bars | None:
        """The feed's one-minute bars of `symbol`; None if it isn't followed. Of any thread."""
        if self._receiver is None:
            return None
        try:
            return self._receiver.bars(symbol)
        except KeyError:
            return None

    def snapshot(self) -> Snapshot:
        """Everything, as the event that a new listener begins with."""
        return self._parts.picture.snapshot()

    def view(self) -> EngineView:
        """Everything that the engine knows at this moment."""
        return self._parts.view()

    def health(self) -> dict[str, Any]:
        """What a health check needs: readiness with its reason, states, counters, ages."""
        return self._parts.picture.health(self._session.stats(), self._bus)

    def measured(self) -> dict[str, Any]:
        """What metrics show beside that: how long things took, counts by state and by check."""
        line = self._session.stats()
        return self._parts.measured() | {
            "broker_budget": line.budget_left,
            "broker_reads_rest": line.reads_rest,
        }
