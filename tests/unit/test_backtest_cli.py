"""`trading-console backtest`, `strategy list`, and what they say of mistakes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from console.cli import main
from tests.conftest import ROOT

Run = Callable[..., tuple[int, str, str]]

BROKEN = """
from console.strategies import Strategy

class Broken(Strategy):
    def on_bar(self, bar, features, portfolio):
        return 1 / 0
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["backtest", *arguments, "--symbols", "AIG"])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_text_for_people(run: Run) -> None:
    code, out, err = run("ema_cross", "--param", "fast=10", "--param", "slow=30")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "ema_cross, 2013-10-07 to 2013-10-09"
    assert lines[-1].startswith("journal ")
    assert len(lines[-1].split()[1]) == 64
    assert "total return" in out
    assert " a second" in err


def test_json_for_programs_and_the_files(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "ema_cross", "--format", "json", "--out", str(tmp_path / "run"), "--seed", "3"
    )
    assert code == 0, err
    told = json.loads(out)
    assert (told["strategy"], told["seed"], told["symbols"]) == ("ema_cross", 3, ["AIG"])
    journal = (tmp_path / "run" / "journal.log").read_bytes()
    assert told["hash"] == hashlib.sha256(journal).hexdigest()
    assert str(tmp_path / "run" / "report.md") in told["files"]
    # The twin says the same.
    code, out, err = run("ema_cross", "--format", "json", "--seed", "3", "--native")
    assert (code, json.loads(out)["hash"]) == (0, told["hash"]), err


def test_settings_count(run: Run) -> None:
    def told(*arguments: str) -> dict[str, object]:
        code, out, err = run("ema_cross", "--format", "json", *arguments)
        assert code == 0, err
        document: dict[str, object] = json.loads(out)
        return document

    plain, slow = told(), told("--set", "demo.latency_ms=1500", "--set", "demo.slippage_bp=5")
    assert (slow["latency_ms"], slow["slippage_bp"]) == (1500, 5)
    assert slow["equity"] != plain["equity"]
    tight = told("--set", "risk.max_order_notional=5000")
    assert tight["orders"] == 0
    assert set(tight["refusals"]) == {"notional"}  # type: ignore[call-overload]
    assert told("--set", "risk.max_order_notional=5000", "--no-limits")["orders"] == plain["orders"]


def test_a_sweep_is_ranked_and_every_run_is_there(run: Run, tmp_path: Path) -> None:
    given = ("--sweep", "fast=5,10", "--sweep", "slow=8,30", "--out", str(tmp_path))
    code, out, err = run("ema_cross", *given, "--format", "json")
    assert code == 0, err
    runs = json.loads(out)["runs"]
    swept = sorted((r["parameters"]["fast"], r["parameters"]["slow"]) for r in runs)
    assert swept == [(5, 8), (5, 30), (10, 30)]
    ratios = [r["metrics"]["sharpe"] for r in runs]
    assert ratios == sorted(ratios, reverse=True)
    rows = (tmp_path / "sweep.csv").read_text().splitlines()
    assert rows[0].startswith("fast,slow,")
    assert len(rows) == 4
    code, out, _ = run("ema_cross", *given[:4])
    assert code == 0
    assert "The best of 3 is partly luck" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nosuch",), 2, "strategy 'nosuch' isn't known"),
        (("ema_cross", "--param", "fast=1"), 2, "parameter fast = 1"),
        (("ema_cross", "--param", "fest=1"), 2, "did you mean fast?"),
        (("ema_cross", "--cash", "much"), 2, "--cash 'much': dollars are wanted"),
        (("ema_cross", "--from", "2020-01-01"), 2, "the recording holds 2013-10-07"),
        (("ema_cross", "--data", "/no/such/folder"), 78, "/no/such/folder"),
        (("opening_range", "--native"), 2, "has no twin in Rust"),
    ],
)
def test_mistakes_are_one_line_with_an_exit_code(
    run: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = run(*arguments)
    assert got == code, err
    assert said in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1


def test_a_strategy_s_own_mistake_is_told_with_its_place(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    code, _out, err = run(str(file))
    assert code == 1
    assert f"broken: ZeroDivisionError: division by zero ({file}, line 6, " in err
    assert "a bar of AIG at 1381152600000000000 ns" in err


def test_the_example_of_the_manual_runs(run: Run, tmp_path: Path) -> None:
    manual = (ROOT / "docs" / "strategies.md").read_text()
    file = tmp_path / "momentum.py"
    file.write_text(manual.split("```python\n")[1].split("```")[0])
    code, out, err = run(f"{file}:Momentum", "--param", "window=20", "--format", "json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["strategy"], told["parameters"]) == ("momentum", {"window": 20})
    assert told["metrics"]["trades"] > 5
    assert told["positions"] == {}


def test_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategy", "list"]) == 0
    out = capsys.readouterr().out
    for name in ("bollinger_reversion", "ema_cross", "opening_range"):
        assert f"\n{name}: " in f"\n{out}"
    assert main(["strategy", "list", "--format", "json"]) == 0
    told = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert told["ema_cross"]["native"] is True
    assert told["ema_cross"]["parameters"]["fast"]["high"] == 1950


def test_a_strategy_without_an_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategy", "run", "ema_cross", "--state-dir", str(tmp_path)]) == 69
    assert "no engine runs on" in capsys.readouterr().err
