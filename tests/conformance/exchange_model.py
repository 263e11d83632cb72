"""The paper exchange as anybody would write it down: slow, obvious, and one order after the other.

One account trades stocks out of a list of quotes and prints. Simple orders in whole shares, no
partial fills, regular hours; everything that `docs/exchange.md` says of those holds here too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
CENT = Decimal("0.01")
OPEN_STATES = {"accepted", "new"}
MALFORMED, RULE, FORBIDDEN, NOT_FOUND = 40010001, 42210000, 40310000, 40410000


class RefusedError(Exception):
    """The model refuses; `code` is Alpaca's."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def cents(value: Decimal) -> Decimal:
    return value.quantize(CENT, ROUND_HALF_EVEN)


@dataclass(frozen=True)
class Tick:
    """A quote (`bid`, `ask`) or a print (`price`)."""

    at: datetime
    symbol: str
    bid: Decimal = Decimal(0)
    ask: Decimal = Decimal(0)
    price: Decimal | None = None


@dataclass
class Order:
    symbol: str
    side: str
    type: str
    tif: str
    qty: Decimal
    limit: Decimal | None = None
    stop: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    status: str = "accepted"
    filled_at: Decimal | None = None
    closes: bool = False
    triggered: bool = False
    expires: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATES

    @property
    def buys(self) -> bool:
        return self.side == "buy"

    @property
    def is_stop(self) -> bool:
        return self.type in ("stop", "stop_limit", "trailing_stop")

    @property
    def plain_limit(self) -> Decimal | None:
        return None if self.is_stop else self.limit

    def trailed(self) -> Decimal:
        """Where the stop of a trailing order lies behind its best price."""
        assert self.hwm is not None
        distance = self.trail_price
        if distance is None:
            assert self.trail_percent is not None
            distance = self.hwm * self.trail_percent / 100
        return cents(self.hwm + distance if self.buys else self.hwm - distance)


@dataclass
class Position:
    qty: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)


