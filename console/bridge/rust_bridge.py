"""Features in Rust for Python: bars in, numbers out.

`MarketBar` is one bar, `RustFeatureComputer` a chosen set of features over any number of symbols.
`python -m console.bridge.rust_bridge` shows both at work and checks them against plain Python.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from signal_bridge import (
    QUOTE_FEATURES,
    STANDARD_FEATURES,
    TRADE_FEATURES,
    Bar,
    FeatureComputer,
    Microstructure,
)

__all__ = [
    "QUOTE_FEATURES",
    "STANDARD_FEATURES",
    "TRADE_FEATURES",
    "MarketBar",
    "Microstructure",
    "RustFeatureComputer",
]

MarketBar = Bar
"""`MarketBar(symbol, open, high, low, close, volume, timestamp)`, the timestamp in ns."""

_Floats = NDArray[np.float64]


class RustFeatureComputer(FeatureComputer):
    """`signal_bridge.FeatureComputer` with its answers by name.

    `compute_streaming(bar)` gives a dict for the symbol's next bar, `compute_batch(open, high, low,
    close, volume)` an array (features, bars); both with the same numbers, to the bit. See
    `signal_bridge` for the names, for windows of one's own and for what is refused.
    """

    def compute_series(
        self,
        open: _Floats,  # noqa: A002
        high: _Floats,
        low: _Floats,
        close: _Floats,
        volume: _Floats,
    ) -> dict[str, _Floats]:
        """As `compute_batch`, each feature's row by its name; the rows share one array."""
        return dict(
            zip(self.names, self.compute_batch(open, high, low, close, volume), strict=True)
        )

    def compute_bars(self, bars: Sequence[MarketBar]) -> dict[str, _Floats]:
        """The features of one symbol's bars, oldest first, by name; streaming goes on as it was."""
        columns = (
            np.array([getattr(bar, field) for bar in bars], dtype=np.float64)
            for field in ("open", "high", "low", "close", "volume")
        )
        return self.compute_series(*columns)

    @staticmethod
    def analyze_microstructure(
        quotes: Mapping[str, NDArray[np.generic]],
        trades: Mapping[str, NDArray[np.generic]],
        *,
        window: int = 50,
        bucket_volume: float = 10_000.0,
        buckets: int = 50,
        delay_s: float = 5.0,
        decay_s: float = 60.0,
    ) -> dict[str, _Floats]:
        """Spreads, pressure, price impact and toxicity of one symbol, by name.

        `quotes` has the columns timestamp (ns), bid, bid_size, ask, ask_size; `trades` has
        timestamp, price, size; both in the order of time. `QUOTE_FEATURES` have a value a quote,
        `TRADE_FEATURES` one a trade. A KeyError names a missing column.
        """
        measures = Microstructure(
            window=window,
            bucket_volume=bucket_volume,
            buckets=buckets,
            delay_s=delay_s,
            decay_s=decay_s,
        )

        def moments(table: Mapping[str, NDArray[np.generic]]) -> NDArray[np.int64]:
            return np.ascontiguousarray(table["timestamp"], dtype=np.int64)

        def floats(table: Mapping[str, NDArray[np.generic]], name: str) -> _Floats:
            return np.ascontiguousarray(table[name], dtype=np.float64)

        of_quotes, of_trades = measures.compute_batch(
            moments(quotes),
            floats(quotes, "bid"),
            floats(quotes, "bid_size"),
            floats(quotes, "ask"),
            floats(quotes, "ask_size"),
            moments(trades),
            floats(trades, "price"),
            floats(trades, "size"),
        )
        by_name = dict(zip(QUOTE_FEATURES, of_quotes, strict=True))
        by_name.update(zip(TRADE_FEATURES, of_trades, strict=True))
        return by_name


def main() -> int:
    """The self-check; exit code 0 when all of it holds."""
    from console.bridge.feature_check import FeatureCheckError, check

    try:
        for line in check():
            print(line)
    except FeatureCheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
