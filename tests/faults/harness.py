"""What the fault tests and the soak share: an engine in this process, one in a process of its own,
the account as another program sees it, and the one question after every fault.

    bench = await Bench(settings, exchange.port).start()     # an engine here, and all that it says
    ack = await bench.filled("buy 10 IBM")
    child = await Child.start(exchange.port, state_dir, crash_at="mid-fill")   # one to be killed
    await child.ask("buy 10 IBM"); await child.died()
    await assert_books_agree(bench, other, orders=1)         # after each fault

As a program (`python -m tests.faults.harness SPEC`) it is the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from console.engine.clocks import SYSTEM_CLOCKS, Clocks, ReplayStatus, parse_time
from console.engine.commands import Ack, AnyCommand, Outcome, decode_command, encode
from console.engine.engine import Engine
from console.engine.events import Noticed, OrderFilled
from console.engine.grammar import parse_line
from console.engine.journal_files import inspect
from console.engine.orders import STATUSES, decimal_of
from console.engine.state import OrderState, OrderView, TradingState

if TYPE_CHECKING:
    from console.broker.session import BrokerSession
    from console.config import Settings
    from signal_bridge import FeedReceiver

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 30.0
"""How long any wait here may take."""

in_two_fills = pytest.mark.parametrize(
    "exchange_options", [{"partial_fills": True, "seed": 9}], ids=["two-fills"]
)
"""On this exchange the first order, if it is for ten shares of IBM at the market, fills in two
parts: one at once, the other some market seconds later.
"""


class Replay:
    """The replay control of an exchange in this process, as the engine wants it."""

    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
        self._call = call

    def control(
        self,
        *,
        paused: bool | None = None,
        speed: float | None = None,
        step_s: float | None = None,
    ) -> ReplayStatus:
        wanted = {"pause": paused, "speed": speed, "step_s": step_s}
        answer = self._call(**{k: v for k, v in wanted.items() if v is not None} or {"clock": True})
        return ReplayStatus(
            market_time=parse_time(answer["market_time"]),
            speed=float(answer["speed"]),
            paused=bool(answer["paused"]),
            is_open=bool(answer["is_open"]),
        )


class HandClocks:
    """The machine's clocks with a hand on them: ages and wall time move when they are told to.

    Pauses that the engine makes by its clock (the look-ups' intervals) pass at once and count as
    time that has passed; `pauses` says which were asked for.
    """

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._wall_ahead_s = 0.0
        self.pauses: list[float] = []
        self.clocks = Clocks(self.monotonic, self.wall_ns, self.sleep)

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead_s

    def wall_ns(self) -> int:
        return time.time_ns() + int(self._wall_ahead_s * 1e9)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """So much time has passed, by every clock."""
        self._ahead_s += seconds
        self._wall_ahead_s += seconds

    def set_wall(self, seconds: float) -> None:
        """Somebody has set the wall clock so much ahead (or back); no time has passed."""
        self._wall_ahead_s += seconds


class Bench:
    """One engine in this process, everything that it said, and short ways to ask it.

    `updates_port` is where its trade updates come from, when they take another way (a proxy).
    """

    def __init__(
        self,
        settings: Settings,
        port: int,
        *,
        replay: Replay | None = None,
        feed: FeedReceiver | None = None,
        updates_port: int | None = None,
        host: str = "127.0.0.1",
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        from console.broker.session import BrokerSession
        from console.broker.streams import TradeUpdates

        def endpoint(to: int) -> Any:
            url = f"http://{host}:{to}"
            return replace(settings.endpoint(to), trading_url=url, data_url=url, stream_url=url)

        self.events: list[Any] = []
        self.settings = settings
        self.session = BrokerSession(endpoint(port), clock=clocks.monotonic)
        self.engine = Engine(
            settings,
            session=self.session,
            updates=functools.partial(
                TradeUpdates, endpoint(updates_port or port), first_wait_s=0.05
            ),
            feed=feed,
            state_dir=settings.state_dir,
            replay=replay,
            clock=clocks,
        )
        self.engine.subscribe(self.events.append)

    async def start(self) -> Bench:
        await self.engine.start()
        return self

    async def stop(self) -> None:
        await self.engine.stop("the test is over")

    async def start_and_stop(self) -> None:
        await self.start()
        await self.stop()

    async def ask(self, line: str | AnyCommand, **fields: Any) -> Ack:
        """Hand a line of the grammar, or a command, to the engine."""
        async with asyncio.timeout(LIMIT_S):
            return await self.engine.handle(_command(line, **fields))

    async def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Wait for a true answer, looked at after each event."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LIMIT_S
        changed = asyncio.Event()
        end = self.engine.subscribe(lambda _event: changed.set())
        try:
            while not (answer := condition()):
                try:
                    async with asyncio.timeout_at(deadline):
                        await changed.wait()
                except TimeoutError:
                    raise TimeoutError(f"not within {LIMIT_S:g} s: {what or condition}") from None
                changed.clear()
            return answer
        finally:
            end()

    async def ready(self) -> None:
        await self.until(lambda: self.engine.view().ready, "ready")

    async def ended(self, names: set[str]) -> None:
        """Wait until those of the engine's own tasks have ended."""
        left = [task for task in self.engine._tasks if task.get_name() in names]
        if left:
            _, late = await asyncio.wait(left, timeout=LIMIT_S)
            assert not late, [task.get_name() for task in late]

    def order(self, client_order_id: str) -> OrderView:
        return next(o for o in self.engine.view().orders if o.client_order_id == client_order_id)

    async def until_state(self, client_order_id: str, *states: str) -> OrderView:
        await self.until(
            lambda: self.order(client_order_id).state.value in states,
            f"{client_order_id} in {states}",
        )
        return self.order(client_order_id)

    async def filled(self, line: str | AnyCommand) -> Ack:
        """Send an order and wait until it is filled and each of its executions was told."""
        ack = await self.ask(line)
        assert ack.order is not None, ack
        assert ack.outcome is not Outcome.REFUSED, ack.message
        order = await self.until_state(ack.order.client_order_id, "FILLED")
        await self.until(lambda: self.told_qty(order.client_order_id) == order.qty)
        return ack

    async def price(self, symbol: str) -> Decimal:
        """What a share costs at this moment."""
        ack = await self.ask(f"preview buy 1 {symbol}")
        assert ack.risk is not None
        assert ack.risk.price is not None
        return ack.risk.price

    async def resting(self, symbol: str = "IBM", qty: int = 10) -> OrderView:
        """A limit order that waits at the broker, two percent below the market."""
        below = (await self.price(symbol) * Decimal("0.98")).quantize(Decimal("0.01"))
        ack = await self.ask(f"buy {qty} {symbol} @ {below}")
        assert ack.order is not None, ack
        return await self.until_state(ack.order.client_order_id, "WORKING")

    def told_qty(self, client_order_id: str | None = None) -> Decimal:
        """The sum of the executions told, of one order or of all."""
        fills = self.said(OrderFilled)
        chosen = [e for e in fills if client_order_id in (None, e.client_order_id)]
        return sum((fill.qty for fill in chosen), Decimal(0))

    def position(self, symbol: str) -> Any:
        return next((p for p in self.engine.view().positions if p.symbol == symbol), None)

    def connection(self, name: str) -> Any:
        """The state of one connection: broker, updates, feed; None before it is known."""
        return next((c.state for c in self.engine.view().connections if c.name == name), None)

    def said(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def notices(self, topic: str) -> list[str]:
        """What a person was told about it (`topic` is the beginning)."""
        return [event.text for event in self.said(Noticed) if event.topic.startswith(topic)]


class Other:
    """The same account by another program: what the exchange truly holds, and its own orders."""

    def __init__(self, session: BrokerSession) -> None:
        self.session = session

    async def ask(self, call: Callable[[BrokerSession], Any]) -> Any:
        """`await other.ask(lambda s: s.positions())`."""
        return await asyncio.to_thread(call, self.session)

    async def orders(self) -> list[dict[str, Any]]:
        """All orders that the account ever had, legs among them."""
        found = await self.ask(lambda s: s.orders(status="all", nested=True))
        return [one for order in found for one in (order, *(order.get("legs") or ()))]

    async def submit(self, **fields: Any) -> dict[str, Any]:
        """An order that the engine knows nothing of."""
        order = {"type": "market", "time_in_force": "day", "side": "buy", **fields}
        answer: dict[str, Any] = await self.ask(lambda s: s.submit_order(order))
        return answer


class Child:
    """An engine in a process of its own; `await stop()` or `kill()` it, or let it die."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(
        cls, port: int, state_dir: Path, *values: str, crash_at: str | None = None
    ) -> Child:
        """Start it on the exchange at `port` and wait until its engine is started.

        `values` are settings such as `broker.read_timeout_s=1`; `crash_at` arms a crash point.
        """
        armed = {"TRADING_CONSOLE_CRASH_AT": crash_at, "TRADING_CONSOLE_TESTING": "1"}
        spec = {"port": port, "state_dir": str(state_dir), "values": values}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.harness", msgspec.json.encode(spec).decode(),
            cwd=ROOT,
            env=os.environ | (armed if crash_at else {}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )  # fmt: skip
        child = cls(process)
        assert await child._line() == b"started\n", "the child's engine does not start"
        return child

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            return await self.process.stdout.readline()

    async def send(self, line: str | AnyCommand) -> None:
        """Hand a line over without waiting for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(encode(_command(line)) + b"\n")
        await self.process.stdin.drain()

    async def ask(self, line: str | AnyCommand) -> Ack | None:
        """Its answer; None if it died before one."""
        await self.send(line)
        answer = await self._line()
        return msgspec.json.decode(answer, type=Ack) if answer else None

    def kill(self) -> None:
        """As by kill −9."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # `Process.kill` polls first, and so takes the exit status of one that has just died away
        # from the event loop, which then reports 255.
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    async def died(self) -> None:
        """Wait until it is gone; it must have been killed."""
        async with asyncio.timeout(LIMIT_S):
            assert await self.process.wait() == -signal.SIGKILL

    async def stop(self) -> int:
        """Let it end as by SIGTERM (its outcome is the exit code); kills it when it doesn't."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(LIMIT_S):
                return await self.process.wait()
        finally:
            self.kill()


async def assert_books_agree(
    bench: Bench,
    other: Other,
    *,
    orders: int | None = None,
    in_doubt: int = 0,
    trading_state: TradingState = TradingState.ACTIVE,
) -> list[dict[str, Any]]:
    """After a fault: the engine holds what the exchange holds, each once, and its journal is whole.

    Let the exchange stand still before. The engine has `LIMIT_S` to catch up by itself: it is not
    asked to reconcile. `orders` is how many there must be at the exchange in all, `in_doubt` how
    many the engine doesn't know the outcome of. Answers the exchange's orders.
    """
    theirs = await other.orders()
    positions = await other.ask(lambda s: s.positions())
    account = await other.ask(lambda s: s.account())
    twice = [i for i, count in Counter(o["client_order_id"] for o in theirs).items() if count > 1]
    assert not twice, f"more than one order of one id at the exchange: {twice}"
    if orders is not None:
        assert len(theirs) == orders, [(o["client_order_id"], o["status"]) for o in theirs]
    found: list[str] = []

    def agree() -> bool:
        found[:] = _differences(bench, theirs, positions, account, in_doubt)
        return not found

    try:
        await bench.until(agree)
    except TimeoutError:
        raise AssertionError("the books differ: " + "; ".join(found)) from None
    assert bench.engine.view().trading_state is trading_state, bench.engine.view().trading_reason
    await verify_journal(bench)
    return theirs


def _differences(
    bench: Bench,
    theirs: list[dict[str, Any]],
    positions: list[dict[str, Any]],
    account: dict[str, Any],
    in_doubt: int,
) -> list[str]:
    books = bench.engine._books
    view = bench.engine.view()
    found = []
    for payload in theirs:
        ours = books.find(payload["id"])
        filled = decimal_of(payload["filled_qty"]) or Decimal(0)
        wanted = STATUSES[payload["status"]]
        if wanted is OrderState.WORKING and filled:
            wanted = OrderState.PARTIAL
        if ours is None:
            found.append(f"{payload['client_order_id']} ({payload['status']}) is not known here")
            continue
        name = ours.client_order_id
        if (ours.state, ours.filled_qty) != (wanted, filled):
            found.append(f"{name}: {ours.state} {ours.filled_qty} here, {wanted} {filled} there")
        told = _told(bench, name)
        if (told or ours.source != "external") and told != filled:
            found.append(f"{name}: executions of {told} told, {filled} filled")
    ids = {payload["id"] for payload in theirs}
    doubtful = [o for o in view.orders if o.state is OrderState.UNKNOWN]
    if len(doubtful) != in_doubt:
        found.append(f"{len(doubtful)} orders in doubt instead of {in_doubt}: {doubtful}")
    for order in books.held_open():
        if order.id not in ids and order not in doubtful:
            found.append(f"{order.client_order_id}: {order.state} here, unknown there")
    held = {p.symbol: p.qty for p in view.positions}
    truly = {p["symbol"]: Decimal(str(p["qty"])) for p in positions}
    if held != truly:
        found.append(f"positions {held} here, {truly} there")
    cash = None if view.account is None else view.account.cash
    if cash != decimal_of(account["cash"]):
        found.append(f"cash {cash} here, {account['cash']} there")
    return found


def _told(bench: Bench, client_order_id: str) -> Decimal:
    """The sum of the executions in an order's story, told by this engine or one before it."""
    story = bench.engine._journal.story(client_order_id, 10_000)
    fills = [msgspec.json.decode(row.body)["fill"]["qty"] for row in story if row.kind == "fill"]
    return sum(map(Decimal, fills), Decimal(0))


async def verify_journal(bench: Bench) -> None:
    """The journal's chain is whole, by the file alone, and its newest rows are the books."""
    journal = bench.engine._journal
    await journal.settled()

    def look() -> Any:
        with contextlib.closing(sqlite3.connect(f"file:{journal.path}?mode=ro", uri=True)) as file:
            return inspect(file)

    verdict = await asyncio.to_thread(look)
    assert verdict.sound, verdict
    assert verdict.rows > 0
    for order in bench.engine._books.orders.values():
        row = journal.latest(order.client_order_id)
        assert row is not None, f"{order.client_order_id} has no row"
        written = msgspec.convert(msgspec.json.decode(row.body)["order"], OrderView)
        assert written == order


def _command(line: str | AnyCommand, **fields: Any) -> AnyCommand:
    return parse_line(line, **fields) if isinstance(line, str) else line


# -- the child -------------------------------------------------------------------------------------


def child_settings(state_dir: Path, values: tuple[str, ...]) -> Settings:
    """The demo with free ports."""
    from console.config import Overrides, load_settings

    names = ("market", "signal", "commands", "events", "risk", "exchange", "health")
    return load_settings(
        Overrides(
            values=(*(f"ports.{name}=0" for name in names), *values),
            state_dir=state_dir,
            environment={"XDG_CONFIG_HOME": str(state_dir / "no-config")},
        )
    )


async def _serve(port: int, state_dir: Path, values: tuple[str, ...]) -> None:
    """Commands from stdin, one a line, are carried out at once; answers go to stdout."""
    bench = Bench(child_settings(state_dir, values), port)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    await bench.start()
    print("started", flush=True)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def answer(command: AnyCommand) -> None:
        ack = await bench.ask(command)
        print(encode(ack).decode(), flush=True)

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            while line := await lines.readline():
                group.create_task(answer(decode_command(line)))

    serving = asyncio.create_task(serve())
    ending = asyncio.create_task(over.wait())
    await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
    await bench.stop()
    for task in (serving, ending):
        task.cancel()
    await asyncio.gather(serving, ending, return_exceptions=True)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1])
    asyncio.run(_serve(given["port"], Path(given["state_dir"]), tuple(given["values"])))
