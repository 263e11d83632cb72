"""Health over real HTTP: bodies, codes, what outlives the process, and a port that is taken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from console.exits import ExitError
from console.health.checks import Checks, Finding, HealthRecord, Status
from console.health.metrics import Figures, Metrics
from console.health.server import HealthServer


class Fake:
    """A component whose state the test sets."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.feed = Finding(Status.HEALTHY)
        self.ready = (True, "")
        self.record = HealthRecord(path, "console")
        self.checks = Checks(
            "console",
            ready=lambda: self.ready,
            metrics=lambda: {"positions": "2"},
            record=self.record,
            monotonic=lambda: self.now,
        )
        self.checks.add("feed", lambda: self.feed)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "health" / "console.json")


@pytest.fixture
async def get(fake: Fake) -> AsyncIterator[Callable[[str], Any]]:
    def read() -> Figures:
        return Figures(
            gauges={"ready": 1.0},
            counters={"events": 7.0},
            labelled={("service_up", "service"): {"market-data": 1.0}},
        )

    server = HealthServer(fake.checks, "127.0.0.1", 0, metrics=Metrics(read))
    await server.start()
    async with aiohttp.ClientSession() as session:

        async def ask(path: str) -> tuple[int, str, str]:
            url = f"http://127.0.0.1:{server.port}{path}"
            async with session.get(url) as response:
                return response.status, response.content_type, await response.text()

        yield ask
    await server.stop()


async def test_a_healthy_component_says_so_in_the_agreed_form(get: Any, fake: Fake) -> None:
    fake.record.started()
    fake.now = 12.5
    code, kind, text = await get("/health")
    body = json.loads(text)
    assert (code, kind) == (200, "application/json")
    assert list(body) == ["status", "component", "message", "metrics", "timestamp"]
    assert body["status"] == "healthy"
    assert body["component"] == "console"
    assert body["metrics"]["uptime_seconds"] == "12.5"
    assert body["metrics"]["positions"] == "2"
    assert body["metrics"]["starts"] == "1"
    assert all(isinstance(value, str) for value in body["metrics"].values())
    assert body["timestamp"].endswith("Z")


@pytest.mark.parametrize("status", [Status.DEGRADED, Status.UNHEALTHY])
async def test_what_is_not_healthy_is_503_and_says_since_when(
    get: Any, fake: Fake, status: Status
) -> None:
    await get("/health")
    fake.feed = Finding(status, "no message")
    await get("/health")
    fake.now = 7.0
    code, _, text = await get("/health")
    assert code == 503
    assert json.loads(text)["status"] == status.value
    assert json.loads(text)["message"] == f"feed {status.value} for 7 s: no message"
    fake.feed = Finding(Status.HEALTHY)
    assert (await get("/health"))[0] == 200


async def test_a_check_that_breaks_is_unhealthy_and_the_others_still_count(
    get: Any, fake: Fake
) -> None:
    def broken() -> Finding:
        raise RuntimeError("no such thing")

    fake.checks.add("broken", broken)
    fake.feed = Finding(Status.DEGRADED, "late")
    code, _, text = await get("/health")
    assert code == 503
    assert "no such thing" in text
    assert "late" in text


async def test_ready_is_503_with_the_reason_until_orders_could_be_placed(
    get: Any, fake: Fake
) -> None:
    fake.ready = (False, "reconciling")
    code, _, text = await get("/ready")
    assert code == 503
    body = json.loads(text)
    assert body["ready"] is False
    assert body["component"] == "console"
    assert body["reason"] == "reconciling"
    fake.ready = (True, "")
    code, _, text = await get("/ready")
    assert code == 200
    assert set(json.loads(text)) == {"ready", "component", "timestamp"}


async def test_live_answers_whatever_the_checks_say(get: Any, fake: Fake) -> None:
    fake.feed = Finding(Status.UNHEALTHY)
    fake.ready = (False, "no")
    code, _, text = await get("/live")
    assert (code, text) == (200, "alive")


async def test_metrics_are_prometheus_text(get: Any) -> None:
    code, kind, text = await get("/metrics")
    assert (code, kind) == (200, "text/plain")
    assert "console_ready 1.0" in text
    assert "console_events_total 7.0" in text
    assert 'console_service_up{service="market-data"} 1.0' in text


async def test_an_unknown_address_is_404(get: Any) -> None:
    assert (await get("/orders"))[0] == 404


async def test_a_taken_port_names_port_setting_and_remedy(fake: Fake) -> None:
    first = HealthServer(fake.checks, "127.0.0.1", 0)
    await first.start()
    try:
        with pytest.raises(ExitError) as caught:
            await HealthServer(fake.checks, "127.0.0.1", first.port).start()
    finally:
        await first.stop()
    assert caught.value.exit_code == 78
    for part in ("ports.health", str(first.port), "taken", "another port"):
        assert part in str(caught.value)


async def test_the_port_is_free_again_after_stop(fake: Fake) -> None:
    first = HealthServer(fake.checks, "127.0.0.1", 0)
    await first.start()
    port = first.port
    await first.stop()
    await first.stop()
    again = HealthServer(fake.checks, "127.0.0.1", port)
    await again.start()
    assert again.port == port
    await again.stop()


def test_the_record_counts_starts_and_knows_a_crash_from_a_clean_end(tmp_path: Path) -> None:
    path = tmp_path / "health" / "console.json"
    first = HealthRecord(path, "console")
    first.started()
    first.incident("feed: lost")
    first.stopped("SIGTERM")

    second = HealthRecord(path, "console")
    second.started()
    assert second.starts == 2
    assert second.last_exit is not None
    assert second.last_exit["clean"] is True
    assert second.metrics()["last_exit"] == "clean: SIGTERM"
    assert "feed: lost" in second.metrics()["last_incident"]

    third = HealthRecord(path, "console")
    third.started()
    assert third.starts == 3
    assert third.last_exit is not None
    assert third.last_exit["clean"] is False


@pytest.mark.parametrize("text", ["", "{", "[]", '{"starts": "x"}'])
def test_a_broken_record_starts_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "console.json"
    path.write_text(text)
    record = HealthRecord(path, "console")
    record.started()
    assert record.starts == 1
    assert json.loads(path.read_text())["starts"] == 1


def test_a_record_that_cannot_be_written_keeps_nothing_from_running(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    record = HealthRecord(tmp_path / "file" / "console.json", "console")
    record.started()
    record.stopped("done")
    assert record.starts == 1


def test_an_incident_is_recorded_once_when_it_begins(fake: Fake) -> None:
    fake.checks.report()
    assert fake.record.last_incident is None
    fake.feed = Finding(Status.DEGRADED, "late")
    fake.checks.report()
    first = fake.record.last_incident
    assert first is not None
    assert first["text"] == "feed: late"
    fake.feed = Finding(Status.DEGRADED, "later still")
    fake.checks.report()
    assert fake.record.last_incident == first
