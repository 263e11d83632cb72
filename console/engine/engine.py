"""The engine: its parts put together, commands handed to them, and the facts that come of it.

    engine = Engine(settings, session=…, updates=…, feed=…, state_dir=…)
    await engine.start()          # journal, bus, trade updates, reconciliation; then ready
    ack = await engine.handle(SubmitOrder(…))
    await engine.stop("SIGTERM")

Everything runs in the loop that `start` was called in; blocking calls to the broker are made on two
threads of the engine's own. No part of it knows of a screen, a signal or a command line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from msgspec.structs import replace

from console.broker.errors import BrokerAuthError, BrokerError
from console.engine.books import Books
from console.engine.bus import Bus, RiskWord
from console.engine.clocks import SYSTEM_CLOCKS, Clocks, MarketClock, ReplayControl
from console.engine.commands import (
    Ack,
    AnyCommand,
    CancelAll,
    CancelOrder,
    ClosePosition,
    ControlReplay,
    Flatten,
    GetOrder,
    GetState,
    Outcome,
    Reconcile,
    ReplaceOrder,
    SettleOrder,
    SetTradingState,
    SubmitOrder,
)
from console.engine.crash import armed_point, crash_here
from console.engine.desk import Desk
from console.engine.events import (
    AccountChanged,
    ConnectionChanged,
    Event,
    MarketFrame,
    Noticed,
    OrderFilled,
    ReadyChanged,
    ServiceChanged,
    Severity,
    Snapshot,
)
from console.engine.execution import BrokerThread, Execution
from console.engine.feed import Feed
from console.engine.flatten import KillSwitch, Step
from console.engine.journal import Journal
from console.engine.orders import moved
from console.engine.reconcile import Reconciled, Reconciler, account_view
from console.engine.risk import Gatekeeper, refused
from console.engine.session import SessionWatch
from console.engine.state import (
    AccountView,
    ConnectionState,
    ConnectionView,
    EngineView,
    OrderState,
    OrderView,
    ServiceView,
    TradingState,
)
from console.engine.story import story_lines
from console.engine.tradingstate import TradingStateLatch

if TYPE_CHECKING:
    from console.broker.session import BrokerSession
    from console.broker.streams import StreamState, TradeUpdates
    from console.config import Settings
    from signal_bridge import FeedReceiver

ANSWERS_KEPT = 10_000
FIRST_CONTACT_S = 8.0
"""How long a start waits for the trade updates before it goes on without them, not ready."""
REFRESH_S = {"DEMO": 1.0, "EXCHANGE": 2.0, "PAPER": 5.0}
AFTER_FILL_S = 0.1
_STREAM_STATES = {
    "connecting": ConnectionState.CONNECTING,
    "connected": ConnectionState.CONNECTED,
    "stale": ConnectionState.STALE,
}
OnEvent = Callable[[Any], None]


class WrongAccount(Exception):
    """The journal in this state directory is another account's."""

    exit_code = 78


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
    ) -> None:
        self._settings = settings
        self._session = session
        self._make_updates = updates
        self._receiver = feed
        self._state_dir = state_dir
        self._replay = replay
        self._clocks = clock
        self._mode = settings.mode.value
        self._armed = armed_point()
        self._seq = 0
        self._listeners: list[OnEvent] = []
        self._connections: dict[str, ConnectionView] = {}
        self._services: dict[str, ServiceView] = {}
        self._answers: OrderedDict[str, asyncio.Task[Ack]] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stream: TradeUpdates | None = None
        self._started = self._stopping = self._stopped = False
        self._reconciled = False
        self._auth_failure: str | None = None
        self._journal_failure: str | None = None
        self._ready = False
        self._ready_reason = "starting"
        self._refresh_wanted = asyncio.Event()
        self._reconcile_wanted = asyncio.Event()
        self._account_id: str | None = None
        self.ports: dict[str, int] = {}

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the journal, bind the bus, connect and reconcile.

        With a broker that doesn't answer it still starts, not ready, and goes on trying.

        Raises:
            StateDirLocked, JournalError, PortTaken, WrongAccount, BrokerAuthError,
            CrashPointRefused.
        """
        self._loop = asyncio.get_running_loop()
        self._journal = Journal.open(
            self._state_dir, name=f"journal-{self._mode.lower()}.db", wall_ns=self._clocks.wall_ns
        )
        try:
            await self._start()
        except BaseException:
            await self.stop("start failed")
            raise

    async def _start(self) -> None:
        self._compose()
        self._take_up()
        self.ports = await self._bus.start(
            commands=self._settings.ports.commands, events=self._settings.ports.events
        )
        if self._settings.ports.risk:
            self._bus.watch_risk(self._settings.ports.risk)
        await self._session_watch.poll()
        self._stream = self._make_updates(
            self._on_update,
            self._on_stream,
            stale_after_s=self._settings.broker.updates_stale_s,
            expecting=lambda: any(True for _ in self._books.open_orders()),
        )
        streaming = self._spawn(self._run_stream(self._stream), "trade updates")
        await self._books.until(
            lambda: self._updates_connected() or streaming.done(), FIRST_CONTACT_S
        )
        if self._auth_failure is not None:
            raise BrokerAuthError(self._auth_failure, remedy="")
        try:
            await self._compare()
        except BrokerAuthError:
            raise
        except BrokerError as error:
            self._notice(Severity.ERROR, "broker", f"not reconciled yet: {error}")
        self._started = True
        for work, name in (
            (self._session_watch.run(), "market clock"),
            (self._feed.run(), "feed"),
            (self._refresh_loop(), "refresh"),
            (self._reconcile_loop(), "reconcile"),
            (self._journal_loop(), "journal watch"),
            (self._warm_up(), "warm-up"),
        ):
            self._spawn(work, name)
        self._resume_flatten()
        self._update_ready()
        logger.info("the engine is started: {}", self._ready_reason or "ready")

    def _compose(self) -> None:
        settings, clocks = self._settings, self._clocks
        self._orders_thread = BrokerThread("broker orders")
        self._reads_thread = BrokerThread("broker reads")
        self._market = MarketClock(
            settings.demo.speed if self._mode == "DEMO" else 1.0, estimate=self._mode == "EXCHANGE"
        )
        self._gatekeeper = Gatekeeper.of(settings)
        self._books = Books(
            self._journal,
            self._emit,
            self._gatekeeper,
            clocks,
            self._market,
            self._journal_failed,
        )
        self._trading = TradingStateLatch(self._books, self._gatekeeper, self._emit)
        self._execution = Execution(
            self._session,
            self._books,
            orders=self._orders_thread,
            reads=self._reads_thread,
            may_send=self._may_send,
            on_auth_error=self._auth_failed,
            on_doubt=self._in_doubt,
            armed=self._armed,
        )
        self._reconciler = Reconciler(
            self._session, self._books, self._reads_thread, on_account=self._on_account
        )
        self._feed = Feed(
            self._receiver,
            self._gatekeeper,
            self._session,
            self._reads_thread,
            clocks,
            self._market,
            frames_per_second=settings.feed.frames_per_second,
            history=settings.feed.history,
            quote_stale_s=settings.feed.quote_stale_s,
            on_frame=self._emit_frame,
            on_connection=self._connected,
        )
        self._session_watch = SessionWatch(
            self._session,
            self._reads_thread,
            clocks,
            self._market,
            self._gatekeeper,
            mode=self._mode,
            replay=self._replay,
            emit=self._emit,
            on_connection=self._connected,
        )
        self._desk = Desk(
            self._books,
            self._execution,
            self._gatekeeper,
            self._feed,
            self._session,
            self._reads_thread,
            clocks,
            self._market,
            blocked=self._blocked,
            compare=self._compare,
        )
        self._kill_switch = KillSwitch(
            self._books,
            self._execution,
            halt=self._halt_for_flatten,
            compare=self._compare,
            close=self._desk.close_for_flatten,
            market_is_open=lambda: self._market.is_open_at(clocks.monotonic()),
            armed=self._armed,
        )
        self._bus = Bus(
            handle=self.handle,
            snapshot=self.snapshot,
            on_risk=self._on_risk,
            bind=settings.bus.bind,
            high_water_mark=settings.bus.high_water_mark,
        )

    def _take_up(self) -> None:
        """Where the last process left off; what was under way then is in doubt now."""
        verdict = self._journal.opened
        if not verdict.sound:
            self._notice(
                Severity.ERROR,
                "journal",
                f"the journal was damaged ({verdict.problem}): {verdict.rows} rows are sound "
                f"and in use, the rest is kept in {verdict.kept_aside}",
            )
        self._trading.load()
        self._reconciler.load()
        for order in self._books.load():
            if order.state in (OrderState.SENDING, OrderState.INTENT):
                doubtful = moved(
                    order,
                    OrderState.UNKNOWN,
                    at=self._books.now(),
                    reason="the engine ended while it was being sent; it is looked up",
                )
                self._books.record(doubtful, doubtful.reason)
        self._books.note("started", "engine", {"text": f"started, {self._mode}"})

    async def stop(self, reason: str) -> None:
        """Take no more commands, let what is under way come to its outcome, close everything.

        Idempotent; within `engine.drain_timeout_s`. Orders and positions left are logged.
        """
        if self._stopped:
            return
        self._stopped = True
        if hasattr(self, "_books"):
            deadline = self._loop.time() + self._settings.engine.drain_timeout_s * 0.8
            if self._started:
                await self._leave(deadline)
            self._stopping = True
            self._update_ready()

            def nothing_leaves() -> bool:
                return all(o.state is not OrderState.SENDING for o in self._books.open_orders())

            await self._books.until(nothing_leaves, max(0.0, deadline - self._loop.time()))
            await self._end(reason, deadline)
        self._journal.close()
        self._session.close()

    async def _leave(self, deadline: float) -> None:
        """Open orders and positions at exit as `[engine] on_exit` wants them."""
        wish = self._settings.engine.on_exit
        with contextlib.suppress(TimeoutError, BrokerError):
            async with asyncio.timeout_at(deadline):
                if wish == "flatten":
                    await self._kill_switch.run("on exit")
                elif wish == "cancel_orders":
                    await self._execution.cancel_all()
                    await self._books.until(
                        lambda: not any(True for _ in self._books.open_orders()), 2.0
                    )

    async def _end(self, reason: str, deadline: float) -> None:
        if self._stream is not None:
            self._stream.stop()
        self._orders_thread.stop()
        self._reads_thread.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._bus.stop()
        for thread in (self._orders_thread, self._reads_thread):
            await asyncio.to_thread(thread.join, max(0.1, deadline - self._loop.time()))
        held = {p.symbol: f"{p.qty.normalize():f}" for p in self._books.positions.values()}
        waiting = [o.client_order_id for o in self._books.open_orders()]
        self._books.note(
            "stopped", "engine", {"text": f"stopped: {reason}", "held": held, "open": waiting}
        )
        logger.info(
            "the engine is stopped ({}): positions {}, open orders {}", reason, held, waiting
        )

    # -- commands ----------------------------------------------------------------------------

    async def handle(self, command: AnyCommand) -> Ack:
        """Carry out a command and answer it; the same id again gets the same answer.

        Never raises for what a command asks; after `engine.command_timeout_s` the answer is that
        it is still under way.
        """
        task = self._answers.get(command.id)
        if task is None:
            task = self._spawn(self._carry_out(command), f"{type(command).__name__} {command.id}")
            if not isinstance(command, GetState | GetOrder):
                self._answers[command.id] = task
                while len(self._answers) > ANSWERS_KEPT:
                    self._answers.popitem(last=False)
        await asyncio.wait([task], timeout=self._settings.engine.command_timeout_s)
        if not task.done():
            ack = Ack(id=command.id, outcome=Outcome.UNKNOWN, message="still under way")
        elif task.cancelled():
            ack = Ack(id=command.id, outcome=Outcome.UNKNOWN, message="the engine is stopping")
        else:
            ack = task.result()
        return replace(ack, seq=self._seq, ts=self._clocks.wall_ns())

    async def _carry_out(self, command: AnyCommand) -> Ack:
        try:
            return await self._dispatch(command)
        except BrokerError as error:
            report = refused("broker", "an answer", "none", str(error), error.remedy)
        except Exception as error:  # noqa: BLE001 — an engine that answers outlives its mistakes
            logger.opt(exception=error).error("{} failed", type(command).__name__)
            report = refused(
                "engine", "", type(error).__name__, f"failed inside: {error}", "see the log"
            )
        return _refusal(command, report.refusals[0].message, report.refusals)

    async def _dispatch(self, command: AnyCommand) -> Ack:
        match command:
            case GetState():
                return Ack(id=command.id, outcome=Outcome.ACCEPTED, state=self.view())
            case GetOrder():
                return self._order_story(command)
            case _ if self._stopping or not hasattr(self, "_desk"):
                report = refused("engine", "running", "stopping", "the engine is stopping")
                return _refusal(command, "the engine is stopping", report.refusals)
            case SubmitOrder():
                return await self._desk.submit(command)
            case ReplaceOrder():
                return await self._desk.replace(command)
            case CancelOrder():
                return await self._desk.cancel(command)
            case CancelAll():
                return await self._desk.cancel_all(command)
            case ClosePosition():
                return await self._desk.close(command)
            case SettleOrder():
                return await self._desk.settle(command)
            case SetTradingState():
                return await self._set_trading_state(command)
            case Flatten():
                text = await self._kill_switch.run(command.reason or f"asked by {command.source}")
                return Ack(id=command.id, outcome=Outcome.ACCEPTED, message=text)
            case Reconcile():
                found = await self._compare()
                return Ack(id=command.id, outcome=Outcome.ACCEPTED, message=found.in_words())
            case ControlReplay():
                return await self._session_watch.control(command)

    async def _set_trading_state(self, command: SetTradingState) -> Ack:
        refusal = await self._trading.asked(command.state, command.reason, command.source)
        if refusal is not None:
            return _refusal(command, refusal.message, (refusal,))
        self._update_ready()
        return Ack(id=command.id, outcome=Outcome.ACCEPTED, message=f"trading is {command.state}")

    def _order_story(self, command: GetOrder) -> Ack:
        order = self._books.find(command.order_id)
        if order is None:
            report = refused("order", "known", command.order_id[:60], "no such order is known")
            return _refusal(command, "no such order is known", report.refusals)
        story = story_lines(self._journal.story(order.client_order_id))
        return Ack(id=command.id, outcome=Outcome.ACCEPTED, order=order, story=story)

    async def _on_risk(self, word: RiskWord) -> None:
        """The risk-manager may only tighten; what it says otherwise is not for us."""
        if self._trading.tightens(word.trading_state):
            await self._trading.asked(word.trading_state, word.reason or "risk limit", "risk")
            self._notice(Severity.ERROR, "risk", f"{word.trading_state}: {word.reason}")
            self._update_ready()

    async def _halt_for_flatten(self, reason: str) -> None:
        await self._trading.asked(TradingState.HALTED, reason, "flatten")
        self._update_ready()

    def _resume_flatten(self) -> None:
        left = self._kill_switch.unfinished()
        if left is not None:
            step = Step.CLOSE if left.step is Step.VERIFY else left.step
            self._notice(Severity.WARNING, "flatten", f"goes on with: {step}")
            self._spawn(self._kill_switch.run(left.reason, step), "flatten resumed")

    # -- what may be sent --------------------------------------------------------------------

    def _blocked(self) -> str | None:
        """Why no order may be placed at all, whatever it is; None when it may."""
        if self._stopping:
            return "the engine is stopping"
        if self._auth_failure is not None:
            return self._auth_failure
        if self._journal_failure is not None:
            return f"the journal can't be written: {self._journal_failure}"
        if not self._reconciled:
            return "the books are not reconciled with the broker yet"
        if not self._updates_connected():
            return "the broker's trade updates are not connected"
        return None

    def _may_send(self, order: OrderView) -> str | None:
        """Asked right before the POST: what may have happened while the order waited."""
        if self._trading.state is TradingState.HALTED and order.source != "flatten":
            return f"trading was halted meanwhile: {self._trading.reason}"
        return None

    def _update_ready(self) -> None:
        reason = self._blocked() if self._started else "starting"
        if reason is None and self._trading.state is TradingState.HALTED:
            reason = f"trading is HALTED: {self._trading.reason}"
        ready = reason is None
        if (ready, reason or "") != (self._ready, self._ready_reason):
            self._ready, self._ready_reason = ready, reason or ""
            self._emit(ReadyChanged(ready=ready, reason=self._ready_reason))

    # -- what happens ------------------------------------------------------------------------

    def _on_update(self, update: dict[str, Any]) -> None:
        self._books.updated(update)
        if update.get("event") in ("fill", "partial_fill"):
            crash_here("mid-fill", self._armed)
            self._refresh_wanted.set()

    def _on_stream(self, state: StreamState) -> None:
        connection = _STREAM_STATES.get(state.status.value, ConnectionState.LOST)
        was_connected = self._updates_connected()
        self._connected(
            ConnectionView(
                name="updates",
                state=connection,
                since=state.since,
                detail=state.detail,
                retry_at=None
                if state.retry_in_s is None
                else self._clocks.monotonic() + state.retry_in_s,
            )
        )
        if connection is ConnectionState.CONNECTED and not was_connected and self._started:
            # Nothing is replayed: until the books are compared again they may lack a fill.
            self._reconciled = False
            self._reconcile_wanted.set()
        self._update_ready()
        self._books.wake()

    def _updates_connected(self) -> bool:
        connection = self._connections.get("updates")
        return connection is not None and connection.state is ConnectionState.CONNECTED

    async def _run_stream(self, stream: TradeUpdates) -> None:
        try:
            await stream.run()
        except BrokerError as error:
            self._auth_failed(str(error))
            self._books.wake()

    def _auth_failed(self, reason: str) -> None:
        """The keys don't hold: asking again only locks the door, so everything stops here."""
        if self._auth_failure is None:
            self._auth_failure = reason
            self._notice(Severity.ERROR, "broker", reason)
            if self._started:
                self._spawn(
                    self._trading.asked(TradingState.HALTED, reason, "broker"), "halt on 401"
                )
        self._update_ready()

    def _in_doubt(self, order: OrderView) -> None:
        self._notice(
            Severity.ERROR,
            f"unknown {order.client_order_id}",
            f"{order.client_order_id}: it is not known whether the broker has it ({order.reason}); "
            f"{order.symbol} takes no new orders until it is found or settled",
        )

    def _on_account(self, payload: dict[str, Any]) -> None:
        identity = str(payload.get("id") or payload.get("account_number") or "")
        if identity and self._account_id is None:
            self._belongs_to(identity)
        account = account_view(payload)
        if account != self._books.account:
            self._books.account = account
            self._gatekeeper.account_changed(account)
            self._emit(AccountChanged(account=account))

    def _belongs_to(self, identity: str) -> None:
        row = self._journal.latest("account")
        known = None if row is None else row.body.decode()
        if known is not None and identity not in known:
            raise WrongAccount(
                f"{self._state_dir} holds the journal of another {self._mode} account; "
                "give this account its own --state-dir"
            )
        if known is None:
            self._books.set_standing("account", "account", {"id": identity}, is_open=True)
        self._account_id = identity

    async def _compare(self) -> Reconciled:
        found = await self._reconciler.run()
        self._reconciled = True
        if found.unexplained:
            text = f"positions differ and no fill explains it: {found.in_words()}"
            self._notice(Severity.ERROR, "reconcile", text)
            if self._trading.tightens(TradingState.REDUCING):
                await self._trading.asked(TradingState.REDUCING, text, "reconcile")
        elif found.changed or found.external:
            self._notice(Severity.INFO, "reconcile", found.in_words())
        self._update_ready()
        return found

    def _journal_failed(self, reason: str) -> None:
        """Called by whichever thread saw it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._journal_is_down, reason)

    def _journal_is_down(self, reason: str) -> None:
        if self._journal_failure is None and not self._stopped:
            self._journal_failure = reason
            self._notice(
                Severity.ERROR, "journal", f"{reason}; no order leaves until it can be written"
            )
            self._update_ready()

    # -- loops -------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).error("{} ended", task.get_name())
            self._notice(Severity.ERROR, task.get_name(), f"{task.get_name()} ended: {error}")

    async def _refresh_loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S.get(self._mode, 5.0)):
                    await self._refresh_wanted.wait()
                    await asyncio.sleep(AFTER_FILL_S)
            self._refresh_wanted.clear()
            try:
                await self._reconciler.refresh()
            except BrokerError as error:
                self._session_watch.failed(error)

    async def _reconcile_loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    self._settings.engine.reconcile_every_s if self._reconciled else 1.0
                ):
                    await self._reconcile_wanted.wait()
            self._reconcile_wanted.clear()
            try:
                await self._compare()
            except BrokerError as error:
                self._session_watch.failed(error)
                continue
            if self._kill_switch.unfinished() is not None:
                self._resume_flatten()

    async def _journal_loop(self) -> None:
        """While the journal can't be written it is tried; once it can, what it missed follows."""
        while True:
            await asyncio.sleep(1.0)
            if self._journal_failure is None:
                continue
            missed = [
                asyncio.wrap_future(self._books.record(o, "recorded again"))
                for o in list(self._books.open_orders())
            ]
            missed.append(
                asyncio.wrap_future(
                    self._books.note("journal", "engine", {"text": "writable again"})
                )
            )
            results = await asyncio.gather(*missed, return_exceptions=True)
            if not any(isinstance(result, BaseException) for result in results):
                self._journal_failure = None
                self._notice(Severity.WARNING, "journal", "the journal can be written again")
                self._update_ready()

    async def _warm_up(self) -> None:
        problem = await self._feed.seed()
        if problem is not None:
            self._notice(Severity.WARNING, "feed", problem)
        await self._desk.know(self._settings.feed.symbols)

    # -- events and views --------------------------------------------------------------------

    def subscribe(self, callback: OnEvent) -> Callable[[], None]:
        """Call `callback(event)` in the engine's loop from now on; call the answer to end it."""
        self._listeners.append(callback)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(callback)

        return end

    def _emit(self, event: Event) -> None:
        self._seq += 1
        event = replace(event, seq=self._seq, ts=self._clocks.wall_ns())
        self._bus.publish(event)
        self._deliver(event)
        if isinstance(event, OrderFilled):
            self._refresh_wanted.set()

    def _emit_frame(self, frame: MarketFrame) -> None:
        self._deliver(frame)

    def _deliver(self, event: Event | MarketFrame) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 — a listener's mistake is not the engine's
                logger.opt(exception=error).error("a listener failed on {}", type(event).__name__)

    def _notice(self, severity: Severity, topic: str, text: str) -> None:
        logger.log(severity.value.upper(), "{}: {}", topic, text)
        if hasattr(self, "_bus"):
            self._emit(Noticed(severity=severity, topic=topic, text=text))

    def _connected(self, connection: ConnectionView) -> None:
        if self._connections.get(connection.name) != connection:
            self._connections[connection.name] = connection
            self._emit(ConnectionChanged(connection=connection))

    def set_service(self, service: ServiceView) -> None:
        """A service's health, as its owner sees it."""
        if self._services.get(service.name) != service:
            self._services[service.name] = service
            self._emit(ServiceChanged(service=service))

    def watch_risk(self, port: int) -> None:
        """Take the risk-manager's word from this port; for when it was not known at start."""
        self._bus.watch_risk(port)

    def set_limits(self, settings: Settings) -> None:
        """New risk limits. That they loosen nothing is for the caller to have seen to."""
        from console.engine.risk import limits_json

        self._gatekeeper.set_limits(limits_json(settings))
        self._books.note("limits", "engine", {"text": "risk limits were read again"})

    def snapshot(self) -> Snapshot:
        """Everything, as the event that a new listener begins with."""
        return Snapshot(seq=self._seq, ts=self._clocks.wall_ns(), state=self.view())

    def view(self) -> EngineView:
        """Everything that the engine knows at this moment."""
        return EngineView(
            seq=self._seq,
            mode=self._mode,
            ready=self._ready,
            trading_state=self._trading.state,
            trading_reason=self._trading.reason,
            account=self._books.account,
            positions=tuple(self._books.positions.values()),
            orders=tuple(sorted(self._books.orders.values(), key=lambda o: o.created_at)),
            session=self._market.view(),
            connections=tuple(self._connections.values()),
            services=tuple(self._services.values()),
        )

    def health(self) -> dict[str, Any]:
        """What a health check needs: readiness with its reason, states, counters, ages."""
        stats = self._session.stats()
        now = self._clocks.monotonic()
        return {
            "ready": self._ready,
            "reason": self._ready_reason,
            "trading_state": self._trading.state.value,
            "connections": {
                c.name: (c.state.value, now - c.since) for c in self._connections.values()
            },
            "open_orders": sum(1 for _ in self._books.open_orders()),
            "in_doubt": sum(o.state is OrderState.UNKNOWN for o in self._books.open_orders()),
            "positions": len(self._books.positions),
            "events": self._seq,
            "journal_rows": self._journal.last_seq,
            "journal_flushes": self._journal.flushes,
            "journal_failure": self._journal_failure or "",
            "broker_latency_ms": stats.latency_ms,
            "broker_requests": stats.requests,
            "broker_failures": stats.failures,
            "bus_malformed": self._bus.malformed,
            "bus_turned_away": self._bus.turned_away,
        }


def _refusal(command: AnyCommand, message: str, refusals: tuple[Any, ...]) -> Ack:
    return Ack(id=command.id, outcome=Outcome.REFUSED, message=message, refusals=refusals)


__all__ = ["AccountView", "Engine", "WrongAccount"]
