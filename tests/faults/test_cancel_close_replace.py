"""Canceling, closing and replacing while orders end, or are refused, on their own."""

from __future__ import annotations

from typing import Any

import pytest

from console.engine.commands import CancelAll, Outcome
from console.engine.state import OrderState
from tests.faults.harness import Bench, assert_books_agree


async def protected(bench: Bench) -> list[str]:
    """A position with a take-profit and a stop-loss at the broker; the ids of the two."""
    ack = await bench.filled("buy 10 IBM +2% -1%")
    identity = ack.order.client_order_id
    await bench.until(lambda: len(bench.order(identity).legs) == 2, "its legs")
    await bench.until(lambda: bench.position("IBM") is not None, "the position")
    return list(bench.order(identity).legs)


@pytest.mark.parametrize(
    ("setting", "before", "line", "check"),
    [
        ("", "halt for the test", "close IBM", "trading_state"),
        ("risk.max_orders_per_minute=1", "", "close IBM", "order_rate"),
        ("", "", "close 1% IBM", "quantity"),
    ],
)
async def test_a_close_that_would_be_refused_leaves_the_stop_where_it_is(
    make_bench, other, setting, before, line, check
):
    bench = await make_bench(*filter(None, [setting]))
    legs = await protected(bench)
    if before:
        await bench.ask(before)
    ack = await bench.ask(line)
    assert ack.outcome is Outcome.REFUSED, ack
    assert check in [refusal.check for refusal in ack.refusals]
    theirs = {order["id"]: order["status"] for order in await other.orders()}
    assert not {theirs[bench.order(leg).id] for leg in legs} & {"canceled", "expired"}
    assert not any(bench.order(leg).state.is_final for leg in legs)


async def test_while_reducing_a_protected_position_can_be_closed(bench, other):
    """Its own stop is what the closing order would be too much beside; canceling cures that."""
    legs = await protected(bench)
    await bench.ask("reduce for the test")
    ack = await bench.ask("close IBM")
    assert ack.outcome is Outcome.ACCEPTED, ack
    await bench.until_state(ack.order.client_order_id, "FILLED")
    assert all(bench.order(leg).state is OrderState.CANCELED for leg in legs)


async def test_canceling_a_bracket_by_its_symbol_is_no_refusal_though_one_leg_ends_the_other(
    bench, other
):
    legs = await protected(bench)
    ack = await bench.ask(CancelAll(symbol="IBM"))
    assert ack.outcome is Outcome.ACCEPTED, ack
    for leg in legs:
        await bench.until_state(leg, "CANCELED")
    await assert_books_agree(bench, other)


async def test_what_the_broker_wont_cancel_of_all_orders_is_named_and_not_counted(
    bench, monkeypatch
):
    gone, kept = await bench.resting(), await bench.resting(qty=11)
    cancel_all = bench.session.cancel_all_orders

    def all_but_one() -> list[dict[str, Any]]:
        bench.session.cancel_order(gone.id)
        refusal = {"code": 40410000, "message": "not cancelable now"}
        return [
            {"id": gone.id, "status": 200},
            {"id": kept.id, "status": 500, "body": refusal},
        ]

    monkeypatch.setattr(bench.session, "cancel_all_orders", all_but_one)
    ack = await bench.ask("cancel all")
    monkeypatch.setattr(bench.session, "cancel_all_orders", cancel_all)
    assert ack.outcome is Outcome.REFUSED, ack
    assert "cancel asked for 1 order;" in ack.message
    assert kept.client_order_id in ack.message
    assert "not cancelable now" in ack.message
    assert [order.client_order_id for order in ack.orders] == [gone.client_order_id]


async def test_what_ended_while_all_were_canceled_is_no_refusal(bench, monkeypatch):
    gone = await bench.resting()

    def too_late() -> list[dict[str, Any]]:
        bench.session.cancel_order(gone.id)
        return [{"id": gone.id, "status": 422, "body": {"message": "it is canceled"}}]

    monkeypatch.setattr(bench.session, "cancel_all_orders", too_late)
    ack = await bench.ask("cancel all")
    assert ack.outcome is Outcome.ACCEPTED, ack
    assert ack.message == "cancel asked for 0 orders"


async def test_an_order_that_ends_while_its_replacement_waits_for_a_quote_reserves_nothing(
    bench, other, monkeypatch
):
    old = await bench.resting()
    ensure_quote = bench.engine._feed.ensure_quote

    async def meanwhile(symbol: str) -> None:
        await ensure_quote(symbol)
        await other.ask(lambda s: s.cancel_order(old.id))
        await bench.until_state(old.client_order_id, "CANCELED")

    monkeypatch.setattr(bench.engine._feed, "ensure_quote", meanwhile)
    ack = await bench.ask(f"replace {old.client_order_id} 5")
    assert ack.outcome is Outcome.REFUSED, ack
    assert "CANCELED" in ack.message
    assert not bench.engine._gatekeeper._open
    assert len(bench.engine.view().orders) == 1
