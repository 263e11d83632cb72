"""What becomes of an order for each answer that a broker can give; the journal is a real one."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from console.broker.errors import (
    BrokerAuthError,
    BrokerNotFound,
    BrokerRateLimited,
    BrokerRefused,
    BrokerUnavailable,
    DuplicateOrderId,
    OutcomeUnknown,
)
from console.engine.books import Books
from console.engine.clocks import SYSTEM_CLOCKS, MarketClock
from console.engine.events import Event, OrderChanged
from console.engine.execution import LOOK_UP_AFTER_S, BrokerThread, Execution, Priority
from console.engine.journal import Journal
from console.engine.order_rows import SentAt
from console.engine.state import OrderState, OrderType, OrderView, Side, TimeInForce

NOW = datetime(2013, 6, 3, 14, 0, tzinfo=UTC)
D = Decimal
S = OrderState


class Reserved:
    """Remembers what the gate was told."""

    def __init__(self) -> None:
        self.states: dict[str, OrderState] = {}

    def order_changed(self, order: OrderView, price: Decimal | None) -> None:
        self.states[order.client_order_id] = order.state

    def position_changed(self, symbol: str, qty: Decimal, price: Decimal) -> None: ...

    def filled(self, order: OrderView, qty: Decimal, price: Decimal) -> None: ...


class Broker:
    """Answers as it is told to; remembers what arrived and what was on disk by then."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.answers: list[Exception | dict[str, Any]] = []
        self.look_ups: list[Exception | dict[str, Any]] = []
        self.posts: list[dict[str, Any]] = []
        self.asked = 0
        self.on_disk_at_post: list[str] = []

    def submit_order(
        self, request: dict[str, Any], *, before: Callable[[], None]
    ) -> dict[str, Any]:
        before()
        self.posts.append(request)
        self.on_disk_at_post += self._on_disk(request["client_order_id"])
        return self._answer(self.answers)

    def order_by_client_id(self, client_order_id: str) -> dict[str, Any]:
        self.asked += 1
        return self._answer(self.look_ups)

    @staticmethod
    def _answer(answers: list[Exception | dict[str, Any]]) -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _on_disk(self, client_order_id: str) -> list[str]:
        connection = sqlite3.connect(self.journal.path)
        rows = connection.execute(
            "SELECT json_extract(body, '$.order.state') FROM journal "
            "WHERE subject=? AND kind='order'",
            (client_order_id,),
        ).fetchall()
        connection.close()
        return [row[0] for row in rows]


