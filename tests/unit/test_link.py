"""What reaches a listener that is slower than the engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from console.engine import link as links
from console.engine.commands import Ack, GetState, Outcome
from console.engine.events import MarketFrame, Noticed, Severity, Snapshot
from console.engine.link import LinkError, LocalLink, RemoteLink
from console.engine.runtime import RuntimeInfo
from console.engine.state import EngineView, TradingState


class Engine:
    """As much of an engine as a link needs."""

    def __init__(self) -> None:
        self.seq = 0
        self.listeners: list[Any] = []
        self.never = asyncio.Event()

    def subscribe(self, callback: Any) -> Any:
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)

    def snapshot(self) -> Snapshot:
        view = EngineView(seq=self.seq, mode="DEMO", ready=True, trading_state=TradingState.ACTIVE)
        return Snapshot(seq=self.seq, state=view)

    def emit(self) -> None:
        self.seq += 1
        for listener in self.listeners:
            listener(Noticed(seq=self.seq, severity=Severity.INFO, topic="t", text=str(self.seq)))

    def frame(self, number: int) -> None:
        for listener in self.listeners:
            listener(MarketFrame(number))

    async def handle(self, command: Any) -> Ack:
        if command.source == "patient":
            await self.never.wait()
        return Ack(id=command.id, outcome=Outcome.ACCEPTED)


async def turn(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.fixture
def engine() -> Engine:
    return Engine()


async def test_the_first_event_is_a_snapshot_and_none_is_missing_after_it(engine):
    link = LocalLink(engine, asyncio.get_running_loop())
    heard: list[Any] = []
    engine.emit()
    link.listen(heard.append)
    await turn()
    engine.emit()
    engine.emit()
    await turn()
    assert [type(event).__name__ for event in heard] == ["Snapshot", "Noticed", "Noticed"]
    assert [event.seq for event in heard] == [1, 2, 3]


async def test_of_frames_a_slow_listener_gets_the_newest_alone(engine):
    link = LocalLink(engine, asyncio.get_running_loop())
    heard: list[Any] = []
    link.listen(heard.append)
    await turn()
    for number in range(100):
        engine.frame(number)
    await turn()
    assert [event.feed for event in heard if isinstance(event, MarketFrame)] == [99]


async def test_who_falls_too_far_behind_gets_a_new_snapshot_and_memory_stays_bounded(
    engine, monkeypatch
):
    monkeypatch.setattr(links, "BACKLOG", 10)
    link = LocalLink(engine, asyncio.get_running_loop())
    heard: list[Any] = []
    link.listen(heard.append)
    await turn()
    for _ in range(50):
        engine.emit()
    await turn(6)
    assert isinstance(heard[-1], Snapshot)
    assert heard[-1].state.seq == 50
    assert len(heard) <= 2
    engine.emit()
    await turn()
    assert heard[-1].seq == 51


async def test_who_ends_hears_nothing_more(engine):
    link = LocalLink(engine, asyncio.get_running_loop())
    heard: list[Any] = []
    end = link.listen(heard.append)
    await turn()
    end()
    engine.emit()
    await turn()
    engine.emit()
    await turn()
    assert len(heard) == 1
    assert engine.listeners == []


async def test_closing_ends_every_listener(engine):
    link = LocalLink(engine, asyncio.get_running_loop())
    link.listen(lambda _event: None)
    link.listen(lambda _event: None)
    await turn()
    await link.close()
    await turn()
    assert engine.listeners == []


async def test_an_answer_that_doesnt_come_is_said_so_in_time(engine):
    link = LocalLink(engine, asyncio.get_running_loop())
    with pytest.raises(LinkError, match=r"within 0\.05 s"):
        await link.request(GetState(source="patient"), timeout_s=0.05)


async def test_a_remote_engine_that_is_gone_is_said_so_in_time(free_port, tmp_path):
    RuntimeInfo(
        pid=1,
        mode="DEMO",
        started_at="2026-01-01T00:00:00Z",
        ports={"commands": free_port(), "events": free_port()},
    ).write(tmp_path)
    assert (tmp_path / "runtime.json").stat().st_mode & 0o077 == 0
    link = RemoteLink(RuntimeInfo.read(tmp_path))
    with pytest.raises(LinkError, match="still running"):
        await link.request(GetState(), timeout_s=0.05)
    await link.close()


def test_a_runtime_file_that_isnt_one_is_none(tmp_path):
    assert RuntimeInfo.read(tmp_path) is None
    (tmp_path / "runtime.json").write_text("{half")
    assert RuntimeInfo.read(tmp_path) is None
