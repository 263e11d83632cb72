"""Figures for Prometheus, read afresh at every scrape. No amounts, no account numbers, no keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from console.health.histogram import Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True)
class Figures:
    """One scrape's figures. Each name gets the prefix `console_`; counters only ever grow."""

    gauges: dict[str, float] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    labelled: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    """By (gauge, label name): a value for each value of the label."""
    labelled_counters: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)


HELP = {
    "up": "1 while the console runs",
    "ready": "1 when orders could be placed",
    "healthy": "1 when every check is well",
    "uptime_seconds": "seconds since the start",
    "starts": "starts on this state directory, this one counted",
    "open_orders": "orders that are not final",
    "in_doubt": "orders whose outcome at the broker is unknown",
    "positions": "positions held",
    "trading_state": "1 for the trading state that holds",
    "service_up": "1 for each service that says it is healthy",
    "connection_up": "1 for each connection that stands",
    "events": "events that the engine has told",
    "journal_rows": "rows of the journal",
    "journal_flushes": "times the journal was flushed to disk",
    "broker_requests": "requests sent to the broker",
    "broker_failures": "requests that the broker did not answer well",
    "broker_latency_ms": "how long the broker takes to answer, milliseconds",
    "bus_malformed": "messages on the bus that could not be read",
    "bus_turned_away": "commands refused because too many were under way",
    "orders": "open orders by state",
    "fills": "fills counted",
    "refusals": "commands refused, by the check that refused them",
    "risk_check_seconds": "how long the risk check of an order took",
    "order_journal_seconds": "until the row of an order was on disk",
    "order_to_post_seconds": "from the command for an order to its POST",
    "order_post_seconds": "from an order's POST to the broker's answer",
    "journal_flush_seconds": "how long the disk took to flush the journal",
    "broker_budget": "requests that could leave at once; +Inf where the broker sets no limit",
    "broker_circuit_open": "1 while reads of the broker rest after failures",
    "drawdown_pct": "percent below the equity's peak, as the risk-manager reckons",
    "feed_age_seconds": "since the newest message of the feed",
    "feed_messages": "messages of the feed",
    "feed_gaps": "messages of the feed that were lost",
    "feed_malformed": "messages of the feed that could not be read",
    "trace_spans": "spans that the collector took",
    "trace_spans_lost": "spans that the collector did not take, or that found the queue full",
}


class Metrics:
    """Renders what `read` answers in Prometheus' text form."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        figures = self._read()
        for name, value in figures.gauges.items():
            yield GaugeMetricFamily(f"console_{name}", HELP.get(name, name), value=value)
        for name, value in figures.counters.items():
            yield CounterMetricFamily(f"console_{name}", HELP.get(name, name), value=value)
        for (name, label), values in figures.labelled.items():
            family = GaugeMetricFamily(f"console_{name}", HELP.get(name, name), labels=[label])
            for key, value in values.items():
                family.add_metric([key], value)
            yield family
        for (name, label), values in figures.labelled_counters.items():
            counter = CounterMetricFamily(f"console_{name}", HELP.get(name, name), labels=[label])
            for key, value in values.items():
                counter.add_metric([key], value)
            yield counter
        for name, histogram in figures.histograms.items():
            buckets, total = histogram.buckets()
            yield HistogramMetricFamily(
                f"console_{name}",
                HELP.get(name, name),
                buckets=[(_bound(bound), count) for bound, count in buckets],
                sum_value=total,
            )

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is, is only known at a scrape."""
        return iter(())

    def text(self) -> bytes:
        return generate_latest(self._registry)


def _bound(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(value)
