"""A trailing leg on the real exchange: it protects, it is moved, it ends; prices are the recorded."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from console.broker.session import BrokerSession
from console.engine import lastprices
from console.engine.commands import ControlReplay, GetOrder, Outcome, Reconcile
from console.engine.state import (
    OrderState,
    OrderType,
    OrderView,
    TradingState,
    TrailPhase,
    TrailView,
)
from console.engine.trail import STEP_PART
from console.services import market_data_settings
from signal_bridge import FeedReceiver, Service
from tests.faults.harness import LIMIT_S, Bench, Other, Replay, assert_books_agree
from tests.faults.trailing import caught_up, look_often, step, trail, until_phase

D = Decimal
MINUTE = 60
QUICK = ("engine.trail_every_s=0.1",)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    look_often(monkeypatch)


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
def inject(market) -> Callable[..., None]:
    """The exchange's faults, as in docs/exchange.md."""

    def post(**plan: Any) -> None:
        request = urllib.request.Request(
            f"{market.url}/_exchange/faults", data=json.dumps(plan).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=10):
            return

    return post


@pytest.fixture
async def make_bench(make_settings, market) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    benches: list[Bench] = []

    async def make(*values: str, feed: Any = None) -> Bench:
        settings = make_settings(*QUICK, *values)
        bench = Bench(settings, market.port, replay=Replay(market.call), feed=feed)
        benches.append(bench)
        return await bench.start()

    yield make
    for bench in benches:
        await bench.stop()


@pytest.fixture
def feed(make_settings, market) -> Any:
    """Market data over the bus."""
    settings = make_settings()
    values = market_data_settings(settings, settings.endpoint(market.port))
    service = Service.start("market-data", json.dumps(values), timeout_s=LIMIT_S)
    receiver = FeedReceiver(
        f"tcp://127.0.0.1:{service.ports['market']}",
        settings.feed.symbols,
        features=settings.feed.features,
        history=settings.feed.history,
        high_water_mark=settings.bus.high_water_mark,
        stale_after_s=settings.bus.stale_after_s,
    )
    receiver.start()
    yield receiver
    receiver.stop()
    service.stop()


@pytest.fixture
async def bench(make_bench) -> Bench:
    return await make_bench()


