"""An order's story, read from the journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from console.engine.journal_files import JournalRow
from console.engine.state import StoryLine


class _Text(msgspec.Struct):
    text: str = ""


def story_lines(rows: Iterable[JournalRow]) -> tuple[StoryLine, ...]:
    """One line a row, oldest first."""
    return tuple(
        StoryLine(
            seq=row.seq,
            at=datetime.fromtimestamp(row.at / 1e9, UTC),
            kind=row.kind,
            text=msgspec.json.decode(row.body, type=_Text).text,
            market_time=None
            if row.market_at is None
            else datetime.fromtimestamp(row.market_at / 1e9, UTC),
        )
        for row in rows
    )
