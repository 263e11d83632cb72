"""A whole run with keys that can't be mistaken, and then a search for them in all that it left."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.bridge.security import CLIENT_KEY, SERVER_KEY, generate
from tests.collector import Collector, collecting
from tests.conftest import FREE_PORTS, LIMIT_S, ROOT, Ran, RunningExchange

Until = Callable[..., Any]
KEY_ID = "PKUNMISTAKABLEKEY7Q"
SECRET = "unmistakable-secret-of-the-broker-4711"
OF_COLLECTOR = "unmistakable-token-of-the-collector-0815"
WRONG_SECRET = "unmistakable-but-wrong-secret-2342"
LEAST = 6


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_S) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_no_key_is_in_anything_that_a_run_leaves(
    tmp_path: Path,
    make_exchange: Callable[..., RunningExchange],
    collector: Collector,
    command_line: Callable[..., Ran],
    until: Until,
) -> None:
    exchange = make_exchange()
    state_dir, log = tmp_path / "state", tmp_path / "stderr"
    generate(tmp_path / "keys")
    bus_secrets = [
        tomllib.loads((tmp_path / "keys" / name).read_text())["secret"]
        for name in (CLIENT_KEY, SERVER_KEY)
    ]
    given = {
        "ALPACA_API_KEY": KEY_ID,
        "ALPACA_SECRET_KEY": SECRET,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {OF_COLLECTOR}",
    }
    settings = [
        f"broker.base_url={exchange.url}", "log.level=debug", "bus.security.enabled=true",
        f"bus.security.keys_dir={tmp_path / 'keys'}", "telemetry.enabled=true",
        f"telemetry.endpoint={collector.url}", *FREE_PORTS,
    ]  # fmt: skip
    options = ["--state-dir", str(state_dir), *(p for value in settings for p in ("--set", value))]
    left: dict[str, bytes] = {}

    def ran(*arguments: str, **environment: str) -> Ran:
        done = command_line(*arguments, **(given | environment))
        left[" ".join(arguments[:3])] = (done.out + done.err).encode()
        return done

    with log.open("w") as stderr:
        console = subprocess.Popen(
            [sys.executable, "-m", "console", "headless", *options],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:

        def runtime() -> dict[str, Any] | None:
            assert console.poll() is None, log.read_text()
            path = state_dir / "runtime.json"
            found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
            return found.get("ports") if "risk" in found.get("ports", {}) else None

        ports = until(runtime, "the console is up")
        until(lambda: '"ready":true' in get(ports["health"], "/ready").replace(" ", ""), "ready")
        until(lambda: exchange.call(clock=True)["is_open"], "the market is open")
        at = ("--state-dir", str(state_dir), "--format", "json")
        assert ran("order", "buy 1 IBM", *at).code == 0
        assert ran("order", "buy 1000000 IBM", *at).code == 1
        assert ran("order", "buy 1 NOSUCH", *at).code == 1
        until(lambda: collector.named("fill"), "the order's trace")
        ran("status", *at)
        ran("doctor", *options, "--format", "json")
        ran("config", "show", *options, "--format", "json")
        ran("keys", *options, "--format", "json")
        # A start with keys that don't hold says so without showing them.
        refused = ran(
            "headless",
            *options,
            "--state-dir",
            str(tmp_path / "other"),
            ALPACA_SECRET_KEY=WRONG_SECRET,
        )
        assert refused.code == 78, refused.err
        for port in (
            "health",
            "market_data_health",
            "execution_engine_health",
            "risk_manager_health",
        ):
            for path in ("/health", "/ready", "/metrics"):
                left[f"{port}{path}"] = get(ports[port], path).encode()
        account = json.loads(ask_account(exchange))["account_number"]
        # The broker goes away: whatever fails now fails with all its reasons in the log.
        exchange.service.stop(timeout_s=5.0)
        until(lambda: '"ready":true' not in get(ports["health"], "/ready").replace(" ", ""), "lost")
        ran("order", "buy 1 IBM", *at)
        console.send_signal(signal.SIGTERM)
        assert console.wait(LIMIT_S) == 0
    finally:
        if console.poll() is None:
            console.kill()
        console.wait(LIMIT_S)

    left["stderr"] = log.read_bytes()
    for path in (file for folder in (state_dir, tmp_path / "other") for file in folder.rglob("*")):
        if path.is_file():
            left[str(path.relative_to(tmp_path))] = path.read_bytes()
    left |= {f"trace {number}": body for number, body in enumerate(collector.bodies)}
    assert {"state/logs/console.log", "state/journal-exchange.db", "trace 0"} <= left.keys()
    assert all(json.loads(line) for line in left["state/logs/console.log"].splitlines())

    basic = base64.b64encode(f"{KEY_ID}:{SECRET}".encode()).decode()
    hidden = [KEY_ID, SECRET, OF_COLLECTOR, WRONG_SECRET, basic, *bus_secrets]
    found = [
        (secret[:LEAST] + "…", where)
        for where, text in left.items()
        for secret in hidden
        if secret.encode() in text
    ]
    assert not found

    # A trace has no account either, nor has a metric.
    shown = [where for where, text in left.items() if "trace" in where or "/metrics" in where]
    assert account
    assert not [where for where in shown if account.encode() in left[where]]


def ask_account(exchange: RunningExchange) -> str:
    """The account of those keys, as the broker tells it."""
    request = urllib.request.Request(
        f"{exchange.url}/v2/account",
        headers={"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET},
    )
    with urllib.request.urlopen(request, timeout=LIMIT_S) as response:
        return str(response.read().decode())
