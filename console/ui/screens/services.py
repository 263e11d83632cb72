"""The services screen: each connection and service, its age, its numbers, and the notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult

from console.engine.state import ConnectionState
from console.ui import format as text
from console.ui.screens.base import ConsoleScreen
from console.ui.screens.dialogs import wrapped
from console.ui.store import Fact, Phase
from console.ui.widgets.page import Page
from console.ui.widgets.painted import TITLE, Span

_STATES = {
    ConnectionState.CONNECTED: "up",
    ConnectionState.CONNECTING: "warning",
    ConnectionState.STALE: "warning",
    ConnectionState.LOST: "error",
}
_HEALTH = {"healthy": "up", "degraded": "warning", "unhealthy": "error"}


TAIL_BYTES = 16_384
TAIL_LINES = 30


def tail(path: Path) -> list[tuple[str, str, str]]:
    """The newest lines of a log, newest first: time of day, level, words."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            start = max(0, file.tell() - TAIL_BYTES)
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [_entry(line) for line in reversed(lines[bool(start) :][-TAIL_LINES:])]


def _entry(line: str) -> tuple[str, str, str]:
    try:
        record = json.loads(line)
        at = str(record["time"])
        return at.partition("T")[2][:8], str(record["level"]).upper(), str(record["message"])
    except (ValueError, KeyError, TypeError):
        return "", "", line


class Services(Page):
    SHOWS: ClassVar[Fact] = Fact.CONNECTIONS | Fact.SERVICES | Fact.NOTICES | Fact.LINK | Fact.CLOCK

    def lines(self, width: int) -> list[list[Span]]:
        store = self.store
        now = store.now()
        lines: list[list[Span]] = [
            [
                (" CONNECTIONS", TITLE),
                (f"  {'state':<13}{'for':>6}{'seen':>7}{'latency':>10}", "muted"),
            ],
        ]
        for connection in store.connections.values():
            # Of a connection that stands, only these two are told with each sign of life.
            old = connection.state is not ConnectionState.CONNECTED or connection.name == "broker"
            known = connection.last_seen if old else None
            seen = now - known if known is not None else None
            detail = connection.detail
            if connection.name == "feed" and store.frame is not None:
                seen = now - store.frame.message_at
                detail = f"{store.frame.gaps:,} gaps, {store.frame.malformed:,} malformed"
            if (
                connection.retry_at is not None
                and connection.state is not ConnectionState.CONNECTED
            ):
                wait = max(0.0, connection.retry_at - now) + 0.999
                detail = f"{detail} · retry in {text.duration(wait)}"
            lines.append(
                [
                    (f" {connection.name:<14}", "bold"),
                    (f"{connection.state.value:<13}", _STATES[connection.state]),
                    (f"{text.duration(now - connection.since):>6}{text.age(seen):>7}", ""),
                    (f"{text.milliseconds(connection.latency_ms):>10}", "muted"),
                    (f"  {detail}", "muted"),
                ]
            )
        if not store.connections:
            words = {Phase.CONNECTING: "connecting…", Phase.FAILED: f"no engine: {store.failure}"}
            lines.append([(f" {words.get(store.phase, 'none yet')}", "muted")])
        lines += [[], [(" SERVICES", TITLE)]]
        for service in store.services.values():
            port = f":{service.port}" if service.port else ""
            lines.append(
                [
                    (f" {service.name:<18}", "bold"),
                    (f"{service.status:<10}", _HEALTH.get(service.status, "warning")),
                    (f"{port:<7}", "muted"),
                    (service.message, ""),
                ]
            )
            metrics = " · ".join(
                f"{k.replace('_', ' ')} {text.measured(v)}" for k, v in service.metrics.items()
            )
            lines += wrapped(metrics, width, "muted", " " * 19)
        if not store.services:
            lines.append([(" none has reported yet", "muted")])
        frame = store.frame
        if frame is not None:
            flow = f" received {frame.received:,} · {text.compact(frame.rate)}/s"
            flaws = f" · gaps {frame.gaps:,} · malformed {frame.malformed:,}"
            ink = "warning" if frame.gaps or frame.malformed else ""
            lines += [[], [(" FEED", TITLE)], [(flow, ""), (flaws, ink)]]
        lines += [[], [(" NOTICES", TITLE), ("  newest first; repeated ones fold", "muted")]]
        for notice in reversed(store.notices):
            ink = {"error": "error", "warning": "warning"}.get(notice.severity.value, "")
            count = f" ×{notice.count}" if notice.count > 1 else ""
            lines.append(
                [(f" {text.age(now - notice.at):>5}  ", "muted"), (notice.text + count, ink)]
            )
        if not store.notices:
            lines.append([(" nothing to report", "muted")])
        return [*lines, *self._log()]

    def _log(self) -> list[list[Span]]:
        path = self.app.log_file
        if path is None:
            return []
        lines: list[list[Span]] = [[], [(" LOG", TITLE), (f"  {path}", "muted")]]
        found = tail(path)
        for at, level, words in found:
            ink = {"ERROR": "error", "WARNING": "warning", "CRITICAL": "error"}.get(level, "")
            lines.append([(f" {at:<9}", "muted"), (f"{level:<8}", ink or "muted"), (words, ink)])
        if not found:
            lines.append([(" nothing written yet", "muted")])
        return lines


class ServicesScreen(ConsoleScreen):
    def body(self) -> ComposeResult:
        self.page = Services()
        yield self.page

    def on_mount(self) -> None:
        self.page.focus()
