"""Cancels orders: one, those of a symbol, or all; and says which the broker would not cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from console.broker.answers import clean
from console.broker.errors import BrokerError, OutcomeUnknown
from console.engine.books import Books
from console.engine.commands import Ack, CancelAll, CancelOrder, Command, Outcome
from console.engine.execution import Execution
from console.engine.orders import in_words
from console.engine.protection import Protection
from console.engine.replies import not_open, refusal
from console.engine.risk import refused
from console.engine.state import OrderView, Refusal

GONE_PATIENCE_S = 1.0
"""What the broker won't cancel may have ended; so long the news of it may take."""


class Canceling:
    """See the module."""

    def __init__(self, books: Books, execution: Execution, protection: Protection) -> None:
        self._books = books
        self._execution = execution
        self._protection = protection

    async def one(self, command: CancelOrder) -> Ack:
        """Ask for a cancellation; accepted means that the broker took the wish."""
        order = self._books.find(command.client_order_id)
        if order is None or order.state.is_final:
            return not_open(command, command.client_order_id, order)
        self._protection.taken_in_hand(command.source, order=order.client_order_id)
        return await self._cancel_one(command, order)

    async def _cancel_one(self, command: Command, order: OrderView) -> Ack:
        try:
            await self._execution.cancel(order)
        except OutcomeUnknown as error:
            return Ack(id=command.id, outcome=Outcome.UNKNOWN, message=str(error), order=order)
        except BrokerError as error:
            current = self._books.find(order.client_order_id) or order
            report = refused("broker", "cancelable", current.state.value, str(error), error.remedy)
            return refusal(command, report, current)
        current = self._books.find(order.client_order_id) or order
        return Ack(
            id=command.id, outcome=Outcome.ACCEPTED, message="cancel asked for", order=current
        )

    async def all(self, command: CancelAll) -> Ack:
        """Cancel what is open, all or of one symbol."""
        wanted = [
            order
            for order in self._books.open_orders()
            if command.symbol in (None, order.symbol) and order.id is not None
        ]
        self._protection.taken_in_hand(command.source, symbol=command.symbol)
        if command.symbol is not None:
            acks = [await self._cancel_one(command, order) for order in wanted]
            failed = [ack for ack in acks if ack.outcome is not Outcome.ACCEPTED]
            if failed and not await self._all_gone([ack.order for ack in failed]):
                return next(ack for ack in failed if self._is_open(ack.order))
        else:
            try:
                answers = await self._execution.cancel_all()
            except OutcomeUnknown as error:
                return Ack(id=command.id, outcome=Outcome.UNKNOWN, message=str(error))
            except BrokerError as error:
                report = refused("broker", "reachable", "no", str(error), error.remedy)
                return refusal(command, report)
            return await self._about_each(command, answers, wanted)
        count = len(wanted)
        return Ack(
            id=command.id,
            outcome=Outcome.ACCEPTED,
            message=f"cancel asked for {_orders(count)} in {command.symbol}",
            orders=tuple(wanted),
        )

    async def _about_each(
        self, command: Command, answers: list[dict[str, Any]], wanted: list[OrderView]
    ) -> Ack:
        """What the broker answered for each order; those it won't cancel are named."""
        refusals = [
            (answer, self._books.find(str(answer.get("id"))))
            for answer in answers
            if int(answer.get("status") or 0) >= 400
        ]
        asked = f"cancel asked for {_orders(len(answers) - len(refusals))}"
        known = [order for _, order in refusals if order is not None]
        if len(known) == len(refusals) and (not known or await self._all_gone(known)):
            return Ack(id=command.id, outcome=Outcome.ACCEPTED, message=asked, orders=tuple(wanted))
        kept = tuple(
            self._kept(answer, order)
            for answer, order in refusals
            if order is None or self._is_open(order)
        )
        left = {order.client_order_id for order in known}
        return Ack(
            id=command.id,
            outcome=Outcome.REFUSED,
            message="; ".join((asked, *(refusal.message for refusal in kept))),
            refusals=kept,
            orders=tuple(order for order in wanted if order.client_order_id not in left),
        )

    def _kept(self, answer: dict[str, Any], order: OrderView | None) -> Refusal:
        identity = str(answer.get("id"))[:60]
        body = answer.get("body")
        words = clean(str(body.get("message") or "")) if isinstance(body, dict) else ""
        name = identity if order is None else f"{in_words(order)} ({order.client_order_id})"
        return Refusal(
            check="broker",
            limit="cancelable",
            value="not known" if order is None else order.state.value,
            message=f"not {name}: {words or 'the broker answered'} ({answer.get('status')})",
            remedy="see orders, then cancel it by itself",
        )

    def _is_open(self, order: OrderView | None) -> bool:
        current = None if order is None else self._books.find(order.client_order_id)
        return current is None or not current.state.is_final

    async def _all_gone(self, orders: Sequence[OrderView | None]) -> bool:
        """Whether they have ended; canceling one leg of a bracket ends the other, say."""
        return await self._books.until(
            lambda: not any(self._is_open(order) for order in orders), GONE_PATIENCE_S
        )


def _orders(count: int) -> str:
    return f"{count} order{'' if count == 1 else 's'}"