def open_stops(bench: Bench) -> list[OrderView]:
    """Without those of which the successor is there already."""
    orders = bench.engine.view().orders
    replaced = {o.replaces for o in orders}
    return [
        o
        for o in orders
        if o.order_type is OrderType.STOP
        and not o.state.is_final
        and o.client_order_id not in replaced
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


PARTS = pytest.mark.parametrize(
    "exchange_options", [{"partial_fills": True, "seed": 9}], ids=["two-fills"]
)
"""There the first order, for ten shares of IBM, fills in two parts."""


@PARTS
async def test_the_legs_take_hold_when_the_second_part_comes(bench, market, other):
    ack = await bench.ask("buy 10 IBM +2% trail 1%")
    view = await until_phase(bench, ack.order.client_order_id, TrailPhase.PARTIAL)
    assert 0 < view.unprotected < 10
    assert view.text.startswith(f"UNPROTECTED {view.unprotected} IBM")
    market.call(step_s=10)
    view = await until_phase(bench, view.entry, TrailPhase.TRAILING)
    assert view.unprotected == 0
    assert not bench.notices("trail"), "what was over in a moment is shown and not told"
    await assert_books_agree(bench, other, orders=3)


@PARTS
async def test_an_entry_that_stays_filled_in_part_is_cut_so_that_its_legs_hold(make_bench, other):
    bench = await make_bench("engine.partial_entry_s=0.3")
    ack = await bench.ask("buy 10 IBM +2% trail 1%")
    entry = ack.order.client_order_id
    bought_qty = (await until_phase(bench, entry, TrailPhase.PARTIAL)).unprotected
    view = await until_phase(bench, entry, TrailPhase.TRAILING)
    assert view.unprotected == 0
    theirs = {(o["type"], o["status"]): D(o["qty"]) for o in await other.orders()}
    assert theirs["stop", "held"] == theirs["limit", "new"] == bought_qty
    (told,) = bench.notices("trail")
    assert "the rest of buy 10 IBM is canceled and its legs take hold" in told
    assert bench.order(entry).state is OrderState.CANCELED
    await assert_books_agree(bench, other, orders=3)


@PARTS
async def test_what_is_cut_off_a_limit_order_is_sent_anew_with_legs_of_its_own(make_bench, other):
    bench = await make_bench("engine.partial_entry_s=0.3")
    limit = await bench.price("IBM") + D("0.10")
    ack = await bench.ask(f"buy 10 IBM @ {limit} tp 190 trail 2")
    first = ack.order.client_order_id
    part = (await until_phase(bench, first, TrailPhase.PARTIAL)).unprotected
    await until_phase(bench, first, TrailPhase.TRAILING)
    (rest,) = await bench.until(lambda: [t for t in bench.engine.view().trails if t.entry != first])
    again = await bench.until_state(rest.entry, "FILLED")
    assert (again.qty, again.limit_price, again.source) == (10 - part, limit, "keyboard")
    await until_phase(bench, rest.entry, TrailPhase.TRAILING)
    assert sorted(stop.qty for stop in open_stops(bench)) == sorted([part, 10 - part])
    await bench.until(lambda: "sent anew, with legs of its own" in bench.notices("trail")[-1])
    await assert_books_agree(bench, other, orders=6)


@PARTS
async def test_a_person_who_cancels_the_entry_gets_no_rest_sent_anew(make_bench, other):
    bench = await make_bench("engine.partial_entry_s=60")
    limit = await bench.price("IBM") + D("0.10")
    ack = await bench.ask(f"buy 10 IBM @ {limit} tp 190 trail 2")
    entry = ack.order.client_order_id
    await until_phase(bench, entry, TrailPhase.PARTIAL)
    await bench.ask(f"cancel {entry}")
    view = await until_phase(bench, entry, TrailPhase.TRAILING)
    assert view.unprotected == 0
    await assert_books_agree(bench, other, orders=3)


async def waiting(bench: Bench, line: str = "buy 10 SPY @ {} tp {} trail 0.25") -> str:
    """An entry a little below the market, where the price will come by in some minutes."""
    price = await bench.price("SPY")
    ack = await bench.ask(line.format(price - D("0.10"), price + D("1.00")))
    assert ack.outcome is Outcome.ACCEPTED, ack.message
    await bench.until_state(ack.order.client_order_id, "WORKING")
    return ack.order.client_order_id


async def filled_later(bench: Bench, entry: str, symbol: str = "SPY") -> None:
    for _ in range(60):
        if bench.order(entry).state is OrderState.FILLED:
            return
        await bench.ask(ControlReplay(step_s=30))
        await bench.ask(Reconcile())
    raise AssertionError(f"{bench.order(entry)} does not fill")


async def test_legs_that_are_gone_when_the_entry_fills_are_sent_anew(bench, other):
    entry = await waiting(bench)
    (leg,) = [o for o in await other.orders() if o["type"] == "stop"]
    await other.ask(lambda s: s.cancel_order(leg["id"]))
    await bench.until(lambda: bench.order(leg["client_order_id"]).state is OrderState.CANCELED)
    await filled_later(bench, entry)
    view = await until_phase(bench, entry, TrailPhase.TRAILING)
    assert view.unprotected == 0

    def rests() -> bool:
        known = [(10, trail(bench, entry).stop)]
        return [(o.qty, o.stop_price) for o in open_stops(bench)] == known

    await bench.until(rests)  # the market goes on, and the stop with it
    orders = bench.engine.view().orders
    (profit,) = [o for o in orders if o.order_class == "oco" and o.order_type == "limit"]
    assert (profit.qty, profit.limit_price, profit.source) == (10, view.take_profit, "trail")
    assert [text.split(":")[1].split()[0] for text in bench.notices("trail")] == [
        "UNPROTECTED", "protected",
    ]  # fmt: skip
    moved = view.stop
    while (view := await step(bench, other, entry, 60)).phase is not TrailPhase.ENDED:
        assert view.stop >= moved
        moved = view.stop
    assert bench.position("SPY") is None
    await assert_books_agree(bench, other)


async def test_without_a_profit_level_a_stop_alone_is_sent_anew(bench, other):
    entry = await waiting(bench, "buy 10 SPY @ {} trail 0.25")
    (leg,) = [o for o in await other.orders() if o["type"] == "stop"]
    await other.ask(lambda s: s.cancel_order(leg["id"]))
    await filled_later(bench, entry)
    await until_phase(bench, entry, TrailPhase.TRAILING)
    (resting,) = open_stops(bench)
    assert (resting.source, resting.order_class.value) == ("trail", "simple")
    await caught_up(bench, entry)
    await assert_books_agree(bench, other)


async def test_while_protection_is_refused_it_is_said_and_tried_again(bench, other, inject):
    entry = await waiting(bench)
    (leg,) = [o for o in await other.orders() if o["type"] == "stop"]
    await other.ask(lambda s: s.cancel_order(leg["id"]))
    inject(requests=[{"method": "POST", "path": "/v2/orders", "status": 422, "count": 2}])
    await filled_later(bench, entry)
    await until_phase(bench, entry, TrailPhase.TRAILING)
    told = bench.notices("trail")
    refused = [text for text in told if "was refused" in text]
    assert len(refused) == 2
    assert "UNPROTECTED 10 SPY" in refused[0]
    assert "close SPY" in refused[0]
    assert "protected" in told[-1]
    await caught_up(bench, entry)
    await assert_books_agree(bench, other)


async def test_protection_in_doubt_is_never_sent_a_second_time(bench, other, inject):
    entry = await waiting(bench)
    (leg,) = [o for o in await other.orders() if o["type"] == "stop"]
    await other.ask(lambda s: s.cancel_order(leg["id"]))
    inject(requests=[
        {"method": "POST", "path": "/v2/orders", "status": 504, "after": True, "count": 1}
    ])  # fmt: skip
    await filled_later(bench, entry)
    await until_phase(bench, entry, TrailPhase.TRAILING)
    theirs = await other.orders()
    assert sum(o["order_class"] == "oco" and o["type"] == "limit" for o in theirs) == 1
    await caught_up(bench, entry)
    await assert_books_agree(bench, other)


@pytest.mark.parametrize("which", ["stop", "limit"])
async def test_a_leg_canceled_by_hand_ends_it_and_what_is_bare_is_said(bench, other, which):
    entry = await bought(bench, "buy 10 IBM +2% trail 1%")
    await until_phase(bench, entry, TrailPhase.TRAILING)
    (leg,) = [
        o for o in bench.engine.view().orders if o.parent == entry and o.order_type.value == which
    ]
    await bench.ask(f"cancel {leg.client_order_id}")
    view = await until_phase(bench, entry, TrailPhase.ENDED)
    assert view.unprotected == 10
    (told,) = bench.notices("trail")
    assert "taken in hand: keyboard" in told
    assert "UNPROTECTED 10 IBM" in told
    await assert_books_agree(bench, other, orders=3)


async def test_a_stop_moved_by_hand_stays_there_until_the_price_goes_on(bench, other):
    entry = await bought(bench, "buy 10 IBM tp 190 trail 2")
    view = await until_phase(bench, entry, TrailPhase.TRAILING)
    (leg,) = open_stops(bench)
    closer = view.stop + 1
    moved = await bench.ask(f"replace {leg.client_order_id} stop {closer}")
    assert moved.outcome is Outcome.ACCEPTED, moved.message
    await bench.until(lambda: trail(bench, entry).stop == closer)
    profit = next(o for o in bench.engine.view().orders if o.limit_price == 190)
    nearer = await bench.ask(f"replace {profit.client_order_id} @ 189")
    assert nearer.outcome is Outcome.ACCEPTED, nearer.message
    await bench.until(lambda: "take profit 189" in trail(bench, entry).text)
    await bench.ask(ControlReplay(step_s=30))
    assert [o.stop_price for o in open_stops(bench)] == [closer]
    await assert_books_agree(bench, other)


async def test_a_leg_canceled_by_another_program_ends_it_too(bench, other):
    entry = await bought(bench, "buy 10 IBM @ market trail 1%")
    await until_phase(bench, entry, TrailPhase.TRAILING)
    (leg,) = [o for o in await other.orders() if o["type"] == "stop"]
    await other.ask(lambda s: s.cancel_order(leg["id"]))
    view = await until_phase(bench, entry, TrailPhase.ENDED)
    assert "canceled elsewhere" in view.text
    assert view.unprotected == 10
    await assert_books_agree(bench, other, orders=2)


async def test_legs_that_expire_with_the_day_are_said_and_not_sent_anew(bench, other):
    entry = await bought(bench, "buy 10 IBM +50% trail 30%")
    await until_phase(bench, entry, TrailPhase.TRAILING)
    await bench.ask(ControlReplay(step_s=7 * 3600))
    view = await until_phase(bench, entry, TrailPhase.ENDED)
    assert "expired with the day" in view.text
    assert view.unprotected == 10
    await assert_books_agree(bench, other, orders=3)


async def test_closing_the_position_ends_it_quietly(bench, other):
    entry = await bought(bench, "buy 10 IBM +2% trail 1%")
    await until_phase(bench, entry, TrailPhase.TRAILING)
    closed = await bench.ask("close IBM")
    assert closed.outcome is Outcome.ACCEPTED, closed.message
    view = await until_phase(bench, entry, TrailPhase.ENDED)
    assert view.unprotected == 0
    await assert_books_agree(bench, other, orders=4)


async def test_the_kill_switch_ends_it_and_nothing_is_sent_anew(bench, other):
    entry = await bought(bench, "buy 10 IBM +2% trail 1%")
    await until_phase(bench, entry, TrailPhase.TRAILING)
    flat = await bench.ask("flatten")
    assert "verified flat" in flat.message
    view = await until_phase(bench, entry, TrailPhase.ENDED)
    assert "kill switch" in view.text
    await assert_books_agree(bench, other, orders=4, trading_state=TradingState.HALTED)
    await bench.ask("resume")
    await bench.ask(ControlReplay(step_s=60))
    await assert_books_agree(bench, other, orders=4)


async def test_halted_the_stop_stays_where_it_is_until_a_person_resumes(bench, other, market):
    market.call(step_s=5 * MINUTE)
    entry = await bought(bench, "buy 10 SPY @ market trail 0.15")
    placed = (await until_phase(bench, entry, TrailPhase.TRAILING)).stop
    halted = await bench.ask("halt")
    assert "trailing stops stay where they are at the broker (1)" in halted.message
    for _ in range(5):
        await bench.ask(ControlReplay(step_s=60))
    view = await bench.until(
        lambda: (view := trail(bench, entry)).high > placed + D("0.25") and view
    )
    assert view.stop == placed
    assert "HALTED, so the stop stays" in view.text
    await bench.ask("resume")
    await bench.until(lambda: trail(bench, entry).stop > placed)
    assert [o["status"] for o in await other.orders() if o["type"] == "stop"] == ["new"]


async def test_moves_that_are_refused_are_told_and_tried_again(bench, other, market, inject):
    market.call(step_s=5 * MINUTE)
    entry = await bought(bench, "buy 10 SPY @ market trail 0.15")
    placed = (await until_phase(bench, entry, TrailPhase.TRAILING)).stop
    inject(requests=[{"method": "PATCH", "path": "/v2/orders", "status": 422, "count": 3}])
    for _ in range(5):
        await bench.ask(ControlReplay(step_s=60))
    await bench.until(lambda: bench.notices("trail"))
    (told,) = bench.notices("trail")
    assert f"its stop stays at {placed}: the broker doesn't move it" in told
    assert [D(o["stop_price"]) for o in await other.orders() if o["type"] == "stop"] == [placed]
    await bench.until(lambda: trail(bench, entry).stop > placed)
    await caught_up(bench, entry)
    await assert_books_agree(bench, other)


async def test_while_no_fresh_price_is_known_the_stop_stays(make_bench, market):
    bench = await make_bench("feed.quote_stale_s=5")
    market.call(step_s=5 * MINUTE)
    entry = await bought(bench, "buy 10 SPY @ market trail 0.15")
    view = await until_phase(bench, entry, TrailPhase.TRAILING)
    protection_ = bench.engine._parts.last_prices
    protection_._known.clear()
    protection_._followed.clear()
    await bench.until(lambda: "no fresh price" in trail(bench, entry).text)
    for _ in range(3):
        await bench.ask(ControlReplay(step_s=60))
    assert trail(bench, entry).stop == view.stop


async def test_a_short_entry_trails_down_and_is_bought_back(make_bench, other):
    bench = await make_bench("risk.allow_short=true")
    entry = await bought(bench, "sell 10 IBM @ market trail 0.25")
    views = [await until_phase(bench, entry, TrailPhase.TRAILING)]
    while views[-1].phase is not TrailPhase.ENDED:
        await bench.ask(ControlReplay(step_s=15))
        views.append(await settled_short(bench, other, entry))
        assert len(views) < 60, views[-1]
    stops = [view.stop for view in views]
    assert stops == sorted(stops, reverse=True)
    assert stops[-1] < stops[0]
    assert bench.position("IBM") is None
    assert "bought back" in views[-1].text
    await assert_books_agree(bench, other)


async def settled_short(bench: Bench, other: Other, entry: str) -> TrailView:
    trades = await other.ask(lambda s: s.latest_trades(["IBM"]))
    last = D(str(trades["IBM"]["p"]))

    def is_so() -> bool:
        view = trail(bench, entry)
        near = D("0.25") * (1 + STEP_PART) + D("0.01")
        caught = view.high <= last and view.stop <= max(view.high + near, last + D("0.01"))
        return view.phase is TrailPhase.ENDED or caught

    await bench.until(is_so)
    return trail(bench, entry)


async def test_the_orders_canceled_at_the_exit_are_not_sent_anew(make_bench, other):
    bench = await make_bench("engine.on_exit=cancel_orders")
    entry = await bought(bench, "buy 10 IBM +2% trail 1%")
    await until_phase(bench, entry, TrailPhase.TRAILING)
    await bench.stop()
    assert sorted(o["status"] for o in await other.orders()) == ["canceled", "canceled", "filled"]


async def test_the_price_comes_from_the_feed_where_it_has_the_symbol(
    make_bench, market, feed, monkeypatch
):
    monkeypatch.setattr(lastprices, "ASK_EVERY_S", 3600.0)
    market.call(step_s=5 * MINUTE)
    market.call(pause=False, speed=60)
    bench = await make_bench(feed=feed)
    entry = await bought(bench, "buy 10 SPY @ market trail 0.10")
    placed = trail(bench, entry).stop
    await bench.until(
        lambda: trail(bench, entry).stop > placed or trail(bench, entry).phase is TrailPhase.ENDED
    )


async def test_what_would_close_a_position_takes_no_trailing_leg(bench):
    await bench.filled("buy 10 IBM")
    refused = await bench.ask("sell 10 IBM @ market trail 1%")
    assert refused.outcome is Outcome.REFUSED
    assert "protects what its order opens" in refused.message
    assert bench.engine.view().trails == ()


async def test_a_preview_says_the_loss_and_plans_nothing(bench):
    ack = await bench.ask("preview buy 100 IBM @ market trail 1")
    assert ack.risk.loss_at_stop == 100
    assert bench.engine.view().trails == ()


async def test_the_plan_goes_on_after_a_restart(make_bench, market, other):
    market.call(step_s=5 * MINUTE)
    bench = await make_bench()
    entry = await bought(bench, "buy 10 SPY @ market trail 0.15")
    await until_phase(bench, entry, TrailPhase.TRAILING)
    for _ in range(4):
        before = await step(bench, other, entry, 60)
    await bench.stop()
    bench = await make_bench()
    after = await bench.until(lambda: (now := trail(bench, entry)).stop_order and now)
    assert after.stop == before.stop
    assert after.high >= before.stop + D("0.15") - D("0.01")
    while (view := await step(bench, other, entry, 60)).phase is not TrailPhase.ENDED:
        assert view.stop >= after.stop
    await assert_books_agree(bench, other)
