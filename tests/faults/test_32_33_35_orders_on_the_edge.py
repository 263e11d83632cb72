"""Faults 32, 33 and 35: SIGTERM during a POST, a replacement that races a fill, the close."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.engine.commands import CancelOrder, Outcome
from console.engine.journal_reader import JournalReader
from console.engine.state import OrderState, TradingState
from tests.faults.harness import Bench, assert_books_agree
from tests.faults.proxy import HOLD, Treatment

SHORT_DRAIN = "engine.drain_timeout_s=2"
END_LIMIT_S = 8.0
"""The drain and what two busy cores add: below the 10 s of the answer that it must not wait for."""
D = Decimal


# -- 32 --------------------------------------------------------------------------------------------


def states_in(state_dir: Path) -> list[str]:
    """The states that the journal's only order went through."""
    path = state_dir / "journal-demo.db"
    if not path.exists():
        return []
    with JournalReader(path) as reader:
        rows = list(reader.rows(kind="order"))
    return [msgspec.json.decode(row.body)["order"]["state"] for row in rows]


async def end(child: Any) -> float:
    """Ends it by SIGTERM; how long that took."""
    began = time.monotonic()
    assert await child.stop() == 0
    return time.monotonic() - began


async def test_32_an_answer_that_comes_while_it_stops_is_recorded(
    make_child, make_bench, make_settings, inject, other, until_async
):
    child = await make_child()
    late = {"method": "POST", "path": "/v2/orders", "delay_ms": 800, "count": 1}
    inject(requests=[late], updates="mute")
    await child.send("buy 10 IBM")
    state_dir = make_settings().state_dir
    await until_async(lambda: states_in(state_dir)[:1] == ["SENDING"], "its row is on disk")
    assert await end(child) < END_LIMIT_S
    inject()
    states = states_in(state_dir)
    assert "UNKNOWN" not in states
    assert "ACK" in states
    bench = await make_bench()
    await assert_books_agree(bench, other, orders=1)


async def test_32_an_answer_that_never_comes_is_found_at_the_next_start(
    make_child, make_bench, make_settings, proxy, inject, other, until_async
):
    child = await make_child(SHORT_DRAIN, port=proxy.port)
    inject(updates="mute")
    proxy.on(b"POST /v2/orders", HOLD)
    await child.send("buy 10 IBM")
    await until_async(lambda: proxy.treated == 1, "the request is on its way")
    assert await end(child) < END_LIMIT_S
    assert states_in(make_settings().state_dir)[-1] == "SENDING"
    bench = await make_bench()
    await bench.until(lambda: bench.engine.view().orders[0].state is OrderState.FILLED)
    await assert_books_agree(bench, other, orders=1)


async def test_32_an_order_that_waits_behind_such_an_answer_is_known_not_to_have_left(
    make_child, make_bench, make_settings, proxy, inject, other, until_async
):
    child = await make_child(SHORT_DRAIN, port=proxy.port)
    inject(updates="mute")
    proxy.on(b"POST /v2/orders", HOLD)
    await child.send("buy 10 IBM")
    await until_async(lambda: proxy.treated == 1, "the request is on its way")
    await child.send("buy 5 BAC")
    state_dir = make_settings().state_dir
    await until_async(lambda: states_in(state_dir).count("SENDING") == 2, "both rows are on disk")
    assert await end(child) < END_LIMIT_S
    bench = await make_bench()
    (waited,) = (o for o in bench.engine.view().orders if o.symbol == "BAC")
    assert waited.state is OrderState.REJECTED
    assert "stopped before its turn" in waited.reason
    await assert_books_agree(bench, other, orders=1)


async def test_32_orders_that_wait_behind_it_leave_now_or_never(
    make_child, make_bench, make_settings, inject, other, until_async
):
    child = await make_child()
    inject(requests=[{"method": "POST", "path": "/v2/orders", "delay_ms": 400, "count": 1}])
    for qty in range(1, 9):
        await child.send(f"buy {qty} IBM")
    state_dir = make_settings().state_dir
    await until_async(lambda: states_in(state_dir).count("SENDING") == 8)
    assert await end(child) < END_LIMIT_S
    bench = await make_bench()
    await assert_books_agree(bench, other)
    states = {order.state for order in bench.engine.view().orders}
    assert states <= {OrderState.FILLED, OrderState.REJECTED, OrderState.REFUSED}


# -- 33 --------------------------------------------------------------------------------------------


async def near(bench: Bench, qty: int) -> Any:
    """An order that waits a few cents below the market."""
    price = await bench.price("IBM") - D("0.05")
    ack = await bench.ask(f"buy {qty} IBM @ {price:.2f}")
    return await bench.until_state(ack.order.client_order_id, "WORKING")


