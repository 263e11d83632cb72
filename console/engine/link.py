"""Between a face and the engine: requests one way, events the other, the same near and far.

`LocalLink` reaches an engine in this process, on a loop of another thread; `RemoteLink` one in
another process, over the bus. A listener gets a `Snapshot` first, then every event after it; a
listener that falls behind gets a new snapshot instead of a longer and longer queue, and of market
frames always the newest alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from console.engine.commands import (
    UNREADABLE,
    Ack,
    AnyCommand,
    GetBars,
    GetState,
    Outcome,
    encode,
)
from console.engine.events import (
    AnyEvent,
    ConnectionChanged,
    Event,
    MarketFrame,
    Snapshot,
    decode_event,
)
from console.engine.runtime import RuntimeInfo
from console.engine.state import ConnectionState, ConnectionView, Refusal

if TYPE_CHECKING:
    import zmq.asyncio

    from console.bridge.security import BusKeys
    from console.engine.engine import Engine
    from console.engine.events import Bars
    from signal_bridge import FeedReceiver

OnEvent = Callable[[AnyEvent | MarketFrame], None]

TIMEOUT_S = 20.0
"""A little above the engine's own limit on a command, so that its own words arrive."""
SEND_S = 3.0
"""How long a command may wait for a connection; it waits for no engine to come."""
BACKLOG = 5_000
"""Events that may wait for a listener."""
FRAME_PERIOD_S = 1 / 30
RETRY_MS = 1_000
"""How long after a connection broke it is tried again."""
PING_MS = 2_000
"""How often a far engine's host is asked for a sign of life; after three it counts as lost."""


class LinkError(Exception):
    """The engine can't be reached, or doesn't answer in time. A command sent may have arrived."""


class NotSent(LinkError):
    """Nothing listened: the command has not left, and it never will."""


class Link(Protocol):
    """See the module. All of it is for the loop that `listen` and `request` are called in."""

    async def request(self, command: AnyCommand, *, timeout_s: float | None = None) -> Ack:
        """Send one command and wait for its answer.

        Raises:
            LinkError: no answer in time; it may be carried out all the same.
            NotSent: no engine.
        """
        ...

    def listen(self, on_event: OnEvent) -> Callable[[], None]:
        """Call `on_event` in this loop for every event from now on; call the answer to end it."""
        ...

    def bars(self, symbol: str) -> Bars | None:
        """One-minute bars as `FeedReceiver.bars` gives them; None for a symbol not followed."""
        ...

    async def close(self) -> None: ...


class _Mailbox:
    """Events on their way from the engine's thread to a listener's loop, at most `BACKLOG`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_event: OnEvent,
        on_overflow: Callable[[_Mailbox], None],
    ) -> None:
        self._loop = loop
        self._on_event = on_event
        self._on_overflow = on_overflow
        self._events: deque[AnyEvent] = deque()
        self._frame: MarketFrame | None = None
        self._woken = False
        self._overflown = False
        self.closed = False

    def put(self, event: AnyEvent | MarketFrame) -> None:
        """Of the engine's thread."""
        if self.closed:
            return
        if isinstance(event, MarketFrame):
            self._frame = event
        elif isinstance(event, Snapshot):
            self._events.clear()
            self._overflown = False
            self._events.append(event)
        elif self._overflown:
            return
        elif len(self._events) >= BACKLOG:
            self._overflown = True
            self._events.clear()
        else:
            self._events.append(event)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self.closed = True

    def _deliver(self) -> None:
        self._woken = False
        if self._overflown:
            self._on_overflow(self)
        while self._events and not self.closed:
            try:
                event = self._events.popleft()
            except IndexError:
                break
            self._on_event(event)
        frame, self._frame = self._frame, None
        if frame is not None and not self.closed:
            self._on_event(frame)


