"""A strategy on recorded prices: one run, or one for each of many parameters.

The loop is Rust's (`rust/backtest`): the exchange's own core, features and risk gate, without
sockets and clocks. Here its settings go in and its outcome comes out as values.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.strategies.base import Strategy
from console.strategies.errors import StrategyError
from console.strategies.metrics import Metrics, reckon
from console.strategies.parameters import Value
from console.strategies.trades import Execution, Order, Trade, round_trips
from signal_bridge import (
    NATIVE_STRATEGIES,
    BacktestRows,
    Recording,
    run_backtest,
    run_native_backtest,
)

MOST_COMBINATIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which conditions a run trades; money in dollars.

    `start` and `end` are days such as 2013-10-07, both included, None for no limit. `latency_ms` is
    from a bar's end until its orders reach the book, at least 1. `limits` is the `[risk]` section
    as the gate reads it; None lets every order through that the exchange takes.
    """

    symbols: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    cash: Decimal = Decimal(100_000)
    seed: int = 1
    partial_fills: bool = True
    slippage_bp: float = 0.0
    latency_ms: int = 1
    notional_per_signal: Decimal = Decimal(10_000)
    min_strength: float = 0.2
    limits: Mapping[str, Any] | None = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps(
            {
                "symbols": list(self.symbols),
                "from": self.start,
                "to": self.end,
                "cash": f"{self.cash:f}",
                "seed": self.seed,
                "partial_fills": self.partial_fills,
                "slippage_bp": f"{self.slippage_bp:f}",
                "latency_ms": max(1, self.latency_ms),
                "notional_per_signal": f"{self.notional_per_signal:f}",
                "min_strength": self.min_strength,
                "limits": self.limits,
            }
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order that the gate or the exchange refused."""

    at: int
    symbol: str
    check: str
    why: str


@dataclass(frozen=True)
class Result:
    """What a run left. Times in ns since the epoch, money in dollars.

    The curve has a point for each minute of the regular session in which a bar ended.
    """

    strategy: str
    parameters: Mapping[str, Value]
    conditions: Conditions
    symbols: tuple[str, ...]
    sessions: int
    bars: int
    shown: int
    signals: int
    idle_signals: int
    halted: bool
    """A drawdown reached risk.max_drawdown_pct; from then on every order was refused."""
    cash: Decimal
    positions: Sequence[tuple[str, Decimal, Decimal]]
    """Symbol, signed quantity and last price of what is held at the end."""
    refusals: Sequence[Refusal]
    at: NDArray[np.int64]
    equity: NDArray[np.float64]
    gross: NDArray[np.float64]
    closes: Sequence[tuple[int, Decimal]]
    journal: str
    hash: str
    """SHA-256 of `journal`: equal for equal runs."""
    rows: BacktestRows = field(repr=False)

    @cached_property
    def orders(self) -> list[Order]:
        """Every order as it was sent."""
        return [Order(*row) for row in self.rows.orders()]

    @cached_property
    def fills(self) -> list[Execution]:
        """Every execution, in the order of time."""
        orders = self.orders
        return [
            Execution(at, orders[order], symbol, side, qty, price, position)
            for at, order, symbol, side, qty, price, position in self.rows.fills()
        ]

    @cached_property
    def trades(self) -> list[Trade]:
        return round_trips(self.fills)

    @cached_property
    def metrics(self) -> Metrics:
        return reckon(
            opening=float(self.conditions.cash),
            at=self.at,
            equity=self.equity,
            gross=self.gross,
            closes=np.array([float(equity) for _, equity in self.closes], dtype=np.float64),
            fills=self.fills,
            trades=self.trades,
        )


def backtest(
    recording: Recording,
    strategy: Strategy,
    conditions: Conditions | None = None,
    *,
    native: bool = False,
) -> Result:
    """Run the strategy over the recording. With `native`, its twin in Rust runs in its place.

    Raises:
        StrategyError: conditions, symbols or features that can't be, or no such twin.
        Exception: what the strategy itself raises, with a note of the bar that it was told of.
    """
    conditions = conditions or Conditions()
    if not conditions.symbols and strategy.symbols:
        conditions = replace(conditions, symbols=strategy.symbols)
    if native:
        return _result(strategy, conditions, _run_native(recording, strategy, conditions))
    chosen = conditions.symbols
    strategy.begin(tuple(s for s in recording.symbols if not chosen or s in chosen))
    kind = type(strategy)
    try:
        told = run_backtest(
            recording,
            conditions.as_json(),
            list(strategy.feature_names()),
            strategy.on_bar,
            strategy.row(),
            strategy.on_quote if kind.overrides("on_quote") else None,
            strategy.on_fill if kind.overrides("on_fill") else None,
        )
    except ValueError as error:
        if getattr(error, "__notes__", None) or isinstance(error, StrategyError):
            raise
        raise StrategyError(str(error)) from None
    return _result(strategy, conditions, told)


def _run_native(recording: Recording, strategy: Strategy, conditions: Conditions) -> dict[str, Any]:
    name = strategy.title()
    if name not in NATIVE_STRATEGIES:
        raise StrategyError(
            f"{name} has no twin in Rust; there is one of {', '.join(NATIVE_STRATEGIES)}: "
            "leave --native out"
        )
    try:
        return run_native_backtest(
            recording, conditions.as_json(), name, json.dumps(strategy.values())
        )
    except ValueError as error:
        raise StrategyError(str(error)) from None


def _result(strategy: Strategy, conditions: Conditions, told: dict[str, Any]) -> Result:
    return Result(
        strategy=strategy.title(),
        parameters=strategy.values(),
        conditions=conditions,
        symbols=tuple(told["symbols"]),
        sessions=told["sessions"],
        bars=told["bars"],
        shown=told["shown"],
        signals=told["signals"],
        idle_signals=told["idle_signals"],
        halted=told["halted"],
        cash=told["cash"],
        positions=told["positions"],
        refusals=[Refusal(*row) for row in told["refusals"]],
        at=told["curve_at"],
        equity=told["curve_equity"],
        gross=told["curve_gross"],
        closes=told["closes"],
        journal=told["journal"],
        hash=told["hash"],
        rows=told["rows"],
    )


def combinations(
    kind: type[Strategy], given: Mapping[str, Value], sweep: Mapping[str, Sequence[Value]]
) -> Iterator[Strategy]:
    """A strategy for each combination of the swept values that goes together.

    Raises `StrategyError` where a parameter is both given and swept, where there are more than
    10,000 combinations, or where none of them goes together.
    """
    if both := given.keys() & sweep.keys():
        name = min(both)
        raise StrategyError(f"{name} is given by --param and by --sweep; leave one of them out")
    count = prod(len(values) for values in sweep.values())
    if count > MOST_COMBINATIONS:
        raise StrategyError(
            f"the sweep has {count:,} combinations; at most {MOST_COMBINATIONS:,} are run: "
            "name fewer values"
        )
    refused: StrategyError | None = None
    found = False
    for values in itertools.product(*sweep.values()):
        try:
            strategy = kind(**given, **dict(zip(sweep, values, strict=True)))
        except StrategyError as error:
            refused = error
            continue
        found = True
        yield strategy
    if not found and refused is not None:
        raise refused