class Bench:
    """An execution with everything around it that is real, and a broker that isn't."""

    def __init__(self, state_dir) -> None:
        self.journal = Journal.open(state_dir)
        self.events: list[Event] = []
        self.reserved = Reserved()
        self.failures: list[str] = []
        self.auth_errors: list[str] = []
        self.doubts: list[str] = []
        self.slept: list[float] = []
        self.now_s = 0.0
        self.halted: str | None = None
        self.meanwhile: Callable[[], None] | None = None
        self.broker = Broker(self.journal)
        self.books = Books(
            self.journal,
            self.events.append,
            self.reserved,
            SYSTEM_CLOCKS,
            MarketClock(),
            self.failures.append,
        )
        self.threads = [
            BrokerThread(name, lambda error: self.auth_errors.append(str(error)))
            for name in ("orders", "reads", "cancels")
        ]
        self.execution = Execution(
            self.broker,
            self.books,
            orders=self.threads[0],
            reads=self.threads[1],
            cancels=self.threads[2],
            may_send=lambda _order: self.halted,
            on_doubt=lambda order: self.doubts.append(order.client_order_id),
            sleep=self.sleep,
            clock=lambda: self.now_s,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.meanwhile is not None:
            self.meanwhile()

    async def submit(self, client_order_id: str = "ours-1", source: str = "") -> OrderView:
        order = OrderView(
            client_order_id=client_order_id,
            symbol="IBM",
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.DAY,
            qty=D(100),
            limit_price=D("182.50"),
            state=S.INTENT,
            source=source,
            created_at=NOW,
            updated_at=NOW,
        )
        return await self.execution.submit(order, sent_at=SentAt(D("182.50")), command_id="cmd-1")

    def states(self) -> list[OrderState]:
        return [e.order.state for e in self.events if isinstance(e, OrderChanged)]

    def close(self) -> None:
        for thread in self.threads:
            thread.stop()
        assert all(thread.join(10) for thread in self.threads)
        self.journal.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def accepted(status: str = "new", **fields: Any) -> dict[str, Any]:
    return {
        "id": "theirs-1",
        "client_order_id": "ours-1",
        "symbol": "IBM",
        "side": "buy",
        "type": "limit",
        "qty": "100",
        "limit_price": "182.5",
        "status": status,
        "filled_qty": "0",
    } | fields


UNKNOWN = OutcomeUnknown("no answer in time")
NOT_FOUND = BrokerNotFound("no such order", status=404)


async def test_sending_is_on_disk_before_the_one_post(bench):
    bench.broker.answers = [accepted()]
    order = await bench.submit()
    assert bench.broker.on_disk_at_post == ["SENDING"]
    assert len(bench.broker.posts) == 1
    assert (order.state, order.id) == (S.WORKING, "theirs-1")
    assert bench.states() == [S.SENDING, S.ACK, S.WORKING]


async def test_an_order_whose_answer_takes_its_time_is_told_of_meanwhile(bench):
    told = threading.Event()
    emit = bench.books._emit
    bench.books._emit = lambda event: (emit(event), told.set())

    class Slow(Broker):
        def submit_order(
            self, request: dict[str, Any], *, before: Callable[[], None]
        ) -> dict[str, Any]:
            answer = super().submit_order(request, before=before)
            assert told.wait(10), "nobody was told that it is being sent"
            return answer

    bench.execution._session = broker = Slow(bench.journal)
    broker.answers = [accepted()]
    await bench.submit()
    assert bench.states() == [S.SENDING, S.ACK, S.WORKING]


async def test_no_order_leaves_without_its_row(bench):
    bench.broker.answers = [accepted()]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # EFBIG for every write that makes a file longer: what a full disk does, without filling one.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        order = await bench.submit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert bench.broker.posts == []
    assert order.state is S.REFUSED
    assert "not sent" in order.reason
    assert bench.failures
    assert bench.reserved.states["ours-1"] is S.REFUSED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokerRefused("insufficient buying power", status=403, code=40310000), "buying power"),
        (BrokerUnavailable("connection refused"), "not sent: connection refused"),
    ],
)
async def test_a_clear_no_is_a_rejection_in_the_brokers_words(bench, error, words):
    bench.broker.answers = [error]
    order = await bench.submit()
    assert order.state is S.REJECTED
    assert words in order.reason
    assert len(bench.broker.posts) == 1


async def test_wrong_keys_end_the_order_and_are_told(bench):
    bench.broker.answers = [BrokerAuthError("forbidden", status=401)]
    assert (await bench.submit()).state is S.REJECTED
    assert len(bench.auth_errors) == 1


async def test_rate_limited_is_sent_again_under_the_same_id_after_the_reset(bench):
    bench.broker.answers = [
        BrokerRateLimited("too many requests", retry_after_s=3.0, status=429),
        accepted(),
    ]
    order = await bench.submit()
    assert order.state is S.WORKING
    assert bench.slept == [3.0]
    assert [post["client_order_id"] for post in bench.broker.posts] == ["ours-1", "ours-1"]


OURS = None
"""The status of a limit of our own: nothing was sent."""


@pytest.mark.parametrize(
    ("status", "found", "state"),
    [
        (OURS, NOT_FOUND, S.REJECTED),
        (429, accepted("filled", filled_qty="100"), S.FILLED),
        (429, NOT_FOUND, S.UNKNOWN),
    ],
    ids=["never-sent", "carried-out", "who-knows"],
)
async def test_halted_while_it_waited_for_the_reset_is_not_sent_again(bench, status, found, state):
    """A 429 is no proof that the order was not carried out."""
    bench.broker.answers = [BrokerRateLimited("too many", retry_after_s=3.0, status=status)]
    bench.broker.look_ups = [found] * 5
    bench.meanwhile = lambda: setattr(bench, "halted", "halted meanwhile")
    order = await bench.submit()
    assert (order.state, len(bench.broker.posts)) == (state, 1)
    if state is not S.FILLED:
        assert "halted meanwhile" in order.reason


