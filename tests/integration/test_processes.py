"""Each service as a process of its own: alone, and the whole system by `up`."""

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

from console.apart import ServiceInfo
from console.bridge import Signal, ZMQPublisher
from console.engine.commands import ControlReplay, GetState, Outcome
from console.engine.link import RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import EngineView
from tests.conftest import FREE_PORTS, LIMIT_S, ROOT, RunningExchange

Until = Callable[..., Any]
Run = Callable[..., "Process"]
SECRET = "secret-of-the-process"


class Process:
    """`trading-console …` in a process of its own, its output in files."""

    def __init__(self, folder: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "console", *arguments],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def log(self) -> str:
        return self.err.read_text()

    def ended_within(self, number: signal.Signals, limit_s: float) -> int:
        """Signal it; the exit code. Fails where it takes longer."""
        self.process.send_signal(number)
        return self.process.wait(limit_s)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts one, with free ports; kills what a test left."""
    started: list[Process] = []

    def begin(*arguments: str, **environment: str) -> Process:
        folder = tmp_path / f"process-{len(started)}"
        folder.mkdir()
        sets = [f"--set={value}" for value in FREE_PORTS]
        started.append(Process(folder, [*arguments, *sets], environment))
        return started[-1]

    yield begin
    for process in started:
        if process.process.poll() is None:
            process.process.terminate()
            try:
                process.process.wait(10)
            except subprocess.TimeoutExpired:
                process.process.kill()
                process.process.wait(10)


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def told(state_dir: Path, name: str, process: Process, until: Until) -> dict[str, int]:
    """The ports that a service in a process of its own announced."""

    def announced() -> ServiceInfo | None:
        assert process.process.poll() is None, process.log()
        return ServiceInfo.read(state_dir, name)

    ports: dict[str, int] = until(announced, f"{name} told its ports").ports
    return ports


@pytest.mark.parametrize("name", ["market-data", "execution-engine", "risk-manager"])
def test_a_service_runs_alone_serves_health_and_ends_at_a_signal(
    name: str, run: Run, exchange: RunningExchange, tmp_path: Path, until: Until
) -> None:
    state = tmp_path / "state"
    environment = {
        "ALPACA_API_KEY": "PKALONE",
        "ALPACA_SECRET_KEY": SECRET,
        "ALPACA_BASE_URL": exchange.url,
    }
    # Nobody needs to be at the other end yet.
    elsewhere = [
        f"--set=ports.{port}={number}"
        for port, number in {"market": 1, "commands": 2, "events": 3}.items()
        if name != "market-data"
    ]
    process = run("service", name, "--state-dir", str(state), **environment)
    if name != "market-data":
        assert process.process.wait(LIMIT_S) == 78
        assert "ports." in process.log()
        process = Process(
            tmp_path,
            [
                "service",
                name,
                "--state-dir",
                str(state),
                *(f"--set={value}" for value in FREE_PORTS),
                *elsewhere,
            ],
            environment,
        )
    try:
        ports = told(state, name, process, until)
        health = next(port for key, port in ports.items() if key.endswith("health"))
        assert get(health, "/live") == (200, "alive")
        status, body = get(health, "/health")
        assert json.loads(body)["component"] == name
        assert status in (200, 503)
        if name == "market-data":
            until(lambda: get(health, "/ready")[0] == 200)
        else:
            assert get(health, "/ready")[0] == 503
        began = time.monotonic()
        assert process.ended_within(signal.SIGTERM, 5.0) == 0
        assert time.monotonic() - began < 5.0
    finally:
        process.process.kill()
    assert ServiceInfo.read(state, name) is None
    assert not (state / "services" / f"{name}.json").exists()
    record = json.loads((state / "health" / f"{name}.json").read_text())
    assert record["last_exit"]["clean"] is True
    assert SECRET not in process.log()


@pytest.mark.parametrize(
    ("name", "port"),
    [("market-data", "market"), ("execution-engine", "signal"), ("risk-manager", "risk")],
)
def test_a_taken_port_is_one_line_with_port_and_setting(
    name: str, port: str, exchange: RunningExchange, command_line: Callable[..., Any]
) -> None:
    ran = command_line(
        "service", name, *(f"--set={value}" for value in FREE_PORTS),
        "--set=ports.exchange=1", "--set=ports.market=2", "--set=ports.commands=3",
        "--set=ports.events=4", f"--set=ports.{port}={exchange.port}",
    )  # fmt: skip
    assert ran.code == 78
    assert len(ran.err.strip().splitlines()) == 1
    assert f"ports.{port}: 127.0.0.1:{exchange.port} is taken" in ran.err


@pytest.fixture
def system(run: Run, tmp_path: Path, until: Until) -> tuple[Process, Path, dict[str, Any]]:
    """`up` on the demo: the process, its state directory, what it told."""
    state = tmp_path / "state"
    process = run(
        "up", "--demo", "--speed", "60", "--state-dir", str(state), "--format", "json",
        "--set", "demo.partial_fills=false",
    )  # fmt: skip

    def said() -> dict[str, Any] | None:
        assert process.process.poll() is None, process.log()
        text = process.out.read_text()
        document: dict[str, Any] | None = json.loads(text) if text.endswith("\n") else None
        assert document is None or "pids" in document, process.log()
        return document

    return process, state, until(said, "all run", limit_s=2 * LIMIT_S)


async def test_the_whole_system_trades_as_processes_and_survives_the_death_of_one(
    system: tuple[Process, Path, dict[str, Any]],
    until_async: Callable[..., Any],
) -> None:
    process, state, told_by = system
    pids, ports = told_by["pids"], told_by["ports"]
    assert len(set(pids.values())) == 5

    runtime = RuntimeInfo.read(state)
    assert runtime is not None
    link = RemoteLink(runtime, with_feed=False)

    async def view() -> EngineView:
        state = (await link.request(GetState(), timeout_s=LIMIT_S)).state
        assert state is not None
        return state

    async def well() -> bool:
        now = await view()
        up = [service.status for service in now.services] == ["healthy"] * 4
        return up and now.ready and now.session is not None and now.session.is_open

    await until_async(well, "all is well")

    async def plays_at(speed: float) -> bool:
        session = (await view()).session
        return session is not None and session.speed == speed

    assert (await link.request(ControlReplay(paused=True))).outcome is Outcome.ACCEPTED
    await until_async(lambda: plays_at(0.0), "the exchange apart stands still")
    assert (await link.request(ControlReplay(paused=False))).outcome is Outcome.ACCEPTED
    await until_async(lambda: plays_at(60.0), "it plays on")

    async def holds(*symbols: str) -> bool:
        return [p.symbol for p in (await view()).positions] == list(symbols)

    url = f"tcp://127.0.0.1:{ports['signal']}"
    async with ZMQPublisher(url) as publisher:
        await publisher.publish_signal(Signal("IBM", "long", 0.8, 1, id="1"))
    await until_async(lambda: holds("IBM"), "the signal became a position")

    os.kill(pids["execution-engine"], signal.SIGKILL)
    await until_async(
        lambda: (
            (info := ServiceInfo.read(state, "execution-engine")) is not None
            and info.pid != pids["execution-engine"]
        )
    )
    async with ZMQPublisher(url) as publisher:
        await publisher.publish_signal(Signal("IBM", "flat", 1.0, 2, id="2"), timeout_s=LIMIT_S)

    await until_async(lambda: holds(), "the one that came back closed it")
    await link.close()
    assert process.ended_within(signal.SIGTERM, 2 * 5.0) == 0
    log = process.log()
    assert "execution-engine died with -9" in log
    assert "Traceback" not in log
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_up_ends_with_the_reason_where_one_cannot_start(
    command_line: Callable[..., Any], exchange: RunningExchange, tmp_path: Path
) -> None:
    ran = command_line(
        "up", "--demo", "--state-dir", str(tmp_path / "state"),
        *(f"--set={value}" for value in FREE_PORTS), f"--set=ports.market={exchange.port}",
    )  # fmt: skip
    assert ran.code == 78
    assert f"ports.market: 127.0.0.1:{exchange.port} is taken" in ran.err
    assert "market-data ended at its start" in ran.err
