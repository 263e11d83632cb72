"""The tables of a journal's file, and the steps that bring an older file up to them.

Each step is one transaction that ends with the file's new version: a crash between two of them
leaves a file that the next start goes on with. Rows are never rewritten by a step, so the hash
chain holds over all versions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


class JournalError(Exception):
    """A row couldn't be written, or the journal can't be opened. Nothing may be sent without it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What makes a file of version `to` out of one of the version before."""

    to: int
    statements: tuple[str, ...]


_FIRST = (
    "CREATE TABLE IF NOT EXISTS meta"
    " (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS journal (
        seq INTEGER PRIMARY KEY,       -- contiguous, the first one after what is archived
        at INTEGER NOT NULL,           -- wall clock, ns
        market_at INTEGER,             -- the market's clock, ns
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        body TEXT NOT NULL,            -- JSON; broker payloads as they came
        is_open INTEGER,               -- the subject's standing after this row; NULL: unchanged
        keys TEXT NOT NULL,            -- ids that lead to the subject, separated by spaces
        hash BLOB NOT NULL             -- over the row before and all of this one
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS journal_subject ON journal (subject, seq)",
    """CREATE TABLE IF NOT EXISTS latest (
        subject TEXT PRIMARY KEY, seq INTEGER NOT NULL, is_open INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS latest_open ON latest (is_open, seq)",
    "CREATE INDEX IF NOT EXISTS latest_seq ON latest (seq)",
    "CREATE TABLE IF NOT EXISTS keys"
    " (key TEXT PRIMARY KEY, subject TEXT NOT NULL) STRICT, WITHOUT ROWID",
)

_ARCHIVES = (
    """CREATE TABLE IF NOT EXISTS archives (
        first INTEGER PRIMARY KEY,     -- rows first to last lie in `file`
        last INTEGER NOT NULL,
        hash BLOB NOT NULL,            -- of row `last`: what the next row is chained to
        file TEXT NOT NULL,            -- a name beside the journal, or a whole path
        at INTEGER NOT NULL            -- wall clock, ns
    ) STRICT""",
)

MIGRATIONS: Sequence[Migration] = (Migration(1, _FIRST), Migration(2, _ARCHIVES))
SCHEMA_VERSION = MIGRATIONS[-1].to


def version_of(connection: sqlite3.Connection) -> int:
    """The file's version; 0 for one without tables. Raises ValueError where it is no number."""
    tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone()
    if tables is None:
        return 0
    row = connection.execute("SELECT value FROM meta WHERE name='schema_version'").fetchone()
    return 0 if row is None else int(row[0])


def create_schema(
    connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Make the tables, or take the steps that an older file lacks, in order.

    Raises:
        JournalError: the file was written by a newer version.
        ValueError: its version is no number.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    found, known = version_of(connection), migrations[-1].to
    if found > known:
        raise JournalError(
            f"the journal has version {found}, this program knows up to {known}; "
            "update the program, or use another --state-dir"
        )
    for step in migrations:
        if step.to > found:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for statement in step.statements:
                    connection.execute(statement)
                connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", (str(step.to),)
                )
