"""The same seed, data and requests at the same market times make the same history, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conformance.asking import Api

ORDERS: list[dict[str, Any]] = [
    {"qty": "100"},
    {"qty": "250", "symbol": "BAC"},
    {"qty": None, "notional": "750.25", "symbol": "SPY"},
    {"type": "limit", "limit_price": "150", "time_in_force": "gtc"},
    {"type": "stop", "stop_price": "300", "symbol": "SPY"},
    {"type": "trailing_stop", "trail_percent": "0.1", "symbol": "AIG"},
    {
        "symbol": "BAC", "order_class": "bracket", "take_profit": {"limit_price": "14.00"},
        "stop_loss": {"stop_price": "13.50"},
    },
    {"qty": "500", "side": "sell", "symbol": "AIG"},
    {"qty": "999999"},
    *({"qty": str(10 + number)} for number in range(20)),
]  # fmt: skip


def morning(running: Any) -> list[tuple[str, int, str]]:
    """Every answer of a morning's trading."""
    api = Api(running.url, "PKSAME")
    answers: list[tuple[str, int, str]] = []

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = api.answer(method, path, body)
        answers.append((path, answer.status_code, answer.text))
        return answer.json() if answer.text else None

    for fields in ORDERS:
        body = {"symbol": "IBM", "qty": "10", "side": "buy", "type": "market"}
        ask("POST", "/v2/orders", {**body, "time_in_force": "day", **fields})
        running.call(step_s=7.5)
    resting = ask("GET", "/v2/orders?symbols=IBM")
    ask("PATCH", f"/v2/orders/{resting[0]['id']}", {"limit_price": "151.5", "qty": "20"})
    running.call(step_s=3600)
    ask("DELETE", "/v2/orders")
    ask("DELETE", "/v2/positions?cancel_orders=true")
    running.call(step_s=30)
    for path in (
        "/v2/account", "/v2/positions", "/v2/orders?status=all&limit=500&nested=true",
        "/v2/account/activities", "/v2/account/portfolio/history?period=1D&timeframe=5Min",
    ):  # fmt: skip
        ask("GET", path)
    running.service.stop(timeout_s=10)
    return answers


def test_two_runs_cannot_be_told_apart(make_exchange: Callable[..., Any], tmp_path: Path) -> None:
    runs, hashes = [], []
    for name in ("one", "other"):
        state = tmp_path / name
        running = make_exchange(
            paused=True, start="2013-10-07T13:40:00Z", partial_fills=True, seed=7,
            state_dir=str(state), slippage_bp=0.5,
        )  # fmt: skip
        runs.append(morning(running))
        hashes.append(hashlib.sha256((state / "exchange" / "accounts.log").read_bytes()).digest())
    assert runs[0] == runs[1]
    assert hashes[0] == hashes[1]
    assert any("partially_filled" in text or '"partial_fill"' in text for _, _, text in runs[0])


def test_another_seed_makes_other_ids(make_exchange: Callable[..., Any]) -> None:
    ids = set()
    for seed in (1, 2):
        running = make_exchange(paused=True, start="2013-10-07T13:40:00Z", seed=seed)
        ids.add(Api(running.url, "PKSAME").order()["id"])
    assert len(ids) == 2
