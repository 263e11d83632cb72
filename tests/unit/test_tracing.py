"""What spans are made of the records that the engine leaves, in whatever order they come."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from console.config.models import Telemetry
from console.engine.events import OrderChanged, OrderFilled
from console.engine.measures import Measures, Way
from console.engine.state import OrderState, OrderType, OrderView, Side, TimeInForce
from console.tracing import OrderTracer
from tests.conftest import LIMIT_S

NOW = datetime(2013, 10, 7, 14, tzinfo=UTC)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Kept(SpanExporter):
    """Takes every span."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


class Traced:
    """A tracer with the orders of a test. `spans()` ends it and answers by name."""

    def __init__(self, **settings: Any) -> None:
        self.kept = Kept()
        self.tracer = OrderTracer(
            Telemetry(enabled=True, **settings), {}, exporter=lambda _: self.kept
        )
        self.measures = Measures(self.tracer)

    def send(self, order: OrderView, *, traceparent: str = "") -> None:
        self.measures.leaving(order.client_order_id)
        self.ended(order, traceparent=traceparent)

    def ended(self, order: OrderView, *, traceparent: str = "") -> None:
        way = Way(traceparent=traceparent)
        for point in ("checking", "checked", "recorded", "journaled", "posting", "answered"):
            setattr(way, point, way.taken + 1)
        self.measures.ended(order, way)

    def changed(self, order: OrderView, ts: int = 1) -> None:
        self.tracer.on_event(OrderChanged(order=order, ts=ts))

    def filled(self, order: OrderView, ts: int = 2) -> None:
        self.tracer.on_event(
            OrderFilled(
                client_order_id=order.client_order_id, execution_id="e", symbol=order.symbol,
                side=order.side, qty=Decimal(1), price=Decimal("182.50"), at=NOW, ts=ts,
            )
        )  # fmt: skip

    def spans(self) -> dict[str, ReadableSpan]:
        self.tracer.start()
        self.tracer.stop(LIMIT_S)
        return {span.name: span for span in self.kept.spans}


@pytest.fixture
def traced() -> Iterator[Traced]:
    one = Traced()
    yield one
    one.tracer.stop(LIMIT_S)


def order(name: str = "tc-1", state: OrderState = OrderState.ACK, **given: Any) -> OrderView:
    return OrderView(
        client_order_id=name, symbol="IBM", side=Side.BUY, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY, qty=Decimal(1), state=state, created_at=NOW, updated_at=NOW,
        **given,
    )  # fmt: skip


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def test_a_fill_that_beats_the_answer_belongs_to_the_order(traced: Traced) -> None:
    traced.measures.leaving("tc-1")
    traced.filled(order())
    traced.ended(order(), traceparent=f"00-{TRACE}-{PARENT}-01")
    spans = traced.spans()
    assert trace_of(spans["fill"]) == TRACE
    assert spans["order"].context is not None
    assert parent_of(spans["fill"]) == f"{spans['order'].context.span_id:016x}"


def test_a_fill_after_a_restart_finds_the_order_by_its_id(traced: Traced) -> None:
    traced.send(order())
    before = traced.spans()["order"]
    again = Traced()
    again.filled(order())
    after = again.spans()["fill"]
    assert trace_of(before) == trace_of(after) == hashlib.sha256(b"tc-1").hexdigest()[:32]
    assert before.context is not None
    assert parent_of(after) == f"{before.context.span_id:016x}"


def test_a_leg_is_in_the_trace_of_its_entry(traced: Traced) -> None:
    traced.measures.leaving("tc-1")
    # The answer that tells of the legs is applied before the order's way has ended.
    traced.changed(order("leg", OrderState.HELD, parent="tc-1"))
    traced.ended(order(), traceparent=f"00-{TRACE}-{PARENT}-01")
    traced.changed(order("leg", OrderState.CANCELED, parent="tc-1"))
    spans = traced.spans()
    assert trace_of(spans["canceled"]) == trace_of(spans["order"]) == TRACE
    assert (spans["canceled"].attributes or {})["order.parent"] == "tc-1"


def test_what_ends_an_order_is_told_once(traced: Traced) -> None:
    traced.send(order())
    for _ in range(3):
        traced.changed(order(state=OrderState.EXPIRED))
    traced.send(order("tc-2", OrderState.REJECTED))
    traced.changed(order("tc-2", OrderState.REJECTED))
    traced.spans()
    names = [span.name for span in traced.kept.spans]
    assert names.count("expired") == 1
    assert "rejected" not in names


def test_an_order_in_doubt_that_is_found_says_so(traced: Traced) -> None:
    traced.send(order(state=OrderState.UNKNOWN))
    traced.changed(order(state=OrderState.UNKNOWN))
    traced.changed(order(state=OrderState.WORKING))
    spans = traced.spans()
    assert not spans["order"].status.is_ok
    assert (spans["found"].attributes or {})["order.state"] == "WORKING"


@pytest.mark.parametrize(
    "given",
    [
        "", "nonsense", f"00-{TRACE}-{PARENT}", f"01-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{PARENT}-01",
        "x" * 1024,
    ],
)  # fmt: skip
def test_what_is_no_trace_context_is_ignored(traced: Traced, given: str) -> None:
    traced.send(order(), traceparent=given)
    root = traced.spans()["order"]
    assert parent_of(root) is None
    assert trace_of(root) == hashlib.sha256(b"tc-1").hexdigest()[:32]


def test_who_does_not_sample_gets_no_spans(traced: Traced) -> None:
    traced.send(order(), traceparent=f"00-{TRACE}-{PARENT}-00")
    traced.filled(order())
    assert not traced.spans()


def test_a_full_queue_loses_and_counts() -> None:
    traced = Traced(queue=16)
    for number in range(20):
        traced.filled(order(f"tc-{number}"))
    traced.send(order())
    assert traced.tracer.lost == 4 + 1 + 6
    traced.spans()
    assert traced.tracer.taken == 16


class Moody(Kept):
    """Takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.takes = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked += 1
        if self.takes:
            return super().export(spans)
        logging.getLogger("opentelemetry.exporter.x").error("code: %s, reason: %s", 503, "full")
        return SpanExportResult.FAILURE


def test_a_collector_that_fails_and_recovers_is_told_once_each(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, until: Callable[..., Any]
) -> None:
    for name in ("FIRST_WAIT_S", "LONGEST_WAIT_S", "LOOK_EVERY_S"):
        monkeypatch.setattr(f"console.tracing.{name}", 0.01)
    caplog.set_level(logging.INFO)
    moody, traced = Moody(), Traced()
    traced.kept = moody
    traced.tracer.start()
    for asked in (1, 2, 3):
        traced.filled(order())
        until(lambda asked=asked: traced.tracer.lost == asked)
    assert traced.tracer.taken == 0
    moody.takes = True
    traced.filled(order())
    until(lambda: traced.tracer.taken == 1)
    traced.tracer.stop(LIMIT_S)
    told = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "console.tracing"]
    assert [level for level, _ in told] == ["WARNING", "INFO"]
    assert "503" in told[0][1]
    assert "3 were lost" in told[1][1]
    # The library's own word for each batch is not passed on.
    assert not [r for r in caplog.records if r.name.startswith("opentelemetry")]
