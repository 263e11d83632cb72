"""Every answer of the exchange's market-data API, held against Alpaca's own description of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.asking import Api, checker

check = checker("data_schemas.json")
PERIOD = "start=2013-10-07T13:30:00Z&limit=5"
HISTORY = [("bars", "&timeframe=5Min"), ("quotes", ""), ("trades", ""), ("auctions", "")]


@pytest.fixture(scope="module")
def api(make_exchange_once: Callable[..., Any]) -> Api:
    return Api(make_exchange_once(paused=True, start="2013-10-08T15:00:00Z").url)


@pytest.mark.parametrize(("kind", "more"), HISTORY)
def test_history_is_described_as_it_is_page_by_page(api: Api, kind: str, more: str) -> None:
    many = f"/v2/stocks/{kind}?symbols=IBM,SPY&{PERIOD}{more}"
    page = api.ask("GET", many)
    check(f"GET /v2/stocks/{kind}", page)
    rows = sum(map(len, page[kind].values()))
    while token := page["next_page_token"]:
        page = api.ask("GET", f"{many}&page_token={token}")
        check(f"GET /v2/stocks/{kind}", page)
        rows += sum(map(len, page[kind].values()))
        if rows > 40:
            break
    assert rows >= 4
    one = api.ask("GET", f"/v2/stocks/IBM/{kind}?{PERIOD}{more}")
    check(f"GET /v2/stocks/{{symbol}}/{kind}", one)
    assert one[kind]


@pytest.mark.parametrize(
    "timeframe", ["1Min", "15Min", "59Min", "1Hour", "23Hour", "1Day", "1Week", "1Month", "12Month"]
)
@pytest.mark.parametrize("adjustment", ["raw", "split", "dividend", "all"])
def test_bars_of_each_timeframe_and_adjustment(api: Api, timeframe: str, adjustment: str) -> None:
    query = f"symbols=IBM&timeframe={timeframe}&adjustment={adjustment}&feed=sip&start=2012-01-01"
    page = api.ask("GET", f"/v2/stocks/bars?{query}&limit=10000")
    check("GET /v2/stocks/bars", page)
    assert page["bars"]["IBM"]


@pytest.mark.parametrize("kind", ["bars", "quotes", "trades"])
def test_the_latest_is_described_as_it_is(api: Api, kind: str) -> None:
    check(f"GET /v2/stocks/{kind}/latest", api.ask("GET", f"/v2/stocks/{kind}/latest?symbols=IBM"))
    one = api.ask("GET", f"/v2/stocks/IBM/{kind}/latest")
    check(f"GET /v2/stocks/{{symbol}}/{kind}/latest", one)


def test_everything_else_is_described_as_it_is(api: Api) -> None:
    snapshots = api.ask("GET", "/v2/stocks/snapshots?symbols=IBM,SPY")
    check("GET /v2/stocks/snapshots", snapshots)
    assert set(snapshots) == {"IBM", "SPY"}
    check("GET /v2/stocks/{symbol}/snapshot", api.ask("GET", "/v2/stocks/IBM/snapshot"))
    check("GET /v2/stocks/meta/exchanges", api.ask("GET", "/v2/stocks/meta/exchanges"))
    for kind in ("trade", "quote"):
        conditions = api.ask("GET", f"/v2/stocks/meta/conditions/{kind}?tape=A")
        check("GET /v2/stocks/meta/conditions/{ticktype}", conditions)
    actions = api.ask("GET", "/v1/corporate-actions?symbols=IBM")
    check("GET /v1/corporate-actions", actions)


def test_the_schemas_would_notice() -> None:
    with pytest.raises(AssertionError, match="next_page_token"):
        check("GET /v2/stocks/bars", {"bars": {}})
