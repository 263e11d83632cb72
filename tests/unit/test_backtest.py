"""A run from Python: the same as its twin in Rust, the same every time, and all of it on paper."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.services import sample_dir
from console.strategies import (
    Bar,
    Fill,
    Portfolio,
    Quote,
    Signal,
    Strategy,
    StrategyError,
    report,
)
from console.strategies.backtest import Conditions, Result, backtest
from console.strategies.ema_cross import EmaCross
from console.strategies.loading import BUILT_IN, find_strategy
from signal_bridge import Recording

NO_LOSS_LIMITS = {"max_drawdown_pct": 100, "max_daily_loss_pct": 100}


@pytest.fixture(scope="module")
def sample() -> Recording:
    return Recording(sample_dir())


@pytest.fixture(scope="module")
def result(sample: Recording) -> Result:
    return backtest(sample, EmaCross(), Conditions(symbols=("IBM", "AIG")))


@pytest.mark.parametrize(
    ("given", "conditions"),
    [
        ({}, Conditions()),
        ({"fast": 3, "slow": 9, "stop_atr": 1.0}, Conditions(limits=NO_LOSS_LIMITS)),
        ({"fast": 5, "slow": 30, "allow_short": False}, Conditions(symbols=("IBM",), seed=7)),
        (
            {"exit_minutes": 60, "strength": 0.35},
            Conditions(slippage_bp=3.5, latency_ms=900, partial_fills=False),
        ),
    ],
)
def test_the_twin_in_rust_trades_alike(
    sample: Recording, given: dict[str, Any], conditions: Conditions
) -> None:
    here = backtest(sample, EmaCross(**given), conditions)
    there = backtest(sample, EmaCross(**given), conditions, native=True)
    assert len(here.fills) > 10
    assert here.journal == there.journal
    assert here.hash == there.hash
    assert here.trades == there.trades
    assert here.metrics == there.metrics


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_same_run_has_the_same_hash(sample: Recording, name: str) -> None:
    kind = find_strategy(name)
    conditions = Conditions(symbols=("AIG", "IBM"))
    one, other = (backtest(sample, kind(), conditions) for _ in range(2))
    assert one.hash == other.hash == hashlib.sha256(one.journal.encode()).hexdigest()
    assert one.fills
    reseeded = backtest(sample, kind(), Conditions(symbols=("AIG", "IBM"), seed=2))
    assert reseeded.hash != one.hash
    # The order in which symbols are named is no part of it.
    turned = backtest(sample, kind(), Conditions(symbols=("IBM", "AIG")))
    assert turned.hash == one.hash


def test_nothing_is_held_over_night(result: Result) -> None:
    assert result.positions == []
    closed = {trade.closed_at for trade in result.trades}
    assert max(closed) < result.closes[-1][0]
    profit = sum((trade.profit for trade in result.trades), Decimal(0))
    assert result.closes[-1][1] == result.cash == Decimal(100_000) + profit


def test_it_is_told_bars_quotes_and_fills_in_order(sample: Recording) -> None:
    class Listener(Strategy):
        features = ("sma_2", "log_return")

        def begin(self, symbols: Sequence[str]) -> None:
            self.told: list[tuple[str, int]] = []
            self.symbols_told = tuple(symbols)

        def on_bar(self, bar: Bar, features: Any, portfolio: Portfolio) -> list[Signal]:
            assert all(value == value for value in features)
            assert portfolio.price(bar.symbol) == bar.close
            self.told.append(("bar", bar.end))
            direction = "long" if bar.minute % 40 < 20 else "flat"
            return [Signal(bar.symbol, direction, 0.5)]  # type: ignore[arg-type]

        def on_quote(self, quote: Quote, portfolio: Portfolio) -> None:
            assert 0 < quote.bid <= quote.ask
            self.told.append(("quote", quote.timestamp))

        def on_fill(self, fill: Fill, portfolio: Portfolio) -> None:
            held = portfolio.qty(fill.symbol)
            assert held >= 0
            assert portfolio.positions == ({fill.symbol: held} if held else {})
            self.told.append(("fill", fill.timestamp))

    listener = Listener()
    result = backtest(
        sample, listener, Conditions(symbols=("AIG",), end="2013-10-07", partial_fills=False)
    )
    assert listener.symbols_told == ("AIG",)
    times = [at for _, at in listener.told]
    assert times == sorted(times)
    kinds = [kind for kind, _ in listener.told]
    assert kinds.count("fill") == len(result.fills) > 10
    assert kinds.count("bar") == result.shown
    assert kinds.count("quote") > result.shown
    assert result.sessions == 1


def test_what_a_strategy_raises_comes_with_what_it_was_told(sample: Recording) -> None:
    class Broken(Strategy):
        def on_bar(self, bar: Bar, features: Any, portfolio: Portfolio) -> None:
            raise ZeroDivisionError("of its own making")

    with pytest.raises(ZeroDivisionError) as raised:
        backtest(sample, Broken())
    assert "told of a bar of AIG at 1381152600000000000 ns" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Signal("MSFT", "long"), 'signal for "MSFT": this run follows AIG, IBM'),
        ("long", "answered with str; None, a Signal or several of them are taken"),
        (3, "answered with int; None, a Signal or several of them are taken"),
    ],
)
def test_an_answer_that_can_t_be(sample: Recording, answer: object, said: str) -> None:
    class Odd(Strategy):
        def on_bar(self, bar: Bar, features: Any, portfolio: Portfolio) -> Any:
            return answer

    with pytest.raises((ValueError, TypeError)) as raised:
        backtest(sample, Odd(), Conditions(symbols=("AIG", "IBM")))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (Conditions(symbols=("MSFT",)), 'symbol "MSFT" isn\'t in the recording; it holds AIG'),
        (Conditions(start="2014-01-01"), "the recording holds 2013-10-07 to 2013-10-09"),
        (Conditions(start="yesterday"), "settings of the backtest"),
        (Conditions(cash=Decimal(0)), "cash = 0"),
        (Conditions(limits={"max_orders": 3}), "max_orders"),
    ],
)
def test_conditions_that_can_t_be(sample: Recording, conditions: Conditions, said: str) -> None:
    for native in (False, True):
        with pytest.raises(StrategyError) as refused:
            backtest(sample, EmaCross(), conditions, native=native)
        assert said in str(refused.value)


def test_no_twin_no_native_run(sample: Recording) -> None:
    with pytest.raises(StrategyError, match="opening_range has no twin in Rust"):
        backtest(sample, find_strategy("opening_range")(), native=True)


def test_a_strategy_s_own_symbols_are_the_default(sample: Recording) -> None:
    class Own(EmaCross):
        symbols = ("BAC",)

    assert backtest(sample, Own()).symbols == ("BAC",)
    assert backtest(sample, Own(), Conditions(symbols=("IBM",))).symbols == ("IBM",)


def test_all_of_it_is_written(result: Result, tmp_path: Path) -> None:
    files = {path.name: path for path in report.write(result, tmp_path / "new" / "folder")}
    assert set(files) == {
        "report.md", "result.json", "journal.log", "equity.csv", "orders.csv", "fills.csv",
        "trades.csv", "refusals.csv",
    }  # fmt: skip
    assert hashlib.sha256(files["journal.log"].read_bytes()).hexdigest() == result.hash

    def table(name: str) -> list[dict[str, str]]:
        with files[name].open(newline="") as file:
            return list(csv.DictReader(file))

    assert len(table("equity.csv")) == len(result.equity)
    assert [row["price"] for row in table("fills.csv")] == [
        f"{f.price.normalize():f}" for f in result.fills
    ]
    profits = [Decimal(row["profit"]) for row in table("trades.csv")]
    assert profits == [trade.profit for trade in result.trades]
    told = json.loads(files["result.json"].read_text())
    assert told["hash"] == result.hash
    assert told["metrics"]["trades"] == len(result.trades)
    page = files["report.md"].read_text()
    assert page.startswith("# ema_cross, 2013-10-07 to 2013-10-09\n")
    assert result.hash in page
    assert "3 sessions: a year's figures out of so few are guesses." in page
    assert "| round trips | " in page
