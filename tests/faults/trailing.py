"""What the tests of trailing legs share: how one stands, and a market that waits for it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from console.engine import lastprices, protection, trailvoice
from console.engine.commands import ControlReplay, Outcome
from console.engine.events import OrderChanged, TrailChanged
from console.engine.state import TrailPhase, TrailView
from console.engine.trail import STEP_PART
from tests.faults.harness import LIMIT_S, Bench, Other

TICK = Decimal("0.01")
NOTHING = Decimal(0)


def look_often(monkeypatch: Any) -> None:
    """Looks that are a moment apart: what they see is the same."""
    monkeypatch.setattr(protection, "TICK_S", 0.02)
    monkeypatch.setattr(lastprices, "ASK_EVERY_S", 0.02)
    monkeypatch.setattr(trailvoice, "TOLD_EVERY_S", 0.0)


def trail(bench: Bench, entry: str) -> TrailView:
    return next(t for t in bench.engine.view().trails if t.entry == entry)


async def until_phase(bench: Bench, entry: str, phase: TrailPhase) -> TrailView:
    await bench.until(lambda: trail(bench, entry).phase is phase, f"{phase} of {entry}")
    return trail(bench, entry)


async def caught_up(bench: Bench, entry: str, last: Decimal = NOTHING) -> TrailView:
    """Wait until the stop stands where the best price wants it, or is over; how it is then."""

    def is_so() -> bool:
        view = trail(bench, entry)
        if view.phase is TrailPhase.ENDED:
            return True
        assert view.trail_price is not None
        near = view.trail_price * (1 + STEP_PART) + TICK
        # One tick below the market is as close as a stop can be.
        wanted = min(view.high - near, last - TICK) if last else view.high - near
        return view.high >= last and view.stop >= wanted and bool(view.stop_order)

    await bench.until(is_so, f"{last} in {trail(bench, entry)}")
    return trail(bench, entry)


async def at_rest(bench: Bench, quiet_s: float = 1.5) -> None:
    """Wait until nothing was told of any trailing leg for so long: then none is being moved."""
    heard = asyncio.Event()

    def hear(event: Any) -> None:
        if isinstance(event, TrailChanged | OrderChanged):
            heard.set()

    end = bench.engine.subscribe(hear)
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                heard.clear()
                try:
                    async with asyncio.timeout(quiet_s):
                        await heard.wait()
                except TimeoutError:
                    return
    finally:
        end()


async def step(bench: Bench, other: Other, entry: str, seconds: float) -> TrailView:
    """Play on, and wait until the stop stands where the last price wants it (or is over)."""
    ack = await bench.ask(ControlReplay(step_s=seconds))
    assert ack.outcome is Outcome.ACCEPTED, ack.message
    symbol = trail(bench, entry).symbol
    trades = await other.ask(lambda s: s.latest_trades([symbol]))
    return await caught_up(bench, entry, Decimal(str(trades[symbol]["p"])))
