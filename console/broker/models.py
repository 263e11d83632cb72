"""What the broker says, as values: money and quantities `Decimal`, times aware.

Each `from_broker` reads one JSON object of the broker's API, tolerantly: a value that the broker
added since is kept as text and logged once, a missing amount is zero where zero is what it means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from itertools import pairwise
from typing import Any

from loguru import logger

Json = Mapping[str, Any]

_PERCENT = Decimal(100)
_ZERO = Decimal(0)
_TIMEFRAME = re.compile(r"(?P<count>[1-9][0-9]?)(?P<unit>Min|Hour|Day|Week|Month)")
_LARGEST_EXPONENT = 30
_unknown: set[tuple[str, str]] = set()


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeFrame(StrEnum):
    """The usual lengths of bars; any other that the broker knows may be given as text ("7Min")."""

    MINUTE = "1Min"
    FIVE_MINUTES = "5Min"
    FIFTEEN_MINUTES = "15Min"
    THIRTY_MINUTES = "30Min"
    HOUR = "1Hour"
    FOUR_HOURS = "4Hour"
    DAY = "1Day"
    WEEK = "1Week"
    MONTH = "1Month"


def timeframe(text: str) -> str:
    """`text` if the broker knows such bars, else `ValueError`."""
    match = _TIMEFRAME.fullmatch(text)
    if match:
        count, unit = int(match["count"]), match["unit"]
        allowed = {
            "Min": count <= 59,
            "Hour": count <= 23,
            "Day": count == 1,
            "Week": count == 1,
            "Month": count in (1, 2, 3, 4, 6, 12),
        }
        if allowed[unit]:
            return str(text)
    raise ValueError(
        f"{text!r} is no time frame: 1–59Min, 1–23Hour, 1Day, 1Week, or 1, 2, 3, 4, 6, 12 Month"
    )


def number(value: object) -> Decimal:
    """A finite decimal out of text, an int or a Decimal; never out of a float, whose digits are not
    the broker's. Raises `ValueError`.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"{value!r} is no exact number; give text, an int or a Decimal")  # noqa: TRY004
    try:
        result = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is no number") from None
    if not result.is_finite() or abs(result.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError(f"{value!r} is no amount that can be meant")
    return result


def amount(source: Json, name: str, default: Decimal | None = None) -> Decimal:
    """The field `name` as Decimal; `default` where it is missing or null."""
    value = source.get(name)
    if value is None or value == "":
        if default is None:
            raise ValueError(f"the broker's answer has no {name}")
        return default
    try:
        return number(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def optional(source: Json, name: str) -> Decimal | None:
    """The field `name` as Decimal, None where it is missing or null."""
    return None if source.get(name) in (None, "") else amount(source, name)


def instant(text: object) -> datetime:
    """An RFC 3339 time as an aware UTC datetime, to the microsecond. Raises `ValueError`."""
    if isinstance(text, datetime):
        moment = text
    elif isinstance(text, str):
        moment = datetime.fromisoformat(text)
    else:
        raise ValueError(f"{text!r} is no time")  # noqa: TRY004 - one error for all that is no time
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} says no time zone")
    return moment.astimezone(UTC)


def optional_instant(source: Json, name: str) -> datetime | None:
    """The field `name` as a time, None where it is missing or null."""
    return instant(source[name]) if source.get(name) else None


def order_type(text: str) -> OrderType | str:
    """The order type, or the broker's own word for one that is not known here."""
    try:
        return OrderType(text)
    except ValueError:
        if ("order_type", text) not in _unknown and len(_unknown) < 1_000:
            _unknown.add(("order_type", text))
            logger.warning("the broker has an order type {!r} that is not known here", text)
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioMetrics:
    """The account at one moment, in US dollars and percent.

    `total_pl` is the unrealized gain of what is held, `total_pl_pct` that in percent of its cost;
    `day_pl` is since the last close.
    """

    total_equity: Decimal
    cash: Decimal
    portfolio_value: Decimal
    buying_power: Decimal
    total_pl: Decimal
    total_pl_pct: Decimal
    day_pl: Decimal
    day_pl_pct: Decimal
    positions_count: int
    timestamp: datetime

    @classmethod
    def from_broker(
        cls, account: Json, positions: tuple[PositionInfo, ...], timestamp: datetime
    ) -> PortfolioMetrics:
        equity = amount(account, "equity")
        last_equity = amount(account, "last_equity", equity)
        total_pl = sum((position.unrealized_pl for position in positions), _ZERO)
        cost = sum((abs(position.cost_basis) for position in positions), _ZERO)
        day_pl = equity - last_equity
        return cls(
            total_equity=equity,
            cash=amount(account, "cash"),
            portfolio_value=amount(account, "portfolio_value", equity),
            buying_power=amount(account, "buying_power"),
            total_pl=total_pl,
            total_pl_pct=_share(total_pl, cost),
            day_pl=day_pl,
            day_pl_pct=_share(day_pl, last_equity),
            positions_count=len(positions),
            timestamp=timestamp,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionInfo:
    """One holding: `qty` positive, `side` "long" or "short", `unrealized_pl_pct` in percent."""

    symbol: str
    qty: Decimal
    side: str
    avg_entry_price: Decimal
    current_price: Decimal
    market_value: Decimal
    cost_basis: Decimal
    unrealized_pl: Decimal
    unrealized_pl_pct: Decimal
    timestamp: datetime

    @classmethod
    def from_broker(cls, position: Json, timestamp: datetime) -> PositionInfo:
        qty = amount(position, "qty")
        cost = amount(position, "cost_basis", _ZERO)
        unrealized = amount(position, "unrealized_pl", _ZERO)
        ratio = optional(position, "unrealized_plpc")
        return cls(
            symbol=str(position["symbol"]),
            qty=abs(qty),
            side=str(position.get("side") or ("short" if qty < 0 else "long")),
            avg_entry_price=amount(position, "avg_entry_price"),
            current_price=amount(position, "current_price", _ZERO),
            market_value=amount(position, "market_value", _ZERO),
            cost_basis=cost,
            unrealized_pl=unrealized,
            unrealized_pl_pct=_share(unrealized, abs(cost)) if ratio is None else ratio * _PERCENT,
            timestamp=timestamp,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderInfo:
    """An order as the broker has it; `status` and the other words are the broker's own.

    With `validated_only` it was checked here and not sent: `id` is empty and `status` "validated".
    """

    id: str
    client_order_id: str
    symbol: str
    side: str
    order_type: OrderType | str
    time_in_force: str
    status: str
    order_class: str = ""
    qty: Decimal | None = None
    notional: Decimal | None = None
    filled_qty: Decimal = _ZERO
    filled_avg_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    submitted_at: datetime | None = None
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    legs: tuple[OrderInfo, ...] = ()
    validated_only: bool = False

    @classmethod
    def from_broker(cls, order: Json, *, validated_only: bool = False) -> OrderInfo:
        return cls(
            id=str(order["id"]),
            client_order_id=str(order.get("client_order_id") or ""),
            symbol=str(order.get("symbol") or ""),
            side=str(order.get("side") or ""),
            order_type=order_type(str(order.get("type") or order.get("order_type") or "")),
            time_in_force=str(order.get("time_in_force") or ""),
            status=str(order.get("status") or ""),
            order_class=str(order.get("order_class") or ""),
            qty=optional(order, "qty"),
            notional=optional(order, "notional"),
            filled_qty=amount(order, "filled_qty", _ZERO),
            filled_avg_price=optional(order, "filled_avg_price"),
            limit_price=optional(order, "limit_price"),
            stop_price=optional(order, "stop_price"),
            trail_price=optional(order, "trail_price"),
            trail_percent=optional(order, "trail_percent"),
            extended_hours=bool(order.get("extended_hours")),
            submitted_at=optional_instant(order, "submitted_at"),
            filled_at=optional_instant(order, "filled_at"),
            canceled_at=optional_instant(order, "canceled_at"),
            replaces=order.get("replaces") or None,
            replaced_by=order.get("replaced_by") or None,
            legs=tuple(cls.from_broker(leg) for leg in order.get("legs") or ()),
            validated_only=validated_only,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """What became of one order or position when all were to go; `order` where there is one."""

    id: str
    """The order's id, or the position's symbol."""
    status: int
    """As in HTTP: below 300 is done."""
    message: str = ""
    order: OrderInfo | None = None

    @property
    def done(self) -> bool:
        return 200 <= self.status < 300

    @classmethod
    def from_broker(cls, result: Json) -> BulkResult:
        body = result.get("body")
        body = body if isinstance(body, dict) else {}
        return cls(
            id=str(result.get("id") or result.get("symbol") or ""),
            status=int(result.get("status") or 0),
            message=str(body.get("message") or ""),
            order=OrderInfo.from_broker(body) if body.get("id") else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteInfo:
    """The best bid and ask. A side without a quote has price and size zero."""

    symbol: str
    bid_price: Decimal
    bid_size: Decimal
    ask_price: Decimal
    ask_size: Decimal
    timestamp: datetime

    @property
    def spread(self) -> Decimal | None:
        """Ask less bid, None where one of them is missing."""
        both = self.bid_price > 0 and self.ask_price > 0
        return self.ask_price - self.bid_price if both else None

    @classmethod
    def from_broker(cls, symbol: str, quote: Json) -> QuoteInfo:
        return cls(
            symbol=symbol,
            bid_price=amount(quote, "bp", _ZERO),
            bid_size=amount(quote, "bs", _ZERO),
            ask_price=amount(quote, "ap", _ZERO),
            ask_size=amount(quote, "as", _ZERO),
            timestamp=instant(quote["t"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BarInfo:
    """One bar; `timestamp` is where it begins."""

    symbol: str
    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trade_count: int = 0
    vwap: Decimal | None = None

    @classmethod
    def from_broker(cls, symbol: str, bar: Json) -> BarInfo:
        return cls(
            symbol=symbol,
            timestamp=instant(bar["t"]),
            open=amount(bar, "o"),
            high=amount(bar, "h"),
            low=amount(bar, "l"),
            close=amount(bar, "c"),
            volume=amount(bar, "v", _ZERO),
            trade_count=int(amount(bar, "n", _ZERO)),
            vwap=optional(bar, "vw"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskMetrics:
    """How much is at stake. Exposures in dollars, percentages of equity.

    `max_drawdown_pct` is the deepest fall from a peak over `days` daily equities,
    `volatility_pct` the standard deviation of their daily returns times √252, `var_95` the loss in
    dollars that one day in twenty exceeded (the 5th percentile of the same returns, times equity).
    The last three are None with fewer than 20 daily returns.
    """

    equity: Decimal
    gross_exposure: Decimal
    net_exposure: Decimal
    long_exposure: Decimal
    short_exposure: Decimal
    leverage: Decimal
    largest_position: str | None
    largest_position_pct: Decimal
    buying_power_used_pct: Decimal
    days: int
    max_drawdown_pct: Decimal | None
    volatility_pct: Decimal | None
    var_95: Decimal | None
    timestamp: datetime

    @classmethod
    def of(
        cls,
        account: Json,
        positions: tuple[PositionInfo, ...],
        daily_equity: tuple[Decimal, ...],
        timestamp: datetime,
    ) -> RiskMetrics:
        """From the account, its holdings and the equity of the last days, the oldest first."""
        equity = amount(account, "equity")
        long = sum((abs(p.market_value) for p in positions if p.side == "long"), _ZERO)
        short = sum((abs(p.market_value) for p in positions if p.side != "long"), _ZERO)
        largest = max(positions, key=lambda p: abs(p.market_value), default=None)
        power = amount(account, "buying_power", _ZERO)
        full_power = equity * amount(account, "multiplier", Decimal(1))
        returns = daily_returns(daily_equity)
        enough = len(returns) >= 20
        return cls(
            equity=equity,
            gross_exposure=long + short,
            net_exposure=long - short,
            long_exposure=long,
            short_exposure=short,
            leverage=(long + short) / equity if equity > 0 else _ZERO,
            largest_position=largest.symbol if largest else None,
            largest_position_pct=_share(abs(largest.market_value), equity) if largest else _ZERO,
            buying_power_used_pct=_share(max(full_power - power, _ZERO), full_power),
            days=len(daily_equity),
            max_drawdown_pct=max_drawdown_pct(daily_equity) if enough else None,
            volatility_pct=_volatility_pct(returns) if enough else None,
            var_95=_var_95(returns) * equity if enough else None,
            timestamp=timestamp,
        )


def daily_returns(equity: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    """Each day's change as a fraction of the day before, where that was above zero."""
    return tuple(after / before - 1 for before, after in pairwise(equity) if before > 0)


def max_drawdown_pct(equity: tuple[Decimal, ...]) -> Decimal:
    """The deepest fall from a peak, in percent of the peak."""
    peak = deepest = _ZERO
    for value in equity:
        peak = max(peak, value)
        deepest = max(deepest, _share(peak - value, peak))
    return deepest


def _volatility_pct(returns: tuple[Decimal, ...]) -> Decimal:
    mean = sum(returns, _ZERO) / len(returns)
    variance = sum(((value - mean) ** 2 for value in returns), _ZERO) / (len(returns) - 1)
    return (variance * 252).sqrt() * _PERCENT


def _var_95(returns: tuple[Decimal, ...]) -> Decimal:
    """The loss at the 5th percentile (nearest rank below), as a positive fraction."""
    ordered = sorted(returns)
    return max(-ordered[max(0, -(-len(ordered) * 5 // 100) - 1)], _ZERO)


def _share(part: Decimal, whole: Decimal) -> Decimal:
    """In percent; zero of nothing."""
    return part / whole * _PERCENT if whole > 0 else _ZERO
