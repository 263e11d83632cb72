"""Orders under randomly chosen faults, then the books compared: `make soak ARGS="--orders 10000"`.

An engine in a process of its own trades on an exchange through a line that is cut, stalled and
reset; the exchange refuses, delays and loses answers and updates; the engine is killed with −9 on
the way and starts again. At the end of each round everything is let through, orders in doubt that
the exchange doesn't know are settled as a person would, and the books must agree: no order twice,
none lost, every fill counted once, the journal whole.

A round is chosen by its seed, which is printed; `--seed N --rounds 1` chooses the same again. How
the processes interleave is not chosen by it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
import traceback
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from console.broker.errors import BrokerError, BrokerNotFound
from console.broker.session import BrokerSession
from console.engine.commands import (
    Ack,
    AnyCommand,
    CancelAll,
    CancelOrder,
    ClosePosition,
    GetState,
    Level,
    Outcome,
    Reconcile,
    ReplaceOrder,
    SettleOrder,
    SubmitOrder,
)
from console.engine.state import EngineView, OrderClass, OrderState, OrderType, Side, TimeInForce
from console.services import sample_dir
from signal_bridge import Service
from tests.faults import proxy as lines
from tests.faults.harness import (
    LIMIT_S,
    Bench,
    Child,
    Other,
    Replay,
    assert_books_agree,
    child_settings,
)
from tests.faults.trailing import at_rest

SYMBOLS = ("IBM", "SPY", "BAC", "AIG")
ORDERS_A_ROUND = 200
PAUSE_S = 0.02
PATIENCE_S = 0.2
"""How long an answer is waited for before the next command; one in doubt takes its time."""
UNDER_WAY = 24
"""Commands without an answer at once; then the round waits for one."""
SETTINGS = (
    "broker.read_timeout_s=0.8",
    "broker.connect_timeout_s=0.5",
    "broker.updates_stale_s=1.0",
    "engine.reconcile_every_s=5",
    "risk.duplicate_window_s=0",
    "risk.max_orders_per_minute=100000",
    "risk.max_open_orders=1000",
    "risk.max_daily_loss_pct=50",
    "risk.max_drawdown_pct=50",
)
CRASH_POINTS = (
    "before-sending-commit", "between-commit-and-post", "between-post-and-ack", "mid-fill",
)  # fmt: skip


@dataclass
class Tally:
    """What a round did and found."""

    seed: int
    asked: int = 0
    taken: int = 0
    """Orders that were not refused: the broker has them, or may."""
    accepted: int = 0
    at_exchange: int = 0
    filled: int = 0
    settled: int = 0
    starts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {self.taken} orders taken, {self.at_exchange} at the exchange, "
            f"{self.filled} filled, {self.settled} settled by hand, {self.starts} starts; "
            f"{self.faults.total()} faults ({faults}); books equal after {self.seconds:.1f} s"
        )


class Round:
    """One account, one journal, one seed."""

    def __init__(self, seed: int, orders: int, folder: Path) -> None:
        self.tally = Tally(seed)
        self._random = random.Random(seed)
        self._orders = orders
        self._state_dir = folder / "state"
        self._exchange = Service.start(
            "paper-exchange",
            json.dumps({
                "host": "127.0.0.1", "port": 0, "data_dir": str(sample_dir()),
                "state_dir": str(folder / "exchange"), "speed": 60, "seed": seed & 0xFFFF,
                "partial_fills": True, "close_pause_s": 0.1, "control": True, "paused": True,
            }),
            timeout_s=LIMIT_S,
        )  # fmt: skip
        self._port = self._exchange.ports["exchange"]
        self._other = Other(BrokerSession(child_settings(self._state_dir, ()).endpoint(self._port)))
        self._known: list[str] = []
        self._accepted: set[str] = set()
        self._acks: dict[str, asyncio.Future[Ack | None]] = {}
        self._child: Child | None = None
        self._ear: asyncio.Task[None] | None = None
        self._undo: list[Callable[[], None]] = []

    # -- the exchange and its line ------------------------------------------------------------

    async def _call(self, **command: Any) -> None:
        await asyncio.to_thread(self._exchange.call, json.dumps(command))

    async def _inject(self, **plan: Any) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/_exchange/faults",
            data=json.dumps(plan).encode() if plan else None,
            method="POST" if plan else "DELETE",
        )
        (await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)).close()

    # -- the engine ---------------------------------------------------------------------------

    async def _start(self, crash_at: str | None = None) -> None:
        self.tally.starts += 1
        self._child = await Child.start(
            self._proxy.port, self._state_dir, *SETTINGS, crash_at=crash_at
        )
        self._ear = asyncio.create_task(self._hear(self._child))

    async def _hear(self, child: Child) -> None:
        """Answers, until the engine is gone, maybe within one; then none is awaited of it."""
        assert child.process.stdout is not None
        while (line := await child.process.stdout.readline()).endswith(b"\n"):
            ack = msgspec.json.decode(line, type=Ack)
            answer = self._acks.pop(ack.id, None)
            if answer is not None and not answer.done():
                answer.set_result(ack)
        for answer in self._acks.values():
            if not answer.done():
                answer.set_result(None)
        self._acks.clear()

    async def _send(self, command: AnyCommand) -> asyncio.Future[Ack | None]:
        if self._ear is None or self._ear.done():
            await self._again()
        assert self._child is not None
        answer: asyncio.Future[Ack | None] = asyncio.get_running_loop().create_future()
        self._acks[command.id] = answer
        with contextlib.suppress(ConnectionError):
            await self._child.send(command)
        return answer

    async def _again(self) -> None:
        """It has died: the next one takes over."""
        assert self._child is not None
        assert self._ear is not None
        await self._child.died()
        await self._ear
        self._let_through()
        await self._start()

    async def _wait(self, answer: asyncio.Future[Ack | None]) -> Ack | None:
        async with asyncio.timeout(LIMIT_S):
            return await answer

    async def _view(self) -> EngineView | None:
        ack = await self._wait(await self._send(GetState()))
        return None if ack is None else ack.state

    # -- what is asked of it ------------------------------------------------------------------

    async def _ready(self) -> None:
        """Give it a moment to take orders again; what keeps it from that is let through."""
        for moment in range(40):
            view = await self._view()
            if view is not None and view.ready:
                return
            if moment > 10 and self._undo:
                self._undo.pop()()
            await asyncio.sleep(PAUSE_S)

    async def _order(self) -> None:
        if self._random.random() < 0.9:
            await self._ready()
        pick, number = self._random, self.tally.asked
        self.tally.asked += 1
        symbol = pick.choice(SYMBOLS)
        name = f"soak-{self.tally.seed}-{number}"
        command = SubmitOrder(
            symbol=symbol,
            side=pick.choice((Side.BUY, Side.BUY, Side.SELL)),
            qty=Decimal(pick.randint(1, 20)),
            client_order_id=name,
            time_in_force=pick.choice((TimeInForce.DAY, TimeInForce.GTC)),
        )
        kind = pick.random()
        price = await self._price(symbol)
        if kind < 0.45:
            change: dict[str, Any] = {"time_in_force": TimeInForce.DAY}
        elif kind < 0.9:
            away = Decimal(pick.choice((-200, -20, -2, 0, 2))) / 10_000
            limit = price * (1 + (away if command.side is Side.BUY else -away))
            change = {"order_type": OrderType.LIMIT, "limit_price": limit.quantize(Decimal("0.01"))}
        else:
            up, down = Level(percent=Decimal(2)), Level(percent=Decimal(-1))
            change = {
                "order_class": OrderClass.BRACKET,
                "take_profit": up if command.side is Side.BUY else Level(percent=Decimal(-2)),
                "stop_loss": down if command.side is Side.BUY else Level(percent=Decimal(1)),
            }
            if number % 2:
                change["stop_loss"] = Level(trail_percent=Decimal("0.3"))
        self._known.append(name)
        answer = await self._send(msgspec.structs.replace(command, **change))
        answer.add_done_callback(lambda done: self._note(name, done.result()))
        if len(self._acks) > UNDER_WAY:
            await self._wait(answer)
        elif pick.random() < 0.4:
            await asyncio.wait([answer], timeout=PATIENCE_S)

    def _note(self, name: str, ack: Ack | None) -> None:
        if ack is None or ack.outcome is not Outcome.REFUSED:
            self.tally.taken += 1
        if ack is not None and ack.outcome is Outcome.ACCEPTED:
            self._accepted.add(name)

    async def _price(self, symbol: str) -> Decimal:
        """The touch, asked past the line that is hurt."""
        quotes = await self._other.ask(lambda s: s.latest_quotes([symbol]))
        return Decimal(str(quotes[symbol]["bp"]))

    async def _cancel(self) -> None:
        if self._known:
            await self._send(CancelOrder(client_order_id=self._random.choice(self._known[-12:])))

    async def _cancel_all(self) -> None:
        await self._send(CancelAll(symbol=self._random.choice((None, *SYMBOLS))))

    async def _replace(self) -> None:
        if self._known:
            name = self._random.choice(self._known[-12:])
            qty = Decimal(self._random.randint(1, 25))
            await self._send(ReplaceOrder(client_order_id=name, qty=qty))

    async def _close(self) -> None:
        await self._send(ClosePosition(symbol=self._random.choice(SYMBOLS)))

    async def _play(self) -> None:
        await self._call(step_s=self._random.choice((1, 5, 20)))

    # -- what is done to it -------------------------------------------------------------------

    async def _answer_lost(self) -> None:
        method, path = self._random.choice(
            (("POST", "/v2/orders"), ("POST", "/v2/orders"), ("PATCH", "/v2/orders"),
             ("DELETE", "/v2/orders"), ("GET", "/v2/orders"), ("GET", "/v2/account"))
        )  # fmt: skip
        status = self._random.choice((429, 500, 503, 504))
        after = status != 429 and self._random.random() < 0.6
        plan = {"method": method, "path": path, "status": status, "after": after}
        await self._inject(requests=[plan | {"count": self._random.randint(1, 2)}])

    async def _answer_cut(self) -> None:
        plan = {"method": "POST", "path": "/v2/orders", "cut": True, "count": 1}
        await self._inject(requests=[plan])

    async def _late(self) -> None:
        plan = {"method": "POST", "path": "/v2/orders", "delay_ms": self._random.randint(50, 400)}
        await self._inject(requests=[plan | {"count": 3}])

    async def _stall(self) -> None:
        treatment = self._random.choice(
            (
                lines.HOLD,
                lines.SWALLOW,
                lines.RESET,
                lines.reset_after(self._random.randint(1, 300)),
            )
        )
        method = self._random.choice((b"POST", b"POST", b"PATCH", b"DELETE", b"GET"))
        self._proxy.on(method + b" /v2/orders", treatment)

    async def _cut(self) -> None:
        self._proxy.cut()
        self._undo.append(lambda: setattr(self._proxy, "open", True))

    async def _reset_all(self) -> None:
        self._proxy.reset_all()

    async def _deaf(self) -> None:
        self._proxy.deaf = True
        self._undo.append(lambda: setattr(self._proxy, "deaf", False))

    async def _updates(self) -> None:
        await self._inject(updates=self._random.choice(("mute", "duplicate", "reorder", "none")))

    async def _updates_lost(self) -> None:
        await self._inject(drop_updates=self._random.randint(1, 4))

    async def _disconnect(self) -> None:
        await self._inject(disconnect=True)

    async def _kill(self) -> None:
        assert self._child is not None
        if self._child.process.returncode is None:
            self._child.kill()
        await self._again()

    async def _crash_at(self) -> None:
        assert self._child is not None
        if self._child.process.returncode is None:
            self._child.kill()
        await self._child.died()
        assert self._ear is not None
        await self._ear
        self._let_through()
        await self._start(self._random.choice(CRASH_POINTS))

    async def _elsewhere(self) -> None:
        """Another program trades on the account."""
        with contextlib.suppress(Exception):
            await self._other.submit(
                client_order_id=f"other-{self._random.getrandbits(64):x}",
                symbol=self._random.choice(SYMBOLS),
                qty=str(self._random.randint(1, 5)),
            )

    def _let_through(self) -> None:
        self._proxy.open, self._proxy.deaf = True, False
        self._undo.clear()

    # -- the round ----------------------------------------------------------------------------

    async def run(self) -> Tally:
        """Raises AssertionError where a promise is broken."""
        began = time.monotonic()
        self._proxy = await lines.Proxy(self._port).start()
        try:
            await self._call(step_s=330)
            await self._start()
            await self._storm()
            await self._calm()
            await self._compare()
        finally:
            await self._end()
        self.tally.seconds = time.monotonic() - began
        return self.tally

    async def _storm(self) -> None:
        doings: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._order, 60), (self._play, 14), (self._cancel, 8), (self._replace, 8),
            (self._cancel_all, 2), (self._close, 3),
        ]  # fmt: skip
        faults: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._answer_lost, 30), (self._answer_cut, 8), (self._late, 8), (self._stall, 20),
            (self._cut, 6), (self._reset_all, 8), (self._deaf, 4), (self._updates, 12),
            (self._updates_lost, 12), (self._disconnect, 8), (self._kill, 5), (self._crash_at, 5),
            (self._elsewhere, 10),
        ]  # fmt: skip
        while self.tally.taken < self._orders and self.tally.asked < 5 * self._orders:
            if self._random.random() < 0.2:
                fault = self._chosen(faults)
                self.tally.faults[fault.__name__.strip("_").replace("_", " ")] += 1
                await fault()
            elif self._undo and self._random.random() < 0.3:
                self._undo.pop()()
            else:
                await self._chosen(doings)()
            if self._random.random() < 0.04:
                await self._settle()

    def _chosen(
        self, table: list[tuple[Callable[[], Awaitable[None]], int]]
    ) -> Callable[[], Awaitable[None]]:
        return self._random.choices([row[0] for row in table], [row[1] for row in table])[0]

    async def _settle(self) -> None:
        """As a person does who looks at the exchange: what it doesn't have never arrived."""
        view = await self._view()
        for order in () if view is None else view.orders:
            if order.state is OrderState.UNKNOWN:
                name = order.client_order_id
                try:
                    await self._other.ask(lambda s, name=name: s.order_by_client_id(name))
                except BrokerNotFound:
                    self.tally.settled += 1
                    await self._send(SettleOrder(client_order_id=name, outcome="rejected"))
                except BrokerError:
                    # A fault that was meant for the engine.
                    continue

    async def _calm(self) -> None:
        """Everything is let through again, and the engine has the time that it takes."""
        self._let_through()
        self._proxy.forget()
        await self._inject()
        deadline = time.monotonic() + LIMIT_S
        while True:
            for answer in list(self._acks.values()):
                await self._wait(answer)
            view = await self._view()
            if view is not None and view.ready:
                await self._settle()
                view = await self._view()
            unclear = (OrderState.UNKNOWN, OrderState.SENDING)
            if (
                view is not None
                and view.ready
                and not any(order.state in unclear for order in view.orders)
            ):
                return
            assert time.monotonic() < deadline, f"it does not come to rest: {view}"
            await self._wait(await self._send(Reconcile()))

    async def _compare(self) -> None:
        assert self._child is not None
        assert await self._child.stop() == 0
        assert self._ear is not None
        await self._ear
        bench = Bench(
            child_settings(self._state_dir, SETTINGS),
            self._port,
            replay=Replay(lambda **command: json.loads(self._exchange.call(json.dumps(command)))),
        )
        await bench.start()
        try:
            await at_rest(bench)
            theirs = await assert_books_agree(bench, self._other)
        finally:
            await bench.stop()
        names = [order["client_order_id"] for order in theirs]
        lost = self._accepted - set(names)
        assert not lost, f"the broker was said to have {sorted(lost)}, and has not"
        self.tally.accepted = len(self._accepted)
        self.tally.at_exchange = len(theirs)
        self.tally.filled = sum(order["status"] == "filled" for order in theirs)

    async def _end(self) -> None:
        if self._child is not None:
            with contextlib.suppress(Exception):
                await self._child.stop()
        if self._ear is not None:
            self._ear.cancel()
            await asyncio.gather(self._ear, return_exceptions=True)
        await self._proxy.stop()
        self._other.session.close()
        await asyncio.to_thread(self._exchange.stop, timeout_s=LIMIT_S)


