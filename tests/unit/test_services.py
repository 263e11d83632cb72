"""The settings that each Rust service gets, and the watch over it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from console import services
from console.config import Settings
from console.engine.state import ServiceView
from console.exits import ExitError
from console.services import (
    EmbeddedReplay,
    SupervisedService,
    bus_url,
    exchange_settings,
    execution_engine_settings,
    market_data_settings,
    risk_manager_settings,
    sample_dir,
)

Make = Callable[..., Settings]
Until = Callable[..., Awaitable[Any]]


class FakeService:
    """Stands for a Rust service; dies when told to."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.name = "market-data"
        self.ports = ports
        self.alive = True
        self.failure: str | None = None
        self.stopped = False
        self.calls: list[dict[str, Any]] = []

    def stop(self, *, timeout_s: float = 5.0) -> None:
        self.alive, self.stopped = False, True

    def call(self, command: str, *, timeout_s: float = 5.0) -> str:
        self.calls.append(json.loads(command))
        return json.dumps(
            {
                "market_time": "2013-10-07T13:30:00.123456789Z",
                "speed": 60,
                "paused": False,
                "is_open": True,
            }
        )


class Starter:
    """Starts fakes and keeps the settings of each start; fails when told to."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        self.started: list[FakeService] = []
        self.values: list[dict[str, Any]] = []
        self.failure: ExitError | None = None

    def __call__(self, _name: str, values: dict[str, Any]) -> Any:
        self.values.append(dict(values))
        if self.failure is not None:
            raise self.failure
        service = FakeService(self.ports)
        self.started.append(service)
        return service


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(services, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(services, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(services, "HEALTH_EVERY_S", 0.02)
    monkeypatch.setattr(services, "UNWELL_EVERY_S", 0.02)
    monkeypatch.setattr(services, "STARTING_S", 0.0)


def test_the_demo_gets_the_sample_and_its_own_folder(make_settings: Make, tmp_path: Path) -> None:
    values = exchange_settings(make_settings("demo.speed=100"), tmp_path)
    assert values["data_dir"] == str(sample_dir())
    assert values["state_dir"] == str(tmp_path / "exchange")
    assert (values["port"], values["speed"]) == (0, 100.0)
    assert exchange_settings(make_settings(), None)["state_dir"] is None


def test_services_are_pointed_at_the_ports_that_were_really_taken(make_settings: Make) -> None:
    settings = make_settings()
    execution = execution_engine_settings(settings, commands=1, market=2)
    assert execution["commands_url"] == "tcp://127.0.0.1:1"
    assert execution["market_url"] == "tcp://127.0.0.1:2"
    assert execution["notional_per_signal"] == "10000"
    risk = risk_manager_settings(settings, commands=1, events=3)
    assert risk["events_url"] == "tcp://127.0.0.1:3"
    market = market_data_settings(settings, settings.endpoint(4))
    assert market["stream_url"] == "ws://127.0.0.1:4/v2/iex"
    assert (market["key_id"], market["secret_key"]) == ("PKDEMO", "demo")
    for values in (execution, risk, market):
        json.dumps(values, allow_nan=False)
        assert values["keys_dir"] is None
        assert values["state_dir"] == str(settings.state_dir)


def test_a_secured_bus_tells_every_service_where_its_keys_are(make_settings: Make) -> None:
    settings = make_settings("bus.security.enabled=true", "bus.bind=192.0.2.7")
    for values in (
        execution_engine_settings(settings, commands=1, market=2),
        risk_manager_settings(settings, commands=1, events=3),
        market_data_settings(settings, settings.endpoint(4)),
    ):
        assert values["keys_dir"] == str(settings.state_dir / "keys")
        assert values["bind"] == "192.0.2.7"
    elsewhere = make_settings("bus.security.enabled=true", "bus.security.keys_dir=/etc/console")
    assert risk_manager_settings(elsewhere, commands=1, events=3)["keys_dir"] == "/etc/console"


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:5"),
        ("0.0.0.0", "tcp://127.0.0.1:5"),
        ("192.0.2.7", "tcp://192.0.2.7:5"),
        ("::1", "tcp://[::1]:5"),
    ],
)
def test_a_socket_is_reached_where_it_was_bound(make_settings: Make, bind: str, url: str) -> None:
    settings = make_settings("bus.security.enabled=true", f"bus.bind={bind}")
    assert bus_url(settings, 5) == url


async def test_a_dead_service_is_started_again_on_its_ports(until_async: Until) -> None:
    starter = Starter({"market": 41, "market_data_health": 0})
    seen: list[ServiceView] = []
    service = SupervisedService(
        "market-data", {"market_port": 0, "health_port": 0}, seen.append, start=starter
    )
    await service.start()
    assert service.ports == {"market": 41, "market_data_health": 0}
    starter.started[0].failure = "it broke"
    starter.started[0].alive = False
    await until_async(lambda: service.restarts == 1)
    assert starter.values[1]["market_port"] == 41
    assert any(view.status == "down" and "it broke" in view.message for view in seen)
    assert service.service is starter.started[1]
    await service.stop(1.0)
    assert starter.started[1].stopped
    assert seen[-1].status == "stopped"


async def test_a_service_that_will_not_start_is_tried_again(until_async: Until) -> None:
    starter = Starter({})
    service = SupervisedService("market-data", {}, lambda _view: None, start=starter)
    await service.start()
    starter.failure = ExitError("ports.market: taken", 78)
    starter.started[0].alive = False
    await until_async(lambda: len(starter.values) >= 4)
    assert service.service is None
    assert service.view.status == "down"
    starter.failure = None
    await until_async(lambda: service.service is not None)
    await service.stop(1.0)


async def test_a_first_start_that_fails_is_told_at_once() -> None:
    starter = Starter({})
    starter.failure = ExitError("ports.market: taken", 78)
    service = SupervisedService("market-data", {}, lambda _view: None, start=starter)
    with pytest.raises(ExitError, match=r"ports\.market"):
        await service.start()
    await service.stop(1.0)


async def test_its_health_is_what_it_says_itself(until_async: Until) -> None:
    answer = {"status": "degraded", "message": "no broker", "metrics": {"bars": "3"}}

    async def health(_request: web.Request) -> web.Response:
        return web.json_response(answer, status=503)

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = int(runner.addresses[0][1])

    service = SupervisedService(
        "market-data", {}, lambda _view: None, start=Starter({"market_data_health": port})
    )
    await service.start()
    await until_async(lambda: service.view.status == "degraded")
    assert service.view.message == "no broker"
    assert service.view.metrics == {"bars": "3"}
    assert service.view.port == port
    await runner.cleanup()
    await until_async(lambda: "doesn't answer" in service.view.message)
    await service.stop(1.0)


async def test_until_it_has_its_connections_it_is_starting(
    monkeypatch: pytest.MonkeyPatch, until_async: Until
) -> None:
    monkeypatch.setattr(services, "STARTING_S", 3600.0)
    answer = {"status": "degraded", "message": "not connected"}

    async def health(_request: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    starter = Starter({"market_data_health": int(runner.addresses[0][1])})
    seen: list[ServiceView] = []
    service = SupervisedService("market-data", {}, seen.append, start=starter)
    await service.start()
    await until_async(lambda: service.view.message == "not connected")
    answer["status"] = "healthy"
    await until_async(lambda: service.view.status == "healthy")
    assert {view.status for view in seen} == {"starting", "healthy"}
    await service.stop(1.0)
    await runner.cleanup()


async def test_the_replay_is_asked_in_the_exchanges_words() -> None:
    starter = Starter({"exchange": 1})
    exchange = SupervisedService("paper-exchange", {}, lambda _view: None, start=starter)
    replay = EmbeddedReplay(exchange)
    with pytest.raises(RuntimeError, match="down"):
        replay.control()
    await exchange.start()
    status = replay.control(speed=60.0, paused=False)
    replay.control(step_s=60)
    replay.control()
    assert starter.started[0].calls == [
        {"speed": 60.0},
        {"pause": False},
        {"step_s": 60},
        {"clock": True},
    ]
    assert status.market_time.isoformat() == "2013-10-07T13:30:00.123456+00:00"
    assert status.speed == 60
    await exchange.stop(1.0)
