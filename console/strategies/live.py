"""A strategy on the bus: bars in from the market, signals out to the execution-engine.

What is held comes from the engine's events; nothing here trades. Warmed up with the bars before
now, so that no decision is made on a feature without a value.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from console.bridge import (
    BusHealth,
    BusTimeoutError,
    Heartbeat,
    MarketBar,
    RustFeatureComputer,
    ZMQPublisher,
    ZMQSubscriber,
)
from console.bridge import Signal as BusSignal
from console.bridge.messages import ENGINE, MARKET, SIGNAL, MessageType
from console.bridge.security import BusKeys
from console.strategies.base import (
    Answer,
    Bar,
    Fill,
    Portfolio,
    Quote,
    Signal,
    Strategy,
    signals_of,
)

log = logging.getLogger(__name__)

CONNECT_S = 10.0
SNAPSHOT_S = 30.0
SEND_S = 5.0
"""An older signal is about another market; it is counted and left out."""
REMEMBERED_ORDERS = 10_000
"""Of its own, so that a fill that comes after the order's end is known too."""

History = Callable[[str], Awaitable[Sequence[Bar]]]
"""The newest complete minute bars of a symbol, oldest first."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the bus is: `tcp://host:port` each."""

    market: str
    signals: str
    events: str


@dataclass(slots=True)
class Counts:
    """What went through since the start."""

    bars: int = 0
    late: int = 0
    """Bars that came again or out of order, and were left out."""
    shown: int = 0
    """Bars that the strategy was shown."""
    warmed_up: int = 0
    quotes: int = 0
    fills: int = 0
    signals: int = 0
    unsent: int = 0
    """Signals that found no execution-engine in time."""
    gaps: int = 0


