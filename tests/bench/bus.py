"""The bus: bars through PUB/SUB over tcp, one process sends, this one receives in several ways.

Throughput in a burst (nothing lost at the configured high-water mark, or it is said), latency one
way at a steady pace, and both under CURVE; every way beside a thread with plain pyzmq in the same
run.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing as mp
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from console.bridge import ZMQSubscriber
from console.bridge.security import BusKeys, Keypair
from signal_bridge import STANDARD_FEATURES, FeedReceiver

BURST = 300_000
SLOW_BURST = 60_000
PACED = 20_000
SYMBOLS = [f"S{number:02d}" for number in range(50)]
HIGH_WATER_MARK = 1 << 20
LIMIT_S = 120.0
SERVER, CLIENT = Keypair.new(), Keypair.new()


def frames(count: int) -> list[bytes]:
    """Bars of 50 symbols, numbered, each symbol's a minute after the other."""
    start = 1_400_000_000_000_000_000
    return [
        b'market {"type":"BarUpdate","symbol":"%s","open":150.25,"high":150.5,"low":150.0,'
        b'"close":%d.25,"volume":1000,"timestamp":%d,"seq":%d}'
        % (
            SYMBOLS[number % 50].encode(),
            150 + number % 7,
            start + number // 50 * 60_000_000_000,
            number + 1,
        )
        for number in range(count)
    ]


def sender(pipe: Connection, keys: tuple[Keypair, Keypair] | None) -> None:
    """Binds, tells its port, then obeys ("burst", count), ("pace", count, per_s), None to end."""
    context = zmq.Context()
    socket = context.socket(zmq.XPUB)
    socket.linger = 0
    socket.sndhwm = HIGH_WATER_MARK
    # Without it a new subscriber to a topic that the last one has just left may go unsaid.
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.rcvtimeo = int(LIMIT_S * 1e3)
    if keys is not None:
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = keys[0].public, keys[0].secret
    pipe.send(socket.bind_to_random_port("tcp://127.0.0.1"))
    while (order := pipe.recv()) is not None:
        batch = frames(order[1])
        while socket.recv()[:1] != b"\x01":
            pass
        pipe.send("ready")
        pipe.recv()
        sent = []
        if order[0] == "burst":
            for frame in batch:
                socket.send(frame)
        else:
            began = time.monotonic()
            for number, frame in enumerate(batch):
                while time.monotonic() < began + number / order[2]:
                    pass
                sent.append(time.monotonic())
                socket.send(frame)
        pipe.send(sent)
    socket.close()
    context.term()


class Sender:
    def __init__(self, keys: tuple[Keypair, Keypair] | None = None) -> None:
        context = mp.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=sender, args=(other, keys), daemon=True)
        self.process.start()
        self.endpoint = f"tcp://127.0.0.1:{self.pipe.recv()}"

    def close(self) -> None:
        self.pipe.send(None)
        self.process.join(10)


@dataclass
class Outcome:
    received: int
    seconds: float
    latencies_us: list[float]


Way = Callable[[Sender, int], Outcome]


def plain_socket(endpoint: str, secured: bool, context: zmq.Context[Any]) -> Any:
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.rcvhwm = HIGH_WATER_MARK
    if secured:
        socket.curve_serverkey = SERVER.public
        socket.curve_publickey, socket.curve_secretkey = CLIENT.public, CLIENT.secret
    socket.connect(endpoint)
    socket.subscribe(b"market")
    return socket


def pyzmq_thread(decode: Callable[[bytes], Any] | None, secured: bool = False) -> Way:
    """A loop around a blocking recv, as a thread of its own would run it."""

    def way(sender: Sender, count: int) -> Outcome:
        context: zmq.Context[Any] = zmq.Context()
        socket = plain_socket(sender.endpoint, secured, context)
        socket.rcvtimeo = 2_000
        sender.pipe.recv()
        sender.pipe.send("go")
        arrivals = []
        received, began, ended = 0, 0.0, 0.0
        try:
            while received < count:
                raw = socket.recv()
                if decode is not None:
                    decode(raw[7:])
                arrivals.append(time.monotonic())
                received += 1
                if received == 1:
                    began = arrivals[0]
        except zmq.Again:
            pass
        ended = arrivals[-1] if arrivals else began
        sent = sender.pipe.recv()
        socket.close()
        context.term()
        return Outcome(received, ended - began, gaps_us(arrivals, sent))

    return way


def gaps_us(arrivals: list[float], sent: list[float]) -> list[float]:
    return [(after - before) * 1e6 for after, before in zip(arrivals, sent, strict=False)]


def await_recv(sender: Sender, count: int) -> Outcome:
    """pyzmq's own asyncio socket and json, one await a message."""

    async def run() -> Outcome:
        context = zmq.asyncio.Context()
        socket = plain_socket(sender.endpoint, False, context)
        await asyncio.to_thread(sender.pipe.recv)
        sender.pipe.send("go")
        arrivals: list[float] = []
        try:
            while len(arrivals) < count:
                raw = await asyncio.wait_for(socket.recv(), 2)
                json.loads(raw[7:])
                arrivals.append(time.monotonic())
        except TimeoutError:
            pass
        sent = await asyncio.to_thread(sender.pipe.recv)
        socket.close()
        context.term()
        return Outcome(len(arrivals), arrivals[-1] - arrivals[0], gaps_us(arrivals, sent))

    return asyncio.run(run())


