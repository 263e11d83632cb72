"""`runtime.json`: how a running engine on this state directory is found, by whoever may read it."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

RUNTIME_NAME = "runtime.json"


class RuntimeInfo(Struct, frozen=True, kw_only=True):
    """A running process: who it is, its ports by their names in `[ports]`, what it watches."""

    pid: int
    mode: str
    started_at: datetime
    ports: dict[str, int]
    bind: str = "127.0.0.1"
    symbols: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    history: int = 390
    high_water_mark: int = 32_768
    stale_after_s: float = 5.0
    keys_dir: str = ""
    """Where the keys of its bus lie; empty: it isn't secured."""

    @classmethod
    def read(cls, state_dir: Path) -> Self | None:
        """What stands in the directory; None where no engine left its word or it can't be read."""
        try:
            return msgspec.json.decode((state_dir / RUNTIME_NAME).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, state_dir: Path) -> None:
        """Put it there in one step, readable by its owner alone."""
        path = state_dir / RUNTIME_NAME
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        draft.replace(path)

    @staticmethod
    def remove(state_dir: Path) -> None:
        """Take it away; nothing happens where there is none."""
        (state_dir / RUNTIME_NAME).unlink(missing_ok=True)

    def url(self, port: str) -> str:
        """`tcp://` address of one of the ports. Raises KeyError where it isn't served."""
        host = "127.0.0.1" if self.bind == "0.0.0.0" else self.bind  # noqa: S104 — read, not bound
        return f"tcp://{host}:{self.ports[port]}"