class LocalLink:
    """A link to `engine`, which runs in `engine_loop` on another thread (or on the same)."""

    def __init__(self, engine: Engine, engine_loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._engine_loop = engine_loop
        self._mailboxes: dict[_Mailbox, Callable[[], None]] = {}

    async def request(self, command: AnyCommand, *, timeout_s: float | None = None) -> Ack:
        try:
            answer = asyncio.run_coroutine_threadsafe(
                self._engine.handle(command), self._engine_loop
            )
        except RuntimeError as error:
            raise NotSent("the engine has stopped; start it again") from error
        limit = TIMEOUT_S if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise LinkError(
                f"the engine did not answer within {limit:g} s; "
                "the command may still be carried out"
            ) from None

    def listen(self, on_event: OnEvent) -> Callable[[], None]:
        mailbox = _Mailbox(asyncio.get_running_loop(), on_event, self._snapshot)

        def subscribe() -> None:
            if not mailbox.closed:
                mailbox.put(self._engine.snapshot())
                self._mailboxes[mailbox] = self._engine.subscribe(mailbox.put)

        def unsubscribe() -> None:
            stop = self._mailboxes.pop(mailbox, None)
            if stop is not None:
                stop()

        def end() -> None:
            mailbox.closed = True
            with contextlib.suppress(RuntimeError):
                self._engine_loop.call_soon_threadsafe(unsubscribe)

        try:
            self._engine_loop.call_soon_threadsafe(subscribe)
        except RuntimeError as error:
            raise LinkError("the engine has stopped; start it again") from error
        return end

    def bars(self, symbol: str) -> Bars | None:
        return self._engine.bars(symbol)

    def _snapshot(self, mailbox: _Mailbox) -> None:
        with contextlib.suppress(RuntimeError):
            self._engine_loop.call_soon_threadsafe(lambda: mailbox.put(self._engine.snapshot()))

    async def close(self) -> None:
        for mailbox in list(self._mailboxes):
            mailbox.closed = True
        with contextlib.suppress(RuntimeError):
            self._engine_loop.call_soon_threadsafe(self._unsubscribe_all)

    def _unsubscribe_all(self) -> None:
        while self._mailboxes:
            _, stop = self._mailboxes.popitem()
            stop()


class RemoteLink:
    """A link to the engine that `runtime` describes, over 5557 and 5558, with a feed of its own.

    Made anywhere; its sockets belong to the loop in which it is first used.
    """

    def __init__(
        self, runtime: RuntimeInfo, *, with_feed: bool = True, keys: BusKeys | None = None
    ) -> None:
        """`keys` are those of a secured bus; None takes those that `runtime` names.

        Raises `ExitError` (78) where those can't be read.
        """
        if keys is None and runtime.keys_dir:
            from console.engine.bus import keys_in

            keys = keys_in(Path(runtime.keys_dir))
        self._runtime = runtime
        self._keys = keys
        self._with_feed = with_feed
        self._context: zmq.asyncio.Context | None = None
        self._commands: zmq.asyncio.Socket | None = None
        self._waiting: dict[str, asyncio.Future[Ack]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._receivers: list[FeedReceiver] = []
        self._was_lost = False

    async def request(self, command: AnyCommand, *, timeout_s: float | None = None) -> Ack:
        socket = self._dealer()
        answer = self._waiting.get(command.id)
        if answer is None:
            answer = asyncio.get_running_loop().create_future()
            self._waiting[command.id] = answer
        limit = TIMEOUT_S if timeout_s is None else timeout_s
        sent = False
        try:
            async with asyncio.timeout(min(limit, SEND_S)):
                await socket.send(encode(command))
            sent = True
            async with asyncio.timeout(limit):
                return await asyncio.shield(answer)
        except TimeoutError:
            if not sent:
                raise NotSent(
                    f"nobody listens at {self._runtime.url('commands')}, nothing was sent; is the "
                    f"engine (pid {self._runtime.pid}) still running?"
                ) from None
            raise LinkError(
                f"no answer from {self._runtime.url('commands')} within {limit:g} s; is the engine "
                f"(pid {self._runtime.pid}) still running? The command may still be carried out"
            ) from None
        finally:
            if self._waiting.get(command.id) is answer:
                del self._waiting[command.id]

    def listen(self, on_event: OnEvent) -> Callable[[], None]:
        tasks = [self._spawn(self._events(on_event), "remote events")]
        receiver = self._receiver()
        if receiver is not None:
            tasks.append(self._spawn(_frames(receiver, on_event), "remote frames"))
            tasks.append(self._spawn(self._warm_up(receiver), "remote warm-up"))

        def end() -> None:
            for task in tasks:
                task.cancel()
            if receiver is not None and receiver in self._receivers:
                self._receivers.remove(receiver)
                receiver.stop()

        return end

    def bars(self, symbol: str) -> Bars | None:
        for receiver in self._receivers:
            with contextlib.suppress(KeyError):
                return receiver.bars(symbol)
        return None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for receiver in self._receivers:
            receiver.stop()
        self._receivers.clear()
        for answer in self._waiting.values():
            answer.cancel()
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = self._commands = None

    # -- sockets -----------------------------------------------------------------------------

    def _zmq(self) -> zmq.asyncio.Context:
        if self._context is None:
            import zmq.asyncio

            self._context = zmq.asyncio.Context()
        return self._context

    def _dealer(self) -> zmq.asyncio.Socket:
        if self._commands is None:
            import zmq

            socket = self._zmq().socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            # A command waits for no engine to come: what was asked then is not wanted later.
            socket.setsockopt(zmq.IMMEDIATE, 1)
            if self._keys is not None:
                self._keys.secure_client(socket)
            socket.connect(self._runtime.url("commands"))
            self._commands = socket
            self._spawn(self._answers(socket), "remote answers")
        return self._commands

    def _spawn(self, work: asyncio._CoroutineLike[None], name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answers(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            payload = await socket.recv()
            with contextlib.suppress(*UNREADABLE):
                ack = msgspec.json.decode(payload, type=Ack)
                answer = self._waiting.get(ack.id)
                if answer is not None and not answer.done():
                    answer.set_result(ack)

    async def _events(self, on_event: OnEvent) -> None:
        import zmq

        socket = self._zmq().socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, BACKLOG)
        socket.setsockopt(zmq.RECONNECT_IVL, RETRY_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, PING_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * PING_MS)
        if self._keys is not None:
            self._keys.secure_client(socket)
        watching = self._spawn(self._watch(socket, on_event), "remote engine")
        socket.connect(self._runtime.url("events"))
        socket.subscribe(b"engine ")
        seq: int | None = None
        try:
            while True:
                frame = await socket.recv()
                try:
                    event = decode_event(frame.partition(b" ")[2])
                except UNREADABLE:
                    continue
                if isinstance(event, Snapshot):
                    if seq is None or event.state.seq != seq or self._was_lost:
                        self._was_lost = False
                        seq = event.state.seq
                        on_event(event)
                elif seq is None or event.seq <= seq:
                    continue
                elif event.seq == seq + 1:
                    seq = event.seq
                    on_event(event)
                else:
                    seq = await self._resync(on_event)
        finally:
            watching.cancel()
            socket.disable_monitor()
            socket.close()

    async def _watch(self, socket: zmq.asyncio.Socket, on_event: OnEvent) -> None:
        """Tell when the engine's socket breaks, and when it is tried again.

        That it is back is told by the snapshot with which it greets.
        """
        import zmq
        from zmq.utils.monitor import parse_monitor_message

        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
        since: float | None = None
        while True:
            told = parse_monitor_message(await monitor.recv_multipart())
            now = time.monotonic()
            if told["event"] == zmq.EVENT_DISCONNECTED:
                since = now
                self._was_lost = True
            elif not self._was_lost or since is None:
                continue
            on_event(
                ConnectionChanged(
                    connection=ConnectionView(
                        name="engine",
                        state=ConnectionState.LOST,
                        since=since,
                        retry_at=now + RETRY_MS / 1e3,
                        detail=f"pid {self._runtime.pid} at {self._runtime.url('events')} is gone",
                    )
                )
            )

    async def _resync(self, on_event: OnEvent) -> int | None:
        """Numbers are missing: everything anew. None when the engine doesn't answer now."""
        try:
            ack = await self.request(GetState(source="link"), timeout_s=5.0)
        except LinkError:
            return None
        if ack.state is None:
            return None
        on_event(Snapshot(seq=ack.state.seq, state=ack.state))
        return ack.state.seq

    async def _warm_up(self, receiver: FeedReceiver) -> None:
        """Give the feed what the engine's own has seen, so that both show the same."""
        import numpy as np

        for symbol in self._runtime.symbols:
            try:
                ack = await self.request(GetBars(symbol=symbol, source="link"), timeout_s=5.0)
            except LinkError:
                return
            if ack.bars is not None and ack.bars.timestamps:
                bars = ack.bars
                columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
                receiver.seed(
                    symbol,
                    np.array(bars.timestamps, dtype=np.int64),
                    *(np.array(column) for column in columns),
                )

    def _receiver(self) -> FeedReceiver | None:
        runtime = self._runtime
        if not self._with_feed or not runtime.symbols or "market" not in runtime.ports:
            return None
        from signal_bridge import FeedReceiver

        receiver = FeedReceiver(
            runtime.url("market"),
            runtime.symbols,
            features=runtime.features,
            history=runtime.history,
            high_water_mark=runtime.high_water_mark,
            stale_after_s=runtime.stale_after_s,
            secret_key=None if self._keys is None else self._keys.client.secret.decode(),
            server_key=None if self._keys is None else self._keys.server_public.decode(),
        )
        receiver.start()
        self._receivers.append(receiver)
        return receiver


async def _frames(receiver: FeedReceiver, on_event: OnEvent) -> None:
    number: int | None = None
    while True:
        frame = receiver.frame(time.monotonic())
        if frame.number != number:
            number = frame.number
            on_event(MarketFrame(frame))
        await asyncio.sleep(FRAME_PERIOD_S)


def unreachable(command: AnyCommand, error: LinkError) -> Ack:
    """An ack that says that there was none: for a face that shows every answer alike."""
    return Ack(
        id=command.id,
        outcome=Outcome.UNKNOWN,
        message=str(error),
        refusals=(Refusal(check="link", limit="an answer", value="none", message=str(error)),),
    )


__all__ = [
    "Event",
    "Link",
    "LinkError",
    "LocalLink",
    "NotSent",
    "OnEvent",
    "RemoteLink",
    "RuntimeInfo",
    "unreachable",
]
