"""Keeps the trailing legs: sees to it that what `trail.decide` wants done is done, once.

Every step is a row of the journal before it is a request: the plan with the id of what is to be
sent, then that order's own SENDING, then the one POST. A start takes the plans from there; an order
that was under way is looked up like any other before anything else is sent for its plan.

What it sends only ever reduces: it skips the risk gate, but not the trading state.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from console.broker.errors import BrokerError, OutcomeUnknown
from console.engine import trail
from console.engine.books import Books
from console.engine.clocks import Clocks, MarketClock
from console.engine.command_lines import format_command
from console.engine.commands import Ack, Outcome, SubmitOrder
from console.engine.crash import crash_here
from console.engine.events import (
    Event,
    MarketFrame,
    OrderChanged,
    PositionsChanged,
    ReadyChanged,
    Severity,
    TradingStateChanged,
)
from console.engine.execution import Execution
from console.engine.facts import Facts
from console.engine.journal import patiently
from console.engine.journal_files import JournalError
from console.engine.lastprices import LastPrices
from console.engine.order_rows import SentAt
from console.engine.orders import in_words
from console.engine.readiness import Readiness
from console.engine.state import (
    OrderClass,
    OrderState,
    OrderView,
    TradingState,
    TrailPhase,
    TrailView,
)
from console.engine.tradingstate import TradingStateLatch
from console.engine.trail import Action, Cut, Decision, End, Move, Plan, Protect, Sight, rest_of
from console.engine.trailbook import (
    Family,
    family_of,
    protecting_order,
    subject_of,
    succeeding_order,
)
from console.engine.trailvoice import Said, Voice, view_of
from console.engine.trailvoice import in_words as in_words_of

if TYPE_CHECKING:
    from signal_bridge import FeedFrame

TICK_S = 0.25
MOVES_AT_ONCE, MOVES_PER_S = 10.0, 0.6
"""Requests that all trailing legs together may make: the rest of the broker's 200 a minute is for
orders that a person gives.
"""
MOVE_AGAIN_S = 30.0
"""The longest pause after a move that was refused."""
TOLD_AFTER_REFUSALS = 3
ENDED_KEPT = 50


@dataclass(slots=True)
class _Kept:
    """A plan and what is only of this moment."""

    plan: Plan
    phase: TrailPhase = TrailPhase.WAITING
    family: Family | None = None
    """Its orders; None once one of them has changed."""
    best: Decimal | None = None
    """The best fresh price since the last look."""
    acting: asyncio.Task[None] | None = None
    said: Said = field(default_factory=Said)
    partial_at: float | None = None
    exposed_at: float | None = None
    cut_at: float = -1e9
    moved_at: float = -1e9
    tried_at: float = -1e9
    attempts: int = 0
    moves_refused: int = 0
    """In a row."""
    cut_off: bool = False
    """The rest of the entry is being canceled by us, and may be sent anew."""


class Protection:
    """See the module. Of the engine's loop alone; `run` is spawned once the engine is started."""

    def __init__(
        self,
        books: Books,
        execution: Execution,
        prices: LastPrices,
        readiness: Readiness,
        trading: TradingStateLatch,
        facts: Facts,
        clocks: Clocks,
        market: MarketClock,
        *,
        flattening: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]],
        every_s: float,
        partial_s: float,
        armed: str | None = None,
    ) -> None:
        self._books = books
        self._execution = execution
        self._prices = prices
        self._voice = Voice(facts, clocks, market)
        self._readiness = readiness
        self._trading = trading
        self._clocks = clocks
        self._market = market
        self._flattening = flattening
        self._spawn = spawn
        self._every_s = every_s
        self._partial_s = partial_s
        self._armed = armed
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self.send_rest: Callable[[SubmitOrder], Awaitable[Ack]] | None = None
        """Carries out what is left of an entry that was cut."""
        self._ended: deque[TrailView] = deque(maxlen=ENDED_KEPT)
        self._wake = asyncio.Event()
        self._allowance = MOVES_AT_ONCE
        self._allowed_at = clocks.monotonic()
        facts.subscribe(self._heard)

    # -- plans -------------------------------------------------------------------------------

    def load(self) -> None:
        """Take up the plans that the last process left."""
        for row in self._books.journal.open_subjects():
            if row.kind == "trail":
                plan = msgspec.json.decode(row.body, type=Plan)
                phase = TrailPhase.TRAILING if plan.live else TrailPhase.WAITING
                self._kept[plan.entry] = kept = _Kept(plan, phase)
                kept.said.view = view_of(Decision(plan=plan, phase=phase), None)
        self._prices.follow({kept.plan.symbol for kept in self._kept.values()})

    def begin(self, plan: Plan) -> None:
        """An order with this plan is about to be sent; the plan's row goes to the disk first."""
        kept = _Kept(plan)
        self._kept[plan.entry] = kept
        self._prices.follow({plan.symbol})
        decision = Decision(plan=plan, phase=TrailPhase.WAITING)
        self._write(kept, f"planned: {in_words_of(decision)}")
        self._voice.tell(kept.said, decision, kept.phase, None)

    def taken_in_hand(self, who: str, *, symbol: str | None = None, order: str = "") -> None:
        """Somebody wants legs canceled: one by its id, those of a symbol, or all.

        Canceling an entry alone leaves its legs to do their work.
        """
        for kept in self._kept.values():
            family, plan = self._family(kept), kept.plan
            if order not in family.members if order else symbol not in (None, plan.symbol):
                continue
            kept.cut_off = False
            if not order or order in family.legs:
                kept.plan = replace(plan, released=who)
                self._write(kept, f"its legs are canceled by {who}")

    def trailing(self) -> int:
        """How many stops the engine moves."""
        return sum(kept.phase is TrailPhase.TRAILING for kept in self._kept.values())

    def views(self) -> tuple[TrailView, ...]:
        """Those that have not ended, and those that ended last."""
        views = (kept.said.view for kept in self._kept.values())
        return (*self._ended, *(view for view in views if view is not None))

    def view_of(self, order: OrderView) -> TrailView | None:
        """The trailing leg that an order has or is part of."""
        name = self._entry_of(order)
        if name is None:
            return None
        for view in self.views():
            if view.entry == name:
                return view
        row = self._books.journal.latest(subject_of(name))
        if row is None:
            return None
        plan = msgspec.json.decode(row.body, type=Plan)
        return view_of(Decision(plan=plan, phase=TrailPhase.ENDED), None)

    def _entry_of(self, order: OrderView) -> str | None:
        for name in (order.client_order_id, order.parent):
            if name is not None and self._books.journal.latest(subject_of(name)) is not None:
                return name
        for kept in self._kept.values():
            family = self._family(kept)
            if order.client_order_id in family.members or order.parent in family.members:
                return kept.plan.entry
        return None

    # -- what is heard -----------------------------------------------------------------------

    def _heard(self, event: Event | MarketFrame) -> None:
        if isinstance(event, MarketFrame):
            self._priced(event.feed)
        elif isinstance(event, OrderChanged):
            for kept in self._kept.values():
                if kept.plan.symbol == event.order.symbol:
                    kept.family = None
                    self._wake.set()
        elif isinstance(event, PositionsChanged | TradingStateChanged | ReadyChanged):
            self._wake.set()

    def _priced(self, frame: FeedFrame) -> None:
        self._prices.frame(frame)
        for kept in self._kept.values():
            if kept.phase is TrailPhase.WAITING:
                continue
            price = self._prices.fresh(kept.plan.symbol)
            if price is not None:
                best = price if kept.best is None else trail.better(kept.plan, kept.best, price)
                kept.best = best

    # -- at work -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at every plan when something has happened to it, and every so often."""
        while True:
            self._wake.clear()
            for kept in list(self._kept.values()):
                if kept.acting is None or kept.acting.done():
                    self._look(kept)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()

    def _look(self, kept: _Kept) -> None:
        now = self._clocks.monotonic()
        if not self._readiness.started or self._readiness.stopping:
            return
        if kept.best is not None and kept.plan.live:
            kept.plan = replace(kept.plan, high=trail.better(kept.plan, kept.plan.high, kept.best))
        kept.best = None
        family = self._family(kept)
        self._note_times(kept, family, now)
        sight = self._sight(kept, family, now)
        decision = trail.decide(kept.plan, sight, every_s=self._every_s, partial_s=self._partial_s)
        before, kept.plan = kept.plan, decision.plan
        phase_before, kept.phase = kept.phase, decision.phase
        if (before.live, before.exits) != (kept.plan.live, kept.plan.exits) or (
            phase_before is not decision.phase and decision.phase is not TrailPhase.ENDED
        ):
            self._write(kept, in_words_of(decision))
        if decision.phase is TrailPhase.TRAILING:
            kept.attempts = 0
        stop = family.stops[0] if family.stops else None
        self._voice.tell(kept.said, decision, phase_before, stop)
        if kept.cut_off and family.entry is not None and family.entry.state.is_final:
            self._send_rest(kept, family.entry, decision)
        action = decision.action
        if isinstance(action, End):
            self._end(kept, decision)
        elif action is not None and self._may_ask(action, now):
            kept.acting = self._spawn(self._act(kept, action), f"trailing leg {kept.plan.entry}")

    def _may_ask(self, action: Action, now: float) -> bool:
        """Moves share an allowance; what protects is not held up by it."""
        gained = (now - self._allowed_at) * MOVES_PER_S
        self._allowance = min(MOVES_AT_ONCE, self._allowance + gained)
        self._allowed_at = now
        if isinstance(action, Move):
            if self._allowance < 1:
                return False
            self._allowance -= 1
        return True

    def _family(self, kept: _Kept) -> Family:
        if kept.family is None:
            kept.family = family_of(kept.plan, self._books)
            if kept.family.exits != kept.plan.exits:
                kept.plan = replace(kept.plan, exits=kept.family.exits)
        return kept.family

    def _note_times(self, kept: _Kept, family: Family, now: float) -> None:
        entry = family.entry
        partly = entry is not None and not entry.state.is_final and family.filled > 0
        kept.partial_at = (kept.partial_at or now) if partly else None
        bare = entry is not None and entry.state.is_final and family.filled > 0 and not family.stops
        kept.exposed_at = (kept.exposed_at or now) if bare else None

    def _sight(self, kept: _Kept, family: Family, now: float) -> Sight:
        plan, lost = kept.plan, family.lost
        return Sight(
            entry=family.entry,
            filled=family.filled,
            exited=family.exited,
            stops=family.stops,
            underway=None if plan.sending is None else self._books.find(plan.sending),
            profit=family.profit,
            lost=family.how_lost,
            lost_at=None if lost is None else lost.stop_price,
            held=self._books.held_qty(plan.symbol),
            reserved=family.reserved,
            price=self._prices.fresh(plan.symbol),
            market_open=self._market.is_open_at(now),
            trading_state=self._trading.state,
            blocked=self._readiness.blocked(),
            flattening=self._flattening(),
            partial_for=0.0 if kept.partial_at is None else now - kept.partial_at,
            since_cut=now - kept.cut_at,
            since_moved=now - kept.moved_at,
            since_attempt=now - kept.tried_at,
            attempts=kept.attempts,
            exposed_for=0.0 if kept.exposed_at is None else now - kept.exposed_at,
        )

    # -- doing -------------------------------------------------------------------------------

    async def _act(self, kept: _Kept, action: Action) -> None:
        match action:
            case Cut():
                await self._cut(kept, action)
            case Move():
                await self._move(kept, action)
            case Protect():
                await self._protect(kept, action)
        self._wake.set()

    async def _on_disk(self, kept: _Kept, text: str) -> bool:
        """Whether the plan is on disk as it stands; what isn't there is not done."""
        try:
            await patiently(self._write(kept, text))
        except JournalError as error:
            self._voice.notice(kept.plan, Severity.ERROR, f"nothing is sent for it: {error}")
            return False
        crash_here("trail-planned", self._armed)
        return True

    async def _cut(self, kept: _Kept, action: Cut) -> None:
        kept.cut_at = self._clocks.monotonic()
        entry = self._family(kept).entry
        if entry is None or entry.state.is_final:
            return
        text = f"the rest of {in_words(entry)} is canceled and its legs take hold: {action.why}"
        await self._on_disk(kept, text)
        try:
            await self._execution.cancel(entry)
        except (BrokerError, OutcomeUnknown) as error:
            self._voice.notice(kept.plan, Severity.ERROR, f"its entry is not canceled: {error}")
        else:
            self._voice.notice(kept.plan, Severity.WARNING, text)
            kept.cut_off = action.again
        crash_here("trail-cut", self._armed)

    def _send_rest(self, kept: _Kept, entry: OrderView, decision: Decision) -> None:
        """Once what was bought has its stop; not after a restart, when the market has moved on."""
        if decision.phase is TrailPhase.EXPOSED:
            return
        kept.cut_off = False
        command = rest_of(kept.plan, entry)
        if command is not None and decision.phase is TrailPhase.TRAILING:
            self._spawn(self._again(kept.plan, command), f"rest of {entry.client_order_id}")

    async def _again(self, plan: Plan, command: SubmitOrder) -> None:
        if self.send_rest is None or self._trading.state is not TradingState.ACTIVE:
            return
        ack = await self.send_rest(command)
        what = format_command(command)
        if ack.outcome is Outcome.REFUSED:
            text = f"what was left of its entry is not sent anew ({what}): {ack.message}"
            self._voice.notice(plan, Severity.WARNING, text)
        else:
            text = f"what was left of its entry is sent anew, with legs of its own: {what}"
            self._voice.notice(plan, Severity.INFO, text)
        self._books.note("trail", subject_of(plan.entry), {"text": text})

    async def _move(self, kept: _Kept, action: Move) -> None:
        kept.moved_at = self._clocks.monotonic()
        old = self._books.find(action.order.client_order_id)
        if old is None or old.state.is_final:
            return
        new = succeeding_order(old, action.stop, self._books.now())
        kept.plan = replace(kept.plan, sending=new.client_order_id)
        extreme = "high" if kept.plan.sign > 0 else "low"
        text = f"stop {old.stop_price} → {action.stop}, {extreme} {kept.plan.high}"
        if not await self._on_disk(kept, text):
            return
        old = self._books.find(old.client_order_id)
        if old is None or old.state.is_final:
            return
        moved = await self._execution.replace(
            old,
            new,
            {"stop_price": f"{action.stop:f}"},
            sent_at=SentAt(action.stop),
            command_id=None,
        )
        if moved.state in (OrderState.REJECTED, OrderState.REFUSED):
            self._not_moved(kept, old, moved.reason)
        else:
            kept.moves_refused = 0

    def _not_moved(self, kept: _Kept, old: OrderView, reason: str) -> None:
        """Once may be a race with its fill; what goes on is told, and tried less and less often."""
        kept.moves_refused += 1
        kept.moved_at += min(2.0**kept.moves_refused, MOVE_AGAIN_S)
        text = f"not moved: {reason}"
        self._books.note("trail", subject_of(kept.plan.entry), {"text": text})
        if kept.moves_refused == TOLD_AFTER_REFUSALS:
            text = f"its stop stays at {old.stop_price}: the broker doesn't move it ({reason})"
            self._voice.notice(kept.plan, Severity.WARNING, text)

    async def _protect(self, kept: _Kept, action: Protect) -> None:
        kept.tried_at = self._clocks.monotonic()
        kept.attempts += 1
        order = protecting_order(kept.plan, action, self._books.now())
        plan = kept.plan
        kept.plan = replace(
            plan, sending=order.client_order_id, sent=(*plan.sent, order.client_order_id)
        )
        kept.family = None
        if not await self._on_disk(kept, f"protection: {in_words(order)}"):
            return
        oco = order.order_class is OrderClass.OCO
        sent = await self._execution.submit(
            order,
            sent_at=SentAt(plan.stop),
            command_id=None,
            take_profit=plan.take_profit if oco else None,
            stop_loss=plan.stop if oco else None,
        )
        kept.family = None
        if sent.state in (OrderState.REJECTED, OrderState.REFUSED):
            text = (
                f"UNPROTECTED {action.qty.normalize():f} {plan.symbol}: {in_words(order)} was "
                f"refused ({sent.reason}); it is tried again; or close {plan.symbol}, or set a stop"
            )
            self._voice.notice(plan, Severity.ERROR, text)

    def _end(self, kept: _Kept, decision: Decision) -> None:
        self._kept.pop(kept.plan.entry, None)
        self._write(kept, in_words_of(decision))
        self._ended.append(view_of(decision, None))
        self._prices.follow({k.plan.symbol for k in self._kept.values()}, only=True)

    def _write(self, kept: _Kept, text: str) -> Future[int]:
        kept.plan = replace(kept.plan, text=text)
        return self._books.set_standing(
            "trail",
            subject_of(kept.plan.entry),
            msgspec.to_builtins(kept.plan),
            is_open=not kept.plan.ended,
            urgent=True,
        )
