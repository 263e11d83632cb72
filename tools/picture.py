"""The README's picture: the real console on the real demo, an order filled by keys.

    python tools/picture.py docs/console.svg

Starts the demo with free ports and a state of its own, waits until prices have moved for a while,
buys, and saves what stands on the screen.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent
SIZE = (130, 40)
LIMIT_S = 90.0
PORTS = (
    "health", "market_data_health", "execution_engine_health", "risk_manager_health", "market",
    "signal", "commands", "events", "risk", "exchange",
)  # fmt: skip

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from console.ui.app import ConsoleApp


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python tools/picture.py FILE.svg", file=sys.stderr)
        return 2
    if importlib.util.find_spec("signal_bridge._native") is None:
        print(
            "the native half isn't built: run `make signal_bridge/_native.abi3.so`", file=sys.stderr
        )
        return 1
    os.environ["TEXTUAL_COLOR_SYSTEM"] = "truecolor"
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as state:
        target.write_text(asyncio.run(_picture(Path(state))), encoding="utf-8")
    print(target)
    return 0


async def _picture(state: Path) -> str:
    from console.config import Overrides, load_settings
    from console.host import HostThread
    from console.ui.app import ConsoleApp

    free = tuple(f"ports.{name}=0" for name in PORTS)
    overrides = Overrides(demo=True, state_dir=state, speed=60.0, values=free)
    settings = load_settings(overrides)
    host = HostThread(lambda: settings, overrides=overrides)
    host.start()
    try:
        app = ConsoleApp(
            lambda: host.link.result(LIMIT_S),
            feed_columns=settings.feed.features,
            confirm="none",
            mode="DEMO",
        )
        async with app.run_test(size=SIZE) as pilot:
            await _trade(app, pilot)
            return app.export_screenshot(title="trading-console --demo")
    finally:
        host.stop()


async def _trade(app: ConsoleApp, pilot: Pilot[Any]) -> None:
    """Half an hour of the market, a position, an order that waits, a ticket half written."""
    store = app.store

    def minutes() -> int:
        bars = app.bars("IBM", 400)
        return len(bars[0]) if bars is not None else 0

    await _until(pilot, lambda: store.is_open and minutes() > 40, "an open market with bars")
    await pilot.press("slash", *"ibm", "enter", "b", *"100", "enter")
    await _until(pilot, lambda: "IBM" in store.positions, "the first fill")
    await pilot.press("colon", *"buy 50 IBM @ bid-0.15 gtc", "enter")
    await _until(pilot, lambda: bool(store.open_orders("IBM")), "a waiting order")
    start = minutes()
    await _until(pilot, lambda: minutes() > start + 25, "some minutes more")
    await pilot.press("escape", "slash", *"ibm", "enter", "b", *"50", "tab", "l", "tab", "b")
    await _until(pilot, lambda: app.trade.entry.report is not None, "the risk line")
    await pilot.pause(0.2)


async def _until(pilot: Pilot[Any], condition: Callable[[], bool], what: str) -> None:
    for _ in range(int(LIMIT_S / 0.05)):
        if condition():
            return
        await pilot.pause(0.05)
    raise TimeoutError(f"{what} did not come within {LIMIT_S:g} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
