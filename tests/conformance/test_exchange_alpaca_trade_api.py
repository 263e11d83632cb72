"""alpaca-trade-api, Alpaca's older client, on the embedded exchange, in its own interpreter."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

INTERPRETER = Path(__file__).parents[2] / ".venv" / "conformance" / "bin" / "python"

SESSION = """
import json, sys, threading, time
import alpaca_trade_api
from alpaca_trade_api.stream import Stream

url = sys.argv[1]
api = alpaca_trade_api.REST("PKOLDER", "a-secret", base_url=url)
heard = []
stream = Stream("PKOLDER", "a-secret", base_url=url, data_stream_url=url.replace("http", "ws"))

async def hear(update):
    heard.append(update.event)

stream.subscribe_trade_updates(hear)
threading.Thread(target=stream.run, daemon=True).start()

def wait(condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not within 30 s; heard {heard}")
        time.sleep(0.02)

def listens():
    api.cancel_order(api.submit_order("SPY", 1, "buy", "limit", "day", limit_price="50").id)
    return bool(heard)

wait(listens)
before = len(heard)
bought = api.submit_order("IBM", 10, "buy", "market", "day", client_order_id="older")
wait(lambda: "fill" in heard)
resting = api.submit_order("BAC", 10, "buy", "limit", "gtc", limit_price="5")
replaced = api.replace_order(resting.id, limit_price="5.5")
api.cancel_all_orders()
try:
    api.submit_order("IBM", 99999, "buy", "market", "day")
    refused = None
except alpaca_trade_api.rest.APIError as error:
    refused = [error.status_code, error.code]
report = {
    "accepted": bought.status,
    "filled": api.get_order_by_client_order_id("older").status,
    "position": api.get_position("IBM").qty,
    "replaces": replaced.replaces == resting.id,
    "open": len(api.list_orders()),
    "refused": refused,
    "equity": api.get_account().equity,
    "days": [str(day.date.date()) for day in api.get_calendar("2013-10-07", "2013-10-08")],
    "fills": [fill.qty for fill in api.get_activities("FILL")],
    "history": len(api.get_portfolio_history(period="1D", timeframe="5Min").equity),
    "asset": api.get_asset("IBM").tradable,
    "open now": api.get_clock().is_open,
}
api.close_all_positions()
report["left"] = len(api.list_positions())
print(json.dumps(report))
"""


@pytest.mark.skipif(not INTERPRETER.exists(), reason="make test sets up .venv/conformance")
def test_the_older_client_trades_without_a_change(make_exchange: Callable[..., Any]) -> None:
    exchange = make_exchange(paused=True)
    exchange.call(step_s=150)
    done = subprocess.run(
        [str(INTERPRETER), "-c", SESSION, exchange.url],
        env=os.environ | {"NO_PROXY": "127.0.0.1", "APCA_API_DATA_URL": exchange.url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    equity = float(report.pop("equity"))
    assert 99_000 < equity < 101_000
    assert report == {
        "accepted": "pending_new",
        "filled": "filled",
        "position": "10",
        "replaces": True,
        "open": 0,
        "refused": [403, 40310000],
        "days": ["2013-10-07", "2013-10-08"],
        "fills": ["10"],
        "history": 1,
        "asset": True,
        "open now": True,
        "left": 0,
    }
