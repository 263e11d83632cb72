"""A trailing leg on the screen: its stop in the orders pane, its story, and shares without a stop."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from pilots import MakeApp, connected, screen_text, until
from scripted import ScriptedLink, order, view

from console.engine import events as e
from console.engine import state as s
from console.engine.grammar import parse_line
from console.ui.store import Store
from console.ui.words import describe

D = Decimal
WIDE = (120, 40)
ENTRY = order(20, state=s.OrderState.FILLED, filled_qty=D(50), filled_avg_price=D("181.10"))
STOP = order(
    21,
    side=s.Side.SELL,
    order_type=s.OrderType.STOP,
    limit_price=None,
    stop_price=D("179.28"),
    parent=ENTRY.client_order_id,
    state=s.OrderState.HELD,
)
TRAIL = s.TrailView(
    entry=ENTRY.client_order_id,
    symbol="IBM",
    side=s.Side.BUY,
    phase=s.TrailPhase.TRAILING,
    trail_percent=D(1),
    high=D("181.10"),
    stop=D("179.28"),
    take_profit=D("184.72"),
    stop_order=STOP.client_order_id,
    text="take profit 184.72: at the broker · trailing stop 1 %: engine, now 179.28, high 181.10",
)


def link() -> ScriptedLink:
    return ScriptedLink(start=view(orders=(ENTRY, STOP), trails=(TRAIL,)))


async def test_the_orders_pane_marks_the_stop_that_trails(make_app: MakeApp) -> None:
    source = link()
    async with make_app(lambda: source).run_test(size=WIDE) as pilot:
        await connected(pilot)
        assert "tsl179.28" in screen_text(pilot.app)
        moved = msgspec.structs.replace(
            STOP, client_order_id="tc-moved", stop_price=D("180.00"), source="trail"
        )
        source.emit(e.OrderChanged(order=moved))
        gone = msgspec.structs.replace(
            STOP, state=s.OrderState.REPLACED, replaced_by="tc-moved", source="trail"
        )
        source.emit(e.OrderChanged(order=gone))
        source.emit(
            e.TrailChanged(trail=msgspec.structs.replace(TRAIL, stop=D(180), stop_order="tc-moved"))
        )
        await until(pilot, lambda: "tsl180.00" in screen_text(pilot.app))
        assert "179.28" not in screen_text(pilot.app), "where it stood is in its story alone"


async def test_shares_without_a_stop_are_loud(make_app: MakeApp) -> None:
    source = link()
    async with make_app(lambda: source).run_test(size=WIDE) as pilot:
        await connected(pilot)
        assert "NO STOP!" not in screen_text(pilot.app)
        bare = msgspec.structs.replace(
            TRAIL, phase=s.TrailPhase.EXPOSED, unprotected=D(50), stop_order=None
        )
        source.emit(e.TrailChanged(trail=bare))
        await until(pilot, lambda: "NO STOP!" in screen_text(pilot.app))
        assert "UNPROTECTED 50 IBM" in screen_text(pilot.app)
        over = msgspec.structs.replace(bare, phase=s.TrailPhase.ENDED, unprotected=D(0))
        source.emit(e.TrailChanged(trail=over))
        await until(pilot, lambda: "NO STOP!" not in screen_text(pilot.app))


async def test_the_story_says_who_manages_which_leg(make_app: MakeApp) -> None:
    source = link()
    async with make_app(lambda: source).run_test(size=WIDE) as pilot:
        await connected(pilot)
        await pilot.press("o", "enter")
        await until(pilot, lambda: "ORDER STORY" in screen_text(pilot.app))
        await until(pilot, lambda: "trailing stop 1 %: engine" in screen_text(pilot.app))
        assert "take profit 184.72: at the broker" in screen_text(pilot.app)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("buy 50 IBM @ 181 +2% trail 1%", "take profit +2% and a stop that trails by 1%"),
        ("buy 50 IBM @ market trail 0.75", "at market with a stop that trails by 0.75"),
    ],
)
def test_what_is_confirmed_names_the_trailing_stop(line: str, words: str) -> None:
    assert words in describe(parse_line(line), Store())
