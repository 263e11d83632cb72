"""Orders on their way, and what each possible answer means.

SENDING is on disk before the one POST. A clear answer settles the order; no clear answer makes it
UNKNOWN, which only a look-up that finds it, or a person, ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from loguru import logger
from msgspec.structs import replace

from console.broker.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerNotFound,
    BrokerRateLimited,
    BrokerRefused,
    BrokerUnavailable,
    DuplicateOrderId,
    OutcomeUnknown,
)
from console.engine.books import Books
from console.engine.crash import crash_here
from console.engine.journal_files import JournalError
from console.engine.measures import Measures, Way, moment
from console.engine.order_rows import SentAt
from console.engine.orders import in_words, lacks_legs, moved, order_request, same_order
from console.engine.state import TRAIL_SOURCE, OrderState, OrderView
from console.engine.threads import BrokerThread as BrokerThread
from console.engine.threads import Priority as Priority

if TYPE_CHECKING:
    from decimal import Decimal

    from console.broker.session import BrokerSession

LOOK_UP_AFTER_S = (0.25, 0.5, 1.0, 2.0, 4.0)
RATE_LIMIT_PATIENCE_S = 60.0
"""An order that can't leave for so long is given up: nothing was sent, and prices have moved.

Pauses that the broker asked for are one reckoning, the wait for the line to it another.
"""

TOLD_AFTER_S = 0.01
"""Nobody needs to hear sooner that an order is on its way, and to tell it would hold that up."""

DISK_PATIENCE_S = 10.0
"""An order whose row takes longer than this to reach the disk is not sent."""


def found_whole(session: BrokerSession, client_order_id: str) -> dict[str, Any]:
    """An order with its legs, which the look-up by our id alone doesn't give. Blocks."""
    found = session.order_by_client_id(client_order_id)
    if found.get("order_class") in (None, "", "simple") or found.get("legs"):
        return found
    return session.order(str(found["id"]), nested=True)


class _Turn:
    """An order's turn on the thread that sends, taken by the thread or given up by who waits."""

    def __init__(self) -> None:
        self.rested_s = 0.0
        """Pauses that the broker asked for."""
        self.refused_once = False
        """The broker has had it, and answered 429: that is no proof that it was not carried out."""
        self._taken = threading.Lock()

    def take(self) -> None:
        """Raises `_Withheld` where it was given up."""
        if not self._taken.acquire(blocking=False):
            raise _Withheld("the engine stopped before its turn")

    def give_up(self) -> bool:
        """Whether it had not been taken; then it will not be."""
        return self._taken.acquire(blocking=False)

    def free(self) -> None:
        """That attempt is over; there is to be another."""
        self._taken.release()


class _Withheld(Exception):
    """The order is not sent after all; the text says why."""


def _require_row(on_disk: Future[int]) -> None:
    """Wait until the row is on disk. Raises `JournalError` where it isn't in time, or at all."""
    try:
        on_disk.result(DISK_PATIENCE_S)
    except TimeoutError:
        raise JournalError(
            f"its row is not on disk after {DISK_PATIENCE_S:g} s; check the disk"
        ) from None


