"""Three clocks that are never mixed: monotonic for ages, the market's for sessions, wall for logs.

`Clocks` hands out the machine's two so that a test can hold them; `MarketClock` estimates the
broker's from its answers to `/v2/clock`, with its speed (the demo's days pass faster than ours).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from msgspec import Struct

from console.engine.state import SessionView


@dataclass(frozen=True, slots=True)
class Clocks:
    """The machine's clocks: `monotonic()` in seconds, `wall_ns()` in ns since the epoch.

    `sleep` is how the engine waits between two attempts at something.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall_ns: Callable[[], int] = time.time_ns
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


SYSTEM_CLOCKS = Clocks()
JUMP_S = 2.0
"""Between two looks the wall clock may drift so far from the monotonic one and not have jumped."""


class JumpWatch:
    """Sees that the wall clock was set, or that the machine slept: the monotonic one did not."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._apart = self._apart_now()

    def _apart_now(self) -> float:
        return self._clocks.wall_ns() / 1e9 - self._clocks.monotonic()

    def look(self) -> float:
        """By how many seconds it jumped since the last look; 0 where it did not."""
        before, self._apart = self._apart, self._apart_now()
        by = self._apart - before
        return by if abs(by) >= JUMP_S else 0.0


class ReplayStatus(Struct, frozen=True, kw_only=True):
    """How the demo's recording plays: `speed` in market seconds a second, kept while paused."""

    market_time: datetime
    speed: float
    paused: bool
    is_open: bool


class ReplayControl(Protocol):
    """Plays the embedded exchange's recording. Its calls block: they are made on a thread."""

    def control(
        self,
        *,
        paused: bool | None = None,
        speed: float | None = None,
        step_s: float | None = None,
    ) -> ReplayStatus:
        """Change what isn't None, if anything, and answer how it plays now."""
        ...


def parse_time(text: str) -> datetime:
    """An RFC 3339 time in UTC, cut to microseconds. Raises ValueError."""
    head, dot, tail = text.replace("Z", "+00:00").partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        head = f"{head}.{tail[: min(digits, 6)].ljust(6, '0')}{tail[digits:]}"
    moment = datetime.fromisoformat(head)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r}: a time without an offset")
    return moment.astimezone(UTC)


class MarketClock:
    """The market's time, estimated from the broker's answers.

    `speed` is fixed where it is known (Alpaca: 1; the demo: told by its replay control); else it is
    estimated from successive answers while the session stays the same one.
    """

    SPEED_KEPT = 0.05
    """A measured speed within this part of the current one is no other speed."""
    MEASURE_S = 0.5
    """Real seconds between two answers from which a speed can be told."""
    WINDOW = 20
    """And how many times as long as the answers themselves took: nobody knows when in between."""

    def __init__(self, speed: float = 1.0, *, estimate: bool = False) -> None:
        self.speed = speed
        self._estimate = estimate
        self._time: datetime | None = None
        self._as_of = 0.0
        self._anchor: tuple[datetime, float] | None = None
        self._anchor_took = 0.0
        self._measured_over = 0.0
        self._is_open = False
        self._next_open: datetime | None = None
        self._next_close: datetime | None = None

    @property
    def known(self) -> bool:
        """Whether the broker has answered at all."""
        return self._time is not None

    @property
    def settled(self) -> bool:
        """Whether the speed is known, or measured since the session began; else ask again soon."""
        return not self._estimate or self._measured_over > 0

    @property
    def is_open(self) -> bool:
        return self._is_open

    def observe(self, answer: dict[str, Any], sent_at: float, received_at: float) -> None:
        """Take in one answer of `/v2/clock`, asked and received at these monotonic seconds.

        Raises:
            KeyError, ValueError: the answer has no times where they belong.
        """
        moment = parse_time(answer["timestamp"])
        next_open, next_close = parse_time(answer["next_open"]), parse_time(answer["next_close"])
        at = (sent_at + received_at) / 2
        same_session = (next_open, next_close) == (self._next_open, self._next_close)
        took = received_at - sent_at
        if not same_session:
            self._anchor, self._measured_over = None, 0.0
        elif self._measured_over == 0 and took < self._anchor_took / 4:
            # The first answer of a program takes its time; this one is a better beginning.
            self._anchor = None
        if self._estimate and self._anchor is not None:
            real_s, unsure_s = at - self._anchor[1], (took + self._anchor_took) / 2
            if real_s >= max(self.MEASURE_S, self.WINDOW * unsure_s):
                self._measure((moment - self._anchor[0]).total_seconds(), real_s)
        if self._anchor is None:
            self._anchor, self._anchor_took = (moment, at), took
        self._time, self._as_of = moment, at
        self._is_open = bool(answer["is_open"])
        self._next_open, self._next_close = next_open, next_close

    def _measure(self, market_s: float, real_s: float) -> None:
        """Another speed counts at once; the same one is told finer the longer it is looked at."""
        measured = max(0.0, market_s / real_s)
        other = abs(measured - self.speed) > self.SPEED_KEPT * max(self.speed, 1.0)
        if other or real_s >= 2 * self._measured_over:
            whole = round(measured)
            near = abs(measured - whole) <= 0.02 * measured
            self.speed = float(whole) if near else round(measured, 1)
            self._measured_over = real_s
        if other:
            self._anchor = None

    def set_speed(self, speed: float, now: float) -> None:
        """The speed is known to be this from monotonic second `now` on (0: paused)."""
        if speed != self.speed:
            if self._time is not None:
                self._time, self._as_of = self.now(now), now
            self.speed = speed
            self._anchor = None

    def jump(self, market_time: datetime, now: float) -> None:
        """The market's clock is known to stand at `market_time` at monotonic second `now`."""
        self._time, self._as_of = market_time, now
        self._anchor = None

    def now(self, monotonic: float) -> datetime:
        """Market time at a monotonic second. Raises ValueError before the first answer."""
        if self._time is None:
            raise ValueError("the broker's clock is not known yet; ask /v2/clock first")
        return self._time + timedelta(seconds=(monotonic - self._as_of) * self.speed)

    def is_open_at(self, monotonic: float) -> bool:
        """Whether the regular session runs at a monotonic second, by the hours last told."""
        if self._time is None or self._next_open is None or self._next_close is None:
            return False
        now = self.now(monotonic)
        if self._is_open:
            return now < self._next_close
        return self._next_open <= now < self._next_close and self._next_open < self._next_close

    def age_of(self, moment: datetime, monotonic: float) -> float:
        """How many monotonic seconds ago `moment` of market time was; never negative."""
        market_age = (self.now(monotonic) - moment).total_seconds()
        return max(0.0, market_age / self.speed if self.speed > 0 else market_age)

    def view(self) -> SessionView | None:
        """The session as the face shows it; None before the first answer."""
        if self._time is None or self._next_open is None or self._next_close is None:
            return None
        return SessionView(
            market_time=self._time,
            as_of=self._as_of,
            speed=self.speed,
            is_open=self._is_open,
            next_open=self._next_open,
            next_close=self._next_close,
        )
