"""The last trades that trailing legs follow: the feed's, or asked for where it has none."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import TYPE_CHECKING

from console.broker.errors import BrokerError
from console.engine.clocks import Clocks, MarketClock, parse_time
from console.engine.execution import BrokerThread, Priority
from console.engine.orders import decimal_of

if TYPE_CHECKING:
    from console.broker.session import BrokerSession
    from signal_bridge import FeedFrame

ASK_EVERY_S = 2.0


class LastPrices:
    """See the module. Of the engine's loop alone."""

    def __init__(
        self,
        session: BrokerSession,
        reads: BrokerThread,
        clocks: Clocks,
        market: MarketClock,
        *,
        stale_s: float,
    ) -> None:
        self._session = session
        self._reads = reads
        self._clocks = clocks
        self._market = market
        self._stale_s = stale_s
        self._followed: set[str] = set()
        self._frame: FeedFrame | None = None
        self._known: dict[str, tuple[Decimal, float]] = {}

    def follow(self, symbols: AbstractSet[str], *, only: bool = False) -> None:
        """Keep the prices of these too; with `only`, of no others."""
        self._followed = set(symbols) if only else self._followed | symbols
        if self._frame is not None:
            self.frame(self._frame)

    def doubt(self) -> None:
        """Nobody knows how old they are: until newer ones come there are none."""
        self._known.clear()
        self._frame = None

    def frame(self, frame: FeedFrame) -> None:
        """A new frame of the feed."""
        self._frame = frame
        for symbol in self._followed.intersection(frame.symbols):
            row = frame.symbols.index(symbol)
            price, at = float(frame.last[row]), float(frame.last_at[row])
            if price > 0 and not math.isnan(at):
                self._known[symbol] = (Decimal(repr(price)), at)

    def fresh(self, symbol: str) -> Decimal | None:
        """The last trade's price; None where it is older than quotes may be."""
        price, at = self._known.get(symbol, (None, -math.inf))
        return price if self._clocks.monotonic() - at <= self._stale_s else None

    def _is_fed(self, symbol: str) -> bool:
        fed = self._frame is not None and symbol in self._frame.symbols
        return fed and self.fresh(symbol) is not None

    async def run(self) -> None:
        """Ask for those that no feed tells, until cancelled. Without an answer there are none."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            await self.poll()

    async def poll(self) -> None:
        """Ask once."""
        wanted = sorted(s for s in self._followed if not self._is_fed(s))
        if not wanted or not self._market.is_open_at(self._clocks.monotonic()):
            return
        try:
            trades = await self._reads.run(
                lambda: self._session.latest_trades(wanted), Priority.LOOK_UP
            )
        except (BrokerError, ValueError):
            return
        now = self._clocks.monotonic()
        for symbol, trade in trades.items():
            price = decimal_of(trade.get("p"))
            try:
                at = now - self._market.age_of(parse_time(str(trade.get("t"))), now)
            except ValueError:
                continue
            if price is not None and price > 0:
                self._known[symbol] = (price, at)
