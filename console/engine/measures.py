"""What is measured of orders: how long each part of their way took, and why they were refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Protocol

from loguru import logger

from console.engine.commands import Ack, Outcome
from console.engine.state import OrderView
from console.health.histogram import Histogram

moment = perf_counter_ns
"""The clock of a `Way`."""


@dataclass(slots=True)
class Way:
    """When one order passed each point of its way, by `moment`; 0 where it never came.

    `posting` and `answered` are those of the last attempt of `attempts`.
    """

    taken: int = field(default_factory=moment)
    checking: int = 0
    checked: int = 0
    recorded: int = 0
    journaled: int = 0
    posting: int = 0
    answered: int = 0
    ended: int = 0
    attempts: int = 0
    refused_by: tuple[str, ...] = ()
    """The checks that refused it."""
    traceparent: str = ""
    """The W3C trace context of who asked for the order."""


class OrderWatch(Protocol):
    """Whoever is told of orders on their way. Must return at once."""

    def leaving(self, client_order_id: str) -> None:
        """It is about to be written down and sent."""

    def sent(self, order: OrderView, way: Way) -> None:
        """Its way has ended: sent, with its outcome, or refused."""


class Measures:
    """See the module. Of the engine's loop alone; whoever asks for figures may be any thread."""

    def __init__(self, watch: OrderWatch | None = None) -> None:
        self.check = Histogram()
        """Of the risk check, seconds."""
        self.journal = Histogram()
        """Until the row of an order is on disk, from when it was written down."""
        self.to_post = Histogram()
        """From a command to its POST."""
        self.post = Histogram()
        """From the POST to the broker's answer."""
        self.refusals: Counter[str] = Counter()
        """Commands refused, by check."""
        self._watch = watch

    def leaving(self, client_order_id: str) -> None:
        """An order is about to be written down and sent."""
        if self._watch is not None:
            self._watch.leaving(client_order_id)

    def ended(self, order: OrderView, way: Way) -> None:
        """`order` came to its outcome this `way`."""
        way.ended = moment()
        if way.checked:
            self.check.observe((way.checked - way.checking) / 1e9)
        if way.journaled:
            self.journal.observe((way.journaled - way.recorded) / 1e9)
        if way.posting:
            self.to_post.observe((way.posting - way.taken) / 1e9)
        if way.answered:
            self.post.observe((way.answered - way.posting) / 1e9)
        if self._watch is not None:
            try:
                self._watch.sent(order, way)
            except Exception as error:  # noqa: BLE001 — who watches an order never harms it
                logger.opt(exception=error).error("{} is not traced", order.client_order_id)

    def answered(self, ack: Ack) -> None:
        """A command other than a preview was answered so."""
        if ack.outcome is Outcome.REFUSED:
            self.refusals.update({refusal.check for refusal in ack.refusals})
