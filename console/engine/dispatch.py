"""Each command to the part that carries it out, once, and its answer to whoever asks again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from loguru import logger
from msgspec.structs import replace

from console.broker.errors import BrokerError
from console.engine.books import Books
from console.engine.clocks import Clocks
from console.engine.commands import (
    Ack,
    AnyCommand,
    CancelAll,
    CancelOrder,
    ClosePosition,
    ControlReplay,
    Flatten,
    GetBars,
    GetOrder,
    GetState,
    Outcome,
    Reconcile,
    ReplaceOrder,
    SettleOrder,
    SetTradingState,
    SubmitOrder,
)
from console.engine.desk import Desk
from console.engine.facts import Facts
from console.engine.flatten import KillSwitch
from console.engine.journal_files import JournalError
from console.engine.measures import Measures
from console.engine.protection import Protection
from console.engine.readiness import Readiness
from console.engine.reconcile import Reconciled
from console.engine.risk import refused
from console.engine.session import SessionWatch
from console.engine.state import BarHistory, EngineView, Refusal, RiskReport, TradingState
from console.engine.story import story_lines
from console.engine.tradingstate import TradingStateLatch
from console.engine.trailbook import subject_of

ANSWERS_KEPT = 10_000


class Dispatch:
    """See the module. Of the engine's loop alone."""

    def __init__(
        self,
        books: Books,
        desk: Desk,
        protection: Protection,
        trading: TradingStateLatch,
        readiness: Readiness,
        kill_switch: KillSwitch,
        session_watch: SessionWatch,
        facts: Facts,
        clocks: Clocks,
        measures: Measures,
        *,
        compare: Callable[[], Awaitable[Reconciled]],
        view: Callable[[], EngineView],
        history: Callable[[str], BarHistory | None],
        spawn: Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]],
        timeout_s: float,
    ) -> None:
        self._books = books
        self._desk = desk
        self._protection = protection
        self._trading = trading
        self._readiness = readiness
        self._kill_switch = kill_switch
        self._session_watch = session_watch
        self._facts = facts
        self._clocks = clocks
        self._measures = measures
        self._compare = compare
        self._view = view
        self._history = history
        self._spawn = spawn
        self._timeout_s = timeout_s
        self._answers: OrderedDict[str, asyncio.Task[Ack]] = OrderedDict()

    async def handle(self, command: AnyCommand) -> Ack:
        """Answer a command. One that is asked again, under the same id, is not done again."""
        task = self._answers.get(command.id)
        if task is None:
            task = self._spawn(self._carry_out(command), f"{type(command).__name__} {command.id}")
            if not isinstance(command, GetState | GetOrder | GetBars):
                self._answers[command.id] = task
                while len(self._answers) > ANSWERS_KEPT:
                    self._answers.popitem(last=False)
        await asyncio.wait([task], timeout=self._timeout_s)
        if not task.done():
            order = self._books.sent_by(command.id)
            ack = Ack(
                id=command.id, outcome=Outcome.UNKNOWN, message="still under way", order=order
            )
        elif task.cancelled():
            ack = Ack(id=command.id, outcome=Outcome.UNKNOWN, message="the engine is stopping")
        else:
            ack = task.result()
        return replace(ack, seq=self._facts.seq, ts=self._clocks.wall_ns())

    async def _carry_out(self, command: AnyCommand) -> Ack:
        ack = await self._try(command)
        if not (isinstance(command, SubmitOrder) and command.preview):
            self._measures.answered(ack)
        return ack

    async def _try(self, command: AnyCommand) -> Ack:
        try:
            return await self._do(command)
        except BrokerError as error:
            return _refusal(
                command, refused("broker", "an answer", "none", str(error), error.remedy)
            )
        except Exception as error:  # noqa: BLE001 — an engine that answers outlives its mistakes
            logger.opt(exception=error).error("{} failed", type(command).__name__)
            text = f"failed inside: {type(error).__name__}"
            return _refusal(command, refused("engine", "", "", text, "see the log"))

    async def _do(self, command: AnyCommand) -> Ack:
        match command:
            case GetState():
                return _accepted(command, state=self._view())
            case GetOrder():
                return await self._order_story(command)
            case GetBars():
                return self._bars(command)
            case _ if self._readiness.stopping:
                text = "the engine is stopping"
                return _refusal(command, refused("engine", "running", "stopping", text))
            case SubmitOrder():
                return await self._desk.submit(command)
            case ReplaceOrder():
                return await self._desk.replace(command)
            case CancelOrder():
                return await self._desk.canceling.one(command)
            case CancelAll():
                return await self._desk.canceling.all(command)
            case ClosePosition():
                return await self._desk.close(command)
            case SettleOrder():
                return await self._desk.settle(command)
            case SetTradingState():
                return await self._set_trading_state(command)
            case Flatten():
                reason = command.reason or f"asked by {command.source}"
                return _accepted(command, message=await self._kill_switch.run(reason))
            case Reconcile():
                return _accepted(command, message=(await self._compare()).in_words())
            case ControlReplay():
                return await self._session_watch.control(command)

    async def _set_trading_state(self, command: SetTradingState) -> Ack:
        loosens = self._trading.loosens(command.state)
        refusal = await self._trading.asked(command.state, command.reason, command.source)
        if refusal is not None:
            return _refusal(command, RiskReport(allowed=False, refusals=(refusal,)))
        if loosens and self._trading.state is command.state:
            await self._kill_switch.abandon(f"trading is {command.state} by {command.source}")
        self._readiness.update()
        message, stops = f"trading is {command.state}", self._protection.trailing()
        if command.state is TradingState.HALTED and stops:
            message += f"; trailing stops stay where they are at the broker ({stops}), and "
            message += "shares that lose theirs get no other"
        return _accepted(command, message=message)

    def _bars(self, command: GetBars) -> Ack:
        history = self._history(command.symbol)
        if history is None:
            text = f"no bars of {command.symbol[:16]!r} are kept"
            return _refusal(command, refused("symbol", "followed", command.symbol[:16], text))
        return _accepted(command, bars=history)

    async def _order_story(self, command: GetOrder) -> Ack:
        order = self._books.find(command.order_id)
        if order is None:
            text = f"no order {command.order_id[:60]!r} is known"
            return _refusal(command, refused("order", "known", command.order_id[:60], text))
        with contextlib.suppress(JournalError):
            await self._books.journal.settled()
        trail = self._protection.view_of(order)
        rows = self._books.journal.story(order.client_order_id)
        if trail is not None:
            rows += self._books.journal.story(subject_of(trail.entry))
        story = story_lines(sorted(rows, key=lambda row: row.seq))
        return _accepted(command, order=order, story=story, trail=trail)


def _accepted(command: AnyCommand, **fields: Any) -> Ack:
    return Ack(id=command.id, outcome=Outcome.ACCEPTED, **fields)


def _refusal(command: AnyCommand, report: RiskReport) -> Ack:
    refusals: tuple[Refusal, ...] = report.refusals
    return Ack(
        id=command.id,
        outcome=Outcome.REFUSED,
        message="; ".join(refusal.message for refusal in refusals),
        refusals=refusals,
    )
