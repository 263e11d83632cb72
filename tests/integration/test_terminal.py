"""The console in a real terminal: it paints, leaves cleanly, and tells why it can't run."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

from tests.conftest import FREE_PORTS, ROOT

Until = Callable[..., Any]
COLUMNS, LINES = 120, 40


class Terminal:
    """A process in a pseudo-terminal, and the screen as a person would see it."""

    def __init__(self, state_dir: Path, *arguments: str, errors: Path | None = None) -> None:
        free = [part for value in FREE_PORTS for part in ("--set", value)]
        start = ["--demo", *free] if "attach" not in arguments else []
        command = [sys.executable, "-m", "console", *start, *arguments]
        command += ["--state-dir", str(state_dir)]
        self.pid, self._tty = pty.fork()
        if self.pid == 0:
            os.environ |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
            if errors is not None:
                os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
            os.execv(command[0], command)
        fcntl.ioctl(self._tty, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.raw = b""
        self.code: int | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._tty, 65_536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    @property
    def text(self) -> str:
        with self._lock:
            return "\n".join(self._screen.display)

    def type(self, keys: bytes) -> None:
        os.write(self._tty, keys)

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._reader.join(5.0)
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def end(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._tty)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def run(*arguments: str, state_dir: Path | None = None, errors: Path | None = None) -> Terminal:
        terminal = Terminal(state_dir or tmp_path / "state", *arguments, errors=errors)
        opened.append(terminal)
        return terminal

    yield run
    for terminal in opened:
        terminal.end()


def test_it_connects_and_leaves_by_key(
    open_terminal: Callable[..., Terminal], until: Until, tmp_path: Path
) -> None:
    terminal = open_terminal()
    until(lambda: "ACTIVE" in terminal.text, "the engine's state on the screen")
    assert "100,000.00" in terminal.text
    assert (tmp_path / "state" / "runtime.json").exists()
    terminal.type(b"\x11")
    until(terminal.ended)
    assert terminal.code == 0
    assert not (tmp_path / "state" / "runtime.json").exists()
    assert b"Traceback" not in terminal.raw


def test_it_paints_on_the_terminal_though_its_errors_go_to_a_file(
    open_terminal: Callable[..., Terminal], until: Until, tmp_path: Path
) -> None:
    terminal = open_terminal(errors=tmp_path / "errors.log")
    until(lambda: "ACTIVE" in terminal.text, "the engine's state on the screen")
    terminal.type(b"\x11")
    until(terminal.ended)
    assert terminal.code == 0
    assert (tmp_path / "errors.log").read_bytes() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_it_and_the_engine_drains(
    open_terminal: Callable[..., Terminal], until: Until, tmp_path: Path, number: int
) -> None:
    terminal = open_terminal()
    until(lambda: "ACTIVE" in terminal.text)
    os.kill(terminal.pid, number)
    until(terminal.ended)
    assert terminal.code == 0
    assert not (tmp_path / "state" / "runtime.json").exists()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ports.helth=1", "did you mean health"),
        ("ui.theme=nope", "no theme"),
        ("broker.base_url=https://api.alpaca.markets", "paper-api.alpaca.markets"),
    ],
)
def test_a_wrong_setting_is_one_line_and_78(
    open_terminal: Callable[..., Terminal], until: Until, setting: str, told: str
) -> None:
    terminal = open_terminal("--set", setting)
    until(terminal.ended)
    assert terminal.code == 78
    assert told in " ".join(terminal.text.split())
    assert b"Traceback" not in terminal.raw


def test_a_taken_port_leaves_the_screen_and_is_told(
    open_terminal: Callable[..., Terminal], until: Until
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        terminal = open_terminal("--set", f"ports.market={port}")
        until(terminal.ended)
    assert terminal.code == 78
    assert str(port).encode() in terminal.raw
    assert b"ports.market" in terminal.raw
    # The alternate screen was left before the line was printed.
    assert terminal.raw.rfind(b"\x1b[?1049l") < terminal.raw.rfind(b"ports.market")
    assert b"Traceback" not in terminal.raw


def test_an_attached_console_leaves_the_engine_running(
    open_terminal: Callable[..., Terminal], until: Until, tmp_path: Path
) -> None:
    engine = open_terminal()
    until(lambda: "ACTIVE" in engine.text)
    attached = open_terminal("attach")
    until(lambda: "ACTIVE" in attached.text, "the state on the attached screen")
    attached.type(b"\x11")
    until(attached.ended)
    assert attached.code == 0
    assert not engine.ended()
    assert (tmp_path / "state" / "runtime.json").exists()
    again = open_terminal("attach")
    until(lambda: "ACTIVE" in again.text)
