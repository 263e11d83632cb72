"""The request budget and the rest for reads, with time in the test's hand."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.broker.errors import BrokerRateLimited, CircuitOpen
from console.broker.limits import CircuitBreaker, Priority, RequestBudget, TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def spend(bucket: TokenBucket, priority: Priority, now: float) -> int:
    """How many leave at once."""
    count = 0
    while bucket.take(priority, now) == 0.0:
        count += 1
    return count


def test_reads_leave_room_for_orders_and_orders_for_cancels() -> None:
    bucket = TokenBucket(200, 0.0)
    assert spend(bucket, Priority.READ, 0.0) == 30
    assert spend(bucket, Priority.ORDER, 0.0) == 15
    assert spend(bucket, Priority.CANCEL, 0.0) == 5
    assert spend(bucket, Priority.CANCEL, 0.0) == 0


def test_who_waits_as_told_is_let_in() -> None:
    bucket = TokenBucket(200, 0.0)
    spend(bucket, Priority.CANCEL, 0.0)
    for priority in Priority:
        now = 0.0
        wait = bucket.take(priority, now)
        assert wait > 0
        now += wait
        assert bucket.take(priority, now) == 0.0
        bucket = TokenBucket(200, 0.0)
        spend(bucket, Priority.CANCEL, 0.0)


@given(
    st.integers(10, 1_000),
    st.lists(st.tuples(st.floats(0, 10), st.sampled_from(list(Priority))), max_size=400),
)
def test_no_minute_has_more_than_its_requests(
    per_minute: int, asked: list[tuple[float, Priority]]
) -> None:
    bucket = TokenBucket(per_minute, 0.0)
    now = 0.0
    sent: list[float] = []
    for wait, priority in asked:
        now += wait
        while bucket.take(priority, now) == 0.0:
            sent.append(now)
    for start in sent:
        # A minute that is open at its end, as the broker's is.
        assert sum(start <= at < start + 60 - 1e-6 for at in sent) <= per_minute


def test_without_a_limit_everything_leaves_at_once() -> None:
    bucket = TokenBucket(0, 0.0)
    assert all(bucket.take(Priority.READ, 0.0) == 0.0 for _ in range(10_000))


def test_the_brokers_own_count_is_believed_when_it_is_lower() -> None:
    bucket = TokenBucket(200, 0.0)
    bucket.learn(2, 0.0)
    assert bucket.take(Priority.ORDER, 0.0) > 0
    assert spend(bucket, Priority.CANCEL, 0.0) == 2
    bucket.learn(150, 0.0)
    assert spend(bucket, Priority.CANCEL, 0.0) == 0


def test_nothing_leaves_before_a_429s_reset() -> None:
    bucket = TokenBucket(200, 0.0)
    bucket.close_until(5.0)
    assert bucket.take(Priority.CANCEL, 1.0) == 4.0
    assert bucket.take(Priority.CANCEL, 5.0) == 0.0


def test_a_turn_that_would_come_too_late_is_refused_at_once() -> None:
    clock = Clock()
    budget = RequestBudget(40, clock)
    for _ in range(6):
        budget.acquire(Priority.READ, 0.0)
    with pytest.raises(BrokerRateLimited) as caught:
        budget.acquire(Priority.READ, 1.0)
    assert caught.value.status is None
    assert caught.value.retry_after_s == pytest.approx(2.0)
    budget.acquire(Priority.CANCEL, 0.0)


def test_a_cancel_that_waits_goes_before_a_read_that_waited_longer() -> None:
    budget = RequestBudget(6_000)
    # As after a 429: once it is over there is enough for all, and only the rank decides.
    budget.learn(closed_for_s=0.3)
    served: list[str] = []
    reading = threading.Event()

    def read() -> None:
        reading.set()
        budget.acquire(Priority.READ, 60)
        served.append("read")

    def cancel() -> None:
        budget.acquire(Priority.CANCEL, 30)
        served.append("cancel")

    threads = [threading.Thread(target=read)]
    threads[0].start()
    assert reading.wait(30)
    threads += [threading.Thread(target=cancel) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert served == ["cancel", "cancel", "cancel", "read"]


def test_reads_rest_after_failures_in_a_row_and_longer_each_time() -> None:
    clock = Clock()
    breaker = CircuitBreaker(threshold=3, rest_s=2.0, max_rest_s=5.0, clock=clock)
    for _ in range(3):
        breaker.check()
        breaker.failed("HTTP 503")
    with pytest.raises(CircuitOpen, match="HTTP 503"):
        breaker.check()
    rests = []
    for _ in range(3):
        began = clock.now
        while breaker.is_open:
            clock.now += 0.5
        rests.append(clock.now - began)
        breaker.check()
        breaker.failed("HTTP 503")
    assert rests == [2.0, 4.0, 5.0]


def test_one_read_goes_ahead_and_opens_the_way_for_the_others() -> None:
    clock = Clock()
    breaker = CircuitBreaker(threshold=1, rest_s=2.0, clock=clock)
    breaker.failed("no answer")
    clock.now += 2.0
    breaker.check()
    with pytest.raises(CircuitOpen):
        breaker.check()
    breaker.succeeded()
    breaker.check()
    breaker.check()


def test_a_sign_of_life_ends_the_rest_for_one_read() -> None:
    breaker = CircuitBreaker(threshold=1, rest_s=2.0, clock=Clock())
    breaker.rouse()
    breaker.check()
    breaker.failed("no answer")
    breaker.rouse()
    breaker.check()
    with pytest.raises(CircuitOpen):
        breaker.check()
    breaker.failed("no answer")
    assert breaker.is_open


def test_a_success_in_between_keeps_reads_going() -> None:
    breaker = CircuitBreaker(threshold=2, clock=Clock())
    for _ in range(5):
        breaker.failed("no answer")
        breaker.succeeded()
        breaker.check()
