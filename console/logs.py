"""Logs: one line an event, secrets taken out, to a rotated file always and to stderr when headless.

Whether a module logs through loguru or, as most libraries do, through the standard `logging`: it
all ends here. Tracebacks never show the values of variables: one of them might be a key.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

LOG_NAME = "console.log"
ROTATION, RETENTION = "10 MB", 5
_QUIET = ("asyncio", "aiohttp.access", "urllib3", "websockets", "watchfiles", "charset_normalizer")
"""Libraries whose chatter below a warning helps nobody."""

_QUIETER = ("stamina",)
"""Warnings of these are told better by whoever gave up in the end."""

_OWN = ("from", "fields", "fields_text", "trace", "line")
"""What this module keeps in a record's `extra`; everything else there is a field of the event."""

_HIDDEN = "[redacted]"
_PATTERNS = (
    re.compile(r"(?i)(apca-api-(?:key-id|secret-key)['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]+"),
    re.compile(r"(?i)((?:secret[_-]?key|api[_-]?key|key_id|password|token)['\"]?\s*[:=]\s*['\"]?)"
               r"[^\s'\",}]+"),
    re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer)\s+)[^\s'\",}]+"),
)  # fmt: skip

_TEXT = (
    "<dim>{time:YYYY-MM-DD HH:mm:ss.SSS}</dim> <level>{level: <7}</level> "
    "<cyan>{extra[from]}</cyan> {message}{extra[fields_text]}{extra[trace]}\n"
)


class Redactor:
    """Takes the given secrets, and what looks like one, out of a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # A short one, such as the demo's, would blank out ordinary words.
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 8)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\g<1>{_HIDDEN}", text)
        return text


class _Routed(logging.Handler):
    """Hands records of the standard library's logging to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        fields = getattr(record, "fields", None)
        logger.bind(**{"from": record.name, "fields": fields or {}}).opt(
            exception=record.exc_info
        ).log(level, "{}", record.getMessage())


def _patched(redact: Redactor) -> Any:
    def patch(record: Record) -> None:
        extra = record["extra"]
        given = {name: value for name, value in extra.items() if name not in _OWN}
        fields = {
            name: _plain(value, redact) for name, value in (given | extra.get("fields", {})).items()
        }
        extra.setdefault("from", record["name"] or "console")
        extra["fields"] = fields
        extra["fields_text"] = "".join(f" {name}={value}" for name, value in fields.items())
        # A line break in a message would let its writer forge a line of the log.
        extra["trace"] = "\n" + redact(_traceback(record)) if record["exception"] else ""
        record["message"] = redact(record["message"]).replace("\r", "\\r").replace("\n", "\\n")

    return patch


def _plain(value: Any, redact: Redactor) -> Any:
    if isinstance(value, int | float | bool) or value is None:
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, redact) for item in value]
    return redact(str(value))


def _json_line(record: Record) -> str:
    import json

    line: dict[str, Any] = {
        "time": record["time"].astimezone().isoformat(timespec="milliseconds"),
        "level": record["level"].name.lower(),
        "logger": record["extra"]["from"],
        "message": record["message"],
        **record["extra"]["fields"],
    }
    if record["extra"]["trace"]:
        line["exception"] = record["extra"]["trace"].strip()
    return json.dumps(line, ensure_ascii=False, default=str)


def _traceback(record: Record) -> str:
    import traceback

    exception = record["exception"]
    if exception is None or exception.value is None:
        return ""
    return "".join(traceback.format_exception(exception.value)).rstrip()


class Logs:
    """What `start_logs` set up; `stop` flushes and closes it."""

    def __init__(self, level: str) -> None:
        self.path: Path | None = None
        self._handlers: list[int] = []
        self._routed = _Routed()
        self._least = 0
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """How much is logged from now on: debug, info, warning or error."""
        self._least = logger.level(level.upper()).no
        logging.getLogger().setLevel(level.upper())

    def wants(self, record: Record) -> bool:
        return record["level"].no >= self._least

    def _start(self, redact: Redactor, style: str, out: TextIO | None, folder: Path | None) -> None:
        logger.remove()
        logger.configure(patcher=_patched(redact))
        if out is not None and (style == "text" or (style == "auto" and out.isatty())):
            self._handlers.append(
                logger.add(
                    out, format=lambda _record: _TEXT, filter=self.wants, level=0, diagnose=False,
                    backtrace=False, catch=True, colorize=out.isatty() and not _no_color(),
                )
            )  # fmt: skip
        elif out is not None:
            self._handlers.append(
                logger.add(
                    out, format=_json_format, filter=self.wants, level=0, diagnose=False,
                    backtrace=False, catch=True, colorize=False,
                )
            )  # fmt: skip
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path = folder / LOG_NAME
            self._handlers.append(
                logger.add(
                    self.path, format=_json_format, filter=self.wants, level=0, diagnose=False,
                    backtrace=False, catch=True, rotation=ROTATION, retention=RETENTION,
                    opener=_private,
                )
            )  # fmt: skip
        root = logging.getLogger()
        for handler in root.handlers[:]:
            if isinstance(handler, _Routed):
                root.removeHandler(handler)
        root.addHandler(self._routed)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        for name in _QUIETER:
            logging.getLogger(name).setLevel(logging.ERROR)
        logging.captureWarnings(True)

    def stop(self) -> None:
        logging.getLogger().removeHandler(self._routed)
        for handler in self._handlers:
            logger.remove(handler)
        self._handlers.clear()


def start_logs(
    *,
    level: str = "info",
    style: Literal["auto", "text", "json"] = "auto",
    state_dir: Path | None = None,
    stderr: bool = True,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> Logs:
    """Route all logging of this process.

    `style` "auto" means text where `stream` is a terminal and JSON lines elsewhere; the file in
    `state_dir/logs` holds JSON lines always, is 0600, and is rotated at 10 MB with five kept.
    Raises OSError where that folder can't be written.
    """
    logs = Logs(level)
    folder = None
    if state_dir is not None:
        # Of what is made along the way to a folder only the last is private.
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = state_dir / "logs"
    logs._start(Redactor(secrets), style, (stream or sys.stderr) if stderr else None, folder)
    return logs


def _json_format(record: Record) -> str:
    # The line goes by way of `extra`: in a format its braces would be taken for fields.
    record["extra"]["line"] = _json_line(record)
    return "{extra[line]}\n"


def _private(path: str, flags: int) -> int:
    import os

    return os.open(path, flags, 0o600)


def _no_color() -> bool:
    import os

    return bool(os.environ.get("NO_COLOR"))
