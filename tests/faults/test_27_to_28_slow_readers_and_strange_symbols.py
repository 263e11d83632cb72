"""Faults 27–28: a subscriber that is too slow; symbols that would move the cursor or the words."""

from __future__ import annotations

import asyncio
import json
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
import zmq.asyncio

from console.cli.client import status_text
from console.engine import events as e
from console.engine.commands import GetState, Outcome, SubmitOrder
from console.engine.events import Severity, Snapshot, decode_event
from console.engine.grammar import GrammarError, parse_line
from console.engine.link import RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import ServiceView, Side
from console.harmless import harmless
from console.ui.app import ConsoleApp
from signal_bridge import FeedReceiver
from tests.faults.harness import LIMIT_S, assert_books_agree
from tests.ui.pilots import connected, screen_text, until
from tests.ui.scripted import FEATURES, NOW, ScriptedLink, order, position

MiB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Ear:
    """Remembers how far it has heard, and how often from the start."""

    def __init__(self) -> None:
        self.seq = 0
        self.snapshots = 0

    def __call__(self, event: Any) -> None:
        if isinstance(event, Snapshot):
            self.snapshots += 1
            self.seq = event.state.seq
        else:
            self.seq = event.seq


# -- 27 --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory as Linux tells it")
async def test_27_a_face_that_does_not_read_costs_the_engine_neither_memory_nor_time(
    make_bench, other, until_async
):
    bench = await make_bench("bus.high_water_mark=100")
    context = zmq.asyncio.Context()
    slow = context.socket(zmq.SUB)
    slow.setsockopt(zmq.LINGER, 0)
    slow.setsockopt(zmq.RCVHWM, 10)
    slow.connect(f"tcp://127.0.0.1:{bench.engine.ports['events']}")
    slow.subscribe(b"engine")
    runtime = RuntimeInfo(pid=1, mode="DEMO", started_at="", ports=bench.engine.ports)
    ear = Ear()
    link = RemoteLink(runtime, with_feed=False)
    try:
        async with asyncio.timeout(LIMIT_S):
            first = decode_event((await slow.recv()).partition(b" ")[2])
        assert isinstance(first, Snapshot)
        link.listen(ear)
        await until_async(lambda: ear.snapshots)

        before, text, sent = resident(), "x" * 4_000, 30_000
        for number in range(sent):
            bench.engine._facts.emit(e.Noticed(severity=Severity.INFO, topic="flood", text=text))
            if number % 1_000 == 0:
                async with asyncio.timeout(1.0):
                    assert (await bench.engine.handle(GetState())).state.ready
        assert resident() - before < 64 * MiB, "114 MiB were told to one who does not read"
        await bench.filled("buy 5 IBM")

        # What it gets at last is numbered: that numbers are missing shows.
        numbers = []
        while await slow.poll(200):
            event = decode_event((await slow.recv()).partition(b" ")[2])
            if not isinstance(event, Snapshot):
                numbers.append(event.seq)
        assert numbers == sorted(set(numbers))
        assert len(numbers) < sent
        # A link sees that too and asks for everything anew: it ends with the newest.
        bench.engine.notice(Severity.INFO, "flood", "over")

        def newest() -> bool:
            if ear.seq == bench.engine.view().seq:
                return True
            bench.engine.notice(Severity.INFO, "flood", "still over")
            return False

        await until_async(newest)
        assert ear.snapshots > 1
        await assert_books_agree(bench, other, orders=1)
    finally:
        await link.close()
        context.destroy(linger=0)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory as Linux tells it")
