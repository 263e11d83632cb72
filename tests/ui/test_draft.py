"""The ticket's draft and the grammar are one thing written twice."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from console.engine.commands import SubmitOrder
from console.engine.grammar import parse_line
from console.engine.state import OrderType, Side, TimeInForce
from console.ui.draft import Draft, shares_at_risk

LINES = (
    "buy 100 IBM",
    "sell 100 IBM @ 182.5 +2% -1% gtc",
    "buy 100 IBM @ 182.5 +2% -1% gtc",
    "buy $10000 BAC",
    "buy 5% SPY @ 165.2",
    "sell half SPY",
    "sell 2/3 SPY",
    "buy 100 IBM if >= 183 @ 183.2",
    "sell 100 IBM if <= 180",
    "sell 100 IBM trail 1%",
    "sell 100 IBM trail 0.5 gtc",
    "buy 100 IBM @ 182.5 +2% trail 1%",
    "buy 100 IBM tp 190 trail 0.75",
    "buy 100 IBM @ market trail 1%",
    "sell 100 IBM if <= 180 trail 1% gtc",
    "buy 10 IBM @ 180 tp 190 sl 170 ext reduce",
)


@pytest.mark.parametrize("line", LINES)
def test_a_line_survives_the_ticket(line: str) -> None:
    order = parse_line(line)
    assert isinstance(order, SubmitOrder)
    draft = Draft.from_order(order)
    again = parse_line(draft.line())
    assert isinstance(again, SubmitOrder)
    assert msgspec.structs.replace(again, id=order.id) == order
    assert draft.missing() is None


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (Draft(), "symbol"),
        (Draft(symbol="IBM"), "size"),
        (Draft(symbol="IBM", size="1", order_type=OrderType.LIMIT), "limit"),
        (Draft(symbol="IBM", size="1", order_type=OrderType.STOP_LIMIT, limit="1"), "stop"),
        (Draft(symbol="IBM", size="1", order_type=OrderType.TRAILING_STOP), "trail"),
    ],
)
def test_what_is_missing_is_named(draft: Draft, field: str) -> None:
    assert draft.missing() == field


def nudge(draft: Draft, field: str, steps: int, price: str | None = "180.00") -> str:
    start = Decimal(price) if price else None
    return str(getattr(draft.nudged(field, steps, price=start, symbols=("SPY", "IBM")), field))


def test_prices_move_by_the_tick_sizes_by_a_share_levels_by_a_quarter() -> None:
    draft = Draft(symbol="IBM", size="100", limit="182.10", stop="0.9999", profit="2%", trail="1%")
    assert nudge(draft, "limit", 1) == "182.11"
    assert nudge(draft, "limit", -10) == "182.00"
    assert nudge(draft, "stop", 1) == "1.00"
    assert nudge(draft, "size", 10) == "110"
    assert nudge(draft, "size", -1000) == "1"
    assert draft.nudged("size", 2, price=None, symbols=(), lot=100).size == "300"
    assert draft.nudged("size", -2, price=None, symbols=(), lot=100).size == "100"
    assert Draft(size="7").nudged("size", -1, price=None, symbols=(), lot=100).size == "7"
    assert nudge(draft, "profit", 1) == "2.25%"
    assert nudge(draft, "trail", -10) == ""
    assert nudge(draft, "loss", 1) == "0.25%"
    assert nudge(draft, "symbol", 1) == "SPY"


def test_an_empty_price_begins_in_the_middle_and_a_peg_moves_against_its_quote() -> None:
    assert nudge(Draft(), "limit", 1) == "180.00"
    assert nudge(Draft(), "limit", 1, price=None) == ""
    assert nudge(Draft(limit="bid"), "limit", -2) == "bid-0.02"
    assert nudge(Draft(limit="bid-0.02"), "limit", 2) == "bid"


def test_choices_go_round() -> None:
    draft = Draft(order_type=OrderType.TRAILING_STOP, tif=TimeInForce.DAY, side=Side.SELL)
    assert draft.nudged("order_type", 1, price=None, symbols=()).order_type is OrderType.MARKET
    assert draft.nudged("tif", -1, price=None, symbols=()).tif is TimeInForce.FOK


def test_shares_at_risk_round_down() -> None:
    assert shares_at_risk(Decimal(100_000), Decimal(1), Decimal(180), Decimal("177.5")) == 400
    assert shares_at_risk(Decimal(100_000), Decimal(1), Decimal(180), Decimal(180)) == 0
