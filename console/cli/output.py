"""What commands print: text for people, one JSON document for programs, errors in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import msgspec

from console.cli import PROGRAM
from console.exits import FAILED, OK
from console.harmless import harmless


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


_format: ContextVar[Format] = ContextVar("format", default=Format.TEXT)


@contextmanager
def speaking(style: Format) -> Iterator[None]:
    """Errors inside are said in this format too."""
    token = _format.set(style)
    try:
        yield
    finally:
        _format.reset(token)


def plain(value: Any) -> Any:
    """`value` as JSON holds it: money and quantities as strings, times in RFC 3339."""
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case Path():
            return str(value)
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case float() if value != value or value in (float("inf"), float("-inf")):
            return None
        case _:
            return value


def print_json(document: Any) -> None:
    print(json.dumps(plain(document), ensure_ascii=False), flush=True)


def say(line: str) -> None:
    """A remark beside the answer: to stderr, so that stdout stays the answer alone."""
    print(f"{PROGRAM}: {harmless(line)}", file=sys.stderr, flush=True)


def fail(message: str, exit_code: int) -> int:
    """Say why in one line (and as JSON on stdout where that was asked for); answers `exit_code`."""
    line = " ".join(message.split())
    if _format.get() is Format.JSON:
        print_json({"error": line, "exit_code": exit_code})
    say(line)
    return exit_code


def told(error: BaseException) -> int:
    """Say an error that a person can do something about, and answer its exit code."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int) and code != OK:
        return fail(str(error), code)
    return fail(f"{type(error).__name__}: {error}", FAILED)


def money(value: Decimal) -> str:
    """Dollars with two decimals at least, all that there are."""
    places = max(2, -int(value.as_tuple().exponent)) if value == value else 2
    return f"{value:.{places}f}"


def number(value: Decimal) -> str:
    """A quantity without idle zeros: `100`, `0.5`."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Rows in columns, the first left-aligned, numbers right-aligned."""
    if not rows:
        return ""
    rows = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if _numeric(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def _numeric(cell: str) -> bool:
    return cell.lstrip("+-$").replace(",", "").replace(".", "", 1).rstrip("%").isdecimal()
