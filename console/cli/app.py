"""Every command and its options. The bodies are one call each, imported when the command runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from console.cli import PROGRAM, has_terminal, journal, research
from console.cli.options import (
    Config,
    Demo,
    LivePaper,
    Output,
    Plain,
    Profile,
    Reason,
    Speed,
    StateDir,
    Timeout,
    Values,
    Yes,
    overrides_of,
)
from console.cli.output import Format, say, speaking, told

app = typer.Typer(
    name=PROGRAM,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A trading console for the terminal. Without a command: the console itself.",
)
_exchange = typer.Typer(rich_markup_mode=None, help="Run the paper exchange alone.")
_config = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look at the settings.")
_keys = typer.Typer(
    rich_markup_mode=None, help="Which of Alpaca's keys and of the bus's there are."
)
app.add_typer(_exchange, name="exchange")
app.add_typer(_keys, name="keys")
app.add_typer(_config, name="config")
app.add_typer(journal.app, name="journal")


def run(arguments: Sequence[str]) -> int:
    """Parse and run; what a person can do something about is one line and an exit code."""
    style = Format.JSON if _asks_for_json(arguments) else Format.TEXT
    with speaking(style):
        try:
            result = app(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
        except typer.Exit as exit_:
            return int(exit_.exit_code)
        except typer.Abort:
            return 130
        except Exception as error:
            if (code := _usage(error)) is not None:
                return code
            if isinstance(getattr(error, "exit_code", None), int):
                return told(error)
            raise
    return result if isinstance(result, int) else 0


def _asks_for_json(arguments: Sequence[str]) -> bool:
    after = dict(pairwise(arguments))
    return "--format=json" in arguments or after.get("--format") == "json"


def _usage(error: Exception) -> int | None:
    """A command line that the parser refused: its message, and where help is."""
    message = getattr(error, "format_message", None)
    if message is None:
        return None
    from console.cli.output import fail

    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    return fail(f"{message().rstrip('.')}; see {path} --help", 2)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    speed: Speed = None,
    plain: Plain = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    if version:
        from importlib.metadata import version as installed

        print(f"{PROGRAM} {installed(PROGRAM)}")
        raise typer.Exit
    overrides = overrides_of(
        context, config=config, profile=profile, values=values, state_dir=state_dir, demo=demo,
        live_paper=live_paper, speed=speed,
    )  # fmt: skip
    if context.invoked_subcommand is not None:
        context.obj = overrides
        return 0
    if has_terminal():
        from console.cli.face import run_face

        return run_face(overrides, plain=plain)
    from console.cli.headless import run_headless

    say("stdin or stdout is no terminal: running headless")
    return run_headless(overrides)


@app.command()
def headless(
    context: typer.Context,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    speed: Speed = None,
) -> int:
    """Run without a screen.

    Structured logs go to stderr and a file, health is served over HTTP, SIGTERM drains."""
    from console.cli.headless import run_headless

    return run_headless(
        overrides_of(
            context, config=config, profile=profile, values=values, state_dir=state_dir,
            demo=demo, live_paper=live_paper, speed=speed,
        )
    )  # fmt: skip


@app.command()
def attach(
    context: typer.Context,
    state_dir: StateDir = None,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    plain: Plain = False,
) -> int:
    """Open the console on a running engine.

    Leaving it leaves the engine running."""
    from console.cli.face import run_attached

    overrides = overrides_of(
        context, config=config, profile=profile, values=values, state_dir=state_dir
    )
    return run_attached(overrides, plain=plain)


@app.command()
def status(
    context: typer.Context,
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
    timeout: Timeout = 5.0,
) -> int:
    """What the running engine knows."""
    from console.cli.client import run_status

    return run_status(overrides_of(context, state_dir=state_dir), style, timeout)


@app.command()
def order(
    context: typer.Context,
    line: Annotated[
        str, typer.Argument(metavar="LINE", help='Such as "buy 100 IBM" or "sell half SPY @ 150".')
    ],
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="S", min=0, max=86_400, help="Seconds until it is final."),
    ] = 0.0,
    source: Annotated[
        str, typer.Option("--source", metavar="NAME", help="Who asks, as the journal keeps it.")
    ] = "cli",
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
    timeout: Timeout = 20.0,
) -> int:
    """Send one line of the console's own grammar. Exit 0 accepted, 1 refused, 75 in doubt."""
    from console.cli.client import run_line

    return run_line(
        overrides_of(context, state_dir=state_dir), line, style, timeout, wait=wait, source=source
    )


@app.command()
def cancel(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="all|SYMBOL|ID", help="Which orders; ID is either id.")
    ],
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
    timeout: Timeout = 20.0,
) -> int:
    """Cancel all open orders, those of a symbol, or one."""
    from console.cli.client import run_line

    return run_line(overrides_of(context, state_dir=state_dir), f"cancel {target}", style, timeout)


@app.command()
def flatten(
    context: typer.Context,
    reason: Reason = "",
    yes: Yes = False,
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
    timeout: Timeout = 60.0,
) -> int:
    """The kill switch.

    Halt, cancel all, close all, verify flat. HALTED stays until `resume`."""
    from console.cli.switches import run_flatten

    return run_flatten(overrides_of(context, state_dir=state_dir), reason, style, timeout, sure=yes)


@app.command()
def halt(
    context: typer.Context,
    reason: Reason = "",
    yes: Yes = False,
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
    timeout: Timeout = 20.0,
) -> int:
    """Take no more orders; cancels still pass."""
    from console.cli.switches import run_state

    overrides = overrides_of(context, state_dir=state_dir)
    return run_state(overrides, "halt", reason, style, timeout, sure=yes)


