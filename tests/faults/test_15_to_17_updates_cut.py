"""Faults 15–17: the stream of trade updates is cut between two fills, is open and mute, flaps."""

from __future__ import annotations

import pytest

from console.engine.commands import Reconcile
from console.engine.state import ConnectionState
from tests.faults.harness import HandClocks, assert_books_agree, in_two_fills


@in_two_fills
async def test_15_cut_between_two_fills_each_is_counted_once(make_bench, proxy, market, other):
    bench = await make_bench(updates_port=proxy.port)
    ack = await bench.ask("buy 10 IBM")
    order = await bench.until_state(ack.order.client_order_id, "PARTIAL")
    proxy.cut()
    await bench.until(lambda: not bench.engine.view().ready, "the cut seen")
    refused = await bench.ask("buy 1 BAC")
    assert [refusal.check for refusal in refused.refusals] == ["ready"]
    market.call(step_s=10)
    assert bench.told_qty() == order.filled_qty
    proxy.open = True
    await bench.ready()
    await assert_books_agree(bench, other, orders=1)
    assert bench.told_qty() == 10
    await bench.ask(Reconcile())
    assert bench.told_qty() == 10


async def test_16_open_and_mute_the_broker_is_asked_and_the_line_replaced(make_bench, proxy, other):
    hand = HandClocks()
    bench = await make_bench(
        "broker.updates_stale_s=1", updates_port=proxy.port, clocks=hand.clocks
    )
    order = await bench.resting()
    proxy.deaf = True
    above = str((order.limit_price * 11 / 10).quantize(order.limit_price))
    await other.ask(lambda s: s.replace_order(order.id, {"limit_price": above}))
    await bench.until_state(order.client_order_id, "REPLACED")
    await bench.until(lambda: bench.connection("updates") is not ConnectionState.CONNECTED)
    proxy.deaf = False
    proxy.reset_all()
    await bench.ready()
    assert proxy.connections > 1
    await assert_books_agree(bench, other, orders=2)
    await bench.filled("buy 1 BAC")
    await assert_books_agree(bench, other, orders=3)


async def test_16_a_silence_in_which_nothing_happened_costs_no_reconnect(make_bench, proxy, other):
    bench = await make_bench("broker.updates_stale_s=0.2", updates_port=proxy.port)
    await bench.resting()

    def compared() -> int:
        rows = bench.engine._journal.rows()
        return sum(row.kind == "reconciled" for row in rows)

    first = compared()
    await bench.until(lambda: compared() >= first + 3, "asked three times")
    assert proxy.connections == 1
    assert bench.engine.view().ready
    await assert_books_agree(bench, other, orders=1)


async def test_17_flapping_every_fill_is_counted_once(make_bench, proxy, other, inject):
    bench = await make_bench(updates_port=proxy.port)
    for number in range(1, 5):
        await other.submit(client_order_id=f"elsewhere-{number}", symbol="BAC", qty="7")
        proxy.reset_all()
        await other.submit(client_order_id=f"meanwhile-{number}", symbol="IBM", qty="1")
        await bench.until(lambda n=number: proxy.connections > n, "connected anew")
        await bench.ready()
    await bench.filled("buy 3 IBM")
    await assert_books_agree(bench, other, orders=9)
    assert bench.told_qty() == 4 * 7 + 4 * 1 + 3


@pytest.mark.parametrize("number", range(3))
async def test_17_cut_at_any_moment_of_a_burst(make_bench, proxy, other, number):
    """Reset as the updates of a burst of orders come in; whichever were lost are made up for."""
    bench = await make_bench("risk.duplicate_window_s=0", updates_port=proxy.port)
    for share in range(6):
        await bench.ask(f"buy {share + 1} {('IBM', 'BAC', 'AIG')[share % 3]}")
        if share == 2 * number:
            known = proxy.connections
            proxy.reset_all()
            await bench.until(lambda n=known: proxy.connections > n, "connected anew")
            await bench.ready()
    await assert_books_agree(bench, other, orders=6)
