"""`trading-console replay`: a folder of recorded prices onto the bus, and a count of what went."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from console.bridge import BusError, BusTimeoutError, Heartbeat, ZMQPublisher
from console.bridge.messages import MARKET, Message
from console.bridge.tape import Sent, play
from console.cli.backtest import open_recording, symbols_of
from console.cli.output import Format, print_json, say
from console.config import Overrides, Settings, load_settings
from console.exits import CONFIG, OK, UNAVAILABLE, USAGE, ExitError
from signal_bridge import Recording, Tape

if TYPE_CHECKING:
    from console.bridge.security import BusKeys

PATIENCE_S = 60.0
"""A reader that takes nothing for so long ends the replay."""
MOST_SPEED = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What `replay` was asked for."""

    data: str | None = None
    start: str | None = None
    end: str | None = None
    symbols: str | None = None
    speed: float = 60.0
    only_bars: bool = False
    wait_s: float = 60.0


def run_replay(overrides: Overrides, request: ReplayRequest, style: Format) -> int:
    """Play it once and say what was sent. Raises `ExitError` and `ConfigError`."""
    if not 0 <= request.speed <= MOST_SPEED:
        raise ExitError(f"--speed {request.speed:g}: 0 to {MOST_SPEED:g} is taken", USAGE)
    settings = load_settings(
        Overrides(
            config=overrides.config,
            profile=overrides.profile,
            values=overrides.values,
            state_dir=overrides.state_dir,
            demo=True,
        )
    )
    recording = open_recording(request.data, settings)
    try:
        symbols = list(symbols_of(request.symbols)) or recording.symbols
        # How often a quiet quote is said again; without a speed there is no second to do so in.
        every = request.speed or 60.0
        tape = Tape(recording, symbols, request.start, request.end, every)
    except ValueError as error:
        raise ExitError(str(error), USAGE) from None
    sent = Sent()
    try:
        asyncio.run(_play(settings, tape, request, style, sent))
    except BusTimeoutError as error:
        raise ExitError(f"{error}; {_in_words(sent)}", UNAVAILABLE) from None
    except BusError as error:
        raise ExitError(f"ports.market: {error}", CONFIG) from None
    _tell(sent, recording, style)
    return OK


async def _play(
    settings: Settings, tape: Tape, request: ReplayRequest, style: Format, sent: Sent
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    bind = f"[{settings.bus.bind}]" if ":" in settings.bus.bind else settings.bus.bind
    port = str(settings.ports.market or "*")
    async with ZMQPublisher(
        f"tcp://{bind}:{port}",
        bind=True,
        component="replay",
        timeout_s=PATIENCE_S,
        high_water_mark=settings.bus.high_water_mark,
        heartbeat_s=settings.bus.heartbeat_s,
        keys=_keys(settings),
    ) as publisher:
        if style is Format.JSON:
            print_json({"endpoint": publisher.endpoint})
        else:
            say(f"{publisher.endpoint}: waiting for a reader")
        waiting = asyncio.create_task(publisher.subscribed(MARKET, request.wait_s))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return
        stopping.cancel()
        await waiting
        await publisher.publish(Heartbeat("replay"), MARKET)

        async def publish(message: Message) -> None:
            await publisher.publish(message, MARKET)

        await play(
            tape, publish, speed=request.speed, only_bars=request.only_bars, stop=stop, sent=sent
        )


def _keys(settings: Settings) -> BusKeys | None:
    if not settings.bus.security.enabled:
        return None
    from console.engine.bus import keys_in

    return keys_in(settings.keys_dir)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1e9, UTC)


def _in_words(sent: Sent) -> str:
    until = ""
    if sent.last_at:
        until = f", up to {_moment(sent.last_at):%Y-%m-%d %H:%M:%S} UTC"
    return f"sent {sent.bars:,} bars, {sent.quotes:,} quotes and {sent.trades:,} trades{until}"


def _tell(sent: Sent, recording: Recording, style: Format) -> None:
    if style is Format.JSON:
        print_json(
            {
                "bars": sent.bars,
                "quotes": sent.quotes,
                "trades": sent.trades,
                "last_at": _moment(sent.last_at) if sent.last_at else None,
                "sessions": len(recording.sessions),
            }
        )
    else:
        print(_in_words(sent))
