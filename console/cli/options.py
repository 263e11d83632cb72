"""The options that many commands share, and the settings' overrides made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.output import Format
from console.config.layers import Overrides

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A config.toml over your own.")
]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="dev, staging or prod.")
]
Values = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; may be repeated."),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", metavar="DIR", help="Journal, account, logs and runtime.json lie here."
    ),
]
Demo = Annotated[bool, typer.Option("--demo", help="Trade on the embedded exchange.")]
LivePaper = Annotated[
    bool, typer.Option("--live-paper", help="Trade on Alpaca's paper account; needs keys.")
]
Speed = Annotated[
    float | None,
    typer.Option("--speed", metavar="N", help="The demo's market seconds a second, 1 to 1000."),
]
Reason = Annotated[str, typer.Argument(metavar="[REASON]")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask for the typed word.")]
Output = Annotated[Format, typer.Option("--format", help="Text for people, JSON for programs.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="S", min=0.1, max=600, help="Seconds to wait for the engine."
    ),
]

Plain = Annotated[
    bool, typer.Option("--plain", help="Say lines of text instead of painting a screen.")
]


def overrides_of(
    context: typer.Context,
    *,
    config: Path | None = None,
    profile: str | None = None,
    values: list[str] | None = None,
    state_dir: Path | None = None,
    demo: bool = False,
    live_paper: bool = False,
    speed: float | None = None,
) -> Overrides:
    """The options of a command over those that stood before its name."""
    before = context.obj if isinstance(context.obj, Overrides) else Overrides()
    return Overrides(
        config=config or before.config,
        profile=profile or before.profile,
        values=(*before.values, *(values or ())),
        state_dir=state_dir or before.state_dir,
        demo=demo or before.demo,
        live_paper=live_paper or before.live_paper,
        speed=before.speed if speed is None else speed,
    )
