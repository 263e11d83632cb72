"""The face in lines: for a screen reader, a braille line, or a terminal that can't be painted.

Nothing moves and nothing is drawn. What happens is said once, in whole words, in one line each;
figures are said when they are asked for. Orders are the same lines as on the screen, and are
confirmed by `yes`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from console.engine import commands as c
from console.engine.events import Snapshot
from console.engine.grammar import GrammarError, parse_line
from console.engine.state import ConnectionState, OrderState, OrderView
from console.ui import format as text
from console.ui import words
from console.ui.lines import (
    Alert,
    Alerts,
    AlertsOff,
    AlertsShown,
    Export,
    FaceLine,
    forgotten,
    parse_face_line,
)
from console.ui.store import Fact, Store
from console.ui.widgets.orders import price_text, size_text

if TYPE_CHECKING:
    from console.engine.events import Event, MarketFrame
    from console.engine.link import Link

REQUEST_TIMEOUT_S = 20.0
MAX_LINES = 100
"""Typed ahead; further ones are dropped, and it is said."""
KILL_WORD = "flatten"
HELP = (
    "account, positions, orders, fills, quote SYMBOL, feed, risk, connections: says those figures.",
    "buy 100 IBM at 182.50, sell half SPY, close IBM, cancel 1, cancel all: asks, then does it.",
    "alert IBM rsi_14 > 70 tells you later; alert off forgets; export writes the session as files.",
    "halt, resume and flatten change trading; quit leaves.",
)
_SAID = (OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELED, OrderState.REPLACED)


class Plain:
    """See the module.

    Args:
        connect: makes the link; called on a thread, and what it raises is said.
        out: where lines are said.
        read_fd: the terminal that is typed at.
        confirm: as in [ui]: "all", "dangerous" or "none".
        stale_after_s: a quote of this age is called stale, and no order refers to it.
        export_dir: where exports go.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        *,
        out: TextIO,
        read_fd: int,
        mode: str = "",
        confirm: str = "all",
        stale_after_s: float = 15.0,
        export_dir: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = Store(mode=mode, monotonic=monotonic)
        self.alerts = Alerts()
        self._listed: list[str] = []
        """The orders by row as they were said last: a number means what was heard."""
        self._connect = connect
        self._out = out
        self._fd = read_fd
        self._confirm = confirm
        self._stale_after_s = stale_after_s
        self._export_dir = export_dir or Path.cwd()
        self._link: Link | None = None
        self._lines: deque[str] = deque()
        self._typed = asyncio.Event()
        self._ended = False
        self._rest = b""
        self._states: dict[str, object] = {}

    # -- life --------------------------------------------------------------------------------

    async def run(self) -> int:
        """Until `quit`, the end of what is typed, or `leave`. The exit code."""
        self.say(f"Trading console, {self.store.mode or 'connecting'}. Connecting.")
        try:
            self._link = await asyncio.to_thread(self._connect)
        except Exception as error:  # noqa: BLE001  whatever it is, a person must hear it
            self.say(f"No engine: {error}")
            return 1
        loop = asyncio.get_running_loop()
        unlisten = self._link.listen(self._on_event)
        loop.add_reader(self._fd, self._read)
        try:
            while True:
                line = await self._next()
                if line is None or line.lower() in ("quit", "exit"):
                    return 0
                if line:
                    await self._do(line)
        finally:
            loop.remove_reader(self._fd)
            unlisten()
            await self._link.close()
            self.say("Left.")

    def leave(self) -> None:
        """End `run`."""
        self._ended = True
        self._typed.set()

    def _read(self) -> None:
        part = os.read(self._fd, 4096)
        if not part:
            self.leave()
            return
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            if len(self._lines) < MAX_LINES:
                self._lines.append(line.decode("utf-8", "replace").strip())
            else:
                self.say("Too much was typed at once; the last line is dropped.")
        self._typed.set()

    async def _next(self) -> str | None:
        while not self._lines:
            if self._ended:
                return None
            self._typed.clear()
            await self._typed.wait()
        return self._lines.popleft()

    def say(self, line: str) -> None:
        """One line, at once."""
        self._out.write(line + "\n")
        self._out.flush()

    # -- what happens ------------------------------------------------------------------------

    def _on_event(self, event: Event | MarketFrame) -> None:
        orders = {key: order.state for key, order in self.store.orders.items()}
        before = {(notice.topic, notice.text) for notice in self.store.notices}
        facts = self.store.apply(event)
        newest = list(self.store.notices)[-1:]
        if isinstance(event, Snapshot):
            newest = [n for n in self.store.notices if (n.topic, n.text) not in before]
        for notice in newest if facts & Fact.NOTICES else ():
            head = {"error": "Error: ", "warning": "Warning: "}.get(notice.severity.value, "")
            self.say(f"{head}{notice.text}")
        if facts & Fact.ORDERS and not facts & Fact.SERVICES:  # not a snapshot
            for key, order in self.store.orders.items():
                if order.state in _SAID and orders.get(key) is not order.state:
                    self.say(f"{self._order(order)}.")
        if facts & Fact.MARKET:
            for alert, value in self.alerts.look(self.store):
                self.say(f"Alert: {alert.words}, now {value:.6g}.")
        self._say_if_new("link", self.store.phase.value, f"Engine {self.store.phase.value}.")
        state = self.store.trading_state.value
        why = f": {self.store.trading_reason}" if self.store.trading_reason else ""
        self._say_if_new("trading", state, f"Trading is {state}{why}.")
        if self.store.session is not None:
            word = "open" if self.store.is_open else "closed"
            self._say_if_new("market", word, f"The market is {word}.")
        for connection in self.store.connections.values():
            was = self._states.get(connection.name)
            if was is None and connection.state is ConnectionState.CONNECTED:
                self._states[connection.name] = connection.state
            said = f"{connection.name} {connection.state.value}. {connection.detail}".strip()
            self._say_if_new(connection.name, connection.state, said)

    def _say_if_new(self, what: str, state: object, line: str) -> None:
        if self._states.get(what) != state:
            self._states[what] = state
            self.say(line)

    # -- what is asked -----------------------------------------------------------------------

    async def _do(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        said = self._figures(word.lower(), rest.strip().upper())
        if said is not None:
            for sentence in said:
                self.say(sentence)
            return
        try:
            ours = parse_face_line(line, self.store)
            command = None if ours is not None else parse_line(line, self)
        except GrammarError as error:
            self.say(f"Not understood: {error}. Type help.")
            return
        if command is None:
            self._carry_out(ours)
        else:
            await self._command(command)

    def _figures(self, word: str, rest: str) -> Iterable[str] | None:
        match word:
            case "help" | "?":
                return HELP
            case "account" | "equity":
                return self._account()
            case "positions":
                return self._positions()
            case "orders":
                return self._orders()
            case "fills":
                return self._fills()
            case "quote":
                return (self._quote(rest),)
            case "feed":
                return tuple(self._quote(symbol) for symbol in self.store.rows) or ("No feed yet.",)
            case "connections":
                return self._connections()
            case "risk":
                return self._risk()
        return None

    def _account(self) -> Iterator[str]:
        account = self.store.account
        if account is None:
            yield "No account yet."
            return
        yield f"Equity {text.money(account.equity)}, today {text.signed_money(account.day_pl)}."
        yield f"Cash {text.money(account.cash)}, buying power {text.money(account.buying_power)}."

    def _positions(self) -> Iterator[str]:
        if not self.store.positions:
            yield "No positions."
        for p in self.store.positions.values():
            yield (
                f"{p.symbol}: {text.quantity(p.qty)} at {text.price(p.avg_entry_price)}, now "
                f"{text.price(p.current_price)}, profit {text.signed_money(p.unrealized_pl)}."
            )

    def _orders(self) -> Iterator[str]:
        orders = self.store.sorted_orders()[:20]
        self._listed = [order.client_order_id for order in orders]
        if not orders:
            yield "No orders."
        for row, order in enumerate(orders, start=1):
            reason = f": {order.reason}" if order.reason else ""
            yield f"{row}. {self._order(order)}{reason}."

    @staticmethod
    def _order(order: OrderView) -> str:
        kind = order.order_type.value.replace("_", " ")
        price = price_text(order)
        return (
            f"Order {order.side.value} {size_text(order)} {order.symbol} "
            f"{kind if price == 'mkt' else f'{kind} {price}'}, {order.state.value.lower()}"
        )

    def _fills(self) -> Iterator[str]:
        if not self.store.fills:
            yield "No fills."
        for fill in list(self.store.fills)[-20:]:
            yield (
                f"{text.clock(fill.at)} {fill.side.value} {text.quantity(fill.qty)} "
                f"{fill.symbol} at {text.price(fill.price)}."
            )

    def _quote(self, symbol: str) -> str:
        quote = self.store.quote(symbol)
        if quote is None:
            return f"No quote of {symbol or 'nothing; name a symbol'}."
        last = text.price(self.store.last(symbol))
        stale = ", stale" if quote.age > self._stale_after_s else ""
        return (
            f"{symbol}: last {last}, bid {text.price(quote.bid)}, ask {text.price(quote.ask)}, "
            f"{text.age(quote.age)}{stale}."
        )

    def _connections(self) -> Iterator[str]:
        now = self.store.now()
        for connection in self.store.connections.values():
            since = text.duration(now - connection.since)
            yield f"{connection.name} {connection.state.value} for {since}. {connection.detail}"

    def _risk(self) -> Iterator[str]:
        gross, net = self.store.exposure()
        yield f"Exposure {text.money(gross)}, net {text.money(net)}."
        risk = self.store.risk
        if risk is not None:
            yield (
                f"Drawdown {text.share(risk.drawdown_pct)}. A bad day loses "
                f"{text.money(risk.var_95)}, by 95 percent value at risk."
            )

    # -- commands ----------------------------------------------------------------------------

    def order_at(self, row: int) -> str | None:
        rows = self._listed or [o.client_order_id for o in self.store.sorted_orders()]
        return rows[row - 1] if 0 < row <= len(rows) else None

    def quote(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        found = self.store.quote(symbol)
        if found is None or found.age > self._stale_after_s:
            return None
        return Decimal(str(found.bid)), Decimal(str(found.ask))

    def _carry_out(self, line: FaceLine | None) -> None:
        match line:
            case Alert():
                if self.alerts.add(line):
                    self.say(f"Watching {line.words}.")
                else:
                    self.say("Too many alerts; alert off forgets them.")
            case AlertsOff(symbol):
                self.say(f"{forgotten(self.alerts.off(symbol)).capitalize()}.")
            case AlertsShown():
                words = self.alerts.in_words()
                self.say(f"{words[0].upper()}{words[1:]}.")
            case Export(folder):
                from console.ui.export import write

                try:
                    paths = write(self.store, folder or self._export_dir)
                except OSError as error:
                    self.say(f"Not exported: {error}.")
                else:
                    self.say(f"Exported {paths[0]} and {paths[1]}.")

    async def _command(self, command: c.AnyCommand) -> None:
        preview = isinstance(command, c.SubmitOrder) and command.preview
        if not preview and not await self._is_confirmed(command):
            self.say("Not done.")
            return
        ack = await self._request(command)
        self._say_answer(command, ack)

    async def _is_confirmed(self, command: c.AnyCommand) -> bool:
        dangerous = words.is_dangerous(command)
        harmless = isinstance(command, c.Reconcile | c.CancelOrder | c.ControlReplay)
        kill = isinstance(command, c.Flatten)
        asked = kill or (not harmless and (self._confirm == "all" or dangerous))
        if not asked or (self._confirm == "none" and not kill):
            return True
        if isinstance(command, c.SubmitOrder):
            preview = c.preview_of(command)
            checked = await self._request(preview)
            self._say_answer(preview, checked)
            refused = checked.outcome is c.Outcome.REFUSED
            if refused or (checked.risk is not None and not checked.risk.allowed):
                return False
        word = KILL_WORD if kill else "yes"
        self.say(f"{words.describe(command, self.store)}. Type {word} to do it.")
        answer = await self._next()
        return answer is not None and answer.lower() in ({word} if kill else {"yes", "y"})

    async def _request(self, command: c.AnyCommand) -> c.Ack:
        from console.engine.link import NotSent

        assert self._link is not None
        try:
            return await self._link.request(command, timeout_s=REQUEST_TIMEOUT_S)
        except NotSent as error:
            return c.Ack(id=command.id, outcome=c.Outcome.REFUSED, message=str(error))
        except Exception as error:  # noqa: BLE001  the person must learn that the outcome is open
            return c.Ack(id=command.id, outcome=c.Outcome.UNKNOWN, message=str(error))

    def _say_answer(self, command: c.AnyCommand, ack: c.Ack) -> None:
        submitted = isinstance(command, c.SubmitOrder) and not command.preview
        if submitted and ack.outcome is c.Outcome.ACCEPTED and ack.order is None:
            self.say("In doubt: the engine said yes but named no order. Type orders.")
        elif ack.outcome is c.Outcome.UNKNOWN:
            self.say(f"In doubt, do not repeat it: {ack.message}")
        elif ack.outcome is c.Outcome.REFUSED or (ack.risk is not None and not ack.risk.allowed):
            refusals = ack.refusals or (ack.risk.refusals if ack.risk is not None else ())
            for refusal in refusals:
                self.say(f"Refused by {refusal.check}: {refusal.message}. {refusal.remedy}")
            if not refusals:
                self.say(f"Refused: {ack.message}")
        elif ack.risk is not None and not submitted:
            figures = ", ".join(words.figures(ack.risk))
            most = f", at most {text.quantity(ack.risk.max_qty)}" if ack.risk.max_qty else ""
            self.say(f"{ack.risk.checks_run} checks passed: {figures}{most}.")
        else:
            self.say(words.outcome(command, ack, self.store))
