"""The Rust services as the console runs them: their settings, their start, and their return.

A `SupervisedService` starts one, watches that it lives and what it says of its health, and starts
it again on the same ports when it has died, after waits that grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from console.engine.clocks import ReplayStatus, parse_time
from console.engine.state import ServiceView
from console.exits import FAILED, ExitError
from console.runtime import exchange_dir

if TYPE_CHECKING:
    from console.broker.endpoint import Endpoint
    from console.config import Settings
    from signal_bridge import Service

log = logging.getLogger(__name__)

Values = dict[str, Any]

HEALTH_EVERY_S, HEALTH_TIMEOUT_S = 2.0, 1.0
UNWELL_EVERY_S = 0.5
STARTING_S = 5.0
"""Until a service has found its connections it is starting, not degraded."""
LOOK_EVERY_S = 0.25
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
STEADY_AFTER_S = 60.0
"""A service that lived so long starts the waits anew."""

SERVICE_NAMES = ("market-data", "execution-engine", "risk-manager")

_PORT_FIELDS = {
    "exchange": "port",
    "market": "market_port",
    "signal": "signal_port",
    "risk": "risk_port",
    "market_data_health": "health_port",
    "execution_engine_health": "health_port",
    "risk_manager_health": "health_port",
}
"""By which of its own settings a service takes each port that it names."""


def sample_dir() -> Path:
    """The recorded prices in the package."""
    return Path(__file__).parent / "sample"


def exchange_settings(settings: Settings, state_dir: Path | None) -> Values:
    """The embedded exchange's. `state_dir` None keeps its accounts in memory."""
    demo = settings.demo
    return {
        "host": "127.0.0.1",
        "port": settings.ports.exchange,
        "data_dir": str(Path(demo.data).expanduser().absolute() if demo.data else sample_dir()),
        "state_dir": str(exchange_dir(state_dir)) if state_dir is not None else None,
        "speed": demo.speed,
        "seed": demo.seed,
        "partial_fills": demo.partial_fills,
        "slippage_bp": demo.slippage_bp,
        "latency_ms": demo.latency_ms,
        "close_pause_s": demo.close_pause_s,
        "control": demo.control,
        "rate_limit": demo.rate_limit,
        "data_connections": demo.data_connections,
        "data_symbols": demo.data_symbols,
    }


def bus_url(settings: Settings, port: int) -> str:
    """Where a socket that was bound to `port` by `[bus]` is connected to, on this machine."""
    bind = settings.bus.bind
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 read, not bound
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _on_the_bus(settings: Settings) -> Values:
    """What every service on the bus is told alike."""
    bus = settings.bus
    return {
        "bind": bus.bind,
        "high_water_mark": bus.high_water_mark,
        "heartbeat_s": bus.heartbeat_s,
        "stale_after_s": bus.stale_after_s,
        "keys_dir": str(settings.keys_dir) if bus.security.enabled else None,
        "state_dir": str(settings.state_dir),
    }


def market_data_settings(settings: Settings, endpoint: Endpoint) -> Values:
    return _on_the_bus(settings) | {
        "stream_url": endpoint.market_stream_url,
        "key_id": endpoint.key_id,
        "secret_key": endpoint.secret_key.get_secret_value(),
        "symbols": list(settings.feed.symbols),
        "market_port": settings.ports.market,
        "health_port": settings.ports.market_data_health,
    }


def execution_engine_settings(settings: Settings, *, commands: int, market: int) -> Values:
    """`commands` and `market` are the ports that the engine and market-data really have."""
    execution = settings.execution
    return _on_the_bus(settings) | {
        "signal_port": settings.ports.signal,
        "commands_url": bus_url(settings, commands),
        "market_url": bus_url(settings, market),
        "health_port": settings.ports.execution_engine_health,
        "notional_per_signal": f"{execution.notional_per_signal:f}",
        "min_strength": execution.min_strength,
        "command_timeout_s": execution.command_timeout_s,
    }


def risk_manager_settings(
    settings: Settings, *, commands: int, events: int, market: int | None = None
) -> Values:
    """`commands` and `events` are the ports that the engine really has, `market` market-data's."""
    return _on_the_bus(settings) | {
        "events_url": bus_url(settings, events),
        "market_url": bus_url(settings, market) if market is not None else None,
        "commands_url": bus_url(settings, commands),
        "risk_port": settings.ports.risk,
        "health_port": settings.ports.risk_manager_health,
        "max_daily_loss_pct": float(settings.risk.max_daily_loss_pct),
        "max_drawdown_pct": float(settings.risk.max_drawdown_pct),
    }


def start_service(name: str, values: Values, *, timeout_s: float = 10.0) -> Service:
    """Start one; blocks until its ports are bound. Raises `ExitError` with what it says."""
    try:
        from signal_bridge import Service, ServiceError
    except ImportError as error:
        raise ExitError(
            f"the native module signal_bridge can't be loaded ({error}); "
            "install the wheel, or run make in a clone",
            FAILED,
        ) from None
    try:
        return Service.start(name, json.dumps(values), timeout_s=timeout_s)
    except ServiceError as error:
        raise ExitError(f"{name}: {error}", getattr(error, "exit_code", FAILED)) from None


class NoHealthError(Exception):
    """A service's health doesn't answer, or with something else."""


