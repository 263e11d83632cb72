"""The face: a key's answer while 50 symbols move, and the first paint.

Both in a pseudo-terminal of 120×40. The console draws what the native `FeedReceiver` makes of a bus
that another process floods with bars; its peer is a Textual `DataTable` of the same size fed in its
own process, conflated to 20 frames a second (the usual way), and one hand-made widget that paints
fixed strips of the same figures at the same pace (the least that Textual asks for). Latency is from
writing the key to the read that holds its answer. `ui cpu` is the thread that draws, `cpu` the
whole process, with the native receiver in it.
"""

from __future__ import annotations

import compileall
import fcntl
import json
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SYMBOLS = tuple(f"S{i:02d}" for i in range(50))
FEATURES = ("rsi_14", "realized_vol_20", "atr_14")
COLUMNS = ("Symbol", "Last", "Chg", "Chg%", "Open", "High", "Low", "Volume", "RSI", "Time")
PRESSES = 30 if os.environ.get("QUICK") else 100
PAINTS = 5 if os.environ.get("QUICK") else 11
RATE = 100_000
TARGETS = {"p50": 10.0, "p99": 50.0, "ui cpu": 25.0}


# ── what runs in the pseudo-terminal ───────────────────────────────────────────────────────────


class FeedLink:
    """A link with a live feed and an account that stands still."""

    def __init__(self, endpoint: str) -> None:
        from signal_bridge import FeedReceiver

        self.receiver = FeedReceiver(
            endpoint,
            SYMBOLS,
            features=FEATURES,
            history=390,
            high_water_mark=262_144,
            stale_after_s=5.0,
        )
        self.receiver.start()

    def listen(self, on_event: Any) -> Any:
        import asyncio

        from console.engine.events import MarketFrame, Snapshot
        from console.engine.state import EngineView, TradingState

        on_event(
            Snapshot(
                state=EngineView(seq=1, mode="DEMO", ready=True, trading_state=TradingState.ACTIVE)
            )
        )

        loop, ended = asyncio.get_running_loop(), threading.Event()

        def frames() -> None:
            """On a thread of its own, as the engine's is."""
            number = -1
            while not ended.wait(1 / 30):
                frame = self.receiver.frame(time.monotonic())
                if frame.number != number:
                    number = frame.number
                    loop.call_soon_threadsafe(on_event, MarketFrame(frame))

        threading.Thread(target=frames, daemon=True).start()
        return ended.set

    async def request(self, command: Any, *, timeout_s: float | None = None) -> Any:
        from console.engine.commands import Ack, Outcome

        return Ack(id=command.id, outcome=Outcome.REFUSED)

    def bars(self, symbol: str) -> Any:
        return self.receiver.bars(symbol)

    async def close(self) -> None:
        self.receiver.stop()


def run_console(endpoint: str) -> None:
    import gc

    gc.disable()  # until the first paint, as the command line does
    from console.ui.app import ConsoleApp

    def connect() -> Any:
        if not endpoint:
            threading.Event().wait(20)
        return FeedLink(endpoint)

    app = ConsoleApp(connect, feed_columns=FEATURES, mode="DEMO")
    gc.freeze()
    gc.enable()
    app.run()


def run_bare() -> None:
    from textual.app import App, ComposeResult
    from textual.widgets import Label

    class Bare(App[None]):
        ENABLE_COMMAND_PALETTE = False
        BINDINGS = [("ctrl+q", "quit", "quit")]

        def compose(self) -> ComposeResult:
            yield Label("PORTFOLIO")

    Bare().run()


def _made(count: int) -> tuple[int, float, int]:
    """The bar that the peers get as their `count`th: row, price, count."""
    return count % 50, 100 + count % 997 * 0.01, count


def _feed(into: deque[tuple[int, float, int]]) -> None:
    """Make `RATE` bars a second, on a thread of its own."""
    start, count = time.monotonic(), 0
    while True:
        time.sleep(0.001)
        wanted = int((time.monotonic() - start) * RATE)
        for count in range(count, wanted):  # noqa: B020
            into.append(_made(count))


