"""The registry: one key means one thing, everything derives from it, keys can be rebound."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pilots import MakeApp, connected, screen_text, until
from scripted import ScriptedLink

from console.ui import actions as registry
from console.ui.app import ConsoleApp
from console.ui.screens.dialogs import ConfirmDialog, KillDialog
from console.ui.screens.help import help_lines
from console.ui.screens.session import SessionScreen
from console.ui.screens.trade import TradeScreen
from console.ui.widgets.command_line import CommandLine
from console.ui.widgets.grid import Grid
from console.ui.widgets.ticket import Ticket

OWNERS = (
    ConsoleApp,
    TradeScreen,
    Grid,
    Ticket,
    CommandLine,
    ConfirmDialog,
    KillDialog,
    SessionScreen,
)


def test_no_two_actions_share_a_key_in_one_context() -> None:
    assert list(registry.clashes()) == []


def test_a_clash_would_be_found() -> None:
    buy = registry.BY_ID["order.buy"]
    clash = (*registry.ACTIONS, replace(buy, id="other", key="s"))
    assert [key for key, _, _ in registry.clashes(clash)] == ["s"]


def test_ids_are_unique_and_every_action_is_carried_out_somewhere() -> None:
    assert len(registry.BY_ID) == len(registry.ACTIONS)
    for action in registry.ACTIONS:
        assert any(hasattr(owner, action.method) for owner in OWNERS), action.id


def test_every_action_has_a_place_in_the_help() -> None:
    page = "\n".join("".join(t for t, _ in line) for line in help_lines(registry.ACTIONS, 200))
    for action in registry.ACTIONS:
        assert action.key_text in page
        assert action.tooltip in page, action.id


def test_keys_are_rebound_by_id() -> None:
    actions = registry.rebind({"order.buy": "B"})
    assert next(a for a in actions if a.id == "order.buy").key == "B"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"order.bye": "B"}, "order.bye: no such action; known are order.buy"),
        ({"order.buy": " "}, "order.buy: the key is empty"),
        ({"order.buy": "s"}, "'s' would do both order.buy and order.sell"),
        ({"order.buy": "/"}, "would do both"),
    ],
)
def test_what_cannot_be_rebound_says_why(keys: dict[str, str], words: str) -> None:
    with pytest.raises(registry.KeymapError, match=words):
        registry.rebind(keys)


async def test_a_rebound_key_works_and_the_old_one_does_not(make_app: MakeApp) -> None:
    app = make_app(keys={"order.buy": "B", "kill": "f9"})
    async with app.run_test(size=(120, 40)) as pilot:
        await connected(pilot)
        assert "B buy" in screen_text(app)
        await pilot.press("b")
        assert not app.trade.entry.active
        await pilot.press("B")
        assert app.trade.entry.active
        await pilot.press("escape", "k")
        assert not isinstance(app.screen, KillDialog)
        await pilot.press("f9")
        assert isinstance(app.screen, KillDialog)


async def test_the_footer_shows_the_keys_of_the_moment(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await connected(pilot)
        assert "k kill  " in screen_text(pilot.app)
        await pilot.press("b")
        await until(pilot, lambda: "tab next field" in screen_text(pilot.app))
        assert "k kill  " not in screen_text(pilot.app)


async def test_what_is_not_allowed_does_nothing(make_app: MakeApp) -> None:
    link = ScriptedLink(start=None, first_frame=None)
    async with make_app(link).run_test(size=(120, 40)) as pilot:
        await pilot.press("k", "C", "x", "c", "space")
        await pilot.pause()
        assert len(pilot.app.screen_stack) == 1
        assert not link.requests


async def test_letters_in_the_ticket_and_the_line_are_text(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await connected(pilot)
        await pilot.press("b", "k", "z")
        assert pilot.app.trade.entry.draft.symbol == "KZ"
        await pilot.press("escape", "colon", "k")
        assert pilot.app.trade.entry.line.value == "k"
        assert len(pilot.app.screen_stack) == 1


async def test_the_palette_holds_every_action_allowed_now(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await connected(pilot)
        await pilot.press("ctrl+p", *"kill")
        await until(pilot, lambda: "kill  (k)" in screen_text(pilot.app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, KillDialog))
