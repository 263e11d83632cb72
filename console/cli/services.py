"""The services and the paper exchange, each alone in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.apart import ServiceInfo, require_port
from console.cli.finding import is_alive
from console.cli.output import Format, print_json, say
from console.config import ConfigError, Overrides, Settings, default_state_dir, load_settings
from console.config.layers import ENVIRONMENT_PREFIX
from console.engine.runtime import RuntimeInfo
from console.exits import FAILED, OK, ExitError
from console.host import secrets_of
from console.logs import start_logs
from console.runtime import StateDir, exchange_dir, is_taken
from console.service_log import ServiceLog
from console.services import (
    SERVICE_NAMES,
    Values,
    exchange_settings,
    execution_engine_settings,
    market_data_settings,
    risk_manager_settings,
    start_service,
)

if TYPE_CHECKING:
    from signal_bridge import Service

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOptions:
    """What `trading-console exchange` takes beside the settings; None leaves the setting."""

    port: int | None = None
    speed: float | None = None
    seed: int | None = None
    data: Path | None = None
    start: str | None = None
    end: str | None = None
    control: bool = False


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
    try:
        service_log.start()
        service = start_service(name, values)
        log.info("%s runs", name, extra={"fields": {"ports": service.ports}})
        info = ServiceInfo(name=name, pid=os.getpid(), ports=service.ports)
        with info.announced(settings.state_dir):
            return _until_signalled(service)
    finally:
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


def _until_signalled(service: Service) -> int:
    """Wait until a signal comes or the service ends by itself; a second signal leaves at once."""
    asked = threading.Event()

    def signalled(number: int, _frame: object) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signalled)
    while service.alive and not asked.wait(0.05):
        continue
    failure = service.failure
    service.stop(timeout_s=4.5)
    if failure is not None:
        raise ExitError(f"{service.name}: {failure}", FAILED)
    return OK


def run_exchange(overrides: Overrides, options: ExchangeOptions, style: Format) -> int:
    """Run the paper exchange alone and say where to point each client."""
    settings = load_settings(_demo(overrides, options))
    state_dir = _exchange_home(overrides)
    values = exchange_settings(settings, state_dir)
    if options.start is not None:
        values["from"] = options.start
    if options.end is not None:
        values["to"] = options.end
    logs = start_logs(level=settings.log.level, style=settings.log.format)
    service_log = ServiceLog(settings.log.level)
    lock = StateDir.take(exchange_dir(state_dir))
    try:
        service_log.start()
        service = start_service("paper-exchange", values, timeout_s=30.0)
        url = f"http://127.0.0.1:{service.ports['exchange']}"
        if style is Format.JSON:
            print_json(
                {
                    "url": url,
                    "stream_url": url.replace("http", "ws", 1),
                    "speed": settings.demo.speed,
                    "state_dir": exchange_dir(state_dir),
                    "pid": os.getpid(),
                }
            )
        else:
            print(_where_to_point(url, settings), flush=True)
        info = ServiceInfo(name="paper-exchange", pid=os.getpid(), ports=service.ports)
        with info.announced(state_dir):
            return _until_signalled(service)
    finally:
        lock.release()
        service_log.stop()
        logs.stop()


def _demo(overrides: Overrides, options: ExchangeOptions) -> Overrides:
    given = [*overrides.values]
    if options.port is not None:
        given.append(f"ports.exchange={options.port}")
    if options.seed is not None:
        given.append(f"demo.seed={options.seed}")
    if options.data is not None:
        given.append(f"demo.data={options.data.expanduser().absolute()}")
    if options.control:
        given.append("demo.control=true")
    return Overrides(
        config=overrides.config,
        profile=overrides.profile,
        values=tuple(given),
        state_dir=overrides.state_dir,
        demo=True,
        speed=options.speed if options.speed is not None else overrides.speed,
    )


def _exchange_home(overrides: Overrides) -> Path:
    """The demo's state directory unless told otherwise: the same accounts, alone or embedded."""
    if overrides.state_dir is not None:
        return overrides.state_dir.expanduser().absolute()
    if text := os.environ.get(f"{ENVIRONMENT_PREFIX}STATE_DIR"):
        return Path(text).expanduser().absolute()
    return default_state_dir("DEMO")


def _where_to_point(url: str, settings: Settings) -> str:
    stream = url.replace("http", "ws", 1)
    return f"""\
The paper exchange is on {url}, {settings.demo.speed:g} market seconds a second. Point at it
  this console        ALPACA_BASE_URL={url} trading-console
  alpaca-py           TradingClient(KEY, SECRET, paper=True, url_override="{url}")
                      StockHistoricalDataClient(KEY, SECRET, url_override="{url}")
                      TradingStream(KEY, SECRET, paper=True, url_override="{stream}/stream")
                      StockDataStream(KEY, SECRET, url_override="{stream}/v2/iex")
  alpaca-trade-api    APCA_API_BASE_URL={url} APCA_API_DATA_URL={url}
  curl                curl -H 'APCA-API-KEY-ID: PKDEMO' -H 'APCA-API-SECRET-KEY: demo' \
{url}/v2/account
KEY is any id that begins with PK: it opens an account of its own, its first SECRET is kept.
Ctrl-C ends it; the accounts stay in {exchange_dir(settings.state_dir)}."""


def reset_exchange(overrides: Overrides, style: Format) -> int:
    """Put the accounts aside, and with them what the console that traded on them remembers."""
    home = _exchange_home(overrides)
    if is_taken(home):
        # Raises with who has it.
        StateDir.take(home).release()
    accounts = exchange_dir(home)
    if not accounts.is_dir():
        say(f"no exchange has kept accounts in {accounts}; nothing to reset")
        if style is Format.JSON:
            print_json({"reset": False, "kept_aside": None})
        return OK
    StateDir.take(accounts).release()
    aside = home / f"reset-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir(mode=0o700)
    kept = [*sorted(home.glob("journal*")), *home.glob("risk-manager.json")]
    for path in [accounts, *kept, *home.glob("signals-acted-on")]:
        path.rename(aside / path.name)
    if style is Format.JSON:
        print_json({"reset": True, "kept_aside": aside})
    else:
        print(f"The next start opens new accounts. What was there is kept in {aside}.")
    return OK
