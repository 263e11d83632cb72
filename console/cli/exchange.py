"""The paper exchange alone: where to point clients at it, how far it is, its accounts anew."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from console.apart import Place
from console.cli.output import Format, print_json, say
from console.cli.services import until_signalled
from console.config import Overrides, Settings, default_state_dir, load_settings
from console.config.layers import ENVIRONMENT_PREFIX
from console.exits import OK
from console.logs import start_logs
from console.runtime import StateDir, exchange_dir, is_taken
from console.service_log import ServiceLog
from console.services import exchange_settings, start_service

if TYPE_CHECKING:
    from signal_bridge import Service


LIMITS = ("rate_limit", "data_connections", "data_symbols")


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
    rate_limit: int | None = None
    data_connections: int | None = None
    data_symbols: int | None = None


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
    place = Place.take(state_dir, "paper-exchange")
    progress: Progress | None = None
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
            print(_where_to_point(url, settings, state_dir), flush=True)
            if sys.stderr.isatty():
                progress = Progress(service)
        place.tell(service.ports)
        return until_signalled(service, progress)
    finally:
        if progress is not None:
            progress.end()
        place.leave()
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
    limits = {name: getattr(options, name) for name in LIMITS}
    given.extend(f"demo.{name}={value}" for name, value in limits.items() if value is not None)
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


def _where_to_point(url: str, settings: Settings, state_dir: Path) -> str:
    stream = url.replace("http", "ws", 1)
    control = f"\nThe clock and faults are under {url}/_exchange/." if settings.demo.control else ""
    return f"""\
The paper exchange is on {url}, {settings.demo.speed:g} market seconds a second. Point at it
  this console           ALPACA_BASE_URL={url} trading-console
  Python, alpaca-py      TradingClient(KEY, SECRET, paper=True, url_override="{url}")
                         StockHistoricalDataClient(KEY, SECRET, url_override="{url}")
                         TradingStream(KEY, SECRET, paper=True, url_override="{stream}/stream")
                         StockDataStream(KEY, SECRET, url_override="{stream}/v2/iex")
  Python, alpaca-trade-api
                         APCA_API_BASE_URL={url} APCA_API_DATA_URL={url}
                         APCA_API_STREAM_URL={stream}
  Go, alpaca-trade-api-go
                         alpaca.ClientOpts and marketdata.ClientOpts: BaseURL: "{url}"
                         stream.WithBaseURL("{url}/v2")
  JavaScript, @alpacahq/alpaca-trade-api
                         3: baseUrl, dataBaseUrl "{url}"; 4: see docs/exchange.md
  Rust, apca             ApiInfo::from_parts("{url}", KEY, SECRET)
  curl                   curl -u PKDEMO:demo {url}/v2/account
KEY is any id that begins with PK: it opens an account of its own, its first SECRET is kept.
docs/exchange.md has more clients, and where it differs from Alpaca.{control}
Ctrl-C ends it; the accounts stay in {exchange_dir(state_dir)}."""


class Progress:
    """One line on stderr, written over each second: market time and what has been done so far."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._next = 0.0
        self._shown = False

    def __call__(self) -> None:
        """Write the line anew if a second has gone by."""
        from signal_bridge import ServiceError

        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 1.0
        try:
            clock = json.loads(self._service.call('{"clock":true}', timeout_s=2.0))
        except ServiceError:
            # It is ending, or too busy to say how far it is.
            return
        line = progress_line(clock)
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
        self._shown = True

    def end(self) -> None:
        """Leave the last line standing."""
        if self._shown:
            sys.stderr.write("\n")


def progress_line(clock: Mapping[str, Any]) -> str:
    """`Mon 7 Oct 2013 10:32:11 in New York · open · 60× · 2 accounts, 14 orders`."""
    at = datetime.fromisoformat(clock["market_time"]).astimezone(ZoneInfo("America/New_York"))
    pace = "paused" if clock["paused"] else f"{clock['speed']:g}×"
    market = "open" if clock["is_open"] else "closed"
    counts = ", ".join(
        f"{clock[name]} {name if clock[name] != 1 else name[:-1]}"
        for name in ("accounts", "orders")
    )
    return f"{at:%a} {at.day} {at:%b %Y %H:%M:%S} in New York · {market} · {pace} · {counts}"


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
