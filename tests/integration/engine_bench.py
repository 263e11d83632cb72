"""An engine on an exchange in this process, for tests; run as a program it is the one that dies.

    python -m tests.integration.engine_bench PORT STATE_DIR 'buy 100 IBM'

starts an engine on the exchange at PORT, sends the line and stops; with a crash point armed it
doesn't come that far.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.engine.clocks import ReplayStatus, parse_time
from console.engine.commands import Ack, AnyCommand
from console.engine.engine import Engine
from console.engine.events import OrderFilled
from console.engine.grammar import parse_line
from console.engine.state import OrderView

if TYPE_CHECKING:
    from console.config import Settings
    from signal_bridge import FeedReceiver

LIMIT_S = 30.0


class Replay:
    """The replay control of an exchange in this process."""

    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
        self._call = call

    def control(
        self,
        *,
        paused: bool | None = None,
        speed: float | None = None,
        step_s: float | None = None,
    ) -> ReplayStatus:
        wanted = {"pause": paused, "speed": speed, "step_s": step_s}
        answer = self._call(**{k: v for k, v in wanted.items() if v is not None} or {"clock": True})
        return ReplayStatus(
            market_time=parse_time(answer["market_time"]),
            speed=float(answer["speed"]),
            paused=bool(answer["paused"]),
            is_open=bool(answer["is_open"]),
        )


class Wire:
    """A TCP proxy in front of the exchange that can cut what goes through it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.open = True
        """While it isn't, new connections are closed at once."""
        self.port = 0

    async def start(self) -> Wire:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, back), (there, writer)):
            self._writers.add(sink)
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65_536):
                sink.write(chunk)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
            self._writers.discard(sink)

    def cut(self) -> None:
        """Reset every connection and let no new one through until `open` is set again."""
        self.open = False
        for writer in list(self._writers):
            writer.transport.abort()

    async def stop(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)


class Bench:
    """One engine, everything that it said, and short ways to ask it."""

    def __init__(
        self,
        settings: Settings,
        port: int,
        *,
        replay: Replay | None = None,
        feed: FeedReceiver | None = None,
        updates_port: int | None = None,
    ) -> None:
        from console.broker.session import BrokerSession
        from console.broker.streams import TradeUpdates

        endpoint = settings.endpoint(port)
        self.events: list[Any] = []
        self.engine = Engine(
            settings,
            session=BrokerSession(endpoint),
            updates=functools.partial(
                TradeUpdates, settings.endpoint(updates_port or port), first_wait_s=0.05
            ),
            feed=feed,
            state_dir=settings.state_dir,
            replay=replay,
        )
        self.engine.subscribe(self.events.append)

    async def start(self) -> Bench:
        await self.engine.start()
        return self

    async def stop(self) -> None:
        await self.engine.stop("the test is over")

    async def start_and_stop(self) -> None:
        await self.start()
        await self.stop()

    async def ask(self, line: str | AnyCommand, **fields: Any) -> Ack:
        """Hand a line of the grammar, or a command, to the engine."""
        command = parse_line(line, **fields) if isinstance(line, str) else line
        async with asyncio.timeout(LIMIT_S):
            return await self.engine.handle(command)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for a true answer, looked at after each event."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LIMIT_S
        changed = asyncio.Event()
        end = self.engine.subscribe(lambda _event: changed.set())
        try:
            while not (answer := condition()):
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
                changed.clear()
            return answer
        finally:
            end()

    def order(self, client_order_id: str) -> OrderView:
        return next(o for o in self.engine.view().orders if o.client_order_id == client_order_id)

    async def until_state(self, client_order_id: str, *states: str) -> OrderView:
        await self.until(lambda: self.order(client_order_id).state.value in states)
        return self.order(client_order_id)

    async def filled(self, line: str | AnyCommand) -> Ack:
        """Send an order and wait until it is filled and each of its executions was told."""
        ack = await self.ask(line)
        assert ack.order is not None, ack
        order = await self.until_state(ack.order.client_order_id, "FILLED")
        await self.until(lambda: self.told_qty(order.client_order_id) == order.qty)
        return ack

    def told_qty(self, client_order_id: str) -> Decimal:
        """The sum of the executions told of an order."""
        fills = [e for e in self.said(OrderFilled) if e.client_order_id == client_order_id]
        return sum((fill.qty for fill in fills), Decimal(0))

    def position(self, symbol: str) -> Any:
        return next((p for p in self.engine.view().positions if p.symbol == symbol), None)

    def said(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def settings_for(state_dir: Path) -> Settings:
    """The demo with free ports."""
    from console.config import Overrides, load_settings

    names = ("market", "signal", "commands", "events", "risk", "exchange", "health")
    return load_settings(
        Overrides(
            values=tuple(f"ports.{name}=0" for name in names),
            state_dir=state_dir,
            environment={"XDG_CONFIG_HOME": str(state_dir / "no-config")},
        )
    )


async def _main(port: int, state_dir: Path, line: str) -> None:
    bench = await Bench(settings_for(state_dir), port).start()
    try:
        ack = await bench.ask(line)
        print(json.dumps({"outcome": ack.outcome.value, "message": ack.message}), flush=True)
        if ack.order is not None:
            await bench.until_state(
                ack.order.client_order_id, "FILLED", "REJECTED", "REFUSED", "UNKNOWN"
            )
    finally:
        await bench.stop()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
