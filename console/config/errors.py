"""The one error of the settings."""

from __future__ import annotations

EXIT_CONFIG = 78
"""Exit code of a process that its settings keep from starting (EX_CONFIG)."""


class ConfigError(ValueError):
    """A setting that can't be used: what it is, the rule it breaks, and what to do. One line."""

    exit_code = EXIT_CONFIG

    def __init__(self, value: str, rule: str, remedy: str, *, origin: str = "") -> None:
        self.value = value
        self.rule = rule
        self.remedy = remedy
        self.origin = origin
        where = f" ({origin})" if origin else ""
        super().__init__(" ".join(f"{value}{where}: {rule}; {remedy}".split()))
