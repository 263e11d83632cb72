"""Traces of orders for an OpenTelemetry collector: one an order, from its command to each fill.

    order ─┬─ intent          sizing, quote
           ├─ risk check
           ├─ journal commit  until its row is on disk
           ├─ POST            until the broker has answered (PATCH where it replaces another)
           ├─ ack             until the engine knows it
           └─ fill …, and how it ended otherwise

The ids of trace and root come from the client order id, so that a fill after a restart still finds
its order; who sends a W3C `traceparent` along has the order in a trace of its own instead.

The engine only leaves a record in a bounded queue. Spans are made of it, and sent, on a thread of
the tracer's own: a collector that is slow, stuck or gone costs spans, which are counted, and no
order a microsecond. Only this module knows OpenTelemetry, and loads it in `start`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.engine.events import OrderChanged, OrderFilled
from console.engine.measures import Way, moment
from console.engine.state import OrderState, OrderView

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from console.config import Settings
    from console.config.models import Telemetry

log = logging.getLogger(__name__)

BATCH = 64
"""Spans sent at once: few, since to encode them takes time from those who hold an order."""
LOOK_EVERY_S = 0.25
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""After a batch that the collector did not take."""
KNOWN = 10_000
"""Orders whose trace is remembered; those that go on after that find theirs by their id."""

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_FAILED = (OrderState.REFUSED, OrderState.REJECTED, OrderState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Sent:
    """An order at the end of its way, with both clocks at that moment."""

    order: OrderView
    way: Way
    wall_ns: int
    moment_ns: int


@dataclass(frozen=True, slots=True)
class _Leaving:
    client_order_id: str


_Record = _Leaving | _Sent | OrderChanged | OrderFilled


@dataclass(slots=True)
class _Trace:
    """Where an order's further spans belong. `last_ns` is when something was last heard of it."""

    trace_id: int
    root_id: int
    is_sampled: bool = True
    last_ns: int = 0
    has_ended: bool = False
    in_doubt: bool = False


class OrderTracer:
    """See the module. `sent` and `on_event` are the engine's to call, and return at once."""

    def __init__(
        self,
        settings: Telemetry,
        about: Mapping[str, str],
        *,
        exporter: Callable[[Telemetry], SpanExporter] | None = None,
    ) -> None:
        """`about` says who traces: OpenTelemetry's attributes of a resource."""
        self._settings = settings
        self._about = about
        self._make_exporter = exporter or _exporter
        self._exporter: SpanExporter | None = None
        self._spans: _Spans | None = None
        self._waiting: deque[_Record] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)
        self._reasons = _Reasons()
        self.taken = 0
        """Spans that the collector took."""
        self.lost = 0
        """Spans that it did not take, and those of records that found the queue full."""

    # -- the engine's side -------------------------------------------------------------------

    def leaving(self, client_order_id: str) -> None:
        """An order is about to be sent: what is told of it from now on belongs to it."""
        self._leave(_Leaving(client_order_id))

    def sent(self, order: OrderView, way: Way) -> None:
        """The way of an order has ended, at its first outcome."""
        self._leave(_Sent(order, way, time.time_ns(), moment()))

    def on_event(self, event: object) -> None:
        """Whatever the engine tells; what is about orders is kept."""
        if isinstance(event, OrderFilled | OrderChanged):
            self._leave(event)

    def _leave(self, record: _Record) -> None:
        if len(self._waiting) >= self._settings.queue:
            self.lost += 1 + len(list(_parts(record.way))) if isinstance(record, _Sent) else 1
            return
        self._waiting.append(record)

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Load OpenTelemetry and begin to send. Takes some tenths of a second."""
        self._reasons.listen()
        self._exporter = self._make_exporter(self._settings)
        self._spans = _Spans(self._about)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Send what waits and join the thread, within `timeout_s`. Idempotent."""
        if self._thread.ident is None or self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_s * 0.7)
        if self._exporter is not None:
            # It ends a pause between two tries, which the thread may be in.
            self._exporter.shutdown()
        self._thread.join(timeout_s * 0.3)
        if self._thread.is_alive():
            log.warning("the collector of traces doesn't answer; what waited for it is lost")
        self._reasons.stop()

    def _run(self) -> None:
        pending: deque[ReadableSpan] = deque()
        wait_s = FIRST_WAIT_S
        try:
            while True:
                is_last = self._stopping.is_set()
                self._take(pending)
                while pending:
                    batch = [pending.popleft() for _ in range(min(BATCH, len(pending)))]
                    if self._send(batch):
                        wait_s = FIRST_WAIT_S
                    elif is_last:
                        self.lost += len(pending)
                        return
                    else:
                        self._wake.wait(wait_s)
                        wait_s = min(LONGEST_WAIT_S, wait_s * 2)
                        # What comes meanwhile waits in the queue, which has its bound.
                        is_last = self._stopping.is_set()
                if is_last:
                    return
                self._wake.wait(LOOK_EVERY_S)
        except Exception:
            log.exception("tracing ended; orders go on without")

    def _take(self, pending: deque[ReadableSpan]) -> None:
        assert self._spans is not None
        while self._waiting and len(pending) < BATCH:
            pending.extend(self._spans.of(self._waiting.popleft()))

    def _send(self, batch: list[ReadableSpan]) -> bool:
        from opentelemetry.sdk.trace.export import SpanExportResult

        assert self._exporter is not None
        try:
            is_taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 — whatever breaks in the library breaks no order
            self._reasons.last, is_taken = f"{type(error).__name__}: {error}", False
        if is_taken:
            self.taken += len(batch)
            if self._reasons.is_told:
                log.info("the collector of traces takes spans again; %d were lost", self.lost)
        else:
            self.lost += len(batch)
            if not self._reasons.is_told:
                log.warning(
                    "the collector of traces at %s takes no spans (%s); they are counted as lost",
                    self._settings.endpoint,
                    self._reasons.last or "no answer",
                )
        self._reasons.is_told = not is_taken
        return is_taken


