"""Faults 12–14: an id that is taken, keys that no longer hold, a name that no longer resolves."""

from __future__ import annotations

import socket
from decimal import Decimal
from typing import Any

import pytest

from console.engine.commands import GetOrder, Outcome, Reconcile, SubmitOrder
from console.engine.state import ConnectionState, OrderState, Side, TradingState
from tests.faults.harness import HandClocks, assert_books_agree

LOOPS = {"market clock", "refresh", "reconcile", "silence watch"}


async def test_12_an_id_that_is_taken_by_our_own_order_is_recognised(make_bench, inject, other):
    """The broker has the order from before, though the engine has been told otherwise."""
    bench = await make_bench(clocks=HandClocks().clocks)
    inject(
        requests=[{"method": "POST", "path": "/v2/orders", "status": 429, "after": True}],
        updates="mute",
    )
    command = SubmitOrder(symbol="IBM", side=Side.BUY, qty=Decimal(10), client_order_id="ours")
    ack = await bench.ask(command)
    assert (ack.order.client_order_id, ack.order.state) == ("ours", OrderState.FILLED)
    story = (await bench.ask(GetOrder(order_id="ours"))).story
    assert any("it had arrived" in line.text for line in story)
    await assert_books_agree(bench, other, orders=1)


async def test_12_an_id_that_is_taken_by_anothers_order_is_refused_and_the_other_shown(
    make_bench, inject, other
):
    bench = await make_bench()
    inject(updates="mute")
    theirs = await other.submit(client_order_id="taken", symbol="BAC", qty="7")
    inject()
    command = SubmitOrder(symbol="IBM", side=Side.BUY, qty=Decimal(10), client_order_id="taken")
    ack = await bench.ask(command)
    assert (ack.outcome, ack.order.state) == (Outcome.REFUSED, OrderState.REJECTED)
    assert "another order" in ack.order.reason
    await bench.ask(Reconcile())
    external = bench.engine._books.find(theirs["id"])
    assert (external.source, external.symbol, external.filled_qty) == ("external", "BAC", 7)
    assert bench.order("taken").state is OrderState.REJECTED
    await assert_books_agree(bench, other, orders=1)


@pytest.mark.parametrize("asked", ["order", "read"])
async def test_13_keys_that_no_longer_hold_halt_it_and_end_the_asking(
    make_bench, inject, other, asked
):
    bench = await make_bench()
    await bench.filled("buy 10 IBM")
    order = asked == "order"
    fault = {"method": "POST", "path": "/v2/orders"} if order else {"path": "/v2/account"}
    inject(requests=[fault | {"status": 401, "count": 1_000}])
    if order:
        ack = await bench.ask("buy 5 IBM")
        assert ack.outcome is Outcome.REFUSED
        assert "ALPACA_SECRET_KEY" in ack.message
    await bench.until(lambda: bench.engine.view().trading_state is TradingState.HALTED)
    assert any("ALPACA_SECRET_KEY" in text for text in bench.notices("broker"))
    assert not bench.engine.view().ready
    # No retry storm: whatever asks the broker of itself has ended.
    await bench.ended(LOOPS)
    asked_so_far = bench.session.stats().requests
    refused = await bench.ask("buy 1 BAC")
    assert refused.outcome is Outcome.REFUSED
    assert bench.session.stats().requests == asked_so_far
    await bench.stop()

    inject()
    bench = await make_bench()
    await assert_books_agree(bench, other, orders=1, trading_state=TradingState.HALTED)
    await bench.ask("resume")
    await bench.filled("buy 1 BAC")


async def test_14_a_name_that_doesnt_resolve_is_waited_for_and_the_books_are_compared(
    make_bench, proxy, other, monkeypatch
):
    bench = await make_bench(port=proxy.port, host="localhost")
    order = await bench.resting("IBM", 10)
    honest = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("localhost", b"localhost"):
            asked.append("localhost")
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return honest(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    proxy.reset_all()
    await bench.until(lambda: not bench.engine.view().ready)
    await bench.until(lambda: bench.connection("broker") is ConnectionState.LOST)
    refused = await bench.ask("buy 1 BAC")
    assert [refusal.check for refusal in refused.refusals] == ["ready"]
    assert asked
    # Meanwhile it is filled, and somebody else trades.
    above = str((order.limit_price * 11 / 10).quantize(order.limit_price))
    await other.ask(lambda s: s.replace_order(order.id, {"limit_price": above}))
    await other.submit(client_order_id="elsewhere", symbol="BAC", qty="7")

    monkeypatch.setattr(socket, "getaddrinfo", honest)
    await bench.ready()
    await assert_books_agree(bench, other, orders=3)
    await bench.filled("buy 1 BAC")