def subscriber(secured: bool = False) -> Way:
    def way(sender: Sender, count: int) -> Outcome:
        keys = BusKeys(client=CLIENT, server_public=SERVER.public) if secured else None

        async def run() -> Outcome:
            arrivals: list[float] = []
            async with ZMQSubscriber(
                sender.endpoint, high_water_mark=HIGH_WATER_MARK, keys=keys
            ) as sub:
                await sub.connect(["market"])
                await asyncio.to_thread(sender.pipe.recv)
                sender.pipe.send("go")
                async with asyncio.timeout(LIMIT_S):
                    async for _, _message in sub.receive():
                        arrivals.append(time.monotonic())
                        if len(arrivals) == count:
                            break
                sent = await asyncio.to_thread(sender.pipe.recv)
                health = sub.health()
                assert (health.gaps, health.malformed) == (0, 0), health
            return Outcome(len(arrivals), arrivals[-1] - arrivals[0], gaps_us(arrivals, sent))

        return asyncio.run(run())

    return way


def rust_receiver(secured: bool = False) -> Way:
    """Received, parsed, all features computed, the snapshot taken 30 times a second."""

    def way(sender: Sender, count: int) -> Outcome:
        keys = (
            {"secret_key": CLIENT.secret.decode(), "server_key": SERVER.public.decode()}
            if secured
            else {}
        )
        receiver = FeedReceiver(
            sender.endpoint,
            SYMBOLS,
            features=list(STANDARD_FEATURES),
            history=390,
            high_water_mark=HIGH_WATER_MARK,
            stale_after_s=5.0,
            **keys,
        )
        receiver.start()
        try:
            sender.pipe.recv()
            sender.pipe.send("go")
            samples: list[tuple[int, float]] = []
            paced = count == PACED
            began = 0.0
            received = 0
            deadline = time.monotonic() + LIMIT_S
            last_new = time.monotonic()
            while received < count and time.monotonic() < deadline:
                frame = receiver.frame(time.monotonic())
                if frame.received != received:
                    last_new = time.monotonic()
                    began = began or last_new
                    received = frame.received
                    samples.append((received, frame.message_at))
                elif received and time.monotonic() - last_new > 2:
                    break
                time.sleep(0.0005 if paced else 0.002)
            ended = samples[-1][1] if samples else began
            sent = sender.pipe.recv()
            latencies = [(at - sent[n - 1]) * 1e6 for n, at in samples] if sent else []
            assert frame.malformed == 0, frame.malformed
            return Outcome(received, ended - began, latencies)
        finally:
            receiver.stop()

    return way


def burst(sender: Sender, name: str, way: Way, peer: float | None, count: int = BURST) -> float:
    sender.pipe.send(("burst", count))
    outcome = way(sender, count)
    rate = outcome.received / max(outcome.seconds, 1e-9)
    lost = count - outcome.received
    ratio = f"{rate / peer:5.2f} ×" if peer else "   1   "
    print(f"  {name:<52}{rate:>12,.0f}/s  {ratio}  lost {lost:,}")
    return rate


def pace(sender: Sender, name: str, way: Way, per_s: int) -> None:
    sender.pipe.send(("pace", PACED, per_s))
    outcome = way(sender, PACED)
    cuts = statistics.quantiles(outcome.latencies_us, n=100)
    print(f"  {name:<52}p50 {cuts[49]:>8,.0f} µs   p99 {cuts[98]:>8,.0f} µs")


def main() -> None:
    decode = msgspec.json.decode
    plain = Sender()
    print(f"a burst of {BURST:,} bars of {len(frames(1)[0])} bytes; × of the first line")
    peer = burst(plain, "pyzmq thread, msgspec decode only", pyzmq_thread(decode), None)
    burst(plain, "pyzmq thread, json decode only", pyzmq_thread(json.loads), peer)
    burst(plain, "await recv() and json", await_recv, peer, SLOW_BURST)
    burst(plain, "ZMQSubscriber: checked, decoded, async", subscriber(), peer)
    rate = burst(plain, "FeedReceiver: all features, snapshots", rust_receiver(), peer)
    for value, target, unit in ((rate / 1e3, 900.0, "k/s"), (rate / peer, 1.3, "× the first line")):
        met = "met" if value >= target else "MISSED"
        print(f"    FeedReceiver {value:,.2f} {unit}, wanted ≥ {target:g}: {met}")
    for per_s in (10_000, 100_000):
        print(f"one way at {per_s:,}/s")
        pace(plain, "pyzmq thread, msgspec", pyzmq_thread(decode), per_s)
        pace(plain, "ZMQSubscriber", subscriber(), per_s)
        pace(plain, "FeedReceiver (to its last message)", rust_receiver(), per_s)
    plain.close()
    secured = Sender((SERVER, CLIENT))
    print("the same burst under CURVE")
    peer = burst(secured, "pyzmq thread, raw", pyzmq_thread(None, secured=True), None)
    burst(secured, "ZMQSubscriber: checked, decoded, async", subscriber(secured=True), peer)
    burst(secured, "FeedReceiver: all features, snapshots", rust_receiver(secured=True), peer)
    secured.close()


if __name__ == "__main__":
    main()
