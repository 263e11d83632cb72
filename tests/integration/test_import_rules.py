"""What imports what: the rules of pyproject.toml, and what each start leaves out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LIMIT_S, ROOT


def test_the_import_rules_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S * 2,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        # Before the first paint of the face.
        (
            "console.cli.face, console.ui.app",
            "pydantic aiohttp zmq typer pandas alpaca loguru numpy",
        ),
        # `--help`.
        ("console.cli.app", "pydantic aiohttp zmq textual rich pandas alpaca loguru numpy"),
        # `status` and `order`.
        ("console.cli.client", "aiohttp textual rich pandas alpaca numpy"),
    ],
)
def test_what_a_start_leaves_out(
    command_python: Callable[[str], str], module: str, left_out: str
) -> None:
    code = (
        f"import sys, console.cli, {module}; "
        f"print(*sorted(set({left_out.split()!r}) & {{m.split('.')[0] for m in sys.modules}}))"
    )
    assert command_python(code) == ""
