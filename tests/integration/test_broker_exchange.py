"""The broker's clients against the embedded exchange itself, its clock under the test's hand."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import console
from console.broker import AlpacaPaperTrading, OrderType, TimeFrame
from console.broker.endpoint import Endpoint, Secret
from console.broker.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerNotFound,
    BrokerRefused,
    DuplicateOrderId,
)
from console.broker.orders import OrderInvalid
from console.broker.session import BrokerSession
from console.broker.streams import MarketUpdates, StreamStatus, TradeUpdates
from signal_bridge import Service

LIMIT_S = 30.0


class Exchange:
    def __init__(self) -> None:
        settings = {
            "host": "127.0.0.1",
            "port": 0,
            "data_dir": str(Path(console.__file__).parent / "sample"),
            "state_dir": None,
            "partial_fills": False,
            "paused": True,
        }
        self.service = Service.start("paper-exchange", json.dumps(settings))
        self.url = f"http://127.0.0.1:{self.service.ports['exchange']}"

    def step(self, seconds: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.service.call(json.dumps({"step_s": seconds})))
        return answer

    def endpoint(self, key_id: str, secret: str = "test-secret") -> Endpoint:
        return Endpoint(
            key_id=key_id, secret_key=Secret(secret), trading_url=self.url, requests_per_minute=0
        )


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    exchange = Exchange()
    try:
        exchange.step(120)  # to a minute and a half after the open
        yield exchange
    finally:
        exchange.service.stop()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An account of the test's own."""
    return "PK" + "".join(c for c in request.node.name.upper() if c.isalnum())[:26]


@pytest.fixture
def client(exchange: Exchange, key: str) -> Iterator[AlpacaPaperTrading]:
    client = AlpacaPaperTrading(key, "test-secret", base_url=exchange.url, requests_per_minute=0)
    try:
        yield client
    finally:
        client.close()


