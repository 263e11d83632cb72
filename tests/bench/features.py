"""Features beside their peers: streaming, batch, many symbols, microstructure, snapshots.

Peers run in the same process by turns with ours; each figure is the best of its rounds, in CPU time
of the thread, so that a busy machine disturbs it less (two threads against one: by the wall clock).
Libraries that aren't installed are left out and said so (`make bench` installs them). At the end
stands every figure beside its target.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from signal_bridge import Bar, FeatureComputer, Microstructure
from tests.bench import _peers as peers

# Before polars is imported: the others have one thread too.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

ROOT = Path(__file__).parents[2]
BARS, SYMBOLS, MINUTES = 100_000, 500, 390
Floats = NDArray[np.float64]
Work = Callable[[], object]
Figures = dict[str, float]


@dataclass(frozen=True)
class Row:
    """A figure and its target; `least` where more is better."""

    work: str
    value: float
    target: float
    unit: str
    least: bool = False

    def __str__(self) -> str:
        met = self.value >= self.target if self.least else self.value <= self.target
        sign = "≥" if self.least else "≤"
        shown, wanted = f"{self.value:,.3g} {self.unit}", f"{sign} {self.target:g} {self.unit}"
        return f"   {self.work:46} {shown:>14}   {wanted:>12}   {'met' if met else 'MISSED'}"


@dataclass(frozen=True)
class Libraries:
    """The peers that are installed."""

    numba: ModuleType | None
    tulipy: ModuleType | None
    wickra: ModuleType | None
    polars: ModuleType | None

    @classmethod
    def installed(cls) -> Libraries:
        return cls(*(_optional(name) for name in ("numba", "tulipy", "wickra", "polars")))


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"   {name} isn't installed and is left out")
        return None


def measure(works: dict[str, Work], items: int, rounds: int = 9) -> Figures:
    """Nanoseconds of CPU an item, the best of the rounds, all by turns of three."""
    best = dict.fromkeys(works, math.inf)
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            # Again at once, as who measures one alone does: the others emptied the cache.
            for _ in range(3):
                started = time.thread_time_ns()
                work()
                best[name] = min(best[name], (time.thread_time_ns() - started) / items)
    return best


def table(title: str, figures: Figures, ours: str) -> None:
    print(f"\n{title}")
    for name, value in figures.items():
        ratio = "" if name == ours else f"   {ours} takes {figures[ours] / value:.3f} of it"
        print(f"   {name:34} {value:10.1f} ns{ratio}")


def walk(bars: int, seed: int = 1) -> list[Floats]:
    """Open, high, low, close, volume in whole cents."""
    rng = np.random.default_rng(seed)
    close = 150 + np.cumsum(np.round(rng.normal(0, 0.05, bars), 2))
    close += max(0.0, 1 - float(close.min()))
    high = close + np.round(rng.random(bars) * 0.05, 2)
    low = close - np.round(rng.random(bars) * 0.05, 2)
    return [close.copy(), high, low, close, np.round(rng.random(bars) * 1000) + 1]


def recorded(polars: ModuleType | None, bars: int) -> list[Floats]:
    """The sample's minutes of SPY, again and again; a walk where nothing reads them."""
    if polars is None:
        print("polars, which reads the recorded bars, isn't installed: a random walk instead")
        return walk(bars)
    table = polars.read_parquet(ROOT / "console" / "sample" / "bars_1min.parquet")
    minutes = table.filter(polars.col("symbol") == "SPY").sort("timestamp")
    columns = [minutes[name].to_numpy() for name in ("open", "high", "low", "close", "volume")]
    return [np.resize(column.astype(np.float64), bars) for column in columns]


