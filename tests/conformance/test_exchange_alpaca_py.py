"""alpaca-py, as it comes, trades a morning on the embedded exchange over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import (
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.models import Order, TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    CreateWatchlistRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)
from alpaca.trading.stream import TradingStream

KEY, SECRET = "PKCONFORMANCE", "a-secret"


@pytest.fixture
def exchange(make_exchange: Callable[..., Any]) -> Any:
    """An exchange whose clock stands still at 9:32, unless a test moves it."""
    running = make_exchange(paused=True)
    running.call(step_s=150)
    return running


@pytest.fixture
def client(exchange: Any) -> TradingClient:
    return TradingClient(KEY, SECRET, url_override=exchange.url)


class Listener:
    """A `TradingStream` on a thread of its own, and what it heard."""

    def __init__(self, url: str) -> None:
        self.heard: list[TradeUpdate] = []
        self.stream = TradingStream(KEY, SECRET, url_override=url.replace("http", "ws") + "/stream")
        self.stream.subscribe_trade_updates(self._hear)
        self.thread = threading.Thread(target=self.stream.run, daemon=True)
        self.thread.start()

    async def _hear(self, update: TradeUpdate) -> None:
        self.heard.append(update)

    def events(self, order: Order) -> list[str]:
        return [str(update.event) for update in self.heard if update.order.id == order.id]

    def stop(self) -> None:
        self.stream.stop()
        self.thread.join(timeout=15)


@pytest.fixture
def listener(exchange: Any, client: TradingClient, until: Callable[..., Any]) -> Iterator[Listener]:
    listening = Listener(exchange.url)

    def ready() -> bool:
        # The stream says nothing when it listens: an order that is heard of does.
        probe = client.submit_order(limit("SPY", 1, "50.00"))
        client.cancel_order_by_id(probe.id)
        return bool(listening.heard)

    until(ready, "the stream listens")
    yield listening
    listening.stop()


def limit(symbol: str, qty: float, price: str, side: OrderSide = OrderSide.BUY, **more: Any) -> Any:
    values: dict[str, Any] = {"time_in_force": TimeInForce.DAY} | more
    return LimitOrderRequest(symbol=symbol, qty=qty, side=side, limit_price=float(price), **values)


def market(symbol: str, qty: float, side: OrderSide = OrderSide.BUY, **more: Any) -> Any:
    values: dict[str, Any] = {"time_in_force": TimeInForce.DAY} | more
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, **values)


def refusal(client: TradingClient, request: OrderRequest) -> tuple[int, int]:
    with pytest.raises(APIError) as refused:
        client.submit_order(request)
    return refused.value.status_code, refused.value.code


def test_an_account_clock_assets_and_calendar_parse(client: TradingClient) -> None:
    account = client.get_account()
    assert (account.cash, account.equity, account.buying_power) == ("100000", "100000", "200000")
    clock = client.get_clock()
    assert clock.is_open
    assert clock.timestamp.isoformat() == "2013-10-07T09:32:00-04:00"
    assert clock.next_close.isoformat() == "2013-10-07T16:00:00-04:00"
    assert clock.next_open.isoformat() == "2013-10-08T09:30:00-04:00"
    assets = client.get_all_assets()
    assert {"SPY", "IBM", "BAC", "AIG"} <= {asset.symbol for asset in assets}
    ibm = client.get_asset("IBM")
    assert ibm.tradable
    assert ibm.fractionable
    assert client.get_asset(str(ibm.id)).symbol == "IBM"
    days = client.get_calendar(GetCalendarRequest(start="2013-11-25", end="2013-11-29"))
    assert [(str(day.date), day.close.hour) for day in days] == [
        ("2013-11-25", 16), ("2013-11-26", 16), ("2013-11-27", 16), ("2013-11-29", 13),
    ]  # fmt: skip


def test_a_market_order_is_accepted_then_new_then_filled(
    client: TradingClient, listener: Listener, until: Callable[..., Any]
) -> None:
    order = client.submit_order(market("IBM", 100, client_order_id="first"))
    assert order.status is OrderStatus.PENDING_NEW
    until(lambda: len(listener.events(order)) == 3, "all updates")
    assert listener.events(order) == ["pending_new", "new", "fill"]
    last = listener.heard[-1]
    assert (last.qty, last.position_qty) == (100, 100)
    assert last.execution_id is not None
    filled = client.get_order_by_client_id("first")
    assert filled.status is OrderStatus.FILLED
    assert Decimal(str(filled.filled_avg_price)) == Decimal(str(last.price))
    [position] = client.get_all_positions()
    assert (position.symbol, position.qty, position.qty_available) == ("IBM", "100", "100")
    cost = Decimal(str(filled.filled_avg_price)) * 100
    assert Decimal(position.cost_basis) == cost
    assert Decimal(client.get_account().cash or "") == 100_000 - cost


def test_a_limit_order_rests_is_replaced_and_canceled(
    client: TradingClient, listener: Listener, until: Callable[..., Any]
) -> None:
    order = client.submit_order(limit("IBM", 10, "100", time_in_force=TimeInForce.GTC))
    new = client.replace_order_by_id(order.id, ReplaceOrderRequest(qty=20, limit_price=101.5))
    assert (new.replaces, new.qty, new.limit_price) == (order.id, "20", "101.5")
    old = client.get_order_by_id(order.id)
    assert (old.status, old.replaced_by) == (OrderStatus.REPLACED, new.id)
    assert [found.id for found in client.get_orders()] == [new.id]
    client.cancel_order_by_id(new.id)
    until(lambda: listener.events(new)[-1:] == ["canceled"], "the cancel is told")
    assert listener.events(order) == ["pending_new", "new", "replaced"]
    with pytest.raises(APIError) as refused:
        client.cancel_order_by_id(new.id)
    assert (refused.value.status_code, refused.value.code) == (422, 42210000)
    assert client.get_account().buying_power == "200000"


def test_every_order_type_is_taken(client: TradingClient) -> None:
    client.submit_order(market("IBM", 100))
    sell: dict[str, Any] = {"symbol": "IBM", "qty": 10, "side": OrderSide.SELL}
    requests: list[OrderRequest] = [
        StopOrderRequest(**sell, time_in_force=TimeInForce.DAY, stop_price=150),
        StopLimitOrderRequest(
            **sell, time_in_force=TimeInForce.GTC, stop_price=150, limit_price=149
        ),
        TrailingStopOrderRequest(**sell, time_in_force=TimeInForce.DAY, trail_percent=2),
        TrailingStopOrderRequest(**sell, time_in_force=TimeInForce.GTC, trail_price=3),
        market("IBM", 10, OrderSide.SELL, time_in_force=TimeInForce.CLS),
        limit("IBM", 10, "250", OrderSide.SELL, time_in_force=TimeInForce.IOC),
        limit("IBM", 10, "250", OrderSide.SELL, extended_hours=True),
        limit(
            "IBM", 10, "250", OrderSide.SELL, order_class=OrderClass.OCO,
            take_profit=TakeProfitRequest(limit_price=250),
            stop_loss=StopLossRequest(stop_price=140),
        ),
    ]  # fmt: skip
    taken = [client.submit_order(request) for request in requests]
    trailing = client.get_order_by_id(taken[2].id)
    assert trailing.type is OrderType.TRAILING_STOP
    distance = Decimal(str(trailing.hwm)) - Decimal(str(trailing.stop_price))
    assert distance == (Decimal(str(trailing.hwm)) * 2 / 100).quantize(Decimal("0.01"))
    assert client.get_order_by_id(taken[5].id).status is OrderStatus.CANCELED
    assert {order.status for order in client.get_orders()} == {OrderStatus.NEW, OrderStatus.HELD}
    answers = client.cancel_orders()
    assert {answer.status for answer in answers} == {200}
    assert client.get_orders() == []


def test_a_bracket_shows_its_legs(client: TradingClient) -> None:
    order = client.submit_order(
        market(
            "BAC", 100, order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=30), stop_loss=StopLossRequest(stop_price=5),
        )
    )  # fmt: skip
    assert [leg.status for leg in order.legs or []] == [OrderStatus.HELD, OrderStatus.HELD]
    nested = client.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    assert [leg.status for leg in nested.legs or []] == [OrderStatus.NEW, OrderStatus.HELD]
    everything = GetOrdersRequest(status=QueryOrderStatus.ALL)
    assert len(client.get_orders(everything)) == 3
    rolled = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True))
    assert [len(found.legs or []) for found in rolled] == [2]


def test_positions_close_in_part_and_all_together(
    client: TradingClient, exchange: Any, until: Callable[..., Any]
) -> None:
    client.submit_order(market("IBM", 100))
    client.submit_order(market("BAC", 50, OrderSide.SELL))
    assert client.get_open_position("BAC").qty == "-50"
    client.close_position("IBM", ClosePositionRequest(qty="40"))
    client.close_position("IBM", ClosePositionRequest(percentage="50"))
    assert client.get_open_position("IBM").qty == "30"
    client.submit_order(limit("IBM", 10, "250", OrderSide.SELL))
    held = client.close_all_positions()
    assert sorted(answer.status or 0 for answer in held) == [200, 403]
    answers = client.close_all_positions(cancel_orders=True)
    assert [answer.status for answer in answers] == [200]
    assert client.get_all_positions() == []
    account = client.get_account()
    assert account.cash == account.equity
    with pytest.raises(APIError) as refused:
        client.get_open_position("IBM")
    assert (refused.value.status_code, refused.value.code) == (404, 40410000)


def test_refusals_have_the_codes_of_alpaca(client: TradingClient) -> None:
    assert refusal(client, market("IBM", 99_999)) == (403, 40310000)
    assert refusal(client, market("NOPE", 1)) == (422, 42210000)
    assert refusal(client, limit("IBM", 1, "100.123")) == (422, 42210000)
    assert refusal(client, market("IBM", -1)) == (422, 40010001)
    client.submit_order(limit("IBM", 1, "100", client_order_id="once"))
    assert refusal(client, limit("IBM", 1, "100", client_order_id="once")) == (422, 40010001)
    assert refusal(client, market("IBM", 1, OrderSide.SELL)) == (403, 40310000)
    with pytest.raises(APIError) as unknown:
        client.get_order_by_id(uuid4())
    assert (unknown.value.status_code, unknown.value.code) == (404, 40410000)


def test_keys_open_accounts_of_their_own(client: TradingClient, exchange: Any) -> None:
    client.submit_order(market("IBM", 1))
    other = TradingClient("PKOTHER", "its-secret", url_override=exchange.url)
    assert other.get_all_positions() == []
    assert other.get_account().id != client.get_account().id
    for key, secret in [(KEY, "wrong"), ("AKLIVE", "x"), ("PKOTHER", SECRET)]:
        with pytest.raises(APIError) as refused:
            TradingClient(key, secret, url_override=exchange.url).get_account()
        assert refused.value.status_code == 403


def test_an_account_survives_the_end_of_the_exchange(
    client: TradingClient, exchange: Any, make_exchange: Callable[..., Any], tmp_path: Any
) -> None:
    client.submit_order(market("IBM", 7, client_order_id="kept"))
    resting = client.submit_order(limit("BAC", 5, "5", time_in_force=TimeInForce.GTC))
    before = client.get_clock().timestamp
    exchange.service.stop(timeout_s=10)
    again = make_exchange(paused=True, state_dir=str(tmp_path / "exchange-0"))
    client = TradingClient(KEY, SECRET, url_override=again.url)
    assert client.get_clock().timestamp >= before
    assert client.get_open_position("IBM").qty == "7"
    assert [order.id for order in client.get_orders()] == [resting.id]
    assert refusal(client, market("IBM", 1, client_order_id="kept")) == (422, 40010001)


def test_a_day_passes_and_its_worth_is_recorded(client: TradingClient, exchange: Any) -> None:
    client.submit_order(market("IBM", 100))
    resting = client.submit_order(limit("IBM", 1, "100"))
    exchange.call(step_s=3600)
    intraday = client.get_portfolio_history(
        GetPortfolioHistoryRequest(period="1D", timeframe="5Min")
    )
    assert len(intraday.timestamp) == 13
    assert len(set(intraday.equity)) > 1
    exchange.call(step_s=6 * 3600)
    assert client.get_order_by_id(resting.id).status is OrderStatus.EXPIRED
    account = client.get_account()
    daily = client.get_portfolio_history(GetPortfolioHistoryRequest(period="1M", timeframe="1D"))
    assert (
        float(account.last_equity or 0) == 100_000
    )  # the day isn't over before the post-market is
    queued = client.submit_order(market("IBM", 100, OrderSide.SELL))
    assert queued.status is OrderStatus.ACCEPTED
    exchange.call(step_s=1)
    exchange.call(step_s=60)
    assert client.get_clock().timestamp.day == 8
    assert client.get_order_by_id(queued.id).status is OrderStatus.FILLED
    assert daily.equity[-1] == pytest.approx(float(client.get_account().last_equity or 0))


def test_watchlists_and_configurations(client: TradingClient) -> None:
    made = client.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["IBM"]))
    client.add_asset_to_watchlist_by_id(made.id, "SPY")
    found = client.get_watchlist_by_id(made.id)
    assert [asset.symbol for asset in found.assets or []] == ["IBM", "SPY"]
    client.delete_watchlist_by_id(made.id)
    assert client.get_watchlists() == []
    configuration = client.get_account_configurations()
    configuration.no_shorting = True
    assert client.set_account_configurations(configuration).no_shorting
    assert refusal(client, market("IBM", 1, OrderSide.SELL)) == (403, 40310000)
