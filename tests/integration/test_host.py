"""The host in this process: what it starts, keeps alive, takes anew and stops."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from console.config import Overrides, Settings, load_settings
from console.engine.commands import ControlReplay, GetBars, GetState, Outcome
from console.engine.events import MarketFrame, Noticed, ServiceChanged, Snapshot
from console.engine.link import RemoteLink
from console.engine.runtime import RuntimeInfo
from console.exits import ExitError
from console.host import Host, HostThread
from tests.conftest import FREE_PORTS, LIMIT_S

Until = Callable[..., Awaitable[Any]]
Make = Callable[..., Settings]


@pytest.fixture
async def host(make_settings: Make) -> AsyncIterator[Host]:
    running = Host(make_settings("demo.speed=60"))
    await running.start()
    yield running
    await running.stop("the test is over")


async def test_everything_is_up_and_findable(host: Host) -> None:
    runtime = RuntimeInfo.read(host.settings.state_dir)
    assert runtime is not None
    assert set(runtime.ports) == {
        "health", "market_data_health", "execution_engine_health", "risk_manager_health",
        "market", "signal", "commands", "events", "risk", "exchange",
    }  # fmt: skip
    assert all(runtime.ports.values())
    assert (host.settings.state_dir / "runtime.json").stat().st_mode & 0o077 == 0
    ack = await host.link().request(GetState())
    assert ack.state is not None
    assert ack.state.ready
    assert {service.name for service in ack.state.services} == set(host.services)


async def test_a_service_that_dies_comes_back_on_its_ports(host: Host, until_async: Until) -> None:
    seen: list[Any] = []
    stop = host.engine.subscribe(seen.append)
    market_data = host.services["market-data"]
    before = market_data.service
    assert before is not None
    ports = dict(before.ports)
    await asyncio.to_thread(before.stop, timeout_s=5.0)

    await until_async(lambda: market_data.restarts == 1 and market_data.service is not None)
    after = market_data.service
    assert after is not None
    assert after is not before
    assert dict(after.ports) == ports

    def told() -> list[str]:
        return [
            event.service.status
            for event in seen
            if isinstance(event, ServiceChanged) and event.service.name == "market-data"
        ]

    await until_async(lambda: "down" in told() and told()[-1] == "healthy")

    def fed() -> bool:
        feed = [c for c in host.engine.view().connections if c.name == "feed"]
        return bool(feed) and feed[0].state == "connected"

    await until_async(fed, "the feed is connected again")
    stop()


async def test_the_demo_can_be_paused_stepped_and_sped_up(host: Host, until_async: Until) -> None:
    link = host.link()
    assert (await link.request(ControlReplay(paused=True))).outcome is Outcome.ACCEPTED

    def speed() -> float | None:
        session = host.engine.view().session
        return None if session is None else session.speed

    await until_async(lambda: speed() == 0)
    before = host.engine.view().session
    assert before is not None
    assert (await link.request(ControlReplay(step_s=600))).outcome is Outcome.ACCEPTED

    def stepped() -> bool:
        now = host.engine.view().session
        return now is not None and (now.market_time - before.market_time).total_seconds() >= 600

    await until_async(stepped)


async def test_a_changed_file_is_taken_or_refused_and_told(
    make_settings: Make, tmp_path: Path, until_async: Until
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[risk]\nmax_order_qty = 100\n")
    overrides = Overrides(
        config=config,
        values=FREE_PORTS,
        state_dir=tmp_path / "state",
        environment={"XDG_CONFIG_HOME": str(tmp_path / "none")},
    )
    host = Host(load_settings(overrides), overrides=overrides)
    await host.start()
    notices: list[str] = []

    def keep(event: Any) -> None:
        if isinstance(event, Noticed) and event.topic == "settings":
            notices.append(event.text)

    host.engine.subscribe(keep)
    try:

        def tightened() -> bool:
            write(config, 50)
            return host.settings.risk.max_order_qty == 50

        await until_async(tightened)
        assert "risk.max_order_qty" in notices[0]
        write(config, 500)
        await until_async(lambda: any("loosens no limit" in text for text in notices))
        assert host.settings.risk.max_order_qty == 50
    finally:
        await host.stop("the test is over")


def write(config: Path, quantity: int) -> None:
    config.write_text(f"[risk]\nmax_order_qty = {quantity}\n")


async def test_a_start_that_fails_leaves_nothing_behind(
    host: Host, make_settings: Make, tmp_path: Path
) -> None:
    taken = host.ports["market"]
    settings = make_settings(f"ports.market={taken}", state_dir=tmp_path / "other")
    failing = Host(settings)
    with pytest.raises(ExitError, match=r"ports\.market") as caught:
        await failing.start()
    assert caught.value.exit_code == 78
    assert all(service.service is None for service in failing.services.values())
    assert RuntimeInfo.read(settings.state_dir) is None
    # The lock and the port of health are free again.
    again = Host(make_settings(state_dir=tmp_path / "other"))
    await again.start()
    await again.stop("done")


async def test_a_service_that_runs_inside_isnt_started_beside(
    host: Host, command_line: Callable[..., Any]
) -> None:
    ran = await asyncio.to_thread(
        command_line, "service", "execution-engine", "--state-dir", str(host.settings.state_dir),
        *(f"--set={value}" for value in FREE_PORTS),
    )  # fmt: skip
    assert ran.code == 73
    assert "execution-engine runs on state directory" in ran.err


async def test_stop_is_quick_idempotent_and_recorded(make_settings: Make) -> None:
    host = Host(make_settings())
    await host.start()
    port = host.ports["health"]
    begun = time.monotonic()
    await host.stop("enough")
    await host.stop("again")
    assert time.monotonic() - begun < host.settings.engine.drain_timeout_s
    record = json.loads((host.settings.state_dir / "health" / "console.json").read_text())
    assert record["last_exit"]["clean"] is True
    assert record["last_exit"]["reason"] == "enough"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://127.0.0.1:{port}/live")


async def test_a_thread_of_its_own_serves_a_face(make_settings: Make, until_async: Until) -> None:
    thread = HostThread(make_settings)
    thread.start()
    link = await asyncio.wait_for(asyncio.wrap_future(thread.link), LIMIT_S)
    seen: list[Any] = []
    end = link.listen(seen.append)
    await until_async(lambda: bool(seen))
    assert isinstance(seen[0], Snapshot)
    end()
    await link.close()
    assert await asyncio.to_thread(thread.stop, "closed")


async def test_a_thread_tells_why_it_could_not_start() -> None:
    def load() -> Settings:
        return load_settings(Overrides(values=("ports.helth=1",)))

    thread = HostThread(load)
    thread.start()
    with pytest.raises(ValueError, match=r"ports\.helth"):
        await asyncio.wait_for(asyncio.wrap_future(thread.link), LIMIT_S)
    assert await asyncio.to_thread(thread.stop)


async def test_a_thread_that_is_stopped_while_starting_ends(make_settings: Make) -> None:
    thread = HostThread(make_settings)
    thread.start()
    assert await asyncio.to_thread(thread.stop, "at once", 10.0)


async def test_a_far_link_sees_the_bars_from_before_it_came(host: Host, until_async: Until) -> None:
    runtime = RuntimeInfo.read(host.settings.state_dir)
    assert runtime is not None
    link = RemoteLink(runtime)
    frames: list[MarketFrame] = []
    end = link.listen(
        lambda event: frames.append(event) if isinstance(event, MarketFrame) else None
    )
    try:
        own = host.engine.bars("IBM")
        assert own is not None
        known = own[0][-20:-1].tolist()

        def same() -> bool:
            bars = link.bars("IBM")
            return bars is not None and set(known) <= set(bars[0].tolist())

        await until_async(same)
        await until_async(lambda: frames and not np.isnan(frames[-1].feed.features).any())
    finally:
        end()
        await link.close()
    ack = await host.link().request(GetBars(symbol="NOSUCH"))
    assert ack.outcome is Outcome.REFUSED
    assert ack.refusals[0].check == "symbol"
