"""The gate in front of every order: Rust decides, on a copy of the state that the engine feeds it.

`Gatekeeper` keeps that copy current (account, positions, open orders, quotes, trading state,
session) and turns verdicts into the `RiskReport` that a person reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from console.engine.orders import open_qty
from console.engine.state import (
    AccountView,
    OrderState,
    OrderView,
    Refusal,
    RiskReport,
    TradingState,
)

if TYPE_CHECKING:
    from console.config import Settings
    from signal_bridge import RiskGate, RiskVerdict

_WITHOUT_RESERVATION = frozenset({OrderState.INTENT, OrderState.HELD})
"""A held leg reserves nothing: its parent does, or the leg that works in its stead."""

_MAYBE_NOT_THERE = frozenset({OrderState.SENDING, OrderState.UNKNOWN})


def limits_json(settings: Settings) -> str:
    """The `[risk]` section and `quote_stale_s` as the gate reads them; amounts as text."""
    limits = settings.risk.model_dump(mode="json")
    limits["quote_stale_s"] = settings.feed.quote_stale_s
    return json.dumps(limits)


class Gatekeeper:
    """See the module. Of the engine's loop alone."""

    def __init__(self, gate: RiskGate) -> None:
        self._gate = gate
        self._open: set[str] = set()
        self._asked = 0
        self._filled_at = 0
        self._young: dict[str, tuple[OrderView, Decimal | None, int | None]] = {}
        """Orders that the account's figures may not know: since which question they might."""
        self._quoted_at: dict[str, float] = {}
        self._quotes: dict[str, tuple[Decimal, Decimal]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Gatekeeper:
        """A gate with the limits of `settings`."""
        from signal_bridge import RiskGate

        return cls(RiskGate(limits_json(settings)))

    # -- the gate's copy of the state ----------------------------------------------------------

    def order_changed(self, order: OrderView, price: Decimal | None) -> None:
        left = open_qty(order)
        if order.state.is_final:
            self._young.pop(order.client_order_id, None)
        elif order.state in _MAYBE_NOT_THERE:
            self._young[order.client_order_id] = (order, price, None)
        elif (young := self._young.get(order.client_order_id)) is not None:
            at = self._asked if young[2] is None else young[2]
            self._young[order.client_order_id] = (order, price, at)
        if left > 0 and order.state not in _WITHOUT_RESERVATION:
            self._open.add(order.client_order_id)
            self._gate.set_order(
                order.client_order_id,
                order.symbol,
                order.side.value,
                left,
                order.limit_price or order.stop_price or price,
                order.state is OrderState.UNKNOWN,
                order.order_type.value,
            )
        elif order.client_order_id in self._open:
            self._open.discard(order.client_order_id)
            self._gate.remove_order(order.client_order_id)

    def position_changed(self, symbol: str, qty: Decimal, price: Decimal) -> None:
        self._gate.set_position(symbol, qty, price)

    def filled(self, order: OrderView, qty: Decimal, price: Decimal) -> None:
        """So much more of the order is filled; told before the order and the position change."""
        self._filled_at = self._asked
        self._gate.count_fill(order.client_order_id, order.symbol, order.side.value, qty, price)

    def account_asked(self) -> int:
        """The account is being asked for; the answer comes with this number."""
        self._asked += 1
        return self._asked

    def account_changed(self, account: AccountView, asked_at: int) -> None:
        """The broker's figures, asked for at `asked_at`; what happened since they may not know.

        They free nothing that was filled meanwhile: the next figures, due after every fill, will.
        """
        if self._filled_at >= asked_at:
            return
        self._gate.set_account(
            account.equity,
            account.last_equity,
            account.cash,
            account.buying_power,
            account.multiplier,
        )
        for identity, (order, price, at) in list(self._young.items()):
            if at is not None and at < asked_at:
                del self._young[identity]
            else:
                self._gate.remove_order(identity)
                self._open.discard(identity)
                self.order_changed(order, price)

    def quote(self, symbol: str, bid: float, ask: float, last: float, at: float) -> None:
        """A quote as the feed has it; `at` is a monotonic second, NaN is no value."""
        self._gate.set_quote(symbol, bid, ask, last, at)
        if bid > 0 and ask > 0:
            self._quoted_at[symbol] = at
            self._quotes[symbol] = (Decimal(repr(bid)), Decimal(repr(ask)))

    def doubt_quotes(self) -> None:
        """Nobody knows how old they are: until newer ones come they count as stale."""
        for symbol, (bid, ask) in self._quotes.items():
            self._gate.set_quote(symbol, float(bid), float(ask), math.nan, -math.inf)
        self._quoted_at.clear()

    def quoted_at(self, symbol: str) -> float | None:
        """The monotonic second of the newest quote; None without one."""
        return self._quoted_at.get(symbol)

    def touch(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        """The newest bid and ask, however old."""
        return self._quotes.get(symbol)

    def trading_state_changed(self, state: TradingState, reason: str) -> None:
        self._gate.set_trading_state(state.value, reason)

    def session_changed(self, *, is_open: bool) -> None:
        self._gate.set_session(is_open)

    def set_limits(self, limits: str) -> None:
        """New limits, as JSON. Whether they may be taken is the caller's to have checked."""
        self._gate.set_limits(limits)

    # -- the check ---------------------------------------------------------------------------

    def check(
        self,
        order: OrderView,
        *,
        now: float,
        reduce_only: bool = False,
        take_profit: Decimal | None = None,
        stop_loss: Decimal | None = None,
        record: bool = True,
    ) -> RiskReport:
        """Ask the gate about one order. `record=False` asks without counting.

        Raises:
            ValueError: the order has no quantity; it must be sized first.
        """
        if order.qty is None:
            raise ValueError(f"{order.client_order_id} has no quantity to check")
        verdict = self._gate.check(
            order.symbol,
            order.side.value,
            order.qty,
            order.order_type.value,
            order.limit_price,
            order.stop_price,
            now=now,
            tif=order.time_in_force.value,
            extended_hours=order.extended_hours,
            reduce_only=reduce_only,
            stop_loss=stop_loss,
            take_profit=take_profit,
            source=order.source,
            record=record,
        )
        return _report(verdict)


def _report(verdict: RiskVerdict) -> RiskReport:
    return RiskReport(
        allowed=verdict.allowed,
        refusals=_refusals(verdict.refusals),
        warnings=_refusals(verdict.warnings),
        checks_run=verdict.checks_run,
        price=verdict.price,
        qty=verdict.qty,
        notional=verdict.notional,
        equity_pct=verdict.equity_pct,
        buying_power_after=verdict.buying_power_after,
        spread_cost=verdict.spread_cost,
        loss_at_stop=verdict.loss_at_stop,
        max_qty=verdict.max_qty,
    )


def _refusals(found: Iterable[Sequence[Any]]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(check=check, limit=limit, value=value, message=message, remedy=remedy)
        for check, limit, value, message, remedy in found
    )


def passed_in_words(report: RiskReport) -> str:
    """What let an order through, for its story: `20 checks pass; 16,751.00 is 16.8 % of equity`."""
    words = [f"{report.checks_run} checks pass"]
    if report.notional is not None and report.equity_pct is not None:
        words.append(f"{report.notional:,.2f} is {report.equity_pct:.1f} % of equity")
    if report.loss_at_stop is not None:
        words.append(f"{report.loss_at_stop:,.2f} at risk at the stop")
    return "; ".join([*words, *(warning.message for warning in report.warnings)])


def refused(check: str, limit: str, value: str, message: str, remedy: str = "") -> RiskReport:
    """A report of the engine's own, for what never gets as far as the gate."""
    return RiskReport(
        allowed=False,
        refusals=(Refusal(check=check, limit=limit, value=value, message=message, remedy=remedy),),
        checks_run=1,
    )