async def filled_by_the_market(market: Any, other: Any, identity: str) -> None:
    """Play on until the market has come to it."""
    for _ in range(120):
        await asyncio.to_thread(market.call, step_s=30)
        theirs = await other.ask(lambda s: s.order(identity))
        if theirs["status"] == "filled":
            return
    pytest.fail("the market does not come to it")


async def test_33_a_fill_that_comes_first_leaves_one_filled_order_and_a_refused_change(
    make_bench, market, proxy, other
):
    bench = await make_bench("broker.read_timeout_s=60", port=proxy.port)
    old = await near(bench, 10)
    filled = asyncio.Event()
    proxy.on(b"PATCH /v2/orders", Treatment(until=filled))
    changing = asyncio.create_task(bench.ask(f"replace {old.client_order_id} 15"))
    await bench.until(lambda: len(bench.engine.view().orders) == 2, "the change is being sent")
    await filled_by_the_market(market, other, old.id)
    filled.set()
    ack = await changing
    assert proxy.treated == 1
    assert ack.outcome is Outcome.REFUSED, ack
    assert bench.order(old.client_order_id).state is OrderState.FILLED
    assert bench.order(ack.order.client_order_id).state is OrderState.REJECTED
    assert bench.position("IBM").qty == 10
    await assert_books_agree(bench, other, orders=1)


async def test_33_a_change_that_comes_first_fills_with_the_new_quantity_alone(
    bench, market, inject, other
):
    old = await near(bench, 10)
    # The engine hears of neither until the line is made anew.
    inject(updates="mute")
    ack = await bench.ask(f"replace {old.client_order_id} 15")
    assert ack.outcome is Outcome.ACCEPTED, ack
    await filled_by_the_market(market, other, ack.order.id)
    inject(updates="none", disconnect=True)
    await bench.until_state(ack.order.client_order_id, "FILLED")
    await bench.until_state(old.client_order_id, "REPLACED")
    assert bench.position("IBM").qty == 15
    await assert_books_agree(bench, other, orders=2)


async def test_33_a_change_whose_answer_is_lost_while_it_fills_is_settled_by_itself(
    bench, market, inject, other
):
    old = await near(bench, 10)
    plan = {"method": "PATCH", "path": "/v2/orders", "status": 504, "after": True, "count": 1}
    inject(requests=[plan], updates="mute")
    ack = await bench.ask(f"replace {old.client_order_id} 15")
    new = next(o for o in bench.engine.view().orders if o.replaces == old.client_order_id)
    assert new.state in (OrderState.UNKNOWN, OrderState.WORKING), ack
    theirs = await other.ask(lambda s: s.order_by_client_id(new.client_order_id))
    await filled_by_the_market(market, other, theirs["id"])
    inject(updates="none", disconnect=True)
    await bench.until_state(new.client_order_id, "FILLED")
    await bench.until_state(old.client_order_id, "REPLACED")
    assert bench.position("IBM").qty == 15
    await assert_books_agree(bench, other, orders=2)


# -- 35 --------------------------------------------------------------------------------------------


@pytest.fixture
def to_the_close(market) -> Callable[[], Awaitable[None]]:
    async def play() -> None:
        for _ in range(200):
            if not (await asyncio.to_thread(market.call, step_s=600))["is_open"]:
                return
        pytest.fail("it does not close")

    return play


async def test_35_at_the_close_a_day_order_expires_and_is_not_sent_again(
    bench, make_bench, market, other, to_the_close
):
    await bench.filled("buy 3 IBM")
    price = await bench.price("IBM")
    today = await bench.resting()
    stays = await bench.ask(f"buy 5 IBM @ {price * D('0.5'):.2f} gtc")
    await to_the_close()
    assert (await bench.until_state(today.client_order_id, "EXPIRED")).filled_qty == 0
    await bench.until(lambda: not bench.engine.view().session.is_open, "the close is seen")
    assert bench.order(stays.order.client_order_id).state is OrderState.WORKING
    closed = await bench.ask("buy 1 IBM")
    assert closed.outcome is Outcome.REFUSED
    assert "market_closed" in [r.check for r in closed.refusals], closed.refusals
    await assert_books_agree(bench, other, orders=3)

    # Over night, and over a restart, into the next session.
    await bench.stop()
    bench = await make_bench()
    for _ in range(200):
        if (await asyncio.to_thread(market.call, step_s=600))["is_open"]:
            break
    await bench.until(lambda: bench.engine.view().session.is_open, "the next open")
    await bench.ask("reconcile")
    assert len(await other.orders()) == 3
    assert bench.order(today.client_order_id).state is OrderState.EXPIRED
    gone = await bench.ask(CancelOrder(client_order_id=stays.order.client_order_id))
    assert gone.outcome is Outcome.ACCEPTED
    await bench.until_state(stays.order.client_order_id, "CANCELED")
    await assert_books_agree(bench, other, orders=3, trading_state=TradingState.ACTIVE)
