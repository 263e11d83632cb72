"""`trading-console up`: the whole system, one process a service, kept running together.

Each child runs this same program: the exchange (in the demo), market-data, the console without a
screen, execution-engine and risk-manager, in that order. One that dies is started again on the
ports it had; at a signal all are stopped in reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from console.apart import ServiceInfo
from console.cli.output import Format, print_json
from console.config import Mode, Overrides, Settings, load_settings
from console.engine.runtime import RuntimeInfo
from console.exits import FAILED, IN_USE, OK, ExitError
from console.host import secrets_of
from console.logs import start_logs
from console.runtime import is_taken

log = logging.getLogger("console.up")

CONSOLE = "console"
START_LIMIT_S = 30.0
LOOK_EVERY_S = 0.05
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
STEADY_AFTER_S = 60.0
KILLED_S = 5.0
"""How long one that was killed is waited for; one that the kernel holds may take for ever."""

_RANKS = {
    "execution-engine": 0,
    "risk-manager": 0,
    CONSOLE: 1,
    "market-data": 2,
    "paper-exchange": 3,
}
"""Each needs those of the higher ranks: they are started before it and stopped after it."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_up(overrides: Overrides, style: Format) -> int:
    """Run until a signal ends it. Raises `ExitError` where one can't start the first time."""
    settings = load_settings(overrides)
    if is_taken(settings.state_dir):
        raise ExitError(
            f"state directory {settings.state_dir} is in use; stop the engine that runs there, "
            "or give this system its own --state-dir",
            IN_USE,
        )
    logs = start_logs(
        level=settings.log.level, style=settings.log.format, secrets=secrets_of(settings)
    )
    try:
        return asyncio.run(_System(settings, overrides, style).run())
    finally:
        logs.stop()


@dataclass
class _Child:
    """One process of the system, and what is known of it."""

    name: str
    arguments: tuple[str, ...]
    ports: Callable[[int], dict[str, int] | None]
    """The ports that the process of this pid took; None before it has said."""
    process: asyncio.subprocess.Process | None = None
    started_at: float = 0.0
    wait_s: float = FIRST_WAIT_S
    pinned: dict[str, int] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None


