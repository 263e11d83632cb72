"""What the engine tells everybody: numbered events, notices, connections and services."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from loguru import logger
from msgspec.structs import replace

from console.engine.clocks import Clocks
from console.engine.events import (
    ConnectionChanged,
    Event,
    MarketFrame,
    Noticed,
    ServiceChanged,
    Severity,
)
from console.engine.state import ConnectionState, ConnectionView, NoticeView, ServiceView

OnEvent = Callable[[Any], None]
NOTICES_KEPT = 50
"""For faces that come later."""


class Facts:
    """See the module. Of the engine's loop alone; `publish` is set once the bus is there."""

    def __init__(self, clocks: Clocks) -> None:
        self.seq = 0
        self.connections: dict[str, ConnectionView] = {}
        self.services: dict[str, ServiceView] = {}
        self.publish: Callable[[Event], None] | None = None
        self._clocks = clocks
        self._listeners: list[OnEvent] = []
        self._notices: dict[str, NoticeView] = {}

    def subscribe(self, callback: OnEvent) -> Callable[[], None]:
        """Call `callback(event)` for every event from now on; call the answer to end it."""
        self._listeners.append(callback)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(callback)

        return end

    def emit(self, event: Event) -> None:
        """Number the event and give it to the bus and to every listener."""
        self.seq += 1
        event = replace(event, seq=self.seq, ts=self._clocks.wall_ns())
        if self.publish is not None:
            self.publish(event)
        self.deliver(event)

    def deliver(self, event: Event | MarketFrame) -> None:
        """To the listeners in this process alone."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 — a listener's mistake is not the engine's
                logger.opt(exception=error).error("a listener failed on {}", type(event).__name__)

    def notice(self, severity: Severity, topic: str, text: str) -> None:
        """Something that a person should read, here and in the log."""
        logger.log(severity.value.upper(), "{}: {}", topic, text)
        self._notices.pop(topic, None)
        self._notices[topic] = NoticeView(
            severity=severity.value, topic=topic, text=text, at=self._clocks.monotonic()
        )
        if len(self._notices) > NOTICES_KEPT:
            del self._notices[next(iter(self._notices))]
        self.emit(Noticed(severity=severity, topic=topic, text=text))

    @property
    def notices(self) -> tuple[NoticeView, ...]:
        """The newest of each topic, oldest first."""
        return tuple(self._notices.values())

    def connected(self, connection: ConnectionView) -> None:
        """Where one connection stands now."""
        if self.connections.get(connection.name) != connection:
            self.connections[connection.name] = connection
            self.emit(ConnectionChanged(connection=connection))

    def is_connected(self, name: str, *, or_lost: bool = False) -> bool:
        """Whether that connection stands; with `or_lost`, whether it is at least decided."""
        connection = self.connections.get(name)
        wanted = {ConnectionState.CONNECTED} | ({ConnectionState.LOST} if or_lost else set())
        return connection is not None and connection.state in wanted

    def service(self, service: ServiceView) -> None:
        """A service's health, as its owner sees it."""
        if self.services.get(service.name) != service:
            self.services[service.name] = service
            self.emit(ServiceChanged(service=service))
