"""What can be wrong with a strategy, as one line: the value, the rule, what to do."""

from __future__ import annotations


class StrategyError(ValueError):
    """A strategy, parameter or signal that can't be. `exit_code` is 2: a wrong command."""

    exit_code = 2
