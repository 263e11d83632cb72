"""The layers of the settings as plain tables: files, profile, environment and `--set`, in order.

Nothing here needs more than the standard library, so that the face can know its theme before the
slower half of the settings is loaded. Keys and kinds of value are checked against the packaged
config.toml; the finer rules (`console.config.models`) come after.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from console.config.credentials import Credentials, resolve_credentials
from console.config.errors import ConfigError
from console.config.schema import (
    check_table,
    flatten_keys,
    is_free_table,
    line_of,
    path_of,
    shown,
    suggestion,
    value_of,
)

USER_CONFIG_NAME = "config.toml"
APP_NAME = "trading-console"
ENVIRONMENT_PREFIX = "TRADING_CONSOLE_"
_PLAIN_VARIABLES = ("STATE_DIR", "CONFIG", "PROFILE")

Table = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line says. `environment` None: this process's own, and .env."""

    config: Path | None = None
    profile: str | None = None
    values: tuple[str, ...] = ()
    """`section.key=value` as typed after `--set`, the later over the earlier."""
    state_dir: Path | None = None
    demo: bool = False
    live_paper: bool = False
    speed: float | None = None
    environment: Mapping[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class Layers:
    """All layers in one table (without `profiles`), and where each value in it came from."""

    tree: Table = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    sources: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    credentials: Credentials = field(default_factory=Credentials)
    state_dir: Path = Path()
    config_dir: Path = Path()

    def put(self, table: Mapping[str, Any], origin_of: Mapping[str, str], prefix: str = "") -> None:
        """Lay `table` over what is there; `origin_of` says where each dotted leaf came from."""
        _merge(self.tree, table)
        for path, _ in leaves(table, prefix):
            self.origins[path] = origin_of.get(path, "")


def default_config_path() -> Path:
    """The packaged config.toml, which holds every setting."""
    return Path(__file__).parent.parent / "config.toml"


def user_config_path(environment: Mapping[str, str] | None = None) -> Path:
    """`$XDG_CONFIG_HOME/trading-console/config.toml`, whether it exists or not."""
    return _xdg(environment, "XDG_CONFIG_HOME", ".config") / APP_NAME / USER_CONFIG_NAME


def default_state_root(environment: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME/trading-console`: where state directories are without `--state-dir`."""
    return _xdg(environment, "XDG_STATE_HOME", ".local/state") / APP_NAME


def default_state_dir(mode: str, environment: Mapping[str, str] | None = None) -> Path:
    """One for each mode: a journal belongs to one account, so the demo's is the demo's alone."""
    return default_state_root(environment) / mode.lower()


def _xdg(environment: Mapping[str, str] | None, variable: str, fallback: str) -> Path:
    environment = os.environ if environment is None else environment
    folder = environment.get(variable, "")
    # The XDG specification has relative paths ignored.
    return Path(folder) if folder.startswith("/") else Path("~").expanduser() / fallback


def leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that isn't a table, with its dotted path."""
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def _merge(into: Table, table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def read_toml(path: Path) -> tuple[Table, str]:
    """The table in `path` and its text. Raises `ConfigError` naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path), f"is no UTF-8 text (byte {error.start})", "save it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigError(
            str(path),
            f"can't be read: {error.strerror}",
            "name a readable config.toml with --config",
        ) from None
    try:
        return tomli.loads(text), text
    except tomli.TOMLDecodeError as error:
        reason, _, place = str(error).rpartition(" (at ")
        line = place.removeprefix("line ").partition(",")[0].rstrip(")")
        if place.startswith("end of document"):
            line = str(text.count("\n") + 1)
        where = f"{path}:{line}" if line.isdigit() else str(path)
        raise ConfigError(
            where, f"is no valid TOML: {reason or error}", "correct the file at that line"
        ) from None


def read_layers(overrides: Overrides) -> Layers:
    """Read and merge every layer. Raises `ConfigError`; see `console.config` for their order."""
    environment = dict(os.environ if overrides.environment is None else overrides.environment)
    layers = Layers()
    if overrides.environment is None:
        environment = _dotenv(layers) | environment

    schema, _ = read_toml(default_config_path())
    profiles: list[tuple[Path, str, Table]] = []
    for path in _files(overrides, environment):
        table, text = (schema, "") if path == default_config_path() else read_toml(path)
        _read_file(layers, path, table, text, schema, profiles)

    given = _environment_values(environment, schema) + _set_values(overrides, schema)
    _apply_profile(layers, overrides, environment, given, profiles)
    for keys, value, origin in given:
        nested: Table = {}
        target = nested
        for key in keys[:-1]:
            target = target.setdefault(key, {})
        target[keys[-1]] = value
        layers.put(nested, {path: origin for path, _ in leaves(nested)})

    layers.config_dir = user_config_path(environment).parent
    layers.credentials = resolve_credentials(layers.tree, layers.origins, overrides, environment)
    layers.warnings.extend(layers.credentials.warnings)
    layers.state_dir = _state_dir(overrides, environment, layers.credentials.mode)
    return layers


def _dotenv(layers: Layers) -> dict[str, str]:
    path = Path(".env")
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    values = {k: v for k, v in dotenv_values(path, interpolate=False).items() if v is not None}
    if values.get("ALPACA_SECRET_KEY") and path.stat().st_mode & 0o077:
        layers.warnings.append(
            f"{path.absolute()} holds a key and others can read it; chmod 600 {path.absolute()}"
        )
    return {k: v for k, v in values.items() if k.startswith(("ALPACA_", ENVIRONMENT_PREFIX))}


def _files(overrides: Overrides, environment: Mapping[str, str]) -> list[Path]:
    files = [default_config_path()]
    user = user_config_path(environment)
    if user.is_file():
        files.append(user)
    extra = overrides.config
    if extra is None and environment.get(f"{ENVIRONMENT_PREFIX}CONFIG"):
        extra = Path(environment[f"{ENVIRONMENT_PREFIX}CONFIG"])
    if extra is not None:
        files.append(extra.expanduser())
    return files


def _read_file(
    layers: Layers,
    path: Path,
    table: Table,
    text: str,
    schema: Table,
    profiles: list[tuple[Path, str, Table]],
) -> None:
    table = flatten_keys(table)
    check_table(table, schema, path, text)
    layers.sources.append(path)
    profiles.append((path, text, table.get("profiles", {})))
    body = {key: value for key, value in table.items() if key != "profiles"}
    layers.put(body, {leaf: _at(path, text, leaf) for leaf, _ in leaves(body)} if text else {})


def _at(path: Path, text: str, dotted: str) -> str:
    line = line_of(text, path_of(dotted))
    return f"{path}:{line}" if line else str(path)


_Given = list[tuple[tuple[str, ...], Any, str]]


def _environment_values(environment: Mapping[str, str], schema: Table) -> _Given:
    given: _Given = []
    if url := environment.get("ALPACA_BASE_URL", "").strip():
        given.append((("broker", "base_url"), url, "ALPACA_BASE_URL in the environment"))
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX)
        # The crash points of the fault tests are the engine's own and no setting.
        if key in _PLAIN_VARIABLES or key.startswith("CRASH_"):
            continue
        raw = key.split("__")
        keys = tuple(
            part if is_free_table(".".join(raw[:i]).lower()) and raw[0] == "RISK" else part.lower()
            for i, part in enumerate(raw)
        )
        given.append(value_of(keys, text, schema, f"{name} in the environment", name))
    return given


def _set_values(overrides: Overrides, schema: Table) -> _Given:
    given: _Given = []
    for text in overrides.values:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(
                f"--set {text}",
                "has no value",
                "write --set section.key=value, such as ports.health=0",
            )
        keys = tuple(part.strip() for part in name.split("."))
        given.append(value_of(keys, value.strip(), schema, "--set", f"--set {name.strip()}"))
    if overrides.speed is not None:
        given.append((("demo", "speed"), overrides.speed, "--speed"))
    return given


def _apply_profile(
    layers: Layers,
    overrides: Overrides,
    environment: Mapping[str, str],
    given: _Given,
    profiles: list[tuple[Path, str, Table]],
) -> None:
    set_values = [(value, origin) for keys, value, origin in given if keys == ("profile",)]
    name, origin = layers.tree["profile"], layers.origins.get("profile", "")
    if text := environment.get(f"{ENVIRONMENT_PREFIX}PROFILE"):
        name, origin = text, f"{ENVIRONMENT_PREFIX}PROFILE in the environment"
    if set_values:
        name, origin = set_values[-1]
    if overrides.profile is not None:
        name, origin = overrides.profile, "--profile"
    given[:] = [entry for entry in given if entry[0] != ("profile",)]

    known = list(dict.fromkeys(key for _, _, table in profiles for key in table))
    if name not in known:
        raise ConfigError(
            f"profile = {shown(name)}",
            "is no profile",
            f"known are {', '.join(known)}{suggestion(str(name), known)}",
            origin=origin,
        )
    layers.tree["profile"] = name
    layers.origins["profile"] = origin
    for path, text, tables in profiles:
        overlay = tables.get(name, {})
        if overlay:
            places = {
                leaf: f"{_at(path, text, f'profiles.{name}.{leaf}')}, profile {name}"
                for leaf, _ in leaves(overlay)
            }
            layers.put(overlay, places)


def _state_dir(overrides: Overrides, environment: Mapping[str, str], mode: str) -> Path:
    if overrides.state_dir is not None:
        return overrides.state_dir.expanduser().absolute()
    if text := environment.get(f"{ENVIRONMENT_PREFIX}STATE_DIR"):
        return Path(text).expanduser().absolute()
    return default_state_dir(mode, environment)
