"""`trading-console strategy`: what there is, and one of them on a running engine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from console.bridge import BusError
from console.cli.backtest import symbols_of, told_of
from console.cli.finding import find_engine
from console.cli.output import Format, print_json, table
from console.config import Overrides, load_settings
from console.engine.bus import keys_in
from console.engine.commands import GetBars
from console.engine.link import LinkError, RemoteLink
from console.engine.runtime import RuntimeInfo
from console.exits import OK, REFUSED, UNAVAILABLE, USAGE, ExitError
from console.logs import start_logs
from console.strategies import Bar, Strategy
from console.strategies.live import Addresses, Counts, LiveStrategy
from console.strategies.loading import BUILT_IN, find_strategy
from console.strategies.parameters import Parameter, read_assignments
from signal_bridge import NATIVE_STRATEGIES

log = logging.getLogger("console.strategies")

HISTORY_S = 15.0
DRAIN_S = 4.5
"""From a stop signal to the end; what isn't done by then is left."""


def show_strategies(style: Format) -> int:
    """Name, first line and parameters of each strategy in the package."""
    found = {name: find_strategy(name) for name in BUILT_IN}

    def summary(name: str) -> str:
        module = sys.modules[found[name].__module__]
        return (module.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")

    if style is Format.JSON:
        print_json(
            [
                {
                    "name": name,
                    "summary": summary(name),
                    "features": list(kind.features),
                    "native": name in NATIVE_STRATEGIES,
                    "parameters": {
                        key: _as_document(parameter) for key, parameter in kind.parameters.items()
                    },
                }
                for name, kind in found.items()
            ]
        )
        return OK
    for name, kind in found.items():
        twin = "; also in Rust (--native)" if name in NATIVE_STRATEGIES else ""
        print(f"{name}: {summary(name)}{twin}")
        rows = [
            (key, str(parameter.default).lower(), parameter.rule, parameter.help)
            for key, parameter in kind.parameters.items()
        ]
        print(table(rows, indent="    "))
    print("Your own: module:Class, or path/to/file.py:Class (docs/strategies.md).")
    return OK


def _as_document(parameter: Parameter) -> dict[str, object]:
    return {
        "type": parameter.kind.__name__,
        "default": parameter.default,
        "low": parameter.low,
        "high": parameter.high,
        "choices": list(parameter.choices),
        "help": parameter.help,
    }


def run_on_the_bus(
    overrides: Overrides,
    name: str,
    symbols: str | None,
    params: Sequence[str],
    *,
    flat_on_exit: bool,
) -> int:
    """Run it on the engine that runs, until a signal comes. Raises `ExitError`, `StrategyError`."""
    kind = find_strategy(name)
    strategy = kind(**read_assignments(kind.title(), kind.parameters, list(params)))
    runtime = find_engine(overrides)
    settings = load_settings(
        Overrides(config=overrides.config, profile=overrides.profile, values=overrides.values,
                  demo=True)
    )  # fmt: skip
    followed = _followed(strategy, symbols_of(symbols), runtime)
    logs = start_logs(level=settings.log.level, style=settings.log.format)
    try:
        counts = asyncio.run(
            _run(strategy, followed, runtime, settings.bus.heartbeat_s, flat_on_exit=flat_on_exit)
        )
    except BusError as error:
        raise ExitError(str(error), UNAVAILABLE) from None
    except ExitError:
        raise
    except Exception as error:
        raise ExitError(
            f"{strategy.title()}: {told_of(error)}; correct it there", REFUSED
        ) from error
    finally:
        logs.stop()
    print(
        f"{strategy.title()}: {counts.bars:,} bars, {counts.signals:,} signals, "
        f"{counts.unsent:,} unsent, {counts.gaps:,} messages missed"
    )
    return OK


def _followed(strategy: Strategy, chosen: tuple[str, ...], runtime: RuntimeInfo) -> tuple[str, ...]:
    symbols = chosen or strategy.symbols or runtime.symbols
    if unknown := [symbol for symbol in symbols if symbol not in runtime.symbols]:
        raise ExitError(
            f"the engine doesn't follow {', '.join(unknown)}, only {', '.join(runtime.symbols)}; "
            "name it in feed.symbols there",
            USAGE,
        )
    return symbols


def _addresses(runtime: RuntimeInfo) -> Addresses:
    try:
        return Addresses(*(runtime.url(port) for port in ("market", "signal", "events")))
    except KeyError as error:
        raise ExitError(
            f"the engine (pid {runtime.pid}) has no port {error.args[0]!r}: does it run with "
            "market-data and execution-engine? See `trading-console status`",
            UNAVAILABLE,
        ) from None


async def _run(
    strategy: Strategy,
    symbols: tuple[str, ...],
    runtime: RuntimeInfo,
    heartbeat_s: float,
    *,
    flat_on_exit: bool,
) -> Counts:
    keys = keys_in(Path(runtime.keys_dir)) if runtime.keys_dir else None
    link = RemoteLink(runtime, with_feed=False, keys=keys)

    async def history(symbol: str) -> list[Bar]:
        try:
            ack = await link.request(
                GetBars(symbol=symbol, source=f"strategy:{strategy.title()}"), timeout_s=HISTORY_S
            )
        except LinkError as error:
            raise ExitError(str(error), UNAVAILABLE) from None
        kept = ack.bars
        if kept is None:
            raise ExitError(f"no bars to warm up with: {ack.message}", UNAVAILABLE)
        columns = (kept.open, kept.high, kept.low, kept.close, kept.volume, kept.timestamps)
        return [Bar(symbol, *row) for row in zip(*columns, strict=True)]

    stop = asyncio.Event()
    _listen_for_signals(stop)
    live = LiveStrategy(
        strategy,
        symbols,
        _addresses(runtime),
        history=history,
        high_water_mark=runtime.high_water_mark,
        stale_after_s=runtime.stale_after_s,
        heartbeat_s=heartbeat_s,
        keys=keys,
        flat_on_exit=flat_on_exit,
    )
    try:
        return await live.run(stop)
    finally:
        await link.close()


def _listen_for_signals(stop: asyncio.Event) -> None:
    """The first signal drains, the second leaves at once; so does a drain that takes too long."""
    loop = asyncio.get_running_loop()

    def signalled(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("stopping: %s", signal.Signals(number).name)
        stop.set()
        loop.call_later(DRAIN_S, os._exit, 128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signalled, number)
