"""Start with a long journal: from the process's start until `/ready` says yes.

The journal is a real one made long. A session on the embedded exchange leaves an order that was
filled, one that was canceled and one that is open; what the engine wrote of the first two is
written again under new ids, a million rows of it, by the journal's own writer. On that the console
starts, headless, with everything embedded. Beside it, in the same run, starts on the same session
as it was before. "cold" is a start whose journal the system's cache does not hold.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import msgspec

from console.config import Overrides, Settings, load_settings
from console.engine.books import FINAL_KEPT
from console.engine.commands import GetState
from console.engine.grammar import parse_line
from console.engine.journal import Journal
from console.engine.journal_files import JournalRow
from console.engine.link import Link
from console.engine.state import EngineView
from console.host import HostThread
from tests.conftest import FREE_PORTS

ROWS = 20_000 if os.environ.get("QUICK") else 1_000_000
AT_ONCE = 10_000
STARTS = 3
LIMIT_S = 120.0
TARGET_S = 5.0
VALUES = (*FREE_PORTS, "demo.speed=60")
NAME = "journal-demo.db"
IDS = re.compile(rb"tc-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def settings_of(state_dir: Path) -> Settings:
    return load_settings(
        Overrides(
            values=VALUES,
            state_dir=state_dir,
            environment={"XDG_CONFIG_HOME": str(state_dir.parent)},
        )
    )


async def trade(link: Link) -> list[str]:
    """Two orders that end, each in its way, and one that is left open; the ids of the first two."""

    async def becomes(wanted: Callable[[EngineView], bool]) -> None:
        while (state := (await link.request(GetState())).state) is None or not wanted(state):  # noqa: ASYNC110 — asked, it says
            await asyncio.sleep(0.05)

    async def send(line: str, until: str) -> str:
        ack = await link.request(parse_line(line), timeout_s=LIMIT_S)
        assert ack.order is not None, ack.message
        await reaches(ack.order.client_order_id, until)
        return ack.order.client_order_id

    async def reaches(client_order_id: str, until: str) -> None:
        await becomes(
            lambda now: any(
                (order.client_order_id, order.state.value) == (client_order_id, until)
                for order in now.orders
            )
        )

    async with asyncio.timeout(LIMIT_S):
        await becomes(lambda now: now.session is not None and now.session.is_open)
        filled = await send("buy 10 IBM", "FILLED")
        canceled = await send("buy 10 IBM @ 50", "WORKING")
        await link.request(parse_line(f"cancel {canceled}"))
        await reaches(canceled, "CANCELED")
        await send("buy 5 IBM @ 50", "WORKING")
    return [filled, canceled]


def session(state_dir: Path) -> list[str]:
    host = HostThread(lambda: settings_of(state_dir))
    host.start()
    try:
        return asyncio.run(trade(host.link.result(LIMIT_S)))
    finally:
        host.stop()


def lengthen(state_dir: Path, ended: list[str]) -> None:
    """Write the ended orders' rows again, each time under new ids, until there are `ROWS`."""
    journal = Journal.open(state_dir, name=NAME)
    try:
        story = sorted(
            (row for order in ended for row in journal.story(order)), key=lambda row: row.seq
        )
        waiting: list[Future[int]] = []
        for number in range(journal.last_seq, ROWS):
            turn, place = divmod(number, len(story))
            waiting.append(write_again(journal, story[place], turn))
            if len(waiting) == AT_ONCE:
                waiting[-1].result(LIMIT_S)
                waiting.clear()
        for row in waiting:
            row.result(LIMIT_S)
        assert journal.last_seq == ROWS
    finally:
        journal.close()


def write_again(journal: Journal, row: JournalRow, turn: int) -> Future[int]:
    def new(found: re.Match[bytes]) -> bytes:
        return found[0][:-8] + b"%08x" % (int(found[0][-8:], 16) ^ turn)

    return journal.append(
        row.kind,
        IDS.sub(new, row.subject.encode()).decode(),
        msgspec.Raw(IDS.sub(new, row.body)),
        is_open=row.is_open,
        keys=[IDS.sub(new, key.encode()).decode() for key in row.keys],
        market_ns=row.market_at,
    )


def forget(path: Path) -> None:
    """Let the system's cache drop the file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def opening(state_dir: Path) -> float:
    """Seconds that the journal alone takes: its lock, its tail, the orders that an engine holds."""
    began = time.perf_counter()
    journal = Journal.open(state_dir, name=NAME)
    try:
        assert journal.opened.sound, journal.opened
        assert list(journal.open_subjects())
        assert journal.recent_subjects("order", FINAL_KEPT)
        return time.perf_counter() - began
    finally:
        journal.close()


def start(state_dir: Path) -> float:
    """Seconds from the process's start until it is ready."""
    log = state_dir.parent / "console.log"
    (state_dir / "runtime.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "console", "headless", "--demo", "--state-dir", str(state_dir)]
    for value in VALUES:
        command += ["--set", value]
    began = time.perf_counter()
    with log.open("wb") as output:
        console = subprocess.Popen(
            command,
            env=os.environ | {"XDG_CONFIG_HOME": str(state_dir.parent)},
            stdout=output,
            stderr=output,
        )
    try:
        while not is_ready(state_dir):
            assert console.poll() is None, log.read_text()
            assert time.perf_counter() < began + LIMIT_S, log.read_text()
            time.sleep(0.005)
        return time.perf_counter() - began
    finally:
        console.send_signal(signal.SIGTERM)
        console.wait(LIMIT_S)


def is_ready(state_dir: Path) -> bool:
    try:
        port = json.loads((state_dir / "runtime.json").read_text())["ports"]["health"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return False


def row(name: str, seconds: list[float]) -> float:
    median = statistics.median(seconds)
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    print(f"{name:<44} {median:7.2f} s   ({spread}, {len(seconds)} times)", flush=True)
    return median


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="journal-") as name:
        long, short = Path(name, "long", "state"), Path(name, "short", "state")
        ended = session(long)
        shutil.copytree(long, short)
        lengthen(long, ended)
        size = (long / NAME).stat().st_size / 1e6
        print(f"a journal of {ROWS:,} rows, {size:,.0f} MB; the short one is its beginning")
        took: dict[str, list[float]] = {"short": [], "long": [], "cold": [], "alone": []}
        for _ in range(STARTS):
            took["short"].append(start(short))
            took["long"].append(start(long))
            took["alone"].append(opening(long))
            forget(long / NAME)
            took["cold"].append(start(long))
        row("process start → ready, short journal", took["short"])
        warm = row(f"process start → ready, {ROWS:,} rows", took["long"])
        cold = row(f"process start → ready, {ROWS:,} rows, cold", took["cold"])
        row("  of it the journal, opened and read", took["alone"])
    verdict = "within" if max(warm, cold) <= TARGET_S else "over"
    print(f"  {max(warm, cold):.2f} s, {verdict} the {TARGET_S:g} s aimed at")


if __name__ == "__main__":
    main()
