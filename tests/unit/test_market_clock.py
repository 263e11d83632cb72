"""Market time as the engine reckons it, with every clock under the test's hand."""

from datetime import UTC, datetime, timedelta

import pytest

from console.engine.clocks import MarketClock, parse_time

OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
CLOSE = datetime(2013, 10, 7, 20, 0, tzinfo=UTC)
NEXT_OPEN = OPEN + timedelta(days=1)


def answer(moment: datetime, *, is_open: bool = True) -> dict:
    """As the broker tells it: in New York's time, with nanoseconds."""
    local = moment - timedelta(hours=4)
    return {
        "timestamp": local.strftime("%Y-%m-%dT%H:%M:%S.%f") + "789-04:00",
        "is_open": is_open,
        "next_open": (NEXT_OPEN if is_open else OPEN).isoformat(),
        "next_close": CLOSE.isoformat(),
    }


def test_time_runs_from_the_middle_of_the_request_at_the_known_speed():
    clock = MarketClock(speed=10.0)
    clock.observe(answer(OPEN), sent_at=100.0, received_at=100.2)
    assert clock.now(100.1) == OPEN
    assert clock.now(106.1) == OPEN + timedelta(minutes=1)


def test_before_the_first_answer_nothing_is_known():
    clock = MarketClock()
    assert not clock.known
    assert not clock.is_open_at(5.0)
    assert clock.view() is None
    with pytest.raises(ValueError, match="not known yet"):
        clock.now(5.0)


def test_the_speed_is_estimated_from_successive_answers():
    clock = MarketClock(estimate=True)
    for second in range(6):
        clock.observe(answer(OPEN + timedelta(seconds=60 * second)), 100.0 + second, 100.0 + second)
    assert clock.speed == 60.0
    assert clock.now(110.0) == OPEN + timedelta(seconds=600)


def test_two_answers_tell_the_speed_and_further_ones_tell_it_finer():
    clock = MarketClock(estimate=True)
    clock.observe(answer(OPEN), 100.0, 100.0)
    assert not clock.settled, "one answer tells no speed: ask again soon"
    clock.observe(answer(OPEN + timedelta(seconds=123.4)), 100.6, 100.6)
    assert (clock.settled, clock.speed) == (True, 206.0)
    for second in range(1, 20):
        moment = OPEN + timedelta(seconds=123.4 + 200 * second)
        clock.observe(answer(moment), 100.6 + second, 100.6 + second)
    assert clock.speed == 200.0


def test_an_answer_that_took_long_tells_no_speed():
    clock = MarketClock(estimate=True)
    # It was asked at 100.0 and told the time of 100.1; the connection was made meanwhile.
    clock.observe(answer(OPEN), 100.0, 101.5)
    clock.observe(answer(OPEN + timedelta(seconds=120 * 1.9)), 102.0, 102.004)
    assert clock.speed == 1.0
    clock.observe(answer(OPEN + timedelta(seconds=120 * 2.5)), 102.6, 102.604)
    assert clock.speed == 120.0


def test_alpacas_own_time_is_no_other_speed():
    clock = MarketClock(estimate=True)
    for second in range(0, 60, 5):
        late = 0.004 * (second % 3)
        clock.observe(
            answer(OPEN + timedelta(seconds=second + late)), 100.0 + second, 100.0 + second
        )
        assert clock.speed == 1.0


def test_a_jump_to_the_next_session_is_no_speed():
    clock = MarketClock(estimate=True)
    clock.observe(answer(OPEN), 100.0, 100.0)
    later = answer(NEXT_OPEN) | {"next_close": (CLOSE + timedelta(days=1)).isoformat()}
    clock.observe(later, 105.0, 105.0)
    assert clock.speed == 1.0
    assert clock.now(105.0) == NEXT_OPEN


def test_a_known_speed_is_not_estimated_away():
    clock = MarketClock(speed=1.0)
    clock.observe(answer(OPEN), 100.0, 100.0)
    clock.observe(answer(OPEN + timedelta(minutes=10)), 101.0, 101.0)
    assert clock.speed == 1.0


def test_the_session_ends_by_itself_between_two_answers():
    clock = MarketClock(speed=1000.0)
    clock.observe(answer(CLOSE - timedelta(seconds=1000)), 100.0, 100.0)
    assert clock.is_open_at(100.9)
    assert not clock.is_open_at(101.1)


def test_the_session_begins_by_itself_between_two_answers():
    clock = MarketClock(speed=60.0)
    clock.observe(answer(OPEN - timedelta(seconds=60), is_open=False), 100.0, 100.0)
    assert not clock.is_open_at(100.9)
    assert clock.is_open_at(101.1)


def test_paused_time_stands_still_and_goes_on_from_there():
    clock = MarketClock(speed=10.0)
    clock.observe(answer(OPEN), 100.0, 100.0)
    clock.set_speed(0.0, 106.0)
    assert clock.now(500.0) == OPEN + timedelta(minutes=1)
    clock.set_speed(10.0, 500.0)
    assert clock.now(506.0) == OPEN + timedelta(minutes=2)


@pytest.mark.parametrize(("speed", "age"), [(1.0, 30.0), (10.0, 3.0), (0.0, 30.0)])
def test_age_is_in_real_seconds(speed, age):
    clock = MarketClock(speed=speed)
    clock.observe(answer(OPEN), 100.0, 100.0)
    assert clock.age_of(OPEN - timedelta(seconds=30), 100.0) == pytest.approx(age)
    assert clock.age_of(OPEN + timedelta(seconds=30), 100.0) == 0.0


@pytest.mark.parametrize(
    "text",
    ["2013-10-07T13:30:00Z", "2013-10-07T09:30:00.000000000-04:00", "2013-10-07T13:30:00.0Z"],
)
def test_times_are_read_in_every_form_that_the_broker_has(text):
    assert parse_time(text) == OPEN


@pytest.mark.parametrize("text", ["2013-10-07T13:30:00", "yesterday", ""])
def test_a_time_without_offset_or_sense_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_time(text)