class Execution:
    """Sends what passed the risk gate, and finds out what became of it.

    Cancellations have a thread of their own: an order whose answer hangs doesn't hold them up.
    `may_send` is asked on the thread that sends, right before the POST.
    """

    def __init__(
        self,
        session: BrokerSession,
        books: Books,
        *,
        orders: BrokerThread,
        reads: BrokerThread,
        cancels: BrokerThread,
        may_send: Callable[[OrderView], str | None],
        on_doubt: Callable[[OrderView], None],
        on_found: Callable[[], None] = lambda: None,
        measures: Measures | None = None,
        armed: str | None = None,
        sleep: Callable[[float], Any] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._books = books
        self._orders = orders
        self._reads = reads
        self._cancels = cancels
        self._may_send = may_send
        self._on_doubt = on_doubt
        self._on_found = on_found
        self._measures = measures or Measures()
        self._armed = armed
        self._sleep = sleep
        self._clock = clock

    async def submit(
        self,
        intent: OrderView,
        *,
        sent_at: SentAt,
        command_id: str | None,
        take_profit: Decimal | None = None,
        stop_loss: Decimal | None = None,
        way: Way | None = None,
    ) -> OrderView:
        """Send a checked order: journal, then POST once, then its outcome.

        Nothing is awaited before its reservation is made. Answers the order as it then stands.
        """
        request = order_request(intent, take_profit, stop_loss)

        def post(before: Callable[[], None]) -> dict[str, Any]:
            return self._session.submit_order(request, before=before)

        return await self._send(intent, request, post, sent_at, command_id, way or Way())

    async def replace(
        self,
        old: OrderView,
        intent: OrderView,
        changes: Mapping[str, Any],
        *,
        sent_at: SentAt,
        command_id: str | None,
        way: Way | None = None,
    ) -> OrderView:
        """Ask the broker to replace `old`; `intent` is the order that takes its place."""
        request = {"client_order_id": intent.client_order_id, **changes}
        identity = old.id or ""

        def patch(before: Callable[[], None]) -> dict[str, Any]:
            return self._session.replace_order(identity, request, before=before)

        return await self._send(intent, request, patch, sent_at, command_id, way or Way())

    async def _send(
        self,
        intent: OrderView,
        request: dict[str, Any],
        call: Callable[[Callable[[], None]], dict[str, Any]],
        sent_at: SentAt,
        command_id: str | None,
        way: Way,
    ) -> OrderView:
        way.recorded = moment()
        self._measures.leaving(intent.client_order_id)
        sending = moved(intent, OrderState.SENDING, at=self._books.now())
        crash_here("before-sending-commit", self._armed)
        on_disk = self._books.record(
            sending,
            f"sending: {in_words(intent)}",
            sent_at=sent_at,
            request=request,
            command_id=command_id,
            urgent=True,
            tell_later=True,
        )
        loop = asyncio.get_running_loop()
        loop.call_later(TOLD_AFTER_S, self._books.tell_of, sending.client_order_id)
        order = await self._post(sending.client_order_id, call, on_disk, way)
        self._measures.ended(order, way)
        return order

    async def _post(
        self,
        client_order_id: str,
        call: Callable[[Callable[[], None]], dict[str, Any]],
        on_disk: Future[int],
        way: Way,
    ) -> OrderView:
        queued_at, turn = self._clock(), _Turn()
        whose = "trail-" if self._books.orders[client_order_id].source == TRAIL_SOURCE else ""

        def check() -> None:
            order = self._books.orders[client_order_id]
            if (reason := self._may_send(order)) is not None:
                raise _Withheld(reason)
            in_line = self._clock() - queued_at - turn.rested_s
            if in_line > RATE_LIMIT_PATIENCE_S and order.source != "flatten":
                raise _Withheld(f"it waited too long for the line to the broker ({in_line:.0f} s)")

        def right_before() -> None:
            # Waited for here, on the thread that sends: the request is made up meanwhile.
            _require_row(on_disk)
            way.journaled = way.journaled or moment()
            crash_here(f"{whose}between-commit-and-post", self._armed)
            check()
            way.attempts += 1
            way.posting = moment()

        def guarded() -> dict[str, Any]:
            turn.take()
            # Before it takes its turn at the broker's limit, too.
            check()
            attempts = way.attempts
            try:
                answer = call(right_before)
            finally:
                if way.attempts > attempts:
                    way.answered = moment()
            crash_here(f"{whose}between-post-and-ack", self._armed)
            return answer

        try:
            return await self._outcome(client_order_id, guarded, turn)
        except asyncio.CancelledError:
            if turn.give_up() and not turn.refused_once:
                self._end(client_order_id, "not sent: the engine stopped before its turn")
            raise

    async def _outcome(
        self, client_order_id: str, attempt: Callable[[], dict[str, Any]], turn: _Turn
    ) -> OrderView:
        """Make the attempt, again where the broker has no time for it, and say what it came to."""
        while True:
            try:
                answer = await self._orders.run(attempt, Priority.ORDER)
            except JournalError as error:
                return self._unsent(client_order_id, error)
            except _Withheld as error:
                return await self._withheld(client_order_id, str(error), None, turn)
            except DuplicateOrderId as error:
                return await self._compare(client_order_id, error)
            except BrokerRateLimited as error:
                turn.refused_once = turn.refused_once or error.status is not None
                turn.rested_s += error.retry_after_s
                if turn.rested_s > RATE_LIMIT_PATIENCE_S:
                    return await self._withheld(client_order_id, str(error), error, turn)
                self._books.note(
                    "rate-limited",
                    client_order_id,
                    {
                        "text": f"waits {error.retry_after_s:g} s: {error.message}",
                        "raw": error.body,
                    },
                )
                turn.free()
                await self._sleep(error.retry_after_s)
            except BrokerRefused as error:
                if turn.refused_once and not isinstance(error, BrokerAuthError):
                    # The first attempt may have been carried out, and be why this one is refused.
                    return await self._compare(client_order_id, error)
                if turn.refused_once:
                    return await self._withheld(client_order_id, str(error), error, turn)
                return self._end(client_order_id, str(error), error)
            except BrokerUnavailable as error:
                return await self._withheld(client_order_id, str(error), error, turn)
            except OutcomeUnknown as error:
                return await self._doubt(client_order_id, error)
            except Exception as error:  # noqa: BLE001 — whatever broke, the order may have left
                logger.opt(exception=error).error("{} failed on its way", client_order_id)
                return await self._doubt(
                    client_order_id, OutcomeUnknown(f"{type(error).__name__} inside; see the log")
                )
            else:
                return await self._answered(client_order_id, answer)

    async def _withheld(
        self, client_order_id: str, reason: str, error: BrokerError | None, turn: _Turn
    ) -> OrderView:
        """It is not sent, or not again: then the first attempt may have been carried out."""
        if not turn.refused_once:
            return self._end(client_order_id, f"not sent: {reason}", error)
        doubt = OutcomeUnknown(f"not sent again: {reason}; the first attempt was answered with 429")
        return await self._doubt(client_order_id, doubt)

    def _unsent(self, client_order_id: str, error: JournalError) -> OrderView:
        unsent = moved(
            self._books.orders[client_order_id],
            OrderState.REFUSED,
            at=self._books.now(),
            reason=f"not sent: {error}",
        )
        self._books.record(unsent, "not sent: the journal could not be written")
        return unsent

    async def _answered(self, client_order_id: str, answer: dict[str, Any]) -> OrderView:
        order = self._books.orders[client_order_id]
        if answer.get("client_order_id") != client_order_id or not answer.get("id"):
            self._books.note(
                "oddity",
                client_order_id,
                {"text": "the answer names another order", "raw": answer},
            )
            return await self._doubt(
                client_order_id, OutcomeUnknown("the broker's answer names another order")
            )
        if order.state is OrderState.SENDING:
            acknowledged = moved(
                replace(order, id=str(answer["id"])), OrderState.ACK, at=self._books.now()
            )
            self._books.record(acknowledged, "the broker has it", raw=answer)
        return self._books.told(answer, "the broker has it") or order

    def _end(
        self, client_order_id: str, reason: str, error: BrokerError | None = None
    ) -> OrderView:
        order = self._books.orders[client_order_id]
        raw = None if error is None else {"status": error.status, "body": error.body}
        if order.state is not OrderState.SENDING:
            # The broker's own updates were quicker, and they know.
            self._books.note(
                "oddity", client_order_id, {"text": f"answered all the same: {reason}", "raw": raw}
            )
            return order
        ended = moved(order, OrderState.REJECTED, at=self._books.now(), reason=reason)
        self._books.record(ended, reason, raw=raw)
        return ended

    async def _compare(self, client_order_id: str, error: BrokerRefused) -> OrderView:
        """The broker may have an order of this id from before: is it the one we meant?"""
        order = self._books.orders[client_order_id]
        try:
            found = await self._fetch(client_order_id)
        except BrokerNotFound:
            if isinstance(error, DuplicateOrderId):
                return await self._doubt(client_order_id, error)
            return self._end(client_order_id, str(error), error)
        except BrokerError:
            return await self._doubt(client_order_id, error)
        if not same_order(order, found):
            return self._end(
                client_order_id,
                "the broker has another order under this client_order_id; choose a new one",
                error,
            )
        self._books.note("look-up", client_order_id, {"text": "it had arrived: this is it"})
        return await self._answered(client_order_id, found)

    async def _fetch(self, client_order_id: str) -> dict[str, Any]:
        return await self._reads.run(
            lambda: found_whole(self._session, client_order_id), Priority.LOOK_UP
        )

    async def _doubt(self, client_order_id: str, error: BrokerError) -> OrderView:
        order = self._books.orders[client_order_id]
        doubtful = moved(order, OrderState.UNKNOWN, at=self._books.now(), reason=str(error))
        self._books.record(
            doubtful,
            f"no clear answer: {error.message}",
            raw={"status": error.status, "body": error.body},
        )
        if doubtful.state is OrderState.UNKNOWN:
            self._on_doubt(doubtful)
        return await self.look_up(client_order_id)

    async def look_up(
        self, client_order_id: str, after_s: tuple[float, ...] = LOOK_UP_AFTER_S
    ) -> OrderView:
        """Ask for an order in doubt at these intervals. Not found is no proof: the doubt stays."""
        for pause in after_s:
            if pause:
                await self._sleep(pause)
            order = self._books.orders[client_order_id]
            if order.state is not OrderState.UNKNOWN:
                return await self._with_legs(order)
            try:
                found = await self._fetch(client_order_id)
            except BrokerNotFound:
                self._books.note(
                    "look-up", client_order_id, {"text": "the broker doesn't know it yet"}
                )
            except BrokerError as error:
                self._books.note(
                    "look-up", client_order_id, {"text": f"no answer: {error.message}"}
                )
            else:
                if same_order(order, found):
                    order = self._books.told(found, "found at the broker") or order
                    self._on_found()
                    return order
                self._books.note(
                    "look-up",
                    client_order_id,
                    {"text": "the broker answered with another order", "raw": found},
                )
        return self._books.orders[client_order_id]

    async def _with_legs(self, order: OrderView) -> OrderView:
        """An update that settled the doubt doesn't tell of a bracket's legs."""
        if not lacks_legs(order):
            return order
        try:
            found = await self._fetch(order.client_order_id)
        except BrokerError as error:
            self._books.note("look-up", order.client_order_id, {"text": f"legs: {error.message}"})
            return order
        return self._books.told(found, "found at the broker") or order

    async def cancel(self, order: OrderView) -> None:
        """Ask for a cancellation. Raises `BrokerError`; the trade updates say the rest."""
        identity = order.id
        if identity is None:
            raise BrokerUnavailable(
                f"{order.client_order_id} has no id at the broker yet",
                remedy="its outcome is looked up; settle it if it stays in doubt",
            )
        self._books.note("cancel", order.client_order_id, {"text": "cancellation asked for"})
        await self._cancels.run(lambda: self._session.cancel_order(identity), Priority.CANCEL)

    async def cancel_all(self) -> list[dict[str, Any]]:
        """Ask for the cancellation of every open order, also those made elsewhere."""
        return await self._cancels.run(self._session.cancel_all_orders, Priority.CANCEL)
