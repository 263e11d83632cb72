"""The base of every strategy, and what it is told and answers."""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import msgspec

from console.strategies.errors import StrategyError
from console.strategies.parameters import Parameter, Value, values_of
from signal_bridge import Fill, Portfolio, Quote, check_features
from signal_bridge import SessionBar as Bar

__all__ = [
    "Answer", "Bar", "Features", "Fill", "Portfolio", "Quote", "Signal", "Strategy",
]  # fmt: skip

Direction = Literal["long", "short", "flat"]
_DIRECTIONS = ("long", "short", "flat")

Features = Any
"""The features of a bar in the order in which the strategy names them: a named tuple of floats."""


class Signal(msgspec.Struct, frozen=True):
    """What the strategy wants to hold: `Signal("IBM", "long", 0.8)`.

    `strength`, 0 to 1, scales the size (1 is `execution.notional_per_signal`). A target, not a
    trade: what is held already asks for nothing more. Raises `StrategyError`.
    """

    symbol: str
    direction: Direction
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.direction not in _DIRECTIONS:
            raise StrategyError(
                f"Signal({self.symbol!r}, {self.direction!r}): the direction is long, short or flat"
            )
        # Written so that NaN is refused too.
        if not 0 <= self.strength <= 1:
            raise StrategyError(
                f"Signal({self.symbol!r}, {self.direction!r}, {self.strength!r}): "
                "the strength is from 0 to 1"
            )


Answer = Signal | Iterable[Signal] | None


def signals_of(answer: Answer) -> tuple[Signal, ...]:
    """What a strategy answered, as signals. Raises TypeError for what is none."""
    if answer is None:
        return ()
    if isinstance(answer, Signal):
        return (answer,)
    try:
        signals = tuple(answer)
    except TypeError:
        signals = (None,)  # type: ignore[assignment]
    if not all(isinstance(signal, Signal) for signal in signals):
        raise TypeError(
            f"a strategy answered with {type(answer).__name__}; None, a Signal or several of them "
            "are taken"
        )
    return signals


class Strategy:
    """A strategy: declare what it reads, answer bars with signals.

    Class attributes:
        symbols: what it trades unless told otherwise; empty: everything that there is.
        features: names of what it reads, such as `sma_20` or `rsi_14`; `{name}` in one stands for
            a parameter: `"ema_{fast}"`.

    Parameters are attributes made by `param`. `begin` is the place for a state of one's own.

    It must be pure: no clock, no socket, no chance. The same calls get the same answers, so that a
    backtest means something. Numbers are floats: a strategy decides, it doesn't keep books.
    """

    symbols: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[Mapping[str, Parameter]] = {}

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        cls.parameters = {**cls.parameters, **own}
        for name, parameter in own.items():
            setattr(cls, name, parameter.default)
        if any(isinstance(vars(cls).get(name), str) for name in ("features", "symbols")):
            raise StrategyError(
                f"{cls.__name__}: features and symbols are tuples of names; mind the comma in "
                '("rsi_14",)'
            )

    def __init__(self, **given: object) -> None:
        values = values_of(self.title(), self.parameters, given)
        for name, value in values.items():
            setattr(self, name, value)
        self.check()

    # -- what a strategy overrides -----------------------------------------------------------

    def check(self) -> None:
        """Raise `StrategyError` where parameters don't go together."""

    def begin(self, symbols: Sequence[str]) -> None:
        """Called once before anything else, with the symbols of this run."""

    def on_bar(self, bar: Bar, features: Features, portfolio: Portfolio) -> Answer:
        """A minute of the regular session is over; every feature has a value.

        What it answers meets prices after the bar. None: nothing new.
        """
        raise NotImplementedError

    def on_quote(self, quote: Quote, portfolio: Portfolio) -> Answer:
        """A new best bid and offer. Overriding it makes a backtest slower: each quote counts."""

    def on_fill(self, fill: Fill, portfolio: Portfolio) -> Answer:
        """One of its orders traded; the portfolio includes it."""

    # -- what those who run it ask -----------------------------------------------------------

    @classmethod
    def title(cls) -> str:
        """Its name in signals, reports and errors: `EmaCross` is `ema_cross`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def values(self) -> dict[str, Value]:
        """Its parameters as they are."""
        return {name: getattr(self, name) for name in self.parameters}

    def feature_names(self) -> tuple[str, ...]:
        """`features` with the parameters put in. Raises `StrategyError` for what isn't known."""
        values = self.values()
        try:
            names = tuple(name.format(**values) for name in self.features)
            check_features(list(names))
        except KeyError as error:
            raise StrategyError(
                f"{self.title()}: features name {error.args[0]!r}, which is no parameter of it"
            ) from None
        except ValueError as error:
            raise StrategyError(f"{self.title()}: {error}") from None
        return names

    def warm_up(self) -> int:
        """Bars that it takes until every feature has a value."""
        return check_features(list(self.feature_names()))

    def row(self) -> Callable[[Iterable[float]], Features]:
        """Makes what `on_bar` gets as `features` out of the numbers."""
        kind = namedtuple("Features", self.feature_names())  # type: ignore[misc]
        return partial(tuple.__new__, kind)

    @classmethod
    def overrides(cls, name: str) -> bool:
        """Whether it has a method `name` of its own."""
        return getattr(cls, name) is not getattr(Strategy, name)
