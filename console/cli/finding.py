"""Which running engine a command is for, by the runtime.json in its state directory."""

from __future__ import annotations

import os
from pathlib import Path

from console.config.layers import ENVIRONMENT_PREFIX, Overrides, default_state_root
from console.engine.runtime import RUNTIME_NAME, RuntimeInfo
from console.exits import UNAVAILABLE, USAGE, ExitError

_START = "start one with trading-console headless, or name its folder with --state-dir"


def find_engine(overrides: Overrides) -> RuntimeInfo:
    """The engine on `--state-dir`, or the one that runs on a default directory.

    Raises `ExitError`: 69 where none runs, 2 where several do.
    """
    if overrides.state_dir is not None:
        return _living(overrides.state_dir.expanduser().absolute())
    if text := os.environ.get(f"{ENVIRONMENT_PREFIX}STATE_DIR"):
        return _living(Path(text).expanduser().absolute())
    root = default_state_root()
    found = []
    for path in sorted(root.glob(f"*/{RUNTIME_NAME}")):
        runtime = RuntimeInfo.read(path.parent)
        if runtime is not None and is_alive(runtime.pid):
            found.append((path.parent, runtime))
    if not found:
        raise ExitError(f"no engine runs on a state directory in {root}; {_START}", UNAVAILABLE)
    if len(found) > 1:
        folders = ", ".join(str(path) for path, _ in found)
        raise ExitError(f"several engines run ({folders}); name one with --state-dir", USAGE)
    return found[0][1]


def _living(state_dir: Path) -> RuntimeInfo:
    runtime = RuntimeInfo.read(state_dir)
    if runtime is None:
        raise ExitError(f"no engine runs on {state_dir} (no {RUNTIME_NAME}); {_START}", UNAVAILABLE)
    if not is_alive(runtime.pid):
        raise ExitError(
            f"the engine on {state_dir} (pid {runtime.pid}) has died; {_START}", UNAVAILABLE
        )
    return runtime


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
