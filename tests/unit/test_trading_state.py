"""The trading state while its rows are on their way to the disk, or never get there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import msgspec
import pytest

from console.engine import journal as journal_module
from console.engine.books import Books
from console.engine.clocks import SYSTEM_CLOCKS, MarketClock
from console.engine.events import Event
from console.engine.journal import Journal
from console.engine.risk import Gatekeeper
from console.engine.state import TradingState
from console.engine.tradingstate import SUBJECT, TradingStateLatch

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


class Gate:
    """Remembers what it was told last."""

    state: TradingState | None = None

    def trading_state_changed(self, state: TradingState, reason: str) -> None:
        self.state = state

    def order_changed(self, *_: object) -> None: ...

    def position_changed(self, *_: object) -> None: ...

    def filled(self, *_: object) -> None: ...


class Bench:
    """A latch on a real journal, whose disk can hang."""

    def __init__(self, state_dir: Path) -> None:
        self.journal = Journal.open(state_dir)
        self.gate = Gate()
        self.events: list[Event] = []
        self.books = Books(
            self.journal,
            self.events.append,
            self.gate,
            SYSTEM_CLOCKS,
            MarketClock(),
            lambda _reason: None,
        )
        gate: Gatekeeper = self.gate  # type: ignore[assignment]
        self.latch = TradingStateLatch(self.books, gate, self.events.append)
        self._append = self.books.set_standing
        self.hanging: list[tuple[Future[int], tuple[object, ...], dict[str, object]]] = []

    def hang(self) -> None:
        """From now on rows lie before the disk."""

        def held(*row: object, **options: object) -> Future[int]:
            future: Future[int] = Future()
            future.set_running_or_notify_cancel()
            self.hanging.append((future, row, options))
            return future

        self.books.set_standing = held  # type: ignore[method-assign, assignment]

    def go_on(self) -> None:
        """The disk takes all that lies before it, in its order, and what comes."""
        self.books.set_standing = self._append  # type: ignore[method-assign]
        for future, row, options in self.hanging:
            future.set_result(self._append(*row, **options).result(5))  # type: ignore[arg-type]
        self.hanging.clear()

    async def on_disk(self) -> TradingState:
        await self.journal.settled()
        row = self.journal.latest(SUBJECT)
        assert row is not None
        return TradingState(msgspec.json.decode(row.body)["state"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state")
    yield bench
    bench.go_on()
    bench.journal.close()


async def resuming(bench: Bench, state: TradingState = ACTIVE) -> asyncio.Task[object]:
    """A person's resume whose row is on its way."""
    task = asyncio.create_task(bench.latch.asked(state, "", "keyboard"))
    await asyncio.sleep(0)
    assert bench.hanging
    return task


@pytest.mark.parametrize("held", [REDUCING, HALTED])
@pytest.mark.parametrize("source", ["flatten", "risk", "broker"])
async def test_a_halt_that_comes_while_a_resume_is_written_holds(bench, held, source):
    await bench.latch.asked(held, "before", "keyboard")
    bench.hang()
    resume = await resuming(bench)
    assert bench.latch.tightens(HALTED)
    halt = asyncio.create_task(bench.latch.asked(HALTED, "now", source))
    await asyncio.sleep(0)
    bench.go_on()
    refusal = await resume
    assert await halt is None
    assert refusal is not None
    assert "it was tightened meanwhile" in refusal.message
    assert bench.latch.state is bench.gate.state is HALTED
    assert await bench.on_disk() is HALTED
    assert await bench.latch.asked(ACTIVE, "", "keyboard") is None
    assert bench.latch.state is await bench.on_disk() is ACTIVE


async def test_a_looser_demand_than_what_holds_still_keeps_a_resume_from_undoing_it(bench):
    await bench.latch.asked(HALTED, "before", "keyboard")
    bench.hang()
    resume = await resuming(bench)
    assert bench.latch.tightens(REDUCING)
    await bench.latch.asked(REDUCING, "the books differ", "reconcile")
    bench.go_on()
    assert await resume is not None
    assert bench.latch.state is await bench.on_disk() is HALTED


async def test_two_that_resume_at_once_are_no_tightening(bench):
    await bench.latch.asked(HALTED, "before", "keyboard")
    bench.hang()
    first = await resuming(bench, REDUCING)
    second = asyncio.create_task(bench.latch.asked(ACTIVE, "", "cli"))
    await asyncio.sleep(0)
    bench.go_on()
    assert (await first, await second) == (None, None)
    assert bench.latch.state is await bench.on_disk() is ACTIVE


async def test_a_disk_that_hangs_keeps_nobody_from_tightening(bench, monkeypatch):
    monkeypatch.setattr(journal_module, "DISK_PATIENCE_S", 0.01)
    bench.hang()
    async with asyncio.timeout(5):
        assert await bench.latch.asked(HALTED, "now", "risk") is None
    assert bench.latch.state is bench.gate.state is HALTED


async def test_a_resume_on_a_disk_that_hangs_is_refused_and_does_not_stand_later(
    bench, monkeypatch
):
    monkeypatch.setattr(journal_module, "DISK_PATIENCE_S", 0.01)
    await bench.latch.asked(HALTED, "before", "keyboard")
    bench.hang()
    async with asyncio.timeout(5):
        refusal = await bench.latch.asked(ACTIVE, "", "keyboard")
    assert refusal is not None
    assert refusal.check == "journal"
    bench.go_on()
    assert bench.latch.state is await bench.on_disk() is HALTED
