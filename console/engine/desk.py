"""The desk carries out what is asked about orders: place, replace, cancel, close, settle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from console.broker.errors import BrokerError, BrokerNotFound
from console.engine.books import Books
from console.engine.canceling import Canceling
from console.engine.clocks import Clocks, MarketClock
from console.engine.commands import (
    Ack,
    CancelAll,
    ClosePosition,
    Command,
    Level,
    Outcome,
    ReplaceOrder,
    SettleOrder,
    SubmitOrder,
)
from console.engine.execution import BrokerThread, Execution, Priority
from console.engine.feed import Feed
from console.engine.measures import Measures, Way, moment
from console.engine.order_rows import SentAt
from console.engine.orders import SETTLEMENTS, in_words, moved, new_client_order_id
from console.engine.protection import Protection
from console.engine.replies import about, not_open, refusal
from console.engine.risk import Gatekeeper, passed_in_words, refused
from console.engine.sizing import (
    level_price,
    malformed,
    malformed_change,
    reference_price,
    shares_of,
)
from console.engine.state import (
    OrderClass,
    OrderState,
    OrderType,
    OrderView,
    PositionView,
    RiskReport,
    Side,
    TimeInForce,
    TradingState,
)
from console.engine.trail import Plan, new_plan

if TYPE_CHECKING:
    from console.broker.session import BrokerSession

CANCEL_TIMEOUT_S = 5.0

ASSETS_KEPT = 5_000
_NO_CANCEL_CURES = frozenset(
    {"trading_state", "order_rate", "quantity", "symbol", "order_in_doubt"}
)
_WITH_LEGS = (OrderClass.BRACKET, OrderClass.OTO)


def _is_other_leg(order: OrderView, leg: OrderView) -> bool:
    """Whether they are a bracket's two legs, or the two orders of which one cancels the other."""
    if order.client_order_id == leg.client_order_id or order.side is not leg.side:
        return False
    pair = (order.client_order_id, order.parent), (leg.client_order_id, leg.parent)
    (name, parent), (its_name, its_parent) = pair
    return (parent is not None and parent in (its_name, its_parent)) or name == its_parent


