"""The pre-trade gate: a check in Rust, through Python, and as the engine asks it.

The peer is the same arithmetic in plain Python with `decimal`: the limits that look at quantity,
notional, quote, collar, duplicates, rate, exposure and buying power, on the same state.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from signal_bridge import RiskGate

ROOT = Path(__file__).parents[2]
D = Decimal
SYMBOLS = [f"S{number}" for number in range(50)]
CHECKS, ROUNDS = 5_000, 9
NOW = 1001.0


def gate() -> RiskGate:
    """Fifty symbols quoted and held, an order open in each."""
    made = RiskGate("{}")
    made.set_session(True)
    made.set_account(D(1_000_000), D(1_000_000), D(1_000_000), D(2_000_000), D(2))
    for number, symbol in enumerate(SYMBOLS):
        made.set_quote(symbol, 99.99, 100.01, 100.0, 1000.0)
        made.set_position(symbol, D(number), D(100))
        made.set_order(f"order-{number}", symbol, "buy", D(10), D(99), in_doubt=False)
    return made


class PlainGate:
    """The peer: what a check costs where it is written in Python."""

    def __init__(self) -> None:
        self.positions = {symbol: D(number) for number, symbol in enumerate(SYMBOLS)}
        self.quotes = {symbol: (D("99.99"), D("100.01"), 1000.0) for symbol in SYMBOLS}
        self.orders = {symbol: [("buy", D(10), D(99))] for symbol in SYMBOLS}
        self.equity, self.last_equity = D(1_000_000), D(1_000_000)
        self.buying_power = D(2_000_000)
        self.recent: list[tuple[float, str, str, Decimal]] = []
        self.gross = sum((self._exposure(symbol) for symbol in SYMBOLS), D(0))

    def _exposure(self, symbol: str) -> Decimal:
        bid, ask, _ = self.quotes[symbol]
        mark = (bid + ask) / 2
        buying = sum(
            (q * max(p, mark) for side, q, p in self.orders[symbol] if side == "buy"), D(0)
        )
        selling = sum(
            (q * max(p, mark) for side, q, p in self.orders[symbol] if side == "sell"), D(0)
        )
        held = self.positions[symbol] * mark
        return max(abs(held), held + buying, -held + selling)

    def check(self, symbol: str, side: str, qty: Decimal) -> list[str]:
        refusals = []
        bid, ask, at = self.quotes[symbol]
        price = ask if side == "buy" else bid
        notional = price * qty
        if not D(0) < qty <= D(10_000):
            refusals.append("quantity")
        if NOW - at > 15.0:
            refusals.append("stale_quote")
        if ask > bid * (1 + D(5) / 100):
            refusals.append("price_collar")
        if notional > D(50_000):
            refusals.append("notional")
        if any(NOW - t <= 2.0 and rest == (symbol, side, qty) for t, *rest in self.recent):
            refusals.append("duplicate")
        if sum(1 for t, *_ in self.recent if NOW - t < 60.0) >= 120:
            refusals.append("order_rate")
        if sum(map(len, self.orders.values())) >= 100:
            refusals.append("open_orders")
        before = self._exposure(symbol)
        after = before + notional
        if after > D(100_000):
            refusals.append("position")
        if self.gross - before + after > self.equity * 200 / 100:
            refusals.append("gross_exposure")
        if notional > self.buying_power:
            refusals.append("buying_power")
        if (self.last_equity - self.equity) * 100 / self.last_equity >= D(5):
            refusals.append("daily_loss")
        return refusals


def best(work: Callable[[], object]) -> float:
    """Microseconds a call, the best of the rounds."""
    work()
    fastest = math.inf
    for _ in range(ROUNDS):
        started = time.thread_time_ns()
        for _ in range(CHECKS):
            work()
        fastest = min(fastest, (time.thread_time_ns() - started) / CHECKS / 1e3)
    return fastest


def in_rust() -> dict[str, float]:
    """Microseconds a check without Python around it."""
    command = ["cargo", "run", "--quiet", "--release", "-p", "risk-manager", "--example", "speed"]
    done = subprocess.run(
        command, cwd=ROOT / "rust", capture_output=True, text=True, check=True, timeout=900
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return {name: ns / 1e3 for name, ns in figures.items()}


def main() -> None:
    ours, plain = gate(), PlainGate()
    qty, price = D(100), D("100.00")
    assert ours.check("S7", "buy", qty, "market", now=NOW, record=False).allowed
    assert plain.check("S7", "buy", qty) == []

    def asked_in_full() -> object:
        verdict = ours.check("S7", "buy", qty, "limit", price, now=NOW, record=False)
        return (
            verdict.allowed, verdict.refusals, verdict.warnings, verdict.price, verdict.notional,
            verdict.equity_pct, verdict.buying_power_after, verdict.spread_cost,
            verdict.loss_at_stop, verdict.max_qty,
        )  # fmt: skip

    peer = best(lambda: plain.check("S7", "buy", qty))
    figures = {
        "plain Python, decimal, 11 checks": peer,
        "through Python, 20 checks": best(
            lambda: ours.check("S7", "buy", qty, "market", now=NOW, record=False)
        ),
        "through Python, all that it tells": best(asked_in_full),
        "a quote told": best(lambda: ours.set_quote("S7", 99.99, 100.01, 100.0, 1000.0)),
    }
    for name, value in in_rust().items():
        figures[f"in Rust, {name}"] = value
    print("A pre-trade check   (target: 5 µs)")
    for name, value in figures.items():
        print(f"   {name:36} {value:8.2f} µs   {value / peer:6.3f} of plain Python")


if __name__ == "__main__":
    main()
