"""Services that run as processes of their own beside the console: how they are found and watched.

`trading-console service NAME` leaves `services/NAME.json` in the state directory, with its ports,
for as long as it runs. A service started otherwise is where `[ports]` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import aiohttp
import msgspec

from console.config import ConfigError
from console.engine.clocks import ReplayStatus, parse_time
from console.engine.state import ServiceView
from console.exits import CONFIG, IN_USE, ExitError
from console.services import (
    HEALTH_EVERY_S,
    HEALTH_TIMEOUT_S,
    STARTING_S,
    UNWELL_EVERY_S,
    NoHealthError,
    ask_health,
)

if TYPE_CHECKING:
    from console.config import Settings

SERVICE_PORTS = {
    "paper-exchange": ("exchange",),
    "market-data": ("market", "market_data_health"),
    "execution-engine": ("signal", "execution_engine_health"),
    "risk-manager": ("risk", "risk_manager_health"),
}
"""The settings in `[ports]` that each service binds."""
CONTROL_TIMEOUT_S = 5.0


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A service in a process of its own: who it is and the ports that it took."""

    name: str
    pid: int
    ports: dict[str, int]

    @staticmethod
    def path(state_dir: Path, name: str) -> Path:
        return state_dir / "services" / f"{name}.json"

    @classmethod
    def read(cls, state_dir: Path, name: str) -> ServiceInfo | None:
        """What a living service left there; None without one."""
        path = cls.path(state_dir, name)
        try:
            info = msgspec.json.decode(path.read_bytes(), type=cls)
            with path.with_suffix(".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return info
        except (OSError, msgspec.DecodeError):
            return None
        return None


class Place:
    """A service's place in a state directory: held by one process at a time, until `leave`."""

    def __init__(self, path: Path, name: str, lock: IO[str]) -> None:
        self._path = path
        self._name = name
        self._lock = lock

    @classmethod
    def take(cls, state_dir: Path, name: str) -> Self:
        """Raises `ExitError`: 73 where the service runs there already, 78 where it can't be."""
        path = ServiceInfo.path(state_dir, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = path.with_suffix(".lock").open("a")
        except OSError as error:
            raise ExitError(
                f"state directory {state_dir}: {error.strerror}; "
                "name a writable folder with --state-dir",
                CONFIG,
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ExitError(
                f"{name} runs on state directory {state_dir} already; stop that one, or give "
                "this one its own --state-dir",
                IN_USE,
            ) from None
        return cls(path, name, lock)

    def tell(self, ports: dict[str, int]) -> None:
        """Leave word of the ports that the service took."""
        info = ServiceInfo(name=self._name, pid=os.getpid(), ports=ports)
        draft = self._path.with_suffix(".tmp")
        draft.write_bytes(msgspec.json.encode(info) + b"\n")
        draft.replace(self._path)

    def leave(self) -> None:
        """Take the word away and let another have the place. Idempotent."""
        if not self._lock.closed:
            self._path.unlink(missing_ok=True)
            self._lock.close()


def ports_of(settings: Settings, name: str) -> dict[str, int]:
    """Where a service that runs apart has its ports, as far as that is known."""
    info = ServiceInfo.read(settings.state_dir, name)
    configured = {port: getattr(settings.ports, port) for port in SERVICE_PORTS[name]}
    found = configured if info is None else configured | info.ports
    return {port: number for port, number in found.items() if number}


def require_port(settings: Settings, port: str, wanted_by: str) -> int:
    """The port of a service that runs apart. Raises `ConfigError` where nobody knows it."""
    name = next(name for name, ports in SERVICE_PORTS.items() if port in ports)
    number = ports_of(settings, name).get(port)
    if number is None:
        raise ConfigError(
            f"ports.{port} = 0",
            f"leaves open where {wanted_by} finds {name}",
            f"start `trading-console service {name}` on this state directory first, "
            "or set the port that it has",
            origin=settings.origins.get(f"ports.{port}", ""),
        )
    return number


class ServiceApart:
    """A service that somebody else runs, watched by its health. As a `SupervisedService` else.

    `on_ports` is told when it is found at other ports than before.
    """

    restarts = 0
    service = None

    def __init__(
        self,
        name: str,
        settings: Settings,
        on_change: Callable[[ServiceView], None],
        on_ports: Callable[[dict[str, int]], None],
    ) -> None:
        self.name = name
        self.ports: dict[str, int] = {}
        self.view = ServiceView(name=name, status="starting", message="runs apart")
        self._settings = settings
        self._on_change = on_change
        self._on_ports = on_ports
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch it from now on, whether it is there or not."""
        self.ports = ports_of(self._settings, self.name)
        self._task = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def stop(self, timeout_s: float) -> None:
        """Stop watching; the service goes on."""
        del timeout_s
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        begun = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                # On a thread: it reads a file.
                found = await asyncio.to_thread(ports_of, self._settings, self.name)
                # One that has died left no word: it comes back to where it was, or says otherwise.
                if found and found != self.ports:
                    self.ports = found
                    self._on_ports(found)
                await self._ask(session, starting=time.monotonic() - begun < STARTING_S)
                well = self.view.status == "healthy"
                await asyncio.sleep(HEALTH_EVERY_S if well else UNWELL_EVERY_S)

    async def _ask(self, session: aiohttp.ClientSession, *, starting: bool) -> None:
        port = self.ports.get(SERVICE_PORTS[self.name][-1])
        if port is None:
            self._say("starting" if starting else "down", "runs apart and has told no port yet")
            return
        if self.name == "paper-exchange":
            reached = await _listens(port)
            self._say("healthy" if reached else "down", "runs apart")
            return
        try:
            status, message, metrics = await ask_health(session, self._settings.bus.bind, port)
        except NoHealthError as error:
            self._say("starting" if starting else "down", f"runs apart; {error}")
            return
        if starting and status != "healthy":
            status = "starting"
        self._say(status, message, metrics, port=port)

    def _say(
        self,
        status: str,
        message: str,
        metrics: dict[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        if port is None:
            port = next(iter(self.ports.values()), None)
        view = ServiceView(
            name=self.name, status=status, message=message, port=port, metrics=metrics or {}
        )
        if view != self.view:
            self.view = view
            self._on_change(view)


async def _listens(port: int) -> bool:
    """Whether somebody takes connections there; the exchange has no health of its own to ask."""
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


@dataclass(frozen=True, slots=True)
class ReplayApart:
    """Plays the recording of an exchange that runs apart, on `port` and with its control on.

    It is a `console.engine.clocks.ReplayControl`.
    """

    port: int

    def control(
        self,
        *,
        paused: bool | None = None,
        speed: float | None = None,
        step_s: float | None = None,
    ) -> ReplayStatus:
        """Blocks until the exchange answers. Raises RuntimeError while it is down."""
        if speed is not None:
            self._post("speed", {"speed": speed})
        if paused is not None:
            self._post("pause" if paused else "resume", {})
        if step_s is not None:
            self._post("step", {"step_s": step_s})
        answer = self._call("clock", None)
        return ReplayStatus(
            market_time=parse_time(answer["market_time"]),
            speed=float(answer["speed"]),
            paused=bool(answer["paused"]),
            is_open=bool(answer["is_open"]),
        )

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._call(path, json.dumps(body).encode())

    def _call(self, path: str, body: bytes | None) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/_exchange/{path}"
        request = urllib.request.Request(url, data=body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=CONTROL_TIMEOUT_S) as response:
                answer: dict[str, Any] = json.loads(response.read())
        except (OSError, ValueError) as error:
            raise RuntimeError(
                f"the exchange on port {self.port} doesn't take {path} ({error}); "
                "is it running, with --control?"
            ) from error
        return answer
