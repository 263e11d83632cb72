"""The command line: arguments in, one call out. What a command needs is imported when it runs.

Starting the face goes a short way past the rest, so that its first paint waits for Textual alone;
everything else is `console.cli.app`.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "trading-console"
_FLAGS = ("--demo", "--live-paper", "--plain")
_VALUES = ("--config", "--profile", "--set", "--state-dir", "--speed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code. Never raises for a user's mistake."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if has_terminal():
            given = _face_options(arguments)
            if given is not None:
                return _face(given)
        from console.cli.app import run

        return run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has left; what is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def has_terminal() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _face_options(arguments: list[str]) -> list[tuple[str, str]] | None:
    """The options of a plain start of the face, or None where a fuller parser has to look."""
    given = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in _FLAGS and not equals:
            given.append((name, ""))
        elif name in _VALUES:
            if not equals:
                value = next(rest, "")
            if not value or (name == "--speed" and not _is_number(value)):
                return None
            given.append((name, value))
        else:
            return None
    return given


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _face(given: list[tuple[str, str]]) -> int:
    # Until the first paint nothing that is made becomes garbage; looking for it costs 40 ms.
    gc.disable()
    from console.cli.face import run_face
    from console.config.errors import ConfigError
    from console.config.layers import Overrides
    from console.exits import ExitError

    last = dict(given)
    try:
        return run_face(
            Overrides(
                config=Path(last["--config"]) if "--config" in last else None,
                profile=last.get("--profile"),
                values=tuple(value for name, value in given if name == "--set"),
                state_dir=Path(last["--state-dir"]) if "--state-dir" in last else None,
                demo="--demo" in last,
                live_paper="--live-paper" in last,
                speed=float(last["--speed"]) if "--speed" in last else None,
            ),
            plain="--plain" in last,
        )
    except (ConfigError, ExitError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.exit_code
