"""`journal export`: rows, orders or fills as CSV, a Markdown table or JSON lines."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.cli.journal import ExportFormat, Matter
from console.cli.journal_views import reader_of, row_document, text_of, told_at
from console.cli.output import fail
from console.engine.journal_schema import JournalError
from console.exits import FAILED, OK, ExitError
from console.harmless import harmless

if TYPE_CHECKING:
    from console.engine.journal_files import JournalRow

_ROW_FIELDS = ("seq", "at", "market_at", "kind", "subject", "text")
_ORDER_FIELDS = (
    "client_order_id", "id", "created_at", "updated_at", "state", "side", "qty", "notional",
    "symbol", "order_type", "limit_price", "stop_price", "trail_price", "trail_percent",
    "time_in_force", "order_class", "filled_qty", "filled_avg_price", "source", "parent",
    "replaces", "replaced_by", "reason",
)  # fmt: skip
_FILL_FIELDS = (
    "at", "side", "qty", "symbol", "price", "bid", "ask", "client_order_id", "execution_id", "seq",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_journal(
    path: Path,
    matter: Matter,
    style: ExportFormat,
    output: Path | None,
    *,
    kind: str | None,
    since_ns: int | None,
    before_ns: int | None,
) -> int:
    """Write to `output` (0600, replaced when it is whole) or to stdout."""
    fields: tuple[str, ...] = _ROW_FIELDS
    records = _rows
    if matter is Matter.ORDERS:
        fields, records, kind = _ORDER_FIELDS, _orders, "order"
    elif matter is Matter.FILLS:
        fields, records, kind = _FILL_FIELDS, _fills, "fill"
    with reader_of(path) as reader:
        try:
            found = reader.rows(kind=kind, since_ns=since_ns, before_ns=before_ns)
            if style is ExportFormat.JSONL and matter is Matter.ROWS:
                lines = _json_lines(row_document(row) for row in found)
            else:
                lines = _lines(style, fields, records(found))
            _write(lines, output)
        except JournalError as error:
            return fail(str(error), FAILED)
    return OK


def _write(lines: Iterable[str], output: Path | None) -> None:
    if output is None:
        sys.stdout.writelines(lines)
        sys.stdout.flush()
        return
    part = output.with_name(f"{output.name}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        part.replace(output)
    except OSError as error:
        raise ExitError(f"{output}: {error.strerror}; name a writable file", FAILED) from error


def _rows(rows: Iterable[JournalRow]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield {
            "seq": row.seq,
            "at": told_at(row.at),
            "market_at": told_at(row.market_at),
            "kind": row.kind,
            "subject": row.subject,
            "text": text_of(row),
        }


def _orders(rows: Iterable[JournalRow]) -> Iterator[Mapping[str, Any]]:
    last: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        last[row.subject] = json.loads(row.body)["order"]
    yield from last.values()


def _fills(rows: Iterable[JournalRow]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield json.loads(row.body)["fill"] | {"seq": row.seq}


def _lines(
    style: ExportFormat, fields: tuple[str, ...], records: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    if style is ExportFormat.JSONL:
        yield from _json_lines({name: record.get(name) for name in fields} for record in records)
        return
    if style is ExportFormat.MARKDOWN:
        yield f"| {' | '.join(fields)} |\n|{' --- |' * len(fields)}\n"
        for record in records:
            cells = (_plain(record.get(name)).replace("|", "\\|") for name in fields)
            yield f"| {' | '.join(cells)} |\n"
        return
    writer = csv.writer(_Line(), lineterminator="\n")
    yield writer.writerow(fields)
    for record in records:
        yield writer.writerow([_cell(record.get(name)) for name in fields])


def _json_lines(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for document in documents:
        yield json.dumps(document, ensure_ascii=False) + "\n"


class _Line:
    """What a `csv.writer` takes for a file: it hands the line back."""

    def write(self, line: str) -> str:
        return line


def _plain(value: Any) -> str:
    return "" if value is None else harmless(str(value))


def _cell(value: Any) -> str:
    """Text that a spreadsheet would run as a formula is marked as text; numbers stay numbers."""
    text = _plain(value)
    if not text.startswith(_FORMULA) or _is_number(text):
        return text
    return f"'{text}"


def _is_number(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdecimal()
