"""One blocking call for each request of the broker's API, through alpaca-py made safe.

alpaca-py repeats a POST by itself, waits without limit, trusts proxy variables and reads prices as
floats; `console.broker.transport` takes all of that away. What is left of it here are its clients,
their headers and their URLs. Imported lazily: it costs some tenths of a second.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from console.broker.errors import BrokerError, BrokerRateLimited, BrokerUnavailable, CircuitOpen
from console.broker.limits import CircuitBreaker, Priority, RequestBudget
from console.broker.models import instant

if TYPE_CHECKING:
    from console.broker.endpoint import Endpoint
    from console.broker.transport import Connection

Json = dict[str, Any]
"""A parsed JSON object: int, Decimal, str, bool, None, list and dict; never a float."""

_T = TypeVar("_T")

READ_ATTEMPTS = 3
_ORDERS_PAGE = 500
_ACTIVITIES_PAGE = 100
_BARS_PAGE = 10_000
_MAX_PAGES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStats:
    """How the line to the broker does. `latency_ms` is that of the last answer, None before one."""

    requests: int
    failures: int
    latency_ms: float | None
    budget_left: float
    reads_rest: bool


class BrokerSession:
    """The broker's REST API for one account.

    Every method raises a `BrokerError`; the tree is in `console.broker.errors`. Only reads are
    repeated, at most twice and only when nothing answered; look-ups of one order are not, since
    their caller has a schedule of its own. Amounts in requests may be `Decimal`, `int` or text. A
    method that takes times takes aware datetimes, dates or RFC 3339 text. `close` may be called by
    any thread, and twice.
    """

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._budget = RequestBudget(endpoint.requests_per_minute, clock)
        self._breaker = CircuitBreaker(clock=clock)
        self._local = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        self._requests = 0
        self._failures = 0
        self._latency_ms: float | None = None

    # -- orders ------------------------------------------------------------------------------------

    def submit_order(
        self, order: Mapping[str, Any], *, before: Callable[[], None] | None = None
    ) -> Json:
        """POST /v2/orders, exactly once. `order` must carry its `client_order_id`.

        `before` is called when the request is made up and connected, right before its first byte.

        Raises:
            Whatever `before` raises: nothing was sent.
            BrokerRefused: nothing happened (`DuplicateOrderId`: this id was used before).
            BrokerRateLimited, BrokerUnavailable: nothing was sent.
            OutcomeUnknown: it may have arrived.
        """
        if not order.get("client_order_id"):
            raise ValueError("an order without client_order_id can't be looked up; give it one")
        return self._object("POST", "/orders", order, Priority.ORDER, before=before)

    def replace_order(
        self,
        order_id: str,
        changes: Mapping[str, Any],
        *,
        before: Callable[[], None] | None = None,
    ) -> Json:
        """PATCH an order; the answer is the new order that takes its place. `before` as above."""
        path = f"/orders/{_segment(order_id)}"
        return self._object("PATCH", path, changes, Priority.ORDER, before=before)

    def cancel_order(self, order_id: str) -> None:
        """Ask for an order's cancellation; it is gone when trade updates say so."""
        self._send("DELETE", f"/orders/{_segment(order_id)}", None, Priority.CANCEL)

    def cancel_all_orders(self) -> list[Json]:
        """Cancel what is open; one `{id, status, body}` an order."""
        return self._list("DELETE", "/orders", None, Priority.CANCEL)

    def order(self, order_id: str, *, nested: bool = False) -> Json:
        """One order by the broker's id, its legs inside when `nested`."""
        path = f"/orders/{_segment(order_id)}"
        return self._object("GET", path, {"nested": nested or None}, Priority.ORDER)

    def order_by_client_id(self, client_order_id: str) -> Json:
        """One order by ours. `BrokerNotFound` is no proof that it will not appear yet."""
        query = {"client_order_id": client_order_id}
        return self._object("GET", "/orders:by_client_order_id", query, Priority.ORDER)

    def orders(
        self,
        *,
        status: str = "open",
        limit: int | None = None,
        after: datetime | str | None = None,
        until: datetime | str | None = None,
        direction: str = "desc",
        symbols: Sequence[str] = (),
        side: str | None = None,
        nested: bool = False,
    ) -> list[Json]:
        """Orders, newest first unless `direction` is asc; `status` open, closed or all.

        Without a `limit` all of them, in as many requests as it takes.
        """
        query: Json = {
            "status": status,
            "after": after,
            "until": until,
            "direction": direction,
            "symbols": ",".join(symbols) or None,
            "side": side,
            "nested": nested or None,
        }
        if limit is not None and limit <= _ORDERS_PAGE:
            return self._list("GET", "/orders", query | {"limit": limit})
        found: dict[str, Json] = {}
        for page in self._order_pages(query, "after" if direction == "asc" else "until"):
            known = len(found)
            found |= {str(order["id"]): order for order in page}
            if len(found) == known or (limit is not None and len(found) >= limit):
                break
        return list(found.values())[:limit]

    def _order_pages(self, query: Json, edge: str) -> Iterator[list[Json]]:
        for _ in range(_MAX_PAGES):
            page = self._list("GET", "/orders", query | {"limit": _ORDERS_PAGE})
            yield page
            if len(page) < _ORDERS_PAGE:
                return
            last = instant(page[-1].get("submitted_at") or page[-1]["created_at"])
            # The edge itself is left out by the broker, and orders may share it: overlap a little.
            overlap = timedelta(microseconds=1)
            query[edge] = (last - overlap if edge == "after" else last + overlap).isoformat()

    # -- positions and account ---------------------------------------------------------------------

    def close_position(
        self,
        symbol: str,
        *,
        qty: Decimal | str | None = None,
        percentage: Decimal | str | None = None,
    ) -> Json:
        """Sell or cover a position at the market, whole or in part; the answer is the order."""
        query = {"qty": qty, "percentage": percentage}
        return self._object("DELETE", f"/positions/{_segment(symbol)}", query, Priority.ORDER)

    def close_all_positions(self, *, cancel_orders: bool = True) -> list[Json]:
        """Close all that is held; one `{symbol, status, body}` a position."""
        query = {"cancel_orders": cancel_orders}
        return self._list("DELETE", "/positions", query, Priority.ORDER)

    def account(self) -> Json:
        return self._object("GET", "/account")

    def positions(self) -> list[Json]:
        return self._list("GET", "/positions")

    def position(self, symbol: str) -> Json:
        """One position; `BrokerNotFound` when flat."""
        return self._object("GET", f"/positions/{_segment(symbol)}")

    def activities(
        self,
        *,
        activity_types: Sequence[str] = (),
        after: datetime | date | str | None = None,
        until: datetime | date | str | None = None,
        direction: str = "asc",
        page_token: str | None = None,
        limit: int | None = None,
    ) -> list[Json]:
        """Fills (`FILL`) and the account's other activities, oldest first, all pages of them.

        `page_token` is the id of the last activity already known: what follows it is answered.
        """
        found: list[Json] = []
        for _ in range(_MAX_PAGES):
            page = self._list(
                "GET",
                "/account/activities",
                {
                    "activity_types": ",".join(activity_types) or None,
                    "after": after,
                    "until": until,
                    "direction": direction,
                    "page_size": _ACTIVITIES_PAGE,
                    "page_token": page_token,
                },
            )
            found += page
            if len(page) < _ACTIVITIES_PAGE or (limit is not None and len(found) >= limit):
                break
            page_token = str(page[-1]["id"])
        return found[:limit]

    def portfolio_history(
        self,
        *,
        period: str | None = None,
        timeframe: str | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        extended_hours: bool | None = None,
    ) -> Json:
        """Equity over time: lists `timestamp`, `equity`, `profit_loss`, `profit_loss_pct`."""
        query = {
            "period": period,
            "timeframe": timeframe,
            "start": start,
            "end": end,
            "extended_hours": extended_hours,
        }
        return self._object("GET", "/account/portfolio/history", query)

    def clock(self) -> Json:
        """The market's clock: timestamp, is_open, next_open, next_close."""
        return self._object("GET", "/clock")

    def calendar(
        self, *, start: date | str | None = None, end: date | str | None = None
    ) -> list[Json]:
        return self._list("GET", "/calendar", {"start": start, "end": end})

    def asset(self, symbol: str) -> Json:
        """One asset; `BrokerNotFound` when the broker doesn't know the symbol."""
        return self._object("GET", f"/assets/{_segment(symbol)}")

    def assets(
        self, *, status: str | None = "active", asset_class: str | None = "us_equity"
    ) -> list[Json]:
        return self._list("GET", "/assets", {"status": status, "asset_class": asset_class})

    # -- market data -------------------------------------------------------------------------------

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Json]:
        """By symbol: `{t, bp, bs, ap, as, …}`; a symbol without a quote is missing."""
        return self._latest("/stocks/quotes/latest", "quotes", symbols)

    def latest_trades(self, symbols: Sequence[str]) -> dict[str, Json]:
        """By symbol: `{t, p, s, …}`."""
        return self._latest("/stocks/trades/latest", "trades", symbols)

    def latest_bars(self, symbols: Sequence[str]) -> dict[str, Json]:
        """By symbol: `{t, o, h, l, c, v, …}`."""
        return self._latest("/stocks/bars/latest", "bars", symbols)

    def snapshots(self, symbols: Sequence[str]) -> dict[str, Json]:
        """By symbol: latestTrade, latestQuote, minuteBar, dailyBar, prevDailyBar."""
        return self._latest("/stocks/snapshots", "snapshots", symbols)

    def bars(
        self,
        symbols: Sequence[str],
        timeframe: str,
        *,
        start: datetime | date | str | None = None,
        end: datetime | date | str | None = None,
        limit: int | None = None,
        adjustment: str = "raw",
        sort: str = "asc",
    ) -> dict[str, list[Json]]:
        """Historical bars by symbol, `timeframe` such as 1Min, 1Hour, 1Day; all pages of them.

        `limit` is of bars in all, over the symbols together, as the broker counts.
        """
        found: dict[str, list[Json]] = {symbol: [] for symbol in symbols}
        query: Json = {
            "symbols": ",".join(symbols),
            "timeframe": timeframe,
            "start": start,
            "end": end,
            "adjustment": adjustment,
            "feed": self.endpoint.feed,
            "sort": sort,
        }
        left = limit
        for _ in range(_MAX_PAGES):
            query["limit"] = _BARS_PAGE if left is None else min(left, _BARS_PAGE)
            answer = self._object("GET", "/stocks/bars", query, market_data=True)
            for symbol, bars in (answer.get("bars") or {}).items():
                found.setdefault(symbol, []).extend(bars)
                left = None if left is None else left - len(bars)
            query["page_token"] = answer.get("next_page_token")
            if not query["page_token"] or (left is not None and left <= 0):
                break
        return found

    def _latest(self, path: str, key: str, symbols: Sequence[str]) -> dict[str, Json]:
        if not symbols:
            return {}
        query = {"symbols": ",".join(symbols), "feed": self.endpoint.feed}
        answer = self._object("GET", path, query, market_data=True)
        by_symbol = answer[key] if isinstance(answer.get(key), dict) else answer
        return {symbol: value for symbol, value in by_symbol.items() if isinstance(value, dict)}

    # -- life --------------------------------------------------------------------------------------

    def stats(self) -> SessionStats:
        """A picture of the line, for health and the header. Never waits for a request."""
        return SessionStats(
            requests=self._requests,
            failures=self._failures,
            latency_ms=self._latency_ms,
            budget_left=self._budget.available(),
            reads_rest=self._breaker.is_open,
        )

    def rouse(self) -> None:
        """The broker gave a sign of life elsewhere: reads that rest may try it at once."""
        self._breaker.rouse()

    def close(self) -> None:
        """Give all connections back. A request under way ends as it would have; later ones fail."""
        with self._lock:
            self._closed = True
            connections = list(self._connections)
        for connection in connections:
            connection.close()

    # -- the one way out ---------------------------------------------------------------------------

    def _object(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        priority: Priority = Priority.READ,
        *,
        market_data: bool = False,
        before: Callable[[], None] | None = None,
    ) -> Json:
        return cast(
            "Json",
            self._send(
                method, path, fields, priority, dict, market_data=market_data, before=before
            ),
        )

    def _list(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        priority: Priority = Priority.READ,
    ) -> list[Json]:
        return cast("list[Json]", self._send(method, path, fields, priority, list))

    def _send(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None,
        priority: Priority,
        shape: type | None = None,
        *,
        market_data: bool = False,
        before: Callable[[], None] | None = None,
    ) -> object:
        wire = _plain(fields or {})

        def once() -> object:
            return self._once(
                method, path, wire, priority, shape, market_data=market_data, before=before
            )

        if method != "GET" or priority is not Priority.READ:
            return once()
        return self._repeated(once)

    def _repeated(self, once: Callable[[], _T]) -> _T:
        import stamina

        def worth_it(error: Exception) -> bool:
            return isinstance(error, BrokerUnavailable) and not isinstance(error, CircuitOpen)

        for attempt in stamina.retry_context(
            on=worth_it,
            attempts=READ_ATTEMPTS,
            timeout=self.endpoint.read_timeout_s,
            wait_initial=0.1,
            wait_max=1.0,
            wait_jitter=0.1,
        ):
            with attempt:
                return once()
        raise AssertionError("unreachable: the last attempt answers or raises")

    def _once(
        self,
        method: str,
        path: str,
        wire: dict[str, Any],
        priority: Priority,
        shape: type | None,
        *,
        market_data: bool,
        before: Callable[[], None] | None,
    ) -> object:
        counted = method == "GET" and priority is Priority.READ
        connection = self._connection()
        if counted:
            self._breaker.check()
        self._budget.acquire(priority, self.endpoint.read_timeout_s)
        began = self._clock()
        self._requests += 1
        try:
            answer = connection.send(
                method, path, wire, shape, market_data=market_data, before=before
            )
        except BrokerError as error:
            self._failures += 1
            if isinstance(error, BrokerRateLimited):
                self._budget.learn(closed_for_s=error.retry_after_s)
            if error.status is not None:
                self._latency_ms = (self._clock() - began) * 1e3
            if counted:
                if isinstance(error, BrokerUnavailable):
                    self._breaker.failed(error.message)
                else:
                    self._breaker.succeeded()
            raise
        self._latency_ms = (self._clock() - began) * 1e3
        if connection.remaining is not None:
            self._budget.learn(remaining=connection.remaining)
        if method == "GET":
            self._breaker.succeeded()
        return answer

    def _connection(self) -> Connection:
        if self._closed:
            raise BrokerUnavailable("this session was closed", remedy="make a new one")
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            from console.broker.transport import Connection

            connection = Connection(self.endpoint)
            self._local.connection = connection
            with self._lock:
                self._connections.add(connection)
        return connection


def _segment(text: str) -> str:
    """`text` as one segment of a path, whatever it holds."""
    if not text or text in (".", ".."):
        raise ValueError(f"{text!r} is no id or symbol")
    return quote(text, safe="")


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON and a query string can carry, Nones left out, exact numbers as text."""
    return {key: _plain_value(value) for key, value in fields.items() if value is not None}


def _plain_value(value: Any) -> Any:
    match value:
        case Mapping():
            return _plain(value)
        case float():
            raise TypeError(f"{value!r} is a float; amounts go out as Decimal or text")
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is no amount")
            return format(value, "f")
        case datetime():
            if value.tzinfo is None:
                raise ValueError(f"{value} says no time zone; give an aware datetime")
            return value.isoformat()
        case date():
            return value.isoformat()
        case list() | tuple():
            return [_plain_value(item) for item in value]
        case _:
            return value
