"""What many tests share: settings of their own, a running exchange, and waits with a limit.

Nothing here uses a fixed port, the network beyond loopback, or a person's own keys and settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from console.broker.endpoint import Endpoint
    from console.config import Settings
    from signal_bridge import Service

ROOT = Path(__file__).parent.parent
LIMIT_S = 30.0
"""How long any test waits for a condition: generous, since two cores are shared."""

PORT_SETTINGS = (
    "health", "market_data_health", "execution_engine_health", "risk_manager_health",
    "market", "signal", "commands", "events", "risk", "exchange",
)  # fmt: skip
FREE_PORTS = tuple(f"ports.{name}=0" for name in PORT_SETTINGS)

# Two cores run everything at once: how long an example takes says nothing about the code. The examples
# are the same in every run; `--hypothesis-profile=explore` draws others, many more of them.
settings.register_profile(
    "console",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    derandomize=True,
)
settings.register_profile(
    "explore", settings.get_profile("console"), derandomize=False, max_examples=2_000
)
settings.load_profile("console")


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, no settings, no state of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("ALPACA_", "APCA_", "TRADING_CONSOLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port that nobody has at this moment. Prefer 0 wherever what is tested takes it."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of the demo with free ports and a state directory of the test's own.

    `make_settings("demo.speed=100", environment={...})` changes what it names.
    """
    from console.config import Overrides, load_settings

    def make(*values: str, **given: Any) -> Settings:
        overrides: dict[str, Any] = {
            "values": (*FREE_PORTS, *values),
            "state_dir": tmp_path / "state",
            "environment": {"XDG_CONFIG_HOME": str(tmp_path / "xdg-config")},
        }
        return load_settings(Overrides(**(overrides | given)))

    return make


@dataclass(frozen=True)
class RunningExchange:
    """A paper exchange inside this process."""

    service: Service
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, **command: Any) -> dict[str, Any]:
        """Pause, step, speed: see the exchange's commands."""
        answer: dict[str, Any] = json.loads(self.service.call(json.dumps(command)))
        return answer

    def endpoint(self, key_id: str = "PKTEST", secret: str = "secret-of-the-test") -> Endpoint:
        from pydantic import SecretStr

        from console.broker.endpoint import Endpoint

        return Endpoint(
            key_id=key_id,
            secret_key=SecretStr(secret),
            trading_url=self.url,
            requests_per_minute=10_000,
        )


@contextmanager
def _exchanges(folder: Path) -> Iterator[Callable[..., RunningExchange]]:
    from console.services import sample_dir
    from signal_bridge import Service

    started: list[Service] = []

    def make(**given: Any) -> RunningExchange:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": 0,
            "data_dir": str(sample_dir()),
            "state_dir": str(folder / f"exchange-{len(started)}"),
            "speed": 60,
            "seed": 1,
            "partial_fills": False,
            "close_pause_s": 0.1,
            "control": True,
        }
        service = Service.start("paper-exchange", json.dumps(values | given), timeout_s=LIMIT_S)
        started.append(service)
        return RunningExchange(service, service.ports["exchange"])

    try:
        yield make
    finally:
        for service in started:
            service.stop(timeout_s=5.0)


@pytest.fixture
def make_exchange(tmp_path: Path) -> Iterator[Callable[..., RunningExchange]]:
    """Starts exchanges on free ports, by default at 60× without partial fills; stops them after."""
    with _exchanges(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def make_exchange_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RunningExchange]]:
    """The same for the tests of a whole file together."""
    with _exchanges(tmp_path_factory.mktemp("exchanges")) as make:
        yield make


@pytest.fixture
def exchange(make_exchange: Callable[..., RunningExchange]) -> RunningExchange:
    """One such exchange."""
    return make_exchange()


@pytest.fixture
def until() -> Callable[..., Any]:
    """`until(condition)` waits for a true answer and gives it back; fails after `LIMIT_S`."""

    def wait(condition: Callable[[], Any], what: str = "", limit_s: float = LIMIT_S) -> Any:
        deadline = time.monotonic() + limit_s
        while not (answer := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {limit_s:g} s: {what or condition.__name__}")
            time.sleep(0.02)
        return answer

    return wait


@pytest.fixture
def until_async() -> Callable[..., Awaitable[Any]]:
    """The same in an event loop; the condition may be a coroutine function."""

    async def wait(condition: Callable[[], Any], what: str = "", limit_s: float = LIMIT_S) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            if loop.time() > deadline:
                pytest.fail(f"not within {limit_s:g} s: {what or condition.__name__}")
            await asyncio.sleep(0.02)

    return wait


@dataclass(frozen=True)
class Ran:
    """How one run of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout as the one JSON document that it is."""
        return json.loads(self.out)


@pytest.fixture
def command_line(tmp_path: Path) -> Callable[..., Ran]:
    """`command_line("status", "--format", "json")` in a process of its own, from another folder."""

    def run(*arguments: str, limit_s: float = LIMIT_S, **environment: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "console", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def command_python(tmp_path: Path) -> Callable[[str], str]:
    """Runs a line of Python in a fresh interpreter and answers what it printed."""

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
