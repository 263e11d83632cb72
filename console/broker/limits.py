"""Keeping within what the broker allows: a request budget with cancels first, and rest for reads.

`TokenBucket` and `CircuitBreaker` are pure, time is an argument; `RequestBudget` is the shell
around a bucket in which threads wait.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from enum import IntEnum

from console.broker.errors import BrokerRateLimited, CircuitOpen

WINDOW_S = 60.0
"""The broker counts requests a minute."""


class Priority(IntEnum):
    """Who goes first when the budget is short: cancels, then orders, then whatever only reads."""

    CANCEL = 0
    ORDER = 1
    READ = 2


class TokenBucket:
    """At most `per_minute` requests in any window of 60 s; `per_minute` 0 means no limit.

    A quarter of them may go at once, the rest is spread evenly. Reads leave 40 % of the burst to
    orders and cancels, orders leave 10 % to cancels.
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._capacity = float(max(1, per_minute // 4))
        self._rate = max(per_minute - self._capacity, 1.0) / WINDOW_S
        self._floor = {
            Priority.CANCEL: 0.0,
            Priority.ORDER: float(int(self._capacity * 0.1)),
            Priority.READ: float(int(self._capacity * 0.4)),
        }
        self._tokens = self._capacity
        self._at = now
        self._closed_until = now

    def take(self, priority: Priority, now: float) -> float:
        """0.0 and the token is taken; else the seconds until one of this priority may be free."""
        if now < self._closed_until:
            return self._closed_until - now
        if not self.per_minute:
            return 0.0
        self._refill(now)
        # The tolerance is for the rounding of `missing / rate * rate`: who waited as told is let
        # in.
        missing = self._floor[priority] + 1.0 - self._tokens
        if missing > 1e-9:
            return missing / self._rate
        self._tokens -= 1.0
        return 0.0

    def available(self, now: float) -> float:
        """Tokens left, for the curious; without a limit there is no end to them."""
        if not self.per_minute:
            return math.inf
        self._refill(now)
        return self._tokens

    def learn(self, remaining: int, now: float) -> None:
        """The broker's own count: others may spend the same key's requests."""
        self._refill(now)
        self._tokens = min(self._tokens, float(max(0, remaining)))

    def close_until(self, until: float) -> None:
        """Nothing leaves before `until`: the broker said 429."""
        self._closed_until = max(self._closed_until, until)

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
            self._at = now


class RequestBudget:
    """A bucket that threads wait at, the higher priority first, none longer than it said."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bucket = TokenBucket(per_minute, clock())
        self._turn = threading.Condition()
        self._waiting = dict.fromkeys(Priority, 0)

    def acquire(self, priority: Priority, timeout_s: float) -> None:
        """Return when the request may leave.

        Raises:
            BrokerRateLimited: its turn would not come within `timeout_s`; nothing was sent.
        """
        deadline = self._clock() + timeout_s
        with self._turn:
            self._waiting[priority] += 1
            try:
                while True:
                    now = self._clock()
                    outranked = any(self._waiting[other] for other in Priority if other < priority)
                    delay = deadline - now if outranked else self._bucket.take(priority, now)
                    if delay <= 0 and not outranked:
                        return
                    if now >= deadline or (now + delay > deadline and not outranked):
                        raise BrokerRateLimited(
                            f"{self._bucket.per_minute} requests a minute are spent",
                            retry_after_s=max(delay, 0.05),
                        )
                    self._turn.wait(max(delay, 0.001))
            finally:
                self._waiting[priority] -= 1
                self._turn.notify_all()

    def learn(self, *, remaining: int | None = None, closed_for_s: float | None = None) -> None:
        """Take over what an answer's headers or a 429 said."""
        with self._turn:
            now = self._clock()
            if remaining is not None:
                self._bucket.learn(remaining, now)
            if closed_for_s is not None:
                self._bucket.close_until(now + closed_for_s)

    def available(self) -> float:
        """Requests that could leave at once."""
        with self._turn:
            return self._bucket.available(self._clock())


class CircuitBreaker:
    """Reads rest after `threshold` failures in a row, each rest twice as long as the one before.

    When a rest is over one read goes ahead; the others follow if it succeeds. Only reads ask it:
    an order or a cancel always goes out.
    """

    def __init__(
        self,
        *,
        threshold: int = 5,
        rest_s: float = 2.0,
        max_rest_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._rest_s = rest_s
        self._max_rest_s = max_rest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_at: float | None = None
        self._last_error = ""

    @property
    def is_open(self) -> bool:
        """Whether a read would be refused now."""
        with self._lock:
            return self._closed_at is not None and self._clock() < self._closed_at

    def check(self) -> None:
        """Let a read pass, or raise `CircuitOpen`."""
        with self._lock:
            if self._closed_at is None:
                return
            now = self._clock()
            if now < self._closed_at:
                raise CircuitOpen(
                    f"reads rest for {self._closed_at - now:.1f} s more after {self._failures} "
                    f"failures in a row, the last one: {self._last_error}"
                )
            # This one is the probe; the next may not follow before it has an answer.
            self._closed_at = now + self._rest()

    def succeeded(self) -> None:
        """An answer came, whatever it said."""
        with self._lock:
            self._failures = 0
            self._closed_at = None

    def rouse(self) -> None:
        """The broker gave a sign of life elsewhere: the next read may try it at once."""
        with self._lock:
            if self._closed_at is not None:
                self._closed_at = min(self._closed_at, self._clock())

    def failed(self, reason: str) -> None:
        """No answer, or one that says the broker is ill."""
        with self._lock:
            self._failures += 1
            self._last_error = reason
            if self._failures >= self._threshold:
                self._closed_at = self._clock() + self._rest()

    def _rest(self) -> float:
        doublings = min(max(0, self._failures - self._threshold), 16)
        return min(self._max_rest_s, self._rest_s * 2.0**doublings)
