"""Settings that change while the console runs: seen at once, taken only when they are safe.

The folders of the config files are watched, not the files: editors replace a file by another. A
file that can't be read or breaks a rule leaves the settings as they were. A change that loosens a
risk limit waits for a restart, so that nobody lifts a limit in passing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.config.errors import ConfigError
from console.config.layers import Overrides, leaves
from console.config.loading import load_settings
from console.config.models import Risk, Settings

if TYPE_CHECKING:
    from console.config.models import SymbolLimits

_LIVE = ("risk.", "log.level")
_AT_START = ("risk.max_daily_loss_pct", "risk.max_drawdown_pct")
"""The risk-manager reads these when it starts."""


def takes_effect(name: str) -> bool:
    """Whether a change of this setting holds at once; the others wait for the next start."""
    return name.startswith(_LIVE) and name not in _AT_START


@dataclass(frozen=True, slots=True)
class Reloaded:
    """New settings that hold from now on. `changed` and `waiting` are dotted names of settings."""

    settings: Settings
    changed: tuple[str, ...]
    """In force now."""
    waiting: tuple[str, ...]
    """Read and valid, but taken at the next start only."""


@dataclass(frozen=True, slots=True)
class ReloadRefused:
    """The settings stay as they were, and why."""

    reason: str


def loosened_limits(old: Risk, new: Risk) -> tuple[str, ...]:
    """Each limit that `new` sets looser than `old`, in words; empty when it only tightens."""
    found = []
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        match name:
            case "allow_short":
                looser = after and not before
            case "duplicate_window_s":
                looser = after < before
            case "allowed_symbols":
                looser = bool(before) and (not after or not set(after) <= set(before))
            case "blocked_symbols":
                looser = not set(before) <= set(after)
            case "symbols":
                found.extend(_loosened_symbols(old, new))
                continue
            case _:
                looser = after > before
        if looser:
            found.append(f"risk.{name} from {_said(before)} to {_said(after)}")
    return tuple(found)


def _loosened_symbols(old: Risk, new: Risk) -> list[str]:
    found = []
    for symbol in old.symbols.keys() | new.symbols.keys():
        for limit in ("max_order_qty", "max_order_notional", "max_position_notional"):
            before = _limit(old, old.symbols.get(symbol), limit)
            after = _limit(new, new.symbols.get(symbol), limit)
            if after > before:
                found.append(
                    f"risk.symbols.{symbol}.{limit} from {_said(before)} to {_said(after)}"
                )
    return sorted(found)


def _limit(risk: Risk, limits: SymbolLimits | None, name: str) -> Decimal:
    """The limit in force for a symbol: its own, or that of all."""
    own: Decimal | None = getattr(limits, name) if limits is not None else None
    common: Decimal = getattr(risk, name)
    return common if own is None else own


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def compare(old: Settings, new: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dotted names that differ: those that take effect while running, and those that wait."""
    before, after = dict(leaves(old.sections())), dict(leaves(new.sections()))
    differing = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    live = tuple(name for name in differing if takes_effect(name))
    return live, tuple(name for name in differing if name not in live)


def reload(old: Settings, overrides: Overrides) -> Reloaded | ReloadRefused | None:
    """Load anew and compare. None where nothing differs."""
    try:
        new = load_settings(overrides)
    except ConfigError as error:
        return ReloadRefused(f"settings kept as they were: {error}")
    changed, waiting = compare(old, new)
    if not changed and not waiting:
        return None
    loosened = loosened_limits(old.risk, new.risk)
    if loosened:
        return ReloadRefused(
            "settings kept as they were: a running console loosens no limit "
            f"({'; '.join(loosened)}); restart it to take the new limits"
        )
    kept = {name: getattr(old.risk, name) for name in (n.removeprefix("risk.") for n in _AT_START)}
    risk = new.risk.model_copy(update=kept)
    log = old.log.model_copy(update={"level": new.log.level})
    return Reloaded(old.model_copy(update={"risk": risk, "log": log}), changed, waiting)


class ConfigWatcher:
    """Calls back for every change of a config file, in the loop that runs it.

    `start()` begins and `stop()` ends it and waits for its task. `settings` are those in force.
    """

    def __init__(
        self,
        settings: Settings,
        overrides: Overrides,
        on_change: Callable[[Reloaded | ReloadRefused], None],
        *,
        debounce_ms: int = 200,
    ) -> None:
        self.settings = settings
        self._overrides = overrides
        self._on_change = on_change
        self._debounce_ms = debounce_ms
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refused = ""

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="config-watcher")

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        names = {path.absolute() for path in self.settings.sources}
        names.add(self.settings.config_dir.absolute() / "config.toml")
        while not self._stop.is_set():
            folders = {path.parent for path in names}
            missing = {folder for folder in folders if not folder.is_dir()}
            await self._watch_until(names, folders - missing, missing)
            if not self._stop.is_set():
                # A folder has come, perhaps with its file in it.
                self.check()

    async def _watch_until(self, names: set[Path], there: set[Path], missing: set[Path]) -> None:
        """Watch until the way to one of the `missing` folders is longer than it was."""
        from watchfiles import awatch

        ends = {folder: _nearest(folder) for folder in missing}

        def ours(_change: object, path: str) -> bool:
            return Path(path) in names or any(folder.is_relative_to(path) for folder in missing)

        changes = awatch(
            *sorted(there | set(ends.values())),
            watch_filter=ours,
            debounce=self._debounce_ms,
            step=20,
            stop_event=self._stop,
            recursive=False,
        )
        async with contextlib.aclosing(changes):
            async for _ in changes:
                if any(_nearest(folder) != end for folder, end in ends.items()):
                    return
                self.check()

    def check(self) -> None:
        """Load anew now; what a watcher does when a file has changed."""
        result = reload(self.settings, self._overrides)
        match result:
            case None:
                self._refused = ""
            case Reloaded():
                self._refused = ""
                self.settings = result.settings
                self._on_change(result)
            case ReloadRefused() if result.reason != self._refused:
                self._refused = result.reason
                self._on_change(result)
            case _:
                pass


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
