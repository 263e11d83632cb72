"""Parameters of a strategy: typed by their default, with a range, checked by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar, cast

from console.strategies.errors import StrategyError

Value = int | float | bool | str
T = TypeVar("T", int, float, bool, str)

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its default, which gives its type, and what it may be."""

    default: Value
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""

    @property
    def kind(self) -> type:
        return type(self.default)

    @property
    def rule(self) -> str:
        """What is taken, in words: `a whole number, 2 to 390`."""
        words = _KINDS[self.kind]
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        match self.low, self.high:
            case None, None:
                return words
            case low, None:
                return f"{words}, {low:g} or more"
            case None, high:
                return f"{words}, {high:g} at most"
            case low, high:
                return f"{words}, {low:g} to {high:g}"

    def checked(self, name: str, value: object) -> Value:
        """`value` with the parameter's type. Raises `StrategyError`."""
        taken = self._typed(value)
        if taken is None or not self._allowed(taken):
            hint = f" ({self.help})" if self.help else ""
            raise StrategyError(
                f"parameter {name} = {value!r}: {self.rule} is taken{hint}; "
                f"{name}={_shown(self.default)} is the default"
            )
        return taken

    def read(self, name: str, text: str) -> Value:
        """The value that a command line gives. Raises `StrategyError`."""
        text = text.strip()
        value: object = text
        try:
            if self.kind is bool:
                value = _WORDS.get(text.lower(), text)
            elif self.kind is int:
                value = int(text)
            elif self.kind is float:
                value = float(text)
        except ValueError:
            value = text
        return self.checked(name, value)

    def _typed(self, value: object) -> Value | None:
        if self.kind is float and type(value) is int:
            return float(value)
        return cast("Value", value) if type(value) is self.kind else None

    def _allowed(self, value: Value) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, str | bool):
            return True
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
        )


def param(
    default: T,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    help: str = "",  # noqa: A002 as argparse and typer call it
) -> T:
    """A parameter of a strategy's class: `fast: int = param(20, low=2, high=390, help="…")`.

    Its type is the default's. Raises `StrategyError` for a default that its own rule refuses.
    """
    if type(default) not in _KINDS:
        raise StrategyError(f"param({default!r}): a default is a bool, an int, a float or a str")
    parameter = Parameter(default, low, high, choices, help)
    parameter.checked("default", default)
    return cast("T", parameter)


def values_of(
    strategy: str, parameters: Mapping[str, Parameter], given: Mapping[str, object]
) -> dict[str, Value]:
    """Every parameter's value, the default where none is given. Raises `StrategyError`."""
    for name in given:
        _known(strategy, parameters, name)
    values = {name: parameter.default for name, parameter in parameters.items()}
    for name, value in given.items():
        values[name] = parameters[name].checked(name, value)
    return values


def read_assignments(
    strategy: str, parameters: Mapping[str, Parameter], assignments: list[str]
) -> dict[str, Value]:
    """`["fast=12", "slow=26"]` as values. Raises `StrategyError`."""
    return {
        name: values[0]
        for name, values in read_sweep(strategy, parameters, assignments, several=False).items()
    }


def read_sweep(
    strategy: str,
    parameters: Mapping[str, Parameter],
    assignments: list[str],
    *,
    several: bool = True,
) -> dict[str, list[Value]]:
    """`["fast=8,12,16"]` as lists of values. Raises `StrategyError`."""
    read: dict[str, list[Value]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            form = "fast=8,12,16" if several else "fast=12"
            raise StrategyError(f"{assignment!r} is no parameter; write name=value, such as {form}")
        parameter = _known(strategy, parameters, name)
        if name in read:
            raise StrategyError(f"parameter {name} is given twice; give it once")
        texts = text.split(",") if several else [text]
        read[name] = list(dict.fromkeys(parameter.read(name, part) for part in texts))
    return read


def _known(strategy: str, parameters: Mapping[str, Parameter], name: str) -> Parameter:
    if name in parameters:
        return parameters[name]
    near = get_close_matches(name, parameters, n=1)
    question = f"did you mean {near[0]}? " if near else ""
    names = ", ".join(parameters) or "none at all"
    raise StrategyError(f"{strategy} has no parameter {name!r}; {question}it has {names}")


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