def run_peer(kind: str) -> None:
    """`table`: a DataTable of 50 × 10, what most would write. `strips`: one widget, strips."""
    from rich.segment import Segment
    from rich.style import Style
    from textual.app import App, ComposeResult
    from textual.strip import Strip
    from textual.widget import Widget
    from textual.widgets import DataTable, Label

    class Strips(Widget, can_focus=True):
        INK = Style(color="white", bgcolor="black")

        def on_mount(self) -> None:
            self.cells = [[symbol, *["100.00"] * 9] for symbol in SYMBOLS]

        def render_line(self, y: int) -> Strip:
            width = self.size.width
            words = self.cells[y - 1] if 0 < y <= len(SYMBOLS) else COLUMNS if y == 0 else ()
            line = "".join(word.ljust(11) for word in words).ljust(width)
            return Strip([Segment(line, self.INK)], width)

    class Peer(App[None]):
        ENABLE_COMMAND_PALETTE = False
        BINDINGS = [("k", "press", "press"), ("ctrl+q", "quit", "quit")]
        CSS = "DataTable, Strips { height: 1fr; }"
        presses = 0

        def compose(self) -> ComposeResult:
            yield Label("K=000000", id="answer")
            yield Strips() if kind == "strips" else DataTable()

        def on_mount(self) -> None:
            self.made: deque[tuple[int, float, int]] = deque(maxlen=2_000_000)
            if kind == "table":
                table = self.query_one(DataTable)
                for name in COLUMNS:
                    table.add_column(name, key=name, width=9)
                for symbol in SYMBOLS:
                    table.add_row(symbol, *["100.00"] * 9, key=symbol)
            threading.Thread(target=_feed, args=(self.made,), daemon=True).start()
            self.set_interval(0.05, self.apply)

        def apply(self) -> None:
            newest = {}
            while self.made:
                row = self.made.popleft()
                newest[row[0]] = row
            for row, price, count in newest.values():
                words = (f"{price:.2f}", f"{price - 100:+.2f}", str(count), f"{count % 100:.1f}")
                if kind == "strips":
                    cells = self.query_one(Strips).cells[row]
                    cells[1], cells[2], cells[7], cells[8] = words
                    continue
                update = self.query_one(DataTable).update_cell
                for name, word in zip(("Last", "Chg", "Volume", "RSI"), words, strict=True):
                    update(SYMBOLS[row], name, word)
            if kind == "strips":
                self.query_one(Strips).refresh()

        def action_press(self) -> None:
            self.presses += 1
            self.query_one("#answer", Label).update(f"K={self.presses:06d}")

    Peer().run()


def run_flood() -> None:
    """Publish `RATE` bars a second on a free port, which is printed first."""
    import zmq

    socket = zmq.Context().socket(zmq.PUB)
    socket.setsockopt(zmq.SNDHWM, 262_144)
    print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    begin = 1_381_239_000
    start, count = time.monotonic(), 0
    while True:
        wanted = int((time.monotonic() - start) * RATE)
        for count in range(count, wanted):  # noqa: B020
            minute, price = count // 50, 100 + (count * 7919 % 997) * 0.01
            bar = (
                f'market {{"type":"BarUpdate","seq":{count + 1},"ts":0,'
                f'"symbol":"{SYMBOLS[count % 50]}","open":{price:.2f},'
                f'"high":{price + 0.1:.2f},"low":{price - 0.1:.2f},"close":{price:.2f},'
                f'"volume":{100 + count % 900},"timestamp":{(begin + minute * 60) * 10**9}}}'
            )
            socket.send_string(bar, zmq.NOBLOCK)
        time.sleep(0.001)


# ── the driver ─────────────────────────────────────────────────────────────────────────────────


