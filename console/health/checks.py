"""What is well and what isn't: named checks, and the record of starts, ends and incidents."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class Status(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It works, but something it needs does not."""
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says now."""

    status: Status
    message: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All checks together: the worst status, and each that isn't healthy with its age."""

    status: Status
    message: str
    metrics: dict[str, str] = field(default_factory=dict)


_RANK = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}

Check = Callable[[], Finding]


class Checks:
    """The checks of one component. `ready` says whether orders could be placed, and if not, why."""

    def __init__(
        self,
        component: str,
        *,
        ready: Callable[[], tuple[bool, str]],
        metrics: Callable[[], dict[str, str]] = dict,
        record: HealthRecord | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.component = component
        self.ready = ready
        self.record = record
        self._metrics = metrics
        self._monotonic = monotonic
        self._started = monotonic()
        self._checks: dict[str, Check] = {}
        self._since: dict[str, tuple[Status, float]] = {}

    def add(self, name: str, check: Check) -> None:
        """Ask `check` too from now on; one of the same name is replaced."""
        self._checks[name] = check

    @property
    def uptime_s(self) -> float:
        return self._monotonic() - self._started

    def report(self) -> Report:
        """Ask every check. A check that raises counts as unhealthy, with what it raised."""
        now = self._monotonic()
        worst, words = Status.HEALTHY, []
        for name, check in self._checks.items():
            try:
                finding = check()
            except Exception as error:  # noqa: BLE001 a broken check must not silence the others
                finding = Finding(Status.UNHEALTHY, f"check failed: {error}")
            status, since = self._since.get(name, (Status.HEALTHY, now))
            if finding.status is not status:
                since = now
                if finding.status is not Status.HEALTHY and self.record is not None:
                    self.record.incident(f"{name}: {finding.message or finding.status}")
            self._since[name] = (finding.status, since)
            if finding.status is not Status.HEALTHY:
                words.append(
                    f"{name} {finding.status} for {now - since:.0f} s"
                    + (f": {finding.message}" if finding.message else "")
                )
            worst = max(worst, finding.status, key=_RANK.__getitem__)
        return Report(worst, "; ".join(words) or "all is well", self._all_metrics())

    def _all_metrics(self) -> dict[str, str]:
        metrics = {"uptime_seconds": f"{self.uptime_s:.1f}"}
        if self.record is not None:
            metrics |= self.record.metrics()
        return metrics | self._metrics()


def now_text() -> str:
    """The wall clock as RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class HealthRecord:
    """What outlives the process, in one small file: its starts, its last end, its last incident.

    A file that can't be read starts anew: health must not keep a console from trading.
    """

    def __init__(self, path: Path, component: str) -> None:
        self._path = path
        self._state: dict[str, Any] = {"component": component, "starts": 0}
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(earlier, dict) and isinstance(earlier.get("starts"), int):
                self._state |= earlier
        except (OSError, ValueError):
            pass

    @property
    def starts(self) -> int:
        return int(self._state["starts"])

    @property
    def last_exit(self) -> dict[str, Any] | None:
        return self._state.get("last_exit")

    @property
    def last_incident(self) -> dict[str, Any] | None:
        return self._state.get("last_incident")

    def started(self) -> None:
        """Count this start; an earlier one that never said how it ended, ended by a crash."""
        if self._state.get("running"):
            self._state["last_exit"] = {
                "at": self._state.get("started_at", ""),
                "clean": False,
                "reason": "the process started then died without a word",
            }
        self._state |= {"running": True, "starts": self.starts + 1, "started_at": now_text()}
        self._write()

    def incident(self, text: str) -> None:
        self._state["last_incident"] = {"at": now_text(), "text": text[:500]}
        self._write()

    def stopped(self, reason: str) -> None:
        self._state |= {
            "running": False,
            "last_exit": {"at": now_text(), "clean": True, "reason": reason},
        }
        self._write()

    def metrics(self) -> dict[str, str]:
        metrics = {"starts": str(self.starts)}
        if self.last_exit:
            clean = "clean" if self.last_exit.get("clean") else "crash"
            metrics["last_exit"] = f"{clean}: {self.last_exit.get('reason', '')}"
        if self.last_incident:
            metrics["last_incident"] = (
                f"{self.last_incident.get('at', '')} {self.last_incident.get('text', '')}"
            )
        return metrics

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self._state, indent=1) + "\n", encoding="utf-8")
            os.replace(temporary, self._path)  # noqa: PTH105 one call, atomic
        except OSError:
            # A full disk is told by the journal's own check, and louder.
            return