@app.command()
def reduce(
    context: typer.Context,
    reason: Reason = "",
    yes: Yes = False,
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
    timeout: Timeout = 20.0,
) -> int:
    """Take only orders that reduce a position."""
    from console.cli.switches import run_state

    overrides = overrides_of(context, state_dir=state_dir)
    return run_state(overrides, "reduce", reason, style, timeout, sure=yes)


@app.command()
def resume(
    context: typer.Context,
    reason: Reason = "",
    yes: Yes = False,
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
    timeout: Timeout = 20.0,
) -> int:
    """Take orders again after a halt."""
    from console.cli.switches import run_state

    overrides = overrides_of(context, state_dir=state_dir)
    return run_state(overrides, "resume", reason, style, timeout, sure=yes)


@app.command()
def doctor(
    context: typer.Context,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    style: Output = Format.TEXT,
) -> int:
    """Find what keeps it from running, and say what to do."""
    from console.cli.doctor import run_doctor

    return run_doctor(
        overrides_of(
            context, config=config, profile=profile, values=values, state_dir=state_dir,
            demo=demo, live_paper=live_paper,
        ),
        style,
    )  # fmt: skip


@app.command()
def service(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="market-data, execution-engine or risk-manager.")
    ],
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
) -> int:
    """Run one of the services alone, until a signal ends it."""
    from console.cli.services import run_service_alone

    return run_service_alone(
        overrides_of(
            context, config=config, profile=profile, values=values, state_dir=state_dir,
            demo=demo, live_paper=live_paper,
        ),
        name,
    )  # fmt: skip


@app.command()
def up(
    context: typer.Context,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    speed: Speed = None,
    style: Output = Format.TEXT,
) -> int:
    """Run the whole system, one process a service, until a signal ends it."""
    from console.cli.up import run_up

    return run_up(
        overrides_of(
            context, config=config, profile=profile, values=values, state_dir=state_dir,
            demo=demo, live_paper=live_paper, speed=speed,
        ),
        style,
    )  # fmt: skip


@_exchange.callback(invoke_without_command=True)
def exchange(
    context: typer.Context,
    port: Annotated[int | None, typer.Option("--port", metavar="N", min=0, max=65535)] = None,
    speed: Speed = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", min=0)] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Recorded prices (docs/data.md).")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First session that is played.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last session that is played.")
    ] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Serve /_exchange: pause, step, speed, faults.")
    ] = False,
    rate_limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Requests a minute a key (Alpaca: 200; 0: no limit)."
        ),
    ] = None,
    data_connections: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Data streams a key (Alpaca: 1; 0: no limit)."),
    ] = None,
    data_symbols: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Symbols a data stream (Alpaca: 30; 0: any)."),
    ] = None,
    state_dir: StateDir = None,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    style: Output = Format.TEXT,
) -> int:
    overrides = overrides_of(
        context, config=config, profile=profile, values=values, state_dir=state_dir
    )
    if context.invoked_subcommand is not None:
        context.obj = overrides
        return 0
    from console.cli.exchange import ExchangeOptions, run_exchange

    return run_exchange(
        overrides,
        ExchangeOptions(
            port=port, speed=speed, seed=seed, data=data, start=start, end=end, control=control,
            rate_limit=rate_limit, data_connections=data_connections, data_symbols=data_symbols,
        ),
        style,
    )  # fmt: skip


@_exchange.command("reset")
def exchange_reset(
    context: typer.Context, state_dir: StateDir = None, style: Output = Format.TEXT
) -> int:
    """Start its accounts anew; what was there is kept aside."""
    from console.cli.exchange import reset_exchange

    return reset_exchange(overrides_of(context, state_dir=state_dir), style)


@_config.command("check")
def config_check(
    context: typer.Context,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    style: Output = Format.TEXT,
) -> int:
    """Whether the settings hold; 78 and the first one that doesn't, if not."""
    from console.cli.settings import check_settings

    return check_settings(
        overrides_of(
            context, config=config, profile=profile, values=values, demo=demo,
            live_paper=live_paper,
        ),
        style,
    )  # fmt: skip


@_config.command("show")
def config_show(
    context: typer.Context,
    config: Config = None,
    profile: Profile = None,
    values: Values = None,
    state_dir: StateDir = None,
    demo: Demo = False,
    live_paper: LivePaper = False,
    style: Output = Format.TEXT,
) -> int:
    """All settings as they come out of the layers, and where each one came from."""
    from console.cli.settings import show_settings

    return show_settings(
        overrides_of(
            context, config=config, profile=profile, values=values, state_dir=state_dir,
            demo=demo, live_paper=live_paper,
        ),
        style,
    )  # fmt: skip


@_keys.callback(invoke_without_command=True)
def keys(
    context: typer.Context,
    config: Config = None,
    values: Values = None,
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
) -> int:
    overrides = overrides_of(context, config=config, values=values, state_dir=state_dir)
    if context.invoked_subcommand is not None:
        context.obj = overrides
        return 0
    from console.cli.settings import show_keys

    return show_keys(overrides, style)


@_keys.command("new")
def keys_new(
    context: typer.Context,
    config: Config = None,
    values: Values = None,
    state_dir: StateDir = None,
    style: Output = Format.TEXT,
) -> int:
    """Make the key files of a secured bus; what is there is kept."""
    from console.cli.settings import make_bus_keys

    return make_bus_keys(
        overrides_of(context, config=config, values=values, state_dir=state_dir), style
    )


research.register(app)
