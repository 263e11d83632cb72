"""Rust for Python: features, the feed receiver, the risk gate and the embedded services."""

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

# ── features ───────────────────────────────────────────────────────────────────────────────────

STANDARD_FEATURES: tuple[str, ...]
"""Names of the full set, in the order in which the numbers come."""

@final
class Bar:
    """One bar of a symbol; `timestamp` is its start, in ns since the epoch."""

    def __new__(
        cls,
        symbol: str,
        open: float,  # noqa: A002
        high: float,
        low: float,
        close: float,
        volume: float,
        timestamp: int,
    ) -> Bar: ...
    @property
    def symbol(self) -> str: ...
    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...
    @property
    def volume(self) -> float: ...
    @property
    def timestamp(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class FeatureComputer:
    """Computes a chosen set of features, bar by bar or for whole series.

    `names` are names of `STANDARD_FEATURES`, or the same with other windows (`sma_50`, `rsi_7`,
    `macd_5_35_5`); without them it is the full set. An unknown name or an impossible window is a
    ValueError. Numbers are NaN until enough bars were seen. A bar whose high, low, close or volume
    isn't finite is a ValueError and changes nothing. No feature looks at the open.

    Calls from several threads follow one another while they hold the GIL; `compute_batch` leaves it
    and touches no streaming state.
    """

    def __new__(cls, names: Sequence[str] | None = None) -> FeatureComputer: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols seen so far, sorted."""

    def bars_seen(self, symbol: str) -> int:
        """How many bars of the symbol were taken in."""

    def compute_streaming(self, bar: Bar) -> dict[str, float]:
        """Takes in the symbol's next bar and gives every number by its name."""

    def update_into(self, bar: Bar, out: _Floats) -> None:
        """As `compute_streaming`, written into `out`: float64, contiguous, one number a name."""

    def update_many(self, bars: Sequence[Bar], out: _Floats) -> None:
        """Takes in many bars, of any symbols, in their order; `out` is (bars, features)."""

    def compute_batch(
        self,
        open: _Floats,  # noqa: A002
        high: _Floats,
        low: _Floats,
        close: _Floats,
        volume: _Floats,
        out: _Floats | None = None,
    ) -> _Floats:
        """A series from its first bar, (features, bars), without the GIL and without a copy.

        The columns are contiguous float64 of one length; `out`, if given, has the result's shape
        and is returned. The numbers are those that streaming gives, to the bit.
        """

    def snapshot(self) -> bytes:
        """The state of all symbols, for `restore` of a computer with the same names."""

    def restore(self, snapshot: bytes) -> None:
        """Takes up a snapshot in place of the present state; ValueError if it doesn't fit."""

    def reset(self, symbol: str | None = None) -> None:
        """Forgets what was seen of one symbol, or of all."""
