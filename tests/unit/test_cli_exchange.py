"""What `trading-console exchange` says while it runs, and the limits that it takes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from console.cli.exchange import ExchangeOptions, Progress, _demo, _where_to_point, progress_line
from console.config import Overrides, load_settings

CLOCK = {
    "market_time": "2013-10-07T14:32:11.123456789Z", "speed": 60.0, "paused": False,
    "is_open": True, "accounts": 1, "orders": 14,
}  # fmt: skip


def test_the_line_tells_new_yorks_time_and_what_was_done() -> None:
    assert progress_line(CLOCK) == (
        "Mon 7 Oct 2013 10:32:11 in New York · open · 60× · 1 account, 14 orders"
    )
    halted = CLOCK | {"paused": True, "is_open": False, "accounts": 2, "orders": 1}
    assert progress_line(halted).endswith("· closed · paused · 2 accounts, 1 order")


def test_the_line_is_written_over_once_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((100.0, 100.0, 100.5, 101.0, 101.0))
    monkeypatch.setattr("console.cli.exchange.time.monotonic", lambda: next(times))
    asked: list[str] = []

    def call(command: str, **_: Any) -> str:
        asked.append(command)
        return json.dumps(CLOCK)

    service: Any = SimpleNamespace(call=call)
    progress = Progress(service)
    progress.end()
    assert capsys.readouterr().err == ""
    for _ in range(3):
        progress()
    progress.end()
    assert asked == ['{"clock":true}'] * 2
    assert capsys.readouterr().err == f"\r\x1b[K{progress_line(CLOCK)}" * 2 + "\n"


def test_every_client_is_told_where_to_look(tmp_path: Path) -> None:
    options = ExchangeOptions(rate_limit=200, data_connections=1, data_symbols=30, control=True)
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    chosen = _demo(Overrides(state_dir=tmp_path), options)
    settings = load_settings(
        Overrides(values=chosen.values, state_dir=tmp_path, demo=True, environment=environment)
    )
    demo = settings.demo
    assert (demo.rate_limit, demo.data_connections, demo.data_symbols) == (200, 1, 30)
    text = _where_to_point("http://127.0.0.1:8090", settings, tmp_path)
    for client in (
        "alpaca-py",
        "alpaca-trade-api-go",
        "@alpacahq/alpaca-trade-api",
        "apca",
        "curl",
    ):
        assert client in text
    assert "http://127.0.0.1:8090/_exchange/" in text
    assert str(tmp_path / "exchange") in text
