"""Writes the journal's rows; those that it can't take are kept until it can.

What happened while the disk was full is told too, in its order, and stands after a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from loguru import logger

from console.engine.journal import Journal, RowRefused

KEPT = 50_000
"""Rows; of more than that the oldest are given up. The broker is asked about orders anyway."""


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    subject: str
    body: object
    is_open: bool | None
    keys: Sequence[str]
    market_ns: int | None
    after: int
    """The journal's newest row when this one was to be written."""


class Rows:
    """See the module. Of the engine's loop; failures are noted by the journal's thread."""

    def __init__(self, journal: Journal, on_failure: Callable[[str], None]) -> None:
        self._journal = journal
        self._on_failure = on_failure
        self._unwritten: deque[_Row] = deque(maxlen=KEPT)
        self._down = False

    def append(
        self,
        kind: str,
        subject: str,
        body: object,
        is_open: bool | None,
        keys: Sequence[str],
        market_ns: int | None,
        *,
        urgent: bool = False,
    ) -> Future[int]:
        """As `Journal.append`; a row that fails is written again before the next that can be."""
        if self._unwritten and not self._down:
            self.again()
        row = _Row(kind, subject, body, is_open, keys, market_ns, self._journal.last_seq)
        return self._write(row, is_open, urgent=urgent)

    def _write(self, row: _Row, is_open: bool | None, *, urgent: bool) -> Future[int]:
        future = self._journal.append(
            row.kind,
            row.subject,
            row.body,
            is_open=is_open,
            keys=row.keys,
            market_ns=row.market_ns,
            urgent=urgent,
        )

        def look(done: Future[int]) -> None:
            error = done.exception()
            if isinstance(error, RowRefused):
                # No disk would ever take it; what waits for it has been told.
                logger.error("a row is given up: {}", error)
                return
            self._down = error is not None
            if error is not None:
                self._unwritten.append(row)
                self._on_failure(str(error))

        future.add_done_callback(look)
        return future

    def again(self) -> list[Future[int]]:
        """Write what failed, oldest first.

        A subject's last word stands, unless a newer one was written meanwhile; the words before it
        are entries in its story.
        """
        rows = [self._unwritten.popleft() for _ in range(len(self._unwritten))]
        last = {row.subject: row for row in rows if row.is_open is not None}
        standing = {id(row) for row in last.values() if self._is_newest(row)}
        return [
            self._write(row, row.is_open if id(row) in standing else None, urgent=False)
            for row in rows
        ]

    def _is_newest(self, row: _Row) -> bool:
        newest = self._journal.latest(row.subject)
        return newest is None or newest.seq <= row.after
