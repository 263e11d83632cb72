"""The kill switch and the stop: journaled, latched, and independent of what else is broken."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from console.engine.commands import Flatten, Outcome
from console.engine.runtime import RuntimeInfo
from console.engine.state import OrderState, TradingState
from tests.faults.harness import Bench, assert_books_agree

D = Decimal
HALTED = TradingState.HALTED
DRAIN_S = 5.0


def steps(bench: Bench) -> list[str]:
    """The steps of the flattening as the journal has them."""
    rows = [row for row in bench.engine._journal.rows() if row.kind == "flatten"]
    bodies = [msgspec.json.decode(row.body) for row in rows]
    return [body["step"] for body in bodies if "step" in body]


async def holding(bench: Bench) -> Any:
    """Something of everything: a long, a short, a bracket, an order that waits."""
    await bench.filled("buy 10 IBM")
    await bench.filled("sell 5 BAC")
    await bench.ask("buy 4 SPY +2% -1%")
    await bench.until(lambda: bench.position("SPY"))
    return await bench.resting(qty=3)


async def test_each_step_is_journaled_and_halted_stays_over_a_restart(make_bench, other):
    bench = await make_bench()
    waiting = await holding(bench)
    done = await bench.ask("flatten the test says so")
    assert "verified flat" in done.message
    assert steps(bench) == ["cancel", "close", "verify", "done"]
    assert bench.order(waiting.client_order_id).state is OrderState.CANCELED
    assert bench.engine.view().positions == ()
    await assert_books_agree(bench, other, trading_state=HALTED)
    await bench.stop()

    bench = await make_bench()
    view = bench.engine.view()
    assert (view.trading_state, view.trading_reason) == (HALTED, "flatten: the test says so")
    assert (await bench.ask("buy 1 IBM")).outcome is Outcome.REFUSED
    assert (await bench.ask("resume")).outcome is Outcome.ACCEPTED
    await bench.filled("buy 1 IBM")
    await assert_books_agree(bench, other)


@pytest.mark.parametrize("point", ["flatten-halted", "flatten-canceled", "flatten-closed"])
async def test_killed_in_the_middle_it_goes_on_at_the_next_start(
    make_bench, make_child, other, point
):
    bench = await make_bench()
    await holding(bench)
    await bench.stop()
    child = await make_child(crash_at=point)
    assert await child.ask("flatten") is None
    await child.died()
    bench = await make_bench()
    await bench.until(lambda: steps(bench)[-1:] == ["done"], "flattened to the end")
    assert bench.engine.view().positions == ()
    theirs = await assert_books_agree(bench, other, trading_state=HALTED)
    closing = [o for o in theirs if books_source(bench, o) == "flatten"]
    assert len(closing) == 3, "each position is closed once"


def books_source(bench: Bench, payload: dict[str, Any]) -> str:
    return bench.engine._books.find(payload["id"]).source


async def test_it_works_while_market_data_is_dead(make_bench, inject, other, until_async):
    bench = await make_bench("feed.quote_stale_s=0.1")
    await holding(bench)
    dead = {"method": "GET", "path": "/v2/stocks", "status": 503, "count": 1000}
    inject(requests=[dead])
    await until_async(lambda: stale(bench))
    refused = await bench.ask("buy 1 IBM")
    assert refused.outcome is Outcome.REFUSED, "no order without a quote"
    done = await bench.ask("flatten")
    assert "verified flat" in done.message
    assert bench.engine.view().positions == ()
    await assert_books_agree(bench, other, trading_state=HALTED)


def stale(bench: Bench) -> bool:
    at = bench.engine._gatekeeper.quoted_at("IBM")
    return at is None or time.monotonic() - at > 0.1


async def test_it_insists_while_the_broker_is_away(make_bench, proxy, other, until_async):
    bench = await make_bench(port=proxy.port)
    await bench.filled("buy 10 IBM")
    proxy.cut()
    flattening = asyncio.create_task(bench.ask(Flatten(reason="away")))

    def tried() -> int:
        rows = [row for row in bench.engine._journal.rows() if row.kind == "flatten"]
        return sum(b"tried again" in row.body for row in rows)

    await until_async(lambda: tried() >= 2, "tried, and tried again")
    assert bench.engine.view().trading_state is HALTED
    assert steps(bench) == ["cancel"]
    assert not flattening.done()
    proxy.open = True
    assert "verified flat" in (await flattening).message
    await assert_books_agree(bench, other, orders=2, trading_state=HALTED)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process: Linux")
async def test_with_a_full_disk_it_halts_and_cancels_at_once_and_closes_when_rows_can_be_written(
    make_child, make_bench, other, until_async
):
    child = await make_child("engine.reconcile_every_s=1")
    price = (await child.ask("preview buy 1 IBM")).risk.price
    await child.ask("buy 10 IBM")
    await child.ask(f"buy 3 IBM @ {price * D('0.98'):.2f}")
    pid = child.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    await child.send("flatten")

    async def canceled() -> bool:
        return sorted(o["status"] for o in await other.orders()) == ["canceled", "filled"]

    await until_async(canceled, "the waiting order is canceled")
    # No order leaves without its row, not even the one that closes.
    assert len(await other.ask(lambda s: s.positions())) == 1
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    async def flat() -> bool:
        return await other.ask(lambda s: s.positions()) == []

    await until_async(flat, "closed once the disk has room")
    await child.stop()
    bench = await make_bench()
    await bench.until(lambda: steps(bench)[-1:] == ["done"])
    await assert_books_agree(bench, other, orders=3, trading_state=HALTED)


async def test_at_a_closed_market_it_waits_for_the_open_and_then_is_flat(bench, market, other):
    await bench.filled("buy 10 IBM")

    async def play_until(is_open: bool) -> None:
        for _ in range(200):
            if (await asyncio.to_thread(market.call, step_s=600))["is_open"] is is_open:
                return
        pytest.fail("the market's state does not change")

    await play_until(False)
    await bench.until(lambda: not bench.engine.view().session.is_open)
    done = await bench.ask("flatten over night")
    assert "wait at the broker for the open" in done.message
    assert steps(bench)[-1] == "verify"
    await play_until(True)
    await bench.until(lambda: bench.position("IBM") is None, "closed at the open")
    await bench.until(lambda: bench.engine.view().session.is_open)
    await bench.ask("reconcile")
    await bench.ask("flatten over night")
    assert steps(bench)[-1] == "done"
    await assert_books_agree(bench, other, orders=2, trading_state=HALTED)


async def test_closing_orders_that_wait_for_the_open_are_not_sent_again_by_the_next_start(
    bench, make_bench, market, other
):
    await bench.filled("buy 10 IBM")
    for _ in range(200):
        if not (await asyncio.to_thread(market.call, step_s=600))["is_open"]:
            break
    await bench.until(lambda: not bench.engine.view().session.is_open)
    await bench.ask("flatten over night")
    await bench.stop()
    bench = await make_bench()
    await bench.ended({"flatten resumed"})
    assert steps(bench)[-1] == "verify"
    # Not even one that the broker refuses because the first has the shares.
    sides = [order.side.value for order in bench.engine.view().orders]
    assert sorted(sides) == ["buy", "sell"]
    assert len(await other.orders()) == 2


async def test_the_command_line_halts_reduces_resumes_and_flattens(
    bench, command_line, make_settings, other
):
    await bench.filled("buy 10 IBM")
    state_dir = make_settings().state_dir
    RuntimeInfo(
        pid=os.getpid(), mode="DEMO", started_at="2026-01-01T00:00:00Z", ports=bench.engine.ports
    ).write(state_dir)

    async def cli(*arguments: str) -> Any:
        place = ("--state-dir", str(state_dir), "--format", "json")
        ran = await asyncio.to_thread(command_line, *arguments, *place)
        assert ran.code in (0, 1, 2), ran.err
        return ran

    for word, state in (
        ("reduce", TradingState.REDUCING), ("halt", HALTED), ("resume", TradingState.ACTIVE),
    ):  # fmt: skip
        ran = await cli(word, "for the test")
        assert ran.code == 0, ran.err
        assert bench.engine.view().trading_state is state
    assert (await cli("flatten")).code == 2
    assert bench.position("IBM").qty == 10
    flat = await cli("flatten", "--yes", "by script")
    assert "verified flat" in flat.document["message"]
    view = bench.engine.view()
    assert (view.trading_state, view.trading_reason) == (HALTED, "flatten: by script")
    await assert_books_agree(bench, other, orders=2, trading_state=HALTED)


@pytest.mark.parametrize("is_noted", [True, False], ids=["resumed", "resumed-and-then-killed"])
async def test_what_is_bought_after_a_resume_is_not_sold_by_a_flattening_left_unfinished(
    bench, other, is_noted
):
    await bench.ask("halt")
    left = {"step": "verify", "reason": "yesterday", "text": "not flat yet"}

    async def leave_unfinished() -> None:
        books = bench.engine._books
        row = books.set_standing("flatten", "flatten", left, is_open=True, urgent=True)
        await asyncio.wrap_future(row)

    if is_noted:
        await leave_unfinished()
    assert (await bench.ask("resume")).outcome is Outcome.ACCEPTED
    if not is_noted:
        await leave_unfinished()
    await bench.filled("buy 10 IBM")
    bench.engine._resume_flatten()
    await bench.ended({"flatten resumed"})
    assert bench.position("IBM").qty == 10
    assert steps(bench) == ["verify", "done"]
    await assert_books_agree(bench, other, orders=1)


# -- the stop --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_exit", "held", "waiting"),
    [("leave", 10, "new"), ("cancel_orders", 10, "canceled"), ("flatten", 0, "canceled")],
)
async def test_at_the_exit_orders_and_positions_are_left_as_the_settings_say(
    make_child, make_bench, other, on_exit, held, waiting
):
    child = await make_child(f"engine.on_exit={on_exit}")
    price = (await child.ask("preview buy 1 IBM")).risk.price
    await child.ask("buy 10 IBM")
    order = (await child.ask(f"buy 3 IBM @ {price * D('0.98'):.2f}")).order
    began = time.monotonic()
    assert await child.stop() == 0
    assert time.monotonic() - began < DRAIN_S
    positions = await other.ask(lambda s: s.positions())
    assert sum(int(p["qty"]) for p in positions) == held
    theirs = await other.ask(lambda s: s.order_by_client_id(order.client_order_id))
    assert theirs["status"] == waiting
    bench = await make_bench()
    state = HALTED if on_exit == "flatten" else TradingState.ACTIVE
    await assert_books_agree(bench, other, trading_state=state)
    (last,) = [row for row in bench.engine._journal.rows() if row.kind == "stopped"]
    body = msgspec.json.decode(last.body)
    assert body["held"] == ({"IBM": "10"} if held else {})
    assert body["open"] == ([order.client_order_id] if waiting == "new" else [])
