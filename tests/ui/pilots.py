"""Waiting for the app and reading its screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

from console.ui.app import ConsoleApp
from console.ui.store import Phase

MakeApp = Callable[..., ConsoleApp]
ROUNDS = 600
"""How often a condition is looked at before it counts as never met (30 s)."""


async def until(pilot: Pilot[Any], condition: Callable[[], object], what: str = "") -> None:
    """Let the app go on until `condition` holds."""
    for _ in range(ROUNDS):
        if condition():
            await pilot.pause()
            return
        await pilot.pause(0.05)
    raise AssertionError(f"never: {what or condition}")


async def connected(pilot: Pilot[Any]) -> None:
    """Until the first snapshot and frame are on the screen."""
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    await until(pilot, lambda: app.store.phase is not Phase.CONNECTING, "connected")
    await until(pilot, lambda: not app._dirty, "drawn")
    app.draw()
    await pilot.pause()


def screen_text(app: ConsoleApp) -> str:
    """What stands on the screen, as plain lines."""
    lines = []
    for strip in app.screen._compositor.render_strips():
        lines.append("".join(segment.text for segment in strip))
    return "\n".join(lines)
