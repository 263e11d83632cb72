"""Panes: what they draw, how little they redraw, how they sort, and every size from 1×1 up."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from pilots import MakeApp, connected, screen_text, until
from scripted import NOW, START, ScriptedLink, account, connection, frame, order, position, view

from console.engine import events as e
from console.engine import state as s
from console.ui.store import Fact, Phase
from console.ui.widgets.feed import Feed, feature_title, feature_width
from signal_bridge import QUOTE_FEATURES, STANDARD_FEATURES

WIDE, NARROW = (120, 40), (80, 24)


async def test_the_first_paint_comes_before_the_link(make_app: MakeApp) -> None:
    """The panes stand there and say that they connect while `connect` still blocks."""
    import threading

    go = threading.Event()
    link = ScriptedLink()

    def connect() -> ScriptedLink:
        assert go.wait(30)
        return link

    async with make_app(connect).run_test(size=WIDE) as pilot:
        try:
            await until(pilot, lambda: screen_text(pilot.app).count("connecting…") >= 4)
        finally:
            go.set()
        await connected(pilot)
        assert "100,412.18" in screen_text(pilot.app)
        assert "connecting…" not in screen_text(pilot.app)


async def test_a_failed_connection_says_why_and_can_be_tried_again(make_app: MakeApp) -> None:
    answers: list[Any] = [OSError("port 5557 refuses: start the engine"), ScriptedLink()]

    def connect() -> ScriptedLink:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    async with make_app(connect).run_test(size=WIDE) as pilot:
        await until(pilot, lambda: pilot.app.store.phase is Phase.FAILED)
        await until(pilot, lambda: "port 5557 refuses" in screen_text(pilot.app))
        await pilot.press("R")
        await until(pilot, lambda: "100,412.18" in screen_text(pilot.app))


async def test_why_there_is_no_engine_is_told_to_the_end_at_eighty_columns(
    make_app: MakeApp,
) -> None:
    reason = (
        "ports.exchange: 127.0.0.1:8090 is taken by another process; stop what uses it or set "
        "another port (0 takes a free one)"
    )

    def connect() -> ScriptedLink:
        raise OSError(reason)

    async with make_app(connect).run_test(size=NARROW) as pilot:
        await until(pilot, lambda: pilot.app.store.phase is Phase.FAILED)
        await until(pilot, lambda: "(0 takes a free one)" in screen_text(pilot.app))
        assert "R tries again" in screen_text(pilot.app)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (20, 5), (40, 10), (79, 24), (300, 100)])
async def test_every_size_draws(make_app: MakeApp, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        await connected(pilot)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        pilot.app.draw()
        for key in (
            "b",
            "escape",
            "k",
            "escape",
            "question_mark",
            "escape",
            "3",
            "4",
            "5",
            "1",
            "z",
            "z",
        ):
            await pilot.press(key)
        await pilot.resize_terminal(*WIDE)
        await pilot.pause()
        pilot.app.draw()
        await until(pilot, lambda: "PORTFOLIO" in screen_text(pilot.app))


async def test_eighty_columns_fold_the_portfolio_and_drop_the_chart(make_app: MakeApp) -> None:
    async with make_app().run_test(size=NARROW) as pilot:
        await connected(pilot)
        shown = screen_text(pilot.app)
        assert "PORTFOLIO" not in shown
        assert "equity 100,412.18" in shown
        assert not pilot.app.query_one("#chart").display
        for word in ("LAST", "CHG %", "SPRbp", "AGE", "POSITIONS", "ORDERS"):
            assert word in shown


async def test_only_cells_that_changed_are_redrawn(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        feed = pilot.app.trade.feed
        redrawn: list[Any] = []
        feed.refresh = lambda *regions, **_: redrawn.extend(regions)  # type: ignore[method-assign]
        first = link.first_frame
        assert first is not None
        last = first.last.copy()
        last[1] += 0.05
        newer = {**first.__dict__, "number": 2, "last": last}
        pilot.app.store.apply(e.MarketFrame(type(first)(**newer)))
        feed.show(Fact.MARKET)
        assert redrawn, "a price moved"
        assert {region.y for region in redrawn} == {2}, "only in IBM's line"
        assert sum(region.width for region in redrawn) < 30
        redrawn.clear()
        feed.show(Fact.MARKET)
        assert not redrawn, "nothing changed"


async def test_sorting_is_by_the_chosen_column_and_keeps_the_selection(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        await connected(pilot)
        feed = pilot.app.trade.feed
        await pilot.press("down")
        assert feed.selected == "IBM"
        await pilot.press("o", "o")
        assert feed.sort_key == "last"
        assert feed._keys == ["IBM", "SPY", "AIG", "BAC"]
        assert feed.selected == "IBM"
        await pilot.press("O")
        assert feed._keys == ["BAC", "AIG", "SPY", "IBM"]


async def test_rows_change_places_at_most_every_two_seconds(make_app: MakeApp) -> None:
    clock = [NOW]
    link = ScriptedLink()
    async with make_app(link, monotonic=lambda: clock[0]).run_test(size=WIDE) as pilot:
        await connected(pilot)
        feed = pilot.app.trade.feed
        await pilot.press("o", "o")
        first = link.first_frame
        assert first is not None
        last = first.last.copy()
        last[2] = 999.0
        pilot.app.store.apply(e.MarketFrame(type(first)(**{**first.__dict__, "last": last})))
        feed.show(Fact.MARKET)
        assert feed._keys[0] == "IBM", "too soon"
        clock[0] += 2.1
        feed.show(Fact.MARKET)
        assert feed._keys[0] == "BAC"


async def test_an_old_quote_is_shown_stale_and_not_pegged_to(make_app: MakeApp) -> None:
    link = ScriptedLink(first_frame=frame(ages={"AIG": 40.0}))
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        assert "STALE" in screen_text(pilot.app)
        assert "3/4" in screen_text(pilot.app)
        assert pilot.app.quote("AIG") is None
        assert pilot.app.quote("IBM") is not None


async def test_a_lost_connection_says_since_when_and_when_it_retries(make_app: MakeApp) -> None:
    lost = connection("feed", state=s.ConnectionState.LOST, since=NOW - 14, retry_at=NOW + 3)
    link = ScriptedLink(start=view(connections=(lost, connection("broker"))))
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        assert "feed lost 14s, retry in 3s" in screen_text(pilot.app)


async def test_a_gap_in_the_numbers_asks_for_a_snapshot(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        assert link.start is not None
        link.start = view(seq=99, account=account("55555.00"))
        link.seq = 98
        link.emit(e.AccountChanged(account=account("44444.00")))
        await until(pilot, lambda: "55,555.00" in screen_text(pilot.app))
        assert not pilot.app.store.gap


async def test_zoom_gives_a_pane_the_screen_and_back(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        await connected(pilot)
        await pilot.press("tab", "tab", "z")
        await pilot.pause()
        pilot.app.draw()
        await pilot.pause()
        shown = screen_text(pilot.app)
        assert "ORDERS" in shown
        assert "FEED" not in shown
        assert "signal:mome" in shown, "there is room for more columns"
        await pilot.press("escape")
        await until(pilot, lambda: "FEED" in screen_text(pilot.app))


async def test_chart_and_ticket_follow_the_selection(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        await connected(pilot)
        await pilot.press("slash", *"aig", "enter")
        await until(pilot, lambda: "AIG 1m" in screen_text(pilot.app))
        await pilot.press("tab", "tab", "down")
        await until(pilot, lambda: pilot.app.symbol == "IBM")


async def test_notices_of_one_topic_fold(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        for _ in range(3):
            link.emit(
                e.Noticed(severity=e.Severity.WARNING, topic="rate", text="the broker is slow")
            )
        await until(pilot, lambda: "the broker is slow ×3" in screen_text(pilot.app))
        assert len(pilot.app.store.notices) == 1


async def test_the_story_tells_an_orders_life(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        await connected(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "20 checks pass" in screen_text(pilot.app))
        shown = screen_text(pilot.app)
        assert [shown.count(words) for words in ("sending: buy 50 IBM", "buy 20 IBM at")] == [1, 1]
        assert "the broker:" not in shown, "what the broker said stands there once"
        await pilot.press("escape")
        await until(pilot, lambda: "PORTFOLIO" in screen_text(pilot.app))


async def test_the_story_tells_what_its_fills_cost(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        await pilot.press("tab", "tab", "end", "enter")
        words = "100 at 178.19 on average, sent at a quote of 178.17 × 178.19: slippage +0.6 bp"
        await until(pilot, lambda: words in screen_text(pilot.app))


async def test_the_session_reckons_slippage(make_app: MakeApp) -> None:
    from decimal import Decimal

    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        link.emit(
            e.OrderFilled(
                client_order_id="a", execution_id="1", symbol="IBM", side=s.Side.BUY,
                qty=Decimal(10),
                price=Decimal("100.05"), at=START, bid=Decimal("99.99"), ask=Decimal("100.01"),
            )
        )  # fmt: skip
        await pilot.press("4")
        await until(pilot, lambda: "+5.0" in screen_text(pilot.app))


async def test_positions_and_risk_follow_the_facts(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        link.emit(e.PositionsChanged(positions=(position("AIG", -200, "48.00", "48.53"),)))
        await until(pilot, lambda: "-200" in screen_text(pilot.app))
        await pilot.press("3")
        await until(pilot, lambda: "-9,706.00" in screen_text(pilot.app))
        link.emit(
            e.TradingStateChanged(
                trading_state=s.TradingState.HALTED, reason="drawdown 10.2 %", source="risk"
            )
        )
        await until(pilot, lambda: "drawdown 10.2 %" in screen_text(pilot.app))


async def test_many_orders_and_symbols_stay_fast_and_bounded(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        for i in range(100, 1400):
            link.emit(e.OrderChanged(order=order(i, state=s.OrderState.FILLED)))
        await until(pilot, lambda: not pilot.app._dirty)
        assert len(pilot.app.store.orders) <= 1000
        await pilot.press("tab", "tab", "end")
        await pilot.pause()
        assert pilot.app.trade.orders.selected is not None


async def test_a_notice_counts_only_what_is_repeated(make_app: MakeApp) -> None:
    """An order acknowledged, then filled, was not filled twice."""
    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        for words in ("buy 50 IBM: ACK", "filled: buy 50 IBM"):
            link.emit(e.Noticed(severity=e.Severity.INFO, topic="order tc-0050", text=words))
        await until(pilot, lambda: "filled: buy 50 IBM" in screen_text(pilot.app))
        assert [(n.text, n.count) for n in pilot.app.store.notices] == [("filled: buy 50 IBM", 1)]


async def test_legs_stand_below_their_entry_after_a_replacement_too(make_app: MakeApp) -> None:
    from decimal import Decimal

    link = ScriptedLink()
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        replaced = order(60, state=s.OrderState.REPLACED, replaced_by="tc-0070")
        legs = [
            order(n, parent="tc-0060", side=s.Side.SELL, state=s.OrderState.HELD) for n in (61, 62)
        ]
        newer = order(70, replaces="tc-0060", qty=Decimal(12_500))
        for one in (*legs, replaced, newer):
            link.emit(e.OrderChanged(order=one))
        orders = pilot.app.trade.orders
        await until(pilot, lambda: orders.order_at(1) == "tc-0070")
        assert [orders.order_at(row) for row in (2, 3)] == ["tc-0061", "tc-0062"]
        text = screen_text(pilot.app)
        assert "12500 IBM" in text
        assert "└─ sell" in text


async def test_halted_is_shown_even_while_it_is_not_ready(make_app: MakeApp) -> None:
    link = ScriptedLink()
    async with make_app(link).run_test(size=NARROW) as pilot:
        await connected(pilot)
        halted = s.TradingState.HALTED
        link.emit(e.TradingStateChanged(trading_state=halted, reason="by hand", source="keyboard"))
        link.emit(e.ReadyChanged(ready=False, reason="trading is halted"))
        await until(pilot, lambda: not pilot.app.store.ready and not pilot.app._dirty)
        await until(pilot, lambda: "HALTED" in screen_text(pilot.app))
        assert "not ready" not in screen_text(pilot.app)


def test_no_two_features_share_a_heading_and_each_fits_its_column() -> None:
    names = (
        *STANDARD_FEATURES, *QUOTE_FEATURES,
        "sma_50", "rsi_7", "macd_5_35_5", "macd_signal_5_35_5", "macd_hist_5_35_5", "bb_upper_50",
    )  # fmt: skip
    titles = [feature_title(name) for name in names]
    assert len(set(titles)) == len(names)
    for name, title in zip(names, titles, strict=True):
        assert len(title) <= feature_width(name) <= 15, name
    keys = [column.key for column in Feed(names).columns()]
    assert len(set(keys)) == len(keys)


async def test_help_and_palette_tell_the_ids_that_keys_are_bound_by(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await connected(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "order.cancel_all" in screen_text(pilot.app))
        await pilot.press("escape", "ctrl+p", *"cancel")
        await until(pilot, lambda: "order.cancel_all" in screen_text(pilot.app))
        footer = screen_text(pilot.app).splitlines()[-1]
        assert "esc back" in footer
        assert "b buy" not in footer, "letters are written there, they buy nothing"


async def test_fills_and_orders_of_another_day_say_so(make_app: MakeApp) -> None:
    from datetime import timedelta

    yesterday = START - timedelta(days=1)
    fills = tuple(replace(f, at=f.at - timedelta(days=1)) for f in view().fills)
    orders = (order(12), order(13, created_at=yesterday))
    link = ScriptedLink(start=view(fills=fills, orders=orders))
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        await until(pilot, lambda: "10/07 buy" in screen_text(pilot.app))
        await pilot.press("4")
        await until(pilot, lambda: "Mon 7 Oct 2013" in screen_text(pilot.app))


async def test_the_risk_screen_counts_open_orders_as_the_gate_does(make_app: MakeApp) -> None:
    # 100 IBM at 182.31 held; 50 more are asked for at 181.10, and 30 of a bracket at 181.55.
    async with make_app().run_test(size=WIDE) as pilot:
        await connected(pilot)
        await pilot.press("3")
        await until(pilot, lambda: "Largest, with them" in screen_text(pilot.app))
        line = next(x for x in screen_text(pilot.app).splitlines() if "Largest, with" in x)
        assert "32,73" in line


async def test_what_is_well_gives_its_figures_before_its_place_in_the_header(
    make_app: MakeApp,
) -> None:
    connections = tuple(connection(name) for name in ("broker", "updates", "feed", "risk"))
    link = ScriptedLink(start=view(mode="EXCHANGE", connections=connections))
    async with make_app(link, mode="EXCHANGE").run_test(size=NARROW) as pilot:
        await connected(pilot)
        head = screen_text(pilot.app).splitlines()[0]
        assert all(f"{name}●" in head for name in ("broker", "updates", "feed", "risk")), head


async def test_a_click_on_a_heading_sorts_and_the_next_turns_it_round(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        await connected(pilot)
        feed = pilot.app.trade.feed
        head = next(x for x in screen_text(pilot.app).splitlines() if "FEED" in x)
        at = head.index("CHG %") - feed.region.x
        order = {}
        for mark in ("▼", "▲"):
            await pilot.click(feed, offset=(at, 0))
            await until(pilot, lambda m=mark: f"CHG %{m}" in screen_text(pilot.app))
            order[mark] = [feed._keys[0], feed._keys[-1]]
        assert order["▼"] == order["▲"][::-1]


async def test_a_very_small_header_keeps_the_equity(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(22, 6)) as pilot:
        await connected(pilot)
        assert "100,412.18" in screen_text(pilot.app).splitlines()[1]


async def test_what_the_engine_said_before_is_told_to_a_late_face(make_app: MakeApp) -> None:
    old = s.NoticeView(severity="warning", topic="feed", text="no prices of ZZZZ", at=NOW - 60)
    link = ScriptedLink(start=view(notices=(old,)))
    async with make_app(link).run_test(size=WIDE) as pilot:
        await connected(pilot)
        await until(pilot, lambda: "no prices of ZZZZ" in screen_text(pilot.app))
        link.emit(e.Noticed(severity=e.Severity.ERROR, topic="feed", text="still none of ZZZZ"))
        link.emit(e.Snapshot(state=view(seq=link.seq, notices=(old,))))
        await until(pilot, lambda: "still none of ZZZZ" in screen_text(pilot.app))
        assert [n.text for n in pilot.app.store.notices] == ["still none of ZZZZ"]


@pytest.mark.parametrize("width", [60, 84, 100, 101, 104, 108, 120])
async def test_a_bid_stands_with_its_ask_or_not_at_all(make_app: MakeApp, width: int) -> None:
    async with make_app().run_test(size=(width, 34)) as pilot:
        await connected(pilot)
        titles = [spot.column.key for spot in pilot.app.trade.feed._place()]
        assert ("bid" in titles) == ("ask" in titles)
