"""One grammar, both ways: a line of text becomes a command, a command becomes its line.

The ticket, the command line of the face and `trading-console order` all speak it:

    buy 100 IBM                       at the market, for the day
    buy 100 IBM @ 182.50 gtc          a limit that stays
    buy 100 IBM @ 182.50 +2% -1%      a bracket: profit at +2 %, stop at -1 % of the entry
    buy $10_000 BAC                   for an amount of money
    buy 5% SPY @ mid                  for a part of the equity, pegged to the quote of this moment
    sell half SPY                     a part of the position: half, third, quarter, all, or 2/3
    buy 100 IBM if >= 183 @ 183.20    when the price gets there: a stop, with `@` a stop limit
    sell 100 IBM trail 1%             a trailing stop, in percent or in dollars
    buy 100 IBM @ 182.50 +2% trail 1%   a bracket whose stop trails: with a limit, a trigger or a
                                      profit level `trail` is its leg
    buy 100 IBM @ market trail 1%     at the market, with a trailing stop as its leg
    cancel all · cancel IBM · cancel 2 · close IBM · close half IBM · replace 2 @ 182.60
    halt · reduce · resume · flatten · reconcile · settle ID filled
    preview buy 100 IBM               only the risk report

Numbers may carry `_` or `,` between digits. Row numbers and prices pegged to `bid`, `mid` or `ask`
need a `Context`; everything else parses without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import NoReturn, Protocol

import msgspec

from console.engine.command_lines import format_command as format_command
from console.engine.commands import (
    AnyCommand,
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
from console.engine.state import OrderClass, OrderState, OrderType, Side, TimeInForce, TradingState


class GrammarError(ValueError):
    """A line that is no command. `column` (from 0) is where it stops making sense."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"column {column + 1}: {message}")
        self.column = column
        self.message = message


class Context(Protocol):
    """What a line may refer to: the rows on the screen and the quotes of this moment."""

    def order_at(self, row: int) -> str | None:
        """The client order id in row `row` (from 1) of the orders pane."""
        ...

    def quote(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        """Bid and ask, or None where no fresh quote is known."""
        ...


MAX_SYMBOL_LENGTH = 12
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*([./][A-Z0-9]+)?")
_NUMBER = re.compile(r"[0-9][0-9_,]*(\.[0-9]+)?|\.[0-9]+")
_FRACTIONS = {
    "half": Decimal("0.5"),
    "third": Decimal(1) / Decimal(3),
    "quarter": Decimal("0.25"),
    "all": Decimal(1),
}
_PEGS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "bid": lambda bid, _ask: bid,
    "ask": lambda _bid, ask: ask,
    "mid": lambda bid, ask: (bid + ask) / 2,
}
_TIMES_IN_FORCE = {tif.value for tif in TimeInForce}
_PRICE_ATOMS = re.compile(r"(bid|mid|ask)([+-].+)?")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    column: int


def _words(line: str) -> list[_Word]:
    spaced = re.sub(r"@(?=\S)", "@ ", line)
    # Columns are those of the line as typed: an inserted space shifts what follows it by one.
    shifts = [m.start() for m in re.finditer(r"@(?=\S)", line)]
    words = []
    for match in re.finditer(r"\S+", spaced):
        inserted = sum(1 for i, at in enumerate(shifts) if at + i + 1 < match.start())
        words.append(_Word(match.group(), match.start() - inserted))
    return words


def _number(text: str) -> Decimal | None:
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text.replace("_", "").replace(",", ""))
    except InvalidOperation:
        return None


