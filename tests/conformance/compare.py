"""Where the paper exchange and Alpaca's paper account differ, for whoever has keys of the latter.

    ALPACA_API_KEY=… ALPACA_SECRET_KEY=… python -m tests.conformance.compare \\
        --exchange http://127.0.0.1:8090 [--symbol SPY]

Sends both the same requests: reads, requests that are refused, and one limit order far from the
market, which is replaced and canceled. Compares status, code, headers and the shape of the JSON, never
values: prices and times differ anyway. Prints each difference and ends with 1 if there is any. Start
the exchange with a recording that holds the symbol.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from tests.conformance.asking import Api

PAPER = "https://paper-api.alpaca.markets"
DATA = "https://data.alpaca.markets"
HEADERS = ("Content-Type", "X-RateLimit-Limit", "X-Request-ID")

Shape = Any


def shape(value: Any) -> Shape:
    """The JSON with its values taken out: names, types, and one item of each list."""
    match value:
        case dict():
            return {name: shape(item) for name, item in sorted(value.items())}
        case list():
            return [shape(value[0])] if value else []
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case None:
            return "null"
        case _:
            return "text"


def differences(ours: Shape, theirs: Shape, where: str = "") -> Iterator[str]:
    """What is missing, what is too much and what is of another type; null goes with everything."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in theirs:
                yield f"{where}/{name}: only here"
            elif name not in ours:
                yield f"{where}/{name}: only at Alpaca"
            else:
                yield from differences(ours[name], theirs[name], f"{where}/{name}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        if ours and theirs:
            yield from differences(ours[0], theirs[0], f"{where}[]")
    elif ours != theirs and "null" not in (ours, theirs):
        yield f"{where or '/'}: {ours} here, {theirs} at Alpaca"


def requests_of(symbol: str) -> list[tuple[str, str, Any]]:
    """Reads and refusals: method, path, body."""
    order = {"symbol": symbol, "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    limit = {**order, "type": "limit", "limit_price": "1.00"}
    nowhere = "61e69015-8549-4bfd-b9c3-01e75843f47d"
    reads = [
        "/v2/account", "/v2/account/configurations", "/v2/account/activities?page_size=1",
        "/v2/account/portfolio/history?period=1D&timeframe=5Min", "/v2/clock",
        "/v2/calendar?start=2013-10-07&end=2013-10-08", f"/v2/assets/{symbol}", "/v2/positions",
        "/v2/orders?status=all&limit=1&nested=true", "/v2/watchlists", "/v2/nothing",
        "/v2/assets/NOSUCHTHING", f"/v2/orders/{nowhere}", "/v2/positions/NOSUCHTHING",
        "/v2/orders?limit=0", "/v2/orders?status=x", f"/v2/stocks/{symbol}/bars?timeframe=1Day",
        f"/v2/stocks/{symbol}/snapshot", f"/v2/stocks/quotes/latest?symbols={symbol}",
        f"/v2/stocks/trades/latest?symbols={symbol}", "/v2/stocks/bars?symbols=&timeframe=x",
    ]  # fmt: skip
    refused: list[dict[str, Any]] = [
        {}, {**order, "qty": "-1"}, {**order, "qty": "x"}, {**order, "side": "hold"},
        {**order, "symbol": "NOSUCHTHING"}, {**order, "qty": "100000000"},
        {**order, "notional": "10"}, {**order, "client_order_id": "x" * 129},
        {**limit, "limit_price": "1.001"}, {**limit, "limit_price": None},
        {**limit, "extended_hours": True, "time_in_force": "ioc"},
        {**limit, "qty": "0.5", "time_in_force": "gtc"}, {**order, "order_class": "bracket"},
    ]  # fmt: skip
    return [
        *(("GET", path, None) for path in reads),
        *(("POST", "/v2/orders", body) for body in refused),
        ("DELETE", f"/v2/orders/{nowhere}", None),
        ("PATCH", f"/v2/orders/{nowhere}", {"qty": "2"}),
    ]


class Both:
    """The exchange and Alpaca, asked the same."""

    def __init__(self, ours: Api, theirs: Api, data: Api) -> None:
        self.ours, self.theirs, self.data = ours, theirs, data
        self.count = self.different = 0

    def ask(self, method: str, path: str, body: Any = None, *, other: str = "") -> tuple[Any, Any]:
        """Ask both (Alpaca at `other` if that is given) and print where the answers differ."""
        theirs = self.data if path.startswith("/v2/stocks") else self.theirs
        here = self.ours.answer(method, path, body)
        there = theirs.answer(method, other or path, body)
        found = []
        if here.status_code != there.status_code:
            found.append(f"status {here.status_code} here, {there.status_code} at Alpaca")
        documents = [answer.json() if answer.content else None for answer in (here, there)]
        codes = [
            document.get("code") if isinstance(document, dict) else None for document in documents
        ]
        if codes[0] != codes[1]:
            found.append(f"code {codes[0]} here, {codes[1]} at Alpaca")
        found += [
            f"header {name}: {'only at Alpaca' if name in there.headers else 'only here'}"
            for name in HEADERS
            if (name in here.headers) != (name in there.headers)
        ]
        found += differences(*map(shape, documents))
        self.count += 1
        self.different += bool(found)
        for line in found:
            print(f"{method} {path} {body or ''}\n   {line}")
        return documents[0], documents[1]


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--exchange", default="http://127.0.0.1:8090")
    options.add_argument("--symbol", default="SPY")
    chosen = options.parse_args()
    keys = [os.environ.get(name, "") for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY")]
    if not all(keys):
        print(
            "set ALPACA_API_KEY and ALPACA_SECRET_KEY to those of a paper account", file=sys.stderr
        )
        return 78
    both = Both(Api(chosen.exchange, "PKCOMPARE", "s"), Api(PAPER, *keys), Api(DATA, *keys))
    for method, path, body in requests_of(chosen.symbol):
        both.ask(method, path, body)
    order = {
        "symbol": chosen.symbol, "qty": "1", "side": "buy", "type": "limit", "limit_price": "1.00",
        "time_in_force": "gtc", "client_order_id": uuid.uuid4().hex,
    }  # fmt: skip
    here, there = both.ask("POST", "/v2/orders", order)
    both.ask("POST", "/v2/orders", order)
    for method, body in (("GET", None), ("PATCH", {"limit_price": "1.01"})):
        at = [f"/v2/orders/{made['id']}" for made in (here, there)]
        made = both.ask(method, at[0], body, other=at[1])
        here, there = made
    for _ in range(2):
        at = [f"/v2/orders/{made['id']}" for made in (here, there)]
        both.ask("DELETE", at[0], other=at[1])
    print(f"{both.count} requests, {both.different} answered differently")
    return 1 if both.different else 0


if __name__ == "__main__":
    sys.exit(main())
