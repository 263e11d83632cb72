"""A histogram for Prometheus: counts in buckets, without a library on the way that it measures."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

LATENCIES_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip
"""Upper ends of buckets, in seconds, from a tenth of a millisecond."""


class Histogram:
    """One thread observes, any thread reads. `bounds` ascend; what is above them counts as well."""

    __slots__ = ("_counts", "_sum", "bounds")

    def __init__(self, bounds: Sequence[float] = LATENCIES_S) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self._counts)

    def buckets(self) -> tuple[list[tuple[float, int]], float]:
        """Each upper end (the last is infinity) with the values up to it, and the sum of all."""
        counts, total = tuple(self._counts), self._sum
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
            so_far += count
            found.append((bound, so_far))
        return found, total
