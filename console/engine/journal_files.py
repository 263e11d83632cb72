"""The journal's file: its hash chain, its lock, and what is done when it is damaged.

SQLite itself drops a transaction that was torn by a crash. What is left are a file that SQLite
can't read and rows that don't fit the chain: both are kept aside beside the journal, never deleted,
and the sound rows before them go on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from console.engine.journal_schema import JournalError as JournalError
from console.engine.journal_schema import create_schema
from console.exits import IN_USE, ExitError

LOCK_NAME = "engine.lock"
CHECKED_WHOLE = 64 << 20
"""Bytes up to which SQLite looks at every page at every start; a larger file would take seconds."""
_NOT_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
TAIL_CHECKED = 5_000
"""Rows at the end whose chain is checked at every start; `verify` checks them all."""


class StateDirLocked(ExitError):
    """Another engine works on this state directory. Exit code 73."""

    def __init__(self, message: str) -> None:
        super().__init__(message, IN_USE)


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One row as it lies on disk."""

    seq: int
    at: int
    market_at: int | None
    kind: str
    subject: str
    body: bytes
    is_open: bool | None
    keys: tuple[str, ...]
    hash: bytes

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        seq, at, market_at, kind, subject, body, is_open, keys, digest = row
        return cls(
            seq, at, market_at, kind, subject, body.encode(),
            None if is_open is None else bool(is_open), tuple(keys.split()), digest,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What looking at a journal found."""

    rows: int = 0
    """The number of the last row that is sound."""
    broken_at: int | None = None
    """The first row that doesn't fit the chain."""
    problem: str = ""
    kept_aside: Path | None = None

    @property
    def sound(self) -> bool:
        return self.broken_at is None and not self.problem


INSERT_ROW = "INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?)"


def base_of(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Number and hash of the row that the file's first one is chained to: the last archived."""
    # Of a file of the first version, read and not migrated: it has no archives.
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name='archives'").fetchone():
        row = connection.execute("SELECT last, hash FROM archives ORDER BY last DESC").fetchone()
        if row is not None:
            return row[0], row[1]
    return 0, hashlib.sha256(b"").digest()


def tail_of(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Number and hash of the newest row."""
    row = connection.execute("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
    return (row[0], row[1]) if row else base_of(connection)


def chain_hash(
    previous: bytes,
    seq: int,
    at: int,
    market_at: int | None,
    kind: str,
    subject: str,
    body: bytes,
    is_open: bool | None,
    keys: Sequence[str],
) -> bytes:
    """SHA-256 over the hash of the row before and every field of this one, each with its length."""
    digest = hashlib.sha256(previous)
    for value in (
        f"{seq} {at} {market_at} {None if is_open is None else int(is_open)}".encode(),
        kind.encode(), subject.encode(), " ".join(keys).encode(), body,
    ):  # fmt: skip
        digest.update(len(value).to_bytes(8, "big"))
        digest.update(value)
    return digest.digest()


class StateDirLock:
    """An exclusive lock on a state directory; the kernel frees it when the process dies."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    def take(cls, state_dir: Path) -> Self:
        """Make the directory (0700) if need be and lock it.

        Raises:
            StateDirLocked: another process has it.
            JournalError: the directory can't be made or written to.
        """
        path = state_dir / LOCK_NAME
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = path.open("a+")
        except OSError as error:
            raise JournalError(
                f"{state_dir}: {error.strerror}; name a writable folder with --state-dir"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise StateDirLocked(
                f"{state_dir} is in use by another engine (pid {owner}); "
                "stop that one, or give this one its own --state-dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return cls(file)

    def release(self) -> None:
        """Let another engine have the directory. Idempotent."""
        self._file.close()


def inspect(connection: sqlite3.Connection, after: int = 0) -> Verdict:
    """Check numbers and hashes of all rows above `after`; the row `after` itself is believed."""
    base, previous = base_of(connection)
    after = max(after, base)
    expected = after + 1
    if after > base:
        row = connection.execute("SELECT hash FROM journal WHERE seq=?", (after,)).fetchone()
        if row is None:
            return Verdict(after, after, f"row {after} is missing")
        previous = row[0]
    for values in connection.execute("SELECT * FROM journal WHERE seq>? ORDER BY seq", (after,)):
        row = JournalRow.of(values)
        if row.seq != expected:
            return Verdict(expected - 1, expected, f"row {expected} is missing")
        wanted = chain_hash(
            previous, row.seq, row.at, row.market_at, row.kind, row.subject, row.body,
            row.is_open, row.keys,
        )  # fmt: skip
        if row.hash != wanted:
            return Verdict(
                expected - 1, expected, f"row {expected} was changed after it was written"
            )
        expected, previous = expected + 1, row.hash
    return Verdict(expected - 1)


def recover(path: Path, now_ns: int) -> Verdict:
    """Make the journal at `path` fit to be opened; what was damaged is kept aside and told.

    Raises:
        JournalError: not even aside could it be put.
    """
    if not path.exists():
        return Verdict()
    _read_ahead(path)
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            problem = _unreadable(path, connection)
            verdict = Verdict() if problem else _check(connection)
            if verdict.broken_at is not None:
                return _cut_tail(path, connection, verdict, now_ns)
            if not problem:
                return verdict
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
            raise
        problem = str(error)
    try:
        return _salvage(path, problem, now_ns)
    except OSError as error:
        raise JournalError(
            f"{path} is damaged ({problem}) and can't be put aside: {error.strerror}; "
            "move it away by hand, or use another --state-dir"
        ) from error


def _read_ahead(path: Path) -> None:
    """Let the system's cache have a file of which SQLite will look at every page, in its order.

    Not while a connection is open here: closing the file would take the locks away from it.
    """
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        if path.stat().st_size <= CHECKED_WHOLE:
            while file.read(1 << 20):
                pass


def _unreadable(path: Path, connection: sqlite3.Connection) -> str:
    """What is wrong with the file as a database; empty where nothing is."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
    if tables and ("journal",) not in tables:
        return "it holds no journal"
    try:
        create_schema(connection)
    except ValueError:
        return "its schema version is no number"
    if path.stat().st_size <= CHECKED_WHOLE:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            return found
    return ""


def _check(connection: sqlite3.Connection) -> Verdict:
    last = connection.execute("SELECT max(seq) FROM journal").fetchone()[0] or 0
    return inspect(connection, max(0, last - TAIL_CHECKED))


def _cut_tail(path: Path, connection: sqlite3.Connection, verdict: Verdict, now_ns: int) -> Verdict:
    """Rows from the first broken one on go to a file of their own; the sound ones stay."""
    aside = path.with_name(f"journal-aside-{now_ns}.db")
    first = verdict.broken_at
    with contextlib.closing(sqlite3.connect(aside)) as target:
        create_schema(target)
        with target:
            target.executemany(
                INSERT_ROW,
                connection.execute("SELECT * FROM journal WHERE seq>=? ORDER BY seq", (first,)),
            )
    aside.chmod(0o600)
    with connection:
        connection.execute("DELETE FROM journal WHERE seq>=?", (first,))
        rebuild_indexes(connection)
    return Verdict(verdict.rows, first, verdict.problem, aside)


def _salvage(path: Path, problem: str, now_ns: int) -> Verdict:
    """The whole file goes aside; every row that still fits the chain starts a new one."""
    folder = path.with_name(f"journal-aside-{now_ns}")
    folder.mkdir(mode=0o700)
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(folder / part.name)
    sound: list[JournalRow] = []
    archives: list[Sequence[Any]] = []
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        contextlib.closing(
            sqlite3.connect(f"file:{folder / path.name}?mode=ro", uri=True)
        ) as damaged,
    ):
        with contextlib.suppress(sqlite3.DatabaseError):
            archives.extend(damaged.execute("SELECT * FROM archives ORDER BY first"))
        base = base_of(damaged) if archives else None
        sound.extend(_sound_rows(damaged.execute("SELECT * FROM journal ORDER BY seq"), base))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        create_schema(connection)
        with connection:
            connection.executemany("INSERT INTO archives VALUES (?,?,?,?,?)", archives)
            connection.executemany(
                INSERT_ROW,
                (
                    (
                        row.seq, row.at, row.market_at, row.kind, row.subject, row.body.decode(),
                        row.is_open, " ".join(row.keys), row.hash,
                    )
                    for row in sound
                ),
            )  # fmt: skip
            rebuild_indexes(connection)
        last = tail_of(connection)[0]
    return Verdict(last, last + 1, problem, folder)


def _sound_rows(
    rows: Iterable[Sequence[Any]], base: tuple[int, bytes] | None
) -> Iterable[JournalRow]:
    before, previous = base or (0, hashlib.sha256(b"").digest())
    expected = before + 1
    for values in rows:
        try:
            row = JournalRow.of(values)
        except (AttributeError, TypeError, ValueError):
            return
        wanted = chain_hash(
            previous, row.seq, row.at, row.market_at, row.kind, row.subject, row.body,
            row.is_open, row.keys,
        )  # fmt: skip
        if row.seq != expected or row.hash != wanted:
            return
        yield row
        previous, expected = row.hash, expected + 1


def rebuild_indexes(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM latest")
    connection.execute(
        "INSERT INTO latest SELECT subject, seq, is_open FROM journal WHERE seq IN "
        "(SELECT max(seq) FROM journal WHERE is_open IS NOT NULL GROUP BY subject)"
    )
    connection.execute("DELETE FROM keys")
    for keys, subject in connection.execute(
        "SELECT keys, subject FROM journal WHERE keys<>'' ORDER BY seq"
    ).fetchall():
        connection.executemany(
            "INSERT OR IGNORE INTO keys VALUES (?,?)", [(key, subject) for key in keys.split()]
        )
