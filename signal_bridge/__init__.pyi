"""Rust for Python: features, the feed receiver, the risk gate and the embedded services."""

from collections.abc import Sequence
from typing import Literal, final

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

# ── the feed ───────────────────────────────────────────────────────────────────────────────────

QUOTE_FEATURES: tuple[str, ...]
"""Numbers of a quote, which a feed shows as columns beside the features of bars."""

@final
class FeedReceiver:
    """Receives the market bus on a thread of its own, without the GIL, and keeps what it says.

    `endpoint` is the publisher's address; it need not be there yet. `features` are names that
    `FeatureComputer` takes and names of `QUOTE_FEATURES`: the columns of a frame. `history` is how
    many bars are kept a symbol, `high_water_mark` how many messages wait at most. With
    `stale_after_s` seconds without a message the state is `stale`. For CURVE give `secret_key` and
    the publisher's public `server_key`, both Z85. Settings that can't be are a ValueError.

    It reconnects by itself, drops and counts what is malformed, and counts missing numbers. A bar
    that begins with its symbol's last one corrects the history alone; an older one is dropped.
    """

    def __new__(
        cls,
        endpoint: str,
        symbols: Sequence[str],
        *,
        features: Sequence[str],
        history: int,
        high_water_mark: int,
        stale_after_s: float,
        topic: str = "market",
        secret_key: str | None = None,
        server_key: str | None = None,
    ) -> FeedReceiver: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None:
        """Starts the thread, once. RuntimeError if it can't be."""

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the thread and joins it; RuntimeError if that takes longer."""

    def frame(self, now: float) -> FeedFrame:
        """Everything known at `now = time.monotonic()`; some microseconds, whatever the traffic."""

    def bars(
        self, symbol: str
    ) -> tuple[NDArray[np.int64], _Floats, _Floats, _Floats, _Floats, _Floats]:
        """Timestamps (ns), open, high, low, close and volume of the bars kept, oldest first.

        The bar that trades are still making comes last. KeyError for a symbol not followed.
        """

    def seed(
        self,
        symbol: str,
        timestamps: NDArray[np.int64],
        open: _Floats,  # noqa: A002
        high: _Floats,
        low: _Floats,
        close: _Floats,
        volume: _Floats,
    ) -> None:
        """Warms a symbol up from recorded bars, oldest first, in place of what was gathered.

        Live bars later than the last of them are kept. ValueError for bars out of order or not
        finite, KeyError for a symbol not followed.
        """

    def stats(self) -> dict[str, int]:
        """Counts since the start: received, bars, quotes, trades, heartbeats, ignored, late,
        malformed, gaps, restarts, reconnects, bytes."""

@final
class FeedFrame:
    """What a feed knew at one moment. Arrays are read-only, one value a symbol, NaN if unknown."""

    @property
    def number(self) -> int:
        """Grows when something changed."""

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def versions(self) -> NDArray[np.uint64]:
        """By symbol, grows with its every change."""

    @property
    def last(self) -> _Floats:
        """The newest trade's price, or the newest bar's close if that ended later."""

    @property
    def bid(self) -> _Floats: ...
    @property
    def ask(self) -> _Floats: ...
    @property
    def bid_size(self) -> _Floats: ...
    @property
    def ask_size(self) -> _Floats: ...
    @property
    def day_open(self) -> _Floats:
        """Of the regular session of the newest date seen, as the three that follow."""

    @property
    def day_high(self) -> _Floats: ...
    @property
    def day_low(self) -> _Floats: ...
    @property
    def day_volume(self) -> _Floats: ...
    @property
    def previous_close(self) -> _Floats:
        """The last regular price of the date before, of those seen or seeded."""

    @property
    def quote_at(self) -> _Floats:
        """When the quote came, in seconds of `time.monotonic`."""

    @property
    def last_at(self) -> _Floats:
        """When `last` came, in seconds of `time.monotonic`; NaN while it is from a seed."""

    @property
    def market_at(self) -> _Floats:
        """Market time of the newest message, in seconds since the epoch."""

    @property
    def features(self) -> _Floats:
        """(symbols, feature_names)"""

    @property
    def sparks(self) -> _Floats:
        """(symbols, 32): the last closes, the newest last, NaN before."""

    @property
    def received(self) -> int: ...
    @property
    def gaps(self) -> int:
        """Messages that the publisher numbered and that never came."""

    @property
    def malformed(self) -> int: ...
    @property
    def rate(self) -> float:
        """Messages a second over the last second."""

    @property
    def message_at(self) -> float:
        """When the last message came, in seconds of `time.monotonic`; NaN if none ever did."""

    @property
    def state(self) -> Literal["connecting", "connected", "stale", "lost"]: ...
    def changed_since(self, other: FeedFrame | None) -> NDArray[np.bool_]:
        """Which symbols changed since an earlier frame of the same receiver; all for None."""
