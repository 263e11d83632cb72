"""What a run was worth, in figures. Each docstring gives the formula and the unit.

Risk figures come from the equity at the sessions' closes (one return a session, the opening cash
first), drawdowns and exposure from the equity at the end of each minute. The risk-free rate is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from console.strategies.trades import Execution, Trade

SESSIONS_A_YEAR = 252
DAYS_A_YEAR = 365.25
CAGR_FROM_DAYS = 90
"""A shorter run says nothing about a year."""
_DAY_NS = 86_400e9

Floats = NDArray[np.float64]


def session_returns(closes: Floats, opening: float) -> Floats:
    """E_t/E_(t−1) − 1 for each session, E_0 the opening cash. One number a session."""
    equity = np.concatenate(([opening], closes))
    returns: Floats = np.diff(equity) / equity[:-1]
    return returns


def total_return_pct(closing: float, opening: float) -> float:
    """(E_end/E_0 − 1)·100, percent."""
    return (closing / opening - 1) * 100


def cagr_pct(closing: float, opening: float, days: float) -> float | None:
    """((E_end/E_0)^(365.25/days) − 1)·100, percent a year; None below 90 calendar days."""
    if days < CAGR_FROM_DAYS or closing <= 0:
        return None
    return float(((closing / opening) ** (DAYS_A_YEAR / days) - 1) * 100)


def volatility_pct(returns: Floats) -> float | None:
    """s·√252·100, s the sample deviation of the sessions' returns; percent a year. None below 2."""
    if len(returns) < 2:
        return None
    return float(np.std(returns, ddof=1)) * math.sqrt(SESSIONS_A_YEAR) * 100


def sharpe(returns: Floats) -> float | None:
    """mean/s·√252 (Sharpe 1994, risk-free rate 0); no unit.

    None below 2 sessions, or where all are equal.
    """
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / deviation * math.sqrt(SESSIONS_A_YEAR) if deviation else None


def sortino(returns: Floats) -> float | None:
    """mean/√(mean of min(r, 0)²)·√252 (Sortino, Price 1994, target 0); no unit.

    None below 2 sessions, or where no session lost.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(np.mean(returns)) / downside * math.sqrt(SESSIONS_A_YEAR) if downside else None


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall below an earlier peak, and how long until it was made good."""

    pct: float
    days: float
    recovered: bool


def max_drawdown(at: NDArray[np.int64], equity: Floats, opening: float) -> Drawdown:
    """max over t of (peak_t − E_t)/peak_t·100, percent, peak_t the highest equity up to t, E_0 too.

    Its length is in calendar days from that peak to the first equity not below it again, or to the
    end where there is none.
    """
    if len(equity) == 0:
        return Drawdown(0.0, 0.0, recovered=True)
    peaks = np.maximum(np.maximum.accumulate(equity), opening)
    depth = (peaks - equity) / peaks
    lowest = int(np.argmax(depth))
    if depth[lowest] <= 0:
        return Drawdown(0.0, 0.0, recovered=True)
    peak = peaks[lowest]
    reached = np.flatnonzero(equity[: lowest + 1] >= peak)
    began = int(at[reached[-1]]) if len(reached) else int(at[0])
    again = np.flatnonzero(equity[lowest:] >= peak)
    ended = int(at[lowest + again[0]]) if len(again) else int(at[-1])
    return Drawdown(float(depth[lowest] * 100), (ended - began) / _DAY_NS, bool(len(again)))


def turnover(fills: Sequence[Execution], equity: Floats) -> float:
    """Σ|price·qty| over all fills / mean equity; times the account was turned over in the run."""
    if len(equity) == 0:
        return 0.0
    return float(sum((fill.value for fill in fills), Decimal(0))) / float(np.mean(equity))


def exposure_pct(gross: Floats, equity: Floats) -> float:
    """mean over minutes of (longs + |shorts|)/equity·100, percent of equity."""
    return float(np.mean(gross / equity) * 100) if len(equity) else 0.0


def in_market_pct(gross: Floats) -> float:
    """Share of minutes at whose end something was held, percent."""
    return float(np.mean(gross > 0) * 100) if len(gross) else 0.0


def win_rate_pct(trades: Sequence[Trade]) -> float | None:
    """Round trips with a profit above 0 / all of them·100, percent. None without any."""
    if not trades:
        return None
    return sum(trade.profit > 0 for trade in trades) / len(trades) * 100


def profit_factor(trades: Sequence[Trade]) -> float | None:
    """Σ profits of winners / |Σ losses of losers|; no unit. None where nothing was lost."""
    gained = sum((t.profit for t in trades if t.profit > 0), Decimal(0))
    lost = -sum((t.profit for t in trades if t.profit < 0), Decimal(0))
    return float(gained / lost) if lost else None


def average_slippage_bp(fills: Sequence[Execution], *, touch: bool = False) -> float | None:
    """Σ slippage·value/Σ value over fills with a known quote, basis points; above 0 is a cost.

    Against the middle of the best bid and offer when the order was sent, or with `touch` against
    the side that it met.
    """
    weighted, worth = 0.0, 0.0
    for fill in fills:
        cost = fill.touch_slippage_bp if touch else fill.slippage_bp
        if not math.isnan(cost):
            value = float(fill.value)
            weighted += cost * value
            worth += value
    return weighted / worth if worth else None


@dataclass(frozen=True, slots=True)
class Metrics:
    """All of them; None where a figure would mean nothing. Units are in the names."""

    sessions: int
    total_return_pct: float
    cagr_pct: float | None
    volatility_pct: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown_pct: float
    max_drawdown_days: float
    max_drawdown_recovered: bool
    turnover: float
    exposure_pct: float
    in_market_pct: float
    trades: int
    win_rate_pct: float | None
    profit_factor: float | None
    average_trade: float | None
    """Dollars a round trip."""
    slippage_bp: float | None
    touch_slippage_bp: float | None

    def as_dict(self) -> dict[str, float | int | bool | None]:
        return asdict(self)


def reckon(
    *,
    opening: float,
    at: NDArray[np.int64],
    equity: Floats,
    gross: Floats,
    closes: Floats,
    fills: Sequence[Execution],
    trades: Sequence[Trade],
) -> Metrics:
    """Every figure of a run. `at`, `equity` and `gross` are by minute, `closes` by session."""
    returns = session_returns(closes, opening)
    closing = float(closes[-1]) if len(closes) else opening
    days = (int(at[-1]) - int(at[0])) / _DAY_NS if len(at) else 0.0
    drawdown = max_drawdown(at, equity, opening)
    profits = sum((trade.profit for trade in trades), Decimal(0))
    return Metrics(
        sessions=len(closes),
        total_return_pct=total_return_pct(closing, opening),
        cagr_pct=cagr_pct(closing, opening, days),
        volatility_pct=volatility_pct(returns),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        max_drawdown_pct=drawdown.pct,
        max_drawdown_days=drawdown.days,
        max_drawdown_recovered=drawdown.recovered,
        turnover=turnover(fills, equity),
        exposure_pct=exposure_pct(gross, equity),
        in_market_pct=in_market_pct(gross),
        trades=len(trades),
        win_rate_pct=win_rate_pct(trades),
        profit_factor=profit_factor(trades),
        average_trade=float(profits / len(trades)) if trades else None,
        slippage_bp=average_slippage_bp(fills),
        touch_slippage_bp=average_slippage_bp(fills, touch=True),
    )
