"""Fills to round trips: from flat to flat, what each was worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it was sent, and the quote that stood then (NaN where none did)."""

    at: int
    client_order_id: str
    symbol: str
    side: Literal["buy", "sell"]
    qty: Decimal
    bid: float
    ask: float


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill; `position` is the signed position after it. Times in ns since the epoch."""

    at: int
    order: Order
    symbol: str
    side: Literal["buy", "sell"]
    qty: Decimal
    price: Decimal
    position: Decimal

    @property
    def signed(self) -> Decimal:
        return self.qty if self.side == "buy" else -self.qty

    @property
    def value(self) -> Decimal:
        """Dollars that changed hands, to the cent as the exchange books them."""
        return (self.qty * self.price).quantize(Decimal("0.01"))

    @property
    def slippage_bp(self) -> float:
        """Against the middle of the quote when the order was sent, in basis points; above 0 costs.

        side·(price − mid)/mid·10⁴; NaN where no quote stood.
        """
        mid = (self.order.bid + self.order.ask) / 2
        paid = float(self.price) - mid
        return (paid if self.side == "buy" else -paid) / mid * 1e4 if mid > 0 else float("nan")

    @property
    def touch_slippage_bp(self) -> float:
        """The same against the side of the quote that the order met: the ask of a buy."""
        touch = self.order.ask if self.side == "buy" else self.order.bid
        paid = float(self.price) - touch
        return (paid if self.side == "buy" else -paid) / touch * 1e4 if touch > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class Trade:
    """A round trip, from flat to flat. Prices are averages over its fills, by quantity."""

    symbol: str
    side: Literal["long", "short"]
    opened_at: int
    closed_at: int
    qty: Decimal
    """Shares bought (of a long) or sold (of a short)."""
    entry_price: Decimal
    exit_price: Decimal
    profit: Decimal
    """Dollars: what was sold for less what was bought for."""

    @property
    def return_pct(self) -> float:
        """Profit in percent of what opening it took."""
        cost = float(self.qty * self.entry_price)
        return float(self.profit) / cost * 100 if cost else 0.0

    @property
    def minutes(self) -> float:
        return (self.closed_at - self.opened_at) / 60e9


@dataclass(slots=True)
class _Open:
    opened_at: int
    is_long: bool
    bought: Decimal = ZERO
    bought_value: Decimal = ZERO
    sold: Decimal = ZERO
    sold_value: Decimal = ZERO

    def add(self, side: str, qty: Decimal, value: Decimal) -> None:
        if side == "buy":
            self.bought += qty
            self.bought_value += value
        else:
            self.sold += qty
            self.sold_value += value

    def closed(self, symbol: str, at: int) -> Trade:
        bought, sold = self.bought_value / self.bought, self.sold_value / self.sold
        return Trade(
            symbol=symbol,
            side="long" if self.is_long else "short",
            opened_at=self.opened_at,
            closed_at=at,
            qty=self.bought if self.is_long else self.sold,
            entry_price=round(bought if self.is_long else sold, 6),
            exit_price=round(sold if self.is_long else bought, 6),
            profit=self.sold_value - self.bought_value,
        )


def round_trips(fills: Iterable[Execution]) -> list[Trade]:
    """Every round trip that is over, in the order of its end; what is still held is none.

    A fill that turns a long into a short ends one trip and begins the next, its value shared out by
    quantity.
    """
    trips: list[Trade] = []
    open_: dict[str, _Open] = {}
    for fill in fills:
        before = fill.position - fill.signed
        crosses = before != 0 and fill.position != 0 and (before > 0) != (fill.position > 0)
        closing = abs(before) if crosses else fill.qty
        share = (fill.value * closing / fill.qty).quantize(Decimal("0.01"))
        trip = open_.get(fill.symbol)
        if trip is None:
            trip = open_[fill.symbol] = _Open(fill.at, is_long=fill.signed > 0)
        trip.add(fill.side, closing, share)
        if fill.position == 0 or crosses:
            trips.append(trip.closed(fill.symbol, fill.at))
            del open_[fill.symbol]
        if crosses:
            rest = open_[fill.symbol] = _Open(fill.at, is_long=fill.signed > 0)
            rest.add(fill.side, fill.qty - closing, fill.value - share)
    return trips