@dataclass
class Model:
    ticks: list[Tick]
    days: list[date]
    now: datetime
    cash: Decimal = Decimal(100_000)
    orders: list[Order] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    quotes: dict[str, Tick] = field(default_factory=dict)
    last: dict[str, Decimal] = field(default_factory=dict)

    # ── time ───────────────────────────────────────────────────────────────────────────────────

    def hours(self, day: date) -> tuple[datetime, datetime]:
        return tuple(datetime.combine(day, at, NEW_YORK) for at in (time(9, 30), time(16)))  # type: ignore[return-value]

    @property
    def is_regular(self) -> bool:
        return any(opens <= self.now < closes for opens, closes in map(self.hours, self.days))

    def advance(self, to: datetime) -> None:
        """Everything that happens until `to`, `to` included."""
        happenings: list[tuple[datetime, int, Tick | bool]] = [
            (tick.at, 1, tick) for tick in self.ticks if self.now < tick.at <= to
        ]
        for day in self.days:
            opens, closes = self.hours(day)
            happenings += [(opens, 0, True)] if self.now < opens <= to else []
            happenings += [(closes, 0, False)] if self.now < closes <= to else []
        for at, _, what in sorted(happenings, key=lambda happening: happening[:2]):
            self.now = at
            match what:
                case Tick():
                    self.take(what)
                case True:
                    for order in self.open_orders():
                        if order.status == "accepted":
                            self.activate(order)
                case False:
                    for order in self.open_orders():
                        if order.expires and order.expires <= self.now:
                            order.status = "expired"
        self.now = to

    def take(self, tick: Tick) -> None:
        if tick.price is None:
            self.quotes[tick.symbol] = tick
        else:
            self.last[tick.symbol] = tick.price
        for order in self.open_orders():
            if order.symbol == tick.symbol:
                self.match(order, tick.price)

    # ── matching ───────────────────────────────────────────────────────────────────────────────

    def open_orders(self) -> list[Order]:
        return [order for order in self.orders if order.is_open]

    def touch(self, order: Order) -> Decimal | None:
        quote = self.quotes.get(order.symbol)
        if quote is None or quote.at.astimezone(NEW_YORK).date() != self.trading_day():
            return None
        return quote.ask if order.buys else quote.bid

    def trading_day(self) -> date:
        """The day whose evening has not ended."""
        local = self.now.astimezone(NEW_YORK)
        return local.date() if local.hour < 20 else local.date() + timedelta(days=1)

    def activate(self, order: Order) -> None:
        order.status = "new"
        self.match(order, None)

    def match(self, order: Order, price: Decimal | None) -> None:
        if order.status != "new" or not self.is_regular:
            return
        if order.is_stop and not order.triggered:
            if price is None or not self.triggers(order, price):
                return
            order.triggered = True
        touch = self.touch(order)
        if order.limit is None or (
            touch is not None and (touch <= order.limit if order.buys else touch >= order.limit)
        ):
            at = touch
        elif price is not None and (price < order.limit if order.buys else price > order.limit):
            at = order.limit
        else:
            at = None
        if at is not None:
            self.fill(order, at)
        elif touch is not None and order.tif in ("ioc", "fok"):
            order.status = "canceled"

    def triggers(self, order: Order, price: Decimal) -> bool:
        if order.type == "trailing_stop":
            mark = order.hwm
            if mark is None or (price < mark if order.buys else price > mark):
                order.hwm = price
                order.stop = order.trailed()
        assert order.stop is not None
        return price >= order.stop if order.buys else price <= order.stop

    def fill(self, order: Order, price: Decimal) -> None:
        order.status, order.filled_at = "filled", price
        signed = order.qty if order.buys else -order.qty
        value = cents(signed * price)
        self.cash -= value
        position = self.positions.setdefault(order.symbol, Position())
        opens = position.qty == 0 or (position.qty > 0) == (signed > 0)
        if opens:
            position.cost += value
        elif abs(signed) <= abs(position.qty):
            position.cost -= (position.cost * -signed / position.qty).quantize(Decimal("1e-9"))
        else:
            position.cost = cents(value * (position.qty + signed) / signed)
        position.qty += signed
        if position.qty == 0:
            del self.positions[order.symbol]

    # ── money ──────────────────────────────────────────────────────────────────────────────────

    def mark(self, symbol: str) -> Decimal:
        if symbol in self.last:
            return self.last[symbol]
        quote = self.quotes[symbol]
        return (quote.bid + quote.ask) / 2

    def cost(self, order: Order) -> Decimal:
        quote = self.quotes.get(order.symbol)
        ask = quote.ask if quote else self.last.get(order.symbol, Decimal(0))
        if not order.buys:
            price = max(order.limit or Decimal(0), ask * Decimal("1.03"))
        elif order.type == "market":
            price = ask
        elif order.type == "trailing_stop":
            price = max(order.stop or ask, ask)
        else:
            price = order.limit or order.stop or ask
        return cents(price * order.qty)

    def reserved(self, without: Order | None = None) -> Decimal:
        return sum(
            (self.cost(o) for o in self.open_orders() if not o.closes and o is not without),
            Decimal(0),
        )

    def values(self) -> tuple[Decimal, Decimal]:
        """Market value of what is held and of what is owed (negative)."""
        each = [cents(self.mark(name) * held.qty) for name, held in self.positions.items()]
        return sum((v for v in each if v > 0), Decimal(0)), sum(
            (v for v in each if v < 0), Decimal(0)
        )

    @property
    def equity(self) -> Decimal:
        return self.cash + sum(self.values())

    def buying_power(self, without: Order | None = None) -> Decimal:
        long, short = self.values()
        free = max(self.equity * 2 - (long - short), Decimal(0)) - self.reserved(without)
        return max(free, Decimal(0))

    # ── requests ───────────────────────────────────────────────────────────────────────────────

    def submit(self, order: Order) -> Order:
        self.check_stop(order)
        if order.type == "trailing_stop":
            order.hwm = self.last.get(order.symbol)
            order.stop = order.trailed() if order.hwm is not None else None
        self.check_holding(order)
        opposite = [
            o for o in self.open_orders() if o.symbol == order.symbol and o.side != order.side
        ]
        for other in opposite:
            buy, sell = (order, other) if order.buys else (other, order)
            if buy.plain_limit is None or sell.plain_limit is None:
                raise RefusedError(FORBIDDEN)
            if buy.plain_limit >= sell.plain_limit:
                raise RefusedError(FORBIDDEN)
        self.check_power(order)
        self.enter(order)
        return order

    def check_stop(self, order: Order) -> None:
        last = self.last.get(order.symbol)
        if order.type in ("stop", "stop_limit") and last is not None:
            assert order.stop is not None
            if order.stop <= last if order.buys else order.stop >= last:
                raise RefusedError(RULE)

    def check_holding(self, order: Order, without: Order | None = None) -> None:
        qty = self.positions.get(order.symbol, Position()).qty
        order.closes = qty != 0 and (qty < 0) == order.buys
        held = sum(
            o.qty
            for o in self.open_orders()
            if o.symbol == order.symbol and o.side == order.side and o is not without
        )
        if order.closes and order.qty > abs(qty) - held:
            raise RefusedError(FORBIDDEN)

    def check_power(self, order: Order, without: Order | None = None) -> None:
        if not order.closes and self.cost(order) > self.buying_power(without):
            raise RefusedError(FORBIDDEN)

    def enter(self, order: Order) -> None:
        order.status, order.expires = "accepted", self.expiry(order.tif)
        self.orders.append(order)
        if self.is_regular:
            self.activate(order)

    def expiry(self, tif: str) -> datetime:
        if tif == "gtc":
            return self.now + timedelta(days=80)
        return next(closes for _, closes in map(self.hours, self.days) if closes > self.now)

    def cancel(self, order: Order) -> None:
        if not order.is_open:
            raise RefusedError(RULE)
        order.status = "canceled"

    def replace(self, old: Order, qty: Decimal | None, price: Decimal | None) -> Order:
        """A new quantity, and a new limit where the order has one."""
        if not old.is_open:
            raise RefusedError(RULE)
        if price is not None and old.limit is None:
            raise RefusedError(RULE)
        order = replace(old, qty=qty or old.qty, limit=old.limit if price is None else price)
        self.check_holding(order, without=old)
        self.check_power(order, without=old)
        expires = old.expires
        old.status = "replaced"
        self.enter(order)
        order.expires = expires
        return order

    def close(self, symbol: str, percentage: int) -> Order:
        if symbol not in self.positions:
            raise RefusedError(NOT_FOUND)
        held = self.positions[symbol].qty
        qty = Decimal(int(abs(held) * percentage / 100))
        if qty == 0:
            raise RefusedError(RULE)
        return self.submit(Order(symbol, "sell" if held > 0 else "buy", "market", "day", qty))
