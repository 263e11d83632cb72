"""The command line in this process: what it answers to people and programs, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.cli import _face_options, main
from console.cli.client import exit_code, status_document, status_text
from console.cli.output import money, number, plain, table
from console.engine.commands import Ack, CancelAll, Outcome, SubmitOrder
from console.engine.runtime import RuntimeInfo
from console.engine.state import (
    EngineView,
    OrderState,
    OrderType,
    OrderView,
    PositionView,
    Side,
    TimeInForce,
    TradingState,
    TrailPhase,
    TrailView,
)
from tests.conftest import FREE_PORTS

Run = Callable[..., tuple[int, str, str]]
AT = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def order(state: OrderState, filled: int = 0) -> OrderView:
    return OrderView(
        client_order_id="c1",
        id="b1",
        symbol="IBM",
        side=Side.BUY,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        qty=Decimal(100),
        filled_qty=Decimal(filled),
        state=state,
        created_at=AT,
        updated_at=AT,
    )


def runtime(**given: Any) -> RuntimeInfo:
    values: dict[str, Any] = {"pid": os.getpid(), "mode": "DEMO", "started_at": AT, "ports": {}}
    return RuntimeInfo(**(values | given))


# -- mistakes are one line with an exit code ---------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["config", "check", "--set", "ports.helth=1"], 78, ["ports.helth", "did you mean health"]),
        (["config", "check", "--set", "ui.theme=nope"], 78, ["ui.theme", "--set", "high-contrast"]),
        (["config", "check", "--set", "ui.keys.order.buy=s"], 78, ["'s'", "order.sell", "--set"]),
        (["headless", "--set", "ports.health=x"], 78, ["ports.health = x"]),
        (["headless", "--live-paper"], 78, ["ALPACA_API_KEY", "--demo"]),
        (["headless", "--demo", "--live-paper"], 78, ["can't both"]),
        (["headless", "--profile", "prd"], 78, ["did you mean prod"]),
        (["headless", "--config", "/nowhere.toml"], 78, ["/nowhere.toml", "can't be read"]),
        (["headless", "--demo", "--set", "demo.data=/nowhere"], 78, ["demo.data", "is no folder"]),
        (["headles"], 2, ["headles", "--help"]),
        (["order"], 2, ["LINE"]),
        (["order", "buy ten IBM"], 2, ["'ten' is not a quantity"]),
        (["order", "buy 1 IBM", "--source", ""], 2, ["--source"]),
        (["order", "buy 1 IBM", "--wait", "x"], 2, ["--wait"]),
        (["service", "foo"], 2, ["market-data", "risk-manager"]),
        (["status"], 69, ["no engine runs", "--state-dir"]),
        (["status", "--state-dir", "/nowhere"], 69, ["/nowhere", "headless"]),
        (["attach", "--state-dir", "/nowhere"], 69, ["/nowhere"]),
        (["cancel", "all", "--state-dir", "/nowhere"], 69, ["/nowhere"]),
        (["flatten", "--state-dir", "/nowhere"], 2, ["--yes"]),
        (["exchange", "--speed", "0"], 78, ["demo.speed", "at least 1"]),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    run: Run, arguments: list[str], code: int, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
    got, out, err = run(*arguments)
    assert got == code, err
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("trading-console: ")
    for part in parts:
        assert part in err


def test_with_json_the_mistake_is_a_document_too(run: Run) -> None:
    code, out, err = run("status", "--format", "json")
    assert code == 69
    assert json.loads(out)["exit_code"] == 69
    assert json.loads(out)["error"] in err


def test_an_engine_that_died_is_told_from_none(run: Run, tmp_path: Path) -> None:
    # The highest number a process can have: nobody's.
    runtime(pid=2**22 - 1).write(tmp_path)
    code, _, err = run("status", "--state-dir", str(tmp_path))
    assert code == 69
    assert "has died" in err


def test_several_engines_are_not_guessed_between(run: Run, tmp_path: Path) -> None:
    for mode in ("demo", "paper"):
        folder = tmp_path / "xdg-state" / "trading-console" / mode
        folder.mkdir(parents=True)
        runtime().write(folder)
    code, _, err = run("status")
    assert code == 2
    assert "--state-dir" in err


# -- answers ---------------------------------------------------------------------------------


def test_help_is_plain_and_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name in (
        "headless", "attach", "status", "order", "cancel", "flatten", "halt", "reduce", "resume",
        "doctor", "exchange", "service", "up", "config", "keys", "journal",
    ):  # fmt: skip
        assert re.search(rf"^  {name} ", out, re.MULTILINE), name


def test_config_show_says_where_a_setting_came_from(run: Run) -> None:
    code, out, _ = run("config", "show", "--set", "feed.history=400")
    assert code == 0
    assert re.search(r"^history = 400 +# --set$", out, re.MULTILINE)
    assert "demo" in out
    assert 'secret_key = "***' in out


def test_config_show_is_toml_that_loads_again(run: Run, tmp_path: Path) -> None:
    _, out, _ = run("config", "show", "--set", "risk.symbols.BRK.B.max_order_qty=5")
    path = tmp_path / "again.toml"
    path.write_text(out)
    code, again, err = run("config", "check", "--config", str(path), "--format", "json")
    assert code == 0, err
    assert json.loads(again)["valid"] is True


def test_options_may_stand_before_the_command(run: Run, tmp_path: Path) -> None:
    code, _, err = run("--state-dir", str(tmp_path), "status")
    assert code == 69
    assert str(tmp_path) in err
    _, out, _ = run("--set", "feed.history=400", "config", "show", "--format", "json")
    assert json.loads(out)["feed"]["history"] == 400


def test_keys_are_never_printed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", "PKSECRETID")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "the-secret-itself")
    for arguments in (
        ["keys"],
        ["keys", "--format", "json"],
        ["config", "show"],
        ["config", "show", "--format", "json"],
    ):
        code, out, err = run(*arguments)
        assert code == 0
        assert "the-secret-itself" not in out + err
        assert "PKSECRETID" not in out + err


def test_keys_new_makes_the_files_of_a_secured_bus(run: Run, tmp_path: Path) -> None:
    code, out, err = run("keys", "new", "--state-dir", str(tmp_path), "--format", "json")
    assert code == 0, err
    folder = Path(json.loads(out)["folder"])
    assert folder == tmp_path / "keys"
    for path in folder.glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0


def test_doctor_says_what_to_do_about_a_taken_port(
    run: Run, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code, out, _ = run(
            "doctor", "--state-dir", str(tmp_path), "--set", f"ports.health={port}",
            "--format", "json",
        )  # fmt: skip
    assert code == 78
    (fault,) = [c for c in json.loads(out)["checks"] if str(port) in c["message"]]
    assert fault["verdict"] == "fault"
    assert "--set ports.health=0" in fault["remedy"]


def test_doctor_leaves_the_ports_of_services_apart_and_looks_for_the_keys_of_the_bus(
    run: Run, tmp_path: Path
) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        options = (
            "--state-dir", str(tmp_path), *(f"--set={value}" for value in FREE_PORTS),
            f"--set=ports.market={port}", "--set=services.embed=paper-exchange",
        )  # fmt: skip
        code, out, _ = run("doctor", *options, "--format", "json")
        assert code == 0, out
        secured = (*options, "--set=bus.security.enabled=true")
        code, out, _ = run("doctor", *secured, "--format", "json")
        assert code == 78
        (fault,) = [c for c in json.loads(out)["checks"] if c["verdict"] == "fault"]
        assert fault["remedy"] == "trading-console keys new"
        assert run("keys", "new", "--state-dir", str(tmp_path))[0] == 0
        assert run("doctor", *secured)[0] == 0


def test_doctor_tells_wrong_settings_and_still_looks_at_the_rest(run: Run) -> None:
    code, out, _ = run("doctor", "--set", "ports.helth=1", "--format", "json")
    assert code == 78
    checks = {check["what"]: check for check in json.loads(out)["checks"]}
    assert checks["python"]["verdict"] == "ok"
    assert "did you mean health" in checks["settings"]["remedy"]


def test_an_exchange_reset_keeps_what_was_there(run: Run, tmp_path: Path) -> None:
    accounts = tmp_path / "exchange"
    accounts.mkdir()
    (accounts / "book").write_text("x")
    (tmp_path / "journal-demo.db").write_text("y")
    (tmp_path / "risk-manager.json").write_text("z")
    code, out, err = run("exchange", "reset", "--state-dir", str(tmp_path), "--format", "json")
    assert code == 0, err
    aside = Path(json.loads(out)["kept_aside"])
    assert (aside / "exchange" / "book").read_text() == "x"
    assert (aside / "journal-demo.db").read_text() == "y"
    # A peak of the old account would halt the new one.
    assert (aside / "risk-manager.json").read_text() == "z"
    assert not accounts.exists()


def test_an_exchange_in_use_is_not_reset(run: Run, tmp_path: Path) -> None:
    from console.runtime import StateDir

    (tmp_path / "exchange").mkdir()
    lock = StateDir.take(tmp_path / "exchange")
    try:
        code, _, err = run("exchange", "reset", "--state-dir", str(tmp_path))
    finally:
        lock.release()
    assert code == 73
    assert str(os.getpid()) in err
    assert (tmp_path / "exchange").is_dir()


# -- parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        ([], True),
        (["--demo", "--speed", "60", "--set", "a.b=c", "--set=d.e=f"], True),
        (["--state-dir", "/x", "--profile=prod", "--config", "c"], True),
        (["--help"], False),
        (["headless"], False),
        (["--speed", "fast"], False),
        (["--speed"], False),
        (["--demo=yes"], False),
        (["--demo", "status"], False),
    ],
)
def test_the_short_way_takes_only_plain_starts(arguments: list[str], taken: bool) -> None:
    assert (_face_options(arguments) is not None) is taken


BUY = SubmitOrder(symbol="IBM", side=Side.BUY, qty=Decimal(100))


@pytest.mark.parametrize(
    ("command", "outcome", "result", "code"),
    [
        (BUY, Outcome.ACCEPTED, order(OrderState.WORKING), 0),
        (BUY, Outcome.ACCEPTED, order(OrderState.FILLED, 100), 0),
        (BUY, Outcome.ACCEPTED, order(OrderState.CANCELED, 40), 0),
        (BUY, Outcome.ACCEPTED, order(OrderState.EXPIRED), 1),
        (BUY, Outcome.ACCEPTED, order(OrderState.REJECTED), 1),
        (BUY, Outcome.REFUSED, None, 1),
        (BUY, Outcome.REFUSED, order(OrderState.REFUSED), 1),
        (BUY, Outcome.UNKNOWN, order(OrderState.UNKNOWN), 75),
        (BUY, Outcome.UNKNOWN, order(OrderState.SENDING), 75),
        (BUY, Outcome.UNKNOWN, order(OrderState.FILLED, 100), 0),
        (BUY, Outcome.UNKNOWN, None, 75),
        (CancelAll(), Outcome.ACCEPTED, None, 0),
        (CancelAll(), Outcome.ACCEPTED, order(OrderState.CANCELED), 0),
    ],
)
def test_exit_codes_follow_the_outcome(
    command: Any, outcome: Outcome, result: OrderView | None, code: int
) -> None:
    assert exit_code(command, Ack(id="1", outcome=outcome), result) == code


def test_status_carries_money_as_text_and_positions_in_full() -> None:
    position = PositionView(
        symbol="IBM",
        qty=Decimal(100),
        side="long",
        avg_entry_price=Decimal("182.51"),
        current_price=Decimal(183),
        market_value=Decimal(18_300),
        cost_basis=Decimal(18_251),
        unrealized_pl=Decimal(49),
        unrealized_pl_pct=Decimal("0.27"),
    )
    view = EngineView(
        seq=7,
        mode="DEMO",
        ready=True,
        trading_state=TradingState.HALTED,
        trading_reason="by hand",
        positions=(position,),
        orders=(order(OrderState.WORKING),),
        trails=(
            TrailView(
                entry="tc-1",
                symbol="IBM",
                side=Side.BUY,
                phase=TrailPhase.TRAILING,
                trail_percent=Decimal(1),
                high=Decimal("183.03"),
                stop=Decimal("181.20"),
                text="trailing stop 1 %: engine, now 181.20, high 183.03",
            ),
        ),
    )
    document = plain(status_document(view, runtime(ports={"commands": 1})))
    assert document["trailing_legs"][0]["stop"] == "181.20"
    assert document["state"] == "HALTED"
    assert document["equity"] is None
    assert document["positions"][0]["avg_entry_price"] == "182.51"
    assert document["orders"][0]["state"] == "WORKING"
    assert document["orders"][0]["created_at"] == "2013-10-07T13:30:00Z"
    json.dumps(document, allow_nan=False)
    text = status_text(view, runtime())
    assert "HALTED (by hand)" in text
    assert re.search(r"IBM +100 +182\.51", text)
    assert "open orders 1" in text
    assert re.search(r"IBM +trailing +trailing stop 1 %: engine, now 181.20", text)


def test_numbers_are_written_as_people_do() -> None:
    assert money(Decimal(100_000)) == "100000.00"
    assert money(Decimal("0.12345")) == "0.12345"
    assert number(Decimal("100.000")) == "100"
    assert number(Decimal("1E+2")) == "100"
    assert plain(float("nan")) is None
    assert plain(Decimal("1E+2")) == "100"
    assert table([("a", "1.5"), ("bbb", "20")]) == "  a    1.5\n  bbb   20"


class Typist(io.StringIO):
    """A person at the terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("word", ["flatten", "halt", "reduce", "resume"])
def test_a_switch_is_confirmed_by_its_word_at_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    for typed in ("\n", "yes\n", "", f"{word}{word}\n"):
        monkeypatch.setattr("sys.stdin", Typist(typed))
        code, out, err = run(word, "--state-dir", "/nowhere")
        assert (code, out) == (1, "")
        assert "nothing was done" in err
    # Confirmed, it goes on to look for the engine.
    monkeypatch.setattr("sys.stdin", Typist(f"{word}\n"))
    assert run(word, "--state-dir", "/nowhere")[0] == 69
    monkeypatch.setattr("sys.stdin", Typist(""))
    assert run(word, "--yes", "--state-dir", "/nowhere")[0] == 69
