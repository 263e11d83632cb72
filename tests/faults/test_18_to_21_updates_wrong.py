"""Faults 18–21: trade updates that are dropped, doubled, out of order or unreadable, and orders
that another program makes.
"""

from __future__ import annotations

from typing import Any

import pytest

from console.engine.commands import CancelOrder, Outcome
from console.engine.state import OrderState, TradingState
from tests.faults.harness import assert_books_agree, in_two_fills


@in_two_fills
async def test_18_a_dropped_fill_is_noticed_at_the_next_and_told_after_all(
    bench, inject, market, other
):
    resting = await bench.resting("BAC")
    inject(drop_updates=3)
    ack = await bench.ask("buy 10 IBM")
    assert bench.told_qty(ack.order.client_order_id) == 0
    inject()
    market.call(step_s=10)
    await assert_books_agree(bench, other, orders=2)
    assert bench.order(resting.client_order_id).state is OrderState.WORKING


async def test_18_all_fills_dropped_the_position_is_right_after_reconciliation(
    bench, inject, other
):
    inject(updates="mute")
    for line in ("buy 10 IBM", "buy 20 BAC", "sell 4 IBM"):
        ack = await bench.ask(line)
        assert ack.outcome is not Outcome.REFUSED, ack.message
        await bench.ask("reconcile")
    inject()
    await assert_books_agree(bench, other, orders=3)
    assert bench.position("IBM").qty == 6


@pytest.mark.parametrize("fault", ["duplicate", "reorder"], ids=["19-duplicate", "20-reorder"])
@in_two_fills
async def test_updates_twice_or_out_of_order_count_once(bench, inject, market, other, fault):
    inject(updates=fault)
    acks = [await bench.ask(line) for line in ("buy 10 IBM", "buy 20 BAC", "buy 3 AIG")]
    market.call(step_s=10)
    inject()
    await bench.filled("sell 2 BAC")
    await assert_books_agree(bench, other, orders=4)
    assert [bench.told_qty(ack.order.client_order_id) for ack in acks] == [10, 20, 3]


async def test_20_a_late_fill_after_a_cancel_still_counts(bench, other):
    """What has ended goes nowhere, but a fill that crossed the cancel on its way is a fill."""
    order = await bench.resting()
    await bench.ask(f"cancel {order.client_order_id}")
    await bench.until_state(order.client_order_id, "CANCELED")
    books = bench.engine._books
    payload = await other.ask(lambda s: s.order(order.id))
    books.updated({"event": "new", "order": payload | {"status": "new"}})
    assert bench.order(order.client_order_id).state is OrderState.CANCELED
    late = payload | {"status": "canceled", "filled_qty": "4", "filled_avg_price": "100"}
    books.updated(
        {"event": "partial_fill", "execution_id": "e-1", "qty": "4", "price": "100", "order": late}
    )
    assert (bench.position("IBM").qty, bench.told_qty()) == (4, 4)


async def test_18_an_update_that_cant_be_read_has_the_broker_asked(make_bench, proxy, other):
    bench = await make_bench(updates_port=proxy.port)
    proxy.garble = (b'"event":"fill"', b'"event"!"fill"')
    ack = await bench.ask("buy 10 IBM")
    await bench.until_state(ack.order.client_order_id, "FILLED")
    await bench.until(lambda: bench.notices("updates"), "told")
    proxy.garble = None
    await assert_books_agree(bench, other, orders=1)


async def test_18_an_update_that_cant_be_handled_has_the_broker_asked(bench, other, monkeypatch):
    books = bench.engine._books
    honest, failed = books.updated, []

    def broken(update: dict[str, Any]) -> Any:
        if update["event"] == "fill" and len(failed) < 3:
            failed.append(update)
            raise RuntimeError("a mistake in the handler")
        return honest(update)

    monkeypatch.setattr(books, "updated", broken)
    await bench.ask("buy 10 IBM")
    await bench.until(lambda: len(failed) == 3)
    await assert_books_agree(bench, other, orders=1)
    assert bench.notices("updates")


async def test_21_orders_by_another_program_are_external_and_explained(bench, other):
    await other.submit(client_order_id="theirs", symbol="BAC", qty="7")
    below = str((await bench.price("IBM") * 98 // 100).quantize(1))
    await other.submit(
        client_order_id="resting", symbol="IBM", qty="3", type="limit", limit_price=below
    )
    await bench.until(lambda: len(bench.engine.view().orders) == 2)
    assert {order.source for order in bench.engine.view().orders} == {"external"}
    await assert_books_agree(bench, other, orders=2)
    # They count at the gate as our own, and can be canceled from here.
    ack = await bench.ask(CancelOrder(client_order_id="resting"))
    assert ack.outcome is Outcome.ACCEPTED, ack
    await bench.until_state("resting", "CANCELED")
    await assert_books_agree(bench, other, orders=2)


async def test_21_what_another_program_did_while_it_was_away_is_explained_at_the_start(
    make_bench, other
):
    bench = await make_bench()
    await bench.filled("buy 10 IBM")
    await bench.stop()
    await other.submit(client_order_id="theirs", symbol="IBM", qty="7")
    await other.submit(client_order_id="sold", symbol="IBM", qty="5", side="sell")
    bench = await make_bench()
    await assert_books_agree(bench, other, orders=3)
    assert bench.position("IBM").qty == 12


async def test_21_a_position_that_nothing_explains_makes_it_careful_with_the_numbers(bench, other):
    await bench.filled("buy 10 IBM")
    bench.engine._books.set_positions({})
    found = await bench.ask("reconcile")
    assert "IBM: 0 here, 10 at the broker" in found.message
    assert bench.engine.view().trading_state is TradingState.REDUCING
    assert any("IBM" in text for text in bench.notices("reconcile"))
    await assert_books_agree(bench, other, orders=1, trading_state=TradingState.REDUCING)
