"""The kill switch where the disk hangs, the broker won't cancel, or a person resumes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.broker.errors import BrokerUnavailable
from console.engine import flatten as flatten_module
from console.engine import journal as journal_module
from console.engine.books import Books
from console.engine.clocks import SYSTEM_CLOCKS, MarketClock
from console.engine.flatten import SUBJECT, KillSwitch, Step
from console.engine.journal import Journal
from console.engine.positions import bare_position
from console.engine.state import (
    OrderState,
    OrderType,
    OrderView,
    PositionView,
    Side,
    TimeInForce,
)

NOW = datetime(2013, 6, 3, 14, 0, tzinfo=UTC)
D = Decimal


class Gate:
    def order_changed(self, *_: object) -> None: ...

    def position_changed(self, *_: object) -> None: ...

    def filled(self, *_: object) -> None: ...


def order(client_order_id: str, source: str = "keyboard") -> OrderView:
    return OrderView(
        client_order_id=client_order_id,
        id=f"id-{client_order_id}",
        symbol="BAC",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        qty=D(1),
        limit_price=D(10),
        state=OrderState.WORKING,
        source=source,
        created_at=NOW,
        updated_at=NOW,
    )


class Bench:
    """A kill switch on real books, at a broker that fills at once and cancels nothing."""

    def __init__(self, state_dir: Path) -> None:
        self.journal = Journal.open(state_dir)
        self.books = Books(
            self.journal,
            lambda _event: None,
            Gate(),
            SYSTEM_CLOCKS,
            MarketClock(),
            lambda _reason: None,
        )
        self.did: list[str] = []
        self.silent = 0
        """How often the broker gives no answer to a cancellation."""
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.closing = asyncio.Event()
        self.switch = KillSwitch(
            self.books,
            self,  # type: ignore[arg-type]
            halt=self.halt,
            compare=self.compare,
            close=self.close,
            market_is_open=lambda: True,
        )
        self.books.positions["IBM"] = bare_position("IBM", D(10))

    async def halt(self, reason: str) -> None:
        self.did.append("halt")

    async def compare(self) -> None: ...

    async def cancel_all(self) -> None:
        self.did.append("cancel")
        if self.silent:
            self.silent -= 1
            raise BrokerUnavailable("no answer", remedy="")

    async def close(self, position: PositionView) -> OrderView:
        self.did.append(f"closing {position.symbol}")
        self.closing.set()
        await self.may_close.wait()
        self.did.append(f"closed {position.symbol}")
        del self.books.positions[position.symbol]
        return order("closing", "flatten")

    async def rows(self) -> list[dict[str, Any]]:
        await self.journal.settled()
        bodies = [msgspec.json.decode(row.body) for row in self.journal.rows()]
        return [body for body in bodies if "step" in body]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(flatten_module, "STEP_TIMEOUT_S", 0.02)
    monkeypatch.setattr(flatten_module, "RETRY_AFTER_S", 0.0)
    bench = Bench(tmp_path / "state")
    yield bench
    bench.journal.close()


async def test_an_order_that_is_not_canceled_does_not_keep_it_from_closing(bench):
    bench.books.record(order("stubborn"), "works")
    async with asyncio.timeout(10):
        text = await bench.switch.run("now")
    assert bench.did == ["halt", *["cancel"] * 4, "closing IBM", "closed IBM"]
    assert text == "not flat yet: 1 orders open (BAC)"
    rows = await bench.rows()
    assert [row["step"] for row in rows] == ["cancel", "close", "verify", "verify"]
    assert rows[1]["text"] == "not canceled: 1 orders open (BAC)"


async def test_it_waits_for_the_closing_orders_that_are_on_their_way_alone(bench, monkeypatch):
    monkeypatch.setattr(flatten_module, "STEP_TIMEOUT_S", 60.0)

    async def not_sent(position: PositionView) -> OrderView:
        return order("closing", "flatten")

    monkeypatch.setattr(bench.switch, "_close", not_sent)
    async with asyncio.timeout(10):
        assert await bench.switch.run("now") == "not flat yet: 10 IBM"
    bench.books.record(order("closing", "flatten"), "works")
    again = asyncio.create_task(bench.switch.run("again", Step.VERIFY))
    assert not await bench.books.until(again.done, 0.1)
    bench.books.positions.clear()
    bench.books.wake()
    async with asyncio.timeout(10):
        assert "verified flat" in await again


async def test_where_the_broker_does_not_answer_it_goes_on_insisting(bench):
    bench.silent = 20
    async with asyncio.timeout(10):
        assert "verified flat" in await bench.switch.run("now")
    assert bench.did.count("cancel") == 21


async def test_a_disk_that_hangs_does_not_keep_it_from_working(bench, monkeypatch):
    monkeypatch.setattr(journal_module, "DISK_PATIENCE_S", 0.01)

    def hang(*_: object, **__: object) -> Future[int]:
        return Future()

    monkeypatch.setattr(bench.books, "set_standing", hang)
    async with asyncio.timeout(10):
        assert "verified flat" in await bench.switch.run("now")


async def test_who_flattens_while_an_older_one_is_taken_up_halts_all_the_same(bench):
    bench.may_close.clear()
    resumed = asyncio.create_task(bench.switch.run("yesterday", Step.CLOSE))
    await bench.closing.wait()
    assert "halt" not in bench.did
    asked = asyncio.create_task(bench.switch.run("now"))
    await asyncio.sleep(0)
    assert bench.did == ["closing IBM", "halt"]
    bench.may_close.set()
    assert await resumed == await asked
    assert bench.did.count("closed IBM") == 1


async def test_who_resumes_ends_it_and_what_is_on_its_way_comes_to_its_outcome(bench):
    bench.may_close.clear()
    bench.books.positions["SPY"] = bare_position("SPY", D(4))
    running = asyncio.create_task(bench.switch.run("now"))
    await bench.closing.wait()
    await bench.switch.abandon("trading is ACTIVE by keyboard")
    given_up = (
        "given up: trading is ACTIVE by keyboard; 10 IBM is being closed, 4 SPY is not closed"
    )
    assert await running == given_up
    assert bench.switch.unfinished() is None
    bench.may_close.set()
    sent = list(bench.switch._closing)
    await asyncio.gather(*sent)
    assert bench.did == ["halt", "cancel", "closing IBM", "closed IBM"]
    rows = await bench.rows()
    assert rows[-1]["text"] == given_up
    assert not bench.journal.latest(SUBJECT).is_open
    assert "verified flat" in await bench.switch.run("again"), "it works anew"


async def test_where_nothing_is_left_unfinished_a_resume_writes_nothing(bench):
    await bench.switch.abandon("trading is ACTIVE by keyboard")
    assert await bench.rows() == []
