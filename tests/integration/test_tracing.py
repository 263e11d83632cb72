"""Traces of orders as a collector gets them, and a collector that is slow, stuck or gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.bridge import Signal, ZMQPublisher
from console.config import ConfigError, Settings
from console.engine.commands import CancelOrder, Outcome, SubmitOrder
from console.engine.state import OrderType, Side
from console.host import Host
from tests.collector import Span, collecting
from tests.conftest import LIMIT_S

Until = Callable[..., Awaitable[Any]]
Make = Callable[..., Settings]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@asynccontextmanager
async def running(make_settings: Make, url: str, *values: str, **given: Any) -> AsyncIterator[Host]:
    host = Host(
        make_settings(
            "demo.speed=60", "demo.partial_fills=false", "telemetry.enabled=true",
            f"telemetry.endpoint={url}", *values, **given,
        )
    )  # fmt: skip
    await host.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            while not ((session := host.engine.view().session) and session.is_open):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield host
    finally:
        await host.stop("the test is over")


def buy(**given: Any) -> SubmitOrder:
    return SubmitOrder(**({"symbol": "IBM", "side": Side.BUY, "qty": Decimal(1)} | given))


async def test_an_order_is_one_trace_from_its_command_to_its_fill(
    make_settings: Make, until_async: Until
) -> None:
    with collecting() as collector:
        async with running(make_settings, collector.url) as host:
            ack = await host.link().request(buy(), timeout_s=LIMIT_S)
            assert ack.order is not None
            name = ack.order.client_order_id
            await until_async(lambda: collector.named("fill"), "the fill's span")
        spans = [s for s in collector.spans if s.about.get("order.client_order_id") == name]
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {
        "order", "intent", "risk check", "journal commit", "POST", "ack", "fill",
    }  # fmt: skip
    assert len({span.trace_id for span in spans}) == 1
    root = by_name.pop("order")
    assert root.parent_id == ""
    assert {span.parent_id for span in by_name.values()} == {root.span_id}
    assert root.about["order.symbol"] == "IBM"
    assert root.about["order.source"] == "keyboard"
    assert by_name["fill"].about["fill.qty"] == "1"
    times = [
        by_name[part].start for part in ("intent", "risk check", "journal commit", "POST", "ack")
    ]
    assert times == sorted(times)
    assert all(root.start <= span.start <= span.end for span in by_name.values())
    # Spans are on the wall clock, whatever the market's says.
    assert abs(root.end / 1e9 - time.time()) < 120
    assert collector.resources[0]["service.name"] == "trading-console"
    assert collector.resources[0]["trading.mode"] == "DEMO"


async def test_refused_and_canceled_orders_say_so(make_settings: Make, until_async: Until) -> None:
    with collecting() as collector:
        async with running(make_settings, collector.url, "risk.max_order_qty=5") as host:
            link = host.link()
            refused = await link.request(buy(qty=Decimal(6)), timeout_s=LIMIT_S)
            assert refused.outcome is Outcome.REFUSED
            resting = await link.request(
                buy(order_type=OrderType.LIMIT, limit_price=Decimal("180.00")), timeout_s=LIMIT_S
            )
            assert resting.outcome is Outcome.ACCEPTED, resting.message
            assert resting.order is not None
            name = resting.order.client_order_id
            await link.request(CancelOrder(client_order_id=name), timeout_s=LIMIT_S)
            await until_async(lambda: collector.named("canceled"), "the cancellation's span")
        roots = {span.about["order.state"]: span for span in collector.named("order")}
    assert roots["REFUSED"].failed
    assert "POST" not in names(collector.spans, of=roots["REFUSED"])
    end = collector.named("canceled")[0]
    assert end.about["order.client_order_id"] == name
    assert end.trace_id == next(s for s in collector.named("POST")).trace_id


def names(spans: list[Span], *, of: Span) -> set[str]:
    return {span.name for span in spans if span.trace_id == of.trace_id}


async def test_a_signals_trace_goes_on_in_the_order(
    make_settings: Make, until_async: Until
) -> None:
    with collecting() as collector:
        async with running(make_settings, collector.url) as host:
            url = f"tcp://127.0.0.1:{host.ports['signal']}"
            async with ZMQPublisher(url) as publisher:
                await publisher.publish_signal(
                    Signal(
                        "IBM", "long", 0.8, time.time_ns(), strategy="traced", traceparent=PARENT
                    )
                )
                await until_async(lambda: collector.named("fill"), "the fill's span")
        root = collector.named("order")[0]
    assert root.about["order.source"] == "signal:traced"
    assert (root.trace_id, root.parent_id) == tuple(PARENT.split("-")[1:3])
    assert {"POST", "fill"} <= names(collector.spans, of=root)


@pytest.mark.parametrize("kind", ["stalls", "refuses", "is gone"])
async def test_a_dead_collector_neither_slows_nor_stops_trading(
    make_settings: Make, until_async: Until, free_port: Callable[[], int], kind: str
) -> None:
    with collecting(stalls=kind == "stalls") as collector:
        collector.answer = 503
        url = collector.url
        if kind == "is gone":
            url = f"http://127.0.0.1:{free_port()}/v1/traces"
        values = ("telemetry.queue=16", "telemetry.timeout_s=60", "risk.duplicate_window_s=0")
        async with running(make_settings, url, *values) as host:
            tracer = host._tracer
            assert tracer is not None
            taken = []
            for number in range(40):
                begun = time.monotonic()
                ack = await host.link().request(
                    buy(side=Side.SELL if number % 2 else Side.BUY), timeout_s=LIMIT_S
                )
                taken.append(time.monotonic() - begun)
                assert ack.outcome is Outcome.ACCEPTED, ack.message
            # What found the queue full is lost, and counted.
            await until_async(lambda: tracer.lost > 0, "spans are lost")
            assert tracer.taken == 0
            begun = time.monotonic()
        # The stop leaves in time; what waits for the collector doesn't hold it.
        assert time.monotonic() - begun < host.settings.engine.drain_timeout_s
        assert sorted(taken)[len(taken) // 2] < 1.0


def test_off_it_loads_nothing(command_python: Callable[[str], str]) -> None:
    told = command_python(
        "import sys, console.host, console.tracing\n"
        "from console.config import load_settings, Overrides\n"
        "assert console.tracing.tracer_of(load_settings(Overrides(demo=True))) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert told.strip() == "[]"


def test_without_its_packages_it_is_one_clear_line(tmp_path: Path) -> None:
    hide = (
        "import sys, importlib.abc\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] == 'opentelemetry':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from console.cli import main\n"
        "sys.argv = ['trading-console', 'headless', '--demo', '--set', 'telemetry.enabled=true',\n"
        f"            '--state-dir', {str(tmp_path)!r}]\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 78
    assert len(done.stderr.strip().splitlines()) == 1
    assert "telemetry.enabled = true" in done.stderr
    assert "pip install 'trading-console[otel]'" in done.stderr


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://collector.example:4318/v1/traces", "needs https"),
        ("ftp://127.0.0.1/v1/traces", "the URL of a collector is wanted"),
        ("https://me:secret@collector.example/v1/traces", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_a_collector_elsewhere_needs_https_and_no_keys_in_its_url(
    make_settings: Make, url: str, rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule) as caught:
        make_settings(f"telemetry.endpoint={url}")
    assert "paper accounts" not in str(caught.value)
