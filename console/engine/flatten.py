"""The kill switch: halt, cancel all, close all, verify flat. Each step is on disk before the next.

After a crash in the middle the next start goes on at the step that the journal names. Market data
isn't needed for any of it: what is open and what is held are asked of the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from console.broker.errors import BrokerAuthError, BrokerError
from console.engine.books import Books
from console.engine.crash import crash_here
from console.engine.execution import Execution
from console.engine.journal import patiently
from console.engine.journal_files import JournalError
from console.engine.state import OrderState, OrderView, PositionView

SUBJECT = "flatten"
STEP_TIMEOUT_S = 10.0
RETRY_AFTER_S = 0.5
CANCEL_ROUNDS = 4
"""How often the broker may answer and not have canceled all, before what is held is closed."""
ROUNDS = 5
"""How often it begins anew when orders turn up that it had not canceled."""


class Step(StrEnum):
    HALT = "halt"
    CANCEL = "cancel"
    CLOSE = "close"
    VERIFY = "verify"
    DONE = "done"


class FlattenRow(Struct, frozen=True, kw_only=True):
    """The body of a `flatten` row: the step that comes next."""

    step: Step
    reason: str
    text: str = ""


class KillSwitch:
    """See the module. `run` may be called while it runs: there is one flattening at a time."""

    def __init__(
        self,
        books: Books,
        execution: Execution,
        *,
        halt: Callable[[str], Awaitable[None]],
        compare: Callable[[], Awaitable[object]],
        close: Callable[[PositionView], Coroutine[Any, Any, OrderView]],
        market_is_open: Callable[[], bool],
        armed: str | None = None,
    ) -> None:
        self._books = books
        self._execution = execution
        self._halt = halt
        self._compare = compare
        self._close = close
        self._market_is_open = market_is_open
        self._armed = armed
        self._running: asyncio.Task[str] | None = None
        self._given_up: tuple[asyncio.Task[str], str] | None = None
        self._closing: set[asyncio.Task[OrderView]] = set()
        self._last: FlattenRow | None = None
        """The newest row, on disk or not."""
        self._stubborn: set[str] = set()
        """Client order ids of what the broker doesn't cancel."""

    def unfinished(self) -> FlattenRow | None:
        """What was left in the middle, by this process or, from the journal, by an earlier one."""
        if self._last is not None:
            return None if self._last.step is Step.DONE else self._last
        row = self._books.journal.latest(SUBJECT)
        if row is None or not row.is_open:
            return None
        return msgspec.json.decode(row.body, type=FlattenRow)

    async def run(self, reason: str, step: Step = Step.HALT) -> str:
        """Flatten, from `step` on; how it ended, in words. One that runs is joined."""
        if step is Step.HALT and self.is_running:
            # It may have been resumed beyond that step.
            await self._halt(_why(reason))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._steps(reason, step), name="flatten")
        running = self._running
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            this = asyncio.current_task()
            asked_to_end = this is not None and this.cancelling() > 0
            if asked_to_end or self._given_up is None or self._given_up[0] is not running:
                raise
            return self._given_up[1]

    @property
    def is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    @property
    def at_work(self) -> bool:
        """Whether it runs, or waits in the middle (for the market to open, say)."""
        left = self._last is not None and self._last.step is not Step.DONE
        return left or self.is_running

    async def abandon(self, why: str) -> None:
        """A person trades on: end what runs, and what was left unfinished is not taken up again.

        Closing orders that are on their way come to their outcome all the same.
        """
        left, running = self.unfinished(), self._running
        self._running = None
        text = f"given up: {why}{self._left_undone()}"
        if running is not None and not running.done():
            self._given_up = running, text
            running.cancel()
        if left is not None:
            await self._at(Step.DONE, left.reason, text)

    def _left_undone(self) -> str:
        """What is still held, and for which of it no closing order will be sent any more."""
        on_their_way = {task.get_name() for task in self._closing if not task.done()}
        on_their_way |= {o.symbol for o in self._books.open_orders() if o.source == "flatten"}
        parts = [
            f"{p.qty.normalize():f} {p.symbol} "
            + ("is being closed" if p.symbol in on_their_way else "is not closed")
            for p in self._books.positions.values()
        ]
        return f"; {', '.join(parts)}" if parts else ""

    async def stop(self) -> None:
        """Leave off where it is; the journal knows where that was."""
        ending: list[asyncio.Task[Any]] = [*self._closing]
        if self._running is not None:
            ending.append(self._running)
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)

    async def _steps(self, reason: str, step: Step) -> str:
        self._stubborn.clear()
        text = await self._round(reason, step)
        for _ in range(ROUNDS):
            if not self._cancelable():
                break
            # It was on its way while the others were canceled, or somebody else goes on trading.
            text = await self._round(reason, Step.CANCEL)
        return text

    async def _round(self, reason: str, step: Step) -> str:
        if step is Step.HALT:
            await self._halt(_why(reason))
            await self._at(Step.CANCEL, reason, "halted")
            crash_here("flatten-halted", self._armed)
            step = Step.CANCEL
        if step is Step.CANCEL:
            done = await self._insist(self._cancel_all, CANCEL_ROUNDS)
            self._stubborn |= self._uncanceled()
            text = "open orders canceled" if done else f"not canceled: {self._left_open()}"
            await self._at(Step.CLOSE, reason, text)
            crash_here("flatten-canceled", self._armed)
            step = Step.CLOSE
        if step is Step.CLOSE:
            await self._insist(self._close_all, 1)
            await self._at(Step.VERIFY, reason, "closing orders sent")
            crash_here("flatten-closed", self._armed)
        return await self._verify(reason)

    async def _at(self, step: Step, reason: str, text: str) -> None:
        self._last = row = FlattenRow(step=step, reason=reason, text=text)
        future = self._books.set_standing(
            "flatten",
            SUBJECT,
            msgspec.to_builtins(row),
            is_open=step is not Step.DONE,
            urgent=True,
        )
        # A journal that can't be written, or hangs, must not keep the switch from working.
        with contextlib.suppress(JournalError):
            await patiently(future)

    async def _insist(self, step: Callable[[], Awaitable[bool]], rounds: int) -> bool:
        """Repeat a step until it is done: a broker that doesn't answer is asked again.

        False: it answered in so many rounds, and still it isn't done.

        Raises:
            BrokerAuthError: the keys don't hold, and asking again would only lock the door.
        """
        while True:
            try:
                if await step():
                    return True
                rounds -= 1
                if not rounds:
                    return False
            except BrokerAuthError:
                raise
            except BrokerError as error:
                self._books.note("flatten", SUBJECT, {"text": f"tried again: {error}"})
            await asyncio.sleep(RETRY_AFTER_S)

    async def _cancel_all(self) -> bool:
        await self._execution.cancel_all()
        if await self._books.until(self._nothing_cancelable, STEP_TIMEOUT_S / 4):
            return True
        await self._compare()
        return self._nothing_cancelable()

    def _nothing_cancelable(self) -> bool:
        return not self._uncanceled() - self._stubborn

    def _uncanceled(self) -> set[str]:
        """Orders in doubt have no id to cancel; what they were filled with is closed anyway."""
        return {
            order.client_order_id
            for order in self._books.open_orders()
            if order.id is not None or order.state not in (OrderState.UNKNOWN, OrderState.SENDING)
        }

    async def _close_all(self) -> bool:
        await self._compare()
        closing = {o.symbol for o in self._books.open_orders() if o.source == "flatten"}
        for position in list(self._books.positions.values()):
            if position.symbol not in closing:
                sending = asyncio.create_task(self._close(position), name=position.symbol)
                self._closing.add(sending)
                sending.add_done_callback(self._closing.discard)
                # Whoever ends this must not end an order halfway to the broker.
                await asyncio.shield(sending)
        return True

    async def _verify(self, reason: str) -> str:
        if not self._market_is_open() and self._books.positions:
            text = f"{self._held()}: the closing orders wait at the broker for the open"
            await self._at(Step.VERIFY, reason, text)
            return text
        await self._books.until(self._is_settled, STEP_TIMEOUT_S)
        try:
            await self._compare()
            flat = self._is_flat()
        except BrokerError as error:
            await self._at(Step.VERIFY, reason, f"not verified: {error}")
            return f"closing orders sent; not verified: {error}"
        if flat:
            await self._at(Step.DONE, reason, "verified flat")
            return "verified flat: no positions, no open orders"
        await self._at(Step.VERIFY, reason, f"not flat yet: {self._held()}")
        return f"not flat yet: {self._held()}"

    def _is_flat(self) -> bool:
        return not self._books.positions and not self._stragglers()

    def _is_settled(self) -> bool:
        """Flat, or not to become so by waiting: what has turned up can be canceled now."""
        cancelable = self._cancelable()
        if any(order.id is not None for order in cancelable):
            return True
        closing = any(order.source == "flatten" for order in self._books.open_orders())
        return not cancelable and not (closing and self._books.positions)

    def _cancelable(self) -> list[OrderView]:
        """Those of the stragglers that the broker has not been asked about in vain."""
        return [o for o in self._stragglers() if o.client_order_id not in self._stubborn]

    def _stragglers(self) -> list[OrderView]:
        """Open orders that should be gone; those in doubt and those that close aren't meant."""
        return [
            order
            for order in self._books.open_orders()
            if order.source != "flatten"
            and (order.id is not None or order.state is OrderState.SENDING)
        ]

    def _held(self) -> str:
        held = [f"{p.qty.normalize():f} {p.symbol}" for p in self._books.positions.values()]
        return ", ".join([*held, *([self._left_open()] if self._stragglers() else [])])

    def _left_open(self) -> str:
        left = self._stragglers()
        return f"{len(left)} orders open ({', '.join(o.symbol for o in left[:5])})"


def _why(reason: str) -> str:
    return f"flatten: {reason}" if reason else "flatten"


def closing_qty(position: PositionView) -> Decimal:
    """Shares that close it."""
    return abs(position.qty)
