"""`trading-console journal`: its options. What each does is in `console.cli.journal_views`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from console.cli.options import Demo, LivePaper, Output, StateDir, overrides_of
from console.cli.output import Format

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Read the journal, also beside a running engine; check it, export it, archive it.",
)


class ExportFormat(StrEnum):
    CSV = "csv"
    MARKDOWN = "markdown"
    JSONL = "jsonl"


class Matter(StrEnum):
    ROWS = "rows"
    ORDERS = "orders"
    FILLS = "fills"


File = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="A journal or an archive of one by its name."),
]
Kind = Annotated[
    str | None, typer.Option("--kind", metavar="KIND", help="Rows of this kind: order, fill, …")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Written at this time or later (UTC).")
]
Before = Annotated[
    str | None, typer.Option("--before", metavar="TIME", help="Written before this time (UTC).")
]


@app.command()
def verify(
    context: typer.Context,
    file: File = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    style: Output = Format.TEXT,
) -> int:
    """Check every row and hash, archives too. Exit 0 sound, 1 not."""
    from console.cli.journal_views import find_journal, verify_journal

    overrides = overrides_of(context, state_dir=state_dir, demo=demo, live_paper=live_paper)
    return verify_journal(find_journal(overrides, file), style)


@app.command()
def show(
    context: typer.Context,
    subject: Annotated[
        str | None,
        typer.Argument(metavar="[ORDER]", help="An order by either id, or another subject."),
    ] = None,
    last: Annotated[
        int, typer.Option("--last", metavar="N", min=1, max=100_000, help="The last N rows.")
    ] = 50,
    kind: Kind = None,
    file: File = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    style: Output = Format.TEXT,
) -> int:
    """The last rows, or the whole story of one order."""
    from console.cli.journal_views import find_journal, show_journal

    overrides = overrides_of(context, state_dir=state_dir, demo=demo, live_paper=live_paper)
    return show_journal(find_journal(overrides, file), style, subject=subject, last=last, kind=kind)


@app.command()
def export(
    context: typer.Context,
    matter: Annotated[Matter, typer.Argument(metavar="rows|orders|fills")] = Matter.ROWS,
    style: Annotated[
        ExportFormat, typer.Option("--format", help="CSV, a Markdown table, or JSON lines.")
    ] = ExportFormat.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")
    ] = None,
    kind: Kind = None,
    since: Since = None,
    before: Before = None,
    file: File = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
) -> int:
    """All rows, each order as it last stood, or every fill; archives included."""
    from console.cli.journal_export import export_journal
    from console.cli.journal_views import find_journal, moment

    overrides = overrides_of(context, state_dir=state_dir, demo=demo, live_paper=live_paper)
    return export_journal(
        find_journal(overrides, file),
        matter,
        style,
        output,
        kind=kind,
        since_ns=None if since is None else moment("--since", since),
        before_ns=None if before is None else moment("--before", before),
    )


@app.command()
def prune(
    context: typer.Context,
    before: Before = None,
    keep_days: Annotated[
        float | None,
        typer.Option("--keep-days", metavar="N", min=1, help="Archive what is older; 90."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The archive; else beside it.")
    ] = None,
    file: File = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    style: Output = Format.TEXT,
) -> int:
    """Move old rows into a second file; both verify together. Needs the engine stopped."""
    from console.cli.journal_views import find_journal, prune_journal

    overrides = overrides_of(context, state_dir=state_dir, demo=demo, live_paper=live_paper)
    return prune_journal(
        find_journal(overrides, file), style, before=before, keep_days=keep_days, to=to
    )
