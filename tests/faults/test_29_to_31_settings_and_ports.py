"""Faults 29–31: half-written settings, a reload that loosens a limit, ports that are taken."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.broker.session import BrokerSession
from console.config import Overrides, load_settings
from console.engine.commands import Outcome
from console.engine.runtime import RuntimeInfo
from console.exits import CONFIG, ExitError
from console.host import Host
from tests.conftest import FREE_PORTS
from tests.faults.harness import Bench, Other, assert_books_agree


class OnHost(Bench):
    """The engine of a host, as a bench."""

    def __init__(self, host: Host) -> None:
        self.events = []
        self.host = host
        self.engine = host.engine
        self.engine.subscribe(self.events.append)

    async def may_buy(self, qty: int) -> bool:
        """Whether the gate lets an order of so many shares through; nothing is sent."""
        ack = await self.ask(f"preview buy {qty} IBM")
        refused = [r.check for r in ack.refusals]
        assert refused in ([], ["quantity"]), ack
        return ack.outcome is Outcome.ACCEPTED

    def told(self, words: str) -> bool:
        return any(words in text for text in self.notices("settings"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text("[risk]\nmax_order_qty = 100\n")
    return path


@pytest.fixture
async def on_host(config: Path, tmp_path: Path) -> AsyncIterator[OnHost]:
    overrides = Overrides(
        config=config,
        values=(*FREE_PORTS, "demo.speed=600"),
        state_dir=tmp_path / "state",
        environment={"XDG_CONFIG_HOME": str(tmp_path / "none")},
    )
    host = Host(load_settings(overrides), overrides=overrides)
    await host.start()
    on_host = OnHost(host)

    def is_open() -> bool:
        session = host.engine.view().session
        return session is not None and session.is_open

    await on_host.until(is_open, "the open")
    yield on_host
    await host.stop("the test is over")


def write(config: Path, text: str) -> None:
    config.write_text(text)


async def test_29_and_30_a_running_console_keeps_its_limits_until_they_are_whole_and_tighter(
    on_host: OnHost, config: Path
) -> None:
    other = Other(BrokerSession(on_host.host.settings.endpoint(on_host.host.ports["exchange"])))
    assert await on_host.may_buy(100)
    assert not await on_host.may_buy(101)

    # Half of a file: an editor that was killed while it wrote.
    for number, half in enumerate(("[risk]\nmax_order_qty = ", "[risk\n", "[risk]\nmax_ord")):
        write(config, half)
        await on_host.until(lambda seen=number: len(on_host.notices("settings")) > seen)
        assert "kept as they were" in on_host.notices("settings")[-1]
        assert (await on_host.may_buy(100), await on_host.may_buy(101)) == (True, False)

    # Whole, and looser: until a restart the old limit holds.
    for text, limit in (
        ("max_order_qty = 5000\n", "risk.max_order_qty from 100 to 5000"),
        ("max_order_qty = 100\nmax_drawdown_pct = 90\n", "risk.max_drawdown_pct"),
        ("max_order_qty = 90\nblocked_symbols = []\nallow_short = true\nmax_open_orders = 10000\n",
         "risk.max_open_orders"),
    ):  # fmt: skip
        write(config, f"[risk]\n{text}")
        await on_host.until(lambda words=limit: on_host.told(words), limit)
        assert (await on_host.may_buy(100), await on_host.may_buy(101)) == (True, False)

    # Whole, and tighter: at once.
    write(config, "[risk]\nmax_order_qty = 50\n")
    await on_host.until(lambda: on_host.told("in force: risk.max_order_qty"))
    assert (await on_host.may_buy(50), await on_host.may_buy(51)) == (True, False)
    await on_host.ask("buy 5 IBM")
    await other.ask(lambda s: s.clock())
    on_host.host.services["paper-exchange"].service.call('{"pause":true}')
    try:
        await assert_books_agree(on_host, other, orders=1)
    finally:
        other.session.close()


@pytest.mark.parametrize(
    "name",
    ["signal", "events", "market_data_health", "execution_engine_health", "risk_manager_health"],
)
async def test_31_a_taken_port_is_named_with_its_setting_and_nothing_stays_behind(
    make_settings, tmp_path: Path, name: str
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        values = [value for value in FREE_PORTS if not value.startswith(f"ports.{name}=")]
        settings = make_settings(values=(*values, f"ports.{name}={port}"))
        host = Host(settings)
        with pytest.raises(ExitError, match=str(port)) as refused:
            await host.start()
    assert refused.value.exit_code == CONFIG == 78
    assert f"ports.{name}" in str(refused.value)
    assert RuntimeInfo.read(settings.state_dir) is None
    assert all(service.service is None for service in host.services.values())