async def ask_health(
    session: aiohttp.ClientSession, host: str, port: int
) -> tuple[str, str, dict[str, str]]:
    """The status, message and metrics that a service tells of itself. Raises `NoHealthError`."""
    host = f"[{host}]" if ":" in host else host
    try:
        async with session.get(f"http://{host}:{port}/health") as response:
            body = await response.json()
            metrics = {str(k): str(v) for k, v in body.get("metrics", {}).items()}
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
        raise NoHealthError(f"its health doesn't answer: {type(error).__name__}") from error
    return str(body.get("status", "degraded")), str(body.get("message", "")), metrics


class SupervisedService:
    """One service, kept running. `on_change` is told what is new of it, in the loop of `start`."""

    def __init__(
        self,
        name: str,
        values: Values,
        on_change: Callable[[ServiceView], None],
        *,
        start: Callable[[str, Values], Service] = start_service,
    ) -> None:
        self.name = name
        self.ports: dict[str, int] = {}
        self.view = ServiceView(name=name, status="starting")
        self.restarts = 0
        self._values = values
        self._on_change = on_change
        self._start_one = start
        self._service: Service | None = None
        self._task: asyncio.Task[None] | None = None
        self._health_port: int | None = None

    @property
    def service(self) -> Service | None:
        """The running service, None while it is down."""
        service = self._service
        return service if service is not None and service.alive else None

    async def start(self) -> None:
        """Start it and watch it from now on. Raises `ExitError` where the first start fails."""
        self._service = await asyncio.to_thread(self._start_one, self.name, self._values)
        self.ports = dict(self._service.ports)
        # A restart must find its readers where they look for it.
        for port, number in self.ports.items():
            if port in _PORT_FIELDS:
                self._values[_PORT_FIELDS[port]] = number
        self._health_port = next(
            (number for port, number in self.ports.items() if port.endswith("health")), None
        )
        self._say("healthy" if self._health_port is None else "starting")
        self._task = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def stop(self, timeout_s: float) -> None:
        """Stop watching and stop it; waits `timeout_s` at most. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        service, self._service = self._service, None
        if service is not None:
            await asyncio.to_thread(service.stop, timeout_s=max(0.05, timeout_s))
            self._say("stopped")

    async def _watch(self) -> None:
        wait, started, asked = FIRST_WAIT_S, time.monotonic(), 0.0
        timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                if self._service is None or not self._service.alive:
                    if time.monotonic() - started > STEADY_AFTER_S:
                        wait = FIRST_WAIT_S
                    await self._revive(wait)
                    wait, started = min(wait * 2, LONGEST_WAIT_S), time.monotonic()
                elif time.monotonic() - asked >= self._ask_every_s():
                    asked = time.monotonic()
                    await self._ask(session, starting=asked - started < STARTING_S)
                await asyncio.sleep(LOOK_EVERY_S)

    def _ask_every_s(self) -> float:
        return HEALTH_EVERY_S if self.view.status == "healthy" else UNWELL_EVERY_S

    async def _revive(self, wait_s: float) -> None:
        failure = (self._service.failure if self._service is not None else None) or "it ended"
        log.error("%s died: %s; started again in %.1f s", self.name, failure, wait_s)
        self._say("down", f"died: {failure}; started again in {wait_s:g} s")
        await asyncio.sleep(wait_s)
        try:
            self._service = await asyncio.to_thread(self._start_one, self.name, self._values)
        except ExitError as error:
            log.error("%s can't be started again: %s", self.name, error)  # noqa: TRY400 one line
            self._say("down", str(error))
            return
        self.restarts += 1
        log.warning("%s runs again", self.name)
        self._say("starting" if self._health_port else "healthy", "started again")

    async def _ask(self, session: aiohttp.ClientSession, *, starting: bool) -> None:
        if self._health_port is None:
            return
        host = self._values.get("bind", "127.0.0.1")
        try:
            status, message, metrics = await ask_health(session, host, self._health_port)
        except NoHealthError as error:
            self._say("degraded", str(error))
            return
        if starting and status != "healthy":
            status = "starting"
        self._say(status, message, metrics)

    def _say(self, status: str, message: str = "", metrics: dict[str, str] | None = None) -> None:
        port = next(iter(self.ports.values()), None)
        view = ServiceView(
            name=self.name,
            status=status,
            message=message,
            port=self._health_port or port,
            metrics=metrics or {},
        )
        if view != self.view:
            self.view = view
            self._on_change(view)


class EmbeddedReplay:
    """Plays the embedded exchange's recording (`console.engine.clocks.ReplayControl`)."""

    def __init__(self, exchange: SupervisedService) -> None:
        self._exchange = exchange

    def control(
        self,
        *,
        paused: bool | None = None,
        speed: float | None = None,
        step_s: float | None = None,
    ) -> ReplayStatus:
        """Blocks until the exchange answers. Raises RuntimeError while it is down."""
        service = self._exchange.service
        if service is None:
            raise RuntimeError("the embedded exchange is down; it is being started again")
        commands: list[Values] = []
        if speed is not None:
            commands.append({"speed": speed})
        if paused is not None:
            commands.append({"pause": paused})
        if step_s is not None:
            commands.append({"step_s": step_s})
        answer: Values = {}
        for command in commands or [{"clock": True}]:
            answer = json.loads(service.call(json.dumps(command)))
        return ReplayStatus(
            market_time=parse_time(answer["market_time"]),
            speed=float(answer["speed"]),
            paused=bool(answer["paused"]),
            is_open=bool(answer["is_open"]),
        )


async def quietly(awaitable: Any, what: str) -> None:
    """Wait for one step of a stop; a failure is logged and the stop goes on."""
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await awaitable
        except Exception:
            log.exception("while stopping: %s", what)
