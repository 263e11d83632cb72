"""The face in lines: every fact once, in words; orders asked for and confirmed by typing."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import scripted
from scripted import NOW, ScriptedLink

from console.engine import commands as c
from console.engine import events as e
from console.engine import state as s
from console.ui.plain import Plain

LIMIT_S = 30.0


class Voice(io.StringIO):
    """What was said, and a bell for each line of it."""

    def __init__(self) -> None:
        super().__init__()
        self.spoke = asyncio.Event()

    def write(self, line: str) -> int:
        self.spoke.set()
        return super().write(line)


class Session:
    """A plain face on a scripted link, typed at through a pipe."""

    def __init__(self, link: ScriptedLink, confirm: str) -> None:
        self.link = link
        self.out = Voice()
        read, self.write_fd = os.pipe()
        self.read_fd = read
        self.face = Plain(
            lambda: link, out=self.out, read_fd=read, mode="DEMO", confirm=confirm,
            monotonic=lambda: NOW,
        )  # fmt: skip

    def type(self, line: str) -> None:
        os.write(self.write_fd, line.encode() + b"\n")

    async def heard(self, words: str) -> str:
        """All that was said, once `words` were."""
        async with asyncio.timeout(LIMIT_S):
            while words not in self.out.getvalue():
                self.out.spoke.clear()
                await self.out.spoke.wait()
        return self.out.getvalue()


@asynccontextmanager
async def talking(link: ScriptedLink | None = None, confirm: str = "all") -> AsyncIterator[Session]:
    session = Session(link or ScriptedLink(), confirm)
    running = asyncio.create_task(session.face.run())
    try:
        await session.heard("Engine connected.")
        yield session
        session.type("quit")
        assert await asyncio.wait_for(running, LIMIT_S) == 0
    finally:
        running.cancel()
        os.close(session.write_fd)
        os.close(session.read_fd)
    assert session.link.closed


async def test_an_order_is_checked_described_confirmed_and_its_fill_said() -> None:
    async with talking() as session:
        session.type("buy 100 IBM")
        said = await session.heard("Type yes to do it.")
        assert "14 checks passed: 18,002.00" in said
        assert "at most 899" in said
        assert "Buy 100 IBM at market" in said
        session.type("yes")
        await session.heard("filled: buy 100 IBM at 180.02")


async def test_another_word_than_yes_sends_nothing() -> None:
    async with talking() as session:
        session.type("buy 100 IBM")
        await session.heard("Type yes to do it.")
        session.type("maybe")
        await session.heard("Not done.")
        assert not [
            x for x in session.link.requests if isinstance(x, c.SubmitOrder) and not x.preview
        ]


async def test_a_refusal_names_the_check_and_the_way_out() -> None:
    async with talking(confirm="none") as session:
        session.type("buy 9999 IBM")
        said = await session.heard("Refused by max_order_qty")
        assert "order up to 899" in said


async def test_what_the_check_refuses_is_not_asked_about() -> None:
    async with talking() as session:
        session.type("buy 9999 IBM")
        said = await session.heard("Not done.")
        assert "Refused by max_order_qty" in said
        assert "Type yes" not in said


async def test_a_row_means_the_order_that_was_said_in_it() -> None:
    async with talking() as session:
        session.type("orders")
        said = await session.heard("2. ")
        assert "1. Order buy 50 IBM limit 181.10, working." in said
        newer = scripted.order(13, symbol="SPY", source="signal:momentum")
        session.link.emit(e.OrderChanged(order=newer))
        session.type("cancel 1")
        await session.heard("181.10, canceled.")
        canceled = [r for r in session.link.requests if isinstance(r, c.CancelOrder)]
        assert [r.client_order_id for r in canceled] == ["tc-0012"]


async def test_figures_are_said_without_a_drawn_character() -> None:
    async with talking() as session:
        for line in ("account", "positions", "orders", "quote IBM", "risk", "connections", "help"):
            session.type(line)
        said = await session.heard("quit leaves")
        assert "Equity 100,412.18, today +412.18." in said
        assert "IBM: 100 at 178.19, now 182.31, profit +412.00." in said
        assert "IBM: last 180.00, bid 179.98, ask 180.02, now." in said
        assert said.isascii(), [x for x in said if not x.isascii()]


async def test_a_lost_connection_and_a_halt_are_said_once() -> None:
    async with talking() as session:
        lost = scripted.connection("broker", state=s.ConnectionState.LOST, detail="no route")
        for _ in range(2):
            session.link.emit(e.ConnectionChanged(connection=lost))
        session.link.emit(
            e.TradingStateChanged(
                trading_state=s.TradingState.HALTED, reason="drawdown", source="risk"
            )
        )
        said = await session.heard("Trading is HALTED: drawdown.")
        assert said.count("broker lost. no route") == 1


async def test_what_is_no_command_is_told_where() -> None:
    async with talking() as session:
        session.type("buy 100 IBM @@ 5")
        await session.heard("Not understood: column")


async def test_without_an_engine_it_says_why_and_ends() -> None:
    def refuse() -> ScriptedLink:
        raise ConnectionRefusedError("nothing listens on 5557")

    out = io.StringIO()
    assert await Plain(refuse, out=out, read_fd=0).run() == 1
    assert "No engine: nothing listens on 5557" in out.getvalue()
