"""The tape's pace: by a clock that is given, over nights in no time, and never more than it may."""

from __future__ import annotations

from typing import Any

import pytest

from console.bridge import BarUpdate, QuoteUpdate, TradeUpdate
from console.bridge.messages import Message
from console.bridge.tape import BATCH, PAUSE_S, Sent, message_of, play

SECOND = 1_000_000_000
NIGHT = 17 * 3600 * SECOND


class Scripted:
    """Ticks at given times; notes how many were asked for at once."""

    def __init__(self, times: list[int]) -> None:
        self.times = times
        self.asked: list[int] = []

    @property
    def next_at(self) -> int | None:
        return self.times[0] if self.times else None

    def take(self, until: int, limit: int) -> list[tuple[Any, ...]]:
        self.asked.append(limit)
        due = [at for at in self.times if at <= until][:limit]
        self.times = self.times[len(due) :]
        return [("trade", "IBM", at, 100.0, 5) for at in due]


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


async def played(times: list[int], speed: float) -> tuple[list[tuple[float, int]], Sent]:
    clock, heard = Clock(), []

    async def publish(message: Message) -> None:
        assert isinstance(message, TradeUpdate)
        heard.append((round(clock.now - 50.0, 6), message.timestamp))

    sent = await play(Scripted(times), publish, speed=speed, clock=clock, sleep=clock.sleep)
    return heard, sent


async def test_a_speed_is_kept() -> None:
    times = [n * SECOND for n in (0, 10, 60, 61)]
    heard, sent = await played(times, 10.0)
    assert [at for _, at in heard] == times
    assert [when for when, _ in heard] == pytest.approx([0, 1, 6, 6.1], abs=0.3)
    assert all(when >= at / SECOND / 10 - 1e-6 for when, at in heard)
    assert (sent.trades, sent.messages, sent.last_at) == (4, 4, 61 * SECOND)


async def test_a_night_is_passed_over() -> None:
    heard, _ = await played([0, SECOND, SECOND + NIGHT, 2 * SECOND + NIGHT], 1.0)
    assert heard[2][0] == pytest.approx(1 + PAUSE_S, abs=0.3)
    assert heard[3][0] == pytest.approx(2 + PAUSE_S, abs=0.3)


async def test_without_a_speed_it_never_waits() -> None:
    heard, sent = await played([n * SECOND for n in range(0, 5_000, 7)], 0.0)
    assert {when for when, _ in heard} == {0}
    assert sent.trades == len(heard) == 715


async def test_no_more_than_a_batch_is_held() -> None:
    tape = Scripted([0] * 3_000)

    async def publish(_message: Message) -> None:
        return

    sent = await play(tape, publish, speed=0)
    assert sent.trades == 3_000
    assert set(tape.asked) == {BATCH}


async def test_a_reader_s_failure_says_how_far_it_came() -> None:
    sent = Sent()

    async def publish(_message: Message) -> None:
        if sent.trades == 3:
            raise TimeoutError("nobody reads")

    with pytest.raises(TimeoutError):
        await play(Scripted(list(range(10))), publish, speed=0, sent=sent)
    assert sent.trades == 3


def test_ticks_are_the_messages_of_market_data() -> None:
    assert message_of(("quote", "IBM", 7, 1.0, 100, 2.0, 300)) == QuoteUpdate(
        "IBM", 1, 100, 2, 300, 7
    )
    assert message_of(("trade", "IBM", 7, 1.5, 20)) == TradeUpdate("IBM", 1.5, 20, 7)
    bar = message_of(("bar", "IBM", 7, 1.0, 3.0, 0.5, 2.0, 900, 4, 1.7))
    assert bar == BarUpdate("IBM", 1, 3, 0.5, 2, 900, 7, trade_count=4, vwap=1.7, source="replay")
