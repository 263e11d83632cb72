"""Settings that change while the console runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from console.config import (
    ConfigWatcher,
    Overrides,
    Reloaded,
    ReloadRefused,
    Settings,
    load_settings,
    loosened_limits,
)
from console.config.reload import reload

Until = Callable[..., Awaitable[Any]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text("[risk]\nmax_order_qty = 100\n")
    return path


@pytest.fixture
def overrides(config: Path, tmp_path: Path) -> Overrides:
    return Overrides(config=config, environment={"XDG_CONFIG_HOME": str(tmp_path / "none")})


@pytest.fixture
def settings(overrides: Overrides) -> Settings:
    return load_settings(overrides)


@pytest.mark.parametrize(
    ("before", "after", "loosened"),
    [
        ("max_order_qty = 100", "max_order_qty = 99", False),
        ("max_order_qty = 100", "max_order_qty = 101", True),
        ("max_open_orders = 5", "max_open_orders = 6", True),
        ("duplicate_window_s = 2.0", "duplicate_window_s = 3.0", False),
        ("duplicate_window_s = 2.0", "duplicate_window_s = 1.0", True),
        ("allow_short = true", "allow_short = false", False),
        ("allow_short = false", "allow_short = true", True),
        ("allowed_symbols = ['IBM', 'SPY']", "allowed_symbols = ['IBM']", False),
        ("allowed_symbols = ['IBM']", "allowed_symbols = ['IBM', 'SPY']", True),
        ("allowed_symbols = ['IBM']", "allowed_symbols = []", True),
        ("allowed_symbols = []", "allowed_symbols = ['IBM']", False),
        ("blocked_symbols = ['IBM']", "blocked_symbols = ['IBM', 'SPY']", False),
        ("blocked_symbols = ['IBM']", "blocked_symbols = []", True),
        ("symbols = { IBM = { max_order_qty = 5 } }", "symbols = {}", True),
        ("symbols = {}", "symbols = { IBM = { max_order_qty = 5 } }", False),
        ("symbols = {}", "symbols = { IBM = { max_order_qty = 50000 } }", True),
    ],
)
def test_loosened_limits_know_each_limits_direction(
    config: Path, overrides: Overrides, before: str, after: str, loosened: bool
) -> None:
    config.write_text(f"[risk]\n{before}\n")
    old = load_settings(overrides).risk
    config.write_text(f"[risk]\n{after}\n")
    found = loosened_limits(old, load_settings(overrides).risk)
    assert bool(found) is loosened, found


def test_every_limit_has_a_direction(settings: Settings) -> None:
    """A limit added later must not be loosened by a reload because nobody thought of it."""
    for name, value in settings.risk:
        match value:
            case bool():
                looser = True
                old = settings.risk.model_copy(update={name: False})
            case tuple() | dict():
                continue
            case _:
                looser = value * 2 if name != "duplicate_window_s" else value / 2
                old = settings.risk
        assert loosened_limits(old, old.model_copy(update={name: looser})), name


def test_a_tighter_limit_is_taken(config: Path, overrides: Overrides, settings: Settings) -> None:
    config.write_text("[risk]\nmax_order_qty = 50\n")
    result = reload(settings, overrides)
    assert isinstance(result, Reloaded)
    assert result.settings.risk.max_order_qty == 50
    assert result.changed == ("risk.max_order_qty",)


def test_a_looser_limit_waits_for_a_restart(
    config: Path, overrides: Overrides, settings: Settings
) -> None:
    config.write_text("[risk]\nmax_order_qty = 101\n[log]\nlevel = 'debug'\n")
    result = reload(settings, overrides)
    assert isinstance(result, ReloadRefused)
    assert "risk.max_order_qty from 100 to 101" in result.reason
    assert "restart" in result.reason


def test_a_half_written_file_keeps_the_old(
    config: Path, overrides: Overrides, settings: Settings
) -> None:
    config.write_text("[risk]\nmax_order_")
    result = reload(settings, overrides)
    assert isinstance(result, ReloadRefused)
    assert f"{config}:2" in result.reason


def test_what_cannot_change_while_running_waits(
    config: Path, overrides: Overrides, settings: Settings
) -> None:
    config.write_text(
        "[risk]\nmax_order_qty = 100\nmax_drawdown_pct = 9\n[ports]\nhealth = 9999\n"
        "[log]\nlevel = 'debug'\nformat = 'text'\n[ui]\ntheme = 'light'\n"
    )
    result = reload(settings, overrides)
    assert isinstance(result, Reloaded)
    assert result.changed == ("log.level",)
    assert result.waiting == ("log.format", "ports.health", "risk.max_drawdown_pct", "ui.theme")
    assert result.settings.ports.health == 8080
    assert result.settings.risk.max_drawdown_pct == 10
    assert result.settings.log.level == "debug"
    assert result.settings.log.format == "auto"


def half_written(config: Path) -> None:
    config.write_text("[risk]\nmax_order_qty = ")


async def test_the_watcher_sees_a_file_replaced_as_editors_do(
    config: Path, overrides: Overrides, settings: Settings, until_async: Until
) -> None:
    seen: list[Reloaded | ReloadRefused] = []
    watcher = ConfigWatcher(settings, overrides, seen.append, debounce_ms=50)
    watcher.start()
    try:
        draft = config.with_suffix(".draft")

        async def replaced() -> bool:
            # Until the watch is set up nothing is seen: it is written again until it is.
            draft.write_text("[risk]\nmax_order_qty = 60\n")
            draft.replace(config)
            return bool(seen)

        await until_async(replaced)
        assert isinstance(seen[0], Reloaded)
        assert watcher.settings.risk.max_order_qty == 60

        half_written(config)
        await until_async(lambda: isinstance(seen[-1], ReloadRefused))
        assert watcher.settings.risk.max_order_qty == 60
    finally:
        await watcher.stop()


async def test_a_file_whose_folder_was_not_there_at_the_start_is_seen(
    tmp_path: Path, until_async: Until
) -> None:
    overrides = Overrides(
        state_dir=tmp_path / "state", environment={"XDG_CONFIG_HOME": str(tmp_path / "a" / "b")}
    )
    settings = load_settings(overrides)
    assert not settings.config_dir.exists()
    seen: list[Reloaded | ReloadRefused] = []
    watcher = ConfigWatcher(settings, overrides, seen.append, debounce_ms=50)
    watcher.start()
    try:
        path = settings.config_dir / "config.toml"

        def written() -> bool:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("[risk]\nmax_order_qty = 60\n")
            return bool(seen)

        await until_async(written)
        # And from now on as any other.
        path.write_text("[risk]\nmax_order_qty = 50\n")
        await until_async(lambda: watcher.settings.risk.max_order_qty == 50)
    finally:
        await watcher.stop()


def test_the_same_mistake_is_told_once(
    config: Path, overrides: Overrides, settings: Settings
) -> None:
    seen: list[Reloaded | ReloadRefused] = []
    watcher = ConfigWatcher(settings, overrides, seen.append)
    config.write_text("[risk]\nmax_order_qty = 'x'\n")
    watcher.check()
    watcher.check()
    assert len(seen) == 1
    config.write_text("[risk]\nmax_order_qty = 100\n")
    watcher.check()
    config.write_text("[risk]\nmax_order_qty = 'x'\n")
    watcher.check()
    assert len(seen) == 2
