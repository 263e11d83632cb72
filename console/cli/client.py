"""Commands to a running engine: status, and lines of the grammar such as order and cancel."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from console.cli.finding import find_engine
from console.cli.output import Format, fail, money, number, plain, print_json, say, table
from console.config.layers import Overrides
from console.engine.commands import (
    Ack,
    AnyCommand,
    GetOrder,
    GetState,
    Outcome,
    SubmitOrder,
)
from console.engine.events import AnyEvent, MarketFrame
from console.engine.grammar import GrammarError, parse_line
from console.engine.link import LinkError, NotSent, RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import (
    EngineView,
    OrderState,
    OrderView,
    RiskReport,
    TrailPhase,
    TrailView,
)
from console.exits import OK, REFUSED, UNAVAILABLE, UNKNOWN, USAGE
from console.harmless import harmless

POLL_S = 0.05
QUOTES_S = 3.0
_PEG = re.compile(r"\b(bid|mid|ask)\b")


def with_engine(
    overrides: Overrides, work: Callable[[RemoteLink, RuntimeInfo], Awaitable[int]]
) -> int:
    """Do `work` on a link to the running engine. Raises `ExitError` where none runs."""
    runtime = find_engine(overrides)

    async def run() -> int:
        link = RemoteLink(runtime, with_feed=False)
        try:
            return await work(link, runtime)
        finally:
            await link.close()

    return asyncio.run(run())


def run_status(overrides: Overrides, style: Format, timeout_s: float) -> int:
    """Print what the engine knows."""

    async def work(link: RemoteLink, runtime: RuntimeInfo) -> int:
        try:
            ack = await link.request(GetState(source="cli"), timeout_s=timeout_s)
        except LinkError as error:
            return fail(str(error), UNAVAILABLE)
        if ack.state is None:
            return fail(f"the engine told no state: {ack.message}", UNAVAILABLE)
        if style is Format.JSON:
            print_json(status_document(ack.state, runtime))
        else:
            print(status_text(ack.state, runtime))
        return OK

    return with_engine(overrides, work)


def status_document(view: EngineView, runtime: RuntimeInfo) -> dict[str, Any]:
    """`status --format json`: money and quantities are strings, times RFC 3339."""
    account = view.account
    amounts = (
        "equity", "last_equity", "cash", "buying_power", "long_market_value",
        "short_market_value", "day_pl", "day_pl_pct",
    )  # fmt: skip
    session = view.session
    return {
        "state": view.trading_state,
        "reason": view.trading_reason,
        "ready": view.ready,
        "mode": view.mode,
        **{name: None if account is None else money(getattr(account, name)) for name in amounts},
        "account_status": None if account is None else account.account_status,
        "market": None
        if session is None
        else {
            "time": session.market_time,
            "is_open": session.is_open,
            "speed": session.speed,
            "next_open": session.next_open,
            "next_close": session.next_close,
        },
        "positions": view.positions,
        "orders": view.orders,
        "trailing_legs": view.trails,
        "services": {
            service.name: {
                "status": service.status,
                "message": service.message,
                "port": service.port,
                "metrics": service.metrics,
            }
            for service in view.services
        },
        "connections": {
            connection.name: {
                "state": connection.state,
                "detail": connection.detail,
                "latency_ms": connection.latency_ms,
            }
            for connection in view.connections
        },
        "seq": view.seq,
        "pid": runtime.pid,
        "started_at": runtime.started_at,
        "ports": runtime.ports,
    }


def status_text(view: EngineView, runtime: RuntimeInfo) -> str:
    """`status` for people."""
    ready = "ready" if view.ready else "not ready"
    reason = f" ({view.trading_reason})" if view.trading_reason else ""
    lines = [harmless(f"{view.mode} {view.trading_state}{reason}, {ready}, pid {runtime.pid}")]
    if view.session is not None:
        at = view.session.market_time.strftime("%Y-%m-%d %H:%M:%S UTC")
        door = "open" if view.session.is_open else "closed"
        lines.append(f"market {door}, {at}, {view.session.speed:g}x")
    if view.account is not None:
        account = view.account
        lines.append(
            f"equity {money(account.equity)}  day {money(account.day_pl)} "
            f"({account.day_pl_pct:z.2f}%)  cash {money(account.cash)}  "
            f"buying power {money(account.buying_power)}"
        )
    lines.append(f"positions {len(view.positions) or 'none'}")
    lines.append(
        table(
            [
                (p.symbol, number(p.qty), money(p.avg_entry_price), money(p.current_price),
                 money(p.market_value), money(p.unrealized_pl))
                for p in view.positions
            ]
        )
    )  # fmt: skip
    still_open = [order for order in view.orders if not order.state.is_final]
    lines.append(f"open orders {len(still_open) or 'none'}")
    lines.append(table([(o.client_order_id, *order_line(o).split(" ", 1)) for o in still_open]))
    trails = [trail for trail in view.trails if trail.phase is not TrailPhase.ENDED]
    if trails:
        lines.append(f"trailing legs {len(trails)}")
        lines.append(table([(t.symbol, t.phase.value, t.text) for t in trails]))
    lines.append("services")
    lines.append(table([(s.name, s.status, str(s.port or ""), s.message) for s in view.services]))
    return "\n".join(harmless(row) for line in lines for row in line.split("\n") if row)


def order_line(order: OrderView) -> str:
    """One order in a line: `FILLED buy 100 IBM at 182.51`."""
    size = number(order.qty) if order.qty is not None else f"${order.notional}"
    text = f"{order.state.value} {order.side.value} {size} {order.symbol}"
    if order.limit_price is not None:
        text += f" @ {money(order.limit_price)}"
    if order.filled_qty and order.filled_avg_price is not None:
        part = "" if order.filled_qty == order.qty else f" {number(order.filled_qty)}"
        text += f", filled{part} at {money(order.filled_avg_price)}"
    if order.reason:
        text += f": {order.reason}"
    return harmless(text)


def run_line(
    overrides: Overrides,
    line: str,
    style: Format,
    timeout_s: float,
    *,
    wait: float = 0.0,
    source: str = "cli",
) -> int:
    """Send one line of the grammar; with `wait`, until its order is final or so long."""
    if not source.isprintable() or not 0 < len(source) <= 64:
        return fail(f"--source {source!r}: 1 to 64 printable characters are wanted", USAGE)

    def parse(context: Quotes | None = None) -> AnyCommand | str:
        try:
            return parse_line(line, context, source=source)
        except GrammarError as error:
            return f'"{line.strip()}": {error}'

    command = parse()
    if isinstance(command, str) and not _PEG.search(line):
        return fail(command, USAGE)

    async def work(link: RemoteLink, runtime: RuntimeInfo) -> int:
        # A price pegged to the quote needs one; nothing else does.
        told = parse(await Quotes.now(runtime)) if isinstance(command, str) else command
        if isinstance(told, str):
            return fail(told, USAGE)
        return await carry_out(link, told, style, timeout_s, wait)

    return with_engine(overrides, work)


class Quotes:
    """The quotes of this moment, for prices such as `@ mid`. There are no rows to refer to."""

    def __init__(self, quotes: dict[str, tuple[Decimal, Decimal]]) -> None:
        self._quotes = quotes

    @classmethod
    async def now(cls, runtime: RuntimeInfo) -> Quotes:
        """Listens to the market bus until each symbol was quoted, `QUOTES_S` at most."""
        link = RemoteLink(runtime)
        quotes: dict[str, tuple[Decimal, Decimal]] = {}
        complete = asyncio.Event()

        def take(event: AnyEvent | MarketFrame) -> None:
            if not isinstance(event, MarketFrame):
                return
            feed = event.feed
            for symbol, bid, ask in zip(feed.symbols, feed.bid, feed.ask, strict=True):
                if bid > 0 and ask > 0:
                    quotes[symbol] = Decimal(repr(float(bid))), Decimal(repr(float(ask)))
            if len(quotes) == len(feed.symbols):
                complete.set()

        stop = link.listen(take)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUOTES_S):
                await complete.wait()
        stop()
        await link.close()
        return cls(quotes)

    def order_at(self, row: int) -> str | None:  # noqa: ARG002 the grammar's word for it
        return None

    def quote(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        return self._quotes.get(symbol)


async def carry_out(
    link: RemoteLink, command: AnyCommand, style: Format, timeout_s: float, wait_s: float
) -> int:
    """Send one command, print what was answered, and answer the exit code."""
    try:
        ack = await link.request(command, timeout_s=timeout_s)
    except NotSent as error:
        return fail(str(error), UNAVAILABLE)
    except LinkError as error:
        return fail(f"{error}; look at it with trading-console status", UNKNOWN)
    order = ack.order
    if order is not None and wait_s > 0 and ack.outcome is not Outcome.REFUSED:
        order, trail = await _settled(link, order, wait_s, timeout_s)
        ack = replace(ack, trail=trail or ack.trail)
    code = exit_code(command, ack, order)
    if style is Format.JSON:
        print_json(ack_document(ack, order, code))
    else:
        _print_ack(ack, order)
    return code


async def _settled(
    link: RemoteLink, order: OrderView, wait_s: float, timeout_s: float
) -> tuple[OrderView, TrailView | None]:
    """The order once it is final, or as it stands after `wait_s`, and its trailing leg."""
    trail = None
    deadline = asyncio.get_running_loop().time() + wait_s
    while not order.state.is_final:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            break
        await asyncio.sleep(min(POLL_S, left))
        command = GetOrder(order_id=order.client_order_id, source="cli")
        try:
            ack = await link.request(command, timeout_s=min(timeout_s, max(left, 1.0)))
        except LinkError as error:
            say(str(error))
            break
        order, trail = ack.order or order, ack.trail
    return order, trail


def exit_code(command: AnyCommand, ack: Ack, order: OrderView | None) -> int:
    """0 accepted, 1 refused or ended without a fill, 75 in doubt."""
    if ack.outcome is Outcome.REFUSED:
        return REFUSED
    if order is None:
        return UNKNOWN if ack.outcome is Outcome.UNKNOWN else OK
    match order.state:
        case OrderState.REFUSED | OrderState.REJECTED:
            return REFUSED
        case OrderState.UNKNOWN | OrderState.SENDING:
            return UNKNOWN
        case OrderState.CANCELED | OrderState.EXPIRED if isinstance(command, SubmitOrder):
            return OK if order.filled_qty else REFUSED
        case _:
            return OK


def ack_document(ack: Ack, order: OrderView | None, code: int) -> dict[str, Any]:
    """`order --format json`: the order's own fields, and beside them what was said to it."""
    document: dict[str, Any] = plain(order) if order is not None else {}
    document |= {
        "outcome": ack.outcome,
        "message": ack.message,
        "refusals": ack.refusals,
        "exit_code": code,
    }
    if ack.orders:
        document["orders"] = ack.orders
    if ack.risk is not None:
        document["risk"] = ack.risk
    if ack.trail is not None:
        document["trailing_leg"] = ack.trail
    return document