class _System:
    """See the module."""

    def __init__(self, settings: Settings, overrides: Overrides, style: Format) -> None:
        self._settings = settings
        self._style = style
        self._common = _options(settings, overrides)
        self._asked_to_stop = asyncio.Event()
        self._why = ""
        self._in_child = _ended_with_parent()
        self._children = self._make_children()

    def _make_children(self) -> list[_Child]:
        state_dir = self._settings.state_dir

        def service(name: str, *arguments: str) -> _Child:
            def ports(pid: int) -> dict[str, int] | None:
                info = ServiceInfo.read(state_dir, name)
                return info.ports if info is not None and info.pid == pid else None

            return _Child(name, arguments, ports)

        def engine_ports(pid: int) -> dict[str, int] | None:
            runtime = RuntimeInfo.read(state_dir)
            if runtime is None or runtime.pid != pid or "commands" not in runtime.ports:
                return None
            own = ("health", "commands", "events")
            return {name: runtime.ports[name] for name in own}

        apart = ("--set", "services.embed=", "--set", "demo.control=true")
        children = [
            service("market-data", "service", "market-data"),
            _Child(CONSOLE, ("headless", *apart), engine_ports),
            service("execution-engine", "service", "execution-engine"),
            service("risk-manager", "service", "risk-manager"),
        ]
        if self._settings.mode is Mode.DEMO:
            children.insert(0, service("paper-exchange", "exchange", "--control"))
        return children

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            for rank in sorted(set(_RANKS.values()), reverse=True):
                starting = [child for child in self._children if _RANKS[child.name] == rank]
                for child in starting:
                    await self._start(child)
                await asyncio.gather(*map(self._until_told, starting))
                if self._asked_to_stop.is_set():
                    return OK
            self._tell()
            watches = [asyncio.create_task(self._keep(child)) for child in self._children]
            await self._asked_to_stop.wait()
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            return OK
        finally:
            await self._stop()

    def _signalled(self, number: int) -> None:
        if self._asked_to_stop.is_set():
            for child in self._children:
                if child.alive and child.process is not None:
                    child.process.kill()
            os._exit(128 + number)
        self._why = signal.Signals(number).name
        self._asked_to_stop.set()

    async def _start(self, child: _Child) -> None:
        pinned = [f"--set=ports.{name}={port}" for name, port in child.pinned.items()]
        command = [sys.executable, "-m", "console", *child.arguments, *self._common, *pinned]
        if child.name == "paper-exchange":
            command = [part for part in command if part not in ("--demo", "--live-paper")]
        child.started_at = time.monotonic()
        child.process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            # Signals of the terminal are for this process: it stops the others in order.
            start_new_session=True,
            preexec_fn=self._in_child,
        )
        log.info("%s started", child.name, extra={"fields": {"pid": child.process.pid}})

    async def _until_told(self, child: _Child) -> None:
        """Wait for its ports. Raises `ExitError` where it ends before, or takes too long."""
        process = child.process
        assert process is not None
        deadline = time.monotonic() + START_LIMIT_S
        while not self._asked_to_stop.is_set():
            if (ports := child.ports(process.pid)) is not None:
                child.pinned = ports
                return
            if process.returncode is not None:
                code = process.returncode if process.returncode > 0 else FAILED
                raise ExitError(
                    f"{child.name} ended at its start with {process.returncode}; "
                    "the line above says why",
                    code,
                )
            if time.monotonic() > deadline:
                raise ExitError(
                    f"{child.name} has told no ports after {START_LIMIT_S:g} s; "
                    "its log above says what it waits for",
                    FAILED,
                )
            await asyncio.sleep(LOOK_EVERY_S)

    async def _keep(self, child: _Child) -> None:
        """Start it again whenever it has died, after waits that grow."""
        while True:
            assert child.process is not None
            code = await child.process.wait()
            if time.monotonic() - child.started_at > STEADY_AFTER_S:
                child.wait_s = FIRST_WAIT_S
            log.error("%s died with %d; started again in %.1f s", child.name, code, child.wait_s)
            await asyncio.sleep(child.wait_s)
            child.wait_s = min(child.wait_s * 2, LONGEST_WAIT_S)
            await self._start(child)

    def _tell(self) -> None:
        ports = {name: port for child in self._children for name, port in child.pinned.items()}
        pids = {child.name: child.process.pid for child in self._children if child.process}
        log.info("all run", extra={"fields": {"ports": ports, "pids": pids}})
        if self._style is Format.JSON:
            print_json({"ports": ports, "pids": pids, "state_dir": self._settings.state_dir})
            return
        print(f"All run on {self._settings.state_dir}: {json.dumps(ports)}")
        print("Attach a screen with trading-console attach; Ctrl-C ends all.", flush=True)

    async def _stop(self) -> None:
        """Ask each to stop, last started first, within `engine.drain_timeout_s` for all."""
        deadline = time.monotonic() + self._settings.engine.drain_timeout_s
        if self._why:
            log.info("stopping: %s", self._why)
        for rank in sorted(set(_RANKS.values())):
            going = [child for child in self._children if _RANKS[child.name] == rank]
            await asyncio.gather(*(self._end(child, deadline) for child in going))
        log.info("all stopped")

    async def _end(self, child: _Child, deadline: float) -> None:
        process = child.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(max(0.2, deadline - time.monotonic())):
                await process.wait()
        except TimeoutError:
            log.warning("%s didn't end in time and is killed", child.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILLED_S):
                    await process.wait()


def _options(settings: Settings, overrides: Overrides) -> list[str]:
    """What every child is told alike: the same settings, resolved the same way."""
    options = ["--state-dir", str(settings.state_dir)]
    if overrides.config is not None:
        options += ["--config", str(overrides.config.absolute())]
    if overrides.profile is not None:
        options += ["--profile", overrides.profile]
    for value in overrides.values:
        options += ["--set", value]
    if overrides.speed is not None:
        options += ["--set", f"demo.speed={overrides.speed:g}"]
    if settings.mode is Mode.DEMO:
        options.append("--demo")
    elif overrides.live_paper:
        options.append("--live-paper")
    return options


def _ended_with_parent() -> Callable[[], None] | None:
    """Has the kernel stop a child whose parent dies without a word, where it can."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, pr_set_pdeathsig = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(pr_set_pdeathsig, signal.SIGTERM)
