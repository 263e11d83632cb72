"""The paper exchange: orders in its core and over HTTP, a day replayed at 1000×, memory over ten days.

The HTTP figures stand beside a bare axum server that answers a POST of the same size, under the same
eight clients in the same run; the core's are the exchange without sockets, disk or clock.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

RUST = Path(__file__).parents[2] / "rust"
LIMIT_S = 900


def figures(example: str) -> dict[str, Any]:
    """What one of the crate's examples measures."""
    command = ["cargo", "run", "--release", "--quiet", "-p", "paper-exchange", "--example", example]
    done = subprocess.run(
        command, cwd=RUST, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def core() -> None:
    print("\nthe core alone   (target: 500,000 operations a second)")
    for name, rate in figures("speed").items():
        print(f"   {name:38} {rate:14,.0f} /s")


def over_http() -> None:
    measured = figures("load")
    memory = measured.pop("memory_mb_by_day")
    replay = measured.pop("replay_1000x")
    peers = {True: measured.pop("bare axum, one client"), False: measured.pop("bare axum")}
    print("\norders over HTTP, 8 connections   (target: 2,000 a second)")
    for name, figure in measured.items():
        if "rate" in figure:
            share = figure["rate"] / peers[False]["rate"]
            print(f"   {name:38} {figure['rate']:10,.0f} /s   {share:.2f} of a bare axum's")
    print(f"   {'bare axum':38} {peers[False]['rate']:10,.0f} /s")
    print("\nan order, one client at 500 a second   (target: p99 under 2 ms where all is quiet)")
    for name, figure in [*measured.items(), ("bare axum, one client", peers[True])]:
        if name.endswith("one client"):
            print(f"   {name:38} p50 {figure['p50_ms']:6.2f} ms   p99 {figure['p99_ms']:6.2f} ms")
    print("\na recorded day at 1000×, 8 clients subscribed to everything   (target: it keeps up)")
    print(f"   {replay['market_s_a_s']:.1f} market seconds a second", end="")
    print(f", {replay['messages_a_s']:,.0f} messages a second")
    print("\nmemory after each of ten replayed days   (target: constant)")
    print("   " + "  ".join(f"{size:.0f}" for size in memory) + " MB")


def main() -> None:
    core()
    over_http()


if __name__ == "__main__":
    main()
