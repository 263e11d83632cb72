"""The streams for a caller without an event loop: both on one thread, which its owner joins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from console.broker.endpoint import Endpoint
from console.broker.errors import BrokerError
from console.broker.streams import MarketUpdates, StreamState, TradeUpdates

Handler = Callable[[dict[str, Any]], None]


class StreamThread:
    """Trade updates, and market data for `symbols`, until `stop`. Handlers run on its thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        on_trade_update: Handler,
        on_market_data: Handler | None,
        symbols: Sequence[str],
    ) -> None:
        self._endpoint = endpoint
        self._on_trade_update = on_trade_update
        self._on_market_data = on_market_data
        self._symbols = list(symbols)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._streams: list[TradeUpdates | MarketUpdates] = []
        self._ready = threading.Event()
        self._changed = threading.Condition()
        self.states: dict[str, StreamState] = {}
        self.failure: BrokerError | None = None
        """What ended a stream for good: keys refused, or a second connection."""
        self._thread = threading.Thread(target=self._main, name="broker-streams", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def wait_connected(self, timeout_s: float) -> bool:
        """Whether all streams are connected within `timeout_s`; raises what ended one for good."""

        def settled() -> bool:
            return self.failure is not None or self._all_connected()

        with self._changed:
            self._changed.wait_for(settled, timeout_s)
        if self.failure is not None:
            raise self.failure
        return self._all_connected()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the streams and join the thread; twice is all right."""
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            # The loop may close in between, which is what was asked for.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stop_all)
        self._thread.join(timeout_s)

    def _all_connected(self) -> bool:
        expected = 1 + (self._on_market_data is not None)
        states = list(self.states.values())
        return len(states) == expected and all(state.status == "connected" for state in states)

    def _stop_all(self) -> None:
        for stream in self._streams:
            stream.stop()

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._streams.append(
            TradeUpdates(self._endpoint, self._on_trade_update, self._noting("trade updates"))
        )
        if self._on_market_data is not None:
            self._streams.append(
                MarketUpdates(
                    self._endpoint,
                    self._on_market_data,
                    self._noting("market data"),
                    bars=self._symbols,
                    quotes=self._symbols,
                    trades=self._symbols,
                )
            )
        self._ready.set()
        await asyncio.gather(*(self._one(stream) for stream in self._streams))

    async def _one(self, stream: TradeUpdates | MarketUpdates) -> None:
        try:
            await stream.run()
        except BrokerError as error:
            with self._changed:
                self.failure = error
                self._changed.notify_all()

    def _noting(self, name: str) -> Callable[[StreamState], None]:
        def note(state: StreamState) -> None:
            with self._changed:
                self.states[name] = state
                self._changed.notify_all()

        return note
