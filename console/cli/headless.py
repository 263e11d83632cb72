"""The console without a screen: logs, health, and a clean end at the first signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from typing import Any, Self

from console.cli.output import number
from console.config import Overrides, load_settings
from console.engine.state import EngineView
from console.exits import CONFIG, FAILED, OK, ExitError
from console.host import Host, secrets_of
from console.logs import start_logs

log = logging.getLogger("console.headless")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_headless(overrides: Overrides) -> int:
    """Run until a signal ends it. Raises `ConfigError` and `ExitError` where it can't start."""
    settings = load_settings(overrides)
    try:
        logs = start_logs(
            level=settings.log.level,
            style=settings.log.format,
            state_dir=settings.state_dir,
            secrets=secrets_of(settings),
        )
    except OSError as error:
        raise ExitError(
            f"state directory {settings.state_dir}: {error.strerror}; "
            "name a writable folder with --state-dir",
            CONFIG,
        ) from None
    host = Host(settings, overrides=overrides, logs=logs)
    try:
        # The watchdog outlives the loop: ending that waits for threads too.
        with _Run(host) as run:
            return asyncio.run(run.main())
    finally:
        logs.stop()


class _Run:
    """One run: started, waiting for a signal, drained."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._reason: asyncio.Future[str] | None = None
        self._watchdog: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        self._reason = loop.create_future()
        for number_ in _SIGNALS:
            loop.add_signal_handler(number_, self._signalled, number_)

        starting = asyncio.create_task(self._host.start(), name="start")
        waited: list[asyncio.Future[Any]] = [starting, self._reason]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            log.info("stopped before it had started: %s", self._reason.result())
            return OK
        starting.result()
        # As with a face: what is loaded now stays, and no order waits while it is looked through.
        gc.freeze()

        reason = await self._reason
        log.info("stopping: %s", reason)
        view = self._host.engine.view()
        await self._host.stop(reason)
        # Asked again: orders may have been canceled or filled while it stopped.
        view = _last_view(self._host) or view
        log.info("stopped: %s; %s", reason, holdings(view), extra={"fields": _fields(view)})
        return OK

    def _signalled(self, number_: int) -> None:
        name = signal.Signals(number_).name
        assert self._reason is not None
        if self._reason.done():
            log.warning("%s while stopping: leaving at once; the journal holds everything", name)
            os._exit(128 + number_)
        self._reason.set_result(name)
        # Every step of the stop has its own limit; this is for one that doesn't keep to it.
        limit = self._host.settings.engine.drain_timeout_s - 0.2
        self._watchdog = threading.Timer(max(0.1, limit), self._overdue)
        self._watchdog.daemon = True
        self._watchdog.start()

    def _overdue(self) -> None:
        log.error(
            "not stopped within engine.drain_timeout_s = %g: leaving; the journal holds everything",
            self._host.settings.engine.drain_timeout_s,
        )
        os._exit(FAILED)


def _last_view(host: Host) -> EngineView | None:
    try:
        view: EngineView = host.engine.view()
        return view
    except Exception:
        log.debug("no view of the stopped engine", exc_info=True)
        return None


def holdings(view: EngineView) -> str:
    """Positions and open orders in one line."""
    positions = [f"{number(p.qty)} {p.symbol}" for p in view.positions]
    orders = [
        f"{o.side.value} {number(o.qty) if o.qty is not None else f'${o.notional}'} {o.symbol} "
        f"{o.state.value}"
        for o in view.orders
        if not o.state.is_final
    ]
    return (
        f"positions: {', '.join(positions) or 'none'}; open orders: {', '.join(orders) or 'none'}"
    )


def _fields(view: EngineView) -> dict[str, object]:
    return {
        "positions": {p.symbol: number(p.qty) for p in view.positions},
        "open_orders": [
            {"client_order_id": o.client_order_id, "symbol": o.symbol, "state": o.state.value}
            for o in view.orders
            if not o.state.is_final
        ],
    }
