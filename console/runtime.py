"""Where things lie in a state directory, and the lock by which one process has it.

lock  runtime.json  journal.db  engine.lock  exchange/  health/  logs/  keys/
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Self

from console.exits import CONFIG, IN_USE, ExitError

LOCK_NAME = "lock"
EXCHANGE_NAME = "exchange"


def exchange_dir(state_dir: Path) -> Path:
    """Where an exchange keeps its accounts."""
    return state_dir / EXCHANGE_NAME


class StateDir:
    """A state directory that is ours alone until `release`, or until the process dies."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def take(cls, path: Path) -> Self:
        """Make it (0700) where it isn't there, and lock it.

        Raises `ExitError`: 73 where another process has it, 78 where it can't be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (path / LOCK_NAME).open("a+", encoding="utf-8")
        except OSError as error:
            raise ExitError(
                f"state directory {path}: {error.strerror}; "
                "name a writable folder with --state-dir",
                CONFIG,
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise ExitError(
                f"state directory {path} is in use by another process (pid {owner}); "
                "stop that one, or give this one its own --state-dir",
                IN_USE,
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return cls(path, lock)

    def release(self) -> None:
        """Let another have the directory. Idempotent."""
        self._lock.close()


def is_taken(path: Path) -> bool:
    """Whether a living process has this state directory."""
    try:
        with (path / LOCK_NAME).open("a+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
