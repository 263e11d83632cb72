"""The engine's books: orders, positions and account as it knows them, in memory and in the journal.

Everything here happens in the engine's loop. A change is applied, journaled, told to the risk gate
and emitted, in that order and at one place, so that no two of them can say different things.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from console.engine.clocks import Clocks, MarketClock
from console.engine.events import Event, OrderChanged, OrderFilled, PositionsChanged
from console.engine.journal import Journal
from console.engine.journal_files import JournalRow
from console.engine.order_rows import OrderRow, SentAt, in_plain_words, is_anothers, key_of
from console.engine.orders import (
    OrderPayloadError,
    apply_payload,
    decimal_of,
    event_time,
    in_words,
    order_from_payload,
)
from console.engine.positions import after_fill, bare_position, price_of_gain
from console.engine.state import (
    AccountView,
    OrderState,
    OrderView,
    PositionView,
    is_superseded,
)
from console.engine.unwritten import Rows

FINAL_KEPT = 500
"""Ended orders held in memory; older ones are read back from the journal when something asks."""
FINAL_SHOWN = 300
"""Of those, how many a snapshot carries: it has to fit into one message of the bus."""
EXECUTIONS_KEPT = 20_000
UNTOLD_S = 1.0
"""How long a fill may be known by its order alone, without the execution's own details."""


class Reservations(Protocol):
    """What the books tell the risk gate."""

    def order_changed(self, order: OrderView, price: Decimal | None) -> None: ...

    def position_changed(self, symbol: str, qty: Decimal, price: Decimal) -> None: ...

    def filled(self, order: OrderView, qty: Decimal, price: Decimal) -> None: ...


