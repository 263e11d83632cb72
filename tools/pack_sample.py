"""Pack recorded prices (see docs/data.md for the files' form) into the package's sample folder.

    pip install pyarrow && python tools/pack_sample.py SOURCE console/sample

The sample has exactly the form that `--data` takes, as zstd Parquet: one reader serves both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

FILES = ("bars_1min.csv", "quotes_1min.csv", "bars_1day.csv", "bars_1sec.parquet")
DAILY = ("2010-01-01", "2013-10-09")
"""The daily bars kept: some years before the recorded sessions and none after them."""


def read(path: Path) -> pa.Table:
    """One recorded file, its timestamps as they stand there (a date or an instant in UTC)."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    return pyarrow.csv.read_csv(path)


def encoding(kind: pa.DataType) -> str:
    """The column encoding that zstd makes most of."""
    return "BYTE_STREAM_SPLIT" if pa.types.is_floating(kind) else "DELTA_BINARY_PACKED"


def pack(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        table = read(source / name)
        if name.startswith("bars_1day"):
            first, last = (pa.scalar(day).cast(pa.date32()) for day in DAILY)
            day = table["timestamp"].cast(pa.date32())
            table = table.filter(pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last)))
        out = target / f"{name.split('.')[0]}.parquet"
        pq.write_table(
            table.sort_by([("symbol", "ascending"), ("timestamp", "ascending")]),
            out,
            compression="zstd",
            compression_level=19,
            use_dictionary=["symbol"],
            column_encoding={
                field.name: encoding(field.type)
                for field in table.schema
                if field.name != "symbol" and not pa.types.is_date(field.type)
            },
        )
        print(f"{out}: {table.num_rows} rows, {out.stat().st_size} bytes")


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
