"""Recorded prices onto the bus, as market-data would say them, at a speed or as fast as is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from console.bridge.messages import BarUpdate, Message, QuoteUpdate, TradeUpdate

BATCH = 512
"""Ticks taken from the tape at once: all that is ever held here."""
LONGEST_WAIT_S = 0.25
PAUSE_S = 1.0
"""Between two sessions, real time, when they are played at a speed."""
GAP_NS = 30 * 60 * 1_000_000_000
"""Nothing for so long is no quiet market but the time between two sessions."""

SOURCE = "replay"


class Tape(Protocol):
    """`signal_bridge.Tape`, or what stands in for it."""

    @property
    def next_at(self) -> int | None: ...

    def take(self, until: int, limit: int) -> list[tuple[Any, ...]]: ...


@dataclass(slots=True)
class Sent:
    """How many messages of each kind went out, and the market time of the last (ns)."""

    bars: int = 0
    quotes: int = 0
    trades: int = 0
    last_at: int = 0

    @property
    def messages(self) -> int:
        return self.bars + self.quotes + self.trades


async def play(
    tape: Tape,
    publish: Callable[[Message], Awaitable[object]],
    *,
    speed: float,
    only_bars: bool = False,
    stop: asyncio.Event | None = None,
    sent: Sent | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Sent:
    """Publish the tape to its end, or until `stop`.

    `speed` is in market seconds a second; 0 goes as fast as `publish` lets it. Nights and weekends
    are passed over. What `publish` raises ends it; `sent` then says how far it came.
    """
    sent = Sent() if sent is None else sent
    pace = _Pace(speed, clock)
    while (stop is None or not stop.is_set()) and (next_at := tape.next_at) is not None:
        wait_s = pace.wait_s(next_at)
        if wait_s > 0:
            await sleep(min(wait_s, LONGEST_WAIT_S))
            continue
        for tick in tape.take(pace.until(next_at), BATCH):
            if only_bars and tick[0] != "bar":
                continue
            await publish(message_of(tick))
            _count(sent, tick)
    return sent


class _Pace:
    """Which market time it is, by a speed and a clock; it jumps over what nobody waits for."""

    def __init__(self, speed: float, clock: Callable[[], float]) -> None:
        self._speed = speed
        self._clock = clock
        self._market = 0
        self._real = 0.0
        self._before: int | None = None

    def wait_s(self, next_at: int) -> float:
        """Real seconds until the tick at `next_at` is due."""
        if not self._speed:
            return 0.0
        now = self._clock()
        if self._before is None or next_at - self._before > GAP_NS:
            pause = 0.0 if self._before is None else PAUSE_S
            self._market, self._real = next_at, now + pause
        self._before = next_at
        return self._real + (next_at - self._market) / 1e9 / self._speed - now

    def until(self, next_at: int) -> int:
        """Market time up to which ticks are due; at no speed, a minute at a time."""
        if not self._speed:
            return next_at + 60_000_000_000
        passed = (self._clock() - self._real) * self._speed
        return max(next_at, self._market + int(passed * 1e9))


def message_of(tick: tuple[Any, ...]) -> Message:
    """A tick of the tape as the message that market-data would send."""
    kind, symbol, at, *rest = tick
    match kind:
        case "quote":
            bid, bid_size, ask, ask_size = rest
            return QuoteUpdate(symbol, bid, bid_size, ask, ask_size, at)
        case "trade":
            price, size = rest
            return TradeUpdate(symbol, price, size, at)
        case _:
            open_, high, low, close, volume, count, vwap = rest
            return BarUpdate(
                symbol, open_, high, low, close, volume, at, trade_count=count, vwap=vwap,
                source=SOURCE,
            )  # fmt: skip


def _count(sent: Sent, tick: tuple[Any, ...]) -> None:
    match tick[0]:
        case "quote":
            sent.quotes += 1
        case "trade":
            sent.trades += 1
        case _:
            sent.bars += 1
    sent.last_at = tick[2]