class _Line:
    """A cursor over the words of one line."""

    def __init__(self, line: str, context: Context | None) -> None:
        self.context = context
        self._words = _words(line)
        self._at = 0
        self._end = len(line.rstrip())

    def peek(self) -> str | None:
        return self._words[self._at].text.lower() if self._at < len(self._words) else None

    @property
    def column(self) -> int:
        return self._words[self._at].column if self._at < len(self._words) else self._end

    def next(self, expected: str) -> str:
        if self._at >= len(self._words):
            raise GrammarError(self._end, f"the line ends where {expected} should follow")
        self._at += 1
        return self._words[self._at - 1].text

    def refuse_previous(self, message: str) -> NoReturn:
        raise GrammarError(self._words[self._at - 1].column, message)

    def take(self, word: str) -> bool:
        if self.peek() == word:
            self._at += 1
            return True
        return False

    def end(self) -> None:
        if self._at < len(self._words):
            word = self._words[self._at]
            raise GrammarError(word.column, f"{word.text!r} is more than this command takes")

    # -- the atoms ---------------------------------------------------------------------------

    def symbol(self) -> str:
        text = self.next("a symbol").upper()
        if len(text) > MAX_SYMBOL_LENGTH or not _SYMBOL.fullmatch(text):
            self.refuse_previous(f"{text!r} is no symbol: letters and digits, such as IBM or BRK.B")
        return text

    def positive(self, expected: str) -> Decimal:
        text = self.next(expected)
        number = _number(text)
        if number is None:
            self.refuse_previous(f"{text!r} is not a number; {expected} is wanted here")
        if number <= 0:
            self.refuse_previous(f"{text} is not above zero; {expected} must be")
        return number

    def price(self, symbol: str) -> Decimal:
        """A number, or `bid`, `mid`, `ask` with an offset such as `bid-0.02`."""
        word = self.peek() or ""
        peg = _PRICE_ATOMS.fullmatch(word)
        if peg is None:
            return self.positive("a price")
        self.next("a price")
        quote = self.context.quote(symbol) if self.context is not None else None
        if quote is None:
            self.refuse_previous(
                f"no fresh quote of {symbol} to peg to; give the price as a number"
            )
        price = _PEGS[peg[1]](*quote)
        if peg[2]:
            offset = _number(peg[2][1:])
            if offset is None:
                self.refuse_previous(f"{peg[2]!r} is no offset; write for example {peg[1]}-0.02")
            price += offset if peg[2][0] == "+" else -offset
        if price <= 0:
            self.refuse_previous(f"{word} comes to {price}; a price must be above zero")
        tick = Decimal("0.01") if price >= 1 else Decimal("0.0001")
        return price.quantize(tick, rounding=ROUND_HALF_EVEN)

    def order_id(self) -> str:
        """A client order id, or the row number of an order on the screen."""
        text = self.next("an order: its row number or its id")
        if text.isascii() and text.isdigit() and len(text) < 4:
            found = self.context.order_at(int(text)) if self.context is not None else None
            if found is None:
                self.refuse_previous(f"there is no order in row {text}")
            return found
        return text

    def fraction(self) -> Decimal | None:
        """`half`, `2/3`, `25%`… of a position, if one stands here."""
        word = self.peek() or ""
        if word in _FRACTIONS:
            self.next("a fraction")
            return _FRACTIONS[word]
        if match := re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", word):
            self.next("a fraction")
            numerator, denominator = Decimal(match[1]), Decimal(match[2])
            if not 0 < numerator <= denominator:
                self.refuse_previous(f"{word} is no part of a position: above 0 and up to 1 is")
            return numerator / denominator
        return None


def parse_line(
    line: str, context: Context | None = None, *, source: str = "keyboard"
) -> AnyCommand:
    """The command that `line` stands for.

    Raises:
        GrammarError: the line is no command; its `column` says where, its `message` why.
    """
    cursor = _Line(line.lstrip(": "), context)
    try:
        command = _command(cursor)
    except GrammarError as error:
        raise GrammarError(
            error.column + len(line) - len(line.lstrip(": ")), error.message
        ) from None
    return msgspec.structs.replace(command, source=source)


def _command(cursor: _Line) -> AnyCommand:
    verb = cursor.next("a command: buy, sell, close, cancel, replace, halt, flatten…").lower()
    if verb == "preview":
        verb = cursor.next("an order: buy or sell").lower()
        if verb not in ("buy", "sell"):
            cursor.refuse_previous(f"{verb!r} can't be previewed; an order (buy or sell) can")
        return msgspec.structs.replace(_order(cursor, Side(verb)), preview=True)
    if verb in ("buy", "sell"):
        return _order(cursor, Side(verb))
    rule = _VERBS.get(verb)
    if rule is None:
        known = ", ".join(("buy", "sell", "preview", *_VERBS))
        cursor.refuse_previous(f"{verb!r} is no command; known are {known}")
    command = rule(cursor)
    cursor.end()
    return command


