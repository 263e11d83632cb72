"""Any sequence of requests and of time, on the exchange over HTTP and on the slow model beside it."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import tempfile
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signal_bridge import Service
from tests.conformance.asking import Api
from tests.conformance.exchange_model import NEW_YORK, Model, Order, RefusedError, Tick

SYMBOLS = ("ONE", "TWO")
KINDS = ["market", *["limit"] * 4, "stop", "stop_limit", "trailing_stop"]
NEAR = st.one_of(st.integers(-4, 4), st.integers(-30, 30))
"""Cents from the last price."""
ORDERS = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(SYMBOLS), "side": st.sampled_from(["buy", "sell"]),
        "kind": st.sampled_from(KINDS),
        "tif": st.sampled_from(["day", "day", "day", "gtc", "ioc", "fok"]),
        "qty": st.one_of(st.integers(1, 50), st.integers(1, 400), st.integers(50, 4000)),
        "offset": NEAR, "distance": st.integers(1, 30), "by_percent": st.booleans(),
    }
)  # fmt: skip
DAYS = [date(2013, 10, day) for day in (7, 8, 9, 10)]
COLUMNS = {
    "quotes": ("symbol", "timestamp", "bid_price", "bid_size", "ask_price", "ask_size"),
    "trades": ("symbol", "timestamp", "price", "size"),
}


def walk(seed: int) -> list[Tick]:
    """Prices of all days that wander by some cents a minute, each tick at an instant of its own."""
    luck = random.Random(seed)
    ticks = []
    for place, symbol in enumerate(SYMBOLS):
        middle = 2000 + 8000 * place
        for day in DAYS:
            at = datetime(day.year, day.month, day.day, 9, 30, tzinfo=NEW_YORK)
            at += timedelta(seconds=luck.choice((2, 700)), milliseconds=place)
            while at.hour < 16:
                middle = max(200, middle + luck.randint(-12, 12))
                spread = luck.randint(2, 5)
                bid, ask = Decimal(middle - spread) / 100, Decimal(middle + spread) / 100
                ticks.append(Tick(at, symbol, bid=bid, ask=ask))
                at += timedelta(seconds=luck.randint(20, 60))
                price = Decimal(middle + luck.randint(-4, 4)) / 100
                ticks.append(Tick(at, symbol, price=price))
                at += timedelta(seconds=luck.randint(20, 200))
    return sorted((t for t in ticks if t.at.hour < 16), key=lambda tick: tick.at)


def record(folder: Path, ticks: list[Tick]) -> None:
    for name, columns in COLUMNS.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(columns)
            for tick in ticks:
                if (tick.price is None) == (name == "quotes"):
                    known = (
                        (tick.bid, 100, tick.ask, 100) if tick.price is None else (tick.price, 100)
                    )
                    rows.writerow((tick.symbol, tick.at.isoformat(), *known))


def number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


class Exchanges(RuleBasedStateMachine):
    """The exchange and its model, given the same."""

    @initialize(seed=st.integers(0, 1000), seconds=st.sampled_from([1, 900, 3600]))
    def begin(self, seed: int, seconds: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        ticks = walk(seed)
        record(self.folder, ticks)
        values = {
            "port": 0, "data_dir": str(self.folder), "paused": True, "partial_fills": False,
            "control": True, "close_pause_s": 0,
        }  # fmt: skip
        self.service = Service.start("paper-exchange", json.dumps(values))
        self.api = Api(f"http://127.0.0.1:{self.service.ports['exchange']}", "PKMODEL")
        self.model = Model(ticks, DAYS, self.market_time({}))
        self.ids: list[str] = []
        self.wait(seconds)

    def teardown(self) -> None:
        if hasattr(self, "service"):
            self.api.session.close()
            self.service.stop()
            shutil.rmtree(self.folder)

    def market_time(self, command: dict[str, Any]) -> datetime:
        return datetime.fromisoformat(
            json.loads(self.service.call(json.dumps(command)))["market_time"]
        )

    def both(self, method: str, path: str, body: Any, model: Any) -> None:
        """The same answer from both; a new order is remembered."""
        answer = self.api.answer(method, path, body)
        try:
            made, code = model(), None
        except RefusedError as refused:
            made, code = None, refused.code
        said = None if answer.ok else answer.json()["code"]
        assert said == code, f"the exchange says {answer.text}, the model {code or made}"
        if isinstance(made, Order):
            self.ids.append(answer.json()["id"])

    def price(self, symbol: str, offset: int) -> Decimal:
        return max(self.model.last.get(symbol, Decimal(50)) + Decimal(offset) / 100, Decimal(1))

    @rule(seconds=st.sampled_from([1, 5, 30, 90, 600, 3600, 20_000]))
    @precondition(lambda self: self.model.now.astimezone(NEW_YORK).date() < DAYS[-1])
    def wait(self, seconds: int) -> None:
        self.model.advance(self.market_time({"step_s": seconds}))

    @rule(pauses=st.lists(st.integers(20, 150), min_size=1, max_size=6))
    @precondition(lambda self: self.model.now.astimezone(NEW_YORK).date() < DAYS[-1])
    def go_on(self, pauses: list[int]) -> None:
        for seconds in pauses:
            self.wait(seconds)
            self.they_agree()

    @rule(orders=st.lists(ORDERS, min_size=1, max_size=5))
    def order(self, orders: list[dict[str, Any]]) -> None:
        for wishes in orders:
            self.place(**wishes)

    def place(
        self, symbol: str, side: str, kind: str, tif: str, qty: int, offset: int, distance: int,
        by_percent: bool,
    ) -> None:  # fmt: skip
        order = Order(symbol, side, kind, tif, Decimal(qty))
        if order.is_stop:
            order.tif = "gtc" if tif in ("gtc", "fok") else "day"
        if kind in ("limit", "stop_limit"):
            order.limit = self.price(symbol, offset)
        if kind in ("stop", "stop_limit"):
            order.stop = self.price(symbol, distance if side == "buy" else -distance)
            if by_percent and offset > 20:
                order.stop = self.price(symbol, -distance if side == "buy" else distance)
        if kind == "trailing_stop":
            order.trail_percent = Decimal(distance) / 10 if by_percent else None
            order.trail_price = None if by_percent else Decimal(distance) / 100
        fields = {
            "limit_price": order.limit, "stop_price": order.stop,
            "trail_price": order.trail_price, "trail_percent": order.trail_percent,
        }  # fmt: skip
        body = {"symbol": symbol, "side": side, "type": kind, "time_in_force": order.tif}
        body |= {"qty": str(qty)} | {k: str(v) for k, v in fields.items() if v is not None}
        self.both("POST", "/v2/orders", body, lambda: self.model.submit(order))

    @rule(which=st.integers(0, 10_000))
    @precondition(lambda self: self.ids)
    def cancel(self, which: int) -> None:
        index = which % len(self.ids)
        order = self.model.orders[index]
        path = f"/v2/orders/{self.ids[index]}"
        self.both("DELETE", path, None, lambda: self.model.cancel(order))

    @rule(
        which=st.integers(0, 10_000), qty=st.none() | st.integers(1, 3000),
        offset=st.none() | NEAR,
    )  # fmt: skip
    @precondition(lambda self: self.ids)
    def replace(self, which: int, qty: int | None, offset: int | None) -> None:
        index = which % len(self.ids)
        old = self.model.orders[index]
        price = None if offset is None else self.price(old.symbol, offset)
        body = {"qty": None if qty is None else str(qty)}
        body |= {} if price is None else {"limit_price": str(price)}
        wanted = None if qty is None else Decimal(qty)
        path = f"/v2/orders/{self.ids[index]}"
        self.both("PATCH", path, body, lambda: self.model.replace(old, wanted, price))

    @rule(symbol=st.sampled_from(SYMBOLS), percentage=st.integers(1, 100))
    @precondition(lambda self: self.ids)
    def close(self, symbol: str, percentage: int) -> None:
        path = f"/v2/positions/{symbol}?percentage={percentage}"
        self.both("DELETE", path, None, lambda: self.model.close(symbol, percentage))

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "api"):
            return
        shown = self.api.ask("GET", "/v2/orders?status=all&limit=500&direction=asc")
        assert [order["id"] for order in shown] == self.ids
        for order, model in zip(shown, self.model.orders, strict=True):
            assert order["status"] == model.status, (order, model)
            assert number(order["filled_avg_price"]) == model.filled_at, (order, model)
            assert number(order["stop_price"]) == model.stop, (order, model)
            assert number(order["hwm"]) == model.hwm, (order, model)
        positions = {p["symbol"]: p for p in self.api.ask("GET", "/v2/positions")}
        assert {
            name: (Decimal(p["qty"]), Decimal(p["cost_basis"])) for name, p in positions.items()
        } == {name: (held.qty, held.cost) for name, held in self.model.positions.items()}
        account = self.api.ask("GET", "/v2/account")
        long, short = self.model.values()
        assert {
            name: Decimal(account[name])
            for name in ("cash", "equity", "buying_power", "long_market_value", "short_market_value")
        } == {
            "cash": self.model.cash, "equity": self.model.equity,
            "buying_power": self.model.buying_power(),
            "long_market_value": long, "short_market_value": short,
        }  # fmt: skip


TestExchanges = Exchanges.TestCase
TestExchanges.settings = settings(
    max_examples=int(os.environ.get("EXAMPLES", "30")), stateful_step_count=30, deadline=None, phases=[Phase.generate], derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