class Terminal:
    """A program in a pseudo-terminal, and everything that it writes."""

    def __init__(self, *arguments: str) -> None:
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(
                TERM="xterm-256color", COLORTERM="truecolor", COLUMNS="120", LINES="40"
            )
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "tests.bench.ui", *arguments])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.text = b""
        self.written = 0

    def until(self, needle: bytes | None, limit_s: float) -> float | None:
        """The moment at which `needle` came; None after `limit_s`, or at once without a needle."""
        end = time.perf_counter() + limit_s
        while (left := end - time.perf_counter()) > 0:
            if needle is not None and needle in self.text:
                return time.perf_counter()
            if not self._take(left):
                return None
        return None

    def _take(self, limit_s: float) -> bool:
        """Read what comes within `limit_s`; False at the end."""
        if select.select([self.fd], [], [], limit_s)[0]:
            try:
                part = os.read(self.fd, 65536)
            except OSError:
                return False
            self.written += len(part)
            self.text = (self.text + part)[-100_000:]
        return True

    def press(self, key: bytes, answer: re.Pattern[bytes]) -> float | None:
        """Milliseconds from the key to its answer."""
        self.text = b""
        start = time.perf_counter()
        os.write(self.fd, key)
        while (left := start + 5.0 - time.perf_counter()) > 0:
            if answer.search(self.text):
                return (time.perf_counter() - start) * 1e3
            self._take(left)
        return None

    def cpu_s(self, *, thread: bool = False) -> float:
        """Seconds of processor time: of the whole process, or of the thread that draws."""
        of = f"/proc/{self.pid}/task/{self.pid}/stat" if thread else f"/proc/{self.pid}/stat"
        fields = Path(of).read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def close(self) -> None:
        os.write(self.fd, b"\x11")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            self.until(None, 0.05)
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def measure(terminal: Terminal, keys: list[tuple[bytes, re.Pattern[bytes]]]) -> dict[str, float]:
    """Press the keys one after the other, about ten a second."""
    latencies, lost = [], 0
    cpu, drawing = terminal.cpu_s(), terminal.cpu_s(thread=True)
    wall, written = time.perf_counter(), terminal.written
    for i, (key, needle) in enumerate(keys):
        took = terminal.press(key, needle)
        if took is None:
            lost += 1
        else:
            latencies.append(took)
        terminal.until(None, 0.07 + 0.06 * (i * 7919 % 97) / 97 - (took or 0) / 1e3)
    wall = time.perf_counter() - wall
    if not latencies:
        raise RuntimeError("no key was answered")
    return {
        "p50": percentile(latencies, 0.5),
        "p99": percentile(latencies, 0.99),
        "max": max(latencies),
        "lost": lost,
        "ui cpu": 100 * (terminal.cpu_s(thread=True) - drawing) / wall,
        "cpu": 100 * (terminal.cpu_s() - cpu) / wall,
        "kB/s": (terminal.written - written) / wall / 1e3,
    }


def keys() -> None:
    print(f"key → answer over {PRESSES} presses, 50 symbols, {RATE:,} bars a second; ms")
    rows: dict[str, dict[str, float]] = {}
    flood = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.ui", "flood"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    try:
        assert flood.stdout is not None
        port = flood.stdout.readline().strip()
        terminal = Terminal("console", f"tcp://127.0.0.1:{port}")
        terminal.until(b"S05", 15)
        terminal.until(None, 1.5)
        os.write(terminal.fd, b"z")
        terminal.until(None, 1.0)
        # ↓ and ↑ in turn: the mark of the selection is written beside the other symbol.
        mark = "▸".encode() + rb"(?:\x1b\[[0-9;]*m)*"
        steps = [
            (b"\x1b[B", re.compile(mark + SYMBOLS[1].encode())),
            (b"\x1b[A", re.compile(mark + SYMBOLS[0].encode())),
        ]
        rows["console"] = measure(terminal, [steps[i % 2] for i in range(PRESSES)])
        terminal.close()
    finally:
        flood.kill()
        flood.wait()
    pressing = [(b"k", re.compile(b"K=%06d" % i)) for i in range(1, PRESSES + 1)]
    for name, kind in (("DataTable, 20 Hz", "table"), ("strips, 20 Hz", "strips")):
        terminal = Terminal(kind)
        terminal.until(b"S05", 15)
        terminal.until(None, 1.5)
        rows[name] = measure(terminal, pressing)
        terminal.close()
    print(f"{'':18s}" + "".join(f"{name:>9s}" for name in rows["console"]))
    for name, row in rows.items():
        print(f"{name:18s}" + "".join(f"{value:9.1f}" for value in row.values()))
    ours = rows.pop("console")
    for peer, theirs in rows.items():
        words = " ".join(f"{name} ×{ours[name] / max(theirs[name], 0.1):.2f}" for name in TARGETS)
        print(f"to {peer:15s}{words}")
    print("target            " + json.dumps(TARGETS))