class Told:
    """What a stream told, and a wait for it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def __call__(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def until(self, condition: Callable[[list[dict[str, Any]]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.messages), LIMIT_S), self.messages


def until_status(client: AlpacaPaperTrading, order_id: str, status: str) -> Any:
    for _ in range(500):
        order = client.get_order_status(order_id)
        if order.status == status:
            return order
    raise AssertionError(f"{order} is not {status}")


def test_a_new_account_has_its_hundred_thousand(client: AlpacaPaperTrading) -> None:
    metrics = client.connect()
    assert metrics.total_equity == metrics.cash == Decimal(100_000)
    assert metrics.positions_count == 0
    assert metrics.timestamp.year == 2013
    assert isinstance(metrics.buying_power, Decimal)
    assert client.get_positions() == []


def test_a_wrong_secret_is_refused(
    exchange: Exchange, client: AlpacaPaperTrading, key: str
) -> None:
    client.connect()
    with pytest.raises(BrokerAuthError):
        AlpacaPaperTrading(key, "another", base_url=exchange.url).connect()


def test_an_order_is_bought_held_and_closed(client: AlpacaPaperTrading) -> None:
    told = Told()
    client.start_streaming(told)
    assert client.is_streaming
    quote = client.get_latest_quote("IBM")
    order = client.place_order(symbol="IBM", qty=10, side="buy")
    told.until(lambda messages: any(m["event"] == "fill" for m in messages))
    filled = until_status(client, order.id, "filled")
    assert filled.filled_qty == 10
    assert filled.filled_avg_price == quote.ask_price
    (position,) = client.get_positions()
    assert (position.symbol, position.qty, position.side) == ("IBM", 10, "long")
    assert position.avg_entry_price == quote.ask_price
    assert position.market_value == position.current_price * 10
    assert client.get_risk_metrics().gross_exposure == position.market_value
    client.close_position("IBM")
    told.until(lambda messages: sum(m["event"] == "fill" for m in messages) == 2)
    assert client.get_position("IBM") is None
    client.stop_streaming()
    assert not client.is_streaming
    # Bought at the ask and sold at the bid.
    assert client.connect().total_equity == 100_000 - 10 * quote.spread  # type: ignore[operator]


def test_validate_only_sends_nothing(client: AlpacaPaperTrading) -> None:
    checked = client.place_order(
        symbol="IBM",
        qty=10,
        side="buy",
        order_type=OrderType.LIMIT,
        limit_price=150.0,
        validate_only=True,
    )
    assert checked.validated_only
    assert (checked.id, checked.status, checked.limit_price) == ("", "validated", 150)
    assert client.get_orders("all") == []
    with pytest.raises(OrderInvalid, match="buying power"):
        client.place_order(symbol="IBM", qty=100_000, side="buy", validate_only=True)


def test_an_unknown_symbol_is_said_before_anything_is_sent(client: AlpacaPaperTrading) -> None:
    with pytest.raises(BrokerNotFound):
        client.place_order(symbol="NOSUCH", qty=1, side="buy")
    assert client.get_orders("all") == []


def test_orders_rest_are_replaced_and_canceled(client: AlpacaPaperTrading) -> None:
    first = client.place_order(
        symbol="IBM", qty=5, side="buy", order_type="limit", limit_price=100, time_in_force="gtc"
    )
    second = client.replace_order(first.id, limit_price=101, qty=6)
    assert second.replaces == first.id
    assert (second.limit_price, second.qty) == (101, 6)
    client.cancel_order(second.id)
    assert until_status(client, second.id, "canceled").filled_qty == 0
    with pytest.raises(BrokerRefused):
        client.cancel_order(second.id)
    for price in (90, 91, 92):
        client.place_order(symbol="IBM", qty=1, side="buy", order_type="limit", limit_price=price)
    results = client.cancel_all_orders()
    assert len(results) == 3
    assert all(result.done for result in results)
    assert client.get_orders() == []


def test_all_is_closed_at_once(client: AlpacaPaperTrading) -> None:
    for symbol in ("IBM", "SPY"):
        order = client.place_order(symbol=symbol, qty=2, side="buy")
        until_status(client, order.id, "filled")
    client.place_order(symbol="IBM", qty=1, side="buy", order_type="limit", limit_price=90)
    results = client.close_all_positions()
    assert {result.id for result in results} == {"IBM", "SPY"}
    for result in results:
        assert result.order is not None
        until_status(client, result.order.id, "filled")
    assert client.get_positions() == []
    assert client.get_orders() == []


def test_an_id_used_twice_is_recognised(exchange: Exchange, key: str) -> None:
    session = BrokerSession(exchange.endpoint(key))
    order = {
        "client_order_id": "mine",
        "symbol": "IBM",
        "qty": "1",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "limit_price": "100",
    }
    sent = session.submit_order(order)
    with pytest.raises(DuplicateOrderId):
        session.submit_order(order)
    assert session.order_by_client_id("mine")["id"] == sent["id"]
    with pytest.raises(BrokerNotFound):
        session.order_by_client_id("not mine")
    session.close()


def test_the_broker_says_why_not(client: AlpacaPaperTrading) -> None:
    with pytest.raises(BrokerRefused) as caught:
        client.place_order(symbol="IBM", qty=5_000, side="buy")
    assert (caught.value.status, caught.value.code) == (403, 40310000)


def test_orders_made_in_one_instant_are_all_listed(exchange: Exchange, key: str) -> None:
    """The clock stands still, so that all are of one time."""
    session = BrokerSession(exchange.endpoint(key))
    sent = [
        session.submit_order(
            {
                "client_order_id": f"o-{number}",
                "symbol": "BAC",
                "qty": "1",
                "side": "buy",
                "type": "limit",
                "time_in_force": "day",
                "limit_price": "1",
            }
        )["id"]
        for number in range(30)
    ]
    assert {order["id"] for order in session.orders()} == set(sent)
    session.cancel_all_orders()
    session.close()


def test_fills_are_activities_after_the_last_one_known(
    exchange: Exchange, client: AlpacaPaperTrading
) -> None:
    orders = [client.place_order(symbol="IBM", qty=n, side="buy") for n in (1, 2)]
    for order in orders:
        until_status(client, order.id, "filled")
    fills = client.session.activities(activity_types=["FILL"])
    assert [fill["order_id"] for fill in fills] == [order.id for order in orders]
    later = client.session.activities(activity_types=["FILL"], page_token=fills[0]["id"])
    assert [fill["id"] for fill in later] == [fills[1]["id"]]


def test_bars_over_several_time_frames(client: AlpacaPaperTrading) -> None:
    now = client.market_time()
    bars = client.get_bars_over_timeframes("IBM", (TimeFrame.MINUTE, "5Min", "1Hour"), limit=2)
    assert set(bars) == {"1Min", "5Min", "1Hour"}
    for series in bars.values():
        assert series
        assert all(bar.low <= bar.open <= bar.high for bar in series)
        assert all(bar.timestamp <= now for bar in series)
        assert [bar.timestamp for bar in series] == sorted(bar.timestamp for bar in series)
        assert all(isinstance(bar.close, Decimal) for bar in series)


def test_the_market_has_a_clock_a_calendar_and_assets(exchange: Exchange, key: str) -> None:
    session = BrokerSession(exchange.endpoint(key))
    assert session.clock()["is_open"] is True
    assert session.asset("IBM")["tradable"] is True
    assert {"IBM", "SPY"} <= {asset["symbol"] for asset in session.assets()}
    days = session.calendar(start="2013-10-07", end="2013-10-11")
    assert days[0]["date"] == "2013-10-07"
    snapshot = session.snapshots(["IBM", "SPY"])["IBM"]
    assert snapshot["latestQuote"]["ap"] >= snapshot["latestQuote"]["bp"]
    assert set(session.latest_trades(["IBM"])) == {"IBM"}
    assert set(session.latest_bars(["IBM"])) == {"IBM"}
    assert session.stats().failures == 0
    session.close()


async def test_market_data_moves_with_the_clock(exchange: Exchange, key: str) -> None:
    told: list[dict[str, Any]] = []
    connected, moved = asyncio.Event(), asyncio.Event()

    def on_message(message: dict[str, Any]) -> None:
        told.append(message)
        if {item["T"] for item in told} >= {"b", "q"}:
            moved.set()

    stream = MarketUpdates(
        exchange.endpoint(key),
        on_message,
        lambda state: connected.set() if state.status is StreamStatus.CONNECTED else None,
        bars=["IBM"],
        quotes=["IBM"],
    )
    task = asyncio.create_task(stream.run())
    try:
        await asyncio.wait_for(connected.wait(), LIMIT_S)
        await asyncio.to_thread(exchange.step, 90)
        await asyncio.wait_for(moved.wait(), LIMIT_S)
    finally:
        stream.stop()
        await asyncio.wait_for(task, LIMIT_S)
    assert {message["S"] for message in told} == {"IBM"}
    assert not any(isinstance(value, float) for message in told for value in message.values())


async def test_wrong_keys_end_the_stream(exchange: Exchange, key: str) -> None:
    await asyncio.to_thread(BrokerSession(exchange.endpoint(key)).account)
    stream = TradeUpdates(exchange.endpoint(key, "another"), lambda _: None, lambda _: None)
    with pytest.raises(BrokerError):
        await asyncio.wait_for(stream.run(), LIMIT_S)
