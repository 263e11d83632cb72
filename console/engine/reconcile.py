"""The engine's books against the broker's: after a start, a reconnect, every while, and on demand.

Orders first, then fills since the last one known, then positions. What differs becomes events with
a cause; a position that no fill explains makes the engine careful (REDUCING) and says the numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from console.broker.errors import BrokerNotFound, BrokerUnavailable
from console.engine.books import Books
from console.engine.clocks import parse_time
from console.engine.execution import BrokerThread, Priority, found_whole
from console.engine.orders import decimal_of, in_words, lacks_legs
from console.engine.positions import priced
from console.engine.state import OrderState, OrderView, PositionView

if TYPE_CHECKING:
    from console.broker.session import BrokerSession

AGREEMENT_ATTEMPTS = 10
"""Orders, fills and positions are three questions: a fill between two makes them disagree."""
PROVEN_AFTER = 3
"""A difference that so many comparisons in a row find, with no fill between, is one; so is an
open order that so many of them ask for and the broker doesn't know.
"""
PAUSE_S = 0.1
ACTIVITIES = "activities"
ASKED_KEPT = 10_000


class Reconciled(Struct, frozen=True, kw_only=True):
    """What one comparison found. `unexplained` holds (symbol, ours, the broker's)."""

    changed: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    in_doubt: tuple[str, ...] = ()
    unexplained: tuple[tuple[str, Decimal, Decimal], ...] = ()

    def in_words(self) -> str:
        """One line for people."""
        orders = "order" if len(self.changed) == 1 else "orders"
        parts = [
            f"{len(items)} {what}"
            for items, what in (
                (self.changed, f"{orders} brought up to date"),
                (self.external, "made elsewhere"),
                (self.in_doubt, "still in doubt"),
            )
            if items
        ]
        parts += [
            f"{symbol}: {ours.normalize():f} here, {theirs.normalize():f} at the broker"
            for symbol, ours, theirs in self.unexplained
        ]
        return "; ".join(parts) or "nothing differs"


class Reconciler:
    """See the module. One comparison at a time; whoever asks meanwhile shares the next one."""

    def __init__(
        self,
        session: BrokerSession,
        books: Books,
        reads: BrokerThread,
        *,
        read_account: Callable[[], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._books = books
        self._reads = reads
        self._read_account = read_account
        self._sleep = sleep
        self._running: asyncio.Task[Reconciled] | None = None
        self._next: asyncio.Task[Reconciled] | None = None
        self._last_activity: str | None = None
        self._based = False
        self._asked_for_legs: set[str | None] = set()
        self._missed: dict[str, tuple[OrderView, int]] = {}
        self._missed_now: set[str] = set()

    def load(self) -> None:
        """Take the last known activity from the journal."""
        row = self._books.journal.latest(ACTIVITIES)
        if row is not None:
            self._last_activity = msgspec.json.decode(row.body)["last"]
            self._based = True

    async def run(self) -> Reconciled:
        """Compare, from now on and not before. Raises `BrokerError` without an answer."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="reconcile")
        return await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[Reconciled] | None) -> Reconciled:
        if earlier is not None:
            await asyncio.wait([earlier])
        self._running, self._next = self._next, None
        return await self._compare()

    async def stop(self) -> None:
        """Leave off comparing."""
        tasks = [task for task in (self._running, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Account and positions as the broker has them now. Raises `BrokerError`."""
        await self._read_account()
        fills = self._books.fills
        positions = await self._read(self._session.positions)
        if fills == self._books.fills:
            self._marked(_position_views(positions))

    def _marked(self, theirs: Mapping[str, PositionView]) -> None:
        """Prices and profits of what both hold; quantities are `_compare`'s to judge."""
        ours = self._books.positions
        self._books.set_positions(
            {s: theirs[s] if s in theirs and theirs[s].qty == p.qty else p for s, p in ours.items()}
        )

    async def _read(self, call: Callable[[], Any]) -> Any:
        return await self._reads.run(call, Priority.READ)

    async def _compare(self) -> Reconciled:
        changed: dict[str, None] = {}
        external: dict[str, None] = {}
        first = not self._based
        self._missed_now.clear()
        await self._read_account()
        if first:
            await self._skip_old_activities()
        differences: dict[str, tuple[Decimal, Decimal]] = {}
        proven = 0
        for _ in range(AGREEMENT_ATTEMPTS):
            await self._orders(changed, external)
            await self._fills(changed, external)
            fills = self._books.fills
            theirs = _position_views(await self._read(self._session.positions))
            if first and await self._newest_activity() != self._last_activity:
                continue
            if fills != self._books.fills:
                continue
            found = {} if first else self._differences(theirs)
            proven = proven + 1 if found == differences else 1
            differences = found
            if not differences or proven == PROVEN_AFTER:
                self._books.set_positions(theirs)
                break
            await self._sleep(PAUSE_S)
        else:
            # It never stood still: the fills told are the truth, until the next comparison.
            differences = {}
            if first:
                raise BrokerUnavailable("the account is never still", remedy="it is tried again")
        self._based = True
        unexplained = tuple((s, *pair) for s, pair in sorted(differences.items()))
        result = Reconciled(
            changed=tuple(changed),
            external=tuple(external),
            in_doubt=tuple(
                o.client_order_id
                for o in self._books.open_orders()
                if o.state is OrderState.UNKNOWN
            ),
            unexplained=unexplained,
        )
        self._books.note("reconciled", "engine", {"text": result.in_words()})
        return result

    def _differences(
        self, theirs: Mapping[str, PositionView]
    ) -> dict[str, tuple[Decimal, Decimal]]:
        symbols = theirs.keys() | self._books.positions.keys()
        return {
            symbol: (ours, held)
            for symbol in symbols
            if (ours := self._books.held_qty(symbol))
            != (held := theirs[symbol].qty if symbol in theirs else Decimal(0))
        }

    # -- orders ------------------------------------------------------------------------------

    async def _orders(self, changed: dict[str, None], external: dict[str, None]) -> None:
        """The broker's open orders, then each of ours that isn't among them."""
        payloads = await self._read(lambda: self._session.orders(status="open", nested=True))
        told = set()
        for payload in payloads:
            for one in (payload, *(payload.get("legs") or ())):
                told.add(str(one.get("id")))
            self._tell(payload, changed, external)
        for order in list(self._books.orders.values()):
            if lacks_legs(order) and order.id not in self._asked_for_legs:
                await self._ask_about(order, changed, external)
                if len(self._asked_for_legs) >= ASKED_KEPT:
                    self._asked_for_legs.clear()
                self._asked_for_legs.add(order.id)
        # A list by parents has no leg of one that is filled: these are found in the plain one.
        for payload in await self._read(lambda: self._session.orders(status="open")):
            if str(payload.get("id")) not in told:
                told.add(str(payload.get("id")))
                self._tell(payload, changed, external)
        still_open = self._books.held_open()
        absent = {o.client_order_id for o in still_open if o.id not in told}
        self._missed = {name: seen for name, seen in self._missed.items() if name in absent}
        for order in still_open:
            if order.client_order_id in absent:
                await self._ask_about(order, changed, external)

    def _tell(
        self, payload: Mapping[str, Any], changed: dict[str, None], external: dict[str, None]
    ) -> None:
        before = self._books.meant_by(payload)
        after = self._books.told(payload, "seen at the broker")
        if after is None or after == before:
            return
        if before is None:
            external[after.client_order_id] = None
            self._books.note(
                "external", after.client_order_id, {"text": f"made elsewhere: {in_words(after)}"}
            )
        else:
            changed[after.client_order_id] = None

    async def _ask_about(
        self, order: OrderView, changed: dict[str, None], external: dict[str, None]
    ) -> None:
        client_id, identity = order.client_order_id, order.id
        try:
            if identity is not None:
                payload = await self._read(lambda: self._session.order(identity, nested=True))
            elif order.state is OrderState.UNKNOWN:
                payload = await self._read(lambda: found_whole(self._session, client_id))
            else:
                return
        except BrokerNotFound as error:
            current = self._books.orders.get(client_id)
            if identity is not None and current is not None and not current.state.is_final:
                if not self._is_gone(current, error):
                    return
                gone = replace(
                    current,
                    state=OrderState.CANCELED,
                    updated_at=self._books.now(),
                    reason="the broker no longer knows it",
                )
                self._books.record(gone, gone.reason)
                changed[client_id] = None
            elif current is not None and current.state is OrderState.UNKNOWN:
                self._books.note("look-up", client_id, {"text": "the broker doesn't know it"})
        else:
            self._missed.pop(client_id, None)
            self._tell(payload, changed, external)

    def _is_gone(self, order: OrderView, error: BrokerNotFound) -> bool:
        """Whether the broker itself (a 404 without its code is anybody's) has said in enough
        comparisons in a row that it doesn't know an order, and nothing was told of it between.
        """
        name = order.client_order_id
        if error.code is None or name in self._missed_now:
            return False
        self._missed_now.add(name)
        seen, times = self._missed.get(name, (order, 0))
        times = times + 1 if seen == order else 1
        if times < PROVEN_AFTER:
            self._missed[name] = (order, times)
            self._books.note(
                "look-up", name, {"text": f"the broker doesn't know it ({times} of {PROVEN_AFTER})"}
            )
            return False
        self._missed.pop(name, None)
        return True

    # -- fills -------------------------------------------------------------------------------

    async def _skip_old_activities(self) -> None:
        """The first time, what is held is believed; only fills from here on are ours to explain."""
        self._remember(await self._newest_activity())

    async def _newest_activity(self) -> str:
        newest = await self._read(
            lambda: self._session.activities(activity_types=("FILL",), direction="desc", limit=1)
        )
        return str(newest[0]["id"]) if newest else ""

    def _remember(self, activity: str) -> None:
        if activity != self._last_activity:
            self._last_activity = activity
            self._books.set_standing(ACTIVITIES, ACTIVITIES, {"last": activity}, is_open=True)

    async def _fills(self, changed: dict[str, None], external: dict[str, None]) -> None:
        """Executions that no trade update told, and the orders behind them."""
        token = self._last_activity or None
        activities = await self._read(
            lambda: self._session.activities(
                activity_types=("FILL",), direction="asc", page_token=token
            )
        )
        for activity in activities:
            identity = str(activity.get("order_id") or "")
            order = self._books.find(identity) if identity else None
            cumulative = decimal_of(activity.get("cum_qty"))
            if order is None or (cumulative is not None and cumulative > order.filled_qty):
                order = await self._order_behind(identity, changed, external)
            if order is not None:
                self._tell_fill(order, activity, cumulative)
        if activities:
            self._remember(str(activities[-1]["id"]))

    async def _order_behind(
        self, identity: str, changed: dict[str, None], external: dict[str, None]
    ) -> OrderView | None:
        try:
            payload = await self._read(lambda: self._session.order(identity))
        except (BrokerNotFound, ValueError):
            return None
        self._tell(payload, changed, external)
        return self._books.find(identity)

    def _tell_fill(
        self, order: OrderView, activity: Mapping[str, Any], cumulative: Decimal | None
    ) -> None:
        try:
            at = parse_time(str(activity.get("transaction_time")))
        except ValueError:
            at = self._books.now()
        self._books.executed(
            order,
            execution_id=str(activity["id"]).rpartition("::")[2],
            qty=decimal_of(activity.get("qty")),
            price=decimal_of(activity.get("price")),
            cumulative=cumulative,
            at=at,
        )


def _position_views(payloads: list[Mapping[str, Any]]) -> dict[str, PositionView]:
    views = {}
    for payload in payloads:
        symbol, qty = str(payload.get("symbol")), decimal_of(payload.get("qty"))
        if qty is None or not qty:
            continue
        if payload.get("side") == "short":
            qty = -abs(qty)
        entry = decimal_of(payload.get("avg_entry_price")) or Decimal(0)
        price = decimal_of(payload.get("current_price")) or entry
        day = decimal_of(payload.get("unrealized_intraday_pl")) or Decimal(0)
        view = priced(symbol, qty, entry, price, day)
        value, cost = decimal_of(payload.get("market_value")), decimal_of(payload.get("cost_basis"))
        profit = decimal_of(payload.get("unrealized_pl"))
        if value is not None and cost is not None and profit is not None:
            view = replace(view, market_value=value, cost_basis=cost, unrealized_pl=profit)
        views[symbol] = view
    return views
