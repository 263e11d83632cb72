"""The paper account for a person or a script: named arguments in, `Decimal` values out.

    client = AlpacaPaperTrading()      # keys from ALPACA_API_KEY and ALPACA_SECRET_KEY
    client.connect()
    client.place_order(symbol="IBM", qty=10, side="buy", order_type=OrderType.LIMIT,
    limit_price=150)

`python -m console.broker.alpaca_paper_trading` shows it at work, without keys against an exchange
of its own.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from console.broker import models
from console.broker.credentials import endpoint_from
from console.broker.errors import BrokerNotFound, OutcomeUnknown
from console.broker.models import (
    BarInfo,
    BulkResult,
    OrderInfo,
    OrderType,
    PortfolioMetrics,
    PositionInfo,
    QuoteInfo,
    RiskMetrics,
    TimeFrame,
)
from console.broker.orders import Amount, OrderInvalid, build, check_symbol, exact
from console.broker.session import BrokerSession

if TYPE_CHECKING:
    from console.broker.streaming import StreamThread

LOOK_UPS_S = (0.25, 0.5, 1.0, 2.0)
"""Waits before each look-up of an order whose POST got no answer."""

_SPAN = {
    "Min": timedelta(minutes=1),
    "Hour": timedelta(hours=1),
    "Day": timedelta(days=1),
    "Week": timedelta(weeks=1),
    "Month": timedelta(days=31),
}
_RISK_DAYS = 90


class AlpacaPaperTrading:
    """One Alpaca paper account, or an account at an Alpaca-compatible exchange on this machine.

    Keys and address come from the arguments or from ALPACA_API_KEY, ALPACA_SECRET_KEY and
    ALPACA_BASE_URL. Nothing but the paper host and loopback is ever asked.

    Raises:
        BrokerAuthError: keys that are missing or can't be keys of a paper account.
        HostRefused: an address that isn't the paper host or loopback.

    Each method raises a `BrokerError` where the broker says no or nothing; the tree is in
    `console.broker.errors`. Methods may be called from any thread.
    """

    def __init__(
        self,
        key_id: str | None = None,
        secret_key: str | None = None,
        *,
        base_url: str | None = None,
        feed: str = "iex",
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 10.0,
        requests_per_minute: int = 200,
    ) -> None:
        self._endpoint = endpoint_from(
            key_id,
            secret_key,
            base_url,
            feed=feed,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            requests_per_minute=requests_per_minute,
        )
        self.session = BrokerSession(self._endpoint)
        """The same account, request by request, as the broker answers."""
        self._tradable: dict[str, bool] = {}
        self._streams: StreamThread | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AlpacaPaperTrading({self._endpoint.trading_url!r})"

    @property
    def base_url(self) -> str:
        return self._endpoint.trading_url

    def connect(self) -> PortfolioMetrics:
        """Ask for the account: the keys are right when this answers.

        Raises `BrokerAuthError` for wrong keys, and for an account that may not trade.
        """
        return self.get_portfolio_metrics()

    def close(self) -> None:
        """End the streams and give the connections back; twice is all right."""
        self.stop_streaming()
        self.session.close()

    # -- account -----------------------------------------------------------------------------------

    def get_portfolio_metrics(self) -> PortfolioMetrics:
        """Equity, cash, buying power, gains; dated by the market's clock."""
        account = self.session.account()
        now = self.market_time()
        return PortfolioMetrics.from_broker(account, self._positions(now), now)

    def get_positions(self) -> list[PositionInfo]:
        """All that is held, by symbol."""
        return sorted(self._positions(self.market_time()), key=lambda position: position.symbol)

    def get_position(self, symbol: str) -> PositionInfo | None:
        """One holding, None when flat."""
        check_symbol(symbol)
        try:
            return PositionInfo.from_broker(self.session.position(symbol), self.market_time())
        except BrokerNotFound:
            return None

    def get_risk_metrics(self, days: int = _RISK_DAYS) -> RiskMetrics:
        """Exposure now, and drawdown, volatility and value at risk over the last `days` days."""
        account = self.session.account()
        now = self.market_time()
        history = self.session.portfolio_history(period=f"{days}D", timeframe="1D")
        equity = tuple(
            models.number(value) for value in history.get("equity") or () if value is not None
        )
        positive = tuple(value for value in equity if value > 0)
        return RiskMetrics.of(account, self._positions(now), positive, now)

    def market_time(self) -> datetime:
        """The market's clock, which in a replay is not the wall's."""
        return models.instant(self.session.clock()["timestamp"])

    def is_market_open(self) -> bool:
        return bool(self.session.clock().get("is_open"))

    def _positions(self, now: datetime) -> tuple[PositionInfo, ...]:
        return tuple(PositionInfo.from_broker(raw, now) for raw in self.session.positions())

    # -- orders ------------------------------------------------------------------------------------

    def place_order(
        self,
        symbol: str,
        qty: Amount | None = None,
        side: str = "buy",
        order_type: OrderType | str = OrderType.MARKET,
        *,
        notional: Amount | None = None,
        time_in_force: str = "day",
        limit_price: Amount | None = None,
        stop_price: Amount | None = None,
        trail_price: Amount | None = None,
        trail_percent: Amount | None = None,
        take_profit: Amount | None = None,
        stop_loss: Amount | None = None,
        stop_loss_limit: Amount | None = None,
        extended_hours: bool = False,
        client_order_id: str | None = None,
        validate_only: bool = False,
    ) -> OrderInfo:
        """Check an order and send it, once. A float counts as the digits that it prints.

        With `validate_only` it is checked against the rules, the asset and the buying power, and
        not sent: the answer has an empty `id` and the status "validated".

        Raises:
            OrderInvalid: it breaks a rule; nothing was sent.
            BrokerNotFound: the broker doesn't know the symbol; nothing was sent.
            BrokerRefused: the broker said no.
            OutcomeUnknown: no answer, and the look-ups that followed didn't find it either.
        """
        order = build(
            symbol=symbol,
            side=side,
            qty=qty,
            notional=notional,
            order_type=order_type,
            time_in_force=time_in_force,
            limit_price=limit_price,
            stop_price=stop_price,
            trail_price=trail_price,
            trail_percent=trail_percent,
            take_profit=take_profit,
            stop_loss=stop_loss,
            stop_loss_limit=stop_loss_limit,
            extended_hours=extended_hours,
            client_order_id=client_order_id,
        )
        self._check_asset(symbol)
        if validate_only:
            self._check_buying_power(order)
            fields = order | {"id": "", "status": "validated"}
            return OrderInfo.from_broker(fields, validated_only=True)
        try:
            return OrderInfo.from_broker(self.session.submit_order(order))
        except OutcomeUnknown as error:
            return self._looked_up(str(order["client_order_id"]), error)

    def replace_order(
        self,
        order_id: str,
        *,
        qty: Amount | None = None,
        limit_price: Amount | None = None,
        stop_price: Amount | None = None,
        trail: Amount | None = None,
        time_in_force: str | None = None,
    ) -> OrderInfo:
        """Change a working order; the answer is the new order that takes its place."""
        changes: dict[str, Any] = {
            "qty": exact("qty", qty),
            "limit_price": exact("limit_price", limit_price),
            "stop_price": exact("stop_price", stop_price),
            "trail": exact("trail", trail),
            "time_in_force": time_in_force,
        }
        if all(value is None for value in changes.values()):
            raise OrderInvalid("changes", None, "nothing would change", "give what shall change")
        return OrderInfo.from_broker(self.session.replace_order(order_id, changes))

    def get_order_status(
        self, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> OrderInfo:
        """One order, by the broker's id or by ours, with its legs."""
        if (order_id is None) == (client_order_id is None):
            raise ValueError("give either order_id or client_order_id")
        if client_order_id is not None:
            return OrderInfo.from_broker(self.session.order_by_client_id(client_order_id))
        return OrderInfo.from_broker(self.session.order(str(order_id), nested=True))

    def get_orders(
        self, status: str = "open", *, symbols: Sequence[str] = (), limit: int | None = None
    ) -> list[OrderInfo]:
        """Orders, newest first; `status` open, closed or all."""
        found = self.session.orders(status=status, symbols=symbols, limit=limit)
        return [OrderInfo.from_broker(order) for order in found]

    def cancel_order(self, order_id: str) -> None:
        """Ask for an order's cancellation; `get_order_status` says when it is gone."""
        self.session.cancel_order(order_id)

    def cancel_all_orders(self) -> list[BulkResult]:
        """Cancel all that is open; one result an order."""
        return [BulkResult.from_broker(result) for result in self.session.cancel_all_orders()]

    def close_position(
        self, symbol: str, *, qty: Amount | None = None, percentage: Amount | None = None
    ) -> OrderInfo:
        """Sell or cover a position at the market, whole or in part; the answer is that order."""
        check_symbol(symbol)
        if qty is not None and percentage is not None:
            rule = "either qty or percentage"
            raise OrderInvalid("percentage", percentage, rule, "leave one of them out")
        return OrderInfo.from_broker(
            self.session.close_position(
                symbol, qty=exact("qty", qty), percentage=exact("percentage", percentage)
            )
        )

    def close_all_positions(self, *, cancel_orders: bool = True) -> list[BulkResult]:
        """Close all that is held, open orders canceled first; one result a position."""
        results = self.session.close_all_positions(cancel_orders=cancel_orders)
        return [BulkResult.from_broker(result) for result in results]

    def _check_asset(self, symbol: str) -> None:
        if symbol not in self._tradable:
            asset = self.session.asset(symbol)
            self._tradable[symbol] = bool(asset.get("tradable"))
        if not self._tradable[symbol]:
            rule = "the broker doesn't trade it"
            raise OrderInvalid("symbol", symbol, rule, "choose another symbol")

    def _check_buying_power(self, order: dict[str, Any]) -> None:
        if order["side"] != "buy":
            return
        cost: Decimal | None = order.get("notional")
        if cost is None:
            price = order.get("limit_price") or order.get("stop_price")
            price = price or self.get_latest_quote(order["symbol"]).ask_price
            cost = order["qty"] * price
        power = models.amount(self.session.account(), "buying_power")
        if cost > power:
            raise OrderInvalid(
                "notional", cost, f"the buying power is {power}", "buy less, or sell first"
            )

    def _looked_up(self, client_order_id: str, error: OutcomeUnknown) -> OrderInfo:
        for wait in LOOK_UPS_S:
            time.sleep(wait)
            try:
                return self.get_order_status(client_order_id=client_order_id)
            except BrokerNotFound:
                continue
        raise OutcomeUnknown(
            f"{error.message}; order {client_order_id} isn't there, which is no proof",
            status=error.status,
            remedy="ask get_order_status(client_order_id=…) again before sending anything like it",
        )

    # -- market data -------------------------------------------------------------------------------

    def get_latest_quote(self, symbol: str) -> QuoteInfo:
        """The best bid and ask. Raises `BrokerNotFound` where there is none."""
        check_symbol(symbol)
        quotes = self.session.latest_quotes([symbol])
        if symbol not in quotes:
            raise BrokerNotFound(f"there is no quote for {symbol}", remedy="check the symbol")
        return QuoteInfo.from_broker(symbol, quotes[symbol])

    def get_historical_bars(
        self,
        symbol: str,
        timeframe: TimeFrame | str = TimeFrame.DAY,
        *,
        start: datetime | date | None = None,
        end: datetime | date | None = None,
        limit: int | None = 100,
    ) -> list[BarInfo]:
        """Bars of one symbol, the oldest first.

        With `start` the first `limit` bars from there on; without it the last `limit` bars before
        `end`, which is the market's now unless given.
        """
        check_symbol(symbol)
        length = models.timeframe(timeframe)
        if start is None:
            if limit is None:
                raise ValueError("give a start, or a limit of bars to look back")
            latest = end or self.market_time()
            start = latest - _look_back(length, limit)
            raw = self.session.bars(
                [symbol], length, start=start, end=latest, limit=limit, sort="desc"
            )[symbol][::-1]
        else:
            raw = self.session.bars([symbol], length, start=start, end=end, limit=limit)[symbol]
        return [BarInfo.from_broker(symbol, bar) for bar in raw]

    def get_bars_over_timeframes(
        self,
        symbol: str,
        timeframes: Sequence[TimeFrame | str] = (TimeFrame.MINUTE, TimeFrame.HOUR, TimeFrame.DAY),
        *,
        limit: int = 100,
    ) -> dict[str, list[BarInfo]]:
        """The last `limit` bars of each length, by its name."""
        return {
            str(timeframe): self.get_historical_bars(symbol, timeframe, limit=limit)
            for timeframe in timeframes
        }

    # -- streams -----------------------------------------------------------------------------------

    def start_streaming(
        self,
        on_trade_update: Callable[[dict[str, Any]], None],
        *,
        on_market_data: Callable[[dict[str, Any]], None] | None = None,
        symbols: Sequence[str] = (),
        timeout_s: float = 15.0,
    ) -> None:
        """Begin to tell what happens to orders, and with `on_market_data` to `symbols`.

        Returns when the streams are connected. The handlers run on a thread of their own; they get
        the broker's messages (`console.broker.streams`). The streams reconnect by themselves.

        Raises:
            BrokerAuthError, BrokerRefused: the keys, or a second data connection, were refused.
            TimeoutError: not connected within `timeout_s`; the streams were ended again.
        """
        from console.broker.streaming import StreamThread

        with self._lock:
            if self._streams is not None and self._streams.is_alive:
                raise RuntimeError("streaming already; stop_streaming() first")
            streams = StreamThread(
                self._endpoint, on_trade_update, on_market_data, [check_symbol(s) for s in symbols]
            )
            streams.start()
            try:
                connected = streams.wait_connected(timeout_s)
            except BaseException:
                streams.stop()
                raise
            if not connected:
                streams.stop()
                raise TimeoutError(
                    f"{self._endpoint.trading_url}: streams not connected within {timeout_s:g} s"
                )
            self._streams = streams

    def stop_streaming(self) -> None:
        """End the streams and join their thread; without any, nothing happens."""
        with self._lock:
            streams, self._streams = self._streams, None
        if streams is not None:
            streams.stop()

    @property
    def is_streaming(self) -> bool:
        """Whether both streams that were asked for still live."""
        streams = self._streams
        return streams is not None and streams.is_alive and streams.failure is None


def _look_back(length: str, limit: int) -> timedelta:
    """Long enough that `limit` bars lie within, nights, weekends and holidays counted."""
    unit = length.lstrip("0123456789")
    span = _SPAN[unit] * int(length[: -len(unit)]) * limit
    if unit in ("Min", "Hour"):
        # A session is 6.5 of 24 hours, and there are five in a week.
        span = span * 24 / 6.5
    return span * 7 / 5 + timedelta(days=5)


def main() -> int:
    """Show the client at work: `console.broker.self_check`."""
    from console.broker.self_check import main as check

    return check()


if __name__ == "__main__":
    sys.exit(main())
