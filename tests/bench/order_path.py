"""An order's way: from the key that sends it to the last byte of its POST, risk check and disk flush
in between.

The whole console runs in this process as in the terminal: host, services, the demo's exchange at
60×, and a face that draws what moves. Timed from where Textual's input thread hands the key to the
face's loop until `requests` has given the request's last byte to the kernel. Beside it, in the same
run and on the same exchange: alpaca-py's own `submit_order` from its call to the same last byte,
and a bare SQLite commit of such a row (WAL, synchronous=FULL) on the same disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import urllib3.connection

from console.config import Overrides, load_settings
from console.engine.commands import Ack, Outcome, SubmitOrder
from console.engine.state import Side
from console.host import HostThread
from console.ui.app import ConsoleApp
from tests.conftest import FREE_PORTS

ORDERS = 60 if os.environ.get("QUICK") else 400
PACE_S = 0.03
LIMIT_S = 60.0
TARGETS_MS = {"p50": 3.0, "p99": 15.0}
SETTINGS = (
    "demo.speed=60", "demo.partial_fills=false", "risk.duplicate_window_s=0",
    "risk.max_orders_per_minute=100000", "risk.max_open_orders=100000",
)  # fmt: skip


class Posts:
    """When the last byte of each POST to /v2/orders had been handed to the kernel."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.came = threading.Event()
        honest = urllib3.connection.HTTPConnection.request
        posts = self

        def request(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
            honest(self, method, url, *args, **kwargs)
            if method == "POST" and url.endswith("/orders"):
                posts.at.append(time.perf_counter())
                posts.came.set()

        urllib3.connection.HTTPConnection.request = request  # type: ignore[method-assign]

    def wait(self) -> float:
        assert self.came.wait(LIMIT_S), "no POST came"
        self.came.clear()
        return self.at[-1]


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def row(name: str, seconds: list[float]) -> dict[str, float]:
    figures = {
        "p50": statistics.median(seconds) * 1e3,
        "p90": percentile(seconds, 0.9) * 1e3,
        "p99": percentile(seconds, 0.99) * 1e3,
        "max": max(seconds) * 1e3,
    }
    shown = "  ".join(f"{key} {value:7.2f}" for key, value in figures.items())
    print(f"{name:<44} {shown} ms", flush=True)
    return figures


def commits(folder: Path) -> list[float]:
    """What the disk alone costs: one row of an order's size, committed."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body TEXT)")
    body, taken = "x" * 1_200, []
    for _ in range(ORDERS):
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (body) VALUES (?)", (body,))
        connection.execute("COMMIT")
        taken.append(time.perf_counter() - began)
        time.sleep(PACE_S / 10)
    connection.close()
    return taken


def alpaca_orders(port: int, posts: Posts) -> list[float]:
    """alpaca-py as it comes, on an account of its own."""
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, TimeInForce
    from alpaca.trading.requests import MarketOrderRequest

    client = TradingClient("PKBENCH", "bench", url_override=f"http://127.0.0.1:{port}")
    taken = []
    for number in range(ORDERS):
        order = MarketOrderRequest(
            symbol="IBM",
            qty=1,
            side=OrderSide.SELL if number % 2 else OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
        )
        posts.came.clear()
        began = time.perf_counter()
        client.submit_order(order)
        taken.append(posts.wait() - began)
        time.sleep(PACE_S)
    return taken


def our_orders(loop: asyncio.AbstractEventLoop, app: ConsoleApp, posts: Posts) -> list[float]:
    """Keys, handed to the face's loop as its input thread does it. Of a thread of its own."""
    taken = []
    for number in range(ORDERS + 3):
        command = SubmitOrder(
            symbol="IBM", side=Side.SELL if number % 2 else Side.BUY, qty=Decimal(1)
        )
        answered = threading.Event()
        answers: list[Ack] = []

        async def ask(command: SubmitOrder = command, answers: list[Ack] = answers) -> None:
            answers.append(await app.request(command))

        def press(answered: threading.Event = answered, ask: Callable[[], Any] = ask) -> None:
            task = loop.create_task(ask())
            task.add_done_callback(lambda _: answered.set())

        posts.came.clear()
        began = time.perf_counter()
        loop.call_soon_threadsafe(press)
        sent_at = posts.wait()
        assert answered.wait(LIMIT_S)
        assert answers[0].outcome is Outcome.ACCEPTED, answers[0].message
        if number >= 3:
            taken.append(sent_at - began)
        time.sleep(PACE_S)
    return taken


async def under_a_face(host: HostThread, posts: Posts) -> list[float]:
    app = ConsoleApp(
        lambda: host.link.result(LIMIT_S), feed_columns=("rsi_14", "realized_vol_20"), mode="DEMO"
    )
    async with app.run_test(size=(120, 40)):
        async with asyncio.timeout(LIMIT_S):
            while not app.store.ready or app.store.frame is None:  # noqa: ASYNC110 — it has no event
                await asyncio.sleep(0.05)
        return await asyncio.to_thread(our_orders, asyncio.get_running_loop(), app, posts)


def main() -> None:
    posts = Posts()
    with tempfile.TemporaryDirectory(prefix="order-path-") as name:
        folder = Path(name)

        def load() -> Any:
            return load_settings(
                Overrides(
                    values=(*FREE_PORTS, *SETTINGS),
                    state_dir=folder / "state",
                    environment={"XDG_CONFIG_HOME": str(folder)},
                )
            )

        host = HostThread(load)
        host.start()
        try:
            link: Any = host.link.result(LIMIT_S)
            port = link._engine._session.endpoint.trading_url.rpartition(":")[2]
            row("a bare SQLite commit", commits(folder))
            row("alpaca-py: call → request's last byte", alpaca_orders(int(port), posts))
            ours = row("console: key → request's last byte", asyncio.run(under_a_face(host, posts)))
        finally:
            host.stop()
    for key, target in TARGETS_MS.items():
        verdict = "within" if ours[key] <= target else "over"
        print(f"  {key}: {ours[key]:.2f} ms, {verdict} the {target:g} ms aimed at")


if __name__ == "__main__":
    main()
