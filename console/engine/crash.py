"""Named points at which a test lets the process die as by kill −9.

`TRADING_CONSOLE_CRASH_AT=<point>` arms one of `POINTS`; without `TRADING_CONSOLE_TESTING=1` beside
it the engine refuses to start, so that no left-over variable ever takes a trading process down.
"""

from __future__ import annotations

import os
import signal

from console.exits import CONFIG, ExitError

CRASH_VARIABLE = "TRADING_CONSOLE_CRASH_AT"
TESTING_VARIABLE = "TRADING_CONSOLE_TESTING"

POINTS = frozenset(
    {
        "before-sending-commit",
        "between-commit-and-post",
        "between-post-and-ack",
        "mid-fill",
        "trail-between-commit-and-post",
        "trail-between-post-and-ack",
        "trail-planned",
        "trail-cut",
        "flatten-halted",
        "flatten-canceled",
        "flatten-closed",
    }
)


class CrashPointRefused(ExitError):
    """A crash point is set where none may be, or one that doesn't exist. Exit code 78."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CONFIG)


def armed_point() -> str | None:
    """The point that is armed, if any.

    Raises:
        CrashPointRefused: armed outside tests, or an unknown name.
    """
    point = os.environ.get(CRASH_VARIABLE)
    if not point:
        return None
    if os.environ.get(TESTING_VARIABLE) != "1":
        raise CrashPointRefused(
            f"{CRASH_VARIABLE}={point!r}: crash points are for tests alone; unset it, "
            f"or set {TESTING_VARIABLE}=1 in a test"
        )
    if point not in POINTS:
        raise CrashPointRefused(
            f"{CRASH_VARIABLE}={point!r}: no such point; known are {', '.join(sorted(POINTS))}"
        )
    return point


def crash_here(point: str, armed: str | None) -> None:
    """Die at once if `point` is the armed one: no handler runs, no buffer is flushed."""
    if armed is not None and point == armed:
        os.kill(os.getpid(), signal.SIGKILL)
