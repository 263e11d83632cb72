"""Faults 5–8: the broker accepts an order and answers 429, 500, 503 or 504."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from console.engine.commands import Outcome, Reconcile, SettleOrder
from console.engine.state import OrderState, TradingState
from tests.faults.harness import HandClocks, assert_books_agree

D = Decimal
LOOK_UPS = [0.25, 0.5, 1, 2, 4]
FAILURES = [pytest.param(status, id=f"{number:02}-{status}") for number, status in
            ((6, 500), (7, 503), (8, 504))]  # fmt: skip


async def test_05_429_after_it_was_accepted_is_one_order_under_the_same_id(
    make_bench, inject, other
):
    bench = await make_bench(clocks=HandClocks().clocks)
    inject(
        requests=[{"method": "POST", "path": "/v2/orders", "status": 429, "after": True}],
        updates="mute",
    )
    ack = await bench.filled("buy 10 IBM")
    (theirs,) = await assert_books_agree(bench, other, orders=1)
    assert theirs["client_order_id"] == ack.order.client_order_id


class Meanwhile(HandClocks):
    """Something happens in the engine's next pause."""

    happens: Callable[[], Awaitable[object]] | None = None

    async def sleep(self, seconds: float) -> None:
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        await super().sleep(seconds)


async def test_05_429_and_a_halt_before_the_reset_it_is_looked_up_and_found(
    make_bench, inject, other
):
    hand = Meanwhile()
    bench = await make_bench(clocks=hand.clocks)
    inject(
        requests=[{"method": "POST", "path": "/v2/orders", "status": 429, "after": True}],
        updates="mute",
    )
    hand.happens = lambda: bench.ask("halt")
    ack = await bench.ask("buy 10 IBM")
    assert ack.order.state is OrderState.FILLED, ack
    await assert_books_agree(bench, other, orders=1, trading_state=TradingState.HALTED)


async def test_05_429_before_it_was_accepted_is_sent_again_after_the_reset(
    make_bench, inject, other
):
    hand = HandClocks()
    bench = await make_bench(clocks=hand.clocks)
    inject(requests=[{"method": "POST", "path": "/v2/orders", "status": 429, "count": 2}])
    await bench.filled("buy 10 IBM")
    assert len(hand.pauses) == 2
    await assert_books_agree(bench, other, orders=1)


async def test_05_429_after_a_replacement_was_accepted_is_no_rejection(make_bench, inject, other):
    bench = await make_bench(clocks=HandClocks().clocks)
    old = await bench.resting()
    inject(
        requests=[{"method": "PATCH", "status": 429, "after": True}],
        updates="mute",
    )
    ack = await bench.ask(f"replace {old.client_order_id} 5 @ {old.limit_price}")
    assert ack.outcome is Outcome.ACCEPTED, ack
    assert ack.order.state is OrderState.WORKING
    inject()
    await bench.ask(Reconcile())
    await assert_books_agree(bench, other, orders=2)


@pytest.mark.parametrize("status", FAILURES)
async def test_no_answer_after_it_was_accepted_is_looked_up_and_never_sent_again(
    make_bench, inject, other, status
):
    hand = HandClocks()
    bench = await make_bench(clocks=hand.clocks)
    inject(
        requests=[
            {"method": "POST", "path": "/v2/orders", "status": status, "after": True},
            {"method": "GET", "path": "/v2/orders:by_client_order_id", "status": 404, "count": 2},
        ],
        updates="mute",
    )
    ack = await bench.ask("buy 10 IBM")
    assert ack.order.state is OrderState.FILLED, ack
    assert hand.pauses == LOOK_UPS[:3]
    assert bench.notices(f"unknown {ack.order.client_order_id}")
    await assert_books_agree(bench, other, orders=1)


@pytest.mark.parametrize("status", FAILURES)
async def test_no_answer_and_not_found_stays_in_doubt_until_somebody_settles_it(
    make_bench, inject, other, status
):
    hand = HandClocks()
    bench = await make_bench("risk.max_order_notional=200000", clocks=hand.clocks)
    inject(requests=[{"method": "POST", "path": "/v2/orders", "status": status}])
    before = (await bench.ask("preview buy 1 BAC")).risk.buying_power_after
    ack = await bench.ask("buy 100 IBM")
    assert (ack.outcome, ack.order.state) == (Outcome.UNKNOWN, OrderState.UNKNOWN)
    assert hand.pauses == LOOK_UPS

    blocked = await bench.ask("buy 1 IBM")
    assert [refusal.check for refusal in blocked.refusals] == ["order_in_doubt"]
    await bench.ask(Reconcile())
    after = (await bench.ask("preview buy 1 BAC")).risk.buying_power_after
    assert before - after == ack.risk.notional, "what is in doubt must stay reserved"
    await bench.filled("buy 1 BAC")
    await assert_books_agree(bench, other, orders=1, in_doubt=1)

    order_id = ack.order.client_order_id
    settled = await bench.ask(SettleOrder(client_order_id=order_id, outcome="rejected"))
    assert settled.outcome is Outcome.ACCEPTED
    await bench.filled("buy 2 IBM")
    await assert_books_agree(bench, other, orders=2)


async def test_08_an_order_that_was_settled_and_arrives_all_the_same_counts(
    make_bench, inject, other, market
):
    """A person's word ends the doubt; the broker's, when it comes, is the truth."""
    bench = await make_bench(clocks=HandClocks().clocks)
    inject(
        requests=[
            {"method": "POST", "path": "/v2/orders", "status": 504, "after": True},
            {"method": "GET", "path": "/v2/orders", "status": 404, "count": 5},
        ],
        updates="mute",
    )
    below = (await bench.price("IBM") * 98 / 100).quantize(D("0.01"))
    ack = await bench.ask(f"buy 10 IBM @ {below}")
    assert ack.order.state is OrderState.UNKNOWN
    order_id = ack.order.client_order_id
    inject(requests=[{"method": "GET", "path": "/v2/orders", "status": 503, "count": 3}])
    await bench.ask(SettleOrder(client_order_id=order_id, outcome="rejected"))
    assert bench.order(order_id).state is OrderState.REJECTED
    inject()
    await bench.ask(Reconcile())
    assert bench.order(order_id).state is OrderState.WORKING
    await assert_books_agree(bench, other, orders=1)
