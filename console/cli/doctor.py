"""`doctor`: everything a start needs, looked at one by one, each with what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from console.apart import SERVICE_PORTS
from console.cli.finding import is_alive
from console.cli.output import Format, print_json
from console.cli.settings import check_face
from console.config import ConfigError, Mode, Overrides, Settings, load_settings
from console.engine.runtime import RuntimeInfo
from console.exits import CONFIG, FAILED, IN_USE, OK, UNAVAILABLE
from console.runtime import is_taken
from console.services import sample_dir

if TYPE_CHECKING:
    from console.broker.endpoint import Endpoint

REACH_TIMEOUT_S = 3.0
LEAST_FREE_MB = 200


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line: what was looked at, whether it is ok, a note or a fault, and what to do."""

    what: str
    verdict: str
    message: str
    remedy: str = ""
    exit_code: int = OK


def run_doctor(overrides: Overrides, style: Format) -> int:
    """Look at everything and print it; the exit code is that of the first fault."""
    found = list(examine(overrides))
    code = next((d.exit_code for d in found if d.verdict == "fault"), OK)
    if style is Format.JSON:
        checks = [
            {"what": d.what, "verdict": d.verdict, "message": d.message, "remedy": d.remedy}
            for d in found
        ]
        print_json({"healthy": code == OK, "exit_code": code, "checks": checks})
        return code
    width = max(len(d.what) for d in found)
    for d in found:
        print(f"{d.verdict:<5}  {d.what:<{width}}  {d.message}")
        if d.remedy:
            print(f"{'':<5}  {'':<{width}}  → {d.remedy}")
    return code


def examine(overrides: Overrides) -> Iterator[Diagnosis]:
    """The diagnoses one after the other; without settings that hold, those before them."""
    yield _python()
    yield _packages()
    yield _native()
    try:
        settings = load_settings(overrides)
        check_face(settings)
    except ConfigError as error:
        yield Diagnosis("settings", "fault", f"{error.value}: {error.rule}", error.remedy, CONFIG)
        return
    files = ", ".join(str(path) for path in settings.sources[1:]) or "the packaged defaults"
    yield Diagnosis("settings", "ok", f"{files}; profile {settings.profile}, mode {settings.mode}")
    for warning in settings.warnings:
        yield Diagnosis("settings", "note", warning)
    yield _keys(settings)
    if settings.mode is Mode.DEMO:
        yield _recording(settings)
    running = RuntimeInfo.read(settings.state_dir)
    if running is not None and not is_alive(running.pid):
        running = None
    yield _state_dir(settings, running)
    if settings.bus.security.enabled:
        yield _bus_keys(settings)
    yield from _ports(settings, running)
    if settings.mode is not Mode.DEMO:
        yield _reachable(settings.endpoint())
    yield _terminal()


def _python() -> Diagnosis:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Diagnosis("python", "ok", text)


def _packages() -> Diagnosis:
    missing = []
    try:
        needed = requires("trading-console") or []
    except PackageNotFoundError:
        return Diagnosis(
            "packages", "note", "trading-console is not installed here", "run make in the clone"
        )
    for requirement in needed:
        if "extra ==" in requirement:
            continue
        name = requirement.split(";")[0].strip()
        name = name[: next((i for i, c in enumerate(name) if c in "<>=!~[ ("), len(name))]
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Diagnosis(
            "packages", "fault", f"missing: {', '.join(missing)}", "install the wheel again", FAILED
        )
    return Diagnosis("packages", "ok", f"trading-console {version('trading-console')}")


def _native() -> Diagnosis:
    try:
        import signal_bridge
    except ImportError as error:
        return Diagnosis(
            "native module",
            "fault",
            str(error),
            "install the wheel, or run make in a clone",
            FAILED,
        )
    return Diagnosis("native module", "ok", str(Path(str(signal_bridge.__file__)).parent))


def _keys(settings: Settings) -> Diagnosis:
    match settings.mode:
        case Mode.PAPER:
            return Diagnosis("keys", "ok", "both are set, for Alpaca's paper account")
        case Mode.EXCHANGE:
            return Diagnosis("keys", "ok", f"for the exchange at {settings.broker.base_url}")
        case _:
            return Diagnosis("keys", "ok", "none needed: the demo trades on its own exchange")


