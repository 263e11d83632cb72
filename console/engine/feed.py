"""Market data in the engine: one frame of what changed, and a quote for whatever an order needs.

The receiver's thread is Rust's; here it is asked for its newest frame, at most so many times a
second, and what moved goes to the risk gate. A symbol outside the feed gets its quote by REST.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from console.broker.errors import BrokerError
from console.engine.clocks import Clocks, MarketClock, parse_time
from console.engine.events import MarketFrame
from console.engine.execution import BrokerThread, Priority
from console.engine.orders import decimal_of
from console.engine.risk import Gatekeeper
from console.engine.state import BarHistory, ConnectionState, ConnectionView

if TYPE_CHECKING:
    from console.broker.session import BrokerSession
    from signal_bridge import FeedFrame, FeedReceiver

_STATES = {state.value: state for state in ConnectionState}
SEED_DAYS = 7
"""How far back warm-up bars are looked for: over a weekend and a holiday."""
HANDED_ON_AT_MOST = 2_000
"""Bars in one answer of `history`: far below the bus's 1 MiB a message."""


class Feed:
    """See the module. `receiver` may be None: then every quote comes by REST."""

    def __init__(
        self,
        receiver: FeedReceiver | None,
        gatekeeper: Gatekeeper,
        session: BrokerSession,
        reads: BrokerThread,
        clocks: Clocks,
        market: MarketClock,
        *,
        frames_per_second: int,
        history: int,
        quote_stale_s: float,
        on_frame: Callable[[MarketFrame], None],
        on_connection: Callable[[ConnectionView], None],
        look_at_clocks: Callable[[], None],
    ) -> None:
        self._receiver = receiver
        self._gatekeeper = gatekeeper
        self._session = session
        self._reads = reads
        self._clocks = clocks
        self._market = market
        self._period_s = 1.0 / frames_per_second
        self._history = history
        self._quote_stale_s = quote_stale_s
        self._on_frame = on_frame
        self._on_connection = on_connection
        self._look_at_clocks = look_at_clocks
        self._frame: FeedFrame | None = None
        self._connection: ConnectionView | None = None
        self._asked: dict[str, asyncio.Task[None]] = {}

    @property
    def frame(self) -> FeedFrame | None:
        """The newest frame."""
        return self._frame

    @property
    def connection(self) -> ConnectionView | None:
        return self._connection

    async def run(self) -> None:
        """Take frames until cancelled."""
        if self._receiver is None:
            return
        while True:
            self.take_frame()
            await asyncio.sleep(self._period_s)

    def take_frame(self) -> None:
        """Look at the receiver once; what changed goes to the gate and to the listeners."""
        if self._receiver is None:
            return
        now = self._clocks.monotonic()
        frame = self._receiver.frame(now)
        before = self._frame
        if before is None or frame.number != before.number:
            self._frame = frame
            self._quotes(frame, before)
            self._on_frame(MarketFrame(frame))
        self._connected(frame, now)

    def _quotes(self, frame: FeedFrame, before: FeedFrame | None) -> None:
        for index in frame.changed_since(before).nonzero()[0].tolist():
            at = float(frame.quote_at[index])
            if not math.isnan(at):
                self._gatekeeper.quote(
                    frame.symbols[index],
                    float(frame.bid[index]),
                    float(frame.ask[index]),
                    float(frame.last[index]),
                    at,
                )

    def _connected(self, frame: FeedFrame, now: float) -> None:
        state = _STATES.get(frame.state, ConnectionState.LOST)
        known = self._connection
        if known is not None and known.state is state:
            return
        seen = float(frame.message_at)
        self._connection = ConnectionView(
            name="feed",
            state=state,
            since=now,
            last_seen=None if math.isnan(seen) else seen,
            detail=f"{frame.gaps} gaps, {frame.malformed} malformed",
        )
        self._on_connection(self._connection)

    def figures(self) -> dict[str, float]:
        """How the feed does, for metrics: nothing without one, no age before it was heard."""
        if self._receiver is None:
            return {}
        now = self._clocks.monotonic()
        frame = self._receiver.frame(now)
        found: dict[str, float] = {
            "feed_messages": frame.received,
            "feed_gaps": frame.gaps,
            "feed_malformed": frame.malformed,
        }
        if not math.isnan(frame.message_at):
            found["feed_age_seconds"] = max(0.0, now - frame.message_at)
        return found

    def last_price(self, symbol: str) -> Decimal | None:
        """The last trade's price in the feed."""
        frame = self._frame
        if frame is None or symbol not in frame.symbols:
            return None
        price = float(frame.last[frame.symbols.index(symbol)])
        return None if math.isnan(price) or price <= 0 else Decimal(repr(price))

    # -- quotes by REST ----------------------------------------------------------------------

    async def ensure_quote(self, symbol: str) -> None:
        """See that the gate has a fresh quote of `symbol` if one is to be had at all.

        Nothing is raised: without one the gate refuses what needs a quote, and says so.
        """
        self._look_at_clocks()
        at = self._gatekeeper.quoted_at(symbol)
        if at is not None and self._clocks.monotonic() - at <= self._quote_stale_s:
            return
        task = self._asked.get(symbol)
        if task is None:
            task = asyncio.create_task(self._fetch(symbol), name=f"quote {symbol}")
            self._asked[symbol] = task
            task.add_done_callback(lambda _: self._asked.pop(symbol, None))
        await asyncio.shield(task)

    async def _fetch(self, symbol: str) -> None:
        def ask() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            quotes = self._session.latest_quotes([symbol])
            return quotes, self._session.latest_trades([symbol])

        try:
            quotes, trades = await self._reads.run(ask, Priority.LOOK_UP)
        except (BrokerError, ValueError):
            return
        quote, trade = quotes.get(symbol) or {}, trades.get(symbol) or {}
        bid, ask_price = decimal_of(quote.get("bp")), decimal_of(quote.get("ap"))
        if bid is None or ask_price is None or not self._market.known:
            return
        now = self._clocks.monotonic()
        try:
            at = now - self._market.age_of(parse_time(str(quote.get("t"))), now)
        except ValueError:
            return
        known = self._gatekeeper.quoted_at(symbol)
        if known is None or at > known:
            last = decimal_of(trade.get("p"))
            self._gatekeeper.quote(
                symbol,
                float(bid),
                float(ask_price),
                math.nan if last is None else float(last),
                at,
            )

    def history(self, symbol: str) -> BarHistory | None:
        """The newest complete bars of `symbol`; None if it isn't followed or the clock unknown."""
        if self._receiver is None or not self._market.known:
            return None
        try:
            times, *prices = self._receiver.bars(symbol)
        except KeyError:
            return None
        minute = self._market.now(self._clocks.monotonic()).replace(second=0, microsecond=0)
        end = int(times.searchsorted(int(minute.timestamp()) * 1_000_000_000))
        kept = slice(max(0, end - HANDED_ON_AT_MOST), end)
        columns = (tuple(column[kept].tolist()) for column in prices)
        names = ("open", "high", "low", "close", "volume")
        return BarHistory(
            timestamps=tuple(times[kept].tolist()), **dict(zip(names, columns, strict=True))
        )

    # -- warm-up -----------------------------------------------------------------------------

    async def seed(self) -> str | None:
        """Fill the receiver's rings with the bars before now. Answers what kept it, if anything."""
        receiver = self._receiver
        if receiver is None or not self._market.known:
            return None
        now = self._market.now(self._clocks.monotonic())
        minute = now.replace(second=0, microsecond=0)
        wanted = list(receiver.frame(self._clocks.monotonic()).symbols)
        for symbol in wanted:

            def ask(symbol: str = symbol) -> dict[str, list[dict[str, Any]]]:
                return self._session.bars(
                    [symbol],
                    "1Min",
                    start=minute - timedelta(days=SEED_DAYS),
                    end=minute - timedelta(minutes=1),
                    limit=self._history,
                    sort="desc",
                )

            try:
                bars = (await self._reads.run(ask)).get(symbol) or []
            except (BrokerError, ValueError) as error:
                return f"no history to warm up with: {error}"
            if bars:
                _seed(receiver, symbol, bars[::-1])
        return None


def _seed(receiver: FeedReceiver, symbol: str, bars: list[dict[str, Any]]) -> None:
    import numpy as np

    times = [int(parse_time(str(bar["t"])).timestamp()) * 1_000_000_000 for bar in bars]
    columns = [np.array([float(bar[name]) for bar in bars]) for name in "ohlcv"]
    receiver.seed(symbol, np.array(times, dtype=np.int64), *columns)
