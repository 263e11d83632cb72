"""The fault tests' surroundings: an exchange that stands still, engines on it, faults on request.

The pieces are in `tests.faults.harness` (engine here, engine in a process of its own, the books
compared) and `tests.faults.proxy` (a line that stalls, cuts and resets).
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from console.broker.session import BrokerSession
from tests.faults.harness import Bench, Child, Other, Replay
from tests.faults.proxy import Proxy

MINUTE = 60


@pytest.fixture
def exchange_options() -> dict[str, Any]:
    """Settings of the exchange; a test's own by `@pytest.mark.parametrize("exchange_options", …)`,
    such as `in_two_fills`.
    """
    return {}


@pytest.fixture
def market(make_exchange, exchange_options) -> Any:
    """An exchange that stands still, five minutes into its first session.

    Market orders fill at once at the standing quote; `market.call(step_s=…)` plays on.
    """
    exchange = make_exchange(paused=True, **exchange_options)
    exchange.call(step_s=30 + 5 * MINUTE)
    return exchange


@pytest.fixture
def inject(market) -> Callable[..., None]:
    """`inject(requests=[{...}], updates="mute", drop_updates=1, disconnect=True)`; `inject()` ends
    all faults. What they mean is in docs/exchange.md.
    """

    def post(**plan: Any) -> None:
        request = urllib.request.Request(
            f"{market.url}/_exchange/faults",
            data=json.dumps(plan).encode() if plan else None,
            method="POST" if plan else "DELETE",
        )
        with urllib.request.urlopen(request, timeout=10):
            return

    return post


@pytest.fixture
def other(market, make_settings) -> Iterator[Other]:
    """The same account, by another program."""
    session = BrokerSession(make_settings().endpoint(market.port))
    yield Other(session)
    session.close()


@pytest.fixture
async def make_bench(make_settings, market) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    """`await make_bench("broker.read_timeout_s=1", port=proxy.port)`: a started engine.

    All on one state directory, so one at a time: stop it before the next one.
    """
    benches: list[Bench] = []

    async def make(*values: str, port: int | None = None, **given: Any) -> Bench:
        bench = Bench(
            make_settings(*values), port or market.port, replay=Replay(market.call), **given
        )
        benches.append(bench)
        return await bench.start()

    yield make
    for bench in benches:
        await bench.stop()


@pytest.fixture
async def bench(make_bench) -> Bench:
    """One engine straight on the exchange."""
    return await make_bench()


@pytest.fixture
async def make_child(make_settings, market) -> AsyncIterator[Callable[..., Awaitable[Child]]]:
    """`await make_child(crash_at="mid-fill")`: an engine in a process of its own, on the same
    state directory as `make_bench`.
    """
    children: list[Child] = []

    async def make(*values: str, port: int | None = None, crash_at: str | None = None) -> Child:
        state_dir = make_settings().state_dir
        child = await Child.start(port or market.port, state_dir, *values, crash_at=crash_at)
        children.append(child)
        return child

    yield make
    for child in children:
        await child.stop()


@pytest.fixture
async def proxy(market) -> AsyncIterator[Proxy]:
    """A line to the exchange that can be stalled, cut and reset."""
    proxy = await Proxy(market.port).start()
    yield proxy
    await proxy.stop()
