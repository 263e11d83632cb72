"""A strategy on a real bus, with the real exchange behind it: a bar becomes a signal, an order, a fill."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.bridge import BusTimeoutError
from console.config import Settings
from console.engine.commands import GetBars
from console.host import Host
from console.strategies import Bar, Fill, Portfolio, Quote, Signal, Strategy
from console.strategies.live import Addresses, LiveStrategy
from tests.conftest import LIMIT_S, ROOT

Until = Callable[..., Awaitable[Any]]

STRATEGY = '''
from console.strategies import Signal, Strategy, param

class Pulse(Strategy):
    """Long for one bar, flat for the next."""

    features = ("sma_{bars}",)
    bars: int = param(2, low=1, high=20)

    def on_bar(self, bar, features, portfolio):
        return Signal(bar.symbol, "flat" if portfolio.qty(bar.symbol) else "long", 0.5)
'''


class OneTrip(Strategy):
    """Buys at its first bar, sells at a later one, and writes down what it was told."""

    symbols = ("IBM",)
    features = ("sma_2",)

    def begin(self, symbols: Sequence[str]) -> None:
        self.shown: list[tuple[Bar, float, float]] = []
        self.fills: list[tuple[Fill, float]] = []
        self.quotes: list[Quote] = []
        self.is_done = False

    def on_bar(self, bar: Bar, features: Any, portfolio: Portfolio) -> Signal | None:
        held = portfolio.qty("IBM")
        self.shown.append((bar, features.sma_2, held))
        if held:
            self.is_done = True
            return Signal("IBM", "flat")
        return None if self.is_done else Signal("IBM", "long", 0.8)

    def on_quote(self, quote: Quote, portfolio: Portfolio) -> None:
        self.quotes.append(quote)

    def on_fill(self, fill: Fill, portfolio: Portfolio) -> None:
        self.fills.append((fill, portfolio.qty("IBM")))


@pytest.fixture
async def host(make_settings: Callable[..., Settings], until_async: Until) -> AsyncIterator[Host]:
    """Everything embedded, ten market minutes a second, the market open."""
    running = Host(make_settings("demo.speed=600", "demo.partial_fills=false"))
    await running.start()
    try:

        async def tradable() -> bool:
            session = running.engine.view().session
            healthy = all(
                running.services[name].view.status == "healthy"
                for name in ("execution-engine", "market-data")
            )
            return session is not None and session.is_open and healthy

        await until_async(tradable)
        yield running
    finally:
        await running.stop("the test is over")


def addresses(host: Host) -> Addresses:
    return Addresses(
        *(f"tcp://127.0.0.1:{host.ports[name]}" for name in ("market", "signal", "events"))
    )


def live(host: Host, strategy: Strategy, **given: Any) -> LiveStrategy:
    async def history(symbol: str) -> list[Bar]:
        ack = await host.link().request(GetBars(symbol=symbol, source="test"))
        assert ack.bars is not None
        kept = ack.bars
        columns = (kept.open, kept.high, kept.low, kept.close, kept.volume, kept.timestamps)
        return [Bar(symbol, *row) for row in zip(*columns, strict=True)]

    return LiveStrategy(
        strategy, strategy.symbols, addresses(host), **({"history": history} | given)
    )


def held(host: Host) -> Decimal:
    return sum((p.qty for p in host.engine.view().positions if p.symbol == "IBM"), Decimal(0))


async def test_a_bar_becomes_a_signal_an_order_and_a_fill(host: Host, until_async: Until) -> None:
    strategy = OneTrip()
    runner = live(host, strategy)
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run(stop))
    await until_async(lambda: running.done() or runner.ready.is_set())
    await until_async(lambda: running.done() or (len(strategy.fills) >= 2 and held(host) == 0))
    stop.set()
    counts = await asyncio.wait_for(running, LIMIT_S)

    orders = [o for o in host.engine.view().orders if o.symbol == "IBM"]
    assert {o.source for o in orders} == {"signal:one_trip"}
    assert sorted(o.side.value for o in orders) == ["buy", "sell"]
    (bought, _), (sold, _) = strategy.fills[0], strategy.fills[-1]
    assert (bought.symbol, bought.side, sold.side) == ("IBM", "buy", "sell")
    # $8,000 at the quote, in whole shares.
    assert 7_500 < bought.qty * bought.price <= 8_100
    assert bought.timestamp > strategy.shown[0][0].end
    assert any(qty == bought.qty for _, _, qty in strategy.shown)
    assert counts.signals >= 2
    assert counts.unsent == 0
    assert strategy.quotes
    # Each bar once, in order, the feature with a value.
    starts = [bar.timestamp for bar, _, _ in strategy.shown]
    assert starts == sorted(set(starts))
    assert all(average == average for _, average, _ in strategy.shown)


async def test_no_decision_on_a_feature_without_a_value(host: Host, until_async: Until) -> None:
    class Cold(OneTrip):
        features = ("sma_2", "sma_500")

    async def nothing(_symbol: str) -> list[Bar]:
        return []

    strategy = Cold()
    runner = live(host, strategy, history=nothing)
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run(stop))
    await until_async(lambda: running.done() or runner.counts.bars >= 3)
    stop.set()
    counts = await asyncio.wait_for(running, LIMIT_S)
    assert (counts.shown, counts.signals, strategy.shown) == (0, 0, [])


async def test_warmed_up_it_decides_at_the_next_bar(host: Host, until_async: Until) -> None:
    class Warm(OneTrip):
        features = ("sma_2", "sma_300")

    begun = int(host.engine.view().session.market_time.timestamp()) * 1_000_000_000  # type: ignore[union-attr]
    minute = 60_000_000_000
    start = (begun // minute - 400) * minute

    async def history(symbol: str) -> list[Bar]:
        return [Bar(symbol, 180, 181, 179, 180, 100, start + n * minute) for n in range(398)]

    strategy = Warm()
    runner = live(host, strategy, history=history, flat_on_exit=True)
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run(stop))
    await until_async(lambda: running.done() or (runner.counts.shown >= 1 and held(host) > 0))
    stop.set()
    counts = await asyncio.wait_for(running, LIMIT_S)
    assert counts.warmed_up == 398
    assert counts.bars == counts.shown
    # It was told to leave nothing behind.
    await until_async(lambda: held(host) == 0)


async def test_what_a_strategy_raises_ends_it_with_a_note(host: Host) -> None:
    class Broken(OneTrip):
        def on_bar(self, bar: Bar, features: Any, portfolio: Portfolio) -> None:
            raise ZeroDivisionError("of its own making")

    with pytest.raises(ZeroDivisionError) as raised:
        await asyncio.wait_for(live(host, Broken()).run(asyncio.Event()), LIMIT_S)
    assert "a bar of IBM at" in raised.value.__notes__[0]


async def test_without_an_engine_it_says_so(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.strategies.live.CONNECT_S", 0.2)

    async def history(_symbol: str) -> list[Bar]:
        return []

    nowhere = f"tcp://127.0.0.1:{free_port()}"
    runner = LiveStrategy(
        OneTrip(), ("IBM",), Addresses(nowhere, nowhere, nowhere), history=history
    )
    with pytest.raises(BusTimeoutError, match="no connection within"):
        await asyncio.wait_for(runner.run(asyncio.Event()), LIMIT_S)


async def test_the_command_trades_until_a_signal_ends_it(
    host: Host, until_async: Until, tmp_path: Path
) -> None:
    file = tmp_path / "pulse.py"
    file.write_text(STRATEGY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console", "strategy", "run", f"{file}:Pulse", "--symbols", "IBM",
        "--param", "bars=1", "--state-dir", str(host.settings.state_dir),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:

        def traded() -> bool:
            orders = host.engine.view().orders
            return process.returncode is not None or any(o.filled_qty for o in orders)

        await until_async(traded)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    assert out.decode().startswith("pulse: "), out
    assert {o.source for o in host.engine.view().orders} == {"signal:pulse"}
