"""Fault 34: a Rust service dies and returns. The badge says so, what needs it connects again, and
no signal that is lost is taken for delivered.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from console.apart import SERVICE_PORTS, ServiceInfo
from console.bridge import BusTimeoutError, Signal, ZMQPublisher
from console.config import Settings
from console.engine.events import ServiceChanged
from console.host import Host
from tests.conftest import FREE_PORTS, LIMIT_S, ROOT

Until = Callable[..., Awaitable[Any]]
Make = Callable[..., Settings]
DOWN_S = 1.0
"""How long a publisher waits for a service that isn't there."""


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The badge follows at once, and not when the next look at the service's health is due."""
    for module in ("console.apart", "console.services"):
        monkeypatch.setattr(f"{module}.HEALTH_EVERY_S", 0.1)
        monkeypatch.setattr(f"{module}.UNWELL_EVERY_S", 0.1)
    monkeypatch.setattr("console.services.LOOK_EVERY_S", 0.05)


class Apart:
    """One service in a process of its own, beside a host on the same state directory."""

    def __init__(self, name: str, settings: Settings, until: Until) -> None:
        self.name = name
        self._settings = settings
        self._until = until
        self._process: asyncio.subprocess.Process | None = None
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Start it, on the ports it had before if it had any; returns when it has told them."""
        sets = [*FREE_PORTS, "demo.speed=60"]
        sets += [f"ports.{name}={port}" for name, port in self.ports.items()]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "console", "service", self.name, "--demo",
            "--state-dir", str(self._settings.state_dir),
            *(f"--set={value}" for value in sets),
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self._process = process

        def told() -> ServiceInfo | None:
            assert process.returncode is None
            info = ServiceInfo.read(self._settings.state_dir, self.name)
            return info if info is not None and info.pid == process.pid else None

        self.ports = (await self._until(told, f"{self.name} has told its ports")).ports

    async def kill(self) -> None:
        """As by kill −9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            assert await self._process.wait() == -signals.SIGKILL


class System:
    """A host with everything embedded but one service, which is a process that can be killed."""

    def __init__(self, host: Host, apart: Apart) -> None:
        self.host, self.apart = host, apart
        self.badges: list[str] = []
        host.engine.subscribe(self._keep)

    def _keep(self, event: Any) -> None:
        if isinstance(event, ServiceChanged) and event.service.name == self.apart.name:
            self.badges.append(event.service.status)

    @property
    def badge(self) -> str:
        view = self.host.engine.view()
        return next(s.status for s in view.services if s.name == self.apart.name)

    def connection(self, name: str) -> str:
        found = [c.state for c in self.host.engine.view().connections if c.name == name]
        return found[0] if found else ""

    def orders(self) -> list[str]:
        return [order.client_order_id for order in self.host.engine.view().orders]

    def held(self) -> Decimal:
        return sum((p.qty for p in self.host.engine.view().positions), Decimal(0))

    async def publish(self, direction: str, identity: str, timeout_s: float = LIMIT_S) -> None:
        url = f"tcp://127.0.0.1:{self.apart.ports['signal']}"
        async with ZMQPublisher(url) as publisher:
            await publisher.publish_signal(
                Signal("IBM", direction, 0.8, time.time_ns(), id=identity), timeout_s=timeout_s
            )


@pytest.fixture
async def make_system(
    make_settings: Make, until_async: Until
) -> AsyncIterator[Callable[[str], Awaitable[System]]]:
    started: list[System] = []

    async def make(name: str) -> System:
        embed = ",".join(service for service in SERVICE_PORTS if service != name)
        settings = make_settings(
            "demo.speed=60", "demo.partial_fills=false", f"services.embed={embed}"
        )
        apart = Apart(name, settings, until_async)
        host = Host(settings)
        await host.start()
        system = System(host, apart)
        started.append(system)
        await apart.start()
        await until_async(lambda: system.badge == "healthy", "the badge is green")

        def tradable() -> bool:
            session = host.engine.view().session
            return session is not None and session.is_open and system.connection("feed") != ""

        await until_async(tradable)
        return system

    yield make
    for system in started:
        await system.host.stop("the test is over")
        await system.apart.kill()