def streaming(libraries: Libraries) -> list[Row]:
    count = 2_000
    rows = list(zip(*(column.tolist() for column in walk(count)), strict=True))
    bars = [Bar("SPY", *row, at) for at, row in enumerate(rows)]
    computer, out, plain = FeatureComputer(), np.empty(31), peers.PlainPython()
    window = [np.ascontiguousarray(x) for x in walk(256)]

    def into() -> None:
        update = computer.update_into
        for bar in bars:
            update(bar, out)

    def mapping() -> None:
        update = computer.compute_streaming
        for bar in bars:
            update(bar)

    def plain_python() -> None:
        update = plain.update
        for row in rows:
            update(*row)

    works: dict[str, Work] = {
        "update_into": into,
        "compute_streaming, a dict": mapping,
        "plain Python": plain_python,
    }
    if libraries.numba is not None:
        step, _ = peers.numba_fused(libraries.numba)
        state, rings = np.zeros(32), np.zeros((9, 32))

        def numba() -> None:
            for o, h, lo, c, v in rows:
                step(state, rings, o, h, lo, c, v, out)

        works["numba, one fused call"] = numba
    if libraries.wickra is not None:
        update = peers.wickra_stream(libraries.wickra)

        def wickra() -> None:
            for row in rows:
                update(*row)

        works["wickra, 20 calls"] = wickra
    figures = measure(works, count, 25)
    on_window = measure({"": lambda: peers.talib_set(*window)}, 1, 200)[""]
    table(
        "One bar through Python, 31 numbers",
        figures | {"TA-Lib on a window of 256": on_window},
        "update_into",
    )
    ours = figures["update_into"]
    found = [
        Row("update_into", ours, 150, "ns"),
        Row("update_into: of plain Python", figures["plain Python"] / ours, 25, "×", least=True),
        Row("compute_streaming", figures["compute_streaming, a dict"], 800, "ns"),
    ]
    if "numba, one fused call" in figures:
        share = ours / figures["numba, one fused call"]
        found.insert(1, Row("update_into: of numba's time", share, 0.4, "×"))
    return found


def batch(libraries: Libraries) -> list[Row]:
    columns = recorded(libraries.polars, BARS)
    computer, out = FeatureComputer(), np.empty((31, BARS))
    works: dict[str, Work] = {
        "compute_batch": lambda: computer.compute_batch(*columns, out=out),
        "TA-Lib": lambda: peers.talib_set(*columns),
    }
    if libraries.numba is not None:
        _, run = peers.numba_fused(libraries.numba)
        rows = np.empty((BARS, 31))
        works["numba, one fused pass"] = lambda: run(*columns, rows)
    for name, library, work in (
        ("tulipy", libraries.tulipy, peers.tulipy_set),
        ("wickra", libraries.wickra, peers.wickra_set),
    ):
        if library is not None:
            works[name] = lambda work=work, library=library: work(library, *columns)  # type: ignore[misc]
    if libraries.polars is not None:
        works["polars, 8 of 31"] = peers.polars_windows(libraries.polars, columns[3])
    figures = measure(works, BARS, 15)
    table("A series of 100,000 recorded bars, a bar", figures, "compute_batch")
    ours, talib = figures["compute_batch"], figures["TA-Lib"]
    found = [Row("a series: of TA-Lib's time", ours / talib, 0.30, "×")]
    if "numba, one fused pass" in figures:
        share = ours / figures["numba, one fused pass"]
        found.append(Row("a series: of numba's time", share, 0.4, "×"))
    return found + in_rust(lambda: measure({"": lambda: peers.talib_set(*columns)}, BARS, 7)[""])


