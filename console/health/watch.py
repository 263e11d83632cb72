"""What the engine's state means for health: its checks, and its figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from console.health.checks import Checks, Finding, HealthRecord, Status
from console.health.metrics import Figures

if TYPE_CHECKING:
    from console.engine.state import EngineView


class Watched(Protocol):
    """What health needs of the engine."""

    def view(self) -> EngineView: ...


_TRADING_STATES = ("ACTIVE", "REDUCING", "HALTED")


def watch_engine(checks: Checks, engine: Watched) -> None:
    """Add the engine's checks: its readiness, its trading state and each of its connections."""

    def reconciled() -> Finding:
        if engine.view().ready:
            return Finding(Status.HEALTHY)
        return Finding(Status.DEGRADED, "not reconciled with the broker yet")

    def trading() -> Finding:
        view = engine.view()
        if view.trading_state == "ACTIVE":
            return Finding(Status.HEALTHY)
        return Finding(Status.DEGRADED, f"{view.trading_state} {view.trading_reason}".strip())

    def connected() -> Finding:
        poor = [
            f"{connection.name} {connection.state.value}"
            + (f" ({connection.detail})" if connection.detail else "")
            for connection in engine.view().connections
            if connection.state in ("stale", "lost")
        ]
        if not poor:
            return Finding(Status.HEALTHY)
        return Finding(Status.DEGRADED, ", ".join(poor))

    checks.add("engine", reconciled)
    checks.add("trading", trading)
    checks.add("connections", connected)


def engine_metrics(engine: Watched) -> dict[str, str]:
    """The engine's part of /health's metrics, as text."""
    view = engine.view()
    metrics = {
        "trading_state": view.trading_state.value,
        "orders_open": str(_open(view)),
        "orders_in_doubt": str(_in_doubt(view)),
        "positions": str(len(view.positions)),
        "events": str(view.seq),
    }
    if view.session is not None:
        metrics["market"] = "open" if view.session.is_open else "closed"
        metrics["market_time"] = view.session.market_time.isoformat().replace("+00:00", "Z")
    return metrics


def figures(checks: Checks, engine: Watched | None, record: HealthRecord) -> Figures:
    """Everything for one scrape."""
    found = Figures()
    found.gauges["up"] = 1
    found.gauges["uptime_seconds"] = checks.uptime_s
    found.gauges["starts"] = record.starts
    found.gauges["ready"] = float(checks.ready()[0])
    found.gauges["healthy"] = float(checks.report().status is Status.HEALTHY)
    if engine is None:
        return found
    view = engine.view()
    found.gauges["orders_open"] = _open(view)
    found.gauges["orders_in_doubt"] = _in_doubt(view)
    found.gauges["positions"] = len(view.positions)
    found.counters["events"] = view.seq
    found.labelled["trading_state", "state"] = {
        state: float(view.trading_state == state) for state in _TRADING_STATES
    }
    found.labelled["service_up", "service"] = {
        service.name: float(service.status == "healthy") for service in view.services
    }
    found.labelled["connection_up", "connection"] = {
        connection.name: float(connection.state == "connected") for connection in view.connections
    }
    return found


def _open(view: EngineView) -> int:
    return sum(not order.state.is_final for order in view.orders)


def _in_doubt(view: EngineView) -> int:
    return sum(order.state == "UNKNOWN" for order in view.orders)