async def test_a_dead_execution_engine_takes_no_signal_and_trades_again_when_it_is_back(
    make_system: Callable[[str], Awaitable[System]], until_async: Until
) -> None:
    system = await make_system("execution-engine")
    await system.publish("long", "1")
    await until_async(lambda: system.held() > 0)

    await system.apart.kill()
    await until_async(lambda: system.badge == "down", "the badge says that it is down")
    # Nobody is told that this one was delivered.
    with pytest.raises(BusTimeoutError):
        await system.publish("flat", "2", timeout_s=DOWN_S)
    assert len(system.orders()) == 1

    await system.apart.start()
    await until_async(lambda: system.badge == "healthy", "the badge is green again")
    assert system.badges[-1] == "healthy"
    # What was refused is still new; what was acted on is known, also to the one that came back.
    await system.publish("flat", "2")
    await until_async(lambda: system.held() == 0)
    await system.publish("long", "1")
    await system.publish("short", "3")
    await until_async(lambda: system.held() < 0, "the one after the repeated one was acted on")
    # The engine would not act on it twice either: this one does not even ask.
    execution = system.host.services["execution-engine"]
    await until_async(lambda: execution.view.metrics.get("repeated") == "1", "it was known")
    sides = [order.side.value for order in system.host.engine.view().orders]
    assert sorted(sides) == ["buy", "sell", "sell"]


async def test_killed_with_a_signal_in_its_hands_there_is_one_order_or_none(
    make_system: Callable[[str], Awaitable[System]], until_async: Until
) -> None:
    system = await make_system("execution-engine")
    await system.publish("long", "1")
    await system.apart.kill()
    await system.apart.start()
    await until_async(lambda: system.badge == "healthy")
    # The strategy doesn't know what became of it and says it again.
    await system.publish("long", "1")
    await system.publish("flat", "2")

    def both_settled() -> bool:
        metrics = system.host.services["execution-engine"].view.metrics
        return metrics.get("last_signal", "").startswith("IBM Flat")

    await until_async(both_settled)
    await until_async(lambda: all(o.state.is_final for o in system.host.engine.view().orders))
    buys = [o for o in system.host.engine.view().orders if o.side.value == "buy"]
    assert len(buys) <= 1


async def test_a_dead_risk_manager_is_said_and_speaks_again(
    make_system: Callable[[str], Awaitable[System]], until_async: Until
) -> None:
    system = await make_system("risk-manager")
    await system.apart.kill()
    await until_async(lambda: system.badge == "down", "the badge says that it is down")
    await system.apart.start()
    await until_async(lambda: system.badge == "healthy", "the badge is green again")
    seen = system.host.services["risk-manager"]
    await until_async(lambda: seen.view.metrics.get("trading_state") == "ACTIVE", "it speaks again")
    assert seen.view.metrics["last_exit"].startswith("crash")


async def test_an_embedded_service_that_dies_comes_back_with_its_badge(
    make_settings: Make, until_async: Until
) -> None:
    host = Host(make_settings("demo.speed=60"))
    await host.start()
    try:
        badges: list[tuple[str, str]] = []

        def keep(event: Any) -> None:
            if isinstance(event, ServiceChanged):
                badges.append((event.service.name, event.service.status))

        host.engine.subscribe(keep)
        for name in ("market-data", "execution-engine", "risk-manager"):
            service = host.services[name]
            await until_async(lambda service=service: service.view.status == "healthy", name)
            assert service.service is not None
            await asyncio.to_thread(service.service.stop, timeout_s=5.0)
            await until_async(lambda name=name: (name, "down") in badges, f"{name} is down")
            await until_async(lambda service=service: service.view.status == "healthy", name)
            assert service.restarts == 1

        def fed() -> bool:
            feed = [c for c in host.engine.view().connections if c.name == "feed"]
            return bool(feed) and feed[0].state == "connected"

        await until_async(fed, "the feed is connected again")
    finally:
        await host.stop("the test is over")
