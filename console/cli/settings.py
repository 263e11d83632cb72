"""`config check`, `config show` and `keys`: the settings as they are, secrets hidden."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from console.cli.output import Format, print_json, say
from console.config import ConfigError, Overrides, Settings, load_settings
from console.config.schema import shown
from console.exits import CONFIG, OK, ExitError


def check_settings(overrides: Overrides, style: Format) -> int:
    """Raises `ConfigError` where they don't hold, be it for the engine or for the face."""
    settings = load_settings(overrides)
    check_face(settings)
    files = [str(path) for path in settings.sources]
    if style is Format.JSON:
        print_json(
            {
                "valid": True,
                "mode": settings.mode.value,
                "profile": settings.profile,
                "files": files,
                "warnings": settings.warnings,
            }
        )
        return OK
    print(f"The settings hold: {settings.mode} with profile {settings.profile}, read from")
    for name in files:
        print(f"  {name}")
    for warning in settings.warnings:
        say(warning)
    return OK


def check_face(settings: Settings) -> None:
    """What only the face reads: its theme and keys. Raises `ConfigError` where it can't start."""
    from console.ui.actions import KeymapError, rebind
    from console.ui.theme import ThemeError, Themes

    def wrong(name: str, value: object, rule: str, remedy: str) -> ConfigError:
        origins = settings.origins
        origin = next((o for key, o in origins.items() if f"{key}.".startswith(f"{name}.")), "")
        return ConfigError(f"{name} = {shown(value)}", rule, remedy, origin=origin)

    try:
        Themes((settings.config_dir / "themes",)).load(settings.ui.theme)
    except ThemeError as error:
        remedy = "change it, or leave it out for the default"
        raise wrong("ui.theme", settings.ui.theme, str(error), remedy) from None
    try:
        rebind(settings.ui.keys)
    except KeymapError as error:
        raise wrong("ui.keys", dict(settings.ui.keys), str(error), "press ? for the keys") from None


def show_settings(overrides: Overrides, style: Format) -> int:
    """Print every setting; those that aren't the packaged default with where they came from."""
    settings = load_settings(overrides)
    sections = settings.sections()
    if style is Format.JSON:
        print_json(
            {
                **sections,
                "mode": settings.mode.value,
                "state_dir": settings.state_dir,
                "config_dir": settings.config_dir,
                "sources": settings.sources,
                "origins": settings.origins,
            }
        )
        return OK
    print(f"# mode {settings.mode}; state in {settings.state_dir}")
    _print_table((), sections, settings.origins)
    return OK


def _print_table(path: tuple[str, ...], table: dict[str, Any], origins: dict[str, str]) -> None:
    inner = {name: value for name, value in table.items() if isinstance(value, dict)}
    if path:
        print(f"\n[{'.'.join(_quoted(part) for part in path)}]")
    for name, value in table.items():
        if name in inner or value is None:
            continue
        origin = origins.get(".".join((*path, name)), "")
        line = f"{_quoted(name)} = {shown(value)}"
        print(f"{line:<40} # {origin}" if origin else line)
    for name, value in inner.items():
        _print_table((*path, name), value, origins)


def _quoted(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else shown(key)


def show_keys(overrides: Overrides, style: Format) -> int:
    """Print which keys are set, where from, and which account they lead to."""
    settings = load_settings(overrides)
    found = {
        name: _place(name) for name in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "ALPACA_BASE_URL")
    }
    folder = settings.keys_dir
    files = sorted(path.name for path in folder.glob("*.key*")) if folder.is_dir() else []
    if style is Format.JSON:
        print_json(
            {
                "mode": settings.mode.value,
                "keys": found,
                "bus": {
                    "enabled": settings.bus.security.enabled,
                    "folder": folder,
                    "files": files,
                },
            }
        )
        return OK
    for name, place in found.items():
        print(f"{name:<18} {place or 'not set'}")
    match settings.mode.value:
        case "PAPER":
            print("The console trades on Alpaca's paper account.")
        case "EXCHANGE":
            print(f"The console trades on {settings.broker.base_url}.")
        case _:
            print("The console trades on its embedded exchange. For Alpaca's paper account set")
            print("both keys in the environment or in .env (see .env.example).")
    state = "secured" if settings.bus.security.enabled else "not secured"
    print(f"The bus is {state}; its keys are {', '.join(files) or 'not made'}, in {folder}.")
    return OK


def make_bus_keys(overrides: Overrides, style: Format) -> int:
    """Make the key folder of a secured bus. Raises `ExitError` (78) where it can't be."""
    from console.bridge.security import KeyFileError, generate

    folder = load_settings(overrides).keys_dir
    try:
        keys = generate(folder)
    except KeyFileError as error:
        raise ExitError(str(error), CONFIG) from None
    except OSError as error:
        raise ExitError(
            f"key folder {folder}: {error.strerror}; name a writable one in bus.security.keys_dir",
            CONFIG,
        ) from None
    public = keys.server_public.decode()
    if style is Format.JSON:
        print_json({"folder": folder, "server_public": public, "clients": len(keys.allowed)})
    else:
        print(f"The bus's keys lie in {folder}; the server's public one is {public}")
        print("Secure the bus with --set bus.security.enabled=true")
    return OK


def _place(name: str) -> str:
    if os.environ.get(name, "").strip():
        return "the environment"
    path = Path(".env")
    if path.is_file():
        from dotenv import dotenv_values

        if (dotenv_values(path, interpolate=False).get(name) or "").strip():
            return str(path.absolute())
    return ""
