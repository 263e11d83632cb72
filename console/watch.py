"""What the engine's state means for health: its checks, and its figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from console.engine.state import OrderState
from console.health.checks import Checks, Finding, HealthRecord, Status
from console.health.histogram import Histogram
from console.health.metrics import Figures

if TYPE_CHECKING:
    from console.engine.state import EngineView


class Watched(Protocol):
    """What health needs of the engine."""

    def view(self) -> EngineView: ...

    def health(self) -> dict[str, Any]: ...

    def measured(self) -> dict[str, Any]: ...


_TRADING_STATES = ("ACTIVE", "REDUCING", "HALTED")


def watch_engine(checks: Checks, engine: Watched) -> None:
    """Add the engine's checks: its readiness, its trading state and each of its connections."""

    def reconciled() -> Finding:
        health = engine.health()
        if health["ready"]:
            return Finding(Status.HEALTHY)
        return Finding(Status.DEGRADED, str(health["reason"]))

    def journal() -> Finding:
        failure = engine.health()["journal_failure"]
        return Finding(Status.UNHEALTHY, failure) if failure else Finding(Status.HEALTHY)

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
    checks.add("journal", journal)
    checks.add("trading", trading)
    checks.add("connections", connected)


def engine_metrics(engine: Watched) -> dict[str, str]:
    """The engine's part of /health's metrics, as text."""
    view, health = engine.view(), engine.health()
    metrics = {
        name: str(health[name])
        for name in (
            "trading_state", "open_orders", "in_doubt", "positions", "events", "journal_rows",
            "broker_requests", "broker_failures", "bus_malformed",
        )
    }  # fmt: skip
    if view.session is not None:
        metrics["market"] = "open" if view.session.is_open else "closed"
        metrics["market_time"] = view.session.market_time.isoformat().replace("+00:00", "Z")
    return metrics


def figures(
    checks: Checks,
    engine: Watched | None,
    record: HealthRecord,
    *,
    spans: tuple[int, int] = (0, 0),
) -> Figures:
    """Everything for one scrape. `spans` of traces: taken by the collector, and lost."""
    found = Figures()
    found.gauges["up"] = 1
    found.gauges["uptime_seconds"] = checks.uptime_s
    found.gauges["starts"] = record.starts
    found.gauges["ready"] = float(checks.ready()[0])
    found.gauges["healthy"] = float(checks.report().status is Status.HEALTHY)
    found.counters["trace_spans"], found.counters["trace_spans_lost"] = spans
    if engine is None:
        return found
    view, health = engine.view(), engine.health()
    for name in ("open_orders", "in_doubt", "positions", "broker_latency_ms"):
        if health[name] is not None:
            found.gauges[name] = float(health[name])
    for name in (
        "events", "journal_rows", "journal_flushes", "broker_requests", "broker_failures",
        "bus_malformed", "bus_turned_away",
    ):  # fmt: skip
        found.counters[name] = float(health[name])
    found.labelled["trading_state", "state"] = {
        state: float(view.trading_state == state) for state in _TRADING_STATES
    }
    found.labelled["service_up", "service"] = {
        service.name: float(service.status == "healthy") for service in view.services
    }
    found.labelled["connection_up", "connection"] = {
        connection.name: float(connection.state == "connected") for connection in view.connections
    }
    if view.risk is not None:
        found.gauges["drawdown_pct"] = float(view.risk.drawdown_pct)
    _add_measured(found, engine.measured())
    return found


def _add_measured(found: Figures, measured: dict[str, Any]) -> None:
    found.gauges["broker_budget"] = float(measured["broker_budget"])
    found.gauges["broker_circuit_open"] = float(measured["broker_reads_rest"])
    if "feed_age_seconds" in measured:
        found.gauges["feed_age_seconds"] = measured["feed_age_seconds"]
    for name in ("fills", "feed_messages", "feed_gaps", "feed_malformed"):
        if name in measured:
            found.counters[name] = float(measured[name])
    orders: dict[str, int] = measured["orders"]
    found.labelled["orders", "state"] = {
        state.value: float(orders.get(state.value, 0)) for state in OrderState if not state.is_final
    }
    found.labelled_counters["refusals", "check"] = dict(measured["refusals"])
    found.histograms.update(
        {name: value for name, value in measured.items() if isinstance(value, Histogram)}
    )
