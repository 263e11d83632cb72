"""The engine is killed at each step of a trailing leg; the next one goes on, and sends nothing twice."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from console.engine.commands import ControlReplay, SettleOrder
from console.engine.state import OrderState, TrailPhase, TrailView
from tests.faults import trailing
from tests.faults.harness import Bench, Child, Other, assert_books_agree, in_two_fills
from tests.faults.trailing import look_often, step

D = Decimal
QUICK = ("engine.trail_every_s=0.1",)
LINE = "buy 10 SPY tp 168.40 trail 0.20 gtc"


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    look_often(monkeypatch)


def only_trail(bench: Bench) -> TrailView:
    (view,) = bench.engine.view().trails
    return view


async def until_phase(bench: Bench, phase: TrailPhase) -> TrailView:
    await bench.until(lambda: bench.engine.view().trails)
    return await trailing.until_phase(bench, only_trail(bench).entry, phase)


async def live_stops(other: Other) -> list[dict[str, Any]]:
    open_ = ("new", "held", "accepted")
    return [o for o in await other.orders() if o["type"] == "stop" and o["status"] in open_]


async def goes_on(bench: Bench, other: Other, stood: Decimal) -> None:
    """From here on it trails as if nothing had been: up with the price, and it ends with a sale."""
    highest, view = stood, only_trail(bench)
    while (view := await step(bench, other, view.entry, 60)).phase is not TrailPhase.ENDED:
        stops = await live_stops(other)
        assert len(stops) <= 1
        assert all(D(o["stop_price"]) >= highest for o in stops)
        highest = max([highest, *(D(o["stop_price"]) for o in stops)])
    assert highest > stood
    assert bench.position("SPY") is None
    sold = sum(D(o["filled_qty"]) for o in await other.orders() if o["side"] == "sell")
    assert sold == 10
    await assert_books_agree(bench, other)


async def played_until_dead(child: Child, market: Any) -> None:
    """Play on until the child's own step kills it."""
    ending = asyncio.create_task(child.process.wait())
    for _ in range(30):
        market.call(step_s=60)
        await asyncio.wait({ending}, timeout=1.0)
        if ending.done():
            break
    await child.died()


@pytest.mark.parametrize("point", ["before-sending-commit", "between-post-and-ack", "mid-fill"])
async def test_killed_on_the_entrys_way(make_child, make_bench, other, point):
    child = await make_child(crash_at=point)
    await child.ask(LINE)
    await child.died()
    bench = await make_bench(*QUICK)
    if point == "before-sending-commit":
        await bench.until(
            lambda: all(t.phase is TrailPhase.ENDED for t in bench.engine.view().trails)
        )
        assert bench.position("SPY") is None
        await assert_books_agree(bench, other, orders=0)
        return
    view = await until_phase(bench, TrailPhase.TRAILING)
    assert view.unprotected == 0
    (stop,) = await live_stops(other)
    await goes_on(bench, other, D(stop["stop_price"]))


async def test_killed_between_the_entrys_row_and_its_post_nothing_is_protected_or_sent(
    make_child, make_bench, other
):
    child = await make_child(crash_at="between-commit-and-post")
    await child.ask(LINE)
    await child.died()
    bench = await make_bench(*QUICK)
    await bench.until(lambda: "whether the broker has the entry" in only_trail(bench).text)
    view = only_trail(bench)
    assert view.phase is TrailPhase.WAITING
    await assert_books_agree(bench, other, orders=0, in_doubt=1)
    await bench.ask(SettleOrder(client_order_id=view.entry, outcome="rejected"))
    await until_phase(bench, TrailPhase.ENDED)
    await assert_books_agree(bench, other, orders=0)


@pytest.mark.parametrize("point", ["trail-planned", "trail-between-post-and-ack"])
async def test_killed_while_it_moves_the_stop(make_child, make_bench, other, market, point):
    child = await make_child(*QUICK, crash_at=point)
    await child.ask(LINE)
    await played_until_dead(child, market)
    (stop,) = await live_stops(other)
    bench = await make_bench(*QUICK)
    await until_phase(bench, TrailPhase.TRAILING)
    await bench.until(lambda: only_trail(bench).stop >= D(stop["stop_price"]))
    await goes_on(bench, other, D(stop["stop_price"]))


async def test_killed_between_a_moves_row_and_its_request_the_old_stop_stays(
    make_child, make_bench, other, market
):
    child = await make_child(*QUICK, crash_at="trail-between-commit-and-post")
    await child.ask(LINE)
    await played_until_dead(child, market)
    (stop,) = await live_stops(other)
    bench = await make_bench(*QUICK)
    doubtful = await bench.until(
        lambda: next((o for o in bench.engine.view().orders if o.state is OrderState.UNKNOWN), None)
    )
    await bench.until(lambda: "settle it" in only_trail(bench).text)
    view = only_trail(bench)
    assert (view.phase, view.unprotected) == (TrailPhase.TRAILING, 0)
    assert view.stop == D(stop["stop_price"])
    await bench.ask(ControlReplay(step_s=60))
    assert [o["id"] for o in await live_stops(other)] == [stop["id"]]
    await bench.ask(SettleOrder(client_order_id=doubtful.client_order_id, outcome="rejected"))
    await goes_on(bench, other, D(stop["stop_price"]))


async def lose_legs(child: Child, other: Other) -> None:
    """An entry that waits a little below the market, and whose legs somebody cancels."""
    await child.ask("buy 10 SPY @ 167.40 tp 168.40 trail 0.20 gtc")
    (leg,) = [o for o in await other.orders() if o["type"] == "stop"]
    await other.ask(lambda s: s.cancel_order(leg["id"]))


@pytest.mark.parametrize(
    "point", ["trail-planned", "trail-between-post-and-ack", "trail-between-commit-and-post"]
)
async def test_killed_while_it_sends_protection(make_child, make_bench, other, market, point):
    child = await make_child(*QUICK, crash_at=point)
    await lose_legs(child, other)
    await played_until_dead(child, market)
    bench = await make_bench(*QUICK)
    if point == "trail-between-commit-and-post":
        doubtful = await bench.until(
            lambda: next(
                (o for o in bench.engine.view().orders if o.state is OrderState.UNKNOWN), None
            )
        )
        view = await until_phase(bench, TrailPhase.EXPOSED)
        assert view.unprotected == 10
        assert any("UNPROTECTED 10 SPY" in text for text in bench.notices("trail"))
        assert await live_stops(other) == []
        settle = SettleOrder(client_order_id=doubtful.client_order_id, outcome="rejected")
        await bench.ask(settle)
    await until_phase(bench, TrailPhase.TRAILING)
    stops = await live_stops(other)
    assert [D(o["qty"]) for o in stops] == [10]
    await goes_on(bench, other, D(stops[0]["stop_price"]) - D("0.01"))


@in_two_fills
async def test_killed_after_the_rest_of_the_entry_was_canceled(
    make_child, make_bench, other, market
):
    child = await make_child("engine.partial_entry_s=0.2", crash_at="trail-cut")
    await child.ask("buy 10 IBM +2% trail 1%")
    await child.died()
    bench = await make_bench(*QUICK)
    view = await until_phase(bench, TrailPhase.TRAILING)
    assert view.unprotected == 0
    (stop,) = await live_stops(other)
    assert D(stop["qty"]) == bench.position("IBM").qty
    await assert_books_agree(bench, other, orders=3)
