"""The face: painted first, connected after. Nothing slow is imported before the first paint."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from console.config.layers import Layers, Overrides, read_layers
from console.exits import CONFIG, OK, ExitError

if TYPE_CHECKING:
    from console.config import Settings
    from console.engine.link import Link
    from console.host import HostThread
    from console.ui.app import ConsoleApp

START_TIMEOUT_S = 30.0
LEAVE_TIMEOUT_S = 5.0
"""After a signal to leave, until the face is left without its goodbye."""
_CONFIRM = ("all", "dangerous", "none")


class _Embedded:
    """The host behind the face: started by `connect` on a worker thread, stopped after the face."""

    def __init__(self, layers: Layers, overrides: Overrides) -> None:
        self._layers: Layers | None = layers
        self._overrides = overrides
        self._thread: HostThread | None = None
        self._lock = threading.Lock()
        self._leave: Callable[[int], None] | None = None
        self.failure: BaseException | None = None

    def leave_by(self, leave: Callable[[int], None]) -> None:
        """How to close the face where the host can't run: settings, ports, the state directory."""
        self._leave = leave

    def connect(self) -> Link:
        """Start the host, anew after a failure, and wait for its link."""
        self._stop_failed()
        try:
            link = self._started().link.result(START_TIMEOUT_S)
        except BaseException as error:
            self.failure = error
            code = getattr(error, "exit_code", None)
            if isinstance(code, int) and self._leave is not None:
                self._leave(code)
            raise
        self.failure = None
        return link

    def _started(self) -> HostThread:
        from console.config.loading import settings_of
        from console.host import HostThread

        def load() -> Settings:
            # Read again for a second try: what kept the first from starting may be mended.
            layers, self._layers = self._layers or read_layers(self._overrides), None
            return settings_of(layers)

        with self._lock:
            if self._thread is None:
                self._thread = HostThread(load, overrides=self._overrides)
                self._thread.start()
            return self._thread

    def _stop_failed(self) -> None:
        if self.failure is not None:
            self.stop()

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and not thread.stop():
            print(
                "trading-console: not everything stopped in time; the journal holds everything",
                file=sys.stderr,
            )


def run_face(overrides: Overrides, *, plain: bool = False) -> int:
    """Run the console in this terminal. Raises `ConfigError` where that shows before the paint."""
    layers = read_layers(overrides)
    embedded = _Embedded(layers, overrides)
    mode = layers.credentials.mode
    try:
        if plain or layers.tree["ui"]["plain"] is True:
            code = _run_plain(layers, mode, embedded.connect)
        else:
            app = _make_app(layers, mode, embedded.connect)
            embedded.leave_by(lambda code: app.call_from_thread(app.exit, code))
            code = _run(app, embedded.stop)
    finally:
        embedded.stop()
    if embedded.failure is not None:
        from console.cli.output import told

        return told(embedded.failure)
    return code


def run_attached(overrides: Overrides, *, plain: bool = False) -> int:
    """Run the console on an engine of another process. Raises `ExitError` where none runs."""
    from console.cli.finding import find_engine
    from console.engine.link import RemoteLink

    runtime = find_engine(overrides)
    layers = read_layers(overrides)
    layers.tree["feed"]["features"] = list(runtime.features)

    def connect() -> Link:
        # Found anew each time: one that was started again may have other ports.
        return RemoteLink(find_engine(overrides))

    if plain or layers.tree["ui"]["plain"] is True:
        return _run_plain(layers, runtime.mode, connect)
    return _run(_make_app(layers, runtime.mode, connect))


def _run_plain(layers: Layers, mode: str, connect: Callable[[], Link]) -> int:
    import asyncio

    from console.ui.plain import Plain

    gc.enable()
    ui = layers.tree["ui"]

    async def run() -> int:
        face = Plain(
            connect,
            out=sys.stdout,
            read_fd=sys.stdin.fileno(),
            mode=mode,
            confirm=ui["confirm"] if ui["confirm"] in _CONFIRM else "all",
            stale_after_s=float(layers.tree["feed"]["quote_stale_s"]),
            export_dir=layers.state_dir / "exports",
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, face.leave)
        return await face.run()

    return asyncio.run(run())


def _make_app(layers: Layers, mode: str, connect: Callable[[], Link]) -> ConsoleApp:
    from console.ui.actions import KeymapError
    from console.ui.app import ConsoleApp
    from console.ui.theme import ThemeError

    ui, feed = layers.tree["ui"], layers.tree["feed"]

    def connect_after_paint() -> Link:
        # What is there now stays to the end: later collections need not look at it.
        gc.freeze()
        gc.enable()
        return connect()

    try:
        return ConsoleApp(
            connect_after_paint,
            theme=ui["theme"],
            keys=ui["keys"],
            # The models refuse another word in a moment; until then the careful one holds.
            confirm=ui["confirm"] if ui["confirm"] in _CONFIRM else "all",
            feed_columns=tuple(feed["features"]),
            mode=mode,
            themes_dir=layers.config_dir / "themes",
            limits=layers.tree["risk"],
            stale_after_s=float(feed["quote_stale_s"]),
            # As with `confirm`: what is no number is refused by the models in a moment.
            lot=ui["lot"] if isinstance(ui["lot"], int) and ui["lot"] > 0 else 1,
            export_dir=layers.state_dir / "exports",
            log_file=layers.state_dir / "logs" / "console.log",
        )
    except (ThemeError, KeymapError) as error:
        raise ExitError(str(error), CONFIG) from None


@contextlib.contextmanager
def _painting_on_the_terminal() -> Iterator[None]:
    """Textual paints on stderr, which may be a file while stdout is the terminal."""
    stderr = sys.__stderr__
    if stderr is None or not stderr.isatty():
        sys.__stderr__ = sys.__stdout__  # type: ignore[misc]
    try:
        yield
    finally:
        sys.__stderr__ = stderr  # type: ignore[misc]


def _run(app: ConsoleApp, stop: Callable[[], None] = lambda: None) -> int:
    """Run it until it is left. SIGTERM and SIGHUP leave it too; the host behind it drains."""

    def force() -> None:
        stop()
        os._exit(OK)

    # Where the terminal is gone the face may hang in what it still wants to write.
    last_resort = threading.Timer(LEAVE_TIMEOUT_S, force)
    last_resort.daemon = True
    asked = threading.Event()

    def leave(_number: int, _frame: object) -> None:
        # Python runs this between two steps of the loop: it only puts a message into its queue.
        app.exit(OK)
        if not asked.is_set():
            asked.set()
            last_resort.start()

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with _painting_on_the_terminal():
            code = app.run()
    finally:
        last_resort.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if isinstance(code, int) else (app.return_code or OK)
