"""`trading-console journal`: what it prints, what it exits with, and what it leaves alone."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.cli.app import run
from console.engine.journal import Journal

DAY = 86_400 * 10**9
NAME = "journal-demo.db"
Run = Callable[..., tuple[int, str, str]]


def order(client_order_id: str, state: str, **fields: str) -> dict[str, Any]:
    view = {"client_order_id": client_order_id, "symbol": "IBM", "side": "buy", "qty": "100"}
    return {"text": f"{state.lower()}: buy 100 IBM", "order": view | {"state": state} | fields}


FILL = {
    "at": "2019-01-02T14:31:00Z", "side": "buy", "qty": "100", "symbol": "IBM", "price": "182.51",
    "client_order_id": "tc-1", "execution_id": "e-1", "bid": "182.50", "ask": "182.52",
}  # fmt: skip


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A journal of four days: an order that is filled, and one that a stranger named."""
    state_dir = tmp_path / "state"
    at = [DAY]
    journal = Journal.open(state_dir, name=NAME, wall_ns=lambda: at[0])
    for kind, subject, body, is_open, keys in (
        ("order", "tc-1", order("tc-1", "SENDING"), True, ["cmd:c-1"]),
        ("order", "tc-1", order("tc-1", "WORKING", id="b-1"), True, ["id:b-1"]),
        ("fill", "tc-1", {"text": "buy 100 IBM at 182.51", "fill": FILL}, None, ["exec:e-1"]),
        ("order", "tc-1", order("tc-1", "FILLED", id="b-1"), False, []),
        ("order", "x", order("=HYPERLINK(1)", "CANCELED", reason="a|b\u202ec\x1b[2J"), False, []),
    ):
        journal.append(kind, subject, body, is_open=is_open, keys=keys).result(30)
        at[0] += DAY
    journal.close()
    return state_dir


@pytest.fixture
def journal(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def ask(*arguments: str) -> tuple[int, str, str]:
        code = run(["journal", *arguments, "--state-dir", str(state_dir), "--demo"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return ask


def harm(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE journal SET subject='y' WHERE seq=2")
    connection.close()


def test_verify_says_that_it_is_sound(journal: Run, state_dir: Path) -> None:
    code, out, _ = journal("verify")
    assert (code, out) == (0, f"{state_dir / NAME}: rows 1 to 5 are sound\n")
    code, out, _ = journal("verify", "--format", "json")
    document = json.loads(out)
    assert (code, document["sound"], document["rows"]) == (0, True, 5)


def test_verify_names_the_row_that_was_changed(journal: Run, state_dir: Path) -> None:
    harm(state_dir / NAME)
    code, out, _ = journal("verify")
    assert code == 1
    assert "row 2 was changed after it was written" in out
    code, out, _ = journal("verify", "--format", "json")
    document = json.loads(out)
    assert (code, document["sound"], document["files"][0]["broken_at"]) == (1, False, 2)


def test_verify_of_what_is_no_journal_is_one_line(journal: Run, state_dir: Path) -> None:
    (state_dir / NAME).write_bytes(b"no database " * 1000)
    code, _, err = journal("verify")
    assert code == 1
    assert "can't be read" in err


def test_where_there_is_none_it_is_said(tmp_path: Path, capsys: Any) -> None:
    assert run(["journal", "verify", "--state-dir", str(tmp_path), "--demo"]) == 69
    assert "no journal in" in capsys.readouterr().err


@pytest.mark.parametrize("identity", ["tc-1", "b-1", "c-1"])
def test_show_tells_one_orders_story_by_each_of_its_ids(journal: Run, identity: str) -> None:
    code, out, _ = journal("show", identity, "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["at"] == "1970-01-02T00:00:00.000Z"
    assert rows[2]["body"]["fill"]["price"] == "182.51"


def test_show_prints_the_last_rows_and_nothing_that_moves_the_cursor(journal: Run) -> None:
    code, out, _ = journal("show", "--last", "2")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["4", "5"]
    assert out.replace("\n", "").isprintable()
    assert journal("show", "nobody")[0] == 1


def test_rows_become_csv(journal: Run) -> None:
    code, out, _ = journal("export")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["seq"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[2]["text"] == "buy 100 IBM at 182.51"


def test_orders_become_csv_as_they_last_stood_and_no_formula(journal: Run, tmp_path: Path) -> None:
    target = tmp_path / "orders.csv"
    assert journal("export", "orders", "-o", str(target))[:2] == (0, "")
    rows = list(csv.DictReader(target.open()))
    assert [row["state"] for row in rows] == ["FILLED", "CANCELED"]
    assert rows[1]["client_order_id"] == "'=HYPERLINK(1)"
    assert rows[1]["reason"] == "a|b\\u202ec\\x1b[2J"
    assert target.stat().st_mode & 0o077 == 0


def test_fills_become_a_markdown_table(journal: Run) -> None:
    _, out, _ = journal("export", "fills", "--format", "markdown")
    head, rule, line = out.splitlines()
    assert head.startswith("| at | side | qty | symbol | price |")
    assert set(rule) == set("| -")
    assert line.startswith("| 2019-01-02T14:31:00Z | buy | 100 | IBM | 182.51 | 182.50 |")


def test_rows_become_json_lines_within_the_times_asked_for(journal: Run) -> None:
    arguments = ("--since", "1970-01-03", "--before", "1970-01-05T00:00:00Z")
    code, out, _ = journal("export", "--format", "jsonl", *arguments)
    assert code == 0
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [2, 3]
    assert journal("export", "--since", "yesterday")[0] == 2


def test_prune_moves_and_everything_is_still_read(journal: Run, state_dir: Path) -> None:
    code, out, _ = journal("prune", "--before", "1970-01-05", "--format", "json")
    done = json.loads(out)
    assert (code, done["archived"], done["first"], done["last"]) == (0, 3, 1, 3)
    assert len(list(state_dir.glob("*.db"))) == 2
    code, out, _ = journal("verify")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert [row["seq"] for row in json.loads(journal("show", "b-1", "--format", "json")[1])] == [
        1, 2, 3, 4,
    ]  # fmt: skip
    assert "182.51" in journal("export", "fills")[1]
    archive = done["archive"]
    assert journal("verify", "--file", archive)[0] == 0
    harm(Path(archive))
    assert journal("verify")[0] == 1


def test_prune_leaves_a_running_engine_alone(journal: Run, state_dir: Path) -> None:
    running = Journal.open(state_dir, name=NAME)
    code, _, err = journal("prune", "--before", "2020-01-01")
    assert code == 73
    assert "in use by another engine" in err
    assert journal("verify")[0] == 0
    running.close()
