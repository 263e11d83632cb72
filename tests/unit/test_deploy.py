"""The files of deploy/ name only what is there."""

from __future__ import annotations

import re

from console.exits import CONFIG, IN_USE
from console.health.metrics import HELP
from tests.conftest import ROOT


def test_alerts_ask_for_metrics_that_exist() -> None:
    rules = (ROOT / "deploy/prometheus/trading-console.rules.yml").read_text()
    named = set(re.findall(r"console_(\w+)", rules))
    assert named
    assert {name.removesuffix("_total") for name in named} <= set(HELP)


def test_the_unit_gives_up_where_a_person_is_needed() -> None:
    unit = (ROOT / "deploy/trading-console.service").read_text()
    assert f"RestartPreventExitStatus={IN_USE} {CONFIG}" in unit
    assert re.search(r"ExecStart=\S+/trading-console headless ", unit)