@pytest.mark.parametrize(("status", "state"), [(OURS, S.REJECTED), (429, S.UNKNOWN)])
async def test_an_order_that_cant_leave_for_a_minute_is_given_up(bench, status, state):
    bench.broker.answers = [BrokerRateLimited("wait", retry_after_s=40.0, status=status)] * 2
    bench.broker.look_ups = [NOT_FOUND] * 5
    order = await bench.submit()
    assert (order.state, len(bench.broker.posts)) == (state, 2)


@pytest.mark.parametrize(
    "failure",
    [BrokerUnavailable("no route"), BrokerAuthError("keys", status=401, remedy="")],
    ids=["unreachable", "keys"],
)
async def test_after_a_429_what_cant_be_sent_again_is_looked_up(bench, failure):
    bench.broker.answers = [
        BrokerRateLimited("too many", retry_after_s=3.0, status=429), failure
    ]  # fmt: skip
    bench.broker.look_ups = [NOT_FOUND, accepted()]
    assert (await bench.submit()).state is S.WORKING
    assert len(bench.broker.posts) == 2


async def test_an_order_whose_turn_never_comes_ends_with_a_reason(bench):
    """It is ended while it waits behind another that hangs: then it is not sent, and known so."""
    hung = threading.Event()
    ahead = asyncio.create_task(bench.threads[0].run(hung.wait, Priority.CANCEL))
    waiting = asyncio.create_task(bench.submit())
    assert await bench.books.until(lambda: "ours-1" in bench.books.orders, 10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hung.set()
    await ahead
    order = bench.books.orders["ours-1"]
    assert order.state is S.REJECTED
    assert "stopped before its turn" in order.reason
    await bench.journal.settled()
    assert not bench.journal.latest("ours-1").is_open
    assert await bench.threads[0].run(lambda: bench.broker.posts, Priority.READ) == []


async def test_an_order_that_is_ended_while_it_is_being_sent_stays_open(bench):
    """Nobody heard its answer: the next start looks it up."""
    sending, answered = threading.Event(), threading.Event()

    class Slow(Broker):
        def submit_order(
            self, request: dict[str, Any], *, before: Callable[[], None]
        ) -> dict[str, Any]:
            sending.set()
            assert answered.wait(10)
            return super().submit_order(request, before=before)

    bench.execution._session = broker = Slow(bench.journal)
    broker.answers = [accepted()]
    waiting = asyncio.create_task(bench.submit())
    assert await asyncio.to_thread(sending.wait, 10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    answered.set()
    assert bench.books.orders["ours-1"].state is S.SENDING


@pytest.mark.parametrize(
    ("source", "waited_s", "state"),
    [("", 61.0, S.REJECTED), ("", 59.0, S.WORKING), ("flatten", 61.0, S.WORKING)],
    ids=["too-long", "in-time", "the-kill-switch"],
)
async def test_an_order_that_waited_too_long_behind_others_is_not_sent(
    bench, source, waited_s, state
):
    hung = threading.Event()
    ahead = asyncio.create_task(bench.threads[0].run(hung.wait, Priority.CANCEL))
    bench.broker.answers = [accepted()]
    waiting = asyncio.create_task(bench.submit(source=source))
    assert await bench.books.until(lambda: "ours-1" in bench.books.orders, 10)
    bench.now_s += waited_s
    hung.set()
    order = await waiting
    await ahead
    assert order.state is state
    assert len(bench.broker.posts) == (state is S.WORKING)
    assert ("waited too long for the line" in order.reason) == (state is S.REJECTED)


async def test_no_clear_answer_is_looked_up_and_never_sent_again(bench):
    bench.broker.answers = [UNKNOWN]
    bench.broker.look_ups = [NOT_FOUND, NOT_FOUND, accepted("filled", filled_qty="100")]
    order = await bench.submit()
    assert order.state is S.FILLED
    assert bench.states() == [S.SENDING, S.UNKNOWN, S.FILLED]
    assert bench.slept == [0.25, 0.5, 1.0]
    assert len(bench.broker.posts) == 1
    assert bench.doubts == ["ours-1"]


async def test_not_found_is_no_proof(bench):
    bench.broker.answers = [UNKNOWN]
    bench.broker.look_ups = [NOT_FOUND] * len(LOOK_UP_AFTER_S)
    order = await bench.submit()
    assert order.state is S.UNKNOWN
    assert bench.slept == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert bench.reserved.states["ours-1"] is S.UNKNOWN
    assert len(bench.broker.posts) == 1


async def test_look_ups_that_fail_leave_it_in_doubt(bench):
    bench.broker.answers = [UNKNOWN]
    bench.broker.look_ups = [BrokerUnavailable("no route")] * len(LOOK_UP_AFTER_S)
    assert (await bench.submit()).state is S.UNKNOWN


async def test_a_trade_update_ends_the_doubt_and_the_look_ups(bench):
    bench.broker.answers = [UNKNOWN]
    bench.broker.look_ups = [NOT_FOUND] * 5

    def update() -> None:
        if len(bench.slept) == 2:
            bench.books.updated({"event": "new", "order": accepted()})

    bench.meanwhile = update
    order = await bench.submit()
    assert (order.state, bench.broker.asked) == (S.WORKING, 1)


async def test_a_duplicate_id_that_is_our_order_is_taken_for_it(bench):
    bench.broker.answers = [DuplicateOrderId("client_order_id must be unique", status=422)]
    bench.broker.look_ups = [accepted()]
    order = await bench.submit()
    assert (order.state, order.id) == (S.WORKING, "theirs-1")


async def test_a_duplicate_id_of_another_order_is_a_rejection(bench):
    bench.broker.answers = [DuplicateOrderId("client_order_id must be unique", status=422)]
    bench.broker.look_ups = [accepted(qty="7")]
    order = await bench.submit()
    assert order.state is S.REJECTED
    assert order.id is None


async def test_a_duplicate_that_cant_be_looked_at_is_in_doubt(bench):
    bench.broker.answers = [DuplicateOrderId("client_order_id must be unique", status=422)]
    bench.broker.look_ups = [BrokerUnavailable("gone")] * 6
    assert (await bench.submit()).state is S.UNKNOWN


async def test_an_update_that_overtakes_the_answer_is_kept(bench):
    class Quick(Broker):
        def submit_order(
            self, request: dict[str, Any], *, before: Callable[[], None]
        ) -> dict[str, Any]:
            answer = super().submit_order(request, before=before)
            loop.call_soon_threadsafe(
                bench.books.updated,
                {
                    "event": "fill",
                    "execution_id": "e-1",
                    "qty": "100",
                    "price": "182.4",
                    "order": accepted("filled", filled_qty="100", filled_avg_price="182.4"),
                },
            )
            return answer

    loop = asyncio.get_running_loop()
    bench.execution._session = broker = Quick(bench.journal)
    broker.answers = [accepted("new")]
    order = await bench.submit()
    assert (order.state, order.filled_qty) == (S.FILLED, D(100))
    assert bench.books.held_qty("IBM") == D(100)


async def test_the_command_is_known_by_its_order_after_a_restart(bench, tmp_path):
    bench.broker.answers = [accepted()]
    await bench.submit()
    fresh = Books(
        bench.journal,
        bench.events.append,
        bench.reserved,
        SYSTEM_CLOCKS,
        MarketClock(),
        bench.failures.append,
    )
    found = fresh.sent_by("cmd-1")
    assert found is not None
    assert found.client_order_id == "ours-1"
    assert fresh.sent_by("cmd-2") is None


async def test_a_fill_told_twice_and_by_both_ways_is_one_fill(bench):
    bench.broker.answers = [accepted()]
    await bench.submit()
    fill = {
        "event": "partial_fill",
        "execution_id": "e-1",
        "qty": "40",
        "price": "182.4",
        "order": accepted("partially_filled", filled_qty="40", filled_avg_price="182.4"),
    }
    bench.books.updated(fill)
    bench.books.updated(fill)
    order = bench.books.orders["ours-1"]
    told_again = bench.books.executed(
        order, execution_id="activity-9", qty=D(40), price=D("182.4"), cumulative=D("40.0"), at=NOW
    )
    assert not told_again
    assert [type(e).__name__ for e in bench.events].count("OrderFilled") == 1
    assert bench.books.held_qty("IBM") == D(40)
