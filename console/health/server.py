"""The health server: four addresses that a supervisor or Prometheus asks, answered from memory."""

from __future__ import annotations

import errno
import os
from typing import Any

from aiohttp import web

from console.exits import CONFIG, ExitError
from console.health.checks import Checks, Status, now_text
from console.health.metrics import CONTENT_TYPE, Metrics

_PORT_RULES = {
    errno.EADDRINUSE: "is taken by another process",
    errno.EADDRNOTAVAIL: "isn't an address of this machine",
    errno.EACCES: "needs rights that this user lacks",
}


class HealthServer:
    """Serves the checks of one component on `host`:`port`; a port of 0 takes a free one.

    - `/health`: 200 when healthy, else 503, with what is wrong and since when
    - `/ready`: 200 when orders could be placed, else 503 with the reason
    - `/live`: 200 `alive` as long as the event loop turns
    - `/metrics`: Prometheus text
    """

    def __init__(
        self,
        checks: Checks,
        host: str,
        port: int,
        *,
        metrics: Metrics | None = None,
        setting: str = "ports.health",
    ) -> None:
        self._checks = checks
        self._metrics = metrics
        self._host = host
        self._wanted = port
        self._setting = setting
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises `ExitError` (78) naming port and setting where the port can't be had."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/live", self._live)
        if self._metrics is not None:
            app.router.add_get("/metrics", self._prometheus)
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=1.0, keepalive_timeout=15.0
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._wanted).start()
        except OSError as error:
            await runner.cleanup()
            rule = _PORT_RULES.get(
                error.errno or 0, f"can't be bound ({os.strerror(error.errno or 0)})"
            )
            raise ExitError(
                f"{self._setting}: {self._host}:{self._wanted} {rule}; "
                "stop what uses it or set another port (0 takes a free one)",
                CONFIG,
            ) from None
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection and the port. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        report = self._checks.report()
        return self._json(
            {
                "status": report.status.value,
                "component": self._checks.component,
                "message": report.message,
                "metrics": report.metrics,
                "timestamp": now_text(),
            },
            200 if report.status is Status.HEALTHY else 503,
        )

    async def _ready(self, _request: web.Request) -> web.Response:
        ready, reason = self._checks.ready()
        body: dict[str, Any] = {
            "ready": ready,
            "component": self._checks.component,
            "timestamp": now_text(),
        }
        if reason:
            body["reason"] = reason
        return self._json(body, 200 if ready else 503)

    async def _live(self, _request: web.Request) -> web.Response:
        return web.Response(text="alive", headers=_NO_STORE)

    async def _prometheus(self, _request: web.Request) -> web.Response:
        assert self._metrics is not None
        headers = {**_NO_STORE, "Content-Type": CONTENT_TYPE}
        return web.Response(body=self._metrics.text(), headers=headers)

    @staticmethod
    def _json(body: dict[str, Any], status: int) -> web.Response:
        return web.json_response(body, status=status, headers=_NO_STORE)


_NO_STORE = {"Cache-Control": "no-store"}
