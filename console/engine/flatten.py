"""The kill switch: halt, cancel all, close all, verify flat. Each step is on disk before the next.

After a crash in the middle the next start goes on at the step that the journal names. Market data
isn't needed for any of it: what is open and what is held are asked of the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec import Struct

from console.broker.errors import BrokerAuthError, BrokerError
from console.engine.books import Books
from console.engine.crash import crash_here
from console.engine.execution import Execution
from console.engine.state import OrderState, OrderView, PositionView

SUBJECT = "flatten"
STEP_TIMEOUT_S = 10.0
RETRY_AFTER_S = 0.5
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
        close: Callable[[PositionView], Awaitable[OrderView]],
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

    def unfinished(self) -> FlattenRow | None:
        """What an earlier process left in the middle, from the journal."""
        row = self._books.journal.latest(SUBJECT)
        if row is None or not row.is_open:
            return None
        return msgspec.json.decode(row.body, type=FlattenRow)

    async def run(self, reason: str, step: Step = Step.HALT) -> str:
        """Flatten, from `step` on; how it ended, in words."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._steps(reason, step), name="flatten")
        return await asyncio.shield(self._running)

    async def stop(self) -> None:
        """Leave off where it is; the journal knows where that was."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _steps(self, reason: str, step: Step) -> str:
        text = await self._round(reason, step)
        for _ in range(ROUNDS):
            if not self._stragglers():
                break
            # It was on its way while the others were canceled, or somebody else goes on trading.
            text = await self._round(reason, Step.CANCEL)
        return text

    async def _round(self, reason: str, step: Step) -> str:
        if step is Step.HALT:
            await self._halt(f"flatten: {reason}" if reason else "flatten")
            await self._at(Step.CANCEL, reason, "halted")
            crash_here("flatten-halted", self._armed)
            step = Step.CANCEL
        if step is Step.CANCEL:
            await self._insist(self._cancel_all)
            await self._at(Step.CLOSE, reason, "open orders canceled")
            crash_here("flatten-canceled", self._armed)
            step = Step.CLOSE
        if step is Step.CLOSE:
            await self._insist(self._close_all)
            await self._at(Step.VERIFY, reason, "closing orders sent")
            crash_here("flatten-closed", self._armed)
        return await self._verify(reason)

    async def _at(self, step: Step, reason: str, text: str) -> None:
        row = FlattenRow(step=step, reason=reason, text=text)
        future = self._books.set_standing(
            "flatten",
            SUBJECT,
            msgspec.to_builtins(row),
            is_open=step is not Step.DONE,
            urgent=True,
        )
        # A journal that can't be written must not keep the switch from working.
        await asyncio.gather(asyncio.wrap_future(future), return_exceptions=True)

    async def _insist(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Repeat a step until it is done: a broker that doesn't answer is asked again.

        Raises:
            BrokerAuthError: the keys don't hold, and asking again would only lock the door.
        """
        while True:
            try:
                if await step():
                    return
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
        """Orders in doubt have no id to cancel; what they were filled with is closed anyway."""
        return all(
            order.id is None and order.state in (OrderState.UNKNOWN, OrderState.SENDING)
            for order in self._books.open_orders()
        )

    async def _close_all(self) -> bool:
        await self._compare()
        closing = {o.symbol for o in self._books.open_orders() if o.source == "flatten"}
        for position in list(self._books.positions.values()):
            if position.symbol not in closing:
                await self._close(position)
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
        return self._is_flat() or any(order.id is not None for order in self._stragglers())

    def _stragglers(self) -> list[OrderView]:
        """Open orders that should be gone; those in doubt and those that close aren't meant."""
        return [
            order
            for order in self._books.open_orders()
            if order.source != "flatten"
            and (order.id is not None or order.state is OrderState.SENDING)
        ]

    def _held(self) -> str:
        return (
            ", ".join(f"{p.qty.normalize():f} {p.symbol}" for p in self._books.positions.values())
            or f"{len(self._stragglers())} orders open"
        )


def closing_qty(position: PositionView) -> Decimal:
    """Shares that close it."""
    return abs(position.qty)