def _recording(settings: Settings) -> Diagnosis:
    folder = Path(settings.demo.data).expanduser() if settings.demo.data else sample_dir()
    files = [path for kind in ("*.parquet", "*.csv") for path in folder.glob(kind)]
    if files:
        return Diagnosis("recorded prices", "ok", f"{len(files)} files in {folder}")
    return Diagnosis(
        "recorded prices",
        "fault",
        f"neither Parquet nor CSV in {folder}",
        "name a folder of recorded prices in demo.data (docs/data.md), or leave it empty",
        CONFIG,
    )


def _state_dir(settings: Settings, running: RuntimeInfo | None) -> Diagnosis:
    path = settings.state_dir
    if running is not None:
        return Diagnosis("state directory", "note", f"{path}: an engine runs (pid {running.pid})")
    if path.is_dir() and is_taken(path):
        return Diagnosis(
            "state directory", "fault", f"{path} is in use by another process",
            "stop that one, or use another --state-dir", IN_USE,
        )  # fmt: skip
    there = next((p for p in (path, *path.parents) if p.is_dir()), Path("/"))
    if not os.access(there, os.W_OK):
        return Diagnosis(
            "state directory", "fault", f"{there} can't be written",
            "name a writable folder with --state-dir", CONFIG,
        )  # fmt: skip
    free_mb = shutil.disk_usage(there).free // 1_000_000
    if free_mb < LEAST_FREE_MB:
        return Diagnosis(
            "state directory", "note", f"{path}: {free_mb} MB free",
            "make room: no order leaves that can't be written to the journal",
        )  # fmt: skip
    return Diagnosis("state directory", "ok", f"{path}, {free_mb / 1000:.1f} GB free")


def _bus_keys(settings: Settings) -> Diagnosis:
    from console.bridge.security import KeyFileError, load

    try:
        keys = load(settings.keys_dir)
    except KeyFileError as error:
        return Diagnosis("bus", "fault", str(error), "trading-console keys new", CONFIG)
    return Diagnosis(
        "bus", "ok", f"secured by {settings.keys_dir}; {len(keys.allowed)} clients may connect"
    )


def _ports(settings: Settings, running: RuntimeInfo | None) -> Iterator[Diagnosis]:
    if running is not None:
        yield Diagnosis("ports", "ok", f"held by the running engine (pid {running.pid})")
        return
    taken = False
    apart = {
        port
        for service, ports in SERVICE_PORTS.items()
        if service not in settings.services.embed
        for port in ports
    }
    for name in type(settings.ports).model_fields:
        port: int = getattr(settings.ports, name)
        if port == 0 or name in apart or (name == "exchange" and settings.mode is not Mode.DEMO):
            continue
        if why := _why_not_bound(settings.bus.bind, port):
            taken = True
            yield Diagnosis(
                "ports",
                "fault",
                f"ports.{name} = {port}: {why}",
                f"stop what uses it, or --set ports.{name}=0 for a free one",
                CONFIG,
            )
    if not taken:
        yield Diagnosis("ports", "ok", "all of them can be had")


def _why_not_bound(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return ""


def _reachable(endpoint: Endpoint) -> Diagnosis:
    parts = urlsplit(endpoint.trading_url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=REACH_TIMEOUT_S):
            return Diagnosis("broker", "ok", f"{endpoint.trading_url} answers")
    except OSError as error:
        return Diagnosis(
            "broker",
            "fault",
            f"{endpoint.trading_url} can't be reached: {error.strerror or error}",
            "check the network"
            if endpoint.is_alpaca
            else "start it with trading-console exchange, or take broker.base_url away",
            UNAVAILABLE,
        )


def _terminal() -> Diagnosis:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Diagnosis("terminal", "note", "none here: a start without a command runs headless")
    columns, lines = shutil.get_terminal_size()
    if columns < 80 or lines < 24:
        return Diagnosis(
            "terminal", "note", f"{columns}x{lines}", "80x24 is the least that shows everything"
        )
    return Diagnosis("terminal", "ok", f"{columns}x{lines}, TERM={os.environ.get('TERM', '')}")
