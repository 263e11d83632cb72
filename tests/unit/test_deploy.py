"""The files of deploy/ name only what is there."""

from __future__ import annotations

import re

from console.exits import CONFIG, IN_USE
from tests.conftest import ROOT


def test_the_unit_gives_up_where_a_person_is_needed() -> None:
    unit = (ROOT / "deploy/trading-console.service").read_text()
    assert f"RestartPreventExitStatus={IN_USE} {CONFIG}" in unit
    assert re.search(r"ExecStart=\S+/trading-console headless ", unit)
