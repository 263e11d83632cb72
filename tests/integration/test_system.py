"""The whole way with everything embedded: signal → command → risk → order → fill → position, and
back to flat; the account's risk on its own port, and what it asks of the engine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import zmq
import zmq.asyncio

from console.bridge import Signal, ZMQPublisher
from console.config import Settings
from console.engine.commands import Outcome, SetTradingState
from console.engine.state import TradingState
from console.host import Host
from tests.conftest import LIMIT_S

Until = Callable[..., Awaitable[Any]]
Make = Callable[..., Settings]
Start = Callable[..., Awaitable[Host]]
DEMO_KEYS = {"APCA-API-KEY-ID": "PKDEMO", "APCA-API-SECRET-KEY": "demo"}


@pytest.fixture
async def start(make_settings: Make, until_async: Until) -> AsyncIterator[Start]:
    """Starts a host with everything in it and waits until IBM is quoted in an open market."""
    running: list[Host] = []

    async def begin(*values: str) -> Host:
        host = Host(make_settings("demo.speed=60", "demo.partial_fills=false", *values))
        running.append(host)
        await host.start()

        async def tradable() -> bool:
            session = host.engine.view().session
            execution = host.services["execution-engine"].view.status
            return session is not None and session.is_open and execution == "healthy"

        await until_async(tradable)
        async with asyncio.timeout(LIMIT_S):
            await anext(said(host.ports["market"], b"market ", "QuoteUpdate", symbol="IBM"))
        return host

    yield begin
    for host in running:
        await host.stop("the test is over")


async def said(port: int, topic: bytes, kind: str, **fields: str) -> AsyncIterator[dict[str, Any]]:
    """What a plain pyzmq SUB hears."""
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    try:
        socket.connect(f"tcp://127.0.0.1:{port}")
        socket.subscribe(topic)
        while True:
            message = json.loads((await socket.recv())[len(topic) :])
            if message["type"] == kind and fields.items() <= message.items():
                yield message
    finally:
        context.destroy(linger=0)


async def risk_until(host: Host, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        async for update in said(host.ports["risk"], b"risk ", "RiskUpdate"):
            if condition(update):
                return update
    raise AssertionError("the subscriber ended")


async def signal(
    host: Host, direction: str, strength: float = 0.8, *, symbol: str = "IBM", **given: str
) -> None:
    async with ZMQPublisher(f"tcp://127.0.0.1:{host.ports['signal']}") as publisher:
        await publisher.publish_signal(Signal(symbol, direction, strength, time.time_ns(), **given))


async def at_the_exchange(host: Host, path: str) -> Any:
    async with (
        aiohttp.ClientSession(headers=DEMO_KEYS) as session,
        session.get(f"http://127.0.0.1:{host.ports['exchange']}/v2/{path}") as response,
    ):
        return await response.json()


def held(host: Host) -> Decimal:
    return sum((p.qty for p in host.engine.view().positions if p.symbol == "IBM"), Decimal(0))


async def execution_figures(host: Host) -> dict[str, str]:
    url = f"http://127.0.0.1:{host.ports['execution_engine_health']}/health"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        metrics: dict[str, str] = (await response.json())["metrics"]
        return metrics


async def test_a_signal_becomes_a_position_and_flat_closes_it(
    start: Start, until_async: Until
) -> None:
    host = await start()
    await signal(host, "long", strategy="momentum", id="1")
    await until_async(lambda: held(host) > 0)
    order = next(o for o in host.engine.view().orders if o.symbol == "IBM")
    assert order.source == "signal:momentum"
    # $8,000 of IBM at its quote, in whole shares.
    worth = order.filled_qty * (order.filled_avg_price or Decimal(0))
    assert Decimal(7_500) < worth <= Decimal(8_100)

    orders = await at_the_exchange(host, "orders?status=all")
    assert [(o["symbol"], o["side"], o["status"]) for o in orders] == [("IBM", "buy", "filled")]
    assert orders[0]["client_order_id"] == order.client_order_id
    positions = await at_the_exchange(host, "positions")
    assert Decimal(positions[0]["qty"]) == held(host)
    exposed = await risk_until(host, lambda update: Decimal(update["gross_exposure"]) > 0)
    assert exposed["trading_state"] == "ACTIVE"
    assert Decimal(exposed["var_95"]) > 0

    await signal(host, "flat", 1.0, strategy="momentum", id="2")
    await until_async(lambda: held(host) == 0)
    assert await at_the_exchange(host, "positions") == []
    await risk_until(host, lambda update: Decimal(update["gross_exposure"]) == 0)

    async def counted() -> bool:
        figures = await execution_figures(host)
        return (figures["signals"], figures["accepted"], figures["in_doubt"]) == ("2", "2", "0")

    await until_async(counted)


async def test_a_signal_that_comes_again_is_acted_on_once_also_over_a_restart(
    start: Start, until_async: Until
) -> None:
    host = await start()
    await signal(host, "long", strategy="momentum", id="1")
    await until_async(lambda: held(host) > 0)
    await signal(host, "flat", 1.0, strategy="momentum", id="2")
    await until_async(lambda: held(host) == 0)

    execution = host.services["execution-engine"]
    assert execution.service is not None
    await asyncio.to_thread(execution.service.stop, timeout_s=5.0)
    await until_async(lambda: execution.restarts == 1 and execution.view.status == "healthy")
    await signal(host, "long", strategy="momentum", id="1")

    async def repeated() -> bool:
        return (await execution_figures(host))["repeated"] == "1"

    await until_async(repeated)
    assert (await execution_figures(host))["commands"] == "0"
    assert len(await at_the_exchange(host, "orders?status=all")) == 2


async def test_a_drawdown_halts_the_engine_until_a_person_resumes(
    start: Start, until_async: Until
) -> None:
    # A fill 5 % beside the market loses 2 % of the account at once.
    host = await start(
        "demo.slippage_bp=500", "risk.max_drawdown_pct=1", "execution.notional_per_signal=40000"
    )
    await signal(host, "long", 1.0)
    view = host.engine.view
    await until_async(lambda: view().trading_state is TradingState.HALTED)
    assert "below its peak of $100,0" in view().trading_reason
    told = await risk_until(host, lambda update: update["trading_state"] == "HALTED")
    assert told["reason"] == view().trading_reason
    assert Decimal(told["drawdown_pct"]) >= 1

    await signal(host, "long", symbol="BAC")

    async def refused() -> bool:
        figures = await execution_figures(host)
        return figures["refused"] == "1" and "trading_state" in figures["last_signal"]

    await until_async(refused)
    ack = await host.link().request(
        SetTradingState(state=TradingState.ACTIVE, reason="seen", source="keyboard")
    )
    assert ack.outcome is Outcome.ACCEPTED, ack
    accepted = await risk_until(host, lambda update: update["trading_state"] == "ACTIVE")
    assert Decimal(accepted["peak_equity"]) < Decimal(100_000)
    assert view().trading_state is TradingState.ACTIVE


async def test_the_peak_outlives_the_risk_manager(start: Start, until_async: Until) -> None:
    host = await start("demo.slippage_bp=100")
    before = await risk_until(host, lambda update: Decimal(update["peak_equity"]) >= 100_000)
    await signal(host, "long", 1.0)
    await until_async(lambda: held(host) > 0)
    await risk_until(host, lambda update: Decimal(update["drawdown_pct"]) > 0)

    manager = host.services["risk-manager"]
    assert manager.service is not None
    await asyncio.to_thread(manager.service.stop, timeout_s=5.0)
    await until_async(lambda: manager.restarts == 1)
    after = await risk_until(host, lambda update: True)
    assert Decimal(after["peak_equity"]) >= Decimal(before["peak_equity"])
    assert Decimal(after["equity"]) < Decimal(after["peak_equity"])


async def test_a_normal_start_is_no_incident_and_the_services_are_in_the_log(
    start: Start, until_async: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    host = await start("demo.secret_key=hush-hush-hush", "log.level=debug")
    for name in ("market-data", "execution-engine", "risk-manager"):
        await until_async(lambda name=name: host.services[name].view.status == "healthy", name)
        assert "last_incident" not in host.services[name].view.metrics
    record = json.loads((host.settings.state_dir / "health" / "console.json").read_text())
    assert "last_incident" not in record, record

    def live() -> list[Any]:
        lines = [r for r in caplog.records if r.name == "market-data"]
        return [r for r in lines if "market data live" in r.getMessage()]

    await until_async(live)
    fields = live()[0].fields
    assert fields == {"symbols": "4"}
    # What websockets says of its frames below a warning is kept out by console.logs.
    ours = [r for r in caplog.records if not r.name.startswith("websockets")]
    told = [line for r in ours if "hush" in (line := f"{r.getMessage()} {vars(r)}")]
    assert told == []
