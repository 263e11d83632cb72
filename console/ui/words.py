"""Commands in words: what a person reads before they say yes."""

from __future__ import annotations

from decimal import Decimal

from console.engine import commands as c
from console.engine.state import OrderType, OrderView, RiskReport, TimeInForce
from console.ui import format as text
from console.ui.store import Store
from console.ui.widgets.orders import price_text, size_text

DANGEROUS = (c.CancelAll, c.ClosePosition, c.Flatten)


def is_dangerous(command: c.AnyCommand) -> bool:
    """What is confirmed even where confirmation is for dangerous commands only."""
    if isinstance(command, c.SetTradingState):
        return True
    return isinstance(command, DANGEROUS)


def describe(command: c.AnyCommand, store: Store, report: RiskReport | None = None) -> str:
    """One sentence that says what will happen."""
    match command:
        case c.SubmitOrder():
            return _order(command, store, report)
        case c.ReplaceOrder():
            order = store.orders.get(command.client_order_id)
            what = _short(order) if order is not None else f"order {command.client_order_id}"
            return f"Replace {what}: {_changes(command)}"
        case c.CancelOrder():
            order = store.orders.get(command.client_order_id)
            return f"Cancel {_short(order) if order is not None else command.client_order_id}"
        case c.CancelAll():
            count = len(store.open_orders(command.symbol))
            of = f" of {command.symbol}" if command.symbol else ""
            return f"Cancel all orders{of} ({count} open)"
        case c.ClosePosition():
            return _close(command, store)
        case c.SetTradingState():
            words = {
                "ACTIVE": "Resume: take orders again",
                "REDUCING": "Reduce: take only orders that make positions smaller",
                "HALTED": "Halt: take no more orders; open orders and positions stay",
            }
            why = store.trading_reason if command.state.value == "ACTIVE" else ""
            return words[command.state.value] + (
                f" ({store.trading_state.value}: {why})" if why else ""
            )
        case c.Flatten():
            return "Halt trading, cancel all orders and close all positions"
        case c.SettleOrder():
            return f"Settle order {command.client_order_id} as {command.outcome}: your word counts"
    from console.engine.grammar import format_command

    return format_command(command)


def _order(order: c.SubmitOrder, store: Store, report: RiskReport | None) -> str:
    words = [order.side.value.capitalize(), _size(order), order.symbol, _price(order)]
    if order.take_profit is not None:
        words.append(f"with take profit {_level(order.take_profit)}")
    if order.stop_loss is not None:
        joined = "and" if order.take_profit else "with"
        name = "a stop that trails by" if order.stop_loss.trails else "stop loss"
        words.append(f"{joined} {name} {_level(order.stop_loss)}")
    if order.time_in_force is not TimeInForce.DAY:
        tif = order.time_in_force.value
        words.append("good till canceled" if tif == "gtc" else tif)
    if order.extended_hours:
        words.append("also outside the session")
    if order.reduce_only:
        words.append("only to reduce")
    share = report.equity_pct if report is not None else None
    if share is None and store.account is not None and order.qty is not None:
        price = order.limit_price or Decimal(str(store.last(order.symbol)))
        if price.is_finite() and store.account.equity:
            share = order.qty * price / store.account.equity * 100
    return " ".join(words) + (f" — {text.share(share)} of equity" if share is not None else "")


def _size(order: c.SubmitOrder) -> str:
    if order.qty is not None:
        return text.quantity(order.qty)
    if order.notional is not None:
        return f"${text.quantity(order.notional)} of"
    if order.equity_fraction is not None:
        return f"{text.share(order.equity_fraction * 100)} of equity in"
    fraction = order.position_fraction or Decimal(1)
    return "all of" if fraction == 1 else f"{text.share(fraction * 100)} of"


def _price(order: c.SubmitOrder) -> str:
    match order.order_type:
        case OrderType.MARKET:
            return "at market"
        case OrderType.LIMIT:
            return f"at {text.price(order.limit_price)} or better"
        case OrderType.STOP:
            return f"at market once it trades at {text.price(order.stop_price)}"
        case OrderType.STOP_LIMIT:
            return (
                f"at {text.price(order.limit_price)} or better once it trades at "
                f"{text.price(order.stop_price)}"
            )
        case OrderType.TRAILING_STOP:
            trail = (
                f"{text.quantity(order.trail_percent)}%"
                if order.trail_percent is not None
                else text.price(order.trail_price)
            )
            return f"at market once it turns by {trail}"


def _level(level: c.Level) -> str:
    if level.trails:
        percent = level.trail_percent
        return text.price(level.trail_price) if percent is None else f"{percent:f}%"
    return text.price(level.price) if level.percent is None else f"{level.percent:+f}%"


def _changes(command: c.ReplaceOrder) -> str:
    parts = [
        f"{text.quantity(command.qty)} shares" if command.qty is not None else "",
        f"limit {text.price(command.limit_price)}" if command.limit_price is not None else "",
        f"stop {text.price(command.stop_price)}" if command.stop_price is not None else "",
        f"trail {text.price(command.trail)}" if command.trail is not None else "",
        command.time_in_force.value if command.time_in_force is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _short(order: OrderView) -> str:
    return f"{order.side.value} {size_text(order)} {order.symbol} {price_text(order)}"


def _close(command: c.ClosePosition, store: Store) -> str:
    position = store.positions.get(command.symbol)
    part = "" if command.fraction == 1 else f"{text.share(command.fraction * 100)} of "
    if position is None:
        return f"Close {part}the position in {command.symbol} at market"
    verb = "sell" if position.qty > 0 else "buy back"
    open_orders = len(store.open_orders(command.symbol))
    first = f"; {open_orders} open orders of it are canceled first" if open_orders else ""
    shares = abs(position.qty) * command.fraction
    return (
        f"Close {part}{command.symbol}: {verb} {text.quantity(shares)} at market, "
        f"{text.whole_money(abs(position.market_value) * command.fraction)}, "
        f"P&L {text.signed_money(position.unrealized_pl * command.fraction)}{first}"
    )


def outcome(command: c.AnyCommand, answer: c.Ack, store: Store) -> str:
    """One line after it was taken."""
    if answer.order is not None:
        # The answer may be older than what was told of the order since.
        order = store.orders.get(answer.order.client_order_id, answer.order)
        return f"{_short(order)}: {order.state.value}"
    return answer.message or f"{describe(command, store)}: done"


def figures(report: RiskReport) -> list[str]:
    """What an order would do, the most important first."""
    found = (
        (report.notional, "{}", text.money),
        (report.equity_pct, "{} of equity", text.share),
        (report.buying_power_after, "bp after {}", text.whole_money),
        (report.spread_cost, "spread {}", text.money),
        (report.loss_at_stop, "at stop {}", text.money),
    )
    return [words.format(show(value)) for value, words, show in found if value is not None]
