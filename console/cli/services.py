"""The services, each alone in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from console.apart import Place, require_port
from console.cli.finding import is_alive
from console.config import ConfigError, Overrides, Settings, load_settings
from console.engine.runtime import RuntimeInfo
from console.exits import FAILED, OK, ExitError
from console.host import secrets_of
from console.logs import start_logs
from console.service_log import ServiceLog
from console.services import (
    SERVICE_NAMES,
    Values,
    execution_engine_settings,
    market_data_settings,
    risk_manager_settings,
    start_service,
)

if TYPE_CHECKING:
    from signal_bridge import Service

log = logging.getLogger(__name__)


def run_service_alone(overrides: Overrides, name: str) -> int:
    """Run one of the three services until a signal ends it."""
    if name not in SERVICE_NAMES:
        raise ExitError(f"service {name!r} doesn't exist; known are {', '.join(SERVICE_NAMES)}", 2)
    settings = load_settings(overrides)
    values = _service_values(name, settings)
    logs = start_logs(
        level=settings.log.level, style=settings.log.format, secrets=secrets_of(settings)
    )
    service_log = ServiceLog(settings.log.level)
    place = Place.take(settings.state_dir, name)
    try:
        service_log.start()
        service = start_service(name, values)
        place.tell(service.ports)
        log.info("%s runs", name, extra={"fields": {"ports": service.ports}})
        return until_signalled(service)
    finally:
        place.leave()
        service_log.stop()
        logs.stop()


def _service_values(name: str, settings: Settings) -> Values:
    running = RuntimeInfo.read(settings.state_dir)
    if running is not None and not is_alive(running.pid):
        running = None

    def port_of(setting: str) -> int:
        """Where the other side is: as it says on this state directory, or as configured."""
        if running is not None and setting in running.ports:
            return running.ports[setting]
        if setting in ("market", "exchange"):
            return require_port(settings, setting, name)
        port: int = getattr(settings.ports, setting)
        if port == 0:
            raise ConfigError(
                f"ports.{setting} = 0",
                f"leaves open where {name} finds the other side",
                "set the port that it has, or name the engine's folder with --state-dir",
                origin=settings.origins.get(f"ports.{setting}", ""),
            )
        return port

    match name:
        case "market-data":
            exchange = port_of("exchange") if settings.mode == "DEMO" else None
            return market_data_settings(settings, settings.endpoint(exchange))
        case "execution-engine":
            return execution_engine_settings(
                settings, commands=port_of("commands"), market=port_of("market")
            )
        case _:
            return risk_manager_settings(
                settings,
                commands=port_of("commands"),
                events=port_of("events"),
                market=port_of("market"),
            )


def until_signalled(service: Service, meanwhile: Callable[[], None] | None = None) -> int:
    """Wait until a signal comes or the service ends by itself; a second signal leaves at once.

    `meanwhile` is called every 50 ms.
    """
    asked = threading.Event()

    def signalled(number: int, _frame: object) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signalled)
    while service.alive and not asked.wait(0.05):
        if meanwhile is not None:
            meanwhile()
    failure = service.failure
    service.stop(timeout_s=4.5)
    if failure is not None:
        raise ExitError(f"{service.name}: {failure}", FAILED)
    return OK
