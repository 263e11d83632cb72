"""What a comparison makes of an open order that the broker's list lacks, and of one in doubt; the
journal is real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from console.broker.errors import BrokerNotFound
from console.engine.books import Books
from console.engine.clocks import SYSTEM_CLOCKS, MarketClock
from console.engine.journal import Journal
from console.engine.reconcile import PROVEN_AFTER, Reconciler
from console.engine.state import OrderState, OrderType, OrderView, Side, TimeInForce

NOW = datetime(2013, 6, 3, 14, 0, tzinfo=UTC)
THEIRS = {
    "id": "theirs-1",
    "client_order_id": "ours-1",
    "symbol": "IBM",
    "side": "buy",
    "type": "limit",
    "time_in_force": "day",
    "qty": "10",
    "limit_price": "180",
    "status": "new",
    "filled_qty": "0",
}
BY_THE_BROKER = BrokerNotFound("order not found", status=404, code=40410000)
BY_A_PROXY = BrokerNotFound("the broker answered HTTP 404 without a reason", status=404)


class Broker:
    """An account without positions and fills; `answer` is what it says of the one order."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.answer: Exception | dict[str, Any] = BY_THE_BROKER

    def orders(self, **_: Any) -> list[dict[str, Any]]:
        return self.listed

    def order(self, _identity: str, **_: Any) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def order_by_client_id(self, client_order_id: str) -> dict[str, Any]:
        return self.order(client_order_id)

    def positions(self) -> list[dict[str, Any]]:
        return []

    def activities(self, **_: Any) -> list[dict[str, Any]]:
        return []


class Here:
    """Reads at once; tells a gate that doesn't care."""

    async def run(self, call: Callable[[], Any], _priority: int) -> Any:
        return call()

    def order_changed(self, order: OrderView, price: Decimal | None) -> None: ...

    def position_changed(self, symbol: str, qty: Decimal, price: Decimal) -> None: ...

    def filled(self, order: OrderView, qty: Decimal, price: Decimal) -> None: ...


class Bench:
    def __init__(self, state_dir: Path) -> None:
        here, self.broker = Here(), Broker()
        self.journal = Journal.open(state_dir)
        self.books = Books(
            self.journal, lambda _event: None, here, SYSTEM_CLOCKS, MarketClock(), lambda _why: None
        )
        self.reconciler = Reconciler(
            self.broker,  # type: ignore[arg-type]
            self.books,
            here,  # type: ignore[arg-type]
            read_account=self.nothing,
        )
        self.books.record(
            OrderView(
                client_order_id="ours-1",
                id="theirs-1",
                symbol="IBM",
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                time_in_force=TimeInForce.DAY,
                qty=Decimal(10),
                limit_price=Decimal(180),
                state=OrderState.WORKING,
                created_at=NOW,
                updated_at=NOW,
            ),
            "it waits",
        )

    async def nothing(self) -> None: ...

    async def compared(self, times: int = 1) -> OrderState:
        for _ in range(times):
            await self.reconciler.run()
        return self.books.orders["ours-1"].state


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.journal.close()


async def test_an_order_is_gone_when_the_broker_has_said_so_often_enough(bench: Bench) -> None:
    assert await bench.compared(PROVEN_AFTER - 1) is OrderState.WORKING
    assert await bench.compared() is OrderState.CANCELED
    assert bench.books.orders["ours-1"].reason == "the broker no longer knows it"


async def test_a_404_that_isnt_the_brokers_own_ends_no_order(bench: Bench) -> None:
    bench.broker.answer = BY_A_PROXY
    assert await bench.compared(2 * PROVEN_AFTER) is OrderState.WORKING


@pytest.mark.parametrize("how", ["listed", "asked", "update"])
async def test_what_is_told_of_it_between_starts_the_count_anew(bench: Bench, how: str) -> None:
    await bench.compared(PROVEN_AFTER - 1)
    if how == "listed":
        bench.broker.listed = [THEIRS]
        await bench.compared()
        bench.broker.listed = []
    elif how == "asked":
        bench.broker.answer = THEIRS
        await bench.compared()
        bench.broker.answer = BY_THE_BROKER
    else:
        update = THEIRS | {
            "status": "partially_filled",
            "filled_qty": "4",
            "filled_avg_price": "180",
        }
        bench.books.told(update, "the broker: partial_fill")
        bench.books.set_positions({})
    state = bench.books.orders["ours-1"].state
    assert not state.is_final
    assert await bench.compared(PROVEN_AFTER - 1) is state
    assert await bench.compared() is OrderState.CANCELED


async def test_anothers_order_under_its_id_doesnt_settle_one_in_doubt(bench: Bench) -> None:
    ours = replace(bench.books.orders["ours-1"], id=None, state=OrderState.UNKNOWN)
    bench.books.record(ours, "no clear answer")
    filled = {"status": "filled", "filled_qty": "5", "filled_avg_price": "400"}
    anothers = {"id": "theirs-2", "symbol": "AAPL", "side": "sell", "qty": "5"}
    bench.broker.answer = THEIRS | anothers | filled
    first, second = await bench.reconciler.run(), await bench.reconciler.run()
    assert (first.changed, first.external, first.in_doubt) == ((), ("theirs-2",), ("ours-1",))
    assert (second.changed, second.external) == ((), ()), "it is told of once"
    assert bench.books.orders["ours-1"] == ours
    told = bench.books.orders["theirs-2"]
    assert (told.symbol, told.state, told.filled_qty) == ("AAPL", OrderState.FILLED, 5)
    bench.broker.answer = THEIRS
    assert await bench.compared() is OrderState.WORKING
    assert bench.books.orders["ours-1"].id == "theirs-1"