def _order(cursor: _Line, side: Side) -> SubmitOrder:
    size = _size(cursor, side)
    symbol = cursor.symbol()
    limit = stop = trail_price = trail_percent = None
    levels: dict[str, Level] = {}
    tif = TimeInForce.DAY
    extended = reduce_only = at_market = False

    while (word := cursor.peek()) is not None:
        if word in ("@", "at", "limit"):
            cursor.next("a price")
            _once(cursor, limit is None, "a limit price")
            if cursor.take("market") or cursor.take("mkt"):
                at_market = True
                continue
            limit = cursor.price(symbol)
        elif word in ("if", "stop"):
            cursor.next("a trigger")
            _once(cursor, stop is None, "a trigger price")
            if word == "if":
                _direction(cursor, side)
            stop = cursor.price(symbol)
        elif word == "trail":
            cursor.next("a trail")
            _once(cursor, trail_price is None and trail_percent is None, "a trail")
            trail_price, trail_percent = _trail(cursor)
        elif word in ("tp", "sl"):
            cursor.next("a level")
            name = "take_profit" if word == "tp" else "stop_loss"
            _once(cursor, name not in levels, name.replace("_", " "))
            levels[name] = Level(price=cursor.price(symbol))
        elif word[0] in "+-" and word.endswith("%"):
            name, level = _percent_level(cursor, side)
            _once(cursor, name not in levels, name.replace("_", " "))
            levels[name] = level
        elif word in _TIMES_IN_FORCE:
            tif = TimeInForce(cursor.next("a time in force").lower())
        elif word in ("ext", "reduce"):
            cursor.next("a flag")
            extended |= word == "ext"
            reduce_only |= word == "reduce"
        else:
            raise GrammarError(
                cursor.column,
                f"{word!r} is not understood after {symbol}; "
                "known are @ PRICE, if, stop, trail, tp, sl, +N%, -N%, ext, reduce, "
                + ", ".join(sorted(_TIMES_IN_FORCE)),
            )

    if trail_price is not None or trail_percent is not None:
        if "stop_loss" in levels:
            cursor.refuse_previous("a stop loss and a trail are two stops; give one of them")
        if at_market or limit is not None or stop is not None or levels:
            levels["stop_loss"] = Level(trail_price=trail_price, trail_percent=trail_percent)
            trail_price = trail_percent = None
    order = SubmitOrder(
        symbol=symbol,
        side=side,
        order_type=_order_type(limit, stop, trail_price or trail_percent),
        limit_price=limit,
        stop_price=stop,
        trail_price=trail_price,
        trail_percent=trail_percent,
        time_in_force=tif,
        extended_hours=extended,
        order_class=_order_class(levels),
        take_profit=levels.get("take_profit"),
        stop_loss=levels.get("stop_loss"),
        reduce_only=reduce_only,
    )
    return msgspec.structs.replace(order, **size)


def _once(cursor: _Line, first: bool, what: str) -> None:
    if not first:
        cursor.refuse_previous(f"{what} stands twice")


def _size(cursor: _Line, side: Side) -> dict[str, Decimal]:
    fraction = cursor.fraction()
    if fraction is not None:
        return {"position_fraction": fraction}
    text = cursor.next("a quantity, such as 100, $10_000, 5% or half")
    if text.startswith("$"):
        amount = _number(text[1:])
        if amount is None or amount <= 0:
            cursor.refuse_previous(f"{text!r} is no amount of money; write for example $10_000")
        return {"notional": amount}
    if text.endswith("%"):
        percent = _number(text[:-1])
        if percent is None or percent <= 0:
            cursor.refuse_previous(f"{text!r} is no percentage; write for example 5%")
        if side is Side.SELL:
            if percent > 100:
                cursor.refuse_previous(f"{text} is more than the position; up to 100% can be sold")
            return {"position_fraction": percent / 100}
        return {"equity_fraction": percent / 100}
    number = _number(text)
    if number is None:
        cursor.refuse_previous(
            f"{text!r} is not a quantity; write for example 100, $10_000 or half"
        )
    if number <= 0:
        cursor.refuse_previous(f"{text} is not above zero; a quantity must be")
    return {"qty": number}


def _direction(cursor: _Line, side: Side) -> None:
    """A stop buys when the price rises to it and sells when it falls; the reverse is a limit."""
    text = cursor.next("a condition, such as >= 183")
    wanted = (">", ">=") if side is Side.BUY else ("<", "<=")
    if text in wanted:
        return
    if text in (">", ">=", "<", "<="):
        cursor.refuse_previous(
            f"a {side.value} can wait for {wanted[1]} only; for a better price use a limit: @ PRICE"
        )
    cursor.refuse_previous(f"{text!r} is no condition; write for example if {wanted[1]} 183")


def _trail(cursor: _Line) -> tuple[Decimal | None, Decimal | None]:
    text = cursor.next("a trail, such as 1% or 0.50")
    number = _number(text.rstrip("%"))
    if number is None or number <= 0:
        cursor.refuse_previous(f"{text!r} is no trail; write 1% or 0.50")
    if text.endswith("%") and number >= 100:
        cursor.refuse_previous(f"a trail of {text} reaches no price above zero")
    return (None, number) if text.endswith("%") else (number, None)


