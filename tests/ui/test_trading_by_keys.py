"""Orders by keys, from the first one to the fill, the refusal and the kill switch."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pilots import MakeApp, connected, screen_text, until
from scripted import NOW, ScriptedLink, empty_view, frame, order, position, view
from textual.events import Key

from console.engine import commands as c
from console.engine import events as e
from console.engine import state as s
from console.engine.link import NotSent
from console.ui.screens.dialogs import ConfirmDialog, KillDialog
from console.ui.store import Fact

SIZE = (120, 40)


def sent(link: ScriptedLink, kind: type = c.SubmitOrder) -> list[Any]:
    """The commands of that kind that were carried out, without previews."""
    return [r for r in link.requests if isinstance(r, kind) and not getattr(r, "preview", False)]


async def test_b_symbol_quantity_enter_confirm_fills_an_order(make_app: MakeApp) -> None:
    link = ScriptedLink(start=empty_view())
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("b", *"ibm", "enter", *"100", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "Buy 100 IBM at market" in screen_text(pilot.app)
        assert not sent(link), "nothing leaves before it is confirmed"
        await pilot.press("enter")
        await until(pilot, lambda: sent(link))
        (command,) = sent(link)
        assert (command.symbol, command.qty, command.side) == ("IBM", Decimal(100), s.Side.BUY)
        await until(pilot, lambda: "FILLED" in screen_text(pilot.app))
        assert not isinstance(pilot.app.screen, ConfirmDialog)


async def test_keys_in_one_burst_land_where_each_was_meant(make_app: MakeApp) -> None:
    link = ScriptedLink(start=empty_view())
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        for key in ("b", *"IBM", "tab", *"100", "enter"):
            pilot.app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "Buy 100 IBM at market" in screen_text(pilot.app)


def burst(pilot: Any, *keys: str) -> None:
    """Keys that come in one read, as from a slow line or a keyboard macro."""
    for key in keys:
        pilot.app.post_message(Key(key, key if len(key) == 1 else None))


async def test_a_burst_of_tabs_goes_as_many_panes_on(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await connected(pilot)
        burst(pilot, "tab", "tab", "down", "down")
        await until(pilot, lambda: pilot.app.trade.orders.has_focus)
        await until(pilot, lambda: pilot.app.trade.orders.selected == "tc-0003")


async def test_a_key_behind_the_arrows_is_about_the_row_that_they_reached(
    make_app: MakeApp,
) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="none").run_test(size=SIZE) as pilot:
        await connected(pilot)
        burst(pilot, "down", "x")  # from SPY to IBM
        await until(pilot, lambda: link.requests)
        assert link.requests[-1].symbol == "IBM"
        burst(pilot, "tab", "down", "x")  # to the positions, from IBM to SPY
        await until(pilot, lambda: len(link.requests) > 1)
        assert link.requests[-1].symbol == "SPY"


async def test_where_a_position_goes_the_next_ones_symbol_is_meant(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("tab")
        await until(pilot, lambda: pilot.app.symbol == "IBM")
        link.emit(e.PositionsChanged(positions=(position("SPY", 112, "165.50", "165.48"),)))
        await until(pilot, lambda: pilot.app.trade.positions.selected == "SPY")
        assert pilot.app.symbol == "SPY"


async def test_a_digit_first_means_the_quantity_of_the_selected_symbol(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("down", "b", *"25", "enter", "enter")
        await until(pilot, lambda: sent(link))
        assert (sent(link)[0].symbol, sent(link)[0].qty) == ("IBM", Decimal(25))


async def test_no_pane_changes_before_the_engine_says_so(make_app: MakeApp) -> None:
    link = ScriptedLink(start=empty_view(), outcome=c.Outcome.UNKNOWN)
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("b", *"IBM", "enter", *"1", "enter", "enter")
        await until(pilot, lambda: "IN DOUBT" in screen_text(pilot.app))
        assert not pilot.app.store.orders
        await pilot.press("enter")
        await pilot.pause()
        assert len(sent(link)) == 1, "an order in doubt must not be sent again"


async def test_a_refused_order_stays_open_with_code_limit_and_way_out(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("b", *"IBM", "enter", *"9999", "enter", "enter")
        await until(pilot, lambda: "REFUSED" in screen_text(pilot.app))
        shown = screen_text(pilot.app)
        assert "max_order_qty" in shown
        assert "limit 899 · value 9999" in shown
        assert "raise [risk] max_order_qty" in shown
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await pilot.press("escape")
        await pilot.pause()
        assert pilot.app.trade.entry.draft.size == "9999", "the ticket keeps what was typed"


async def test_the_risk_line_is_asked_once_at_a_time_and_answers_the_newest(
    make_app: MakeApp,
) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("b", *"IBM", "enter", *"100")
        entry = pilot.app.trade.entry
        await until(pilot, lambda: entry.report is not None)
        previews = [r for r in link.requests if isinstance(r, c.SubmitOrder) and r.preview]
        assert previews[-1].qty == Decimal(100)
        assert "✓ 14 checks · max 899" in screen_text(pilot.app)
        await pilot.press(*"0")
        await until(pilot, lambda: entry.report is not None and not entry.report.allowed)
        assert "max_order_qty" in screen_text(pilot.app)


async def test_cancel_goes_to_the_selected_order(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("tab", "tab", "down", "c")
        await until(pilot, lambda: sent(link, c.CancelOrder))
        assert sent(link, c.CancelOrder)[0].client_order_id == "tc-0011"
        await until(pilot, lambda: pilot.app.store.orders["tc-0011"].state is s.OrderState.CANCELED)


async def test_the_selection_sticks_to_its_order_when_a_new_one_comes(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("tab", "tab")
        chosen = pilot.app.trade.orders.selected
        link.emit(e.OrderChanged(order=order(50)))
        await until(pilot, lambda: "tc-0050" in pilot.app.store.orders and not pilot.app._dirty)
        orders = pilot.app.trade.orders
        assert orders.selected == chosen
        assert orders.order_at(1) == "tc-0050"


async def test_close_is_confirmed_in_words(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="dangerous").run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("down", "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "sell 100 at market" in screen_text(pilot.app)
        await pilot.press("enter")
        await until(pilot, lambda: sent(link, c.ClosePosition))
        assert sent(link, c.ClosePosition)[0].symbol == "IBM"


@pytest.mark.parametrize(
    ("confirm", "asked"), [("all", True), ("dangerous", False), ("none", False)]
)
async def test_confirmation_follows_its_tier(make_app: MakeApp, confirm: str, asked: bool) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm=confirm).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("b", *"IBM", "enter", *"5", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog) or sent(link))
        assert isinstance(pilot.app.screen, ConfirmDialog) == asked
        assert bool(sent(link)) != asked


async def test_the_kill_switch_wants_its_word(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="none").run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("k", *"flat", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, KillDialog))
        assert not sent(link, c.Flatten)
        await pilot.press(*"ten", "enter")
        await until(pilot, lambda: sent(link, c.Flatten))
        await until(pilot, lambda: "trading is halted" in screen_text(pilot.app))
        assert "flat" in screen_text(pilot.app)
        await pilot.press("escape")
        await until(pilot, lambda: "HALTED" in screen_text(pilot.app))


async def test_the_line_and_the_ticket_mirror_one_another(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"sell 10 BAC @ 13.90 gtc")
        entry = pilot.app.trade.entry
        assert (entry.draft.symbol, entry.draft.limit, entry.draft.size) == ("BAC", "13.9", "10")
        assert "LIMIT" in screen_text(pilot.app)
        await pilot.press("tab")
        assert entry.ticket.has_focus
        await pilot.press("tab", "tab", "up")
        assert entry.line.value == "sell 10 BAC @ 13.91 gtc"


async def test_a_wrong_word_is_named_where_it_stands(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"buy lots IBM", "enter")
        entry = pilot.app.trade.entry
        assert entry.error is not None
        assert entry.error.column == 4
        assert "'lots' is not a quantity" in screen_text(pilot.app)
        assert not sent(link)


async def test_nudges_pegs_and_sizes(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await connected(pilot)
        entry = pilot.app.trade.entry
        await pilot.press("down", "b", *"10", "tab", "l", "tab", "b")
        assert entry.draft.limit == "bid"
        assert entry.order is not None
        assert str(entry.order.limit_price) == "179.98"
        await pilot.press("shift+down")
        assert entry.draft.limit == "bid-0.10"
        await pilot.press("shift+tab", "shift+tab", "shift+up")
        assert entry.draft.size == "1010", "ten lots of a hundred"
        await pilot.press("down", "ctrl+up")
        assert entry.draft.size == "911", "a lot less, a single share more"
        assert "= 179.88" in screen_text(pilot.app), "what bid-0.10 is at this moment"
        await pilot.press("shift+down")
        assert entry.draft.size == "100", "no less than a lot"
        await until(pilot, lambda: entry.report is not None)
        await pilot.press("m")
        assert entry.draft.size == "899"


async def test_a_size_by_risk_loses_a_part_of_equity_at_the_stop(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await connected(pilot)
        entry = pilot.app.trade.entry
        await pilot.press("colon", *"buy 1 IBM @ 180.00 sl 178.00", "tab", "r", "r")
        # Half a percent of 100,412.18 over two dollars a share.
        assert entry.draft.size == "251"


async def test_the_line_remembers(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="none").run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"reconcile", "enter")
        await until(pilot, lambda: sent(link, c.Reconcile))
        await pilot.press("escape", "colon", "up")
        assert pilot.app.trade.entry.line.value == "reconcile"


async def test_a_row_number_means_the_order_in_that_row(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="none").run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"cancel 2", "enter")
        await until(pilot, lambda: sent(link, c.CancelOrder))
        assert sent(link, c.CancelOrder)[0].client_order_id == "tc-0011"


async def test_replace_names_the_selected_order_in_a_sorted_list(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="none").run_test(size=SIZE) as pilot:
        await connected(pilot)
        orders = pilot.app.trade.orders
        await pilot.press("tab", "tab")
        for _ in orders.columns():
            if orders.sort_key != "symbol":
                await pilot.press("o")
        await pilot.press("O")
        assert orders.sort_key == "symbol"
        assert orders.order_at(1) != orders.keys()[0], "it stands in another order than it came"
        orders.select("tc-0011")
        await pilot.press("r")
        entry = pilot.app.trade.entry
        row = entry.line.value.split()[1]
        assert orders.order_at(int(row)) == "tc-0011"
        await pilot.press("enter")
        await until(pilot, lambda: sent(link, c.ReplaceOrder))
        assert sent(link, c.ReplaceOrder)[0].client_order_id == "tc-0011"


async def test_the_replay_is_paused_stepped_and_sped_up_in_the_demo_only(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("space", "full_stop", "plus")
        await until(pilot, lambda: len(sent(link, c.ControlReplay)) == 3)
        asked = sent(link, c.ControlReplay)
        assert [a.paused for a in asked] == [True, None, None]
        assert asked[1].step_s == 60
        assert asked[2].speed == 20
    live = ScriptedLink(start=view(mode="PAPER"))
    async with make_app(live).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("space", "full_stop")
        await pilot.pause()
        assert not sent(live, c.ControlReplay)


async def test_leaving_closes_the_link(make_app: MakeApp) -> None:
    link = ScriptedLink()
    app = make_app(link)
    async with app.run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: app.return_value == 0)
    assert link.closed


async def test_the_selection_goes_on_to_what_replaced_its_order(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        orders = pilot.app.trade.orders
        await pilot.press("tab", "tab")
        old = orders.selected
        link.emit(e.OrderChanged(order=order(50, replaces=old)))
        gone = replace(
            pilot.app.store.orders[old], state=s.OrderState.REPLACED, replaced_by="tc-0050"
        )
        link.emit(e.OrderChanged(order=gone))
        await until(pilot, lambda: orders.selected == "tc-0050")
        orders.select(old)  # whoever goes back to it may stay
        await until(pilot, lambda: not pilot.app._dirty)
        orders.show(Fact.ORDERS)
        assert orders.selected == old


async def test_row_numbers_stand_still_while_a_line_is_written(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="none").run_test(size=SIZE) as pilot:
        await connected(pilot)
        meant = pilot.app.trade.orders.order_at(2)
        await pilot.press("colon", *"cancel 2")
        link.emit(e.OrderChanged(order=order(50)))
        await until(pilot, lambda: "tc-0050" in pilot.app.store.orders and not pilot.app._dirty)
        await pilot.press("enter")
        await until(pilot, lambda: sent(link, c.CancelOrder))
        assert sent(link, c.CancelOrder)[0].client_order_id == meant


async def test_the_figures_of_a_dialog_are_asked_anew_while_it_stands(make_app: MakeApp) -> None:
    link = ScriptedLink()
    clock = [NOW]
    async with make_app(link, monotonic=lambda: clock[0]).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("b", "1", "0", "0", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        dialog = pilot.app.screen
        await until(pilot, lambda: dialog.report is not None)
        before = dialog.report
        clock[0] += 1.5
        pilot.app.mark(Fact.CLOCK)
        await until(pilot, lambda: dialog.report is not before)
        assert pilot.app.screen is dialog


async def test_a_yes_without_an_order_is_in_doubt_and_never_done(make_app: MakeApp) -> None:
    class Nameless(ScriptedLink):
        def _submit(self, command: c.SubmitOrder) -> c.Ack:
            return c.Ack(id=command.id, outcome=c.Outcome.ACCEPTED)

    async with make_app(Nameless(), confirm="none").run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"buy 10 IBM", "enter")
        await until(pilot, lambda: "IN DOUBT" in screen_text(pilot.app))
        assert "named no order" in screen_text(pilot.app)


async def test_an_alert_speaks_when_its_feature_passes_the_level(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"alert ibm rsi_14 > 70", "enter")
        assert "watching IBM rsi_14 > 70" in screen_text(pilot.app)
        higher = frame(2)
        higher.features[1, 0] = 71.5
        link.emit(e.MarketFrame(higher))  # type: ignore[arg-type]
        await until(pilot, lambda: "alert: IBM rsi_14 > 70, now 71.5" in screen_text(pilot.app))
        await pilot.press("colon", *"alert off", "enter")
        await until(pilot, lambda: "1 alert forgotten" in screen_text(pilot.app))


async def test_an_alert_watches_the_change_in_percent(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"alert IBM chg% >2.5%", "enter", "colon", *"alert", "enter")
        await until(pilot, lambda: "watching IBM change > 2.5" in screen_text(pilot.app))
        higher = frame(2)
        higher.last[1] = higher.previous_close[1] * 1.03
        link.emit(e.MarketFrame(higher))  # type: ignore[arg-type]
        await until(pilot, lambda: "alert: IBM change > 2.5, now 3" in screen_text(pilot.app))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("alert IBM last > nan", "nan is no number"),
        ("alert IBM last >= 3", ">= is not > or <"),
        ("alert IBM last > 3 4", "4 is too much"),
        ("alert IBM last", "write symbol, column"),
    ],
)
async def test_an_alert_that_could_never_speak_is_refused(
    make_app: MakeApp, line: str, words: str
) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *line, "enter")
        await until(pilot, lambda: words in screen_text(pilot.app))


async def test_an_alert_on_what_is_no_column_says_what_there_is(make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"alert ibm beta > 1")
        await until(pilot, lambda: "beta is no column; there are last" in screen_text(pilot.app))


async def test_the_session_is_exported_by_a_key(make_app: MakeApp, tmp_path: Path) -> None:
    link = ScriptedLink()
    async with make_app(link, confirm="none", export_dir=tmp_path).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"buy 10 IBM", "enter")
        await until(pilot, lambda: len(pilot.app.store.fills) == 3)
        await pilot.press("4", "e")
        await until(pilot, lambda: (tmp_path / "session-2013-10-08.md").exists())
        rows = (tmp_path / "session-2013-10-08.csv").read_text().splitlines()
        assert rows[0].startswith("time,side,qty,symbol,price,bid,ask,slippage_bp")
        assert len(rows) == 4, "the two fills of before it was connected too"
        assert ",buy,10,IBM,180.02," in rows[3]
        assert "| buy | 10 | IBM |" in (tmp_path / "session-2013-10-08.md").read_text()


async def test_a_far_engine_that_dies_is_said_to_be_gone_and_found_again(
    make_app: MakeApp,
) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        gone = s.ConnectionView(
            name="engine", state=s.ConnectionState.LOST, since=NOW, retry_at=NOW + 1
        )
        link.emit(e.ConnectionChanged(connection=gone))
        await until(pilot, lambda: "engine lost 0s ago, retry in 1s" in screen_text(pilot.app))
        assert not pilot.app.connected, "an order would go nowhere"
        link.emit(e.Snapshot(state=link.start))
        await until(pilot, lambda: "engine lost" not in screen_text(pilot.app))
        assert pilot.app.connected


async def test_an_engine_started_anew_elsewhere_is_found_by_hand(make_app: MakeApp) -> None:
    first, second = ScriptedLink(), ScriptedLink()
    links = [first, second]
    async with make_app(lambda: links.pop(0)).run_test(size=SIZE) as pilot:
        await connected(pilot)
        gone = s.ConnectionView(name="engine", state=s.ConnectionState.LOST, since=NOW)
        first.emit(e.ConnectionChanged(connection=gone))
        await until(pilot, lambda: "engine lost" in screen_text(pilot.app))
        await pilot.press("R")
        await until(pilot, lambda: pilot.app.connected)
        assert pilot.app.link is second
        assert first.closed


async def test_a_refused_order_can_be_tried_again(make_app: MakeApp) -> None:
    """Under an id of its own: the engine answers the same id with the same refusal for ever."""
    closed = s.Refusal(
        check="session", limit="open", value="closed", message="the market is closed"
    )
    link = ScriptedLink(refuse=(closed,))
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"buy 10 IBM", "enter", "enter")
        await until(pilot, lambda: "REFUSED" in screen_text(pilot.app))
        link.refuse = ()
        await pilot.press("enter")
        await until(pilot, lambda: len(pilot.app.store.fills) == 3)


async def test_the_question_before_a_confirmation_is_no_answer_to_it(make_app: MakeApp) -> None:
    """The preview has an id of its own, or the engine would answer the order with the preview."""
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("colon", *"buy 10 IBM", "enter")
        await until(pilot, lambda: any(isinstance(x, c.SubmitOrder) for x in link.requests))
        await pilot.press("enter")
        await until(pilot, lambda: len(pilot.app.store.fills) == 3)
        ids = [x.id for x in link.requests]
        assert len(ids) == len(set(ids))


async def test_many_refusals_leave_room_for_the_way_out(make_app: MakeApp) -> None:
    many = tuple(
        s.Refusal(check=f"check_{i}", limit="1", value="2", message="too much", remedy="less")
        for i in range(8)
    )
    async with make_app(ScriptedLink(refuse=many)).run_test(size=(80, 24)) as pilot:
        await connected(pilot)
        await pilot.press("b", *"1", "enter", "enter")
        await until(pilot, lambda: "REFUSED" in screen_text(pilot.app))
        await until(pilot, lambda: "check_7" in screen_text(pilot.app))
        assert "esc back, to change it" in screen_text(pilot.app)


async def test_what_has_not_left_is_refused_and_not_in_doubt(make_app: MakeApp) -> None:
    link = ScriptedLink()

    async def nobody(command: Any, *, timeout_s: float | None = None) -> c.Ack:
        raise NotSent("no engine listens at tcp://127.0.0.1:5557; nothing was sent")

    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        await pilot.press("b", *"25", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        link.request = nobody  # type: ignore[method-assign]
        await pilot.press("enter")
        await until(pilot, lambda: "no engine listens" in screen_text(pilot.app))
        assert "REFUSED" in screen_text(pilot.app)
        assert "IN DOUBT" not in screen_text(pilot.app)


async def test_a_lost_engine_leaves_no_badge_that_says_well(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        assert "broker●" in screen_text(pilot.app)
        gone = s.ConnectionView(name="engine", state=s.ConnectionState.LOST, since=NOW)
        link.emit(e.ConnectionChanged(connection=gone))
        await until(pilot, lambda: "engine lost" in screen_text(pilot.app))
        assert "broker●" not in screen_text(pilot.app)


async def test_faster_while_paused_means_faster_than_before_the_pause(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=SIZE) as pilot:
        await connected(pilot)
        session = view().session
        assert session is not None
        link.emit(e.SessionChanged(session=replace(session, speed=0.0)))
        await until(pilot, lambda: "paused" in screen_text(pilot.app))
        await pilot.press("plus")
        await until(pilot, lambda: sent(link, c.ControlReplay))
        await pilot.press("plus")
        await until(pilot, lambda: len(sent(link, c.ControlReplay)) == 2)
        assert [r.speed for r in sent(link, c.ControlReplay)] == [20, 40]  # it was 10
