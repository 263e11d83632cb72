"""The engine on the bus: commands in and answers out (5557), events out (5558), risk in (5559).

A command is one frame from a DEALER and is answered by one frame; events are `engine {json}` on an
XPUB that answers each new subscription with a snapshot. From the risk-manager the engine takes only
what makes trading tighter.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import zmq
import zmq.asyncio
from loguru import logger

from console.engine.commands import UNREADABLE, Ack, AnyCommand, Outcome, decode_command, encode
from console.engine.events import Event
from console.engine.riskwatch import RiskWatch, RiskWord
from console.engine.state import Refusal
from console.exits import CONFIG, ExitError

if TYPE_CHECKING:
    from zmq.auth.asyncio import AsyncioAuthenticator

    from console.bridge.security import BusKeys
    from console.config import Settings

TOPIC = b"engine"
UNDER_WAY = 512
"""Commands in hand at once; the next one is told to come again."""
MAX_MESSAGE = 1 << 20


class PortTaken(ExitError):
    """A port can't be bound. Names the port and its setting; exit code 78."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CONFIG)


class Bus:
    """See the module. Of the engine's loop alone."""

    def __init__(
        self,
        *,
        handle: Callable[[AnyCommand], Awaitable[Ack]],
        snapshot: Callable[[], Event],
        on_risk: Callable[[RiskWord], Awaitable[None]],
        risk_watch: RiskWatch,
        bind: str,
        high_water_mark: int,
        keys: BusKeys | None = None,
    ) -> None:
        self._handle = handle
        self._snapshot = snapshot
        self._on_risk = on_risk
        self._risk_watch = risk_watch
        self._bind = bind
        self._high_water_mark = high_water_mark
        self._keys = keys
        self._authenticator: AsyncioAuthenticator | None = None
        self._context: zmq.asyncio.Context | None = None
        self._events: zmq.asyncio.Socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._risk_port: int | None = None
        self.ports: dict[str, int] = {}
        self.malformed = 0
        self.turned_away = 0

    async def start(self, *, commands: int, events: int) -> dict[str, int]:
        """Bind both ports (0: a free one); which they are. Raises `PortTaken`."""
        self._context = zmq.asyncio.Context()
        if self._keys is not None:
            self._authenticator = self._keys.authenticator(self._context)
        router = self._socket(zmq.ROUTER)
        publisher = self._socket(zmq.XPUB)
        if self._keys is not None:
            self._keys.secure_server(router)
            self._keys.secure_server(publisher)
        # By hand, so that no event overtakes the snapshot that a subscriber begins with.
        publisher.setsockopt(zmq.XPUB_MANUAL, 1)
        self.ports = {
            "commands": self._bound(router, "commands", commands),
            "events": self._bound(publisher, "events", events),
        }
        self._events = publisher
        self._spawn(self._commands(router), "bus commands")
        self._spawn(self._subscriptions(publisher), "bus subscriptions")
        return dict(self.ports)

    def watch_risk(self, port: int) -> None:
        """Listen to the risk-manager there. Once."""
        if self._risk_port == port or self._context is None:
            return
        self._risk_port = port
        socket = self._socket(zmq.SUB)
        if self._keys is not None:
            self._keys.secure_client(socket)
        socket.connect(f"tcp://{self._bind}:{port}")
        socket.subscribe(b"risk ")
        self._risk_watch.expect()
        self._spawn(self._risk(socket), "bus risk")

    def publish(self, event: Event) -> None:
        """Send one event to whoever listens; a reader too slow for it loses it and sees the gap."""
        if self._events is not None:
            _forget(self._events.send(TOPIC + b" " + msgspec.json.encode(event)))

    async def stop(self) -> None:
        """Close everything. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._events = None
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    # -- sockets -----------------------------------------------------------------------------

    def _socket(self, kind: int) -> zmq.asyncio.Socket:
        assert self._context is not None
        socket = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MAX_MESSAGE),
            (zmq.SNDHWM, self._high_water_mark),
            (zmq.RCVHWM, self._high_water_mark),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.HEARTBEAT_IVL, 5_000),
            (zmq.HEARTBEAT_TIMEOUT, 15_000),
        ):
            socket.setsockopt(option, value)
        return socket

    def _bound(self, socket: zmq.asyncio.Socket, setting: str, port: int) -> int:
        try:
            if port == 0:
                return int(socket.bind_to_random_port(f"tcp://{self._bind}"))
            socket.bind(f"tcp://{self._bind}:{port}")
        except zmq.ZMQError as error:
            raise PortTaken(
                f"port {port} of ports.{setting} on {self._bind}: {error.strerror or error}; "
                f"free it, or set ports.{setting} to another one (0 takes a free one)"
            ) from error
        return port

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).error("{} ended", task.get_name())

    # -- commands ----------------------------------------------------------------------------

    async def _commands(self, router: zmq.asyncio.Socket) -> None:
        while True:
            frames = await router.recv_multipart()
            if len(frames) != 2:
                self._count_malformed(f"a message of {len(frames) - 1} frames; one is wanted")
                continue
            identity, payload = frames
            try:
                command = decode_command(payload)
            except UNREADABLE as error:
                self._count_malformed(str(error))
                await self._answer(router, identity, _not_understood(payload, str(error)))
                continue
            if self._under_way >= UNDER_WAY:
                self.turned_away += 1
                await self._answer(router, identity, _busy(command.id))
                continue
            self._under_way += 1
            self._spawn(self._carry_out(router, identity, command), f"command {command.id}")

    async def _carry_out(
        self, router: zmq.asyncio.Socket, identity: bytes, command: AnyCommand
    ) -> None:
        try:
            ack = await self._handle(command)
        finally:
            self._under_way -= 1
        await self._answer(router, identity, ack)

    async def _answer(self, router: zmq.asyncio.Socket, identity: bytes, ack: Ack) -> None:
        with contextlib.suppress(zmq.ZMQError):
            await router.send_multipart([identity, encode(ack)])

    def _count_malformed(self, why: str) -> None:
        self.malformed += 1
        if self.malformed == 1:
            logger.warning(
                "a command on the bus is malformed ({}); the next are counted", why[:200]
            )

    # -- events ------------------------------------------------------------------------------

    async def _subscriptions(self, publisher: zmq.asyncio.Socket) -> None:
        while True:
            frame = await publisher.recv()
            if frame[:1] == b"\x00":
                publisher.setsockopt(zmq.UNSUBSCRIBE, frame[1:])
            elif frame[:1] == b"\x01":
                publisher.setsockopt(zmq.SUBSCRIBE, frame[1:])
                if (TOPIC + b" ").startswith(frame[1:]):
                    self.publish(self._snapshot())

    # -- risk --------------------------------------------------------------------------------

    async def _risk(self, socket: zmq.asyncio.Socket) -> None:
        watch = self._risk_watch
        while True:
            if not await socket.poll(int(watch.stale_after_s * 1000)):
                watch.silent()
                continue
            frame = await socket.recv()
            payload = frame.partition(b" ")[2]
            try:
                kind = msgspec.json.decode(payload, type=_Kind).type
                if kind == "RiskUpdate":
                    word = msgspec.json.decode(payload, type=RiskWord)
                    if watch.heard(word):
                        await self._on_risk(word)
                elif kind == "Heartbeat":
                    watch.heard(None)
            except UNREADABLE as error:
                self._count_malformed(f"risk: {error}")


class _Kind(msgspec.Struct, frozen=True):
    type: str


def _forget(sending: Awaitable[Any]) -> None:
    if isinstance(sending, asyncio.Future):
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())


def _not_understood(payload: bytes, why: str) -> Ack:
    try:
        identity = str(msgspec.json.decode(payload, type=dict[str, Any]).get("id", ""))[:128]
    except UNREADABLE:
        identity = ""
    return Ack(
        id=identity,
        outcome=Outcome.REFUSED,
        message=f"not understood: {why}",
        refusals=(
            Refusal(
                check="command", limit="the commands' JSON", value="malformed", message=why,
                remedy="see console/engine/commands.py for what may be asked",
            ),
        ),
    )  # fmt: skip


def _busy(command_id: str) -> Ack:
    text = f"{UNDER_WAY} commands are under way; nothing was done"
    return Ack(
        id=command_id,
        outcome=Outcome.REFUSED,
        message=text,
        refusals=(
            Refusal(
                check="load", limit=str(UNDER_WAY), value=str(UNDER_WAY), message=text,
                remedy="send it again in a moment",
            ),
        ),
    )  # fmt: skip


def bus_keys(settings: Settings) -> BusKeys | None:
    """The keys of a secured bus; None where it isn't. Raises `ExitError` (78) without them."""
    if not settings.bus.security.enabled:
        return None
    return keys_in(settings.keys_dir)


def keys_in(folder: Path) -> BusKeys:
    """The keys in a folder. Raises `ExitError` (78) where they can't be read."""
    from console.bridge.security import KeyFileError, load

    try:
        return load(folder)
    except KeyFileError as error:
        raise ExitError(str(error), CONFIG) from error
