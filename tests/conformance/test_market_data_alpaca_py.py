"""alpaca-py's stock-data clients against the embedded exchange, over real sockets."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.models import Bar, BarSet, Quote, Trade
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

NOW = dt.datetime(2013, 10, 8, 15, 0, tzinfo=dt.UTC)
MONDAY = dt.datetime(2013, 10, 7, 13, 30, tzinfo=dt.UTC)


@pytest.fixture
def paused(make_exchange: Callable[..., Any]) -> Any:
    """An exchange whose market time stands at `NOW`."""
    return make_exchange(paused=True, start=NOW.isoformat())


@pytest.fixture
def client(paused: Any) -> StockHistoricalDataClient:
    return StockHistoricalDataClient("PKDATA", "secret", url_override=paused.url)


def test_latest_prices_and_snapshots_parse(client: StockHistoricalDataClient) -> None:
    symbols = ["SPY", "IBM", "UNKNOWN"]
    quotes = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=symbols))
    trades = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=symbols))
    bars = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=symbols))
    assert set(quotes) == set(trades) == set(bars) == {"SPY", "IBM"}
    assert 0 < quotes["SPY"].bid_price <= quotes["SPY"].ask_price
    assert quotes["SPY"].timestamp <= NOW
    assert trades["SPY"].timestamp <= NOW
    assert bars["SPY"].timestamp == NOW - dt.timedelta(minutes=1)
    snapshot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=symbols))["SPY"]
    assert snapshot.previous_daily_bar is not None
    assert snapshot.previous_daily_bar.close == 167.42
    assert snapshot.daily_bar is not None
    assert snapshot.daily_bar.timestamp.date() == NOW.date()
    assert snapshot.minute_bar == bars["SPY"]


@pytest.mark.parametrize(
    ("timeframe", "count"),
    [
        (TimeFrame.Minute, 390 + 90),
        (TimeFrame(15, TimeFrameUnit.Minute), 26 + 6),
        (TimeFrame.Day, 2),
        (TimeFrame.Week, 1),
    ],
)
def test_bars_of_each_timeframe_parse(
    client: StockHistoricalDataClient, timeframe: TimeFrame, count: int
) -> None:
    midnight = MONDAY.replace(hour=4, minute=0)
    request = StockBarsRequest(
        symbol_or_symbols="SPY",
        timeframe=timeframe,
        start=midnight,
        feed=DataFeed.IEX,
        adjustment=Adjustment.ALL,
    )
    bars = client.get_stock_bars(request)["SPY"]
    times = [bar.timestamp for bar in bars]
    hours = (dt.time(13, 30), dt.time(20, 0))
    regular = [time for time in times if hours[0] <= time.time() < hours[1]]
    assert len(regular if timeframe.unit_value == TimeFrameUnit.Minute else times) == count
    assert times == sorted(times)
    assert all(bar.low <= bar.vwap <= bar.high for bar in bars)


def test_pages_are_followed_to_the_end(client: StockHistoricalDataClient) -> None:
    request = StockTradesRequest(
        symbol_or_symbols=["SPY", "BAC"], start=MONDAY, end=MONDAY + dt.timedelta(hours=3)
    )
    trades = client.get_stock_trades(request)
    assert len(trades["SPY"]) > 10_000, "more than a page holds"
    assert [trade.id for trade in trades["SPY"]] == sorted({trade.id for trade in trades["SPY"]})
    quotes = client.get_stock_quotes(
        StockQuotesRequest(symbol_or_symbols="BAC", start=MONDAY, limit=25)
    )
    assert len(quotes["BAC"]) == 25


def test_nothing_there_is_empty_and_nonsense_is_refused(client: StockHistoricalDataClient) -> None:
    request = StockBarsRequest(symbol_or_symbols="NONE", timeframe=TimeFrame.Day, start=MONDAY)
    bars = client.get_stock_bars(request)
    assert isinstance(bars, BarSet)
    assert bars.data == {}
    with pytest.raises(APIError, match="invalid symbol"):
        client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="N*NE"))


def test_wrong_keys_are_refused(paused: Any, client: StockHistoricalDataClient) -> None:
    request = StockLatestQuoteRequest(symbol_or_symbols="SPY")
    client.get_stock_latest_quote(request)
    for key, secret in (("PKDATA", "another"), ("AKLIVE", "secret")):
        other = StockHistoricalDataClient(key, secret, url_override=paused.url)
        with pytest.raises(APIError) as refused:
            other.get_stock_latest_quote(request)
        assert refused.value.status_code == 403


def test_the_stream_brings_bars_quotes_and_trades(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(speed=600)
    stream = StockDataStream(
        "PKDATA", "secret", url_override=f"ws://127.0.0.1:{exchange.port}/v2/iex"
    )
    heard: dict[type, list[Any]] = {Bar: [], Quote: [], Trade: []}
    enough = threading.Event()

    async def hear(message: Any) -> None:
        heard[type(message)].append(message)
        if all(len(messages) >= 20 for messages in heard.values()) and not enough.is_set():
            enough.set()
            await stream.stop_ws()

    stream.subscribe_bars(hear, "SPY", "BAC")
    stream.subscribe_quotes(hear, "IBM")
    stream.subscribe_trades(hear, "*")
    runner = threading.Thread(target=stream.run, daemon=True)
    runner.start()
    assert enough.wait(30)
    runner.join(10)

    assert {bar.symbol for bar in heard[Bar]} == {"SPY", "BAC"}
    assert {quote.symbol for quote in heard[Quote]} == {"IBM"}
    assert len({trade.symbol for trade in heard[Trade]}) > 1
    for messages in heard.values():
        times = [message.timestamp for message in messages]
        assert times == sorted(times)
        assert times[0].tzinfo is not None
