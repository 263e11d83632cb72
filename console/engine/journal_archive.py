"""Moves the oldest rows of a journal into a second file; the two verify together ever after.

What is still open (an order, the trading state, the account) is written once more at the journal's
end before its old rows leave, so that the next start finds all that it needs. The rows are gone
from the journal only when the archive is on disk and its chain was read back whole; a crash at any
point leaves them in one file or in both.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from console.engine.journal import Journal
from console.engine.journal_files import (
    INSERT_ROW,
    JournalRow,
    base_of,
    inspect,
    rebuild_indexes,
    tail_of,
)
from console.engine.journal_reader import ARCHIVE
from console.engine.journal_schema import JournalError, create_schema

WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows `first` to `last` lie in `archive` now; `carried` open subjects were written anew."""

    first: int
    last: int
    archive: Path
    carried: int


def prune(
    path: Path,
    *,
    before_ns: int,
    to: Path | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
) -> Pruned | None:
    """Archive the rows written before `before_ns`; None where there are none.

    Raises:
        StateDirLocked: an engine runs on it.
        JournalError: it isn't sound, or the archive can't be written; nothing has left it then.
    """
    if not path.is_file():
        raise JournalError(f"{path}: there is no such journal")
    journal = Journal.open(path.parent, name=path.name, wall_ns=wall_ns)
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return _prune(journal, connection, before_ns, to, wall_ns)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"{path} was not pruned: {error}; check the disk") from error
    finally:
        journal.close()


def _prune(
    journal: Journal,
    connection: sqlite3.Connection,
    before_ns: int,
    to: Path | None,
    wall_ns: Callable[[], int],
) -> Pruned | None:
    for verdict in (journal.opened, inspect(connection)):
        if not verdict.sound:
            raise JournalError(f"{journal.path} is not sound: {verdict.problem}; nothing was moved")
    first = base_of(connection)[0] + 1
    newer = connection.execute("SELECT min(seq) FROM journal WHERE at>=?", (before_ns,)).fetchone()
    last = tail_of(connection)[0] if newer[0] is None else newer[0] - 1
    if last < first:
        return None
    default = journal.path.with_name(f"{journal.path.stem}{ARCHIVE}{first:09}-{last:09}.db")
    archive = default if to is None else to.expanduser().absolute()
    carried = _carry(journal, connection, last)
    digest = _write_archive(connection, archive, last)
    name = archive.name if archive.parent == journal.path.parent else str(archive)
    note = {"text": f"rows {first} to {last} lie in {name}", "last": last, "hash": digest.hex()}
    journal.append("pruned", "journal", note, urgent=True).result(WAIT_S)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO archives VALUES (?,?,?,?,?)", (first, last, digest, name, wall_ns())
        )
        connection.execute("DELETE FROM journal WHERE seq<=?", (last,))
        connection.execute("DELETE FROM latest WHERE seq<=?", (last,))
        connection.execute("DELETE FROM keys WHERE subject NOT IN (SELECT subject FROM journal)")
    # The room is given back if it can be; the journal is sound without that too.
    with contextlib.suppress(sqlite3.Error):
        connection.execute("VACUUM")
    return Pruned(first, last, archive, carried)


def _carry(journal: Journal, connection: sqlite3.Connection, last: int) -> int:
    """Write the standing of what is open anew, behind the rows that leave."""
    standing = [
        JournalRow.of(row)
        for row in connection.execute(
            "SELECT j.* FROM latest l JOIN journal j ON j.seq=l.seq "
            "WHERE l.is_open=1 AND l.seq<=? ORDER BY l.seq",
            (last,),
        )
    ]
    for row in standing:
        keys = connection.execute("SELECT key FROM keys WHERE subject=?", (row.subject,)).fetchall()
        journal.append(
            row.kind,
            row.subject,
            msgspec.Raw(row.body),
            is_open=True,
            keys=[key for (key,) in keys],
            market_ns=row.market_at,
            urgent=True,
        ).result(WAIT_S)
    return len(standing)


def _write_archive(source: sqlite3.Connection, archive: Path, last: int) -> bytes:
    """Copy rows up to `last` and what came before them; the last one's hash, read back."""
    wanted: bytes = source.execute("SELECT hash FROM journal WHERE seq=?", (last,)).fetchone()[0]
    if archive.exists():
        if _holds(archive, last, wanted):
            # From a run that was broken off.
            return wanted
        raise JournalError(f"{archive} exists; name another file with --to")
    part = archive.with_name(f"{archive.name}.part")
    part.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(part)) as target:
        part.chmod(0o600)
        create_schema(target)
        with target:
            target.executemany(
                "INSERT INTO archives VALUES (?,?,?,?,?)", source.execute("SELECT * FROM archives")
            )
            target.executemany(
                INSERT_ROW,
                source.execute("SELECT * FROM journal WHERE seq<=? ORDER BY seq", (last,)),
            )
            rebuild_indexes(target)
        target.execute("PRAGMA journal_mode=DELETE")
    if not _holds(part, last, wanted):
        raise JournalError(f"{part} reads back otherwise than it was written; nothing was moved")
    _flush(part)
    part.rename(archive)
    _flush(archive.parent)
    return wanted


def _holds(archive: Path, last: int, digest: bytes) -> bool:
    with contextlib.closing(sqlite3.connect(archive)) as target:
        return inspect(target).sound and tail_of(target) == (last, digest)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
