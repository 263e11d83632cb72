"""The order ticket: one line of fields, edited in place, nudged by the arrows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.binding import Binding
from textual.strip import Strip

from console.engine.state import OrderType, Side
from console.ui import format as text
from console.ui.actions import Context, bindings
from console.ui.draft import PEGS, Draft
from console.ui.store import Fact
from console.ui.widgets.painted import Painted, Span, sign_ink, spread

if TYPE_CHECKING:
    from console.ui.widgets.entry import OrderEntry

_LABELS = {
    "symbol": "", "size": "", "order_type": "", "limit": "@", "stop": "stop", "trail": "trail",
    "tif": "", "profit": "TP", "loss": "SL",
}  # fmt: skip
_WIDTHS = {"symbol": 6, "size": 7, "limit": 8, "stop": 8, "trail": 5, "profit": 5, "loss": 5}
_ASKS = {
    "symbol": "which symbol? ↑↓ goes through the feed's",
    "size": "how many? 100, $10_000, 5% of equity, half of a position; m the most, r by risk",
    "limit": "which price? a number, ↑↓ from the middle, or b bid, m mid, a ask",
    "stop": "from which price on? a number, ↑↓ from the middle, or b bid, m mid, a ask",
    "trail": "how far behind? 1% or 0.50",
    "order_type": "↑↓ market, limit, stop, stop limit, trailing stop; or m, l, s, t",
    "tif": "↑↓ how long: day, gtc, opg, cls, ioc, fok",
    "profit": "take profit at 2% or at a price; ↑↓ by a quarter percent",
    "loss": "stop loss at 1% or at a price, t1% trails; ↑↓ by a quarter percent",
}
_TYPE_KEYS = {
    "m": OrderType.MARKET, "l": OrderType.LIMIT, "s": OrderType.STOP, "t": OrderType.TRAILING_STOP,
}  # fmt: skip


class Ticket(Painted, can_focus=True):
    BINDINGS: ClassVar[list[Binding]] = bindings(Context.TICKET)  # type: ignore[assignment]
    CONTEXTS: ClassVar[frozenset[Context]] = frozenset({Context.TICKET, Context.EVERYWHERE})
    SHOWS: ClassVar[Fact] = Fact.MARKET | Fact.CLOCK | Fact.POSITIONS | Fact.CHOICE
    DEFAULT_CSS = """
    Ticket { height: 1; background: $panel; }
    """

    def __init__(self, entry: OrderEntry) -> None:
        super().__init__(id="ticket")
        self.entry = entry
        self.field = "symbol"
        self._drawn: list[Span] = []
        self._fresh = True
        """The field was just entered: the first character typed replaces what stands there."""

    @property
    def draft(self) -> Draft:
        return self.entry.draft

    def ask(self, field: str) -> str:
        """What the ticket wants to know there."""
        return _ASKS[field]

    def begin(self, *, keep: bool = False) -> None:
        """Take the focus; on a new draft at the symbol."""
        self._enter("size" if keep and self.draft.symbol else "symbol")
        self.screen.set_focus(self)
        if not keep:
            self.entry.ticket_changed(self.draft)

    def _enter(self, field: str) -> None:
        self.field, self._fresh = field, True
        self.refresh()

    # -- keys --------------------------------------------------------------------------------

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return character is not None and character.isprintable()

    def on_key(self, event: events.Key) -> None:
        if self.take_key(event):
            event.stop()
            event.prevent_default()

    def take_key(self, event: events.Key) -> bool:
        """Write what was typed; False for a key that is no writing."""
        if event.key == "backspace":
            self._erase()
        elif event.key == "delete":
            self._write("")
        elif event.is_printable and event.character is not None:
            self._type(event.character)
        else:
            return False
        return True

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        for character in event.text.strip()[:32]:
            self._type(character)

    def _erase(self) -> None:
        if self.field in ("order_type", "tif"):
            return
        self._write("" if self._fresh else str(getattr(self.draft, self.field))[:-1])

    def _type(self, character: str) -> None:
        field = self.field
        if character == " ":
            self.act_ticket_next()
        elif field == "symbol":
            self._type_symbol(character)
        elif field == "size" and character in "mr":
            (self.entry.size_to_maximum if character == "m" else self.entry.size_by_risk)()
        elif field in ("limit", "stop") and character in PEGS:
            self._write(PEGS[character])
        elif field == "order_type" and character in _TYPE_KEYS:
            self.entry.ticket_changed(replace(self.draft, order_type=_TYPE_KEYS[character]))
        elif field not in ("order_type", "tif"):
            self._append(character)

    def _type_symbol(self, character: str) -> None:
        # A digit can't begin a symbol: whoever types one means the quantity of the symbol chosen.
        if self._fresh and self.draft.symbol and character in "0123456789$.":
            self._enter("size")
            self._append(character)
        else:
            self._append(character.upper())

    def _append(self, character: str) -> None:
        before = "" if self._fresh else str(getattr(self.draft, self.field))
        self._write((before + character)[:24])

    def _write(self, value: str) -> None:
        self._fresh = False
        changes: dict[str, Any] = {self.field: value}
        self.entry.risk_note = ""
        self.entry.ticket_changed(replace(self.draft, **changes))

    # -- actions -----------------------------------------------------------------------------

    def act_ticket_next(self) -> None:
        self._step(1)

    def act_ticket_previous(self) -> None:
        self._step(-1)

    def _step(self, by: int) -> None:
        fields = self.draft.fields
        at = fields.index(self.field) if self.field in fields else 0
        self._enter(fields[(at + by) % len(fields)])
        self.entry._redraw()

    def act_ticket_submit(self) -> None:
        missing = self.draft.missing()
        if missing is not None:
            self._enter(missing)
            self.entry._redraw()
        elif self.field == "symbol" and self._fresh is False and not self.draft.size:
            self._enter("size")
        else:
            self.entry.submit(self.draft.line())

    def act_ticket_close(self) -> None:
        self.entry.leave()

    def act_ticket_line(self) -> None:
        self.entry.to_line()

    def act_ticket_flip(self) -> None:
        side = Side.SELL if self.draft.side is Side.BUY else Side.BUY
        self.entry.ticket_changed(replace(self.draft, side=side))

    def act_ticket_up(self) -> None:
        self._nudge(1)

    def act_ticket_down(self) -> None:
        self._nudge(-1)

    def act_ticket_up_ten(self) -> None:
        self._nudge(10)

    def act_ticket_down_ten(self) -> None:
        self._nudge(-10)

    def act_ticket_up_one(self) -> None:
        self._nudge(1, lot=1)

    def act_ticket_down_one(self) -> None:
        self._nudge(-1, lot=1)

    def _nudge(self, steps: int, *, lot: int | None = None) -> None:
        choices = self.field in ("symbol", "order_type", "tif")
        frame = self.store.frame
        draft = self.draft.nudged(
            self.field,
            (-steps if choices else steps),
            price=self.app.middle(self.draft.symbol),
            symbols=frame.symbols if frame is not None else (),
            lot=self.app.lot if lot is None else lot,
        )
        self._fresh = True
        self.entry.ticket_changed(draft)

    # -- lines -------------------------------------------------------------------------------

    def show(self, facts: Fact) -> None:
        spans = self._spans(self.size.width)
        if spans != self._drawn:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        self._drawn = self._spans(width)
        return self.strip(self._drawn, width, "title")

    def _spans(self, width: int) -> list[Span]:
        entry = self.entry
        if not entry.active or (entry.line.has_focus and entry.order is None):
            return self._instrument(width)
        draft = self.draft
        buying = draft.side is Side.BUY
        spans: list[Span] = [
            (f" {draft.side.value.upper():<4} ", ("up" if buying else "down") + " bold")
        ]
        for field in draft.fields:
            spans += self._field(field)
            if field in ("limit", "stop"):
                spans += self._pegged(field)
        price = self.app.quote_words(draft.symbol)
        return spread(spans, [(price + " ", "muted")], width)

    def _pegged(self, field: str) -> list[Span]:
        """The price that a peg is at this moment, where the field holds one."""
        order = self.entry.order
        if order is None or not str(getattr(self.draft, field)).startswith(tuple(PEGS.values())):
            return []
        price = order.limit_price if field == "limit" else order.stop_price
        return [(f"= {text.price(price)} ", "accent")]

    def _instrument(self, width: int) -> list[Span]:
        """Of the chosen symbol, while no order is being written: quote and holding."""
        symbol = self.app.symbol
        if not symbol:
            return []
        spans: list[Span] = [(f" {symbol} ", "bold"), (self.app.quote_words(symbol), "")]
        position = self.store.positions.get(symbol)
        if position is not None:
            pl = position.unrealized_pl
            spans += [
                (
                    f"   {text.quantity(position.qty)} held at "
                    f"{text.price(position.avg_entry_price)} ",
                    "muted",
                ),
                (text.arrow(pl) + text.signed_money(pl), sign_ink(pl)),
            ]
        return spread(spans, [("b buys, s sells ", "muted")], width)

    def _field(self, field: str) -> list[Span]:
        value = getattr(self.draft, field)
        shown = (
            str(value.value).upper().replace("_", " ")
            if field in ("order_type", "tif")
            else str(value)
        )
        here = self.has_focus and self.field == field
        width = _WIDTHS.get(field, 0)
        label = _LABELS[field]
        spans: list[Span] = [(f" {label} " if label else " ", "muted")]
        if here:
            mark = "mark" if self._fresh and shown else "input bold"
            spans.append((shown, mark))
            if width:
                spans.append(("▏", "input accent"))
                spans.append((" " * max(0, width - len(shown) - 1), "input"))
        else:
            spans.append(
                (
                    shown.ljust(width) if shown else ("·" * min(3, width)).ljust(width),
                    "bold" if shown else "muted",
                )
            )
        return spans
