"""A TCP proxy of the tests' own: it passes everything on until it is told to stall, cut or reset.

    proxy = await Proxy(exchange.port).start()
    proxy.on(b"POST /v2/orders", HOLD)      # the next such request arrives, its answer does not
    proxy.cut()                             # every connection is reset, new ones too
    proxy.open = True                       # and now they are let in again

`FullPort` is a port that is listening and never accepts: a connect to it hangs.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of a request and its answer."""

    request_arrives: bool = True
    request_waits: bool = False
    """The request arrives once `Proxy.release` is set."""
    answer_bytes: int | None = None
    """So many bytes of the answer pass; None: all."""
    then_reset: bool = False
    """After them the connection is reset; else it stays open and silent."""
    until: asyncio.Event | None = None
    """The request waits for it on its way there."""
    byte_every_s: float = 0.0
    """The answer comes byte by byte, each so much later than the one before."""


HOLD = Treatment(answer_bytes=0)
"""The request arrives; its answer never comes."""
LATE = Treatment(request_waits=True)
"""The request is held up on its way until `Proxy.release` is set."""
SWALLOW = Treatment(request_arrives=False)
"""The request never arrives, though the connection stands."""
RESET = Treatment(answer_bytes=0, then_reset=True)
"""The request arrives; instead of an answer the connection is reset."""


def reset_after(count: int) -> Treatment:
    """The connection is reset in the middle of the answer."""
    return Treatment(answer_bytes=count, then_reset=True)


def drip(every_s: float) -> Treatment:
    """The answer comes byte by byte: no single wait is long, all of them together are."""
    return Treatment(byte_every_s=every_s)


class Proxy:
    """See the module. Of one event loop; `port` once it is started."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rules: list[tuple[bytes, Treatment]] = []
        self.open = True
        """While it isn't, new connections are reset at once."""
        self.deaf = False
        """While it is, connections stand and nothing at all comes back through them."""
        self.garble: tuple[bytes, bytes] | None = None
        """Bytes of the answers and what comes instead of them, of the same length."""
        self.release = asyncio.Event()
        self.treated = 0
        """Requests that a rule of `on` met."""
        self.connections = 0
        self.port = 0

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def on(self, prefix: bytes, treatment: Treatment, count: int = 1) -> None:
        """The next `count` requests that begin with `prefix` (method and path) are treated so."""
        self._rules += [(prefix, treatment)] * count

    def forget(self) -> None:
        """Treat nothing any more; what is being held is reset."""
        self._rules.clear()
        self.reset_all()

    def cut(self) -> None:
        """Reset every connection and let no new one in until `open` is set again."""
        self.open = False
        self.reset_all()

    def stop_listening(self) -> None:
        """Give up the port, for a `FullPort`; connections that stand go on."""
        if self._server is not None:
            self._server.close()

    def reset_all(self) -> None:
        """Reset every connection; new ones are let in."""
        for client in list(self._clients):
            _reset(client)

    async def stop(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _joined(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self.open:
            _reset(client)
            return
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(client)
            return
        self._clients.add(client)
        treatments: list[Treatment] = []
        pumps = (
            self._pump_requests(reader, server, treatments),
            self._pump_answers(answers, client, treatments),
        )
        for pump in pumps:
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump_requests(
        self,
        client: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        treatments: list[Treatment],
    ) -> None:
        try:
            while chunk := await client.read(65_536):
                for rule in self._rules:
                    if chunk.startswith(rule[0]):
                        self._rules.remove(rule)
                        self.treated += 1
                        treatments.append(rule[1])
                        if rule[1].until is not None:
                            await rule[1].until.wait()
                        break
                if any(treatment.request_waits for treatment in treatments):
                    await self.release.wait()
                if all(treatment.request_arrives for treatment in treatments):
                    server.write(chunk)
                    await server.drain()
        except OSError:
            pass
        finally:
            server.close()

    async def _pump_answers(
        self,
        server: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        treatments: list[Treatment],
    ) -> None:
        passed = 0
        try:
            while chunk := await server.read(65_536):
                treatment = treatments[0] if treatments else Treatment()
                if treatment.answer_bytes is not None:
                    chunk = chunk[: max(0, treatment.answer_bytes - passed)]
                passed += len(chunk)
                if self.garble is not None:
                    chunk = chunk.replace(*self.garble)
                if self.deaf:
                    continue
                if treatment.byte_every_s:
                    for byte in chunk:
                        client.write(bytes((byte,)))
                        await client.drain()
                        await asyncio.sleep(treatment.byte_every_s)
                else:
                    client.write(chunk)
                    await client.drain()
                if treatment.then_reset and passed >= (treatment.answer_bytes or 0):
                    _reset(client)
                    return
        except OSError:
            pass
        finally:
            client.close()
            self._clients.discard(client)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST, as a host that lost it does."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FullPort:
    """A port whose queue is full: the kernel lets further connects wait until they give up.

    With `port` it takes one that a proxy has stopped listening on.
    """

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers: list[socket.socket] = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def close(self) -> None:
        for one in (*self._fillers, self._listener):
            one.close()