def demo() -> None:
    """The whole console on its own demo at 1000×: engine, exchange and services in one process."""
    with tempfile.TemporaryDirectory() as state:
        terminal = Terminal("demo", state)
        connected = terminal.until(b"ACTIVE", 60)
        if connected is None:
            raise RuntimeError("the demo did not start")
        terminal.until(None, 5.0)
        mark = "▸".encode() + rb"(?:\x1b\[[0-9;]*m)*"
        steps = [(b"\x1b[B", re.compile(mark + b"IBM")), (b"\x1b[A", re.compile(mark + b"SPY"))]
        row = measure(terminal, [steps[i % 2] for i in range(PRESSES)])
        row["RSS MB"] = terminal.rss_mb()
        terminal.close()
    print("\nkey → answer on the demo at 1000×, everything embedded; ms")
    print(f"{'':18s}" + "".join(f"{name:>9s}" for name in row))
    print(f"{'console':18s}" + "".join(f"{value:9.1f}" for value in row.values()))
    print("target            p99 ≤ 50, RSS ≤ 150")
    print(
        f"process start → connected and trading {connected - terminal.started:.2f} s   target ≤ 2 s"
    )


def run_demo(state: str) -> int:
    from console.cli import main as console

    names = (
        "health", "market_data_health", "execution_engine_health", "risk_manager_health", "market",
        "signal", "commands", "events", "risk", "exchange",
    )  # fmt: skip
    free = [word for name in names for word in ("--set", f"ports.{name}=0")]
    return console(["--demo", "--speed", "1000", "--state-dir", state, *free])


def paint() -> None:
    # As an installed package is: compiled, whatever PYTHONDONTWRITEBYTECODE says here.
    compileall.compile_dir(str(ROOT / "console"), quiet=1)
    print(f"\nprocess start → first paint, medians of {PAINTS}, taken in turn; ms")
    took: dict[str, list[float]] = {"bare Textual app": [], "console": []}
    for _ in range(PAINTS):
        for name, arguments in (("bare Textual app", ("bare",)), ("console", ("console", ""))):
            terminal = Terminal(*arguments)
            moment = terminal.until(b"PORTFOLIO", 20)
            if moment is None:
                raise RuntimeError(f"{name} painted nothing")
            took[name].append((moment - terminal.started) * 1e3)
            terminal.until(None, 0.2)
            terminal.close()
    medians = {name: statistics.median(values) for name, values in took.items()}
    for name, values in took.items():
        print(f"{name:18s}{medians[name]:9.0f}   ({min(values):.0f}–{max(values):.0f})")
    print(
        f"ratio             ×{medians['console'] / medians['bare Textual app']:.2f}   target ≤ ×1.3"
    )


def main(arguments: list[str]) -> int:
    match arguments:
        case ["console", endpoint]:
            run_console(endpoint)
        case ["bare"]:
            run_bare()
        case ["table" | "strips" as kind]:
            run_peer(kind)
        case ["flood"]:
            run_flood()
        case ["demo", state]:
            return run_demo(state)
        case _:
            for part in (keys, demo, paint):
                if not arguments or part.__name__ in arguments:
                    part()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
