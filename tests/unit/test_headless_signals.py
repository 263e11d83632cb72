"""What headless does at a first signal, at a second, and when a stop takes too long."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from console.cli.headless import _Run, holdings
from console.engine.state import EngineView, TradingState
from console.exits import FAILED, ExitError

Until = Callable[..., Awaitable[Any]]
VIEW = EngineView(seq=1, mode="DEMO", ready=True, trading_state=TradingState.ACTIVE)


class FakeHost:
    """A host whose start and stop end when the test says so."""

    def __init__(self, *, drain_timeout_s: float = 5.0) -> None:
        self.may_start, self.may_stop = asyncio.Event(), asyncio.Event()
        self.started = False
        self.stopping: str | None = None
        self.engine = SimpleNamespace(view=lambda: VIEW)
        self.settings = SimpleNamespace(engine=SimpleNamespace(drain_timeout_s=drain_timeout_s))
        self.failure: Exception | None = None

    async def start(self) -> None:
        await self.may_start.wait()
        if self.failure is not None:
            raise self.failure
        self.started = True

    async def stop(self, reason: str) -> None:
        self.stopping = reason
        await self.may_stop.wait()


async def run(host: Any) -> int:
    with _Run(host) as running:
        return await running.main()


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes that the process would have left with at once."""
    codes: list[int] = []
    monkeypatch.setattr("console.cli.headless.os._exit", codes.append)
    return codes


async def test_the_first_signal_drains_and_the_second_leaves(
    exits: list[int], until_async: Until
) -> None:
    host: Any = FakeHost()
    host.may_start.set()
    running = asyncio.create_task(run(host))
    await until_async(lambda: host.started)
    os.kill(os.getpid(), signal.SIGTERM)
    await until_async(lambda: host.stopping is not None)
    assert host.stopping == "SIGTERM"
    assert exits == []
    os.kill(os.getpid(), signal.SIGINT)
    await until_async(lambda: bool(exits))
    assert exits == [128 + signal.SIGINT]
    host.may_stop.set()
    assert await running == 0


async def test_a_stop_that_takes_too_long_is_left(exits: list[int], until_async: Until) -> None:
    host: Any = FakeHost(drain_timeout_s=0.3)
    host.may_start.set()
    running = asyncio.create_task(run(host))
    await until_async(lambda: host.started)
    os.kill(os.getpid(), signal.SIGTERM)
    await until_async(lambda: bool(exits))
    assert exits == [FAILED]
    host.may_stop.set()
    await running


async def test_a_signal_while_starting_ends_the_start(exits: list[int], until_async: Until) -> None:
    host: Any = FakeHost()
    running = asyncio.create_task(run(host))
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGHUP)
    assert await asyncio.wait_for(running, 30) == 0
    assert not host.started
    assert exits == []


async def test_a_start_that_fails_is_raised() -> None:
    host: Any = FakeHost()
    host.failure = ExitError("ports.market: taken", 78)
    host.may_start.set()
    with pytest.raises(ExitError, match=r"ports\.market"):
        await run(host)


def test_holdings_say_so_when_there_are_none() -> None:
    assert holdings(VIEW) == "positions: none; open orders: none"
