"""Pictures of every designed state, at two sizes, in two themes (`--snapshot-update` renews)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pilots import ROUNDS, MakeApp, connected, screen_text, until
from scripted import NOW, Frame, ScriptedLink, connection, empty_view, frame, view
from textual.pilot import Pilot

from console.engine import state as s
from console.ui.app import ConsoleApp
from console.ui.store import Phase

Before = Callable[[Pilot[Any]], Awaitable[None]]
SIZES = {"wide": (120, 40), "narrow": (80, 24)}
THEMES = ("dark", "light")


def _refused() -> ScriptedLink:
    raise ConnectionRefusedError("no engine answers on port 5557; start one with trading-console")


def _lost() -> ScriptedLink:
    gone = {"state": s.ConnectionState.LOST, "since": NOW - 14, "retry_at": NOW + 3}
    names = ("feed", "broker", "updates")
    return ScriptedLink(
        start=view(connections=tuple(connection(n, **gone) for n in names)),
        first_frame=frame(ages=dict.fromkeys(("SPY", "IBM", "BAC", "AIG"), 14.0)),
    )


def _stale() -> ScriptedLink:
    still = connection("feed", state=s.ConnectionState.STALE, since=NOW - 40)
    return ScriptedLink(
        start=view(connections=(still, connection("broker"), connection("updates"))),
        first_frame=frame(ages={"AIG": 44.0, "BAC": 6.0}),
    )


def _doubtful() -> ScriptedLink:
    first = view()
    doubt = s.OrderView(
        client_order_id="tc-0099", symbol="BAC", side=s.Side.SELL, order_type=s.OrderType.MARKET,
        time_in_force=s.TimeInForce.DAY, qty=first.positions[0].qty, state=s.OrderState.UNKNOWN,
        reason="no answer within 10 s", created_at=first.orders[-1].created_at,
        updated_at=first.orders[-1].updated_at,
    )  # fmt: skip
    return ScriptedLink(
        start=view(orders=(*first.orders, doubt), trading_state=s.TradingState.HALTED)
    )


STATES: dict[str, Callable[[], Any]] = {
    "live": ScriptedLink,
    "empty": lambda: ScriptedLink(start=empty_view()),
    "stale": _stale,
    "error": lambda: _refused,
    "disconnected": _lost,
    "in_doubt": _doubtful,
    "loading": lambda: ScriptedLink(start=None, first_frame=None),
}


def _busy(app: ConsoleApp) -> bool:
    """Whether something is still under way that may change the picture."""
    entry = app.trade._entry
    checking = entry is not None and (entry.checking or entry._timer is not None)
    working = any(not w.is_finished and w.group != "frames" for w in app.workers)
    return bool(app._dirty) or checking or working


async def _settled(pilot: Pilot[Any]) -> None:
    """Until nothing is under way, everything is drawn and the screen stays as it is."""
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    await until(pilot, lambda: app.whole, "whole")
    if app.link is None or app.link.start is not None:  # type: ignore[attr-defined]
        await connected(pilot)
    shown = None
    for _ in range(ROUNDS):
        await until(pilot, lambda: not _busy(app), "idle")
        app.draw()
        await pilot.pause()
        before, shown = shown, screen_text(app)
        if shown == before and not _busy(app):
            return
    raise AssertionError("the screen never settled")


@dataclass(frozen=True)
class Seen:
    """A step of a scene: wait until these words stand on the screen, so many times."""

    words: str
    times: int = 1

    async def wait(self, pilot: Pilot[Any], app: ConsoleApp) -> None:
        await until(pilot, lambda: screen_text(app).count(self.words) >= self.times, self.words)
        await _settled(pilot)


def pressing(*steps: str | Seen) -> Before:
    """Press keys once the app is connected, and wait for what is to be seen between them."""

    async def before(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        await _settled(pilot)
        for step in steps:
            if isinstance(step, Seen):
                await step.wait(pilot, app)
            else:
                await pilot.press(step)
        await _settled(pilot)

    return before


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", STATES)
def test_trade(snap_compare: Any, make_app: MakeApp, state: str, size: str, theme: str) -> None:
    app = make_app(STATES[state](), theme=theme)

    async def before(pilot: Pilot[Any]) -> None:
        if state == "loading":
            await until(pilot, lambda: app.link is not None)
        elif state == "error":
            await until(pilot, lambda: app.store.phase is Phase.FAILED)
        await _settled(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=before)


CHECKED = Seen("✓ 14 checks")
TOO_MANY = Seen("max_order_qty")
ASKED = Seen("do it")
SCENES: dict[str, tuple[Before, str]] = {
    "ticket": (pressing("down", "b", *"100", "tab", "l", "tab", "m", CHECKED), "dark"),
    "ticket_refused": (pressing("down", "b", *"9999", TOO_MANY), "light"),
    "line_wrong": (pressing("colon", *"buy 100 IBM @@ 5"), "dark"),
    "confirm": (pressing("down", "b", *"100", CHECKED, "enter", Seen("bp after", times=2)), "dark"),
    "refused": (
        pressing("down", "b", *"9999", TOO_MANY, "enter", ASKED, "enter", Seen("REFUSED")),
        "light",
    ),
    "kill": (pressing("k", *"flat", Seen("type flatten: flat")), "dark"),
    "story": (pressing("enter", Seen("buy 20 IBM")), "dark"),
    "risk": (pressing("3", Seen("LIMITS")), "colour-blind"),
    "session": (pressing("4", Seen("FILLS")), "dark"),
    "services": (pressing("5", Seen("NOTICES")), "high-contrast"),
    "help": (pressing("question_mark", Seen("KEYS")), "dark"),
    "sixteen": (pressing("down"), "sixteen"),
    "zoomed": (pressing("z", Seen("esc back")), "dark"),
}


@pytest.mark.parametrize("scene", SCENES)
def test_scene(snap_compare: Any, make_app: MakeApp, scene: str) -> None:
    before, theme = SCENES[scene]
    assert snap_compare(make_app(theme=theme), terminal_size=SIZES["wide"], run_before=before)


@pytest.mark.parametrize("scene", ["ticket", "refused", "kill", "help"])
def test_scene_at_eighty_columns(snap_compare: Any, make_app: MakeApp, scene: str) -> None:
    assert snap_compare(make_app(), terminal_size=SIZES["narrow"], run_before=SCENES[scene][0])


def test_the_frame_has_what_the_real_one_has() -> None:
    """Pictures of a frame that the engine never sends would prove nothing."""
    import signal_bridge

    real = getattr(signal_bridge, "FeedFrame", None)
    if real is None:
        pytest.skip("the native module isn't built")
    for name in Frame.__dataclass_fields__:
        assert hasattr(real, name), name
