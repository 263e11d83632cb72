"""The whole thread over real sockets: command, risk, journal, POST, fill, position, and back."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
import zmq.asyncio

from console.bridge.security import BusKeys, Keypair, generate
from console.broker.session import BrokerSession
from console.engine.commands import (
    Ack,
    ControlReplay,
    GetOrder,
    GetState,
    Outcome,
    SettleOrder,
    SetTradingState,
    SubmitOrder,
    encode,
)
from console.engine.crash import CrashPointRefused
from console.engine.events import (
    MarketFrame,
    OrderChanged,
    OrderFilled,
    PositionsChanged,
    Snapshot,
    TradingStateChanged,
    decode_event,
)
from console.engine.journal_files import StateDirLocked
from console.engine.link import LinkError, LocalLink, RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import OrderState, Side, TradingState
from console.services import market_data_settings
from signal_bridge import FeedReceiver, Service
from tests.faults.harness import LIMIT_S, Bench, Child, Replay
from tests.faults.proxy import Proxy

D = Decimal
MINUTE = 60


@pytest.fixture
def market(make_exchange) -> Any:
    """An exchange that stands still, five minutes into its first session."""
    exchange = make_exchange(paused=True)
    exchange.call(step_s=30 + 5 * MINUTE)
    return exchange


@pytest.fixture
async def make_bench(make_settings, market) -> AsyncIterator[Callable[..., Any]]:
    """Engines on that exchange; all on one state directory, so one at a time."""
    benches: list[Bench] = []

    async def make(*values: str, feed: Any = None) -> Bench:
        bench = Bench(make_settings(*values), market.port, replay=Replay(market.call), feed=feed)
        benches.append(bench)
        return await bench.start()

    yield make
    for bench in benches:
        await bench.stop()


@pytest.fixture
async def bench(make_bench) -> Bench:
    return await make_bench()


@pytest.fixture
def broker(market, make_settings) -> Any:
    """The same account, by another program."""
    session = BrokerSession(make_settings().endpoint(market.port))
    yield session
    session.close()


async def in_thread(call: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(call)


# -- an order's way --------------------------------------------------------------------------------


async def test_a_line_becomes_a_fill_and_a_position(bench, broker):
    assert bench.engine.view().ready
    ack = await bench.ask("buy 100 IBM")
    assert ack.outcome is Outcome.ACCEPTED, ack
    order = await bench.until_state(ack.order.client_order_id, "FILLED")
    assert (order.filled_qty, order.source) == (D(100), "keyboard")
    held = await bench.until(lambda: bench.position("IBM"))
    assert held.qty == D(100)

    states = [e.order.state for e in bench.said(OrderChanged)]
    assert states[:2] == [OrderState.SENDING, OrderState.ACK]
    assert states[-1] is OrderState.FILLED
    fills = bench.said(OrderFilled)
    assert sum(fill.qty for fill in fills) == D(100)
    assert fills[0].bid is not None
    assert fills[0].ask >= fills[0].bid

    theirs = await in_thread(lambda: broker.order_by_client_id(order.client_order_id))
    assert (theirs["id"], theirs["status"]) == (order.id, "filled")
    assert bench.engine._journal.verify().sound


async def test_events_are_numbered_without_a_gap(bench):
    await bench.filled("buy 10 IBM")
    numbers = [event.seq for event in bench.events if not isinstance(event, MarketFrame)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_an_orders_story_is_told_from_the_journal(bench):
    ack = await bench.filled("buy 10 IBM")
    order = bench.order(ack.order.client_order_id)
    for identity in (order.client_order_id, order.id):
        told = await bench.ask(GetOrder(order_id=identity))
        kinds = [line.kind for line in told.story]
        assert told.order == order
        assert kinds[:2] == ["checked", "order"]
        assert {"order", "update", "fill"} <= set(kinds)
        assert "checks pass; 1," in told.story[0].text
        assert "% of equity" in told.story[0].text
        assert told.story[1].text == "sending: buy 10 IBM"
        assert [line.seq for line in told.story] == sorted(line.seq for line in told.story)


async def test_a_limit_waits_is_replaced_and_canceled(bench):
    touch = bench.engine._gatekeeper
    first = await bench.ask("preview buy 1 IBM")
    below = (first.risk.price * D("0.98")).quantize(D("0.01"))
    placed = await bench.ask(f"buy 100 IBM @ {below}")
    assert placed.outcome is Outcome.ACCEPTED, placed
    old = await bench.until_state(placed.order.client_order_id, "WORKING")
    replaced = await bench.ask(f"replace {old.client_order_id} 50 @ {below - D('0.01')}")
    assert replaced.outcome is Outcome.ACCEPTED, replaced
    new = await bench.until_state(replaced.order.client_order_id, "WORKING")
    old = await bench.until_state(old.client_order_id, "REPLACED")
    assert (new.qty, new.limit_price) == (D(50), below - D("0.01"))
    assert (new.replaces, old.replaced_by) == (old.client_order_id, new.client_order_id)
    await bench.ask(ControlReplay(step_s=1.0))
    compared = await bench.ask("reconcile")  # its lineage is told by the broker's ids each time
    assert compared.message == "nothing differs"
    assert bench.order(new.client_order_id).updated_at == new.updated_at
    canceled = await bench.ask(f"cancel {new.client_order_id}")
    assert canceled.outcome is Outcome.ACCEPTED, canceled
    await bench.until_state(new.client_order_id, "CANCELED")
    again = await bench.ask(f"cancel {new.client_order_id}")
    assert again.outcome is Outcome.REFUSED
    assert touch.touch("IBM") is not None


async def test_a_position_is_closed_after_its_orders_are_canceled(bench):
    ack = await bench.filled("buy 100 IBM")
    above = (ack.risk.price * D("1.02")).quantize(D("0.01"))
    waiting = await bench.ask(f"sell 40 IBM @ {above}")
    await bench.until_state(waiting.order.client_order_id, "WORKING")
    half = await bench.ask("close half IBM")
    assert half.outcome is Outcome.ACCEPTED, half
    await bench.until_state(half.order.client_order_id, "FILLED")
    assert bench.order(waiting.order.client_order_id).state is OrderState.CANCELED
    assert bench.position("IBM").qty == D(50)


async def test_a_bracket_has_its_legs_at_the_broker(bench):
    ack = await bench.ask("buy 10 IBM +2% -1%")
    assert ack.outcome is Outcome.ACCEPTED, ack
    parent = await bench.until(
        lambda: next((o for o in bench.engine.view().orders if len(o.legs) == 2), None)
    )
    legs = [bench.order(leg) for leg in parent.legs]
    assert {leg.side for leg in legs} == {Side.SELL}
    assert all(leg.parent == parent.client_order_id for leg in legs)


async def test_money_and_parts_become_whole_shares(bench):
    bought = await bench.ask("buy $5_000 IBM")
    price = bought.risk.price
    assert bought.order.qty == (D(5000) / price).to_integral_value(rounding="ROUND_DOWN")
    await bench.until_state(bought.order.client_order_id, "FILLED")
    sold = await bench.ask("sell half IBM")
    assert sold.order.qty == (bought.order.qty / 2).to_integral_value(rounding="ROUND_DOWN")


# -- what is refused -------------------------------------------------------------------------------


async def test_a_refusal_names_check_limit_and_value_and_nothing_leaves(bench, broker):
    ack = await bench.ask("buy 9999999 IBM")
    assert ack.outcome is Outcome.REFUSED
    by_check = {refusal.check: refusal for refusal in ack.refusals}
    assert any("qty" in check or "quantity" in check for check in by_check), by_check
    assert all(r.limit and r.value and r.message for r in ack.refusals)
    assert ack.order.state is OrderState.REFUSED
    assert await in_thread(lambda: broker.orders(status="all")) == []


async def test_a_symbol_that_doesnt_exist_is_refused(bench):
    ack = await bench.ask("buy 1 NOSUCHSYM")
    assert ack.outcome is Outcome.REFUSED
    assert ack.refusals[0].check == "symbol"


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({"qty": D(1), "notional": D(100)}, "size"),
        ({}, "size"),
        ({"qty": D(-5)}, "quantity"),
        ({"qty": D("NaN")}, "quantity"),
        ({"qty": D(1), "symbol": "IBM\u202eXYZ"}, "symbol"),
        ({"qty": D(1), "limit_price": D(5)}, "price"),
        ({"position_fraction": D(1)}, "position"),
        ({"qty": D(1), "client_order_id": "a b"}, "client_order_id"),
    ],
)
async def test_what_is_no_order_is_refused_by_name(bench, fields, check):
    ack = await bench.ask(SubmitOrder(**{"symbol": "IBM", "side": Side.BUY, **fields}))
    assert ack.outcome is Outcome.REFUSED
    assert [refusal.check for refusal in ack.refusals] == [check]


async def test_a_preview_sends_nothing(bench, broker):
    ack = await bench.ask("preview buy 100 IBM")
    assert (ack.outcome, ack.risk.allowed) == (Outcome.ACCEPTED, True)
    assert ack.risk.notional > 0
    assert ack.risk.buying_power_after > 0
    assert ack.order is None
    assert bench.engine.view().orders == ()
    assert await in_thread(lambda: broker.orders(status="all")) == []


async def test_halted_takes_nothing_and_only_a_person_resumes(bench):
    await bench.ask("halt for the test")
    refused = await bench.ask("buy 1 IBM")
    assert refused.outcome is Outcome.REFUSED
    assert "HALTED" in str(refused.refusals)
    assert not bench.engine.view().ready
    for source in ("signal:momentum", "risk"):
        resume = SetTradingState(state=TradingState.ACTIVE, source=source)
        assert (await bench.ask(resume)).outcome is Outcome.REFUSED
    assert (await bench.ask("resume")).outcome is Outcome.ACCEPTED
    assert (await bench.ask("buy 1 IBM")).outcome is Outcome.ACCEPTED


async def test_a_second_engine_on_the_same_directory_is_refused(bench, make_settings, market):
    with pytest.raises(StateDirLocked) as refused:
        await Bench(make_settings(), market.port).start()
    assert refused.value.exit_code == 73
    assert (await bench.ask(GetState())).state.ready


def test_crash_points_are_refused_outside_tests(make_settings, monkeypatch):
    monkeypatch.setenv("TRADING_CONSOLE_CRASH_AT", "mid-fill")
    with pytest.raises(CrashPointRefused, match="for tests alone"):
        Bench(make_settings(), 1)
    monkeypatch.setenv("TRADING_CONSOLE_TESTING", "1")
    monkeypatch.setenv("TRADING_CONSOLE_CRASH_AT", "nowhere")
    with pytest.raises(CrashPointRefused, match="no such point"):
        Bench(make_settings(), 1)


# -- twice and again -------------------------------------------------------------------------------


async def test_a_command_sent_twice_is_one_order_also_after_a_restart(make_bench, broker):
    bench = await make_bench()
    command = SubmitOrder(id="the-same-command", symbol="IBM", side=Side.BUY, qty=D(10))
    first, second = await asyncio.gather(bench.ask(command), bench.ask(command))
    assert first.order.client_order_id == second.order.client_order_id
    await bench.until_state(first.order.client_order_id, "FILLED")
    await bench.stop()
    bench = await make_bench()
    third = await bench.ask(command)
    assert third.order.client_order_id == first.order.client_order_id
    assert third.order.state is OrderState.FILLED
    assert len(await in_thread(lambda: broker.orders(status="all"))) == 1


async def test_state_orders_and_positions_are_there_after_a_restart(make_bench):
    bench = await make_bench()
    ack = await bench.filled("buy 10 IBM")
    await bench.ask("halt over night")
    await bench.stop()
    bench = await make_bench()
    view = bench.engine.view()
    assert (view.trading_state, view.trading_reason) == (TradingState.HALTED, "over night")
    assert bench.order(ack.order.client_order_id).state is OrderState.FILLED
    assert bench.position("IBM").qty == D(10)


async def test_a_symbol_of_the_feed_that_is_none_is_told_also_to_who_comes_late(make_bench):
    bench = await make_bench('feed.symbols=["IBM", "ZZZZ"]')
    told = await bench.until(lambda: bench.notices("feed"))
    assert "knows no ZZZZ" in told[0]
    late = bench.engine.snapshot().state.notices
    assert [(n.severity, n.text) for n in late if n.topic.startswith("feed")] == [
        ("warning", told[0])
    ]


async def test_the_days_equity_is_told_from_its_beginning_to_who_comes_late(make_bench, market):
    bench = await make_bench()
    await bench.ask("buy 100 IBM")
    held = await bench.until(lambda: bench.position("IBM"))
    market.call(step_s=2 * MINUTE)
    worth = await bench.until(
        lambda: {p.at.minute: p.equity for p in bench.engine.view().equity}.get(37)
    )
    assert worth != D(100_000), held
    await bench.stop()

    market.call(step_s=MINUTE)
    later = await make_bench()
    curve = {p.at.minute: p.equity for p in later.engine.view().equity}
    assert sorted(curve) == [34, 35, 36, 37, 38], "from the account's opening on"
    assert curve[34] == D(100_000) != curve[36]


async def test_what_happened_while_it_was_away_is_told_at_the_start(make_bench, broker, market):
    bench = await make_bench()
    first = await bench.ask("preview buy 1 IBM")
    below = (first.risk.price * D("0.98")).quantize(D("0.01"))
    ack = await bench.ask(f"buy 10 IBM @ {below} gtc")
    await bench.until_state(ack.order.client_order_id, "WORKING")
    await bench.stop()
    theirs = await in_thread(lambda: broker.order_by_client_id(ack.order.client_order_id))
    await in_thread(
        lambda: broker.replace_order(theirs["id"], {"limit_price": str(first.risk.price * 2 // 1)})
    )
    market.call(step_s=MINUTE)
    bench = await make_bench()
    assert bench.order(ack.order.client_order_id).state is OrderState.REPLACED
    await bench.until(lambda: bench.position("IBM"))
    assert bench.position("IBM").qty == D(10)
    assert bench.engine.view().trading_state is TradingState.ACTIVE
    assert sum(fill.qty for fill in bench.said(OrderFilled)) == D(10)


async def test_an_order_made_elsewhere_is_external_and_explains_its_position(bench, broker):
    made = await in_thread(
        lambda: broker.submit_order(
            {
                "client_order_id": "somebody-elses",
                "symbol": "BAC",
                "side": "buy",
                "type": "market",
                "time_in_force": "day",
                "qty": "7",
            }
        )
    )
    order = await bench.until(
        lambda: next(
            (o for o in bench.engine.view().orders if o.id == made["id"] and o.state.is_final), None
        )
    )
    assert (order.source, order.filled_qty) == ("external", D(7))
    await bench.ask("reconcile")
    assert bench.position("BAC").qty == D(7)
    assert bench.engine.view().trading_state is TradingState.ACTIVE


async def test_a_position_that_no_fill_explains_makes_it_careful(make_bench, make_settings, broker):
    bench = await make_bench()
    await bench.filled("buy 10 IBM")
    books = bench.engine._books
    books.set_positions({})
    found = await bench.ask("reconcile")
    assert "IBM: 0 here, 10 at the broker" in found.message
    view = bench.engine.view()
    assert view.trading_state is TradingState.REDUCING
    assert bench.position("IBM").qty == D(10)
    more = await bench.ask("buy 1 IBM")
    assert more.outcome is Outcome.REFUSED
    less = await bench.ask("sell 1 IBM")
    assert less.outcome is Outcome.ACCEPTED, less


# -- the line is cut -------------------------------------------------------------------------------


async def test_fills_missed_while_the_updates_were_cut_are_told_once_after(
    make_settings, market, broker
):
    wire = await Proxy(market.port).start()
    bench = Bench(make_settings(), market.port, replay=Replay(market.call), updates_port=wire.port)
    await bench.start()
    try:
        first = await bench.ask("preview buy 1 IBM")
        below = (first.risk.price * D("0.98")).quantize(D("0.01"))
        ack = await bench.ask(f"buy 10 IBM @ {below}")
        await bench.until_state(ack.order.client_order_id, "WORKING")
        wire.cut()
        await bench.until(lambda: not bench.engine.view().ready)
        refused = await bench.ask("buy 1 IBM")
        assert [r.check for r in refused.refusals] == ["ready"]
        theirs = await in_thread(lambda: broker.order_by_client_id(ack.order.client_order_id))
        above = str((first.risk.price * D("1.02")).quantize(D("0.01")))
        await in_thread(lambda: broker.replace_order(theirs["id"], {"limit_price": above}))
        await in_thread(lambda: market.call(step_s=MINUTE))
        assert bench.told_qty(ack.order.client_order_id) == 0
        wire.open = True
        await bench.until(lambda: bench.engine.view().ready)
        assert bench.order(ack.order.client_order_id).state is OrderState.REPLACED
        assert sum(fill.qty for fill in bench.said(OrderFilled)) == D(10)
        assert bench.position("IBM").qty == D(10)
        assert bench.engine.view().trading_state is TradingState.ACTIVE
        await bench.ask("reconcile")
        assert sum(fill.qty for fill in bench.said(OrderFilled)) == D(10)
    finally:
        await bench.stop()
        await wire.stop()


async def test_a_broker_that_is_not_there_at_the_start_is_waited_for(make_settings, market):
    wire = await Proxy(market.port).start()
    wire.open = False
    bench = Bench(make_settings("broker.connect_timeout_s=0.5"), wire.port)
    await bench.start()
    try:
        assert not bench.engine.view().ready
        refused = await bench.ask("buy 1 IBM")
        assert refused.outcome is Outcome.REFUSED
        wire.open = True
        await bench.until(lambda: bench.engine.view().ready)
        assert bench.engine.view().account is not None
    finally:
        await bench.stop()
        await wire.stop()


async def test_keys_that_dont_hold_end_the_start_and_say_what_to_check(make_settings, market):
    from console.broker.errors import BrokerAuthError

    await Bench(make_settings(), market.port).start_and_stop()
    wrong = make_settings("demo.secret_key=another")
    bench = Bench(wrong, market.port)
    with pytest.raises(BrokerAuthError, match="ALPACA_SECRET_KEY"):
        await bench.start()
    assert not bench.engine._journal._writer.is_alive()


# -- kill −9 ---------------------------------------------------------------------------------------


async def die_at(point: str, market: Any, state_dir: Path, line: str) -> None:
    child = await Child.start(market.port, state_dir, crash_at=point)
    await child.ask(line)
    await child.died()


@pytest.mark.parametrize(
    ("point", "at_broker", "state"),
    [
        ("before-sending-commit", 0, None),
        ("between-commit-and-post", 0, OrderState.UNKNOWN),
        ("between-post-and-ack", 1, OrderState.FILLED),
        ("mid-fill", 1, OrderState.FILLED),
    ],
)
async def test_killed_on_the_way_there_is_one_order_or_none_and_the_engine_knows(
    make_bench, make_settings, market, broker, point, at_broker, state
):
    await die_at(point, market, make_settings().state_dir, "buy 10 IBM")
    bench = await make_bench()
    theirs = await in_thread(lambda: broker.orders(status="all"))
    assert len(theirs) == at_broker
    orders = bench.engine.view().orders
    assert [o.state for o in orders] == ([] if state is None else [state])
    assert bench.engine._journal.verify().sound
    held = bench.position("IBM")
    assert (held.qty if held else 0) == 10 * at_broker
    assert bench.engine.view().trading_state is TradingState.ACTIVE
    if state is OrderState.UNKNOWN:
        blocked = await bench.ask("buy 1 IBM")
        assert blocked.outcome is Outcome.REFUSED
        settle = SettleOrder(client_order_id=orders[0].client_order_id, outcome="rejected")
        assert (await bench.ask(settle)).outcome is Outcome.ACCEPTED
    assert (await bench.ask("buy 3 IBM")).outcome is Outcome.ACCEPTED
    assert len(await in_thread(lambda: broker.orders(status="all"))) == at_broker + 1


# -- the kill switch -------------------------------------------------------------------------------


async def test_flatten_cancels_closes_and_verifies(bench, broker):
    for line in ("buy 10 IBM", "buy 20 BAC"):
        ack = await bench.filled(line)
    below = (ack.risk.price * D("0.98")).quantize(D("0.01"))
    waiting = await bench.ask(f"buy 5 BAC @ {below}")
    await bench.until_state(waiting.order.client_order_id, "WORKING")
    done = await bench.ask("flatten the test says so")
    assert done.outcome is Outcome.ACCEPTED
    assert "verified flat" in done.message
    view = bench.engine.view()
    assert (view.positions, view.trading_state) == ((), TradingState.HALTED)
    assert bench.order(waiting.order.client_order_id).state is OrderState.CANCELED
    assert await in_thread(broker.positions) == []
    assert await in_thread(lambda: broker.orders(status="open")) == []


@pytest.mark.parametrize("point", ["flatten-halted", "flatten-canceled", "flatten-closed"])
async def test_flatten_goes_on_after_a_crash_in_the_middle(
    make_bench, make_settings, market, broker, point
):
    bench = await make_bench()
    await bench.filled("buy 10 IBM")
    await bench.stop()
    await die_at(point, market, make_settings().state_dir, "flatten")
    bench = await make_bench()
    await bench.until(lambda: bench.engine._kill_switch.unfinished() is None or None)
    assert bench.engine.view().trading_state is TradingState.HALTED
    assert await in_thread(broker.positions) == []
    sells = [o for o in await in_thread(lambda: broker.orders(status="all")) if o["side"] == "sell"]
    assert len(sells) == 1


# -- the bus ---------------------------------------------------------------------------------------


@pytest.fixture
async def context() -> AsyncIterator[zmq.asyncio.Context]:
    context = zmq.asyncio.Context()
    yield context
    context.destroy(linger=0)


async def test_a_plain_dealer_commands_and_is_answered(bench, context):
    dealer = context.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{bench.engine.ports['commands']}")
    async with asyncio.timeout(LIMIT_S):
        await dealer.send(encode(SubmitOrder(id="c-1", symbol="IBM", side=Side.BUY, qty=D(5))))
        ack = msgspec.json.decode(await dealer.recv(), type=Ack)
        assert (ack.id, ack.outcome, ack.order.qty) == ("c-1", Outcome.ACCEPTED, D(5))
        for payload in (b"not json", b'{"type":"Nonsense","id":"c-2"}', b'{"type":"SubmitOrder"}'):
            await dealer.send(payload)
            ack = json.loads(await dealer.recv())
            assert (ack["outcome"], ack["refusals"][0]["check"]) == ("refused", "command")
        await dealer.send_multipart([b"two", b"frames"])
        await dealer.send(encode(GetState(id="c-3")))
        ack = msgspec.json.decode(await dealer.recv(), type=Ack)
    assert ack.state.ready
    assert bench.engine.health()["bus_malformed"] == 4


async def test_every_new_subscriber_gets_a_snapshot_and_the_deltas_that_follow_it(bench, context):
    async def begin() -> tuple[zmq.asyncio.Socket, Snapshot]:
        sub = context.socket(zmq.SUB)
        sub.connect(f"tcp://127.0.0.1:{bench.engine.ports['events']}")
        sub.subscribe(b"engine")
        topic, _, payload = (await sub.recv()).partition(b" ")
        assert topic == b"engine"
        return sub, decode_event(payload)

    async with asyncio.timeout(LIMIT_S):
        first, snapshot = await begin()
        assert isinstance(snapshot, Snapshot)
        assert snapshot.state.ready
        ack = await bench.ask("buy 5 IBM")
        await bench.until_state(ack.order.client_order_id, "FILLED")
        seq, filled = snapshot.state.seq, False
        while not filled:
            event = decode_event((await first.recv()).partition(b" ")[2])
            seq += 1
            assert event.seq == seq
            filled = isinstance(event, OrderChanged) and event.order.state is OrderState.FILLED
        _, later = await begin()
    assert later.state.orders[0].state is OrderState.FILLED


async def test_the_risk_managers_word_tightens_and_never_loosens(bench, context):
    pub = context.socket(zmq.XPUB)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    bench.engine.watch_risk(port)

    async def say(state: str) -> None:
        word = {"type": "RiskUpdate", "trading_state": state, "reason": "drawdown", "seq": 1}
        await pub.send(b"risk " + json.dumps(word).encode())

    async with asyncio.timeout(LIMIT_S):
        assert await pub.recv() == b"\x01risk "
        await pub.send(b"risk {broken")
        await say("REDUCING")
        await bench.until(lambda: bench.engine.view().trading_state is TradingState.REDUCING)
        await say("ACTIVE")
        await say("HALTED")
        await bench.until(lambda: bench.engine.view().trading_state is TradingState.HALTED)
    changes = [event.trading_state for event in bench.said(TradingStateChanged)]
    assert changes == [TradingState.REDUCING, TradingState.HALTED]


async def test_a_secured_bus_answers_those_with_an_allowed_key_alone(make_bench, make_settings):
    folder = make_settings().state_dir / "keys"
    keys = generate(folder)
    bench = await make_bench("bus.security.enabled=true")
    info = RuntimeInfo(
        pid=1, mode="DEMO", started_at="2026-01-01T00:00:00Z", ports=bench.engine.ports
    )
    allowed = RemoteLink(info, keys=keys)
    stranger = RemoteLink(info, keys=_other(keys))
    plain = RemoteLink(info)
    try:
        assert (await allowed.request(GetState(), timeout_s=LIMIT_S)).state.ready
        for outsider in (stranger, plain):
            with pytest.raises(LinkError):
                await outsider.request(GetState(), timeout_s=0.5)
    finally:
        for link in (allowed, stranger, plain):
            await link.close()


def _other(keys: BusKeys) -> BusKeys:
    return dataclasses.replace(keys, client=Keypair.new())


# -- the feed --------------------------------------------------------------------------------------


@pytest.fixture
async def fed(make_bench, make_settings, market) -> AsyncIterator[Bench]:
    """An engine whose quotes come over market-data and 5555, while the recording plays at 60×."""
    settings = make_settings()
    values = market_data_settings(settings, settings.endpoint(market.port))
    service = Service.start("market-data", json.dumps(values), timeout_s=LIMIT_S)
    receiver = FeedReceiver(
        f"tcp://127.0.0.1:{service.ports['market']}",
        settings.feed.symbols,
        features=settings.feed.features,
        history=settings.feed.history,
        high_water_mark=settings.bus.high_water_mark,
        stale_after_s=settings.bus.stale_after_s,
    )
    receiver.start()
    market.call(pause=False, speed=60)
    bench = await make_bench(feed=receiver)
    yield bench
    await bench.stop()
    receiver.stop()
    service.stop()


async def test_the_feed_gives_frames_to_listeners_and_quotes_to_the_gate(fed):
    at = fed.engine.view

    def quoted() -> bool:
        frames = fed.said(MarketFrame)
        return bool(frames) and not np.isnan(frames[-1].feed.bid).any()

    await fed.until(quoted)
    connection = await fed.until(
        lambda: next(
            (c for c in at().connections if c.name == "feed" and c.state == "connected"), None
        )
    )
    assert connection.last_seen is not None
    numbers = [frame.feed.number for frame in fed.said(MarketFrame)]
    assert numbers == sorted(set(numbers))
    frame = fed.said(MarketFrame)[-1].feed
    ack = await fed.filled("buy 100 IBM")
    bid, ask = fed.engine._gatekeeper.touch("IBM")
    assert ack.risk.price >= bid * D("0.98")
    assert ask > bid > 0
    assert frame.symbols == fed.engine._settings.feed.symbols


async def test_the_receiver_is_warmed_up_with_the_bars_before(fed):
    receiver = fed.engine._receiver
    await fed.until(lambda: len(receiver.bars("IBM")[0]) >= 4)
    stamps = receiver.bars("IBM")[0]
    assert (np.diff(stamps) > 0).all()


# -- links -----------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "remote"])
async def link(request, bench, tmp_path) -> AsyncIterator[Any]:
    if request.param == "local":
        link: Any = LocalLink(bench.engine, asyncio.get_running_loop())
    else:
        info = RuntimeInfo(
            pid=os.getpid(),
            mode="DEMO",
            started_at="2026-01-01T00:00:00Z",
            ports=bench.engine.ports,
        )
        info.write(tmp_path)
        link = RemoteLink(RuntimeInfo.read(tmp_path))
    yield link
    await link.close()


async def test_a_link_begins_with_a_snapshot_and_goes_on_with_every_event(link, bench):
    heard: list[Any] = []
    fresh = asyncio.Event()

    def hear(event: Any) -> None:
        heard.append(event)
        fresh.set()

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await fresh.wait()
                fresh.clear()

    end = link.listen(hear)
    await until(lambda: bool(heard))
    assert isinstance(heard[0], Snapshot)
    ack = await link.request(SubmitOrder(symbol="IBM", side=Side.BUY, qty=D(5)))
    assert ack.outcome is Outcome.ACCEPTED
    await until(lambda: any(isinstance(e, PositionsChanged) for e in heard))
    numbers = [event.seq for event in heard]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    end()
    story = await link.request(GetOrder(order_id=ack.order.client_order_id))
    assert story.story


# -- the demo's clock ------------------------------------------------------------------------------


async def test_the_replay_is_played_otherwise_by_command(bench, market):
    before = bench.engine.view().session
    assert before.speed == 0
    assert before.is_open
    ack = await bench.ask(ControlReplay(step_s=60.0))
    assert ack.outcome is Outcome.ACCEPTED, ack
    after = bench.engine.view().session
    assert (after.market_time - before.market_time).total_seconds() == pytest.approx(60, abs=1)
    await bench.ask(ControlReplay(paused=False, speed=D(100)))
    assert bench.engine.view().session.speed == 100
    refused = await bench.ask(ControlReplay(speed=D(100_000)))
    assert refused.outcome is Outcome.REFUSED