def in_rust(talib: Callable[[], float]) -> list[Row]:
    """Without Python around it, and each path; TA-Lib before and after each round."""
    command = ["cargo", "run", "--release", "--quiet", "-p", "features", "--example"]
    best: Figures = {}
    fastest = talib()
    for _ in range(3):
        done = subprocess.run(
            [*command, "features_speed"],
            cwd=ROOT / "rust", capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        if done.returncode != 0:
            print(f"\nIn Rust alone: not built: {done.stderr.strip().splitlines()[-1]}")
            return []
        for name, value in json.loads(done.stdout).items():
            best[name] = min(best.get(name, math.inf), value)
        fastest = min(fastest, talib())
    print("\nIn Rust alone, ns a bar or event, by the wall clock")
    for name, value in best.items():
        print(f"   {name:34} {value:10.1f} ns")
    return [
        Row("one bar in Rust", best["streaming"], 90, "ns"),
        Row("plain x86-64: of TA-Lib's time", best["batch_plain"] / fastest, 0.5, "×"),
        Row("microstructure, a quote or trade", best["microstructure"], 150, "ns"),
    ]


def many(libraries: Libraries) -> list[Row]:
    series = [walk(MINUTES, seed) for seed in range(SYMBOLS)]
    columns = [np.stack([one[at] for one in series]) for at in range(5)]
    turned = [np.ascontiguousarray(column.T) for column in columns]
    computer, out = FeatureComputer(), np.empty((SYMBOLS, 31, MINUTES))

    def loop() -> None:
        for one in series:
            peers.talib_set(*one)

    works: dict[str, Work] = {
        "compute_many": lambda: computer.compute_many(*columns, out=out),
        "compute_many, bars in rows": lambda: computer.compute_many(
            *turned, out=out, layout="bar_symbol"
        ),
        "TA-Lib, a loop": loop,
    }
    if libraries.numba is not None:
        _, run = peers.numba_fused(libraries.numba)
        rows = np.empty((MINUTES, 31))

        def fused() -> None:
            for one in series:
                run(*one, rows)

        works["numba, fused, into one array"] = fused
    figures = measure(works, SYMBOLS * MINUTES, 11)
    table("500 symbols of 390 bars, a bar", figures, "compute_many")
    wall, cpu = dict.fromkeys((1, 2), math.inf), dict.fromkeys((1, 2), math.inf)
    for _ in range(60):
        for threads in wall:
            started, spent = time.perf_counter(), time.process_time()
            computer.compute_many(*columns, out=out, threads=threads)
            cpu[threads] = min(cpu[threads], time.process_time() - spent)
            wall[threads] = min(wall[threads], time.perf_counter() - started)
    print(
        f"   two threads take {cpu[2] / cpu[1]:.3f} of one's CPU time: with two cores to themselves"
        f" they would be {2 * cpu[1] / cpu[2]:.2f} × as fast"
    )
    return [
        Row("many: of TA-Lib's time", figures["compute_many"] / figures["TA-Lib, a loop"], 0.3, "×"),
        Row("many: two threads, of one", wall[1] / wall[2], 1.8, "×", least=True),
    ]  # fmt: skip


def events(_: Libraries) -> list[Row]:
    measures, count = Microstructure(), 20_000
    moments = np.arange(count, dtype=np.int64) * 1_000_000_000
    _open, high, low, close, volume = walk(count)
    quotes = (moments, low, volume, high, volume)
    works: dict[str, Work] = {
        "compute_batch": lambda: measures.compute_batch(*quotes, moments, close, volume),
    }
    figures = measure(works, 2 * count)
    table("Microstructure, a quote or trade, through Python", figures, "compute_batch")
    return []


def snapshots(_: Libraries) -> list[Row]:
    computer = FeatureComputer()
    for symbol in range(500):
        for _round in range(3):
            computer.compute_streaming(Bar(f"S{symbol}", 1, 1, 1, 1, 1, 0))
    works: dict[str, Work] = {"both": lambda: computer.restore(computer.snapshot())}
    milliseconds = measure(works, 1)["both"] / 1e6
    return [Row("snapshot and restore of 500 symbols", milliseconds, 5, "ms")]


def main() -> int:
    np.seterr(all="ignore")
    libraries = Libraries.installed()
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"load {load} on {os.cpu_count()} cores")
    sections: tuple[Callable[[Libraries], list[Row]], ...] = (
        streaming, batch, many, events, snapshots,
    )  # fmt: skip
    rows = [row for section in sections for row in section(libraries)]
    print("\n   figure                                              measured         target")
    for row in rows:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
