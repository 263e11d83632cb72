"""The app on a scripted link, with frozen clocks and colours that don't depend on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from textual import constants

from console.ui.app import ConsoleApp

sys.path.insert(0, str(Path(__file__).parent))
import scripted
from pilots import MakeApp

LIMITS = {
    "max_gross_exposure_pct": 200,
    "max_position_notional": 20000,
    "max_open_orders": 100,
    "max_daily_loss_pct": 5,
    "max_drawdown_pct": 10,
}


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "COLOR_SYSTEM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def make_app() -> MakeApp:
    """An app on `link` (a `ScriptedLink`, or what raises when it is called)."""

    def make(link: Any = None, **changes: Any) -> ConsoleApp:
        link = scripted.ScriptedLink() if link is None else link
        connect = link if callable(link) else lambda: link
        options = {
            "feed_columns": scripted.FEATURES,
            "mode": "DEMO",
            "limits": LIMITS,
            "monotonic": lambda: scripted.NOW,
        }
        return ConsoleApp(connect, **{**options, **changes})

    return make
