"""Pictures of every designed state, at two sizes, in two themes (`--snapshot-update` renews)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pilots import MakeApp, connected, until
from scripted import NOW, Frame, ScriptedLink, connection, empty_view, frame, view
from textual.pilot import Pilot

from console.engine import state as s
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


async def _settled(pilot: Pilot[Any]) -> None:
    app = pilot.app
    if app.link is None or app.link.start is not None:  # type: ignore[attr-defined]
        await connected(pilot)
    await until(pilot, lambda: not app._dirty)  # type: ignore[attr-defined]
    app.draw()  # type: ignore[attr-defined]
    await pilot.pause()


def pressing(*keys: str, until_text: str = "") -> Before:
    """Press keys once the app is connected, and wait for a word."""

    async def before(pilot: Pilot[Any]) -> None:
        from pilots import screen_text

        await _settled(pilot)
        await pilot.press(*keys)
        if until_text:
            await until(pilot, lambda: until_text in screen_text(pilot.app), until_text)  # type: ignore[arg-type]
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


SCENES: dict[str, tuple[Before, str]] = {
    "ticket": (
        pressing("down", "b", *"100", "tab", "l", "tab", "m", until_text="✓ 14 checks"),
        "dark",
    ),
    "ticket_refused": (pressing("down", "b", *"9999", until_text="max_order_qty"), "light"),
    "line_wrong": (pressing("colon", *"buy 100 IBM @@ 5"), "dark"),
    "confirm": (pressing("down", "b", *"100", "enter", until_text="bp after"), "dark"),
    "refused": (pressing("down", "b", *"9999", "enter", "enter", until_text="REFUSED"), "light"),
    "kill": (pressing("k", *"flat"), "dark"),
    "story": (pressing("enter", until_text="slippage"), "dark"),
    "risk": (pressing("3", until_text="LIMITS"), "colour-blind"),
    "session": (pressing("4", until_text="FILLS"), "dark"),
    "services": (pressing("5", until_text="NOTICES"), "high-contrast"),
    "help": (pressing("question_mark", until_text="KEYS"), "dark"),
    "sixteen": (pressing("down"), "sixteen"),
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