def _percent_level(cursor: _Line, side: Side) -> tuple[str, Level]:
    """`+2%` is profit for a buy and loss for a sale; the sign is kept, it is against the entry."""
    text = cursor.next("a level")
    number = _number(text[1:-1])
    if number is None or number <= 0:
        cursor.refuse_previous(f"{text!r} is no level; write for example +2% or -1%")
    if number >= 100 and text[0] == "-":
        cursor.refuse_previous(f"{text} is no price above zero")
    up = text[0] == "+"
    name = "take_profit" if up == (side is Side.BUY) else "stop_loss"
    return name, Level(percent=number if up else -number)


def _order_type(limit: Decimal | None, stop: Decimal | None, trail: Decimal | None) -> OrderType:
    if trail is not None:
        return OrderType.TRAILING_STOP
    if stop is not None:
        return OrderType.STOP if limit is None else OrderType.STOP_LIMIT
    return OrderType.MARKET if limit is None else OrderType.LIMIT


def _order_class(levels: dict[str, Level]) -> OrderClass:
    return (OrderClass.SIMPLE, OrderClass.OTO, OrderClass.BRACKET)[len(levels)]


def _cancel(cursor: _Line) -> CancelAll | CancelOrder:
    word = cursor.peek()
    if word == "all":
        cursor.next("an order")
        return CancelAll() if cursor.peek() is None else CancelAll(symbol=cursor.symbol())
    if word is not None and len(word) <= MAX_SYMBOL_LENGTH and _SYMBOL.fullmatch(word.upper()):
        return CancelAll(symbol=cursor.symbol())
    return CancelOrder(client_order_id=cursor.order_id())


def _close(cursor: _Line) -> ClosePosition:
    fraction = cursor.fraction()
    if fraction is None and (word := cursor.peek() or "").endswith("%"):
        percent = _number(word[:-1])
        cursor.next("a percentage")
        if percent is None or not 0 < percent <= 100:
            cursor.refuse_previous(f"{word!r} is no part of a position; write for example 50%")
        fraction = percent / 100
    return ClosePosition(symbol=cursor.symbol(), fraction=fraction or Decimal(1))


def _replace(cursor: _Line) -> ReplaceOrder:
    order_id = cursor.order_id()
    qty = limit = stop = trail = tif = None
    while (word := cursor.peek()) is not None:
        if word in ("@", "at", "limit"):
            cursor.next("a price")
            limit = cursor.positive("a price")
        elif word == "stop":
            cursor.next("a price")
            stop = cursor.positive("a stop price")
        elif word == "trail":
            cursor.next("a trail")
            trail = cursor.positive("a trail")
        elif word in _TIMES_IN_FORCE:
            tif = TimeInForce(cursor.next("a time in force").lower())
        else:
            qty = cursor.positive("a quantity")
    if all(change is None for change in (qty, limit, stop, trail, tif)):
        raise GrammarError(cursor.column, "nothing to change; write for example replace 2 @ 182.60")
    return ReplaceOrder(
        client_order_id=order_id,
        qty=qty,
        limit_price=limit,
        stop_price=stop,
        trail=trail,
        time_in_force=tif,
    )


def _reason(cursor: _Line) -> str:
    words = []
    while cursor.peek() is not None:
        words.append(cursor.next("a reason"))
    return " ".join(words)


_SETTLED = (OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED)


def _settle(cursor: _Line) -> SettleOrder:
    order_id = cursor.order_id()
    outcomes = {state.value.lower(): state for state in _SETTLED}
    word = cursor.next("what became of it: " + ", ".join(outcomes)).lower()
    if word not in outcomes:
        cursor.refuse_previous(f"{word!r} is no outcome; known are {', '.join(outcomes)}")
    return SettleOrder(client_order_id=order_id, outcome=outcomes[word].value)


_VERBS: dict[str, Callable[[_Line], AnyCommand]] = {
    "cancel": _cancel,
    "close": _close,
    "replace": _replace,
    "halt": lambda c: SetTradingState(state=TradingState.HALTED, reason=_reason(c)),
    "reduce": lambda c: SetTradingState(state=TradingState.REDUCING, reason=_reason(c)),
    "resume": lambda c: SetTradingState(state=TradingState.ACTIVE, reason=_reason(c)),
    "flatten": lambda c: Flatten(reason=_reason(c)),
    "reconcile": lambda _c: Reconcile(),
    "settle": _settle,
}
VERBS: Sequence[str] = ("buy", "sell", "preview", *_VERBS)
"""Every word that a line can begin with."""
