"""Parameters of strategies: types and ranges by name, and what a refusal says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.strategies import Bar, Features, Portfolio, Signal, Strategy, StrategyError, param
from console.strategies.backtest import combinations
from console.strategies.base import signals_of
from console.strategies.loading import BUILT_IN, find_strategy
from console.strategies.parameters import Parameter, read_assignments, read_sweep


class Sample(Strategy):
    features = ("ema_{fast}", "rsi_14")

    fast: int = param(20, low=2, high=390, help="bars of the average")
    factor: float = param(2.0, low=0.1, high=20)
    both_sides: bool = param(True)
    mode: str = param("calm", choices=("calm", "wild"))

    def check(self) -> None:
        if self.mode == "wild" and self.fast > 100:
            raise StrategyError("sample: wild needs fast of 100 or less")


def test_defaults_and_given_values() -> None:
    assert Sample().values() == {"fast": 20, "factor": 2.0, "both_sides": True, "mode": "calm"}
    sample = Sample(fast=12, factor=3, mode="wild")
    assert (sample.fast, sample.factor, sample.mode) == (12, 3.0, "wild")
    assert isinstance(sample.factor, float)
    assert sample.feature_names() == ("ema_12", "rsi_14")
    # One run's values are not another's.
    assert Sample().fast == 20


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"fast": 1},
            "parameter fast = 1: a whole number, 2 to 390 is taken (bars of the average)",
        ),
        ({"fast": 391}, "2 to 390"),
        ({"fast": 12.0}, "a whole number"),
        ({"fast": True}, "a whole number"),
        ({"fast": "12"}, "a whole number"),
        ({"factor": float("nan")}, "parameter factor = nan: a number, 0.1 to 20"),
        ({"both_sides": 1}, "true or false"),
        ({"mode": "loud"}, "one of calm, wild"),
        ({"fest": 3}, "sample has no parameter 'fest'; did you mean fast?"),
        ({"mode": "wild", "fast": 200}, "wild needs fast of 100 or less"),
    ],
)
def test_a_refusal_names_value_and_rule(given: dict[str, object], said: str) -> None:
    with pytest.raises(StrategyError) as refused:
        Sample(**given)
    assert said in str(refused.value)


def test_a_command_line_is_read_by_type() -> None:
    read = read_assignments(
        "sample", Sample.parameters, ["fast=12", "factor=1.5", "both_sides=no", "mode= wild"]
    )
    assert read == {"fast": 12, "factor": 1.5, "both_sides": False, "mode": "wild"}


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("fast", "'fast' is no parameter; write name=value"),
        ("=3", "is no parameter"),
        ("fast=many", "parameter fast = 'many': a whole number"),
        ("fast=12.5", "a whole number"),
        ("both_sides=perhaps", "true or false"),
    ],
)
def test_what_a_command_line_gets_wrong(assignment: str, said: str) -> None:
    with pytest.raises(StrategyError) as refused:
        read_assignments("sample", Sample.parameters, [assignment])
    assert said in str(refused.value)


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(StrategyError, match="given twice"):
        read_assignments("sample", Sample.parameters, ["fast=3", "fast=4"])


def test_a_sweep_is_the_product_of_its_values_that_go_together() -> None:
    swept = read_sweep("sample", Sample.parameters, ["fast=10,200,10", "mode=calm,wild"])
    assert swept == {"fast": [10, 200], "mode": ["calm", "wild"]}
    runs = [(s.fast, s.mode) for s in combinations(Sample, {"factor": 3.0}, swept)]  # type: ignore[attr-defined]
    assert runs == [(10, "calm"), (10, "wild"), (200, "calm")]


def test_what_can_t_be_swept() -> None:
    with pytest.raises(StrategyError, match="fast is given by --param and by --sweep"):
        list(combinations(Sample, {"fast": 3}, {"fast": [4, 5]}))
    many = {"fast": list(range(2, 300)), "factor": [float(n) / 10 for n in range(1, 100)]}
    with pytest.raises(StrategyError, match="29,502 combinations"):
        list(combinations(Sample, {}, many))
    with pytest.raises(StrategyError, match="wild needs"):
        list(combinations(Sample, {"mode": "wild"}, {"fast": [200, 300]}))


@given(st.integers(), st.integers(-50, 50), st.integers(0, 50))
def test_a_range_takes_what_lies_in_it_and_nothing_else(value: int, low: int, width: int) -> None:
    parameter = Parameter(low, low, low + width)
    if low <= value <= low + width:
        assert parameter.checked("n", value) == value
        assert parameter.read("n", f" {value} ") == value
    else:
        with pytest.raises(StrategyError, match="parameter n"):
            parameter.checked("n", value)


def test_a_default_obeys_its_own_rule() -> None:
    with pytest.raises(StrategyError):
        param(1, low=2)
    with pytest.raises(StrategyError, match="a default is"):
        param([1])  # type: ignore[type-var]


def test_features_that_are_not_known_are_told_early() -> None:
    class Odd(Strategy):
        features = ("rsy_14",)

    class Unbound(Strategy):
        features = ("ema_{slow}",)

    with pytest.raises(
        StrategyError, match='odd: feature "rsy_14" isn\'t known; did you mean "rsi_14"'
    ):
        Odd().feature_names()
    with pytest.raises(StrategyError, match="'slow', which is no parameter of it"):
        Unbound().feature_names()
    with pytest.raises(StrategyError, match="mind the comma"):
        type("Text", (Strategy,), {"features": "rsi_14"})


def test_the_row_of_features_reads_by_place_and_by_name() -> None:
    row = Sample(fast=12).row()((1.5, 70.0))
    assert row == (1.5, 70.0)
    assert (row.ema_12, row.rsi_14) == (1.5, 70.0)


@pytest.mark.parametrize(
    ("direction", "strength"), [("up", 1.0), ("long", 1.1), ("long", -0.1), ("long", float("nan"))]
)
def test_a_signal_that_can_t_be_is_refused_where_it_is_made(
    direction: str, strength: float
) -> None:
    with pytest.raises(StrategyError, match="Signal"):
        Signal("IBM", direction, strength)  # type: ignore[arg-type]


def test_an_answer_is_none_one_or_several_signals() -> None:
    one = Signal("IBM", "long", 0.5)
    assert signals_of(None) == ()
    assert signals_of(one) == (one,)
    assert signals_of(signal for signal in (one, one)) == (one, one)
    for odd in ("long", 3, [one, "flat"]):
        with pytest.raises(TypeError, match="a strategy answered with"):
            signals_of(odd)  # type: ignore[arg-type]


def test_the_bar_knows_its_place_in_the_session() -> None:
    minute = 60_000_000_000
    open_at = 1_381_152_600_000_000_000  # 9:30 in New York on 7 October 2013
    first = Bar("IBM", 1, 1, 1, 1, 1, open_at)
    assert (first.minute, first.minutes_left, first.is_regular) == (0, 389, True)
    last = Bar("IBM", 1, 1, 1, 1, 1, open_at + 389 * minute)
    assert (last.minute, last.minutes_left, last.is_regular) == (389, 0, True)
    assert not Bar("IBM", 1, 1, 1, 1, 1, open_at - minute).is_regular
    assert not Bar("IBM", 1, 1, 1, 1, 1, open_at + 390 * minute).is_regular
    sunday = Bar("IBM", 1, 1, 1, 1, 1, open_at - 24 * 60 * minute)
    assert (sunday.minute, sunday.minutes_left, sunday.is_regular) == (-1, -1, False)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_examples_are_as_they_say(name: str) -> None:
    kind = find_strategy(name)
    strategy = kind()
    assert strategy.title() == name
    assert strategy.warm_up() >= 0
    assert all(parameter.help for parameter in kind.parameters.values())
    portfolio = Portfolio(["IBM"], 1_000.0)
    strategy.begin(["IBM"])
    row = strategy.row()(tuple(100.0 for _ in strategy.feature_names()))
    assert (
        strategy.on_bar(Bar("IBM", 100, 101, 99, 100, 1, 1_381_152_600_000_000_000), row, portfolio)
        is None
    )
    _: Features = row
