"""The face: painted first, connected after. Nothing slow is imported before the first paint."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from console.config.layers import Layers, Overrides, read_layers
from console.exits import FAILED, OK

if TYPE_CHECKING:
    from console.engine.link import Link
    from console.host import HostThread

START_TIMEOUT_S = 30.0
_CONFIRM = ("all", "dangerous", "none")


class _Embedded:
    """The host behind the face: started by `connect` on a worker thread, stopped after the face."""

    def __init__(self, layers: Layers, overrides: Overrides) -> None:
        self._layers = layers
        self._overrides = overrides
        self._thread: HostThread | None = None
        self._lock = threading.Lock()
        self.failure: BaseException | None = None

    def connect(self) -> Link:
        """Start the host and wait for its link. Raises what kept it from starting."""
        from console.config.loading import settings_of
        from console.host import HostThread

        with self._lock:
            if self._thread is None:
                self._thread = HostThread(
                    lambda: settings_of(self._layers), overrides=self._overrides
                )
                self._thread.start()
        try:
            link = self._thread.link.result(START_TIMEOUT_S)
        except BaseException as error:
            self.failure = error
            raise
        self.failure = None
        return link

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and not thread.stop():
            print(
                "trading-console: not everything stopped in time; the journal holds everything",
                file=sys.stderr,
            )


def run_face(overrides: Overrides) -> int:
    """Run the console in this terminal. Raises `ConfigError` where that shows before the paint."""
    layers = read_layers(overrides)
    embedded = _Embedded(layers, overrides)
    try:
        code = _run_app(layers.tree, layers.credentials.mode, embedded.connect)
    finally:
        embedded.stop()
    return _outcome(embedded.failure, code)


def run_attached(overrides: Overrides) -> int:
    """Run the console on an engine of another process. Raises `ExitError` where none runs."""
    from console.cli.finding import find_engine
    from console.engine.link import RemoteLink

    runtime = find_engine(overrides)
    tree = read_layers(overrides).tree
    return _run_app(
        tree | {"feed": tree["feed"] | {"features": runtime.features}},
        runtime.mode,
        lambda: RemoteLink(runtime),
    )


def _run_app(tree: dict[str, Any], mode: str, connect: Any) -> int:
    from console.ui.app import ConsoleApp

    ui = tree["ui"]
    app = ConsoleApp(
        connect,
        theme=ui["theme"],
        keys=ui["keys"],
        # The models refuse another word in a moment; until then the careful one holds.
        confirm=ui["confirm"] if ui["confirm"] in _CONFIRM else "all",
        feed_columns=tuple(tree["feed"]["features"]),
        mode=mode,
    )
    code = app.run()
    return code if isinstance(code, int) else OK


def _outcome(failure: BaseException | None, code: int) -> int:
    """Where the host could not start: why, once the screen is the shell's again."""
    if failure is None:
        return code
    from console.cli.output import told

    return told(failure) or FAILED
