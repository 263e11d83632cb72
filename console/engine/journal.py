"""The journal: what the engine did and learned, on disk before it counts.

One SQLite file (WAL, synchronous=FULL), written by one thread. Rows are numbered from 1 without a
gap and hashed one to the next, so that a row that is missing, added or changed shows. Many appends
that wait at once share one transaction and so one flush; each caller hears of its own row only
when that flush is done.

    journal = Journal.open(state_dir)              # takes the lock of the state directory
    seq = await journal.commit("order", client_order_id, {"order": …})
    journal.append("update", client_order_id, {"raw": …})        # a Future; need not be awaited

Every row has a `subject` (a client order id, or a name such as `trading-state`). `latest` points at
the newest row of each subject and says whether it is still open; `keys` maps command and execution
ids to subjects. Both are indexes alone: everything that they say stands in the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from console.engine.journal_files import (
    INSERT_ROW,
    JournalError,
    JournalRow,
    StateDirLock,
    Verdict,
    chain_hash,
    inspect,
    recover,
    tail_of,
)
from console.engine.journal_schema import create_schema
from console.health.histogram import Histogram

FILE_NAME = "journal.db"
CAPACITY = 20_000
"""Rows that may wait for the disk; past it appending fails, so that memory stays bounded."""
GROUP = 1_000
"""Rows that share a flush at most."""
LINGER_S = 0.05
"""How long rows for which nobody waits may lie in memory, to keep the disk free for others."""

DISK_PATIENCE_S = 2.0
"""How long what must not fail with the disk waits for its row; a disk that hangs never answers."""
INT64 = range(-(1 << 63), 1 << 63)

LOOK_BACK = 200_000
"""Rows that a search by kind goes through at most."""


class JournalClosed(JournalError):
    """The journal is closed, or its writer is gone."""


class RowRefused(JournalError):
    """The row holds what no disk can take: it is not to be written again."""


async def patiently(on_disk: Future[int]) -> int:
    """Wait until a row is on disk, but no longer than `DISK_PATIENCE_S`; its number.

    Raises:
        JournalError: it can't be written, or the disk hangs; then it may still get there.
    """
    try:
        async with asyncio.timeout(DISK_PATIENCE_S):
            return await asyncio.wrap_future(on_disk)
    except TimeoutError:
        raise JournalError(
            f"the disk has not taken a row for {DISK_PATIENCE_S:g} s; it hangs: check it"
        ) from None


@dataclass(slots=True)
class _Waiting:
    kind: str
    subject: str
    body: bytes
    is_open: bool | None
    keys: Sequence[str]
    market_ns: int | None
    urgent: bool
    done: Future[int] = field(default_factory=Future)


class Journal:
    """See the module. Any thread may call `append`; reading is for the thread that opened it."""

    def __init__(
        self,
        path: Path,
        lock: StateDirLock,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        verdict: Verdict | None = None,
    ) -> None:
        self.path = path
        self.opened = verdict or Verdict()
        """What opening found: rows, and what was kept aside if the file was damaged."""
        self.flushes = 0
        self.flush_times = Histogram()
        """How long the disk took for each flush, seconds."""
        self.failure: str | None = None
        """Why the last flush failed; None once one succeeded again."""
        self._lock = lock
        self._wall_ns = wall_ns
        self._rows_waiting: deque[_Waiting] = deque()
        self._urgent = 0
        self._closed = False
        self._more = threading.Condition()
        self._reader = sqlite3.connect(path, check_same_thread=False)
        self._reader.execute("PRAGMA query_only=ON")
        self._seq, self._hash = tail_of(self._reader)
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    @classmethod
    def open(
        cls,
        state_dir: Path,
        *,
        name: str = FILE_NAME,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> Self:
        """Lock the state directory and open its journal, made if need be.

        A damaged file or tail is kept aside and what is sound is taken over; `opened` says so.

        Raises:
            StateDirLocked: another engine works on this directory.
            JournalError: the file can't be opened at all, or is of a newer version.
        """
        lock = StateDirLock.take(state_dir)
        try:
            path = state_dir / name
            verdict = recover(path, wall_ns())
            with contextlib.closing(sqlite3.connect(path)) as connection:
                create_schema(connection)
            path.chmod(0o600)
            return cls(path, lock, wall_ns=wall_ns, verdict=verdict)
        except sqlite3.Error as error:
            lock.release()
            raise JournalError(f"{state_dir / name}: {error}; check the disk") from error
        except BaseException:
            lock.release()
            raise

    # -- writing -----------------------------------------------------------------------------

    def append(
        self,
        kind: str,
        subject: str,
        body: object,
        *,
        is_open: bool | None = None,
        keys: Sequence[str] = (),
        market_ns: int | None = None,
        urgent: bool = False,
    ) -> Future[int]:
        """Queue one row; the future holds its number once it is on disk, or a `JournalError`.

        `is_open` sets the subject's newest row (None: the row is only an entry in its story).
        With `urgent` it is flushed at once, and everything before it too; else within `LINGER_S`.
        """
        text = msgspec.json.encode(body)
        return self._enqueue(_Waiting(kind, subject, text, is_open, tuple(keys), market_ns, urgent))

    def _enqueue(self, waiting: _Waiting) -> Future[int]:
        # Not to be cancelled from here on: the row is written whether its caller waits or not.
        waiting.done.set_running_or_notify_cancel()
        with self._more:
            if self._closed:
                waiting.done.set_exception(JournalClosed("the journal is closed"))
                return waiting.done
            if waiting.market_ns is not None and waiting.market_ns not in INT64:
                problem = f"the market time {waiting.market_ns} ns is none"
                waiting.done.set_exception(RowRefused(f"{waiting.subject}: {problem}"))
                return waiting.done
            if len(self._rows_waiting) >= CAPACITY:
                problem = f"{CAPACITY} rows wait for the disk; it is too slow or stuck: check it"
                waiting.done.set_exception(JournalError(problem))
                return waiting.done
            self._rows_waiting.append(waiting)
            self._urgent += waiting.urgent
            # Others are found when the writer looks: to wake it for them would cost an order that
            # is being sent in this moment its turn at the interpreter.
            if waiting.urgent or len(self._rows_waiting) >= GROUP:
                self._more.notify()
        return waiting.done

    async def commit(
        self,
        kind: str,
        subject: str,
        body: object,
        *,
        is_open: bool | None = None,
        keys: Sequence[str] = (),
        market_ns: int | None = None,
    ) -> int:
        """Append one row and wait until it is on disk; its number. Raises `JournalError`."""
        return await asyncio.wrap_future(
            self.append(
                kind,
                subject,
                body,
                is_open=is_open,
                keys=keys,
                market_ns=market_ns,
                urgent=True,
            )
        )

    async def settled(self) -> None:
        """Wait until all that was appended before is on disk. Raises `JournalError`."""
        await asyncio.wrap_future(self._enqueue(_Waiting("", "", b"", None, (), None, urgent=True)))

    def _write(self) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            while group := self._next_group():
                self._flush(connection, group)
        finally:
            connection.close()

    def _next_group(self) -> list[_Waiting]:
        """What shares the next flush; nothing once the journal is closed and all is written."""
        with self._more:
            while not (self._urgent or self._closed or len(self._rows_waiting) >= GROUP):
                if not self._more.wait(LINGER_S) and self._rows_waiting:
                    break
            group = [
                self._rows_waiting.popleft() for _ in range(min(GROUP, len(self._rows_waiting)))
            ]
            self._urgent -= sum(row.urgent for row in group)
            return group

    def _flush(self, connection: sqlite3.Connection, group: list[_Waiting]) -> None:
        """Write them in one transaction. Whatever a row holds, the writer outlives it."""
        barriers = [row for row in group if not row.kind]
        group = [row for row in group if row.kind]
        while True:
            numbers: list[int] = []
            begun = time.perf_counter()
            try:
                seq, previous = self._transaction(connection, group, numbers)
                self.flush_times.observe(time.perf_counter() - begun)
                break
            except Exception as error:  # noqa: BLE001 — else all who wait would wait for ever
                self._roll_back(connection)
                if not isinstance(error, RowRefused):
                    self._failed(error, [*group, *barriers])
                    return
                # The others have no part in it.
                group.pop(len(numbers)).done.set_exception(error)
        self._seq, self._hash = seq, previous
        self.flushes += 1
        self.failure = None
        for row, number in zip(group, numbers, strict=True):
            row.done.set_result(number)
        for barrier in barriers:
            barrier.done.set_result(seq)

    def _transaction(
        self, connection: sqlite3.Connection, group: list[_Waiting], numbers: list[int]
    ) -> tuple[int, bytes]:
        """The last number and hash; `numbers` says which rows were taken also when one is not.

        Raises:
            RowRefused: the row after those in `numbers` can never be written.
        """
        seq, previous, at = self._seq, self._hash, self._wall_ns()
        connection.execute("BEGIN IMMEDIATE")
        for row in group:
            seq += 1
            try:
                previous = _insert(connection, row, seq, at, previous)
            except (sqlite3.DataError, OverflowError, TypeError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
                raise RowRefused(
                    f"{row.kind} {row.subject!a} can't be written: {problem}"
                ) from error
            numbers.append(seq)
        connection.execute("COMMIT")
        return seq, previous

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        with contextlib.suppress(sqlite3.Error):
            # A commit that failed halfway may be on disk after all: go on from what is there.
            self._seq, self._hash = tail_of(connection)

    def _failed(self, error: Exception, rows: list[_Waiting]) -> None:
        self.failure = f"{self.path}: {error}"
        failure = JournalError(
            f"{self.failure}; free or repair the disk: nothing is sent meanwhile"
        )
        for row in rows:
            row.done.set_exception(failure)

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush what waits, end the writer and release the lock. Idempotent."""
        with self._more:
            if self._closed:
                return
            self._closed = True
            self._more.notify()
        self._writer.join(timeout_s)
        self._reader.close()
        self._lock.release()

    # -- reading -----------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        """The number of the newest row on disk; 0 when there is none."""
        return self._seq

    def open_subjects(self) -> Iterator[JournalRow]:
        """The newest row of each subject that is still open, oldest first."""
        return self._rows(
            "SELECT j.* FROM latest l JOIN journal j ON j.seq=l.seq "
            "WHERE l.is_open=1 ORDER BY l.seq"
        )

    def recent_subjects(self, kind: str, limit: int) -> list[JournalRow]:
        """The newest rows of the `limit` subjects of this kind that changed last, oldest first."""
        rows = self._rows(
            "SELECT j.* FROM latest l JOIN journal j ON j.seq=l.seq "
            "WHERE j.kind=? ORDER BY l.seq DESC LIMIT ?",
            (kind, limit),
        )
        return list(rows)[::-1]

    def newest(self, kind: str, limit: int) -> list[JournalRow]:
        """The newest `limit` rows of this kind, oldest first; no further back than `LOOK_BACK`."""
        rows = self._rows(
            "SELECT * FROM journal WHERE kind=? AND seq>? ORDER BY seq DESC LIMIT ?",
            (kind, self._seq - LOOK_BACK, limit),
        )
        return list(rows)[::-1]

    def latest(self, subject: str) -> JournalRow | None:
        """The newest row that set the subject's standing."""
        rows = self._rows(
            "SELECT j.* FROM latest l JOIN journal j ON j.seq=l.seq WHERE l.subject=?", (subject,)
        )
        return next(rows, None)

    def subject_of(self, key: str) -> str | None:
        """The subject that a command or execution id belongs to."""
        row = self._reader.execute("SELECT subject FROM keys WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def story(self, subject: str, limit: int = 500) -> list[JournalRow]:
        """The last `limit` rows of one subject, oldest first."""
        rows = self._rows(
            "SELECT * FROM (SELECT * FROM journal WHERE subject=? ORDER BY seq DESC LIMIT ?) "
            "ORDER BY seq",
            (subject, limit),
        )
        return list(rows)

    def rows(self, after: int = 0, limit: int = -1) -> Iterator[JournalRow]:
        """Rows numbered above `after`, in order."""
        return self._rows("SELECT * FROM journal WHERE seq>? ORDER BY seq LIMIT ?", (after, limit))

    def verify(self) -> Verdict:
        """Check every row's number and hash. Changes nothing; may take a second a million rows."""
        return inspect(self._reader)

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> Iterator[JournalRow]:
        for row in self._reader.execute(statement, values):
            yield JournalRow.of(row)


def _insert(
    connection: sqlite3.Connection, row: _Waiting, seq: int, at: int, previous: bytes
) -> bytes:
    """Write one row and what the indexes say of it; its hash."""
    this = chain_hash(
        previous,
        seq,
        at,
        row.market_ns,
        row.kind,
        row.subject,
        row.body,
        row.is_open,
        row.keys,
    )
    connection.execute(
        INSERT_ROW,
        (
            seq, at, row.market_ns, row.kind, row.subject, row.body.decode(),
            row.is_open, " ".join(row.keys), this,
        ),
    )  # fmt: skip
    if row.is_open is not None:
        connection.execute(
            "INSERT INTO latest VALUES (?,?,?) ON CONFLICT(subject) "
            "DO UPDATE SET seq=excluded.seq, is_open=excluded.is_open",
            (row.subject, seq, row.is_open),
        )
    for key in row.keys:
        connection.execute("INSERT OR IGNORE INTO keys VALUES (?,?)", (key, row.subject))
    return this
