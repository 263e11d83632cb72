"""Faults 36–37: the terminal is closed, made 1×1, stopped, or nobody reads what it shows.

The engine trades on behind it; so does the kill switch.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import struct
import termios
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.broker.session import BrokerSession
from console.engine.commands import Ack, Flatten, GetState, Outcome
from console.engine.events import Noticed, Severity
from console.engine.grammar import parse_line
from console.engine.journal_reader import JournalReader
from console.engine.link import LinkError, RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import EngineView
from console.host import Host
from console.services import exchange_settings
from signal_bridge import Service
from tests.faults.harness import LIMIT_S, Bench, Other, assert_books_agree
from tests.integration.test_terminal import Terminal

STILL_S = 0.7
"""A face that follows a market at 600× draws many times in so long."""


class Paused(Terminal):
    """A terminal whose other end may stop reading."""

    def __init__(self, state_dir: Path, *arguments: str) -> None:
        self.reading = threading.Event()
        self.reading.set()
        super().__init__(state_dir, *arguments)

    def _read(self) -> None:
        while True:
            self.reading.wait()
            try:
                data = os.read(self._tty, 4_096)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    def size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._tty, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    async def freeze(self, until_async: Any) -> None:
        """Read nothing more, until the face stands still in its writing."""
        self.reading.clear()
        seen, since = -1, time.monotonic()

        def stands_still() -> bool:
            nonlocal seen, since
            self.size(100 + len(self.raw) % 20, 40)
            if (worked := self._worked()) != seen:
                seen, since = worked, time.monotonic()
            return time.monotonic() - since > STILL_S

        await until_async(stands_still, "the face waits for a reader")

    def _worked(self) -> int:
        """How long the thread that draws has worked, in ticks of the system."""
        stat = Path(f"/proc/{self.pid}/task/{self.pid}/stat").read_text()
        fields = stat.rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    def stopped(self) -> bool:
        """Whether the process is stopped, as by SIGTSTP."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(") ")[2][0] == "T"

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self._tty)
        self._tty = os.open(os.devnull, os.O_RDWR)

    def end(self) -> None:
        self.reading.set()
        super().end()


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Paused]]:
    opened: list[Paused] = []

    def run(*arguments: str) -> Paused:
        terminal = Paused(tmp_path / "state", *arguments)
        opened.append(terminal)
        return terminal

    yield run
    for terminal in opened:
        terminal.end()


class Near:
    """An engine of another process, over the bus."""

    def __init__(self, state_dir: Path) -> None:
        runtime = RuntimeInfo.read(state_dir)
        assert runtime is not None
        self.link = RemoteLink(runtime, with_feed=False)

    async def ask(self, line: str, timeout_s: float = LIMIT_S) -> Ack:
        return await self.link.request(parse_line(line), timeout_s=timeout_s)

    async def view(self) -> EngineView:
        ack = await self.link.request(GetState(), timeout_s=LIMIT_S)
        assert ack.state is not None
        return ack.state

    async def open(self) -> bool:
        session = (await self.view()).session
        return session is not None and session.is_open

    async def buys(self, qty: int) -> None:
        ack = await self.ask(f"buy {qty} IBM")
        assert ack.outcome is Outcome.ACCEPTED, ack


@pytest.fixture
async def faced(
    open_terminal: Callable[..., Paused], until_async: Any, tmp_path: Path
) -> AsyncIterator[tuple[Paused, Near]]:
    """A console in a terminal, its engine reached past it, the market open."""
    terminal = open_terminal("--set", "demo.speed=600", "--set", "demo.partial_fills=false")
    await until_async(lambda: "ACTIVE" in terminal.text, "the engine's state on the screen")
    near = Near(tmp_path / "state")
    await until_async(near.open, "the open")
    yield terminal, near
    await near.link.close()


async def same_at_the_exchange(make_settings: Any, state_dir: Path, orders: int) -> None:
    """The next engine on that exchange and journal finds what the last one left."""
    settings = make_settings("demo.partial_fills=false")
    values = exchange_settings(settings, state_dir) | {"paused": True}
    exchange = Service.start("paper-exchange", json.dumps(values), timeout_s=LIMIT_S)
    try:
        port = exchange.ports["exchange"]
        other = Other(BrokerSession(settings.endpoint(port)))
        bench = await Bench(settings, port).start()
        try:
            await assert_books_agree(bench, other, orders=orders)
        finally:
            await bench.stop()
            other.session.close()
    finally:
        await asyncio.to_thread(exchange.stop, timeout_s=LIMIT_S)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a process's state: Linux")