class Books:
    """See the module. `orders` is by client order id, `positions` by symbol."""

    def __init__(
        self,
        journal: Journal,
        emit: Callable[[Event], None],
        reservations: Reservations,
        clocks: Clocks,
        market: MarketClock,
        on_journal_failure: Callable[[str], None],
    ) -> None:
        self.journal = journal
        self.orders: OrderedDict[str, OrderView] = OrderedDict()
        self.positions: dict[str, PositionView] = {}
        self.account: AccountView | None = None
        self.fills = 0
        """Grows with every fill counted: whoever fetched positions before it grew has old ones."""
        self._emit = emit
        self._reservations = reservations
        self._clocks = clocks
        self._market = market
        self._rows = Rows(journal, on_journal_failure)
        self._ids: dict[str, str] = {}
        self._sent: dict[str, SentAt] = {}
        self._executions: OrderedDict[str, None] = OrderedDict()
        self._untold: dict[str, tuple[Decimal, float]] = {}
        self._waiters: set[asyncio.Event] = set()
        self._to_tell: dict[str, OrderView] = {}

    # -- reading -----------------------------------------------------------------------------

    def now(self) -> datetime:
        """Market time, or wall time before the broker's clock is known."""
        if self._market.known:
            return self._market.now(self._clocks.monotonic())
        return datetime.fromtimestamp(self._clocks.wall_ns() / 1e9, UTC)

    def open_orders(self) -> Iterator[OrderView]:
        return (order for order in self.orders.values() if not order.state.is_final)

    def held_open(self) -> list[OrderView]:
        """The open orders as a list of this moment."""
        return list(self.open_orders())

    def shown(self) -> tuple[OrderView, ...]:
        """The open orders and those that ended last, in the order in which they were made."""
        ended = [
            order
            for order in self.orders.values()
            if order.state.is_final and not is_superseded(order)
        ]
        chosen = [*self.open_orders(), *ended[-FINAL_SHOWN:]]
        return tuple(sorted(chosen, key=lambda order: order.created_at))

    def find(self, identity: str) -> OrderView | None:
        """An order by client order id or the broker's, from memory or else from the journal."""
        known = self.orders.get(identity) or self.orders.get(self._ids.get(identity, ""))
        if known is not None:
            return known
        row = self.journal.latest(self.journal.subject_of(key_of("id", identity)) or identity)
        return self._take_in(row) if row is not None and row.kind == "order" else None

    def sent_by(self, command_id: str) -> OrderView | None:
        """The order that this command made, also before a restart."""
        subject = self.journal.subject_of(key_of("cmd", command_id))
        return None if subject is None else self.find(subject)

    def sent_at(self, client_order_id: str) -> SentAt:
        return self._sent.get(client_order_id, SentAt())

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds, looked at after each change; False when time is up."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return condition()
        else:
            return True
        finally:
            self._waiters.discard(changed)

    # -- orders ------------------------------------------------------------------------------

    def load(self) -> list[OrderView]:
        """Take in what the journal holds; the open orders are answered."""
        for row in self.journal.recent_subjects("order", FINAL_KEPT):
            self._take_in(row)
        still_open = [
            order
            for row in self.journal.open_subjects()
            if row.kind == "order" and (order := self._take_in(row)) is not None
        ]
        held = self.journal.latest("positions")
        if held is not None:
            for symbol, qty in msgspec.json.decode(held.body)["held"].items():
                self.positions[symbol] = bare_position(symbol, Decimal(qty))
        return still_open

    def _take_in(self, row: JournalRow) -> OrderView | None:
        body = msgspec.json.decode(row.body, type=OrderRow)
        self._remember(body.order)
        if body.price is not None or body.bid is not None:
            self._sent[body.order.client_order_id] = SentAt(body.price, body.bid, body.ask)
        self._reservations.order_changed(body.order, body.price)
        return body.order

    def _remember(self, order: OrderView) -> None:
        self.orders[order.client_order_id] = order
        if order.id is not None:
            self._ids[order.id] = order.client_order_id
        if order.state.is_final:
            # A stop that trailed on is one of many: it is the first to be forgotten.
            self.orders.move_to_end(order.client_order_id, last=not is_superseded(order))
            self._forget_old()

    def _forget_old(self) -> None:
        if len(self.orders) <= 2 * FINAL_KEPT:
            return
        ended = [o for o in self.orders.values() if o.state.is_final]
        for order in ended[: max(0, len(ended) - FINAL_KEPT)]:
            del self.orders[order.client_order_id]
            self._ids.pop(order.id or "", None)
            self._sent.pop(order.client_order_id, None)

    def record(
        self,
        order: OrderView,
        text: str,
        *,
        sent_at: SentAt | None = None,
        request: dict[str, Any] | None = None,
        raw: Mapping[str, Any] | None = None,
        command_id: str | None = None,
        urgent: bool = False,
        tell_later: bool = False,
    ) -> Future[int]:
        """`order` is so from now on: in memory, at the gate, in the journal and for everybody.

        The future is done when the row is on disk; whoever must not go on before awaits it, and
        says that it is `urgent`. With `tell_later` everybody hears of it by `tell_of`, or else
        before the next that there is to tell of this order.
        """
        known = self.orders.get(order.client_order_id)
        if sent_at is not None:
            self._sent[order.client_order_id] = sent_at
        sent = self.sent_at(order.client_order_id)
        self._remember(order)
        self._reservations.order_changed(order, sent.price)
        keys = [key_of("cmd", command_id)] if command_id else []
        if order.id is not None and (known is None or known.id != order.id):
            keys.append(key_of("id", order.id))
        body = OrderRow(
            order=order,
            text=text,
            price=sent.price,
            bid=sent.bid,
            ask=sent.ask,
            request=request,
            raw=None if raw is None else dict(raw),
        )
        future = self._append(
            "order", order.client_order_id, body, not order.state.is_final, keys, urgent=urgent
        )
        self.tell_of(order.client_order_id)
        if order != known and tell_later:
            self._to_tell[order.client_order_id] = order
        elif order != known:
            self._emit(OrderChanged(order=order))
        self.wake()
        return future

    def tell_of(self, client_order_id: str) -> None:
        """Tell what `record` was to tell later, if nobody has yet."""
        order = self._to_tell.pop(client_order_id, None)
        if order is not None:
            self._emit(OrderChanged(order=order))

    def note(self, kind: str, subject: str, body: Mapping[str, Any]) -> Future[int]:
        """An entry in the story of `subject` that changes nothing."""
        return self._append(kind, subject, body, None, ())

    def set_standing(
        self,
        kind: str,
        subject: str,
        body: Mapping[str, Any],
        *,
        is_open: bool,
        urgent: bool = False,
    ) -> Future[int]:
        """The newest word on `subject`, read back at the next start."""
        return self._append(kind, subject, body, is_open, (), urgent=urgent)

    def _append(
        self,
        kind: str,
        subject: str,
        body: object,
        is_open: bool | None,
        keys: Sequence[str],
        *,
        urgent: bool = False,
    ) -> Future[int]:
        market_ns = int(self.now().timestamp() * 1e9) if self._market.known else None
        return self._rows.append(kind, subject, body, is_open, keys, market_ns, urgent=urgent)

    def write_again(self) -> list[Future[int]]:
        """What the journal could not take."""
        return self._rows.again()

    def wake(self) -> None:
        """Something else that `until` may wait for has changed."""
        for waiter in self._waiters:
            waiter.set()

    # -- what the broker says ----------------------------------------------------------------

    def told(
        self, payload: Mapping[str, Any], text: str, *, source: str = "external"
    ) -> OrderView | None:
        """The broker describes an order: apply it, count what is newly filled, take in its legs.

        An order that nobody here made is EXTERNAL (or of `source`). None: no usable order.
        """
        before = self._order_for(payload, source, parent=None)
        if before is None:
            return None
        order = self._apply(before, payload, text)
        self._link_back(order)
        legs = []
        for leg in payload.get("legs") or ():
            child = self._order_for(leg, order.source, parent=order.client_order_id)
            if child is None:
                continue
            if child.parent is None:
                # It was heard of before the order that it belongs to.
                child = replace(child, parent=order.client_order_id, source=order.source)
                self.record(child, f"is a leg of {order.client_order_id}")
            legs.append(self._apply(child, leg, "leg of a bracket").client_order_id)
        if legs and tuple(legs) != order.legs:
            order = replace(order, legs=tuple(legs))
            self.record(order, f"has {len(legs)} legs")
        return order

    def meant_by(self, payload: Mapping[str, Any]) -> OrderView | None:
        """The order here that the broker describes so, None where it is new."""
        return self._meant_by(payload)[0]

    def _meant_by(self, payload: Mapping[str, Any]) -> tuple[OrderView | None, bool]:
        """The order described, and whether its client order id is one of ours for another order."""
        client_id, identity = payload.get("client_order_id"), payload.get("id")
        known = self.find(str(client_id)) if client_id else None
        taken = known is not None and is_anothers(known, payload)
        if known is None or taken:
            known = self.find(str(identity)) if identity else None
        return known, taken

    def _order_for(
        self, payload: Mapping[str, Any], source: str, parent: str | None
    ) -> OrderView | None:
        known, taken = self._meant_by(payload)
        if known is not None:
            return known
        client_id, identity = payload.get("client_order_id"), payload.get("id")
        try:
            order = order_from_payload(payload, at=self.now(), source=source, parent=parent)
        except OrderPayloadError as error:
            self.note("oddity", str(client_id or identity or "?"), {"text": str(error)})
            return None
        if taken:
            order = replace(order, client_order_id=str(identity))
        # Its state and fills are counted by `_apply`, as those of any other order.
        return replace(order, filled_qty=Decimal(0), filled_avg_price=None, state=OrderState.ACK)

    def _apply(self, order: OrderView, payload: Mapping[str, Any], text: str) -> OrderView:
        after = self._with_our_ids(apply_payload(order, payload, at=self.now()))
        # Told again by the broker's ids what stands here by ours: nothing is new.
        same = replace(after, updated_at=order.updated_at) == order
        if same and order.client_order_id in self.orders:
            return order
        gained = after.filled_qty - order.filled_qty
        if gained > 0:
            self._reservations.filled(order, gained, price_of_gain(order, after, gained))
        self.record(after, text, raw=payload)
        if gained > 0:
            self._count(order, after, gained)
        return after

    def _link_back(self, order: OrderView) -> None:
        """The order that this one took the place of may have been told so before it had a name."""
        old = self.orders.get(order.replaces or "")
        if order.id is not None and old is not None and old.replaced_by == order.id:
            named = replace(old, replaced_by=order.client_order_id)
            self.record(named, f"replaced by {order.client_order_id}")

    def _with_our_ids(self, order: OrderView) -> OrderView:
        """Lineage by client order id wherever the other order is known."""
        ours = {
            name: self._ids[value]
            for name in ("replaces", "replaced_by")
            if (value := getattr(order, name)) in self._ids
        }
        return replace(order, **ours) if ours else order

    def updated(self, update: Mapping[str, Any]) -> OrderView | None:
        """One message of the broker's trade updates: stored as it came, then applied."""
        payload = update.get("order")
        if not isinstance(payload, Mapping):
            self.note(
                "oddity", "updates", {"text": "an update without an order", "raw": dict(update)}
            )
            return None
        subject = str(payload.get("client_order_id") or payload.get("id") or "?")
        event = str(update.get("event", "?"))
        self.note("update", subject, {"text": in_plain_words(update), "raw": dict(update)})
        before = self.find(subject)
        order = self.told(payload, f"the broker: {event}")
        if order is not None and event in ("fill", "partial_fill"):
            self.executed(
                order,
                execution_id=str(update.get("execution_id") or ""),
                qty=decimal_of(update.get("qty")),
                price=decimal_of(update.get("price")),
                cumulative=decimal_of(payload.get("filled_qty")),
                at=event_time(update) or self.now(),
            )
        if before is None and order is not None and order.source == "external":
            self.note("external", subject, {"text": f"made elsewhere: {in_words(order)}"})
        return order

    def executed(
        self,
        order: OrderView,
        *,
        execution_id: str,
        qty: Decimal | None,
        price: Decimal | None,
        cumulative: Decimal | None,
        at: datetime,
    ) -> bool:
        """Tell one execution, once: known by its id, or by the quantity it brought the order to.

        The order's own quantities don't depend on it. False when it was told before.
        """
        if qty is None or price is None:
            return False
        identity = execution_id or f"{order.client_order_id}:{cumulative}"
        names = [key_of("exec", identity)]
        if cumulative is not None:
            names.append(key_of("exec", f"{order.client_order_id}:{cumulative.normalize():f}"))
        if any(self._is_told(name) for name in names):
            return False
        self._owe(order.client_order_id, -qty)
        for name in names:
            self._executions[name] = None
        while len(self._executions) > EXECUTIONS_KEPT:
            self._executions.popitem(last=False)
        sent = self.sent_at(order.client_order_id)
        fill = OrderFilled(
            client_order_id=order.client_order_id,
            execution_id=identity,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            at=at,
            bid=sent.bid,
            ask=sent.ask,
        )
        text = f"{order.side.value} {qty.normalize():f} {order.symbol} at {price}"
        self._append("fill", order.client_order_id, {"text": text, "fill": fill}, None, names)
        self._emit(fill)
        return True

    def _owe(self, client_order_id: str, qty: Decimal) -> None:
        owed = self._untold.pop(client_order_id, (Decimal(0), 0.0))[0] + qty
        if owed > 0:
            self._untold[client_order_id] = (owed, self._clocks.monotonic())

    def lacks_executions(self) -> bool:
        """Whether orders are filled by executions that nobody told for a while; said once."""
        late = self._clocks.monotonic() - UNTOLD_S
        owing = [name for name, (_, since) in self._untold.items() if since < late]
        for name in owing:
            del self._untold[name]
        return bool(owing)

    def _is_told(self, name: str) -> bool:
        return name in self._executions or self.journal.subject_of(name) is not None

    # -- positions ---------------------------------------------------------------------------

    def _count(self, before: OrderView, after: OrderView, gained: Decimal) -> None:
        """A fill moves the position at once; prices and profit follow from the broker."""
        self._owe(after.client_order_id, gained)
        held = self.positions.get(after.symbol) or bare_position(after.symbol, Decimal(0))
        self.fills += 1
        self.set_positions(
            {**self.positions, after.symbol: after_fill(held, before, after, gained)}
        )

    def set_positions(self, positions: Mapping[str, PositionView]) -> None:
        """These are held now; what isn't among them is flat. Emitted and journaled if changed."""
        held = {symbol: p for symbol, p in positions.items() if p.qty != 0}
        if held == self.positions:
            return
        quantities = {s: p.qty for s, p in held.items()} != {
            s: p.qty for s, p in self.positions.items()
        }
        for symbol in self.positions.keys() - held.keys():
            self._reservations.position_changed(symbol, Decimal(0), Decimal(0))
        for symbol, position in held.items():
            self._reservations.position_changed(symbol, position.qty, position.current_price)
        self.positions = held
        if quantities:
            self.set_standing(
                "positions",
                "positions",
                {"held": {symbol: str(p.qty) for symbol, p in held.items()}},
                is_open=True,
            )
        self._emit(PositionsChanged(positions=tuple(held.values())))
        self.wake()

    def held_qty(self, symbol: str) -> Decimal:
        """Signed; 0 when flat."""
        position = self.positions.get(symbol)
        return Decimal(0) if position is None else position.qty
