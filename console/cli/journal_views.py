"""`journal verify`, `show` and `prune`: the journal found, read and told."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.cli.output import Format, fail, print_json, table
from console.config.layers import Overrides
from console.engine.clocks import parse_time
from console.engine.journal_archive import prune
from console.engine.journal_files import JournalRow
from console.engine.journal_reader import JournalReader, Part, journals_in
from console.engine.journal_schema import JournalError
from console.exits import FAILED, OK, REFUSED, UNAVAILABLE, USAGE, ExitError
from console.harmless import harmless

KEEP_DAYS = 90.0
_DAY_NS = 86_400 * 10**9


def find_journal(overrides: Overrides, file: Path | None) -> Path:
    """The journal that is meant. Raises `ExitError`: 69 where there is none, 2 where several."""
    if file is not None:
        path = file.expanduser().absolute()
        if not path.is_file():
            raise ExitError(f"{path}: there is no such file; name a journal with --file", USAGE)
        return path
    from console.config import load_settings

    settings = load_settings(overrides)
    own = settings.state_dir / f"journal-{settings.mode.value.lower()}.db"
    if own.is_file():
        return own
    found = journals_in(settings.state_dir)
    if not found:
        raise ExitError(
            f"no journal in {settings.state_dir}; name its folder with --state-dir", UNAVAILABLE
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ExitError(f"{settings.state_dir} holds {names}; name one with --file", USAGE)
    return found[0]


def moment(option: str, text: str) -> int:
    """A time as ns since the epoch: RFC 3339, or a date. Raises `ExitError` (2)."""
    try:
        if len(text) == len("2026-01-01"):
            text += "T00:00:00Z"
        return round(parse_time(text).timestamp() * 10**9)
    except ValueError:
        raise ExitError(
            f"{option} {text!r} is no time; write 2026-01-31 or 2026-01-31T14:30:00Z", USAGE
        ) from None


def told_at(ns: int | None) -> str:
    """A time of the journal for people and programs, to the millisecond, in UTC."""
    if ns is None:
        return ""
    at = datetime.fromtimestamp(ns / 1e9, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def reader_of(path: Path) -> JournalReader:
    """Raises `ExitError` (70) where the file can't be read."""
    try:
        return JournalReader(path)
    except JournalError as error:
        raise ExitError(str(error), FAILED) from error


def verify_journal(path: Path, style: Format) -> int:
    """Print what checking each file found."""
    try:
        with JournalReader(path) as reader:
            parts = reader.verify()
    except JournalError as error:
        return fail(str(error), REFUSED)
    sound = all(part.verdict.sound for part in parts)
    if style is Format.JSON:
        document = {"sound": sound, "rows": parts[-1].last, "files": [_part(p) for p in parts]}
        print_json(document)
    else:
        for part in parts:
            print(f"{part.path}: rows {part.first} to {part.last} {_found(part)}")
    return OK if sound else REFUSED


def _part(part: Part) -> dict[str, Any]:
    return {
        "file": part.path,
        "first": part.first,
        "last": part.last,
        "sound": part.verdict.sound,
        "broken_at": part.verdict.broken_at,
        "problem": part.verdict.problem,
    }


def _found(part: Part) -> str:
    if part.verdict.sound:
        return "are sound"
    return f"are not sound: {part.verdict.problem}"


def text_of(row: JournalRow) -> str:
    """What a row says in words."""
    body = json.loads(row.body)
    return str(body.get("text", "")) if isinstance(body, dict) else ""


def show_journal(
    path: Path, style: Format, *, subject: str | None, last: int, kind: str | None
) -> int:
    """Print rows, oldest first."""
    with reader_of(path) as reader:
        if subject is None:
            rows = reader.newest(last, kind=kind)
        else:
            known = reader.subject_of(subject)
            if known is None:
                return fail(f"{subject!r}: the journal holds no such order or subject", REFUSED)
            rows = list(reader.rows(subject=known, kind=kind))[-last:]
    if style is Format.JSON:
        print_json([row_document(row) for row in rows])
        return OK
    print(
        table(
            [
                (str(row.seq), told_at(row.at), row.kind, row.subject, harmless(text_of(row)))
                for row in rows
            ],
            indent="",
        )
    )
    return OK


def row_document(row: JournalRow) -> dict[str, Any]:
    """A row as JSON: times RFC 3339, the body as it lies on disk."""
    return {
        "seq": row.seq,
        "at": told_at(row.at),
        "market_at": told_at(row.market_at) or None,
        "kind": row.kind,
        "subject": row.subject,
        "body": json.loads(row.body),
        "is_open": row.is_open,
        "hash": row.hash.hex(),
    }


def prune_journal(
    path: Path, style: Format, *, before: str | None, keep_days: float | None, to: Path | None
) -> int:
    """Archive and say where."""
    if before is not None and keep_days is not None:
        return fail("--before and --keep-days: give one of them", USAGE)
    if before is not None:
        before_ns = moment("--before", before)
    else:
        before_ns = time.time_ns() - round((keep_days or KEEP_DAYS) * _DAY_NS)
    try:
        done = prune(path, before_ns=before_ns, to=to)
    except JournalError as error:
        return fail(str(error), FAILED)
    if style is Format.JSON:
        print_json(
            {"archived": 0}
            if done is None
            else {
                "archived": done.last - done.first + 1,
                "first": done.first,
                "last": done.last,
                "archive": done.archive,
                "carried": done.carried,
            }
        )
    elif done is None:
        print(f"nothing in {path} is older than {told_at(before_ns)}")
    else:
        print(f"rows {done.first} to {done.last} lie in {done.archive} now")
    return OK
