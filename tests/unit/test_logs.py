"""Logs: lines that programs can read, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from console.logs import RETENTION, Logs, start_logs

SECRET = "sup3rs3cr3tk3y"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logs(out: io.StringIO, tmp_path: Path) -> Iterator[Logs]:
    running = start_logs(stream=out, state_dir=tmp_path, secrets=[SECRET, "demo"])
    yield running
    running.stop()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_librarys_logging_and_loguru_end_in_the_same_lines(
    logs: Logs, out: io.StringIO
) -> None:
    logging.getLogger("some.library").warning("from %s", "logging", extra={"fields": {"qty": 5}})
    logger.info("from {}", "loguru", symbol="IBM")
    first, second = lines(out)
    assert first["message"] == "from logging"
    assert first["logger"] == "some.library"
    assert first["level"] == "warning"
    assert first["qty"] == 5
    assert second["message"] == "from loguru"
    assert second["symbol"] == "IBM"
    assert "T" in second["time"]


def test_the_file_is_bounded_and_all_that_is_kept_of_it_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.logs.ROTATION", "2 KB")
    running = start_logs(stderr=False, state_dir=tmp_path / "deep" / "state")
    for number in range(400):
        logging.getLogger("x").info("line %d of many", number)
    running.stop()
    files = sorted((tmp_path / "deep" / "state" / "logs").iterdir())
    assert len(files) == RETENTION + 1
    assert all(file.stat().st_size < 4_000 for file in files)
    told = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert any(line["message"] == "line 399 of many" for line in told)
    folders = [tmp_path / "deep" / "state", tmp_path / "deep" / "state" / "logs"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in [*files, *folders])


def test_the_file_holds_the_same_and_is_private(logs: Logs, tmp_path: Path) -> None:
    logging.getLogger("x").info("kept")
    path = tmp_path / "logs" / "console.log"
    assert logs.path == path
    assert json.loads(path.read_text())["message"] == "kept"
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_secret_is_in_no_line(tmp_path: Path, style: Any) -> None:
    out = io.StringIO()
    running = start_logs(stream=out, style=style, state_dir=tmp_path, secrets=[SECRET])

    def fails() -> None:
        password = SECRET
        raise ValueError(f"refused {password}")

    log = logging.getLogger("x")
    log.info("key %s", SECRET)
    log.info("fields", extra={"fields": {"a": SECRET, "b": {"c": [SECRET]}}})
    try:
        fails()
    except ValueError:
        log.exception("failed with %s", SECRET)
        logger.exception("failed")
    running.stop()
    for text in (out.getvalue(), (tmp_path / "logs" / "console.log").read_text()):
        assert SECRET not in text
        assert "[redacted]" in text
        assert "ValueError" in text


@pytest.mark.parametrize(
    "text",
    [
        "APCA-API-SECRET-KEY: abcdef",
        "{'APCA-API-KEY-ID': 'abcdef'}",
        "secret_key='abcdef'",
        "api_key=abcdef",
        "Authorization: Basic abcdef",
    ],
)
def test_what_looks_like_a_key_is_taken_out_too(logs: Logs, out: io.StringIO, text: str) -> None:
    logging.getLogger("x").info(text)
    assert "abcdef" not in out.getvalue()


def test_a_short_secret_does_not_blank_out_words(logs: Logs, out: io.StringIO) -> None:
    logging.getLogger("x").info("the demo runs")
    assert lines(out)[0]["message"] == "the demo runs"


def test_a_message_cannot_forge_a_line(logs: Logs, out: io.StringIO) -> None:
    logging.getLogger("x").info('one\n{"level":"error"}')
    assert len(lines(out)) == 1


def test_braces_and_markup_come_out_as_they_are(logs: Logs, out: io.StringIO) -> None:
    logging.getLogger("x").info("{x} <red>%s", "{0}")
    assert lines(out)[0]["message"] == "{x} <red>{0}"


def test_the_level_can_be_changed_while_running(logs: Logs, out: io.StringIO) -> None:
    logger.debug("not yet")
    logging.getLogger("x").debug("not yet")
    logs.set_level("debug")
    logger.debug("now")
    logging.getLogger("x").debug("now")
    assert [line["message"] for line in lines(out)] == ["now", "now"]


def test_a_terminal_gets_text_and_a_pipe_json() -> None:
    terminal = Terminal()
    running = start_logs(stream=terminal)
    logging.getLogger("x").info("hello", extra={"fields": {"qty": 5}})
    running.stop()
    assert "hello qty=5" in terminal.getvalue()
    assert "{" not in terminal.getvalue()
