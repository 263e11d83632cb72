"""`flatten`, `halt`, `reduce` and `resume`: confirmed by a typed word, then sent."""

from __future__ import annotations

import sys

from console.cli.client import carry_out, with_engine
from console.cli.output import Format, fail
from console.config.layers import Overrides
from console.engine.commands import AnyCommand, Flatten, SetTradingState
from console.engine.state import TradingState
from console.exits import OK, REFUSED, USAGE

_STATES = {
    "halt": (TradingState.HALTED, "This takes no more orders; those that are open stay open."),
    "reduce": (TradingState.REDUCING, "This takes only orders that reduce a position."),
    "resume": (TradingState.ACTIVE, "This takes all orders again."),
}


def run_flatten(
    overrides: Overrides, reason: str, style: Format, timeout_s: float, *, sure: bool
) -> int:
    """The kill switch. Where nobody can be asked it wants `--yes`."""
    if not sure and not sys.stdin.isatty():
        return fail(
            "flatten closes every position at the market; say so with --yes "
            "where nobody can be asked",
            USAGE,
        )
    what = "This halts trading, cancels every order and closes every position at the market."
    command = Flatten(reason=reason, source="cli")
    return _switch(overrides, "flatten", what, command, style, timeout_s, sure=sure)


def run_state(
    overrides: Overrides, word: str, reason: str, style: Format, timeout_s: float, *, sure: bool
) -> int:
    """`halt`, `reduce` or `resume`. Where nobody can be asked, having called it is enough."""
    state, what = _STATES[word]
    command = SetTradingState(state=state, reason=reason, source="cli")
    sure = sure or not sys.stdin.isatty()
    return _switch(overrides, word, what, command, style, timeout_s, sure=sure)


def _switch(
    overrides: Overrides,
    word: str,
    what: str,
    command: AnyCommand,
    style: Format,
    timeout_s: float,
    *,
    sure: bool,
) -> int:
    if not sure and (code := _confirmed(word, what)) != OK:
        return code
    return with_engine(
        overrides, lambda link, _runtime: carry_out(link, command, style, timeout_s, 0.0)
    )


def _confirmed(word: str, what: str) -> int:
    # To stderr: stdout is the answer alone.
    print(f"{what}\nType {word} to do it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != word:
        return fail("not confirmed; nothing was done", REFUSED)
    return OK
