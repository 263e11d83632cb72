"""The exit codes, and the error that carries one and the single line a person reads."""

from __future__ import annotations

OK = 0
REFUSED = 1
USAGE = 2
UNAVAILABLE = 69
"""Engine or broker not there (EX_UNAVAILABLE)."""
FAILED = 70
"""Something in this program is wrong (EX_SOFTWARE)."""
IN_USE = 73
"""The state directory belongs to a running engine."""
UNKNOWN = 75
"""The outcome at the broker is not known (EX_TEMPFAIL)."""
CONFIG = 78
"""Settings, keys or ports (EX_CONFIG)."""


class ExitError(Exception):
    """Why the program ends, as one line that names value, rule and remedy, and its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code
