"""`backtest`, `replay` and `strategy`: their options. What each does is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.options import Config, Output, Profile, StateDir, Values, overrides_of
from console.cli.output import Format

strategy = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="List strategies, run one on a live engine."
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Of `strategy list`, module:Class, or path/to/file.py:Class."
    ),
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR|sample", help="Recorded prices (docs/data.md)."),
]
Start = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="First session that is played.")
]
End = Annotated[
    str | None, typer.Option("--to", metavar="DATE", help="Last session that is played.")
]
Symbols = Annotated[
    str | None, typer.Option("--symbols", metavar="A,B", help="Only these; else all that it names.")
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "--set-param", metavar="K=V", help="A parameter; may be repeated."),
]


def register(app: typer.Typer) -> None:
    """Put the commands on the program's own."""
    app.command()(backtest)
    app.command()(replay)
    app.add_typer(strategy, name="strategy")


def backtest(
    context: typer.Context,
    name: Name,
    data: Data = None,
    start: Start = None,
    end: End = None,
    symbols: Symbols = None,
    cash: Annotated[
        str, typer.Option("--cash", metavar="USD", help="What the account starts with.")
    ] = "100000",
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="Of partial fills and ids.")
    ] = None,
    param: Params = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="K=A,B,C", help="A run for each value; may be repeated."),
    ] = None,
    native: Annotated[
        bool, typer.Option("--native", help="Run the strategy's twin in Rust.")
    ] = False,
    limits: Annotated[
        bool, typer.Option("--limits/--no-limits", help="Keep to the [risk] limits.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Report, CSV files and the journal go here."),
    ] = None,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    style: Output = Format.TEXT,
) -> int:
    """Run a strategy on recorded prices.

    Seed, partial fills, slippage and latency are those of [demo], sizes those of [execution],
    limits those of [risk]. The same run prints the same journal hash."""
    from console.cli.backtest import Request, run_backtest_command

    overrides = overrides_of(context, config=config, profile=profile, values=values)
    return run_backtest_command(
        overrides,
        Request(
            name=name, data=data, start=start, end=end, symbols=symbols, cash=cash, seed=seed,
            params=tuple(param or ()), sweep=tuple(sweep or ()), native=native, limits=limits,
            out=out,
        ),
        style,
    )  # fmt: skip


def replay(
    context: typer.Context,
    data: Data = None,
    start: Start = None,
    end: End = None,
    symbols: Symbols = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed", metavar="N", min=0, help="Market seconds a second; 0: as fast as is read."
        ),
    ] = 60.0,
    only_bars: Annotated[bool, typer.Option("--bars", help="Bars alone.")] = False,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="S", min=0, max=86_400, help="Seconds for a first reader."),
    ] = 60.0,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    style: Output = Format.TEXT,
) -> int:
    """Put recorded prices on the bus, without an exchange.

    As market-data would, for strategies and screens to be tried on. It binds ports.market and
    waits for readers: where one is slow it is slower, and nothing is lost."""
    from console.cli.replay import ReplayRequest, run_replay

    overrides = overrides_of(context, config=config, profile=profile, values=values)
    return run_replay(
        overrides,
        ReplayRequest(
            data=data, start=start, end=end, symbols=symbols, speed=speed, only_bars=only_bars,
            wait_s=wait,
        ),
        style,
    )  # fmt: skip


@strategy.command("list")
def list_strategies(style: Output = Format.TEXT) -> int:
    """Those in the package, with their parameters."""
    from console.cli.strategies import show_strategies

    return show_strategies(style)


@strategy.command("run")
def run_strategy(
    context: typer.Context,
    name: Name,
    symbols: Symbols = None,
    param: Params = None,
    flat_on_exit: Annotated[
        bool, typer.Option("--flat-on-exit", help="Signal flat for what is held when it ends.")
    ] = False,
    state_dir: StateDir = None,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
) -> int:
    """Run a strategy on a running engine, until a signal ends it.

    Bars come from the bus, signals go to the execution-engine, which trades on them as
    [execution] and [risk] allow."""
    from console.cli.strategies import run_on_the_bus

    overrides = overrides_of(
        context, state_dir=state_dir, config=config, profile=profile, values=values
    )
    return run_on_the_bus(overrides, name, symbols, tuple(param or ()), flat_on_exit=flat_on_exit)
