"""Faults 22–25: a second engine, clocks that jump, a full disk, a damaged journal."""

from __future__ import annotations

import resource
from decimal import Decimal
from pathlib import Path

import pytest

from console.engine.commands import CancelOrder, GetState, Outcome
from console.engine.journal_files import StateDirLocked
from console.engine.state import OrderState
from tests.conftest import FREE_PORTS
from tests.faults.harness import HandClocks, assert_books_agree

HOUR = 3600


# -- 22 --------------------------------------------------------------------------------------------


async def test_22_a_second_engine_on_one_journal_is_refused_and_harms_nothing(
    make_bench, make_child, make_settings, market, other, command_line
):
    first = await make_child()
    await first.ask("buy 10 IBM")
    state_dir = make_settings().state_dir
    with pytest.raises(StateDirLocked, match=str(first.process.pid)) as refused:
        await make_bench()
    assert refused.value.exit_code == 73
    free = [part for value in FREE_PORTS for part in ("--set", value)]
    ran = command_line("headless", "--demo", "--state-dir", str(state_dir), *free)
    assert ran.code == 73
    assert str(first.process.pid) in ran.err
    ack = await first.ask("buy 5 IBM")
    assert ack.outcome is Outcome.ACCEPTED
    await first.stop()
    await assert_books_agree(await make_bench(), other, orders=2)


# -- 23 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_23_a_wall_clock_that_jumps_makes_nothing_stale_or_fresh(make_bench, other, jump):
    hand = HandClocks()
    bench = await make_bench(clocks=hand.clocks)
    await bench.filled("buy 10 IBM")
    before = bench.engine.view()
    hand.set_wall(jump)
    await bench.filled("buy 7 IBM")
    assert bench.notices("clock") == [
        f"the wall clock jumped by {jump:+} s; the books are compared with the broker"
    ]
    after = bench.engine.view()
    assert after.ready
    assert {c.name: c.state for c in after.connections} == {
        c.name: c.state for c in before.connections
    }
    moved = after.session.market_time - before.session.market_time
    assert abs(moved.total_seconds()) < 60
    assert all(age < 60 for _, age in bench.engine.health()["connections"].values())
    await assert_books_agree(bench, other, orders=2)


async def test_23_a_quote_from_before_the_machine_slept_is_not_taken_for_a_fresh_one(
    make_bench, other, proxy
):
    hand = HandClocks()
    bench = await make_bench(clocks=hand.clocks, port=proxy.port)
    await bench.filled("buy 10 IBM")
    quoted = bench.engine._gatekeeper.quoted_at("IBM")
    assert hand.monotonic() - quoted < bench.settings.feed.quote_stale_s
    # The monotonic clock stood still for an hour: by it the quote is as young as before.
    hand.set_wall(HOUR)
    proxy.cut()
    refused = await bench.ask("buy 7 IBM")
    assert "stale" in " ".join(r.check for r in refused.refusals) or not bench.engine.view().ready
    assert refused.outcome is Outcome.REFUSED
    assert bench.engine._gatekeeper.quoted_at("IBM") is None
    proxy.open = True
    await bench.ready()
    await bench.filled("buy 7 IBM")
    await assert_books_agree(bench, other, orders=2)


async def test_23_an_old_quote_stays_old_when_the_wall_clock_is_set_back(make_bench, market, other):
    hand = HandClocks()
    bench = await make_bench(clocks=hand.clocks)
    await bench.filled("buy 10 IBM")
    stale_s = bench.settings.feed.quote_stale_s
    hand.advance(2 * stale_s)
    hand.set_wall(-2 * stale_s)
    touch = bench.engine._gatekeeper
    assert touch.quoted_at("IBM") is None or hand.monotonic() - touch.quoted_at("IBM") > stale_s
    await assert_books_agree(bench, other, orders=1)


# -- 24 --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process: Linux")
@pytest.mark.parametrize("left", [0, 200], ids=["nothing-fits", "half-a-row-fits"])
async def test_24_with_a_full_disk_no_order_leaves_and_cancels_pass(
    make_child, make_bench, make_settings, other, left, until_async
):
    child = await make_child()
    price = (await child.ask("preview buy 1 IBM")).risk.price
    waiting = await child.ask(f"buy 10 IBM @ {(price * Decimal('0.98')):.2f}")
    pid = child.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    full = _size(make_settings().state_dir / "journal-demo.db-wal") + left if left else 0
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (full, hard))

    refused = await child.ask("buy 3 IBM")
    assert refused.outcome is Outcome.REFUSED
    assert "journal" in refused.message
    again = await child.ask("buy 4 IBM")
    assert [r.check for r in again.refusals] == ["ready"]
    assert "no order" in again.message or "journal" in again.message
    assert len(await other.orders()) == 1
    canceled = await child.ask(CancelOrder(client_order_id=waiting.order.client_order_id))
    assert canceled.outcome is Outcome.ACCEPTED, canceled
    assert [o["status"] for o in await other.orders()] == ["canceled"]

    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    async def ready():
        return (await child.ask(GetState())).state.ready

    await until_async(ready, "ready again once the disk has room")
    bought = await child.ask("buy 5 IBM")
    assert bought.outcome is Outcome.ACCEPTED, bought
    await child.stop()
    bench = await make_bench()
    await assert_books_agree(bench, other, orders=2)
    assert bench.engine._journal.opened.sound


def _size(path: Path) -> int:
    return path.stat().st_size


# -- 25 --------------------------------------------------------------------------------------------


async def test_25_rows_that_were_changed_are_kept_aside_told_and_learned_anew(
    make_bench, make_settings, other
):
    bench = await make_bench()
    await bench.filled("buy 10 IBM")
    resting = await bench.resting()
    await bench.stop()
    path = make_settings().state_dir / "journal-demo.db"
    whole = bytearray(path.read_bytes())
    at = whole.rindex(b'"WORKING"')
    whole[at : at + 9] = b'"FILLED" '
    path.write_bytes(whole)

    bench = await make_bench()
    (told,) = bench.notices("journal")
    assert "was changed after it was written" in told
    assert bench.engine._journal.opened.kept_aside.exists()
    assert bench.order(resting.client_order_id).state is OrderState.WORKING
    await assert_books_agree(bench, other, orders=2)
    await bench.filled("buy 3 IBM")
    await assert_books_agree(bench, other, orders=3)


async def test_25_where_nothing_is_left_of_it_the_broker_is_believed_and_a_person_told(
    make_bench, make_settings, other
):
    bench = await make_bench()
    await bench.filled("buy 10 IBM")
    resting = await bench.resting()
    await bench.stop()
    path = make_settings().state_dir / "journal-demo.db"
    path.write_bytes(b"no database any more, " * 1000)

    bench = await make_bench()
    (told,) = bench.notices("journal")
    assert "damaged" in told
    assert (bench.engine._journal.opened.kept_aside / path.name).exists()
    assert bench.position("IBM").qty == 10
    known = bench.order(resting.client_order_id)
    assert (known.state, known.source) == (OrderState.WORKING, "external")
    await bench.filled("buy 3 IBM")
    assert len(await other.orders()) == 3
    assert bench.position("IBM").qty == 13
    assert bench.engine._journal.verify().sound
