"""A link to an engine elsewhere: when that dies, its listeners learn of it, and when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
import zmq
import zmq.asyncio

from console.engine.commands import CancelAll
from console.engine.events import AnyEvent, ConnectionChanged, MarketFrame, Snapshot
from console.engine.link import NotSent, RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import ConnectionState, EngineView, TradingState

LIMIT_S = 30.0


class Greeter:
    """What an engine is to a listener: a port for events that greets with a snapshot."""

    def __init__(self, context: zmq.asyncio.Context, port: int = 0) -> None:
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(endpoint.rpartition(":")[2])
        self._task = asyncio.create_task(self._greet())

    async def _greet(self) -> None:
        view = EngineView(seq=7, mode="DEMO", ready=True, trading_state=TradingState.ACTIVE)
        while True:
            await self._socket.recv()
            await self._socket.send(b"engine " + msgspec.json.encode(Snapshot(seq=7, state=view)))

    async def die(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._socket.close()


def _runtime(events: int, commands: int) -> RuntimeInfo:
    ports = {"events": events, "commands": commands}
    return RuntimeInfo(pid=1, mode="DEMO", started_at=datetime.now(UTC), ports=ports)


async def test_a_dead_engine_is_told_with_its_age_and_found_again() -> None:
    context = zmq.asyncio.Context()
    engine = Greeter(context)
    told: list[AnyEvent | MarketFrame] = []
    came = asyncio.Event()

    def listen(event: AnyEvent | MarketFrame) -> None:
        told.append(event)
        came.set()

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                came.clear()
                await came.wait()

    def snapshots() -> int:
        return sum(isinstance(event, Snapshot) for event in told)

    link = RemoteLink(_runtime(engine.port, 1), with_feed=False)
    unlisten = link.listen(listen)
    try:
        await until(lambda: snapshots() == 1)
        port = engine.port
        await engine.die()
        await until(lambda: any(isinstance(event, ConnectionChanged) for event in told))
        gone = next(event for event in told if isinstance(event, ConnectionChanged)).connection
        assert (gone.name, gone.state) == ("engine", ConnectionState.LOST)
        assert gone.retry_at is not None
        assert gone.retry_at > gone.since
        engine = Greeter(context, port)
        await until(lambda: snapshots() == 2)
    finally:
        unlisten()
        await link.close()
        await engine.die()
        context.destroy(linger=0)


async def test_a_command_waits_for_no_engine_to_come() -> None:
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    router.unbind(f"tcp://127.0.0.1:{port}")
    link = RemoteLink(_runtime(1, port), with_feed=False)
    try:
        with pytest.raises(NotSent, match="nothing was sent"):
            await link.request(CancelAll(), timeout_s=0.3)
        router.bind(f"tcp://127.0.0.1:{port}")
        # The next one reaches it, and it alone: what was asked before is not carried out late.
        second = CancelAll()
        asking = asyncio.create_task(link.request(second, timeout_s=LIMIT_S))
        async with asyncio.timeout(LIMIT_S):
            _, payload = await router.recv_multipart()
        assert msgspec.json.decode(payload)["id"] == second.id
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    finally:
        await link.close()
        context.destroy(linger=0)
