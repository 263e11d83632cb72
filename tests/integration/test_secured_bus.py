"""CURVE on every socket of the system: each pairing that it uses works, and no outsider gets in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from console.bridge import BusTimeoutError, Signal, ZMQPublisher, ZMQSubscriber
from console.bridge.security import BusKeys, generate, load
from console.config import Settings
from console.engine.commands import GetState
from console.engine.events import Snapshot
from console.engine.link import LinkError, RemoteLink
from console.engine.runtime import RuntimeInfo
from console.exits import ExitError
from console.host import Host
from tests.conftest import LIMIT_S

Until = Callable[..., Awaitable[Any]]
Make = Callable[..., Settings]
SHORT_S = 1.5
"""Long enough for a handshake here; what must not happen is waited for so long."""


@pytest.fixture
async def host(make_settings: Make, until_async: Until) -> AsyncIterator[Host]:
    settings = make_settings(
        "demo.speed=60", "demo.partial_fills=false", "bus.security.enabled=true"
    )
    generate(settings.keys_dir)
    running = Host(settings)
    await running.start()

    def healthy() -> bool:
        session = running.engine.view().session
        services = [service.view.status for service in running.services.values()]
        return set(services) == {"healthy"} and session is not None and session.is_open

    await until_async(healthy, "every service found its connections")
    yield running
    await running.stop("the test is over")


@pytest.fixture
def keys(host: Host) -> BusKeys:
    return load(host.settings.keys_dir)


async def test_every_pairing_of_the_system_works_with_keys(
    host: Host, keys: BusKeys, until_async: Until
) -> None:
    ports = host.ports
    # market-data (Rust) → FeedReceiver (Rust), and → ZMQSubscriber (libzmq).
    feed = next(c for c in host.engine.view().connections if c.name == "feed")
    assert feed.state == "connected"
    async with ZMQSubscriber(f"tcp://127.0.0.1:{ports['market']}", keys=keys) as market:
        await market.connect(["market"], timeout_s=LIMIT_S)
        async with asyncio.timeout(LIMIT_S):
            async for _, message in market.receive():
                if message["type"] == "QuoteUpdate" and message["symbol"] == "IBM":
                    break
    # ZMQPublisher (libzmq) → execution-engine (Rust) → commands (libzmq) → events (libzmq) →
    # risk-manager (Rust) → a reader of the risk (libzmq).
    async with ZMQPublisher(f"tcp://127.0.0.1:{ports['signal']}", keys=keys) as publisher:
        await publisher.publish_signal(Signal("IBM", "long", 0.8, 1))

    def held() -> Decimal:
        return sum((p.qty for p in host.engine.view().positions), Decimal(0))

    await until_async(lambda: held() > 0)
    async with ZMQSubscriber(f"tcp://127.0.0.1:{ports['risk']}", keys=keys) as risk:
        await risk.connect(["risk"], timeout_s=LIMIT_S)
        async with asyncio.timeout(LIMIT_S):
            async for _, message in risk.receive():
                if message["type"] == "RiskUpdate" and Decimal(message["gross_exposure"]) > 0:
                    break


async def test_an_attached_console_finds_the_keys_by_the_runtime_file(host: Host) -> None:
    runtime = RuntimeInfo.read(host.settings.state_dir)
    assert runtime is not None
    link = RemoteLink(runtime)
    seen: asyncio.Queue[Any] = asyncio.Queue()
    try:
        ack = await link.request(GetState(), timeout_s=LIMIT_S)
        assert ack.state is not None
        stop = link.listen(seen.put_nowait)
        async with asyncio.timeout(LIMIT_S):
            while not isinstance(await seen.get(), Snapshot):
                continue
        stop()
    finally:
        await link.close()


async def test_without_an_allowed_key_nobody_gets_in(host: Host, tmp_path: Path) -> None:
    stranger = generate(tmp_path / "stranger")
    ours = load(host.settings.keys_dir)
    pretender = BusKeys(client=stranger.client, server_public=ours.server_public)
    signals = f"tcp://127.0.0.1:{host.ports['signal']}"
    for keys in (None, stranger, pretender):
        async with ZMQPublisher(signals, keys=keys) as publisher:
            with pytest.raises(BusTimeoutError):
                await publisher.publish_signal(Signal("IBM", "long", 0.8, 1), timeout_s=SHORT_S)
    for port in ("market", "events", "risk"):
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.SUB)
        socket.connect(f"tcp://127.0.0.1:{host.ports[port]}")
        socket.subscribe(b"")
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SHORT_S):
                    await socket.recv()
        finally:
            context.destroy(linger=0)
    runtime = RuntimeInfo.read(host.settings.state_dir)
    assert runtime is not None
    for keys in (stranger, pretender):
        link = RemoteLink(runtime, with_feed=False, keys=keys)
        try:
            with pytest.raises(LinkError):
                await link.request(GetState(), timeout_s=SHORT_S)
        finally:
            await link.close()


@pytest.mark.parametrize("embedded", [True, False])
def test_missing_keys_are_one_clear_line(
    command_line: Callable[..., Any], tmp_path: Path, *, embedded: bool
) -> None:
    command = ("headless", "--demo") if embedded else ("service", "risk-manager")
    ran = command_line(
        *command, "--state-dir", str(tmp_path / "s"), "--set", "bus.security.enabled=true",
        *(f"--set=ports.{name}=0" for name in ("health", "risk_manager_health", "risk")),
    )  # fmt: skip
    assert ran.code == 78
    line = ran.err.strip().splitlines()[-1]
    assert str(tmp_path / "s" / "keys") in line
    assert "trading-console keys new" in line
    assert "Traceback" not in ran.err


async def test_keys_that_others_can_read_are_refused(make_settings: Make) -> None:
    settings = make_settings("bus.security.enabled=true")
    generate(settings.keys_dir)
    (settings.keys_dir / "server.key").chmod(0o644)
    host = Host(settings)
    with pytest.raises(ExitError, match="chmod 600") as caught:
        await host.start()
    assert caught.value.exit_code == 78
    assert json.loads((settings.state_dir / "health" / "console.json").read_text())["starts"] == 1