async def test_36_a_terminal_made_tiny_stopped_and_closed_leaves_the_engine_whole(
    faced, until_async, make_settings, tmp_path
):
    terminal, near = faced
    await near.buys(1)
    for columns, lines in ((1, 1), (2, 1), (1, 2), (500, 200), (1, 1)):
        terminal.size(columns, lines)
        assert (await near.view()).ready
    await near.buys(2)
    terminal.size(120, 40)
    await until_async(lambda: "ACTIVE" in terminal.text, "painted again")

    # In the raw terminal Ctrl-Z is a key like others.
    terminal.type(b"\x1a")
    await near.buys(3)
    assert not terminal.stopped()
    os.kill(terminal.pid, signal.SIGTSTP)
    await until_async(lambda: terminal.stopped() or terminal.ended(), "stopped")
    with pytest.raises(LinkError):
        await near.link.request(GetState(), timeout_s=0.3)
    os.kill(terminal.pid, signal.SIGCONT)

    async def ready() -> bool:
        try:
            ack = await near.link.request(GetState(), timeout_s=1.0)
        except LinkError:
            return False
        return ack.state is not None and ack.state.ready

    await until_async(ready, "ready again")
    await near.buys(4)
    terminal.hang_up()
    await until_async(terminal.ended, "ended")
    assert terminal.code in (0, -signal.SIGHUP), terminal.code
    state_dir = tmp_path / "state"
    assert not (state_dir / "runtime.json").exists()
    with JournalReader(state_dir / "journal-demo.db") as reader:
        (last,) = reader.newest(1)
        assert last.kind == "stopped", "it drained"
        assert json.loads(last.body)["held"] == {"IBM": "10"}
    await same_at_the_exchange(make_settings, state_dir, orders=4)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a thread's time: Linux")
async def test_36_the_kill_switch_works_while_the_face_is_frozen(
    faced, until_async, make_settings, tmp_path
):
    terminal, near = faced
    await near.buys(10)
    await terminal.freeze(until_async)
    await near.buys(5)
    done = await near.link.request(Flatten(reason="the face is frozen"), timeout_s=LIMIT_S)
    assert "verified flat" in done.message
    assert (await near.view()).trading_state == "HALTED"
    terminal.reading.set()
    await until_async(lambda: "flatten" in terminal.text, "the face follows")
    os.kill(terminal.pid, signal.SIGTERM)
    await until_async(terminal.ended, "ended")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a thread's time: Linux")
async def test_37_an_attached_face_that_nobody_reads_harms_nobody(
    make_settings, open_terminal, until_async
):
    settings = ("demo.speed=600", "demo.partial_fills=false", "bus.high_water_mark=200")
    host = Host(make_settings(*settings))
    await host.start()
    link = host.link()

    async def ask(line: str) -> Ack:
        return await link.request(parse_line(line), timeout_s=LIMIT_S)

    def is_open() -> bool:
        session = host.engine.view().session
        return session is not None and session.is_open

    try:
        await until_async(is_open, "the open")
        attached = open_terminal("attach")
        await until_async(lambda: "ACTIVE" in attached.text, "the state on the attached screen")
        await attached.freeze(until_async)
        event = Noticed(severity=Severity.INFO, topic="flood", text="x" * 2_000)
        for _ in range(40):
            # Telling them must not take it longer either.
            async with asyncio.timeout(3.0):
                for _ in range(500):
                    host.engine._facts.emit(event)
                assert (await link.request(GetState())).state is not None
        for qty in (1, 2, 3):
            async with asyncio.timeout(5.0):
                assert (await ask(f"buy {qty} IBM")).outcome is Outcome.ACCEPTED
        assert host.engine.view().ready
        attached.reading.set()
        await until_async(lambda: "IBM" in attached.text, "it catches up")
        attached.type(b"\x11")
        await until_async(attached.ended, "left")
        assert not host.engine.health()["journal_failure"]
        host.services["paper-exchange"].service.call('{"pause":true}')
        other = Other(BrokerSession(host.settings.endpoint(host.ports["exchange"])))
        bench = OnHost(host)
        await assert_books_agree(bench, other, orders=3)
        other.session.close()
    finally:
        await link.close()
        await host.stop("the test is over")


class OnHost(Bench):
    """The engine of a host, as a bench."""

    def __init__(self, host: Host) -> None:
        self.events = []
        self.engine = host.engine
        self.engine.subscribe(self.events.append)
