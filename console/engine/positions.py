"""What is held, and what a fill makes of it."""

from __future__ import annotations

from decimal import Decimal

from console.engine.state import OrderView, PositionView, Side


def priced(
    symbol: str, qty: Decimal, entry: Decimal, price: Decimal, day_pl: Decimal = Decimal(0)
) -> PositionView:
    """A position marked at `price`."""
    cost, value = qty * entry, qty * price
    profit = value - cost
    return PositionView(
        symbol=symbol,
        qty=qty,
        side="short" if qty < 0 else "long",
        avg_entry_price=entry,
        current_price=price,
        market_value=value,
        cost_basis=cost,
        unrealized_pl=profit,
        unrealized_pl_pct=profit / abs(cost) * 100 if cost else Decimal(0),
        day_pl=day_pl,
    )


def bare_position(symbol: str, qty: Decimal) -> PositionView:
    """A position of which only the quantity is known."""
    return priced(symbol, qty, Decimal(0), Decimal(0))


def after_fill(
    held: PositionView, before: OrderView, after: OrderView, gained: Decimal
) -> PositionView:
    """The position once `gained` more shares of an order are filled."""
    price = price_of_gain(before, after, gained)
    signed = gained if after.side is Side.BUY else -gained
    qty = held.qty + signed
    entry = held.avg_entry_price
    if held.qty == 0 or (held.qty > 0) == (signed > 0):
        entry = (abs(held.qty) * entry + gained * price) / abs(qty)
    elif qty != 0 and (held.qty > 0) != (qty > 0):
        entry = price
    return priced(held.symbol, qty, entry, price, held.day_pl)


def price_of_gain(before: OrderView, after: OrderView, gained: Decimal) -> Decimal:
    """What the newly filled part cost, from the averages before and after it."""
    average = after.filled_avg_price or Decimal(0)
    earlier = (before.filled_avg_price or Decimal(0)) * before.filled_qty
    price = (average * after.filled_qty - earlier) / gained
    return price if price > 0 else average
