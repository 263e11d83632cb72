"""What is heard of the risk-manager becomes a connection and figures, each told once."""

from __future__ import annotations

from decimal import Decimal

from console.engine.clocks import SYSTEM_CLOCKS
from console.engine.events import ConnectionChanged, RiskChanged
from console.engine.facts import Facts
from console.engine.riskwatch import RiskWatch, RiskWord
from console.engine.state import ConnectionState, TradingState

WORD = RiskWord(
    trading_state=TradingState.ACTIVE,
    equity=Decimal("100412.18"),
    peak_equity=Decimal(100500),
    drawdown_pct=Decimal("0.09"),
    gross_exposure=Decimal("36764.76"),
    net_exposure=Decimal("36764.76"),
    var_95=Decimal("611.20"),
)


def _watch() -> tuple[RiskWatch, list[object]]:
    facts = Facts(SYSTEM_CLOCKS)
    told: list[object] = []
    facts.subscribe(told.append)
    return RiskWatch(facts, SYSTEM_CLOCKS, stale_after_s=5.0), told


def _states(told: list[object]) -> list[ConnectionState]:
    return [e.connection.state for e in told if isinstance(e, ConnectionChanged)]


def test_figures_are_told_once_and_kept_for_the_view() -> None:
    watch, told = _watch()
    watch.heard(WORD)
    watch.heard(WORD)
    figures = [e.risk for e in told if isinstance(e, RiskChanged)]
    assert figures == [watch.view]
    assert watch.view is not None
    assert watch.view.var_95 == Decimal("611.20")
    assert _states(told) == [ConnectionState.CONNECTED]


def test_silence_makes_it_stale_and_a_word_brings_it_back() -> None:
    watch, told = _watch()
    watch.expect()
    watch.heard(None)
    watch.silent()
    watch.silent()
    watch.heard(None)
    assert _states(told) == [
        ConnectionState.CONNECTING,
        ConnectionState.CONNECTED,
        ConnectionState.STALE,
        ConnectionState.CONNECTED,
    ]


def test_one_that_never_spoke_is_lost() -> None:
    watch, told = _watch()
    watch.expect()
    watch.silent()
    assert _states(told) == [ConnectionState.CONNECTING, ConnectionState.LOST]


def test_a_word_without_figures_changes_none() -> None:
    watch, told = _watch()
    watch.heard(RiskWord(trading_state=TradingState.ACTIVE))
    assert watch.view is None
    assert not [e for e in told if isinstance(e, RiskChanged)]


def test_what_it_asks_for_is_news_once_and_again_after_it_took_it_back() -> None:
    watch, _ = _watch()
    calm = RiskWord(trading_state=TradingState.ACTIVE)
    halt = RiskWord(trading_state=TradingState.HALTED, reason="equity is 2 % below its peak")
    worse = RiskWord(trading_state=TradingState.HALTED, reason="equity is 3 % below its peak")
    words = (calm, halt, halt, None, halt, worse, calm, worse)
    assert [watch.heard(word) for word in words] == [
        False, True, False, False, False, True, True, True,
    ]  # fmt: skip
