"""One process with everything in it: exchange, services, feed, engine and health, in order.

`Host` runs in an event loop: the process's own when headless, that of a `HostThread` beside the
face. What was started is stopped in reverse; a start that fails halfway stops what it had started.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.apart import Place, ReplayApart, ServiceApart, require_port
from console.config import ConfigError, Mode
from console.engine.runtime import RuntimeInfo
from console.exits import CONFIG, FAILED, UNAVAILABLE, ExitError
from console.health.checks import Checks, Finding, HealthRecord, Status
from console.health.metrics import Figures, Metrics
from console.health.server import HealthServer
from console.memory import share_arenas
from console.runtime import StateDir, exchange_dir
from console.service_log import ServiceLog
from console.services import (
    EmbeddedReplay,
    SupervisedService,
    bus_url,
    exchange_settings,
    execution_engine_settings,
    market_data_settings,
    quietly,
    risk_manager_settings,
)
from console.tracing import tracer_of
from console.watch import engine_metrics, figures, watch_engine

if TYPE_CHECKING:
    from console.bridge.security import BusKeys
    from console.config import ConfigWatcher, Overrides, Reloaded, ReloadRefused, Settings
    from console.engine.clocks import ReplayControl
    from console.engine.engine import Engine
    from console.engine.link import Link, LocalLink
    from console.engine.state import ServiceView
    from console.logs import Logs
    from signal_bridge import FeedReceiver

log = logging.getLogger(__name__)

HEALTH_EVERY_S = 1.0


class Host:
    """Starts and stops everything. `start` and `stop` run in the same loop; `engine` lives in it.

    With `overrides` the config files are watched from the start on (`console.config.reload`).
    """

    def __init__(
        self, settings: Settings, *, overrides: Overrides | None = None, logs: Logs | None = None
    ) -> None:
        self.settings = settings
        self.ports: dict[str, int] = {}
        self.services: dict[str, SupervisedService | ServiceApart] = {}
        self.record = HealthRecord(settings.state_dir / "health" / "console.json", "console")
        self.checks = Checks(
            "console", ready=self._ready, metrics=self._metrics, record=self.record
        )
        self._overrides = overrides
        self._logs = logs
        self._places: list[Place] = []
        self._state_dir: StateDir | None = None
        self._accounts: StateDir | None = None
        self._health: HealthServer | None = None
        self._keys: BusKeys | None = None
        self._service_log = ServiceLog(settings.log.level)
        self._feed: FeedReceiver | None = None
        self._engine: Engine | None = None
        self._watcher: ConfigWatcher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking: asyncio.Task[None] | None = None
        self._started_at = datetime.now(UTC)
        self._tracer = tracer_of(settings)
        self._stopping = False

    @property
    def engine(self) -> Engine:
        """The engine. Raises `ExitError` before it is there."""
        if self._engine is None:
            raise ExitError("the engine has not been started", FAILED)
        return self._engine

    def link(self) -> LocalLink:
        """A link to the engine for any thread of this process."""
        from console.engine.link import LocalLink

        assert self._loop is not None
        return LocalLink(self.engine, self._loop)

    async def start(self) -> None:
        """Start everything, the health server first so that a supervisor can watch the rest.

        Raises `ExitError` or `ConfigError`, after having stopped what had been started.
        """
        self._loop = asyncio.get_running_loop()
        share_arenas()
        begun = time.monotonic()
        try:
            await self._start()
        except BaseException as error:
            await self.stop(f"start failed: {error}")
            raise
        log.info(
            "started in %.2f s",
            time.monotonic() - begun,
            extra={"fields": {"mode": self.settings.mode.value, "ports": self.ports}},
        )

    async def _start(self) -> None:
        settings = self.settings
        self._state_dir = StateDir.take(settings.state_dir)
        # What a crashed one left would lead others to ports that are somebody else's by now.
        RuntimeInfo.remove(settings.state_dir)
        self.record.started()
        for warning in settings.warnings:
            log.warning(warning)
        from console.engine.bus import bus_keys

        # Before anything is bound that would need them.
        self._keys = bus_keys(settings)
        self._service_log.start()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.start)

        self._health = HealthServer(
            self.checks,
            settings.bus.bind,
            settings.ports.health,
            metrics=Metrics(self._figures),
        )
        await self._health.start()
        self.ports["health"] = self._health.port

        replay = await self._start_exchange() if settings.mode is Mode.DEMO else None
        endpoint = settings.endpoint(self.ports.get("exchange"))
        await self._serve("market-data", lambda: market_data_settings(settings, endpoint))
        if "market" not in self.ports:
            require_port(settings, "market", "the console")
        await self._start_engine(endpoint, replay)
        commands, events = self.ports["commands"], self.ports["events"]
        market = self.ports["market"]
        starts = await asyncio.gather(
            self._serve(
                "execution-engine",
                lambda: execution_engine_settings(settings, commands=commands, market=market),
            ),
            self._serve(
                "risk-manager",
                lambda: risk_manager_settings(
                    settings, commands=commands, events=events, market=market
                ),
            ),
            return_exceptions=True,
        )
        # Only now that neither is on its way any more can what has started be stopped.
        for failure in starts:
            if isinstance(failure, BaseException):
                raise failure
        if settings.ports.risk == 0 and "risk" in self.ports:
            self.engine.watch_risk(self.ports["risk"])
        self._write_runtime()
        self._watch_settings()
        self._looking = asyncio.create_task(self._look_after_health(), name="health")

    async def _start_exchange(self) -> ReplayControl | None:
        """The demo's exchange, here or apart, and how its recording is played."""
        settings = self.settings
        if "paper-exchange" not in settings.services.embed:
            port = require_port(settings, "exchange", "the console")
            await self._serve("paper-exchange", dict)
            return ReplayApart(port) if settings.demo.control else None
        self._accounts = StateDir.take(exchange_dir(settings.state_dir))
        exchange = await self._serve(
            "paper-exchange", lambda: exchange_settings(settings, settings.state_dir)
        )
        assert isinstance(exchange, SupervisedService)
        return EmbeddedReplay(exchange)

    async def _serve(
        self, name: str, values: Callable[[], dict[str, Any]]
    ) -> SupervisedService | ServiceApart:
        service: SupervisedService | ServiceApart
        if name in self.settings.services.embed:
            self._places.append(Place.take(self.settings.state_dir, name))
            service = SupervisedService(name, values(), self._service_changed)
        else:
            service = ServiceApart(name, self.settings, self._service_changed, self._service_found)
        self.services[name] = service
        await service.start()
        self.ports |= service.ports
        self.checks.add(name, functools.partial(_service_finding, service))
        return service

    def _service_found(self, ports: dict[str, int]) -> None:
        """A service apart is at other ports than it was."""
        moved = self.ports.get("market") not in (None, ports.get("market"))
        if "market" in ports and moved and self._engine is not None:
            from console.engine.events import Severity

            self._engine.notice(
                Severity.WARNING,
                "market-data",
                f"market-data came back on port {ports['market']}; the console listens on "
                f"{self.ports['market']}: start it there again, or start the console again",
            )
            ports = {name: port for name, port in ports.items() if name != "market"}
        self.ports |= ports
        if self._engine is None or self._stopping:
            return
        if "risk" in ports:
            self._engine.watch_risk(ports["risk"])
        self._write_runtime()

    async def _start_engine(self, endpoint: Any, replay: ReplayControl | None) -> None:
        from console.broker.errors import BrokerError, BrokerUnavailable
        from console.broker.session import BrokerSession
        from console.broker.streams import TradeUpdates
        from console.engine.engine import Engine
        from console.engine.journal_files import JournalError
        from signal_bridge import FeedReceiver

        settings = self.settings
        keys = self._keys
        feed = FeedReceiver(
            bus_url(settings, self.ports["market"]),
            list(settings.feed.symbols),
            features=list(settings.feed.features),
            history=settings.feed.history,
            high_water_mark=settings.bus.high_water_mark,
            stale_after_s=settings.bus.stale_after_s,
            secret_key=None if keys is None else keys.client.secret.decode(),
            server_key=None if keys is None else keys.server_public.decode(),
        )
        feed.start()
        self._feed = feed
        engine = Engine(
            settings,
            session=BrokerSession(endpoint),
            updates=functools.partial(TradeUpdates, endpoint),
            feed=feed,
            state_dir=settings.state_dir,
            replay=replay,
            watch=self._tracer,
        )
        if self._tracer is not None:
            engine.subscribe(self._tracer.on_event)
        try:
            await engine.start()
        except (BrokerError, JournalError) as error:
            code = UNAVAILABLE if isinstance(error, BrokerUnavailable) else CONFIG
            raise ExitError(str(error), code) from error
        # Only now: it has nothing to tell before, and has cleaned up by itself where it failed.
        self._engine = engine
        watch_engine(self.checks, engine)
        self.ports |= engine.ports
        for service in self.services.values():
            engine.set_service(service.view)
        # Status and orders can come in from here on; the later ports follow.
        self._write_runtime()

    def _write_runtime(self) -> None:
        settings = self.settings
        RuntimeInfo(
            pid=os.getpid(),
            mode=settings.mode.value,
            started_at=self._started_at,
            ports=self.ports,
            bind=settings.bus.bind,
            symbols=settings.feed.symbols,
            features=settings.feed.features,
            history=settings.feed.history,
            high_water_mark=settings.bus.high_water_mark,
            stale_after_s=settings.bus.stale_after_s,
            keys_dir=str(settings.keys_dir) if settings.bus.security.enabled else "",
        ).write(settings.state_dir)

    async def _look_after_health(self) -> None:
        """Ask the checks even while nobody else does, so that what is wrong has its true age."""
        while True:
            self.checks.report()
            await asyncio.sleep(HEALTH_EVERY_S)

    def _watch_settings(self) -> None:
        if self._overrides is None:
            return
        from console.config import ConfigWatcher

        self._watcher = ConfigWatcher(self.settings, self._overrides, self._settings_changed)
        self._watcher.start()

    def _settings_changed(self, change: Reloaded | ReloadRefused) -> None:
        from console.config import Reloaded
        from console.engine.events import Severity

        if not isinstance(change, Reloaded):
            self.engine.notice(Severity.WARNING, "settings", change.reason)
            return
        self.settings = change.settings
        words = []
        if change.changed:
            words.append(f"in force: {', '.join(change.changed)}")
        if change.waiting:
            words.append(f"at the next start: {', '.join(change.waiting)}")
        self.engine.notice(Severity.INFO, "settings", f"settings changed; {'; '.join(words)}")
        if any(name.startswith("risk.") for name in change.changed):
            self.engine.set_limits(change.settings)
        if self._logs is not None:
            self._logs.set_level(change.settings.log.level)
            self._service_log.set_level(change.settings.log.level)

    async def _stop_tracing(self, left_s: float) -> None:
        if self._tracer is not None:
            # What is stopped after it needs a part of what is left.
            stop = functools.partial(self._tracer.stop, min(1.0, left_s / 2))
            await quietly(asyncio.to_thread(stop), "tracing")

    async def _stop_feed(self, left_s: float) -> None:
        if self._feed is not None:
            await quietly(asyncio.to_thread(self._feed.stop, min(2.0, left_s)), "the feed")

    def _service_changed(self, view: ServiceView) -> None:
        if self._engine is not None and not self._stopping:
            self._engine.set_service(view)

    def _ready(self) -> tuple[bool, str]:
        if self._stopping:
            return False, "stopping"
        if self._engine is None:
            return False, "starting"
        health = self._engine.health()
        return bool(health["ready"]), str(health["reason"])

    def _figures(self) -> Figures:
        tracer = self._tracer
        spans = (0, 0) if tracer is None else (tracer.taken, tracer.lost)
        return figures(self.checks, self._engine, self.record, spans=spans)

    def _metrics(self) -> dict[str, str]:
        metrics = {"mode": self.settings.mode.value}
        return metrics if self._engine is None else metrics | engine_metrics(self._engine)

    async def stop(self, reason: str) -> None:
        """Stop everything in reverse, within `engine.drain_timeout_s`. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        deadline = time.monotonic() + self.settings.engine.drain_timeout_s

        def left() -> float:
            return max(0.1, deadline - time.monotonic())

        def ended(name: str) -> Any:
            service = self.services.get(name)
            return quietly(service.stop(left()), name) if service else asyncio.sleep(0)

        if self._looking is not None:
            self._looking.cancel()
            await quietly(self._looking, "the look after health")
        if self._watcher is not None:
            await quietly(self._watcher.stop(), "the watch on the settings")
        await asyncio.gather(ended("execution-engine"), ended("risk-manager"))
        if self._engine is not None:
            await quietly(_within(left(), self._engine.stop(reason)), "the engine")
        await asyncio.gather(self._stop_tracing(left()), self._stop_feed(left()))
        await ended("market-data")
        await ended("paper-exchange")
        await quietly(asyncio.to_thread(self._service_log.stop, 0.5), "the services' log")
        for place in self._places:
            place.leave()
        if self._accounts is not None:
            self._accounts.release()
        if self._health is not None:
            await quietly(self._health.stop(), "the health server")
        if self._state_dir is not None:
            RuntimeInfo.remove(self.settings.state_dir)
            self.record.stopped(reason)
            self._state_dir.release()


async def _within(limit_s: float, work: Awaitable[None]) -> None:
    # Not `wait_for`: on Python 3.11 it loses a cancellation that comes with the end of the work.
    async with asyncio.timeout(limit_s):
        await work


def _service_finding(service: SupervisedService | ServiceApart) -> Finding:
    match service.view.status:
        case "healthy" | "starting":
            return Finding(Status.HEALTHY)
        case status:
            return Finding(Status.DEGRADED, service.view.message or status)


class HostThread:
    """A `Host` on a thread and a loop of its own, for the face.

    `load` reads the settings there: pydantic and the rest are imported after the first paint.
    """

    def __init__(self, load: Callable[[], Settings], *, overrides: Overrides | None = None) -> None:
        self.link: Future[Link] = Future()
        """Resolves when the engine can be asked, or to why it can't."""
        self._load = load
        self._overrides = overrides
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._reason = "the console was closed"
        self._asked_to_stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, reason: str = "the console was closed", timeout_s: float = 6.0) -> bool:
        """Ask it to stop and join the thread. False where it did not end in time."""
        self._reason = reason
        self._asked_to_stop.set()
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if not self.link.done():
                self.link.set_exception(error)
            else:
                log.exception("the host ended")

    async def _main(self) -> None:
        from console.logs import start_logs

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._asked_to_stop.is_set():
            return
        settings = self._load()
        logs = start_logs(
            level=settings.log.level,
            style=settings.log.format,
            state_dir=_writable(settings),
            stderr=False,
            secrets=secrets_of(settings),
        )
        host = Host(settings, overrides=self._overrides, logs=logs)
        starting = asyncio.create_task(host.start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        await starting
        # The broker's library and all else that is loaded now stays to the end. To look through it
        # again and again takes a tenth of a second each, in which no order moves.
        gc.freeze()
        self.link.set_result(host.link())
        await stopping
        await host.stop(self._reason)
        logs.stop()


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """What must never be logged."""
    return (settings.secret_key.get_secret_value(), settings.key_id.get_secret_value())


def _writable(settings: Settings) -> Path:
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"state directory {settings.state_dir}",
            f"can't be made: {error.strerror}",
            "name a writable folder with --state-dir",
        ) from None
    return settings.state_dir
