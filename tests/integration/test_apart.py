"""Services that run apart: how they are found, watched, and how their exchange is played."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from console import apart
from console.apart import (
    Place,
    ReplayApart,
    ServiceApart,
    ServiceInfo,
    ports_of,
    require_port,
)
from console.config import ConfigError, Settings
from console.engine.state import ServiceView
from console.exits import ExitError
from tests.conftest import RunningExchange

Make = Callable[..., Settings]
Until = Callable[..., Awaitable[Any]]


@pytest.fixture
def place(make_settings: Make) -> Iterator[Place]:
    """market-data's, taken by this process."""
    taken = Place.take(make_settings().state_dir, "market-data")
    yield taken
    taken.leave()


def test_a_service_is_found_by_its_word_and_else_by_its_setting(
    make_settings: Make, place: Place
) -> None:
    settings = make_settings("ports.market=7001")
    assert ports_of(settings, "market-data") == {"market": 7001}
    place.tell({"market": 7002, "market_data_health": 7003})
    assert ports_of(settings, "market-data") == {"market": 7002, "market_data_health": 7003}
    assert require_port(settings, "market", "the console") == 7002
    place.leave()
    assert ports_of(settings, "market-data") == {"market": 7001}
    assert not ServiceInfo.path(settings.state_dir, "market-data").exists()


def test_a_port_that_nobody_knows_is_said_with_the_way_out(make_settings: Make) -> None:
    with pytest.raises(
        ConfigError, match=r"ports\.market = 0.*trading-console service market-data"
    ):
        require_port(make_settings(), "market", "the console")


def test_the_word_of_a_dead_process_or_a_torn_one_counts_for_nothing(
    make_settings: Make, place: Place
) -> None:
    state_dir = make_settings().state_dir
    path = ServiceInfo.path(state_dir, "market-data")
    place.tell({"market": 1})
    word = path.read_bytes()
    assert ServiceInfo.read(state_dir, "market-data") is not None
    path.write_bytes(word[:-5])
    assert ServiceInfo.read(state_dir, "market-data") is None
    # As a process leaves it that is killed: the word stays, the lock goes.
    place.leave()
    path.write_bytes(word)
    assert ServiceInfo.read(state_dir, "market-data") is None


def test_one_service_has_one_place(make_settings: Make, place: Place) -> None:
    state_dir = make_settings().state_dir
    with pytest.raises(ExitError, match="market-data runs on state directory") as caught:
        Place.take(state_dir, "market-data")
    assert caught.value.exit_code == 73
    Place.take(state_dir, "risk-manager").leave()
    place.leave()
    Place.take(state_dir, "market-data").leave()


async def test_one_that_comes_later_and_dies_is_seen(
    make_settings: Make, place: Place, until_async: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "HEALTH_EVERY_S", 0.02)
    monkeypatch.setattr(apart, "UNWELL_EVERY_S", 0.02)
    monkeypatch.setattr(apart, "STARTING_S", 0.0)
    settings = make_settings()
    views: list[ServiceView] = []
    found: list[dict[str, int]] = []
    service = ServiceApart("market-data", settings, views.append, found.append)
    await service.start()
    try:
        await until_async(lambda: service.view.status == "down")
        assert "told no port" in service.view.message

        async def health(_request: web.Request) -> web.Response:
            return web.json_response({"status": "healthy", "message": "ok", "metrics": {"a": 1}})

        app = web.Application()
        app.router.add_get("/health", health)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        place.tell({"market": 7002, "market_data_health": port})
        await until_async(lambda: service.view.status == "healthy")
        assert service.view.metrics == {"a": "1"}
        assert found == [{"market": 7002, "market_data_health": port}]
        place.leave()
        await runner.cleanup()
        await until_async(lambda: service.view.status == "down")
        assert "health doesn't answer" in service.view.message
        assert service.ports["market"] == 7002
    finally:
        await service.stop(1.0)
    assert [view.status for view in views][-2:] == ["healthy", "down"]


async def test_an_exchange_apart_is_played_over_http(
    exchange: RunningExchange, make_exchange: Callable[..., RunningExchange]
) -> None:
    replay = ReplayApart(exchange.port)
    paused = await asyncio.to_thread(replay.control, paused=True, speed=30.0)
    assert (paused.paused, paused.speed) == (True, 30.0)
    stepped = await asyncio.to_thread(replay.control, step_s=600)
    assert (stepped.market_time - paused.market_time).total_seconds() >= 600
    assert (await asyncio.to_thread(replay.control, paused=False)).paused is False

    silent = ReplayApart(make_exchange(control=False).port)
    with pytest.raises(RuntimeError, match="--control"):
        await asyncio.to_thread(silent.control)
