"""The other way round: the line that parses to a command."""

from __future__ import annotations

from decimal import Decimal

from console.engine.commands import (
    AnyCommand,
    CancelAll,
    CancelOrder,
    ClosePosition,
    Flatten,
    Reconcile,
    ReplaceOrder,
    SettleOrder,
    SetTradingState,
    SubmitOrder,
)
from console.engine.state import Side, TimeInForce, TradingState

_FRACTION_NAMES = {Decimal("0.5"): "half", Decimal("0.25"): "quarter", Decimal(1): "all"}


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fraction_text(fraction: Decimal) -> str:
    if fraction in _FRACTION_NAMES:
        return _FRACTION_NAMES[fraction]
    for denominator in range(2, 1000):
        numerator = (fraction * denominator).to_integral_value()
        if numerator > 0 and numerator / denominator == fraction:
            return f"{numerator}/{denominator}"
    return f"{_plain(fraction * 100)}%"


def _size_text(order: SubmitOrder) -> str:
    if order.qty is not None:
        return _plain(order.qty)
    if order.notional is not None:
        return f"${_plain(order.notional)}"
    if order.equity_fraction is not None:
        return f"{_plain(order.equity_fraction * 100)}%"
    if order.position_fraction is not None:
        return _fraction_text(order.position_fraction)
    raise ValueError("an order without a size: set qty, notional or one of the fractions")


def _trail_words(price: Decimal | None, percent: Decimal | None) -> list[str]:
    if percent is not None:
        return ["trail", f"{_plain(percent)}%"]
    return [] if price is None else ["trail", _plain(price)]


def _order_text(order: SubmitOrder) -> str:
    words = ["preview"] if order.preview else []
    words += [order.side.value, _size_text(order), order.symbol]
    if order.stop_price is not None:
        sign = ">=" if order.side is Side.BUY else "<="
        words += ["if", sign, _plain(order.stop_price)]
    if order.limit_price is not None:
        words += ["@", _plain(order.limit_price)]
    elif order.stop_loss is not None and order.stop_loss.trails and order.take_profit is None:
        words += ["@", "market"] if order.stop_price is None else []
    words += _trail_words(order.trail_price, order.trail_percent)
    for name, level in (("tp", order.take_profit), ("sl", order.stop_loss)):
        if level is not None and level.percent is not None:
            words.append(f"{'+' if level.percent > 0 else ''}{_plain(level.percent)}%")
        elif level is not None and level.price is not None:
            words += [name, _plain(level.price)]
        elif level is not None:
            words += _trail_words(level.trail_price, level.trail_percent)
    if order.time_in_force is not TimeInForce.DAY:
        words.append(order.time_in_force.value)
    words += ["ext"] * order.extended_hours + ["reduce"] * order.reduce_only
    return " ".join(words)


def _replace_text(command: ReplaceOrder) -> str:
    words = ["replace", command.client_order_id]
    if command.qty is not None:
        words.append(_plain(command.qty))
    for word, value in (
        ("@", command.limit_price),
        ("stop", command.stop_price),
        ("trail", command.trail),
    ):
        if value is not None:
            words += [word, _plain(value)]
    if command.time_in_force is not None:
        words.append(command.time_in_force.value)
    return " ".join(words)


_STATE_WORDS = {
    TradingState.HALTED: "halt",
    TradingState.REDUCING: "reduce",
    TradingState.ACTIVE: "resume",
}


def format_command(command: AnyCommand) -> str:
    """The line that parses to `command`. Raises ValueError for a command that has none."""
    match command:
        case SubmitOrder():
            return _order_text(command)
        case ReplaceOrder():
            return _replace_text(command)
        case CancelOrder():
            return f"cancel {command.client_order_id}"
        case CancelAll():
            return "cancel all" if command.symbol is None else f"cancel {command.symbol}"
        case ClosePosition():
            part = "" if command.fraction == 1 else f"{_fraction_text(command.fraction)} "
            return f"close {part}{command.symbol}"
        case SetTradingState():
            return f"{_STATE_WORDS[command.state]} {command.reason}".rstrip()
        case Flatten():
            return f"flatten {command.reason}".rstrip()
        case Reconcile():
            return "reconcile"
        case SettleOrder():
            return f"settle {command.client_order_id} {command.outcome.lower()}"
        case _:
            raise ValueError(f"{type(command).__name__} has no line of its own")