class _Reasons(logging.Handler):
    """Keeps why the library could not send: it says so at every batch, the tracer once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self.is_told = False
        self._logger = logging.getLogger("opentelemetry.exporter")

    def listen(self) -> None:
        self._logger.addHandler(self)
        self._logger.propagate = False

    def stop(self) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()[:300]


class _Spans:
    """Makes spans of records. Of the tracer's thread alone."""

    def __init__(self, about: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._resource = Resource.create(dict(about))
        self._scope = InstrumentationScope("trading-console", about.get("service.version"))
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._under_way: OrderedDict[str, list[OrderChanged | OrderFilled]] = OrderedDict()
        """By client order id: what was heard before the order's own spans were there."""

    def of(self, record: _Record) -> Iterator[ReadableSpan]:
        match record:
            case _Sent():
                yield from self._order(record)
                for later in self._under_way.pop(record.order.client_order_id, ()):
                    yield from self._later(later)
            case _Leaving(client_order_id=name):
                self._under_way[name] = []
                if len(self._under_way) > KNOWN:
                    self._under_way.popitem(last=False)
            case (
                OrderChanged(order=OrderView(client_order_id=name))
                | OrderFilled(client_order_id=name)
            ):
                above = record.order.parent if isinstance(record, OrderChanged) else None
                waits = self._under_way.get(name, self._under_way.get(above or ""))
                if waits is None:
                    yield from self._later(record)
                else:
                    waits.append(record)

    def _order(self, sent: _Sent) -> Iterator[ReadableSpan]:
        order, way = sent.order, sent.way
        name = order.client_order_id
        parent, trace = _begun(name, way.traceparent)
        self._keep(name, trace)
        if not trace.is_sampled:
            return

        def wall(at: int) -> int:
            return sent.wall_ns - (sent.moment_ns - at)

        trace.last_ns = wall(way.ended)
        trace.has_ended = order.state.is_final
        trace.in_doubt = order.state is OrderState.UNKNOWN
        about = _about(order)
        if way.attempts > 1:
            about["http.request.resend_count"] = way.attempts - 1
        if way.refused_by:
            about["order.refused_by"] = way.refused_by
        yield self._span(
            "order", trace, (wall(way.taken), wall(way.ended)), about,
            span_id=trace.root_id, parent=parent, failed=order.state in _FAILED,
        )  # fmt: skip
        for part, begun, ended in _parts(way):
            is_call = part == "POST"
            yield self._span(
                "PATCH" if is_call and order.replaces else part,
                trace,
                (wall(begun), wall(ended)),
                {"order.client_order_id": name},
                is_client=is_call,
                failed=is_call and order.state in _FAILED,
            )

    def _later(self, event: OrderChanged | OrderFilled) -> Iterator[ReadableSpan]:
        if isinstance(event, OrderFilled):
            trace = self._trace(event.client_order_id)
            what = "fill"
            about: dict[str, Any] = {
                "order.client_order_id": event.client_order_id,
                "order.symbol": event.symbol,
                "order.side": event.side.value,
                "fill.qty": f"{event.qty:f}",
                "fill.price": f"{event.price:f}",
                "fill.market_time": event.at.isoformat(),
            }
        else:
            order = event.order
            if order.parent is not None and order.client_order_id not in self._traces:
                # A leg's story is told with that of the order that it belongs to.
                of_all = self._trace(order.parent)
                leg = _Trace(of_all.trace_id, of_all.root_id, of_all.is_sampled, event.ts)
                self._keep(order.client_order_id, leg)
            known = self._traces.get(order.client_order_id)
            is_found = (
                known is not None and known.in_doubt and order.state is not OrderState.UNKNOWN
            )
            # How it was filled is told by its fills.
            is_end = order.state.is_final and order.state is not OrderState.FILLED
            if not is_found and (not is_end or (known is not None and known.has_ended)):
                return
            trace = known or self._trace(order.client_order_id)
            trace.in_doubt, trace.has_ended = False, order.state.is_final
            what, about = "found" if is_found else order.state.value.lower(), _about(order)
        if trace.is_sampled:
            since, trace.last_ns = trace.last_ns or event.ts, event.ts
            yield self._span(what, trace, (min(since, event.ts), event.ts), about)

    def _trace(self, client_order_id: str) -> _Trace:
        trace = self._traces.get(client_order_id)
        if trace is None:
            _, trace = _begun(client_order_id, "")
            self._keep(client_order_id, trace)
        return trace

    def _keep(self, client_order_id: str, trace: _Trace) -> None:
        self._traces[client_order_id] = trace
        if len(self._traces) > KNOWN:
            self._traces.popitem(last=False)

    def _span(
        self,
        name: str,
        trace: _Trace,
        times: tuple[int, int],
        about: Mapping[str, Any],
        *,
        span_id: int | None = None,
        parent: int | None = None,
        is_client: bool = False,
        failed: bool = False,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(of: int, *, is_remote: bool) -> SpanContext:
            return SpanContext(trace.trace_id, of, is_remote, TraceFlags(TraceFlags.SAMPLED))

        above = trace.root_id if span_id is None else parent
        return ReadableSpan(
            name=name,
            context=context(span_id or int.from_bytes(os.urandom(8)) or 1, is_remote=False),
            parent=None if above is None else context(above, is_remote=span_id is not None),
            resource=self._resource,
            attributes=about,
            kind=SpanKind.CLIENT if is_client else SpanKind.INTERNAL,
            instrumentation_scope=self._scope,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=times[0],
            end_time=times[1],
        )


def _begun(client_order_id: str, traceparent: str) -> tuple[int | None, _Trace]:
    """The span above an order's own, if any, and its trace."""
    digest = hashlib.sha256(client_order_id.encode()).digest()
    own, root = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
    given = _PARENT.fullmatch(traceparent)
    if given is None or not int(given[1], 16) or not int(given[2], 16):
        return None, _Trace(own, root)
    return int(given[2], 16), _Trace(int(given[1], 16), root, bool(int(given[3], 16) & 1))


def _parts(way: Way) -> Iterator[tuple[str, int, int]]:
    """The parts of a way that the order came through, by its moments."""
    if way.checked:
        yield "intent", way.taken, way.checking
        yield "risk check", way.checking, way.checked
    if way.journaled:
        yield "journal commit", way.recorded, way.journaled
    if way.answered:
        yield "POST", way.posting, way.answered
        yield "ack", way.answered, way.ended


def _about(order: OrderView) -> dict[str, Any]:
    """What a span says of an order: no text of the broker's, which might name an account."""
    about: dict[str, Any] = {
        "order.client_order_id": order.client_order_id,
        "order.symbol": order.symbol,
        "order.side": order.side.value,
        "order.type": order.order_type.value,
        "order.source": order.source,
        "order.state": order.state.value,
    }
    if order.qty is not None:
        about["order.qty"] = f"{order.qty:f}"
    if order.replaces is not None:
        about["order.replaces"] = order.replaces
    if order.parent is not None:
        about["order.parent"] = order.parent
    return about


def _exporter(settings: Telemetry) -> SpanExporter:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    session = requests.Session()
    if settings.is_local:
        # A proxy of the environment's is for the world outside.
        session.trust_env = False
    return OTLPSpanExporter(endpoint=settings.endpoint, timeout=settings.timeout_s, session=session)


def tracer_of(settings: Settings) -> OrderTracer | None:
    """A tracer as `[telemetry]` wants it, not started; None where it is off."""
    if not settings.telemetry.enabled:
        return None
    from console import __version__

    return OrderTracer(
        settings.telemetry,
        {
            "service.name": "trading-console",
            "service.version": __version__,
            "deployment.environment.name": settings.profile,
            "trading.mode": settings.mode.value,
        },
    )
