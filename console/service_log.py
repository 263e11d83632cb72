"""The embedded services' log lines into this process's log."""

from __future__ import annotations

import logging
import threading

POLL_S = 0.1


class ServiceLog:
    """Takes the lines that the services leave, on a thread of its own, until `stop`.

    A line is logged under the service's name, its fields beside it; what the queue had to drop is
    said. Secrets are taken out where all of this process's log is written (`console.logs`).
    """

    def __init__(self, level: str) -> None:
        self._level = level
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="service log", daemon=True)

    def start(self) -> None:
        from signal_bridge import start_log

        start_log(self._level)
        self._thread.start()

    def set_level(self, level: str) -> None:
        """How much the services say from now on: debug, info, warning or error."""
        from signal_bridge import start_log

        start_log(level)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Log what is left and join the thread. Idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            _pass_on(POLL_S)
        _pass_on(0.0)


def _pass_on(timeout_s: float) -> None:
    from signal_bridge import take_log

    lines, dropped = take_log(timeout_s=timeout_s)
    if dropped:
        logging.getLogger(__name__).warning("%d lines of the services' log were dropped", dropped)
    for level, source, message, fields in lines:
        logging.getLogger(source).log(
            logging.getLevelNamesMapping()[level],
            "%s",
            message,
            extra={"fields": dict(fields)},
        )
