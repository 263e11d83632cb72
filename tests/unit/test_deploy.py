"""The files of deploy/ name only what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from console.exits import CONFIG, IN_USE
from tests.conftest import LIMIT_S, ROOT


def test_the_unit_gives_up_where_a_person_is_needed() -> None:
    unit = (ROOT / "deploy/trading-console.service").read_text()
    assert f"RestartPreventExitStatus={IN_USE} {CONFIG}" in unit
    assert re.search(r"ExecStart=\S+/trading-console headless ", unit)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (ROOT / "deploy/trading-console.service").read_text()
    unit = tmp_path / "trading-console.service"
    # Where the console will be installed, nothing is here.
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    # It looks at what the unit needs as well, which is not ours.
    assert not [line for line in done.stderr.splitlines() if unit.name in line], done.stderr
