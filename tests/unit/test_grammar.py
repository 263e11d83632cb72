"""The one grammar: lines to commands and back, and what a wrong line is told."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from console.engine.commands import (
    CancelAll,
    CancelOrder,
    ClosePosition,
    Flatten,
    Level,
    Reconcile,
    ReplaceOrder,
    SettleOrder,
    SetTradingState,
    SubmitOrder,
)
from console.engine.grammar import GrammarError, format_command, parse_line
from console.engine.state import OrderClass, OrderType, Side, TimeInForce, TradingState


class Screen:
    """Two orders and one quote."""

    def order_at(self, row: int) -> str | None:
        return {1: "first-order-id", 2: "second-order-id"}.get(row)

    def quote(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        return (Decimal("182.30"), Decimal("182.33")) if symbol == "IBM" else None


def order(symbol: str = "IBM", side: Side = Side.BUY, **fields) -> SubmitOrder:
    return SubmitOrder(id="x", symbol=symbol, side=side, **fields)


D = Decimal
LINES = {
    "buy 100 IBM": order(qty=D(100)),
    "BUY 1_000 ibm": order(qty=D(1000)),
    "sell 1,000 brk.b": order("BRK.B", Side.SELL, qty=D(1000)),
    "buy 0.25 IBM": order(qty=D("0.25")),
    "buy $10_000 BAC": order("BAC", notional=D(10000)),
    "buy 5% SPY": order("SPY", equity_fraction=D("0.05")),
    "sell half SPY": order("SPY", Side.SELL, position_fraction=D("0.5")),
    "sell 2/3 SPY": order("SPY", Side.SELL, position_fraction=D(2) / D(3)),
    "sell 25% SPY": order("SPY", Side.SELL, position_fraction=D("0.25")),
    "buy 100 IBM @ 182.50": order(qty=D(100), order_type=OrderType.LIMIT, limit_price=D("182.50")),
    "buy 100 IBM @182.50 gtc": order(
        qty=D(100),
        order_type=OrderType.LIMIT,
        limit_price=D("182.50"),
        time_in_force=TimeInForce.GTC,
    ),
    "buy 100 IBM @ bid-0.02": order(
        qty=D(100), order_type=OrderType.LIMIT, limit_price=D("182.28")
    ),
    "buy 100 IBM @ mid": order(qty=D(100), order_type=OrderType.LIMIT, limit_price=D("182.32")),
    "buy 100 IBM @ 182.50 +2% -1%": order(
        qty=D(100),
        order_type=OrderType.LIMIT,
        limit_price=D("182.50"),
        order_class=OrderClass.BRACKET,
        take_profit=Level(percent=D(2)),
        stop_loss=Level(percent=D(-1)),
    ),
    "sell 100 IBM -2% +1%": order(
        side=Side.SELL,
        qty=D(100),
        order_class=OrderClass.BRACKET,
        take_profit=Level(percent=D(-2)),
        stop_loss=Level(percent=D(1)),
    ),
    "buy 100 IBM sl 180": order(
        qty=D(100), order_class=OrderClass.OTO, stop_loss=Level(price=D(180))
    ),
    "buy 100 IBM if >= 183": order(qty=D(100), order_type=OrderType.STOP, stop_price=D(183)),
    "buy 100 IBM if > 183 @ 183.20": order(
        qty=D(100), order_type=OrderType.STOP_LIMIT, stop_price=D(183), limit_price=D("183.20")
    ),
    "sell 100 IBM stop 180": order(
        side=Side.SELL, qty=D(100), order_type=OrderType.STOP, stop_price=D(180)
    ),
    "sell 100 IBM trail 1%": order(
        side=Side.SELL, qty=D(100), order_type=OrderType.TRAILING_STOP, trail_percent=D(1)
    ),
    "sell 100 IBM trail 0.50": order(
        side=Side.SELL, qty=D(100), order_type=OrderType.TRAILING_STOP, trail_price=D("0.50")
    ),
    "buy 100 IBM @ 182.50 +2% trail 1%": order(
        qty=D(100),
        order_type=OrderType.LIMIT,
        limit_price=D("182.50"),
        order_class=OrderClass.BRACKET,
        take_profit=Level(percent=D(2)),
        stop_loss=Level(trail_percent=D(1)),
    ),
    "buy 100 IBM trail 0.75 tp 190": order(
        qty=D(100),
        order_class=OrderClass.BRACKET,
        take_profit=Level(price=D(190)),
        stop_loss=Level(trail_price=D("0.75")),
    ),
    "sell 100 IBM -2% trail 1%": order(
        side=Side.SELL,
        qty=D(100),
        order_class=OrderClass.BRACKET,
        take_profit=Level(percent=D(-2)),
        stop_loss=Level(trail_percent=D(1)),
    ),
    "buy 100 IBM @ market trail 1%": order(
        qty=D(100), order_class=OrderClass.OTO, stop_loss=Level(trail_percent=D(1))
    ),
    "buy 100 IBM trail 1% @ 180 gtc": order(
        qty=D(100),
        order_type=OrderType.LIMIT,
        limit_price=D(180),
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.OTO,
        stop_loss=Level(trail_percent=D(1)),
    ),
    "buy 100 IBM if >= 183 trail 1%": order(
        qty=D(100),
        order_type=OrderType.STOP,
        stop_price=D(183),
        order_class=OrderClass.OTO,
        stop_loss=Level(trail_percent=D(1)),
    ),
    "buy 10 IBM @ 180 ext reduce": order(
        qty=D(10),
        order_type=OrderType.LIMIT,
        limit_price=D(180),
        extended_hours=True,
        reduce_only=True,
    ),
    "preview buy 100 IBM": order(qty=D(100), preview=True),
    ": buy 100 IBM": order(qty=D(100)),
    "cancel all": CancelAll(id="x"),
    "cancel IBM": CancelAll(id="x", symbol="IBM"),
    "cancel 2": CancelOrder(id="x", client_order_id="second-order-id"),
    "cancel 0f3d-5c": CancelOrder(id="x", client_order_id="0f3d-5c"),
    "close IBM": ClosePosition(id="x", symbol="IBM"),
    "close half IBM": ClosePosition(id="x", symbol="IBM", fraction=D("0.5")),
    "close 50% IBM": ClosePosition(id="x", symbol="IBM", fraction=D("0.5")),
    "replace 1 @ 182.60": ReplaceOrder(
        id="x", client_order_id="first-order-id", limit_price=D("182.60")
    ),
    "replace 1 50 stop 180 gtc": ReplaceOrder(
        id="x",
        client_order_id="first-order-id",
        qty=D(50),
        stop_price=D(180),
        time_in_force=TimeInForce.GTC,
    ),
    "halt lunch break": SetTradingState(id="x", state=TradingState.HALTED, reason="lunch break"),
    "reduce": SetTradingState(id="x", state=TradingState.REDUCING),
    "resume": SetTradingState(id="x", state=TradingState.ACTIVE),
    "flatten": Flatten(id="x"),
    "reconcile": Reconcile(id="x"),
    "settle 1 filled": SettleOrder(id="x", client_order_id="first-order-id", outcome="FILLED"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_becomes_its_command(line: str) -> None:
    assert replace(parse_line(line, Screen()), id="x") == LINES[line]


WRONG = {
    "": (0, "the line ends"),
    "by 100 IBM": (0, "no command"),
    "buy": (3, "the line ends"),
    "buy ten IBM": (4, "not a quantity"),
    "buy 0 IBM": (4, "above zero"),
    "buy -5 IBM": (4, "not a quantity"),
    "buy NaN IBM": (4, "not a quantity"),
    "buy 1e5 IBM": (4, "not a quantity"),
    "buy ١٠ IBM": (4, "not a quantity"),
    "buy 100": (7, "the line ends where a symbol"),
    "buy 100 I\u202eBM": (8, "no symbol"),
    "buy 100 [b]IBM": (8, "no symbol"),
    "buy 100 ABCDEFGHIJKLM": (8, "no symbol"),
    "buy 100 IBM @ x": (14, "not a number"),
    "buy 100 IBM @x": (13, "not a number"),
    "buy 100 IBM @ 182 @ 183": (18, "stands twice"),
    "buy 100 IBM soon": (12, "not understood"),
    "buy 100 IBM if <= 180": (15, "use a limit"),
    "buy 100 IBM trail 1% -1%": (21, "two stops"),
    "buy 100 IBM @ 180 sl 179 trail 1%": (31, "two stops"),
    "buy 100 IBM trail 1% trail 2%": (21, "stands twice"),
    "buy 100 IBM @ 180 trail 100%": (24, "no price above zero"),
    "buy 100 SPY @ mid": (14, "no fresh quote"),
    "buy 5 IBM +0%": (10, "no level"),
    "sell 200% IBM": (5, "more than the position"),
    "cancel 7": (7, "no order in row 7"),
    "cancel": (6, "the line ends"),
    "replace 1": (9, "nothing to change"),
    "preview cancel all": (8, "can't be previewed"),
    "close IBM now": (10, "more than this command takes"),
    "settle 1 gone": (9, "no outcome"),
    "  by 100 IBM": (2, "no command"),
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_told_where_and_why(line: str) -> None:
    column, words = WRONG[line]
    with pytest.raises(GrammarError, match=words) as caught:
        parse_line(line, Screen())
    assert caught.value.column == column


def test_rows_and_pegs_need_a_screen() -> None:
    with pytest.raises(GrammarError, match="no order in row"):
        parse_line("cancel 1")
    with pytest.raises(GrammarError, match="no fresh quote"):
        parse_line("buy 1 IBM @ bid")


def test_the_source_is_stamped_on_the_command() -> None:
    assert parse_line("buy 1 IBM", source="cli").source == "cli"


prices = st.decimals(min_value="0.01", max_value="99999", places=2)
shares = st.decimals(min_value="0.000000001", max_value="1000000", places=9)
symbols = st.from_regex(r"[A-Z][A-Z0-9]{0,4}(\.[A-Z])?", fullmatch=True)


@st.composite
def orders(draw: st.DrawFn) -> SubmitOrder:
    side = draw(st.sampled_from(Side))
    size = draw(
        st.one_of(
            st.fixed_dictionaries({"qty": shares}),
            st.fixed_dictionaries({"notional": prices}),
            st.fixed_dictionaries(
                {"position_fraction": st.sampled_from([D("0.5"), D(1), D("0.25"), D(1) / D(3)])}
            ),
        )
    )
    limit, stop = draw(st.none() | prices), draw(st.none() | prices)
    kind = {(0, 0): "market", (1, 0): "limit", (0, 1): "stop", (1, 1): "stop_limit"}
    levels = {}
    for name, sign in (("take_profit", 1), ("stop_loss", -1)):
        sign *= 1 if side is Side.BUY else -1
        choices = (
            st.none()
            | prices.map(lambda p: Level(price=p))
            | st.integers(1, 99).map(lambda n, s=sign: Level(percent=D(s * n)))
        )
        if name == "stop_loss":
            choices |= prices.map(lambda p: Level(trail_price=p))
            choices |= st.integers(1, 99).map(lambda n: Level(trail_percent=D(n)))
        level = draw(choices)
        if level is not None:
            levels[name] = level
    return SubmitOrder(
        id="x",
        symbol=draw(symbols),
        side=side,
        limit_price=limit,
        stop_price=stop,
        order_type=OrderType(kind[limit is not None, stop is not None]),
        order_class=(OrderClass.SIMPLE, OrderClass.OTO, OrderClass.BRACKET)[len(levels)],
        time_in_force=draw(st.sampled_from(TimeInForce)),
        extended_hours=draw(st.booleans()),
        reduce_only=draw(st.booleans()),
        preview=draw(st.booleans()),
        **levels,
        **size,
    )


@given(orders())
def test_what_is_formatted_parses_to_the_same_order(command: SubmitOrder) -> None:
    assert replace(parse_line(format_command(command)), id="x") == command


@given(st.text(max_size=60))
def test_no_text_makes_the_grammar_fail_otherwise(line: str) -> None:
    try:
        parse_line(line, Screen())
    except GrammarError as error:
        column = error.column
    else:
        column = 0
    assert 0 <= column <= len(line)