def test_27_a_feed_that_is_overrun_has_the_newest_price_and_counts_what_it_missed(until):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.LINGER, 0)
    publisher.setsockopt(zmq.SNDHWM, 100)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    receiver = FeedReceiver(
        f"tcp://127.0.0.1:{port}", ["IBM"], features=["sma_20"], history=60,
        high_water_mark=100, stale_after_s=60.0,
    )  # fmt: skip
    receiver.start()
    padding = "x" * 500

    def quote(seq: int, bid: float) -> None:
        body = {
            "type": "QuoteUpdate", "symbol": "IBM", "bid_price": bid, "bid_size": 1.0,
            "ask_price": bid + 0.01, "ask_size": 1.0, "timestamp": seq, "seq": seq, "ts": 1,
            "note": padding,
        }  # fmt: skip
        publisher.send(b"market " + json.dumps(body).encode())

    try:
        assert publisher.poll(LIMIT_S * 1000)
        assert publisher.recv() == b"\x01market "
        before, sent = resident(), 100_000
        for seq in range(1, sent + 1):
            quote(seq, 100.0)
        # Whatever was dropped on the way, the newest one arrives once it may.
        state = {"seq": sent}

        def newest() -> bool:
            state["seq"] += 1
            quote(state["seq"], 250.0)
            return bool(receiver.frame(time.monotonic()).bid[0] == 250.0)

        until(newest)
        stats = receiver.stats()
        missed = stats["gaps"]
        assert stats["received"] + missed <= state["seq"]
        assert stats["received"] + missed >= sent
        assert resident() - before < 40 * MiB
        assert receiver.frame(time.monotonic()).gaps == missed
    finally:
        receiver.stop()
        context.destroy(linger=0)


# -- 28 --------------------------------------------------------------------------------------------

STRANGE = {
    "clears the screen": "\x1b[2J\x1b[H",
    "a new line": "IBM\nBUY",
    "a backspace": "IBM\x08\x08SPY",
    "right to left": "I\u202eMB",
    "an isolate": "IBM\u2066\u2069",
    "no width": "IB\u200bM",
    "markup": "[red]IBM[/red]",
    "an open tag": "[/]",
    "a link": "[@click=app.quit]IBM",
    "another alphabet": "ΙΒΜ",
    "NUL": "IBM\x00",
    "C1": "IBM\x9b2J",
}


@pytest.mark.parametrize("symbol", STRANGE.values(), ids=STRANGE)
def test_28_the_grammar_knows_no_such_symbol(symbol):
    with pytest.raises(GrammarError) as refused:
        parse_line(f"buy 100 {symbol}")
    assert refused.value.message.isprintable()


async def test_28_an_order_in_such_a_symbol_is_refused_and_the_answer_is_harmless(bench, other):
    for symbol in STRANGE.values():
        ack = await bench.ask(SubmitOrder(symbol=symbol, side=Side.BUY, qty=Decimal(1)))
        assert ack.outcome is Outcome.REFUSED
        assert [refusal.check for refusal in ack.refusals] == ["symbol"]
        assert ack.message.isprintable()
        assert all(r.value.isprintable() and r.message.isprintable() for r in ack.refusals)
    await assert_books_agree(bench, other, orders=0)


def strange_state() -> tuple[ScriptedLink, str]:
    link = ScriptedLink()
    assert link.start is not None
    everything = "".join(STRANGE.values())
    link.start = msgspec.structs.replace(
        link.start,
        orders=tuple(
            order(90 + n, symbol=symbol, client_order_id=f"id{symbol}", reason=everything)
            for n, symbol in enumerate(STRANGE.values())
        ),
        positions=tuple(position(symbol, 10, "100", "101") for symbol in STRANGE.values()),
        services=(ServiceView(name="market-data", status="degraded", message=everything),),
        trading_reason=everything,
    )
    return link, everything


async def test_28_what_came_so_from_elsewhere_is_shown_harmless(make_bench):
    link, everything = strange_state()
    app = ConsoleApp(
        lambda: link, feed_columns=FEATURES, mode="DEMO", monotonic=lambda: NOW, theme="dark"
    )
    async with app.run_test(size=(160, 60)) as pilot:
        await connected(pilot)
        link.emit(e.Noticed(severity=Severity.ERROR, topic=everything, text=everything))
        await until(pilot, lambda: "[red]IBM" in screen_text(app), "the notice")
        seen = []
        for keys in ("1", "2", "3", "4", "5", "6"):
            await pilot.press(keys)
            await pilot.pause()
            seen.append(screen_text(app))
        for text in seen:
            odd = {c for c in text if not c.isprintable() and c not in "\n\u00a0"}
            assert not odd, [hex(ord(c)) for c in odd]
        # Markup is text, not markup.
        assert any("[red]IBM" in text for text in seen)
        assert app.is_running


def test_28_the_command_line_prints_it_harmless():
    link, everything = strange_state()
    runtime = RuntimeInfo(pid=1, mode="DEMO", started_at="", ports={})
    text = status_text(link.start, runtime)
    assert all(line.isprintable() for line in text.split("\n"))
    assert harmless("\x1b[2J\u202e") == "\\x1b[2J\\u202e"
    assert harmless(everything).isprintable()