class Desk:
    """See the module. `blocked()` says why no order may be placed at all right now, if so."""

    def __init__(
        self,
        books: Books,
        execution: Execution,
        gatekeeper: Gatekeeper,
        feed: Feed,
        session: BrokerSession,
        reads: BrokerThread,
        clocks: Clocks,
        market: MarketClock,
        protection: Protection,
        measures: Measures,
        *,
        blocked: Callable[[], str | None],
        compare: Callable[[], Awaitable[object]],
    ) -> None:
        self._books = books
        self._execution = execution
        self._gatekeeper = gatekeeper
        self._feed = feed
        self._session = session
        self._reads = reads
        self._clocks = clocks
        self._market = market
        self._protection = protection
        self.canceling = Canceling(books, execution, protection)
        self._measures = measures
        self._blocked = blocked
        self._compare = compare
        self._assets: dict[str, str | None] = {}

    # -- placing -----------------------------------------------------------------------------

    async def submit(self, command: SubmitOrder) -> Ack:
        """Size it, check it, send it; with `preview` only the first two."""
        way = Way(traceparent=command.traceparent)
        if not command.preview and (earlier := self._books.sent_by(command.id)) is not None:
            return self._about(command, earlier)
        problem = malformed(command)
        if problem is None and not command.preview and (reason := self._blocked()) is not None:
            problem = refused("ready", "ready", "not ready", reason, "wait, or see `status`")
        if problem is None:
            problem = await self._unknown_symbol(command.symbol)
        if problem is not None:
            return refusal(command, problem)
        await self._feed.ensure_quote(command.symbol)
        return await self._checked(command, way)

    async def _checked(self, command: SubmitOrder, way: Way) -> Ack:
        touch = self._gatekeeper.touch(command.symbol)
        price = reference_price(command, touch)
        account = self._books.account
        shares = shares_of(
            command,
            price,
            self._books.held_qty(command.symbol),
            None if account is None else account.equity,
        )
        if isinstance(shares, RiskReport):
            return refusal(command, shares)
        client_order_id = command.client_order_id or new_client_order_id()
        if not command.preview and self._books.find(client_order_id) is not None:
            return refusal(
                command,
                refused(
                    "client_order_id", "unused", client_order_id,
                    f"{client_order_id} was used before", "leave it out: the engine makes one",
                ),
            )  # fmt: skip
        order = self._intent(command, client_order_id, shares)
        plan = None
        try:
            profit = level_price(command.take_profit, price)
            if command.stop_loss is not None and command.stop_loss.trails:
                plan = self._trail(order, command.stop_loss, price, touch, profit)
                loss: Decimal | None = plan.stop
            else:
                loss = level_price(command.stop_loss, price)
        except ValueError as error:
            return refusal(command, refused("levels", "a price", "none", str(error), "give prices"))
        report = self._check(
            order,
            way,
            reduce_only=command.reduce_only,
            take_profit=profit,
            stop_loss=loss,
            record=not command.preview,
        )
        if command.preview or not report.allowed:
            if not command.preview:
                order = self._record_refusal(order, report, way)
            return refusal(command, report, None if command.preview else order)
        if plan is not None:
            self._protection.begin(plan)
        self._books.note("checked", client_order_id, {"text": passed_in_words(report)})
        sent = await self._execution.submit(
            order,
            sent_at=self._sent_at(order.symbol, report.price or price),
            command_id=command.id,
            take_profit=profit,
            stop_loss=loss,
            way=way,
        )
        return self._about(command, sent, report)

    def _trail(
        self,
        order: OrderView,
        level: Level,
        price: Decimal | None,
        touch: tuple[Decimal, Decimal] | None,
        profit: Decimal | None,
    ) -> Plan:
        held = self._books.held_qty(order.symbol)
        if held and (held > 0) != (order.side is Side.BUY):
            raise ValueError(
                f"a trailing leg protects what its order opens; this one would close "
                f"{abs(held).normalize():f} {order.symbol}"
            )
        return new_plan(entry=order, level=level, price=price, touch=touch, take_profit=profit)

    def _intent(self, command: SubmitOrder, client_order_id: str, shares: Decimal) -> OrderView:
        now = self._books.now()
        return OrderView(
            client_order_id=client_order_id,
            symbol=command.symbol,
            side=command.side,
            order_type=command.order_type,
            time_in_force=command.time_in_force,
            order_class=command.order_class,
            qty=shares,
            limit_price=command.limit_price,
            stop_price=command.stop_price,
            trail_price=command.trail_price,
            trail_percent=command.trail_percent,
            extended_hours=command.extended_hours,
            state=OrderState.INTENT,
            source=command.source,
            created_at=now,
            updated_at=now,
        )

    def _check(self, order: OrderView, way: Way, **options: Any) -> RiskReport:
        way.checking = moment()
        now = self._clocks.monotonic()
        self._gatekeeper.session_changed(is_open=self._market.is_open_at(now))
        report = self._gatekeeper.check(order, now=now, **options)
        way.checked = moment()
        return report

    def _sent_at(self, symbol: str, price: Decimal | None) -> SentAt:
        bid, ask = self._gatekeeper.touch(symbol) or (None, None)
        return SentAt(price, bid, ask)

    def _record_refusal(self, order: OrderView, report: RiskReport, way: Way) -> OrderView:
        reason = "; ".join(refusal.message for refusal in report.refusals)
        after = moved(order, OrderState.REFUSED, at=self._books.now(), reason=reason)
        self._books.record(after, f"refused: {reason}")
        way.refused_by = tuple(refusal.check for refusal in report.refusals)
        self._measures.ended(after, way)
        return after

    async def know(self, symbols: tuple[str, ...]) -> list[str]:
        """Ask for these symbols' assets before an order needs them; why some can't be traded."""
        found = [await self._unknown_symbol(symbol) for symbol in symbols]
        return [report.refusals[0].message for report in found if report is not None]

    async def _unknown_symbol(self, symbol: str) -> RiskReport | None:
        """Why the broker doesn't trade it; asked once a symbol. No answer is no reason."""
        if symbol not in self._assets:
            try:
                asset = await self._reads.run(lambda: self._session.asset(symbol), Priority.LOOK_UP)
            except BrokerNotFound:
                problem: str | None = f"the broker knows no {symbol}"
            except BrokerError:
                return None
            else:
                problem = None if asset.get("tradable", True) else f"{symbol} can't be traded"
            if len(self._assets) >= ASSETS_KEPT:
                self._assets.clear()
            self._assets[symbol] = problem
        problem = self._assets[symbol]
        if problem is None:
            return None
        return refused(
            "symbol", "a symbol of the broker's", symbol, problem, "look for a typing error"
        )

    async def close_for_flatten(self, position: PositionView) -> OrderView:
        """The kill switch's own order: no check keeps it, but the journal has it before it goes."""
        now = self._books.now()
        order = OrderView(
            client_order_id=new_client_order_id(),
            symbol=position.symbol,
            side=Side.SELL if position.qty > 0 else Side.BUY,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            qty=abs(position.qty),
            state=OrderState.INTENT,
            source="flatten",
            created_at=now,
            updated_at=now,
        )
        return await self._execution.submit(
            order, sent_at=self._sent_at(order.symbol, None), command_id=None
        )

    # -- replacing ---------------------------------------------------------------------------

    async def replace(self, command: ReplaceOrder) -> Ack:
        """Check the order as it shall be, then ask the broker to make it so."""
        way = Way(traceparent=command.traceparent)
        if (earlier := self._books.sent_by(command.id)) is not None:
            return self._about(command, earlier)
        old = self._books.find(command.client_order_id)
        if old is None or old.state.is_final or old.id is None:
            return not_open(command, command.client_order_id, old)
        if (problem := malformed_change(command)) is not None:
            return refusal(command, problem)
        if (reason := self._blocked()) is not None:
            return refusal(command, refused("ready", "ready", "not ready", reason))
        await self._feed.ensure_quote(old.symbol)
        old = self._books.find(command.client_order_id)
        if old is None or old.state.is_final or old.id is None:
            return not_open(command, command.client_order_id, old)
        trail = {"trail_percent" if old.trail_percent is not None else "trail_price": command.trail}
        wanted = {
            name: value
            for name, value in (
                ("qty", command.qty),
                ("limit_price", command.limit_price),
                ("stop_price", command.stop_price),
                ("time_in_force", command.time_in_force),
                *trail.items(),
            )
            if value is not None
        }
        now = self._books.now()
        new = replace(
            old,
            client_order_id=new_client_order_id(),
            id=None,
            state=OrderState.INTENT,
            filled_qty=Decimal(0),
            filled_avg_price=None,
            replaces=old.client_order_id,
            replaced_by=None,
            source=command.source,
            reason="",
            created_at=now,
            updated_at=now,
            **wanted,
        )
        report = self._check_instead(old, new, way)
        if not report.allowed:
            return refusal(command, report, self._record_refusal(new, report, way))
        changes = {
            "trail" if name.startswith("trail") else name: (
                value.value if isinstance(value, TimeInForce) else f"{value:f}"
            )
            for name, value in wanted.items()
        }
        sent = await self._execution.replace(
            old,
            new,
            changes,
            sent_at=self._sent_at(new.symbol, report.price),
            command_id=command.id,
            way=way,
        )
        return self._about(command, sent, report)

    def _check_instead(self, old: OrderView, new: OrderView, way: Way) -> RiskReport:
        """The new order must pass as if the old one weren't there; till it is gone both reserve.

        Nor the other leg of a pair: of the two only one can trade.
        """
        remaining = new if new.qty is None else replace(new, qty=new.qty - old.filled_qty)
        if remaining.qty is not None and remaining.qty <= 0:
            return refused(
                "quantity", f"> {old.filled_qty}", str(new.qty),
                f"{old.filled_qty} are filled already", "give a larger quantity, or cancel",
            )  # fmt: skip
        aside = [old, *(o for o in self._books.open_orders() if _is_other_leg(o, old))]
        prices = [self._books.sent_at(order.client_order_id).price for order in aside]
        for order, price in zip(aside, prices, strict=True):
            self._gatekeeper.order_changed(replace(order, state=OrderState.REPLACED), price)
        try:
            return self._check(remaining, way)
        finally:
            for order, price in zip(aside, prices, strict=True):
                self._gatekeeper.order_changed(order, price)

    # -- closing -----------------------------------------------------------------------------

    async def close(self, command: ClosePosition) -> Ack:
        """Cancel the symbol's open orders, wait until they are gone, then close at the market."""
        held = self._books.held_qty(command.symbol)
        if held == 0:
            report = refused(
                "position",
                "held",
                "0",
                f"there is no position in {command.symbol}",
                "see positions",
            )
            return refusal(command, report)
        if not 0 < command.fraction <= 1:
            report = refused(
                "size", "above 0, up to 1", str(command.fraction),
                f"{command.fraction} is no part of a position", "give a part of it, such as half",
            )  # fmt: skip
            return refusal(command, report)
        if (problem := await self._no_use_canceling(command)) is not None:
            return refusal(command, problem)
        canceled = await self.canceling.all(
            CancelAll(id=command.id, source=command.source, symbol=command.symbol)
        )
        if canceled.outcome is Outcome.UNKNOWN:
            return canceled

        def none_open() -> bool:
            return all(o.symbol != command.symbol for o in self._books.open_orders())

        if not await self._books.until(none_open, CANCEL_TIMEOUT_S):
            await self._try_compare()
            if not none_open():
                report = refused(
                    "orders", "none open", command.symbol,
                    f"open orders of {command.symbol} are not gone after {CANCEL_TIMEOUT_S:g} s",
                    "cancel or settle them, then close again",
                )  # fmt: skip
                return refusal(command, report)
        return await self.submit(self._closing(command))

    def _closing(self, command: ClosePosition) -> SubmitOrder:
        held = self._books.held_qty(command.symbol)
        return SubmitOrder(
            id=command.id,
            source=command.source,
            traceparent=command.traceparent,
            symbol=command.symbol,
            side=Side.SELL if held > 0 else Side.BUY,
            position_fraction=command.fraction,
            reduce_only=True,
        )

    async def _no_use_canceling(self, command: ClosePosition) -> RiskReport | None:
        """Why the closing order would be refused whatever is canceled: then its stop stays."""
        if (reason := self._blocked()) is not None:
            return refused("ready", "ready", "not ready", reason, "wait, or see `status`")
        if (problem := await self._unknown_symbol(command.symbol)) is not None:
            return problem
        probe = self._closing(command)
        held = self._books.held_qty(command.symbol)
        shares = shares_of(probe, None, held, None)
        if isinstance(shares, RiskReport):
            return shares
        report = self._check(
            self._intent(probe, new_client_order_id(), shares),
            Way(),
            reduce_only=True,
            record=False,
        )
        lasting = tuple(
            refusal
            for refusal in report.refusals
            # While REDUCING, orders that would close the position too are what stands in the way.
            if refusal.check in _NO_CANCEL_CURES and refusal.limit != TradingState.REDUCING.value
        )
        return replace(report, refusals=lasting) if lasting else None

    async def _try_compare(self) -> None:
        try:
            await self._compare()
        except BrokerError:
            return

    # -- settling ----------------------------------------------------------------------------

    async def settle(self, command: SettleOrder) -> Ack:
        """A person's word ends an order in doubt; what the broker says later still counts."""
        order = self._books.find(command.client_order_id)
        if order is None or order.state is not OrderState.UNKNOWN:
            state = "not known" if order is None else order.state.value
            report = refused(
                "settle", OrderState.UNKNOWN.value, state,
                f"{command.client_order_id} is not in doubt",
                "only orders in UNKNOWN can be settled",
            )  # fmt: skip
            return refusal(command, report, order)
        known = {state.value.lower(): state for state in SETTLEMENTS}
        outcome = known.get(command.outcome.lower())
        if outcome is None:
            report = refused(
                "settle", ", ".join(sorted(known)), command.outcome[:40],
                f"{command.outcome[:40]!r} is no outcome", "give one of them",
            )  # fmt: skip
            return refusal(command, report, order)
        settled = moved(order, outcome, at=self._books.now(), reason=f"settled by {command.source}")
        self._books.record(settled, f"settled as {outcome.value} by {command.source}")
        await self._try_compare()
        return Ack(
            id=command.id,
            outcome=Outcome.ACCEPTED,
            message=f"{in_words(settled)} settled as {outcome.value}",
            order=self._books.find(command.client_order_id),
        )

    # -- answers -----------------------------------------------------------------------------

    def _about(self, command: Command, order: OrderView, report: RiskReport | None = None) -> Ack:
        trail = self._protection.view_of(order) if order.order_class in _WITH_LEGS else None
        return about(command, order, report, trail)