def _print_ack(ack: Ack, order: OrderView | None) -> None:
    for refusal in ack.refusals:
        remedy = f"; {refusal.remedy}" if refusal.remedy else ""
        say(
            f"refused by {refusal.check}: {refusal.message} "
            f"(limit {refusal.limit}, value {refusal.value}){remedy}"
        )
    if ack.outcome is Outcome.REFUSED:
        if not ack.refusals:
            say(ack.message or "refused")
        return
    if order is not None:
        print(f"{order_line(order)}  ({harmless(order.client_order_id)})")
    if ack.trail is not None:
        print(f"  {harmless(ack.trail.text)}")
    for other in ack.orders:
        print(f"{order_line(other)}  ({harmless(other.client_order_id)})")
    if ack.risk is not None and order is None:
        print(risk_text(ack.risk))
    elif order is None and not ack.orders:
        print(harmless(ack.message or ack.outcome.value))
    if ack.outcome is Outcome.UNKNOWN:
        say(ack.message or "its outcome at the broker is not known yet")


def risk_text(report: RiskReport) -> str:
    """The risk report of a preview, one line."""
    fields = {
        "qty": report.qty,
        "price": report.price,
        "notional": report.notional,
        "% of equity": report.equity_pct,
        "buying power after": report.buying_power_after,
        "spread cost": report.spread_cost,
        "loss at stop": report.loss_at_stop,
        "largest allowed": report.max_qty,
    }
    said = [f"{name} {number(value)}" for name, value in fields.items() if value is not None]
    notes = [f"warning: {warning.message}" for warning in report.warnings]
    return ", ".join([f"passes {report.checks_run} checks", *said, *notes])
