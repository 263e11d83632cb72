"""A trailing leg on the real exchange: it protects, it is moved, it ends; prices are the recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from console.broker.session import BrokerSession
from console.engine import lastprices, protection, trailvoice
from console.engine.commands import ControlReplay, GetOrder, Outcome
from console.engine.state import OrderState, OrderType, OrderView, TrailPhase, TrailView
from console.engine.trail import STEP_PART
from tests.faults.harness import Bench, Other, Replay, assert_books_agree

D = Decimal
MINUTE = 60
QUICK = ("engine.trail_every_s=0.1",)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Looks that are a moment apart: what they see is the same."""
    monkeypatch.setattr(protection, "TICK_S", 0.02)
    monkeypatch.setattr(lastprices, "ASK_EVERY_S", 0.02)
    monkeypatch.setattr(trailvoice, "TOLD_EVERY_S", 0.0)


@pytest.fixture
def exchange_options() -> dict[str, Any]:
    return {}


@pytest.fixture
def market(make_exchange, exchange_options) -> Any:
    """An exchange that stands still, five minutes into its first session."""
    exchange = make_exchange(paused=True, **exchange_options)
    exchange.call(step_s=30 + 5 * MINUTE)
    return exchange


@pytest.fixture
def other(market, make_settings) -> Any:
    session = BrokerSession(make_settings().endpoint(market.port))
    yield Other(session)
    session.close()


@pytest.fixture
async def make_bench(make_settings, market) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    benches: list[Bench] = []

    async def make(*values: str) -> Bench:
        bench = Bench(make_settings(*QUICK, *values), market.port, replay=Replay(market.call))
        benches.append(bench)
        return await bench.start()

    yield make
    for bench in benches:
        await bench.stop()


@pytest.fixture
async def bench(make_bench) -> Bench:
    return await make_bench()


def trail(bench: Bench, entry: str) -> TrailView:
    return next(t for t in bench.engine.view().trails if t.entry == entry)


async def until_phase(bench: Bench, entry: str, phase: TrailPhase) -> TrailView:
    await bench.until(lambda: trail(bench, entry).phase is phase, f"{phase} of {entry}")
    return trail(bench, entry)


def open_stops(bench: Bench) -> list[OrderView]:
    return [
        o
        for o in bench.engine.view().orders
        if o.order_type is OrderType.STOP and not o.state.is_final
    ]


async def bought(bench: Bench, line: str) -> str:
    ack = await bench.ask(line)
    assert ack.outcome is Outcome.ACCEPTED, ack.message
    assert ack.order is not None
    await bench.until_state(ack.order.client_order_id, "FILLED")
    return ack.order.client_order_id


async def test_both_legs_rest_at_the_broker_from_the_first_moment_on(bench, other):
    ack = await bench.ask("buy 10 IBM +2% trail 1%")
    assert ack.outcome is Outcome.ACCEPTED, ack.message
    assert ack.trail is not None
    ask_price = ack.risk.price
    stop = (ask_price * D("0.99")).quantize(D("0.01"), rounding="ROUND_FLOOR")
    assert ack.risk.loss_at_stop == (ask_price - stop) * 10
    view = await until_phase(bench, ack.order.client_order_id, TrailPhase.TRAILING)
    (resting,) = open_stops(bench)
    assert (resting.stop_price, view.unprotected) == (stop, 0)
    theirs = await other.orders()
    assert sorted(o["status"] for o in theirs) == ["filled", "held", "new"]
    assert "take profit" in view.text
    assert "trailing stop 1 %: engine" in view.text


async def step(bench: Bench, other: Other, entry: str, seconds: float) -> TrailView:
    """Play on, and wait until the stop stands where the last price wants it (or is over)."""
    ack = await bench.ask(ControlReplay(step_s=seconds))
    assert ack.outcome is Outcome.ACCEPTED, ack.message
    symbol = trail(bench, entry).symbol
    trades = await other.ask(lambda s: s.latest_trades([symbol]))
    last = D(str(trades[symbol]["p"]))

    def seen() -> bool:
        view = trail(bench, entry)
        if view.phase is TrailPhase.ENDED:
            return True
        assert view.trail_price is not None
        near = view.trail_price * (1 + STEP_PART) + D("0.01")
        return view.high >= last and view.high - view.stop <= near

    await bench.until(seen, f"{last} in {trail(bench, entry)}")
    return trail(bench, entry)


async def test_the_stop_follows_the_price_and_sells_when_it_turns(bench, other, market):
    market.call(step_s=5 * MINUTE)
    entry = await bought(bench, "buy 10 SPY @ market trail 0.15")
    views = [await until_phase(bench, entry, TrailPhase.TRAILING)]
    while views[-1].phase is not TrailPhase.ENDED:
        views.append(await step(bench, other, entry, 30))
        assert len(views) < 60, views[-1]
    stops = [view.stop for view in views]
    assert stops == sorted(stops)
    assert len(set(stops)) > 8
    assert bench.position("SPY") is None
    assert "sold" in views[-1].text
    (sale,) = [o for o in await other.orders() if o["side"] == "sell" and o["status"] == "filled"]
    assert D(sale["stop_price"]) == stops[-1]
    assert D(sale["filled_avg_price"]) > views[0].high
    await assert_books_agree(bench, other)


async def test_the_profit_leg_ends_the_trailing_one(bench, other, market):
    market.call(step_s=5 * MINUTE)
    entry = await bought(bench, "buy 10 SPY tp 167.85 trail 0.30")
    view = await until_phase(bench, entry, TrailPhase.TRAILING)
    placed = view.stop
    while (after := await step(bench, other, entry, 30)).phase is not TrailPhase.ENDED:
        view = after
    assert view.stop > placed
    statuses = Counter(o["status"] for o in await other.orders())
    assert statuses == {"filled": 2, "canceled": 1}
    assert sum(o.state is OrderState.REPLACED for o in bench.engine.view().orders) == 1
    await assert_books_agree(bench, other)
    told = await bench.ask(GetOrder(order_id=entry))
    assert told.trail is not None
    assert told.trail.phase is TrailPhase.ENDED
    texts = [line.text for line in told.story if line.kind == "trail"]
    assert texts[0].startswith("planned: take profit 167.85: waits at the broker")
    assert sum("→" in text for text in texts) > 3
    assert texts[-1].endswith("its shares are sold")
    assert [line.seq for line in told.story] == sorted(line.seq for line in told.story)
