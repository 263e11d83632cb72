"""Row 12: recorded minute bars through the exchange, the features and a strategy; bars a second.

Four symbols over a year of sessions, prices a random walk with a fixed seed. The strategy is
`ema_cross`, in Rust and in Python, with quotes, orders, fills, the books, the risk gate and the
journal; how often it trades makes a difference, so there are two settings of it. Beside it, in the
same run: the same formula as a plain Python loop that fills at the close and keeps nothing but cash
and position, and in backtrader on one symbol. The best of some rounds, by the wall clock and by CPU
time, since other work may share the machine; ratios are of CPU time.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import exchange_calendars

from console.strategies.backtest import Conditions, Result, backtest
from console.strategies.ema_cross import EmaCross
from signal_bridge import Recording

QUICK = bool(os.environ.get("QUICK"))
SESSIONS = 20 if QUICK else 250
ROUNDS = 2 if QUICK else 5
PEER_SESSIONS = 5 if QUICK else 25
SYMBOLS = (("AAA", 100.0), ("BBB", 50.0), ("CCC", 180.0), ("DDD", 30.0))
CALM = {"fast": 60, "slow": 240}
# Random prices lose the spread in the end; a halted account would trade no more.
CONDITIONS = Conditions(limits={"max_drawdown_pct": 100, "max_daily_loss_pct": 100})

Bar = tuple[str, datetime, float, float, float, float, int, int]
"""Symbol, start, open, high, low, close, volume, minutes left to the close."""


def opens() -> list[datetime]:
    """The opens of the first whole sessions from 2012 on."""
    calendar = exchange_calendars.get_calendar("XNYS", start="2012-01-03", end="2013-12-31")
    schedule = calendar.schedule
    whole = schedule[schedule["close"] - schedule["open"] == timedelta(hours=6.5)]
    return [stamp.to_pydatetime() for stamp in whole["open"][:SESSIONS]]


def walk() -> list[Bar]:
    draw = random.Random(7)
    bars: list[Bar] = []
    for symbol, price in SYMBOLS:
        for start in opens():
            for minute in range(390):
                first = price
                price = round(max(1.0, first * (1 + draw.gauss(0, 0.0006))), 2)
                high = round(max(first, price) * (1 + abs(draw.gauss(0, 0.0003))), 2)
                low = round(min(first, price) * (1 - abs(draw.gauss(0, 0.0003))), 2)
                high, low = max(high, first, price), min(low, first, price)
                at = (start + timedelta(minutes=minute)).astimezone(UTC)
                volume = draw.randint(100, 50_000)
                bars.append((symbol, at, first, high, low, price, volume, 389 - minute))
    return bars


def recorded(bars: list[Bar]) -> Recording:
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "bars_1min.csv").open("w") as file:
            file.write("symbol,timestamp,open,high,low,close,volume\n")
            file.writelines(
                f"{s},{at:%Y-%m-%dT%H:%M:%SZ},{o:.2f},{h:.2f},{lo:.2f},{c:.2f},{v}\n"
                for s, at, o, h, lo, c, v, _ in bars
            )
        begun = time.perf_counter()
        recording = Recording(folder)
        print(f"   {recording.bars:,} bars read from CSV in {time.perf_counter() - begun:.2f} s")
    return recording


def plain_loop(bars: list[Bar]) -> int:
    """The same formula as anyone would write it first. Answers its trades."""
    fast_k, slow_k, reach, exit_minutes = 2 / 21, 2 / 61, 3.0, 5
    cash, trades = 100_000.0, 0
    state: dict[str, dict[str, float]] = {}
    for symbol, _at, _open, high, low, close, _volume, left in bars:
        known = state.get(symbol)
        if known is None:
            state[symbol] = {
                "fast": close, "slow": close, "atr": high - low, "before": close, "above": 0.0,
                "qty": 0.0, "stop": 0.0, "seen": 1.0,
            }  # fmt: skip
            continue
        known["fast"] += (close - known["fast"]) * fast_k
        known["slow"] += (close - known["slow"]) * slow_k
        true_range = max(high, known["before"]) - min(low, known["before"])
        known["atr"] += (true_range - known["atr"]) / 14
        known["before"] = close
        known["seen"] += 1
        if known["seen"] < 60:
            continue
        above, qty = float(known["fast"] > known["slow"]), known["qty"]
        crossed, known["above"] = above != known["above"], above
        wanted = qty
        distance = reach * known["atr"]
        if left <= exit_minutes:
            wanted = 0.0
        elif crossed:
            wanted = (1 if above else -1) * (10_000 // close)
            known["stop"] = close - distance if above else close + distance
        elif qty > 0:
            known["stop"] = max(known["stop"], close - distance)
            wanted = 0.0 if close <= known["stop"] else qty
        elif qty < 0:
            known["stop"] = min(known["stop"], close + distance)
            wanted = 0.0 if close >= known["stop"] else qty
        if wanted != qty:
            cash -= (wanted - qty) * close
            known["qty"] = wanted
            trades += 1
    return trades


def backtrader_run(bars: list[Bar]) -> int:
    """The same formula in backtrader, one symbol. Answers its bars."""
    import backtrader as bt
    import pandas as pd

    class Cross(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.fast, self.slow = bt.ind.EMA(period=20), bt.ind.EMA(period=60)
            self.crossed = bt.ind.CrossOver(self.fast, self.slow)
            self.atr = bt.ind.ATR(period=14)
            self.stop_at = 0.0

        def next(self) -> None:
            close, distance = self.data.close[0], 3.0 * self.atr[0]
            if self.crossed[0]:
                size = int(10_000 // close)
                self.stop_at = close - distance if self.crossed[0] > 0 else close + distance
                self.order_target_size(target=size if self.crossed[0] > 0 else -size)
            elif self.position.size > 0:
                self.stop_at = max(self.stop_at, close - distance)
                if close <= self.stop_at:
                    self.close()
            elif self.position.size < 0:
                self.stop_at = min(self.stop_at, close + distance)
                if close >= self.stop_at:
                    self.close()

    columns = ["datetime", "open", "high", "low", "close", "volume"]
    table = pd.DataFrame([bar[1:7] for bar in bars], columns=columns).set_index("datetime")
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=table))
    cerebro.addstrategy(Cross)
    cerebro.broker.setcash(100_000)
    cerebro.run()
    return len(table)


def best(bars: int, work: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float, Any]:
    """Bars a second by wall clock and by CPU time, the best of each, and the last answer."""
    wall, cpu, answer = 0.0, 0.0, None
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        answer = work()
        wall = max(wall, bars / (time.perf_counter() - begun))
        cpu = max(cpu, bars / (time.process_time() - used))
    return wall, cpu, answer


def say(name: str, wall: float, cpu: float, beside: float | None, note: str = "") -> None:
    ratio = "" if beside is None else f"{cpu / beside:.2f}"
    print(f"   {name:38} {wall:12,.0f}   {cpu:12,.0f}   {ratio:>9}   {note}")


def main() -> None:
    bars = walk()
    recording = recorded(bars)
    count = len(bars)

    def run(*, native: bool, **given: int) -> Result:
        return backtest(recording, EmaCross(**given), CONDITIONS, native=native)

    peer_bars = bars[: PEER_SESSIONS * 390]
    # In turn, so that what else the machine does meets them all.
    plain = best(count, lambda: plain_loop(bars), min(ROUNDS, 3))
    rust = best(count, lambda: run(native=True))
    calm = best(count, lambda: run(native=True, **CALM))
    python = best(count, lambda: run(native=False), min(ROUNDS, 3))
    other = best(len(peer_bars), lambda: backtrader_run(peer_bars), 2)

    head = f"bars a second, best of {ROUNDS}"
    print(f"\n   {head:38} {'wall clock':>12}   {'CPU time':>12}   {'× plain':>9}")
    often = f"{count / len(rust[2].orders):.0f} bars an order"
    seldom = f"{count / len(calm[2].orders):.0f} bars an order"
    say("strategy in Rust, averages 20/60", *rust[:2], plain[1], f"target 2,000,000; {often}")
    say("strategy in Rust, averages 60/240", *calm[:2], plain[1], f"target 2,000,000; {seldom}")
    say("strategy in Python, averages 20/60", *python[:2], plain[1], f"target 200,000; {often}")
    say(
        "plain Python loop, fills at the close", *plain[:2], None, "no quotes, books, gate, journal"
    )
    say("backtrader, one symbol", *other[:2], plain[1])
    result: Result = rust[2]
    alike = "the same" if result.hash == python[2].hash else "NOT THE SAME"
    print(
        f"\n   {len(result.orders):,} orders, {len(result.fills):,} fills, journal {result.hash[:16]}…;"
        f" in Rust and in Python {alike}"
    )


if __name__ == "__main__":
    main()
