"""The order story: one order's life, step by step, its relatives, and why it was refused."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import ClassVar

from textual.app import ComposeResult

from console.engine.commands import Ack, GetOrder
from console.engine.state import OrderView, StoryLine, is_superseded
from console.ui import format as text
from console.ui.export import slippage_bp
from console.ui.screens.base import ConsoleScreen
from console.ui.screens.dialogs import wrapped
from console.ui.store import Fact
from console.ui.widgets.orders import (
    STATE_INKS,
    price_text,
    side_ink,
    size_text,
    state_text,
)
from console.ui.widgets.page import Page
from console.ui.widgets.painted import TITLE, Span

_INKS = {"fill": "up", "refused": "error", "rejected": "error", "unknown": "warning"}


_KINDS = {"checked": "risk", "order": "engine", "update": "broker", "external": "broker"}
"""The journal's kinds of rows, as who speaks in them."""
_ECHO = "the broker: "


def told_once(story: Sequence[StoryLine]) -> list[StoryLine]:
    """Without what the row before or after says too: the journal keeps the broker's word, what
    became of the order by it, and the execution, each in a row of its own.
    """
    lines: list[StoryLine] = []
    for step in story:
        before = lines[-1] if lines else None
        if before is not None and before.kind == "update":
            if step.kind == "order" and step.text.startswith(_ECHO):
                continue
            if step.kind == "fill":
                lines.pop()
        lines.append(step)
    return lines


class Story(Page):
    SHOWS: ClassVar[Fact] = Fact.ORDERS | Fact.LINK

    def __init__(self, client_order_id: str) -> None:
        super().__init__()
        self.client_order_id = client_order_id
        self.answer: Ack | None = None

    def lines(self, width: int) -> list[list[Span]]:
        store = self.store
        order = store.orders.get(self.client_order_id)
        if order is None and self.answer is not None:
            order = self.answer.order
        if order is None:
            return [[(" ORDER STORY", TITLE)], [(" no such order here", "muted")]]
        lines = [*self._facts(order, width), []]
        lines += [[(" TIMELINE", TITLE), ("  market time, and real time since the first", "muted")]]
        story = told_once(self.answer.story) if self.answer is not None else []
        for step in story:
            stamp = text.clock(step.market_time or step.at)
            head: list[Span] = [
                (f" {stamp} {text.since(story[0].at, step.at):>8}  ", "muted"),
                (f"{_KINDS.get(step.kind, step.kind):<9} ", _INKS.get(step.kind, "accent")),
            ]
            words = wrapped(step.text, max(20, width - 31), "", "")
            lines.append([*head, *words[0]] if words else head)
            lines += [[(" " * 30, ""), *more] for more in words[1:]]
        if not story:
            words_ = self.answer.message if self.answer is not None else "reading the journal…"
            lines.append([(f" {words_ or 'the journal has nothing of it'}", "muted")])
        return lines

    def _facts(self, order: OrderView, width: int) -> list[list[Span]]:
        ink = STATE_INKS.get(order.state, "accent")
        kind = order.order_type.value.replace("_", " ")
        what = f"{size_text(order)} {order.symbol} {kind} {price_text(order)} "
        lines: list[list[Span]] = [
            [(" ORDER STORY", TITLE), (f"  {order.client_order_id}", "muted")],
            [
                (f" {order.side.value.upper()} ", f"{side_ink(order)} bold"),
                (f"{what}{order.time_in_force.value}  ", "bold"),
                (state_text(order), ink),
            ],
            [(" asked by ", "muted"), (order.source, "")],
            [(" broker id ", "muted"), (order.id or text.NOTHING, "")],
        ]
        if order.filled_qty:
            average = text.price(order.filled_avg_price)
            words = f"{text.quantity(order.filled_qty)} at {average} on average"
            lines.append([(" filled ", "muted"), (words, ""), *self._cost(order)])
        if order.reason:
            lines += wrapped(order.reason, width, "warning")
        trail = self.store.trail_of(order) or (self.answer.trail if self.answer else None)
        if trail is not None:
            lines += wrapped(trail.text, width, "alarm" if trail.unprotected else "")
        if order.replaces or order.replaced_by:
            lines.append(
                [
                    (" replaces ", "muted"),
                    (order.replaces or text.NOTHING, ""),
                    ("   replaced by ", "muted"),
                    (order.replaced_by or text.NOTHING, ""),
                ]
            )
        return [*lines, *self._tree(order)]

    def _cost(self, order: OrderView) -> list[Span]:
        """The quote that stood when it was sent, and what the fills cost against its middle."""
        fills = [f for f in self.store.fills if f.client_order_id == order.client_order_id]
        costs = [(slippage_bp(fill), float(fill.qty)) for fill in fills]
        shares = sum(qty for bp, qty in costs if isfinite(bp))
        if not shares:
            return []
        average = sum(bp * qty for bp, qty in costs if isfinite(bp)) / shares
        quote = f"{text.price(fills[0].bid)} × {text.price(fills[0].ask)}"
        return [
            (f", sent at a quote of {quote}: slippage ", "muted"),
            (f"{text.signed(average)} bp", ""),
        ]

    def _tree(self, order: OrderView) -> list[list[Span]]:
        """The bracket that it belongs to, from its root."""
        root = self.store.orders.get(order.parent) if order.parent else order
        legs = [
            o
            for o in self.store.orders.values()
            if root is not None and o.parent == root.client_order_id and not is_superseded(o)
        ]
        if root is None or not legs:
            return []
        lines: list[list[Span]] = [[(" bracket", "muted")]]
        for depth, member in enumerate([root, *legs]):
            branch = "   " if depth == 0 else "   └ "
            here = "accent" if member is order else ""
            words = f"{member.side.value} {size_text(member)} {member.symbol} {price_text(member)} "
            lines.append(
                [
                    (branch, "rule"),
                    (words, here),
                    (state_text(member), STATE_INKS.get(member.state, "accent")),
                ]
            )
        return lines


class StoryScreen(ConsoleScreen):
    def __init__(self, client_order_id: str) -> None:
        super().__init__()
        self.client_order_id = client_order_id

    def body(self) -> ComposeResult:
        self.story = Story(self.client_order_id)
        yield self.story

    def on_mount(self) -> None:
        self.story.focus()
        self._read()

    def show(self, facts: Fact) -> None:
        if facts & Fact.ORDERS:
            self._read()
        super().show(facts)

    def _read(self) -> None:
        self.run_worker(self._ask(), group="story", exclusive=True, exit_on_error=False)

    async def _ask(self) -> None:
        self.story.answer = await self.app.request(
            GetOrder(order_id=self.client_order_id), quiet=True
        )
        self.story.show(Fact.ORDERS)