class LiveStrategy:
    """Runs one strategy until it is told to stop. Of one event loop.

    Args:
        symbols: what it follows; the engine must follow them too.
        history: asked once a symbol, before the first decision.
        flat_on_exit: signals flat for what is held when it ends, however it ends.
    """

    def __init__(
        self,
        strategy: Strategy,
        symbols: Sequence[str],
        addresses: Addresses,
        *,
        history: History,
        high_water_mark: int = 32_768,
        stale_after_s: float = 5.0,
        heartbeat_s: float = 1.0,
        keys: BusKeys | None = None,
        flat_on_exit: bool = False,
    ) -> None:
        self.counts = Counts()
        self.name = strategy.title()
        self.ready = asyncio.Event()
        """Set when it is warm and may decide."""
        self._strategy = strategy
        self._symbols = tuple(symbols)
        self._followed = frozenset(symbols)
        self._addresses = addresses
        self._history = history
        self._flat_on_exit = flat_on_exit
        self._portfolio = Portfolio(self._symbols)
        names = strategy.feature_names()
        self._computer = RustFeatureComputer(names) if names else None
        self._numbers = np.full(len(names), math.nan)
        self._row = strategy.row()
        self._last: dict[str, int] = {}
        self._wanted: set[str] = set()
        self._own_orders: dict[str, None] = {}
        kind = type(strategy)
        self._on_quote = strategy.on_quote if kind.overrides("on_quote") else None
        self._on_fill = strategy.on_fill if kind.overrides("on_fill") else None
        bus: dict[str, Any] = {"high_water_mark": high_water_mark, "keys": keys}
        self._events = ZMQSubscriber(addresses.events, stale_after_s=stale_after_s, **bus)
        self._market = ZMQSubscriber(addresses.market, stale_after_s=stale_after_s, **bus)
        self._publisher = ZMQPublisher(
            addresses.signals, component=f"strategy {self.name}", heartbeat_s=heartbeat_s,
            timeout_s=SEND_S, **bus,
        )  # fmt: skip

    def health(self) -> dict[str, BusHealth]:
        """How its three connections do; never waits."""
        return {
            "market": self._market.health(),
            "events": self._events.health(),
            "signals": self._publisher.health(),
        }

    async def run(self, stop: asyncio.Event) -> Counts:
        """Warm up, decide until `stop`, then let go of the bus.

        Raises:
            BusTimeoutError: market, engine or execution-engine aren't there.
            Exception: whatever the strategy raises, with a note of what it was told.
        """
        async with AsyncExitStack() as bus:
            for end in (self._events, self._market, self._publisher):
                await bus.enter_async_context(end)
            await self._events.connect([ENGINE], timeout_s=CONNECT_S)
            await self._market.connect([MARKET], timeout_s=CONNECT_S)
            await self._first_snapshot()
            self._strategy.begin(self._symbols)
            await self._warm_up()
            # Says that it is there, and finds out whether somebody listens.
            await self._publisher.publish(Heartbeat(f"strategy {self.name}"), SIGNAL)
            self.ready.set()
            log.info("%s runs on %s", self.name, ", ".join(self._symbols))
            try:
                await self._until(stop)
            finally:
                if self._flat_on_exit:
                    await self._flatten()
                self.counts.gaps = self._market.health().gaps or 0
        return self.counts

    async def _until(self, stop: asyncio.Event) -> None:
        tasks = [
            asyncio.create_task(self._follow_market(), name="market"),
            asyncio.create_task(self._follow_events(), name="events"),
            asyncio.create_task(stop.wait(), name="stop"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_snapshot(self) -> None:
        try:
            async with asyncio.timeout(SNAPSHOT_S):
                async for _topic, event in self._events.receive():
                    self._take_event(event)
                    if event["type"] == "Snapshot":
                        return
        except TimeoutError:
            raise BusTimeoutError(
                f"{self._addresses.events}: the engine told nothing within {SNAPSHOT_S:g} s; "
                "see `trading-console status`"
            ) from None

    # -- bars --------------------------------------------------------------------------------

    async def _warm_up(self) -> None:
        """Shows the newest session's bars to the strategy too; what it answers is left aside."""
        needed = self._strategy.warm_up()
        for symbol in self._symbols:
            bars = await self._history(symbol)
            today = bars[-1].timestamp - bars[-1].minute * 60_000_000_000 if bars else 0
            for bar in bars:
                features = self._take_bar(bar)
                self.counts.warmed_up += 1
                if features is not None and bar.timestamp >= today:
                    self._told(self._strategy.on_bar, "bar", bar, features, self._portfolio)
            if len(bars) < needed:
                log.warning(
                    "%s: %d bars to warm up with, %d are needed; it decides %d bars from now",
                    symbol, len(bars), needed, needed - len(bars),
                )  # fmt: skip

    def _take_bar(self, bar: Bar) -> Any | None:
        """The row of features; None where it isn't one to decide on."""
        self._last[bar.symbol] = bar.timestamp
        self._portfolio.mark(bar.symbol, bar.close)
        if self._computer is not None:
            told = MarketBar(
                bar.symbol, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.timestamp
            )
            self._computer.update_into(told, self._numbers)
        values = self._numbers.tolist()
        if not bar.is_regular or not all(map(math.isfinite, values)):
            return None
        return self._row(values)

    async def _follow_market(self) -> None:
        async for _topic, message in self._market.receive():
            if message.get("symbol") not in self._followed:
                continue
            match message["type"]:
                case MessageType.BAR_UPDATE:
                    await self._on_market_bar(message)
                case MessageType.QUOTE_UPDATE if self._on_quote is not None:
                    await self._on_market_quote(message)
                case MessageType.TRADE_UPDATE:
                    self._portfolio.mark(message["symbol"], message["price"])

    async def _on_market_bar(self, message: dict[str, Any]) -> None:
        if message["timeframe"] != "1Min":
            return
        self.counts.bars += 1
        symbol, timestamp = message["symbol"], message["timestamp"]
        if timestamp <= self._last.get(symbol, -1):
            self.counts.late += 1
            return
        bar = Bar(
            symbol, message["open"], message["high"], message["low"], message["close"],
            message["volume"], timestamp,
        )  # fmt: skip
        features = self._take_bar(bar)
        if features is None:
            return
        self.counts.shown += 1
        signals = self._told(self._strategy.on_bar, "bar", bar, features, self._portfolio)
        await self._send(signals, bar.end)

    async def _on_market_quote(self, message: dict[str, Any]) -> None:
        self.counts.quotes += 1
        quote = Quote(
            message["symbol"], message["bid_price"], message["ask_price"], message["bid_size"],
            message["ask_size"], message["timestamp"],
        )  # fmt: skip
        assert self._on_quote is not None
        signals = self._told(self._on_quote, "quote", quote, self._portfolio)
        await self._send(signals, quote.timestamp)

    # -- what is held ------------------------------------------------------------------------

    async def _follow_events(self) -> None:
        async for _topic, event in self._events.receive():
            fill = self._take_event(event)
            if fill is not None and self._on_fill is not None:
                self.counts.fills += 1
                signals = self._told(self._on_fill, "fill", fill, self._portfolio)
                await self._send(signals, fill.timestamp)

    def _take_event(self, event: dict[str, Any]) -> Fill | None:
        match event["type"]:
            case "Snapshot":
                state = event["state"]
                for order in state.get("orders") or ():
                    self._take_order(order)
                self._take_positions(state.get("positions") or ())
                if state.get("account"):
                    self._take_account(state["account"])
            case "PositionsChanged":
                self._take_positions(event["positions"])
            case "AccountChanged":
                self._take_account(event["account"])
            case "OrderChanged":
                self._take_order(event["order"])
            case "OrderFilled" if event["client_order_id"] in self._own_orders:
                at = datetime.fromisoformat(event["at"])
                return Fill(
                    event["symbol"], event["side"], float(event["qty"]), float(event["price"]),
                    int(at.timestamp() * 1e6) * 1_000,
                )  # fmt: skip
        return None

    def _take_order(self, order: dict[str, Any]) -> None:
        if order.get("source") != f"signal:{self.name}" or order["symbol"] not in self._symbols:
            return
        self._own_orders[order["client_order_id"]] = None
        if len(self._own_orders) > REMEMBERED_ORDERS:
            del self._own_orders[next(iter(self._own_orders))]

    def _take_positions(self, positions: Sequence[dict[str, Any]]) -> None:
        held = {position["symbol"]: position for position in positions}
        for symbol in self._symbols:
            position = held.get(symbol)
            if position is None:
                self._portfolio.hold(symbol, 0.0, math.nan)
            else:
                qty, average = float(position["qty"]), float(position["avg_entry_price"])
                self._portfolio.hold(symbol, qty, average)

    def _take_account(self, account: dict[str, Any]) -> None:
        self._portfolio.set_account(float(account["cash"]), float(account["equity"]))

    # -- signals -----------------------------------------------------------------------------

    def _told(self, call: Callable[..., Answer], what: str, *told: Any) -> tuple[Signal, ...]:
        try:
            return signals_of(call(*told))
        except Exception as error:
            first = told[0]
            error.add_note(
                f"while the strategy was told of a {what} of {first.symbol} at {first.timestamp} ns"
            )
            raise

    async def _send(self, signals: Sequence[Signal], at: int) -> None:
        for number, signal in enumerate(signals):
            told = BusSignal(
                signal.symbol, signal.direction, signal.strength, at, strategy=self.name,
                id=f"{signal.symbol}-{at}-{number}",
            )  # fmt: skip
            try:
                await self._publisher.publish_signal(told)
            except BusTimeoutError as error:
                self.counts.unsent += 1
                log.warning("not sent: %s %s: %s", signal.symbol, signal.direction, error)
            else:
                self.counts.signals += 1
                if signal.direction == "flat":
                    self._wanted.discard(signal.symbol)
                else:
                    self._wanted.add(signal.symbol)
                log.info("%s %s %g", signal.symbol, signal.direction, signal.strength)

    async def _flatten(self) -> None:
        # What was signaled may be held without having been told of yet.
        symbols = sorted(self._wanted.union(self._portfolio.positions))
        held = [Signal(symbol, "flat") for symbol in symbols]
        with suppress(asyncio.CancelledError):
            await self._send(held, max(self._last.values(), default=0) + 1)
