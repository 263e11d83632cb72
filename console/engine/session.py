"""The market's clock, kept by asking the broker, and the demo's replay under the engine's hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from console.broker.errors import BrokerError
from console.engine.clocks import Clocks, MarketClock, ReplayControl, ReplayStatus
from console.engine.commands import Ack, ControlReplay, Outcome
from console.engine.events import Event, SessionChanged
from console.engine.execution import BrokerThread, Priority
from console.engine.risk import Gatekeeper, refused
from console.engine.state import ConnectionState, ConnectionView, SessionView

if TYPE_CHECKING:
    from console.broker.session import BrokerSession

POLL_S = {"DEMO": 1.0, "EXCHANGE": 5.0, "PAPER": 30.0}
AFTER_FAILURE_S = 2.0
MEASURE_S = 0.6
"""Until the second answer where only two of them tell how fast the clock runs."""
DRIFT_S = 0.5
"""Real seconds that the clock may be off before everybody is told anew."""


class SessionWatch:
    """See the module."""

    def __init__(
        self,
        session: BrokerSession,
        reads: BrokerThread,
        clocks: Clocks,
        market: MarketClock,
        gatekeeper: Gatekeeper,
        *,
        mode: str,
        replay: ReplayControl | None,
        emit: Callable[[Event], None],
        on_connection: Callable[[ConnectionView], None],
        given_up: Callable[[], bool] = lambda: False,
        look_at_clocks: Callable[[], None],
    ) -> None:
        self._session = session
        self._reads = reads
        self._clocks = clocks
        self._market = market
        self._gatekeeper = gatekeeper
        self._period_s = POLL_S.get(mode, 30.0)
        self._replay = replay
        self._emit = emit
        self._on_connection = on_connection
        self._look_at_clocks = look_at_clocks
        self._given_up = given_up
        self._soon = asyncio.Event()
        self._told: SessionView | None = None
        self._connection: ConnectionView | None = None

    async def run(self) -> None:
        """Ask every so often, and when `soon` says so, until cancelled or the keys don't hold."""
        while not self._given_up():
            self._soon.clear()
            answered = await self.poll()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(answered)):
                    await self._soon.wait()

    def _pause_s(self, answered: bool) -> float:
        if not answered:
            return AFTER_FAILURE_S
        return self._period_s if self._market.settled else min(MEASURE_S, self._period_s)

    def soon(self) -> None:
        """The broker answers again, or for the first time: what is its time?"""
        if self._given_up() or not (self._market.known and self._is_connected()):
            self._soon.set()

    def _is_connected(self) -> bool:
        known = self._connection
        return known is not None and known.state is ConnectionState.CONNECTED

    async def poll(self) -> bool:
        """Ask once; whether the broker answered."""
        self._look_at_clocks()
        sent_at = self._clocks.monotonic()
        replay = self._replay

        def ask() -> tuple[dict[str, object], float, float, ReplayStatus | None]:
            began = self._clocks.monotonic()
            answer = self._session.clock()
            ended = self._clocks.monotonic()
            return answer, began, ended, None if replay is None else replay.control()

        try:
            answer, sent_at, received_at, playing = await self._reads.run(ask, Priority.LOOK_UP)
            if playing is not None:  # before: the answer is reckoned on from at this speed
                self._follow(playing)
            self._market.observe(answer, sent_at, received_at)
        except BrokerError as error:
            self.failed(error)
            return False
        except (KeyError, ValueError, RuntimeError) as error:
            self.failed(BrokerError(f"its clock can't be read: {error}"))
            return False
        self._answered()
        self._tell()
        return True

    def _follow(self, playing: ReplayStatus) -> None:
        speed = 0.0 if playing.paused else playing.speed
        self._market.set_speed(speed, self._clocks.monotonic())

    def _tell(self) -> None:
        view = self._market.view()
        now = self._clocks.monotonic()
        self._gatekeeper.session_changed(is_open=self._market.is_open_at(now))
        if view is not None and _differs(self._told, view):
            self._told = view
            self._emit(SessionChanged(session=view))

    def _answered(self) -> None:
        known = self._connection
        latency = self._session.stats().latency_ms
        connected = self._is_connected()
        now = self._clocks.monotonic()
        self._connection = ConnectionView(
            name="broker",
            state=ConnectionState.CONNECTED,
            since=known.since if known is not None and connected else now,
            last_seen=now,
            latency_ms=latency,
        )
        self._on_connection(self._connection)

    def failed(self, error: BrokerError) -> None:
        """A read went wrong: the broker counts as lost until it answers again."""
        known = self._connection
        now = self._clocks.monotonic()
        lost = known is not None and known.state is ConnectionState.LOST
        self._connection = ConnectionView(
            name="broker",
            state=ConnectionState.LOST,
            since=known.since if known is not None and lost else now,
            last_seen=None if known is None else known.last_seen,
            detail=error.message,
        )
        self._on_connection(self._connection)

    async def control(self, command: ControlReplay) -> Ack:
        """Play the recording otherwise, and say how it plays then."""
        replay = self._replay
        if replay is None:
            report = refused(
                "replay", "a demo", "none", "no recording plays here", "start with --demo"
            )
            return Ack(
                id=command.id,
                outcome=Outcome.REFUSED,
                message=report.refusals[0].message,
                refusals=report.refusals,
            )
        speed = None if command.speed is None else float(command.speed)

        def change() -> ReplayStatus:
            return replay.control(paused=command.paused, speed=speed, step_s=command.step_s)

        try:
            playing = await self._reads.run(change, Priority.CANCEL)
        except (BrokerError, ValueError, RuntimeError) as error:
            report = refused("replay", "1 to 1000", str(command.speed), str(error), "")
            return Ack(
                id=command.id, outcome=Outcome.REFUSED, message=str(error), refusals=report.refusals
            )
        self._follow(playing)
        self._market.jump(playing.market_time, self._clocks.monotonic())
        await self.poll()
        how = f"plays at {playing.speed:g}×"
        if playing.paused:
            how = f"paused; {how} when it goes on"
        return Ack(id=command.id, outcome=Outcome.ACCEPTED, message=how)


def _differs(told: SessionView | None, now: SessionView) -> bool:
    if told is None:
        return True
    same = (told.is_open, told.next_open, told.next_close, told.speed) == (
        now.is_open, now.next_open, now.next_close, now.speed,
    )  # fmt: skip
    predicted = (now.as_of - told.as_of) * told.speed
    actual = (now.market_time - told.market_time).total_seconds()
    return not same or abs(predicted - actual) > DRIFT_S * max(told.speed, 1.0)
