"""Recorded prices on the bus without an exchange: all of them, in order, counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from console.bridge import ZMQSubscriber
from console.services import sample_dir
from signal_bridge import Recording, Tape
from tests.conftest import LIMIT_S, ROOT


async def replay(tmp_path: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "console", "replay", "--set", "ports.market=0", "--format", "json",
        *arguments,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def endpoint_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), LIMIT_S)
    endpoint: str = json.loads(line)["endpoint"]
    return endpoint


async def ended(process: asyncio.subprocess.Process) -> dict[str, Any]:
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 0, err.decode()
    told: dict[str, Any] = json.loads(out)
    return told


async def test_every_recorded_price_arrives_however_fast(
    tmp_path: Path, until_async: Callable[..., Awaitable[Any]]
) -> None:
    process = await replay(
        tmp_path, "--speed", "0", "--symbols", "AIG,IBM", "--to", "2013-10-07", "--set",
        "bus.high_water_mark=200",
    )  # fmt: skip
    heard: list[dict[str, Any]] = []
    try:
        async with ZMQSubscriber(await endpoint_of(process), high_water_mark=200) as market:
            await market.connect(["market"])

            async def listen() -> None:
                async for _topic, message in market.receive():
                    heard.append(message)

            listening = asyncio.create_task(listen())
            told = await ended(process)
            await until_async(lambda: not market.health().connections)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            assert (market.health().gaps, market.health().malformed) == (0, 0)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    recording = Recording(sample_dir())
    tape = Tape(recording, ["AIG", "IBM"], None, "2013-10-07", 60.0)
    recorded = tape.take(2**62, 10**9)
    kinds = {"quote": "QuoteUpdate", "trade": "TradeUpdate", "bar": "BarUpdate"}
    expected = [(kinds[t[0]], t[1], t[2]) for t in recorded]
    market_messages = [m for m in heard if m["type"] != "Heartbeat"]
    assert [(m["type"], m["symbol"], m["timestamp"]) for m in market_messages] == expected
    assert told["bars"] == sum(t[0] == "bar" for t in recorded) > 700
    assert told["bars"] + told["quotes"] + told["trades"] == len(expected)
    assert {m["source"] for m in heard if m["type"] == "BarUpdate"} == {"replay"}


async def test_a_signal_ends_it_and_it_says_how_far_it_came(tmp_path: Path) -> None:
    process = await replay(tmp_path, "--speed", "300", "--bars")
    try:
        async with ZMQSubscriber(await endpoint_of(process)) as market:
            await market.connect(["market"])
            bars = 0
            async with asyncio.timeout(LIMIT_S):
                async for _topic, message in market.receive():
                    assert message["type"] in ("BarUpdate", "Heartbeat")
                    bars += message["type"] == "BarUpdate"
                    if bars >= 4:
                        break
            process.send_signal(signal.SIGTERM)
            told = await ended(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert 4 <= told["bars"] < 2_000
    assert told["quotes"] == told["trades"] == 0
    assert told["last_at"].startswith("2013-10-07T")


async def test_without_a_reader_it_ends_with_69(tmp_path: Path) -> None:
    process = await replay(tmp_path, "--wait", "0.2")
    await endpoint_of(process)
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 69
    assert json.loads(out)["exit_code"] == 69
    assert "nobody listens" in err.decode()
