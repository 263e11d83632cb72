"""Answers to commands, in the words that a refusal has."""

from __future__ import annotations

from console.engine.commands import Ack, Command, Outcome
from console.engine.orders import in_words
from console.engine.risk import refused
from console.engine.state import OrderState, OrderView, Refusal, RiskReport, TrailView

_OUTCOMES = {
    OrderState.REJECTED: Outcome.REFUSED,
    OrderState.REFUSED: Outcome.REFUSED,
    OrderState.UNKNOWN: Outcome.UNKNOWN,
    OrderState.SENDING: Outcome.UNKNOWN,
}


def refusal(command: Command, report: RiskReport, order: OrderView | None = None) -> Ack:
    """Nothing was done, and why; of a preview, what the check said."""
    return Ack(
        id=command.id,
        outcome=Outcome.ACCEPTED if report.allowed else Outcome.REFUSED,
        message="; ".join(refusal.message for refusal in report.refusals),
        refusals=report.refusals,
        order=order,
        risk=report,
    )


def not_open(command: Command, identity: str, order: OrderView | None) -> Ack:
    """It can't be asked of this order, known or not."""
    if order is None:
        report = refused(
            "order",
            "known",
            identity[:60],
            f"no order {identity[:60]!r} is known",
            "see orders",
        )
    elif order.state.is_final:
        report = refused(
            "order", "open", order.state.value, f"{in_words(order)} is {order.state.value}"
        )
    else:
        report = refused(
            "order", "at the broker", order.state.value,
            f"{in_words(order)} is {order.state.value}: it has no id at the broker yet",
            "wait for its outcome, or settle it",
        )  # fmt: skip
    return refusal(command, report, order)


def about(
    command: Command, order: OrderView, report: RiskReport | None, trail: TrailView | None
) -> Ack:
    """What became of the order that the command made."""
    outcome = _OUTCOMES.get(order.state, Outcome.ACCEPTED)
    refusals: tuple[Refusal, ...] = ()
    if outcome is Outcome.REFUSED:
        refusals = refused("broker", "accepted", order.state.value, order.reason).refusals
    return Ack(
        id=command.id,
        outcome=outcome,
        message=order.reason or f"{in_words(order)}: {order.state.value}",
        refusals=refusals,
        order=order,
        risk=report,
        trail=trail,
    )
