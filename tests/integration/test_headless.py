"""Headless as others run it: a process, its ports, its signals, and the commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FREE_PORTS, LIMIT_S, ROOT, Ran

Until = Callable[..., Any]
DRAIN_S = 5.0


class Console:
    """One `trading-console headless` of a test, with its stderr in a file."""

    def __init__(self, state_dir: Path, log: Path, *arguments: str, **environment: str) -> None:
        self.state_dir = state_dir
        self.log = log
        free = [part for value in FREE_PORTS for part in ("--set", value)]
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "console", "headless", "--demo",
                    "--state-dir", str(state_dir), *free, *arguments,
                ],
                cwd=log.parent,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )  # fmt: skip

    def runtime(self) -> dict[str, Any] | None:
        if self.process.poll() is not None:
            pytest.fail(f"ended with {self.process.returncode}: {self.log.read_text()}")
        try:
            found: dict[str, Any] = json.loads((self.state_dir / "runtime.json").read_text())
        except (OSError, ValueError):
            return None
        ours = found["pid"] == self.process.pid
        return found if ours and "risk_manager_health" in found["ports"] else None

    def get(self, path: str, port: str = "health") -> tuple[int, str]:
        runtime = self.runtime()
        assert runtime is not None
        url = f"http://127.0.0.1:{runtime['ports'][port]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=LIMIT_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path: Path, until: Until) -> Iterator[Callable[..., Console]]:
    """Starts headless consoles and waits until they are ready; kills what is left after."""
    started: list[Console] = []

    def run(*arguments: str, state_dir: Path | None = None, ready: bool = True) -> Console:
        console = Console(
            state_dir or tmp_path / "state", tmp_path / f"stderr-{len(started)}", *arguments
        )
        started.append(console)
        if ready:
            until(console.runtime, "runtime.json with all ports")
            until(lambda: console.get("/ready")[0] == 200, "ready")
        return console

    yield run
    for console in started:
        console.end()


@pytest.fixture
def at(tmp_path: Path, command_line: Callable[..., Ran]) -> Callable[..., Ran]:
    """A command of the command line against the engine of the test, with JSON out."""

    def run(*arguments: str) -> Ran:
        return command_line(*arguments, "--state-dir", str(tmp_path / "state"), "--format", "json")

    return run


def test_status_order_cancel_and_a_clean_end(
    start: Callable[..., Console], at: Callable[..., Ran], until: Until
) -> None:
    console = start("--speed", "60")
    status = at("status")
    assert status.code == 0, status.err
    document = status.document
    assert document["state"] == "ACTIVE"
    assert document["ready"] is True
    assert document["equity"] == "100000.00"
    assert document["positions"] == []
    assert {"market-data", "execution-engine", "risk-manager"} <= set(document["services"])
    # The demo starts just before an open.
    until(lambda: at("status").document["market"]["is_open"], "the open")
    until(lambda: quoted(at), "a quote of IBM")

    bought = at("order", "buy 100 IBM", "--wait", "20")
    assert bought.code == 0, bought.out + bought.err
    assert bought.document["state"] == "FILLED"
    assert bought.document["filled_qty"] == "100"
    assert float(bought.document["filled_avg_price"]) > 0
    assert bought.document["client_order_id"]
    assert bought.document["id"]

    refused = at("order", "buy 9999999 IBM")
    assert refused.code == 1
    refusal = refused.document["refusals"][0]
    assert refusal["check"]
    assert refusal["limit"]
    assert "9999999" in refusal["value"].replace(",", "")

    working = at("order", "buy 1 IBM @ bid-30")
    assert working.code == 0, working.out + working.err
    assert float(working.document["limit_price"]) < float(bought.document["filled_avg_price"])
    canceled = at("cancel", "all")
    assert canceled.code == 0, canceled.out

    def one_position_and_nothing_open() -> bool:
        now = at("status").document
        final = {"FILLED", "CANCELED", "REFUSED"}
        return [p["qty"] for p in now["positions"]] == ["100"] and all(
            order["state"] in final for order in now["orders"]
        )

    until(one_position_and_nothing_open)

    begun = time.monotonic()
    console.process.send_signal(signal.SIGTERM)
    out, _ = console.process.communicate(timeout=LIMIT_S)
    assert time.monotonic() - begun < DRAIN_S
    assert console.process.returncode == 0
    assert out == ""
    last = console.lines()[-1]
    assert "SIGTERM" in last["message"]
    assert "100 IBM" in last["message"]
    assert "open orders: none" in last["message"]
    assert not (console.state_dir / "runtime.json").exists()
    assert at("status").code == 69


def quoted(at: Callable[..., Ran]) -> bool:
    return at("order", "preview buy 1 IBM").code == 0


def test_health_is_served_by_all_four_and_survives_a_restart(
    start: Callable[..., Console], until: Until
) -> None:
    console = start()
    for port in ("health", "market_data_health", "execution_engine_health", "risk_manager_health"):
        until(lambda port=port: console.get("/health", port)[0] == 200, f"{port} healthy")
        code, text = console.get("/health", port)
        body = json.loads(text)
        assert code == 200
        assert body["status"] == "healthy"
        assert {"component", "message", "metrics", "timestamp"} <= set(body)
        assert console.get("/live", port) == (200, "alive")
        assert console.get("/ready", port)[0] == 200
        assert "uptime" in console.get("/metrics", port)[1]
    console.process.send_signal(signal.SIGKILL)
    console.process.wait(LIMIT_S)

    again = start()
    metrics = json.loads(again.get("/health")[1])["metrics"]
    assert metrics["starts"] == "2"
    assert metrics["last_exit"].startswith("crash")


def test_a_second_engine_on_the_same_state_directory_is_refused(
    start: Callable[..., Console], until: Until
) -> None:
    first = start()
    second = start(ready=False)
    second.process.wait(LIMIT_S)
    assert second.process.returncode == 73
    line = second.log.read_text().splitlines()[-1]
    assert str(first.process.pid) in line
    assert "--state-dir" in line
    assert "Traceback" not in second.log.read_text()
    assert first.get("/ready")[0] == 200


@pytest.mark.parametrize("setting", ["health", "exchange", "commands", "market", "risk"])
def test_a_taken_port_is_one_line_with_port_and_setting(
    tmp_path: Path, start: Callable[..., Console], taken_port: int, setting: str
) -> None:
    console = start("--set", f"ports.{setting}={taken_port}", ready=False)
    console.process.wait(LIMIT_S)
    text = console.log.read_text()
    assert console.process.returncode == 78, text
    line = text.splitlines()[-1]
    assert str(taken_port) in line
    assert f"ports.{setting}" in line
    assert "Traceback" not in text
    assert not (console.state_dir / "runtime.json").exists()


@pytest.fixture
def taken_port() -> Iterator[int]:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_drain_too(start: Callable[..., Console], number: signal.Signals) -> None:
    console = start()
    console.process.send_signal(number)
    assert console.process.wait(LIMIT_S) == 0
    assert number.name in console.lines()[-1]["message"]


def test_without_a_terminal_the_bare_command_goes_headless_and_says_so(
    tmp_path: Path, until: Until
) -> None:
    log = tmp_path / "stderr"
    free = [part for value in FREE_PORTS for part in ("--set", value)]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "console", "--state-dir", str(tmp_path / "state"), *free],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        until(lambda: (tmp_path / "state" / "runtime.json").exists() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert "running headless" in log.read_text().splitlines()[0]


def test_headless_loads_no_textual(command_python: Callable[[str], str]) -> None:
    code = (
        "import sys, console.cli.headless, console.host, console.engine.engine, "
        "console.broker.session, console.broker.streams, console.cli.client, signal_bridge; "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('textual', 'rich') "
        "or m.startswith('console.ui')))"
    )
    assert command_python(code) == "[]"
