"""Faults 9–11: the line to the broker hangs at the connect, hangs at the read, breaks in the
middle of an answer. The engine goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest

from console.engine.commands import GetState, Outcome
from console.engine.flatten import Step
from console.engine.state import OrderState, TradingState
from tests.faults.harness import HandClocks, assert_books_agree
from tests.faults.proxy import HOLD, LATE, RESET, SWALLOW, FullPort, drip, reset_after

POST = b"POST /v2/orders"


async def test_09_a_connect_that_hangs_is_given_up_and_nothing_was_sent(
    make_bench, proxy, market, other
):
    bench = await make_bench(
        "broker.connect_timeout_s=0.6", port=proxy.port, updates_port=market.port
    )
    await bench.price("IBM")
    proxy.stop_listening()
    full = FullPort(proxy.port)
    try:
        began = time.monotonic()
        asking = asyncio.create_task(bench.ask("buy 10 IBM"))
        assert (await bench.ask(GetState())).state.ready
        assert not asking.done()
        ack = await asking
        assert 0.5 < time.monotonic() - began < 10
    finally:
        full.close()
    assert (ack.outcome, ack.order.state) == (Outcome.REFUSED, OrderState.REJECTED)
    assert "not sent" in ack.order.reason
    await assert_books_agree(bench, other, orders=0)


async def test_10_a_read_that_hangs_leaves_it_in_doubt_and_it_is_found(
    make_bench, proxy, inject, other, market
):
    bench = await make_bench(
        "broker.read_timeout_s=1",
        port=proxy.port,
        updates_port=market.port,
        clocks=HandClocks().clocks,
    )
    resting = await bench.resting("BAC")
    inject(updates="mute")
    proxy.on(POST, HOLD)
    asking = asyncio.create_task(bench.ask("buy 10 IBM"))
    await bench.until(lambda: len(bench.engine.view().orders) == 2)
    # The engine answers, and a cancellation doesn't wait for the order that hangs.
    canceled = await bench.ask(f"cancel {resting.client_order_id}")
    assert canceled.outcome is Outcome.ACCEPTED
    assert not asking.done()
    ack = await asking
    assert proxy.treated == 1
    assert ack.order.state is OrderState.FILLED, ack
    assert bench.notices(f"unknown {ack.order.client_order_id}")
    inject()
    await assert_books_agree(bench, other, orders=2)


async def test_10_a_request_that_is_swallowed_stays_in_doubt(make_bench, proxy, other, market):
    bench = await make_bench(
        "broker.read_timeout_s=1",
        port=proxy.port,
        updates_port=market.port,
        clocks=HandClocks().clocks,
    )
    proxy.on(POST, SWALLOW)
    ack = await bench.ask("buy 10 IBM")
    assert (ack.outcome, ack.order.state) == (Outcome.UNKNOWN, OrderState.UNKNOWN)
    await assert_books_agree(bench, other, orders=0, in_doubt=1)


async def test_10_an_order_held_up_on_its_way_does_not_survive_the_kill_switch(
    make_bench, proxy, other, market, until_async
):
    """It arrives after everything has been canceled: the switch looks again."""
    bench = await make_bench(port=proxy.port, updates_port=market.port)
    below = (await bench.price("IBM") * 98 / 100).quantize(Decimal("0.01"))
    proxy.on(POST, LATE)
    asking = asyncio.create_task(bench.ask(f"buy 10 IBM @ {below}"))
    await until_async(lambda: proxy.treated)
    flattening = asyncio.create_task(bench.ask("flatten"))

    def all_canceled() -> bool:
        left = bench.engine._kill_switch.unfinished()
        return left is not None and left.step in (Step.CLOSE, Step.VERIFY)

    await until_async(all_canceled)
    proxy.release.set()
    assert (await asking).outcome is Outcome.ACCEPTED
    assert "verified flat" in (await flattening).message
    (theirs,) = await assert_books_agree(bench, other, orders=1, trading_state=TradingState.HALTED)
    assert theirs["status"] == "canceled"


@pytest.mark.parametrize(
    "treatment",
    [RESET, reset_after(20), reset_after(300), drip(0.05)],
    ids=["before", "in-the-headers", "in-the-body", "dripping"],
)
async def test_11_an_answer_that_breaks_or_drips_leaves_it_in_doubt_and_it_is_found(
    make_bench, proxy, inject, other, market, treatment
):
    bench = await make_bench(
        "broker.read_timeout_s=1",
        port=proxy.port,
        updates_port=market.port,
        clocks=HandClocks().clocks,
    )
    await bench.price("IBM")
    inject(updates="mute")
    proxy.on(POST, treatment)
    began = time.monotonic()
    ack = await bench.ask("buy 10 IBM")
    assert time.monotonic() - began < 10, "a server that drips must not hold an order for ever"
    assert proxy.treated == 1
    assert ack.order.state is OrderState.FILLED, ack
    assert bench.notices(f"unknown {ack.order.client_order_id}")
    await assert_books_agree(bench, other, orders=1)
