"""Every answer of the exchange's trading API, held against Alpaca's own description of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.asking import Api, checker

check = checker("trading_schemas.json")


@pytest.fixture
def api(make_exchange: Callable[..., Any]) -> Api:
    running = make_exchange(paused=True)
    running.call(step_s=150)
    return Api(running.url)


ORDERS: list[dict[str, Any]] = [
    {},
    {"qty": None, "notional": "500"},
    {"qty": "0.5"},
    {"side": "sell", "symbol": "BAC"},
    {"type": "limit", "limit_price": "100"},
    {"type": "limit", "limit_price": "100", "time_in_force": "gtc", "extended_hours": True},
    {"type": "stop", "stop_price": "300"},
    {"type": "stop_limit", "stop_price": "300", "limit_price": 301},
    {"type": "trailing_stop", "trail_percent": 1.5},
    {"type": "trailing_stop", "trail_price": "2"},
    {"time_in_force": "ioc"},
    {"time_in_force": "cls"},
    {
        "order_class": "bracket",
        "take_profit": {"limit_price": "300"},
        "stop_loss": {"stop_price": "100", "limit_price": "99"},
    },
    {"order_class": "oto", "stop_loss": {"stop_price": "100"}},
]


@pytest.mark.parametrize("fields", ORDERS, ids=lambda fields: " ".join(map(str, fields.values())))
def test_an_order_is_described_as_it_is(api: Api, fields: dict[str, Any]) -> None:
    order = api.order(**fields)
    check("POST /v2/orders", order)
    check("GET /v2/orders/{order_id}", api.ask("GET", f"/v2/orders/{order['id']}?nested=true"))
    by_client_id = f"/v2/orders:by_client_order_id?client_order_id={order['client_order_id']}"
    assert api.ask("GET", by_client_id)["id"] == order["id"]
    for query in ("status=all", "status=all&nested=true", "status=open", "status=closed"):
        check("GET /v2/orders", api.ask("GET", f"/v2/orders?{query}"))


def test_every_other_answer_is_described_as_it_is(api: Api) -> None:
    api.order()
    api.order(side="sell", symbol="BAC")
    resting = api.order(type="limit", limit_price="100")
    replaced = api.ask("PATCH", f"/v2/orders/{resting['id']}", {"limit_price": "101"})
    check("PATCH /v2/orders/{order_id}", replaced)
    check("GET /v2/account", api.ask("GET", "/v2/account"))
    check("GET /v2/clock", api.ask("GET", "/v2/clock"))
    check("GET /v2/calendar", api.ask("GET", "/v2/calendar?start=2013-01-01&end=2013-12-31"))
    check("GET /v2/assets", api.ask("GET", "/v2/assets?status=active"))
    check("GET /v2/assets/{symbol_or_asset_id}", api.ask("GET", "/v2/assets/IBM"))
    check("GET /v2/positions", api.ask("GET", "/v2/positions"))
    check("GET /v2/positions/{symbol_or_asset_id}", api.ask("GET", "/v2/positions/BAC"))
    check("GET /v2/account/activities", api.ask("GET", "/v2/account/activities"))
    fills = api.ask("GET", "/v2/account/activities/FILL")
    # The description of one type says oneOf of two schemas that both fit; of all types, anyOf.
    check("GET /v2/account/activities", fills)
    check("GET /v2/account/portfolio/history", api.ask("GET", "/v2/account/portfolio/history"))
    configurations = "/v2/account/configurations"
    check(f"GET {configurations}", api.ask("GET", configurations))
    check(f"PATCH {configurations}", api.ask("PATCH", configurations, {"no_shorting": False}))
    announcements = "/v2/corporate_actions/announcements"
    period = "ca_types=dividend&since=2013-10-01&until=2013-10-31"
    check(f"GET {announcements}", api.ask("GET", f"{announcements}?{period}"))
    check("DELETE /v2/orders", api.ask("DELETE", "/v2/orders"))
    closed = api.ask("DELETE", "/v2/positions/IBM?percentage=50")
    check("DELETE /v2/positions/{symbol_or_asset_id}", closed)
    check("DELETE /v2/positions", api.ask("DELETE", "/v2/positions?cancel_orders=true"))
    made = api.ask("POST", "/v2/watchlists", {"name": "mine", "symbols": ["IBM", "SPY"]})
    check("POST /v2/watchlists", made)
    path = f"/v2/watchlists/{made['id']}"
    check("GET /v2/watchlists", api.ask("GET", "/v2/watchlists"))
    check("GET /v2/watchlists/{watchlist_id}", api.ask("GET", path))
    check("PUT /v2/watchlists/{watchlist_id}", api.ask("PUT", path, {"symbols": ["BAC"]}))
    check("POST /v2/watchlists/{watchlist_id}", api.ask("POST", path, {"symbol": "AIG"}))
    check("DELETE /v2/watchlists/{watchlist_id}/{symbol}", api.ask("DELETE", f"{path}/BAC"))
    check("GET /v2/watchlists:by_name", api.ask("GET", "/v2/watchlists:by_name?name=mine"))
    assert api.ask("DELETE", path) is None


def test_activities_come_in_pages(api: Api) -> None:
    for _ in range(7):
        api.order(qty="1")
    pages: list[str] = []
    token = ""
    while page := api.ask("GET", f"/v2/account/activities/FILL?page_size=3&page_token={token}"):
        pages += [activity["id"] for activity in page]
        token = pages[-1]
    assert len(pages) == len(set(pages)) == 7
    oldest_first = api.ask("GET", "/v2/account/activities/FILL?direction=asc")
    assert [activity["id"] for activity in oldest_first] == pages[::-1]


def test_the_schemas_would_notice() -> None:
    with pytest.raises(AssertionError, match="is_open"):
        check("GET /v2/clock", {"timestamp": "x", "next_open": "x", "next_close": "x"})