async def soak(seed: int, orders: int, folder: Path) -> Tally:
    """One round. Raises AssertionError where a promise is broken."""
    return await Round(seed, orders, folder).run()


def main(arguments: list[str] | None = None) -> int:
    """Rounds until so many orders were taken; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000, help="in all (2000)")
    parser.add_argument("--a-round", type=int, default=ORDERS_A_ROUND, help="orders a round")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; else by chance")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().getrandbits(31)
    print(f"first seed {seed}", flush=True)
    left, at_exchange, faults, failed = given.orders, 0, 0, 0
    while left > 0:
        count = min(given.a_round, left)
        left -= count
        with tempfile.TemporaryDirectory() as folder:
            try:
                tally = asyncio.run(soak(seed, count, Path(folder)))
            except Exception as error:  # a round that fails is told, and the next one goes on
                failed += 1
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
                print(f"seed {seed}: FAILED, {type(error).__name__}: {error}", flush=True)
            else:
                at_exchange += tally.at_exchange
                faults += tally.faults.total()
                print(tally, flush=True)
        seed += 1
    print(
        f"{given.orders} orders wanted, {at_exchange} at the exchange, {faults} faults; "
        f"{failed} rounds failed" + (": look at their seeds" if failed else ": 0 lost, 0 double"),
        flush=True,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
