"""A journal as it lies on disk, with its archives, read beside whoever writes it.

    with JournalReader(path) as reader:
        reader.verify()                     # each file by itself, and that they fit together
        for row in reader.rows(kind="fill"): …

Nothing is written, migrated or mended. What is read of one file is one moment of it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from console.engine.journal_files import JournalRow, Verdict, base_of, inspect, tail_of
from console.engine.journal_schema import SCHEMA_VERSION, JournalError, version_of

PREFIX = "journal-"
ARCHIVE = "-archive-"
_ASIDE = f"{PREFIX}aside"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a journal: which rows it holds, and what checking them found."""

    path: Path
    first: int
    last: int
    verdict: Verdict


def journals_in(state_dir: Path) -> list[Path]:
    """The journals of a state directory, without their archives and what was put aside."""
    return sorted(
        path
        for path in state_dir.glob(f"{PREFIX}*.db")
        if ARCHIVE not in path.name and not path.name.startswith(_ASIDE)
    )


def connect(path: Path) -> sqlite3.Connection:
    """Open for reading alone. Raises `JournalError` where there is no such journal."""
    if not path.is_file():
        raise JournalError(f"{path}: there is no such journal")
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
    try:
        # Everything that follows sees the file as it is now, whatever is written meanwhile.
        connection.execute("BEGIN")
        version = version_of(connection)
        connection.execute("SELECT 1 FROM journal LIMIT 1")
    except (sqlite3.Error, ValueError) as error:
        connection.close()
        raise JournalError(
            f"{path} can't be read: {error}; at its next start the engine keeps it aside and "
            "takes over what is sound"
        ) from error
    if version > SCHEMA_VERSION:
        connection.close()
        raise JournalError(
            f"{path} has version {version}, this program knows up to {SCHEMA_VERSION}; "
            "update the program"
        )
    return connection


_ROWS = """
    SELECT * FROM journal WHERE (:kind IS NULL OR kind=:kind)
    AND (:since IS NULL OR at>=:since) AND (:before IS NULL OR at<:before) ORDER BY seq
"""
_ROWS_OF_SUBJECT = """
    SELECT * FROM journal WHERE subject=:subject AND (:kind IS NULL OR kind=:kind)
    AND (:since IS NULL OR at>=:since) AND (:before IS NULL OR at<:before) ORDER BY seq
"""
"""Of its own, so that the index is used."""


class JournalReader:
    """See the module. For one thread."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises `JournalError` where it is none, or can't be read."""
        self.path = path
        self._connection = connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def archives(self) -> list[tuple[int, int, bytes, Path]]:
        """First and last row, the last one's hash, and the file of each archive, oldest first."""
        if version_of(self._connection) < 2:
            return []
        return [
            (first, last, digest, self.path.parent / name)
            for first, last, digest, name in self._connection.execute(
                "SELECT first, last, hash, file FROM archives ORDER BY first"
            )
        ]

    def verify(self) -> list[Part]:
        """Check every row of the archives and of the journal, and that each begins where the
        one before it ends."""
        parts = [self._archive(*archive) for archive in self.archives()]
        base = base_of(self._connection)[0]
        return [*parts, Part(self.path, base + 1, self.last_seq, inspect(self._connection))]

    def _archive(self, first: int, last: int, digest: bytes, path: Path) -> Part:
        try:
            with contextlib.closing(connect(path)) as connection:
                verdict = inspect(connection)
                if verdict.sound and base_of(connection)[0] != first - 1:
                    verdict = Verdict(last, first, f"it doesn't begin with row {first}")
                elif verdict.sound and tail_of(connection) != (last, digest):
                    verdict = Verdict(last, last, f"it doesn't end with row {last} as archived")
        except (JournalError, sqlite3.Error) as error:
            verdict = Verdict(first - 1, first, str(error))
        return Part(path, first, last, verdict)

    @property
    def last_seq(self) -> int:
        """The number of the newest row; 0 when there is none."""
        return tail_of(self._connection)[0]

    def rows(
        self,
        *,
        kind: str | None = None,
        subject: str | None = None,
        since_ns: int | None = None,
        before_ns: int | None = None,
        with_archives: bool = True,
    ) -> Iterator[JournalRow]:
        """The rows that are wanted, in order, those in archives first.

        Raises:
            JournalError: an archive is not where it was put.
        """
        statement = _ROWS if subject is None else _ROWS_OF_SUBJECT
        values = {"kind": kind, "subject": subject, "since": since_ns, "before": before_ns}
        if with_archives:
            for *_, path in self.archives():
                with contextlib.closing(connect(path)) as connection:
                    yield from map(JournalRow.of, connection.execute(statement, values))
        yield from map(JournalRow.of, self._connection.execute(statement, values))

    def newest(self, limit: int, *, kind: str | None = None) -> list[JournalRow]:
        """The last rows of the journal itself, oldest first."""
        rows = self._connection.execute(
            "SELECT * FROM journal WHERE (?1 IS NULL OR kind=?1) ORDER BY seq DESC LIMIT ?2",
            (kind, limit),
        )
        return [JournalRow.of(row) for row in rows][::-1]

    def subject_of(self, identity: str) -> str | None:
        """What an order id (ours or the broker's), a command id or a subject stands for."""
        for connection in self._connections():
            for statement in (
                "SELECT subject FROM journal WHERE subject=? LIMIT 1",
                "SELECT subject FROM keys WHERE key='id:' || ?",
                "SELECT subject FROM keys WHERE key='cmd:' || ?",
            ):
                row = connection.execute(statement, (identity,)).fetchone()
                if row is not None:
                    return str(row[0])
        return None

    def _connections(self) -> Iterator[sqlite3.Connection]:
        yield self._connection
        for *_, path in reversed(self.archives()):
            with contextlib.closing(connect(path)) as connection:
                yield connection
