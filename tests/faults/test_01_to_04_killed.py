"""Faults 1–4: the engine is killed on an order's way; the next one knows what became of it."""

from __future__ import annotations

from console.engine.commands import Outcome, SettleOrder
from console.engine.state import OrderState
from tests.faults.harness import HandClocks, assert_books_agree, in_two_fills


async def test_01_killed_before_its_row_is_on_disk_there_is_no_order(make_child, make_bench, other):
    child = await make_child(crash_at="before-sending-commit")
    assert await child.ask("buy 10 IBM") is None
    await child.died()
    bench = await make_bench()
    assert bench.engine.view().orders == ()
    await assert_books_agree(bench, other, orders=0)
    await bench.filled("buy 3 IBM")
    await assert_books_agree(bench, other, orders=1)


async def test_02_killed_between_its_row_and_the_post_it_is_in_doubt_until_settled(
    make_child, make_bench, other
):
    child = await make_child(crash_at="between-commit-and-post")
    assert await child.ask("buy 10 IBM") is None
    await child.died()
    hand = HandClocks()
    bench = await make_bench(clocks=hand.clocks)
    (order,) = bench.engine.view().orders
    assert order.state is OrderState.UNKNOWN
    assert bench.notices(f"unknown {order.client_order_id}")
    blocked = await bench.ask("buy 1 IBM")
    assert (blocked.outcome, blocked.refusals[0].check) == (Outcome.REFUSED, "order_in_doubt")
    await bench.until(lambda: hand.pauses == [0.25, 0.5, 1, 2, 4])
    await assert_books_agree(bench, other, orders=0, in_doubt=1)
    settled = await bench.ask(
        SettleOrder(client_order_id=order.client_order_id, outcome="rejected")
    )
    assert settled.outcome is Outcome.ACCEPTED
    await bench.filled("buy 3 IBM")
    await assert_books_agree(bench, other, orders=1)


async def test_03_killed_after_the_post_it_is_found_before_anything_else_is_sent(
    make_child, make_bench, other
):
    child = await make_child(crash_at="between-post-and-ack")
    assert await child.ask("buy 10 IBM") is None
    await child.died()
    bench = await make_bench()
    (order,) = bench.engine.view().orders
    assert (order.state, order.filled_qty) == (OrderState.FILLED, 10)
    await assert_books_agree(bench, other, orders=1)


async def test_03_while_the_broker_cant_be_asked_nothing_is_sent(
    make_child, make_bench, other, proxy, market
):
    child = await make_child(crash_at="between-post-and-ack")
    assert await child.ask("buy 10 IBM") is None
    await child.died()
    proxy.open = False
    bench = await make_bench(port=proxy.port, updates_port=market.port)
    refused = await bench.ask("buy 1 BAC")
    assert [refusal.check for refusal in refused.refusals] == ["ready"]
    assert "not reconciled" in refused.message
    proxy.open = True
    await bench.ready()
    (order,) = bench.engine.view().orders
    assert order.state is OrderState.FILLED
    await bench.filled("buy 1 BAC")
    await assert_books_agree(bench, other, orders=2)


@in_two_fills
async def test_04_killed_between_two_fills_each_is_counted_once(
    make_child, make_bench, other, market
):
    child = await make_child(crash_at="mid-fill")
    await child.ask("buy 10 IBM")
    await child.died()
    bench = await make_bench()
    (order,) = bench.engine.view().orders
    assert order.state is OrderState.PARTIAL
    assert 0 < order.filled_qty < 10
    await assert_books_agree(bench, other, orders=1)
    market.call(step_s=10)
    await bench.until_state(order.client_order_id, "FILLED")
    await assert_books_agree(bench, other, orders=1)
