"""What the packaged config.toml says a setting may be: its name and its kind of value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli

from console.config.errors import ConfigError

_SYMBOL_LIMITS = ("max_order_qty", "max_order_notional", "max_position_notional")
_FREE_TABLES = ("ui.keys", "risk.symbols")
Place = Callable[[tuple[str, ...]], str]
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# Compiled at the first use: most starts have no file to find a line in.
_PART = r"""[\w-]+|"[^"]*"|'[^']*'"""
_HEADER = r"\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?"
_ASSIGNMENT = rf"""((?:{_PART})(?:\s*\.\s*(?:{_PART}))*)\s*="""


def is_free_table(path: str) -> bool:
    """Whether the keys of this table are the user's own: key bindings, and limits by symbol."""
    return path in _FREE_TABLES


def path_of(dotted: str) -> tuple[str, ...]:
    """The keys of a dotted path; what lies in a table with free keys is one key, dots and all."""
    for table in _FREE_TABLES:
        if dotted.startswith(f"{table}."):
            rest = dotted.removeprefix(f"{table}.")
            if table == "risk.symbols" and rest.rpartition(".")[2] in _SYMBOL_LIMITS:
                symbol, _, key = rest.rpartition(".")
                return (*table.split("."), symbol, key)
            return (*table.split("."), rest)
    return tuple(dotted.split("."))


def shown(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {shown(v)}" for k, v in value.items()) + " }"
    return str(value)


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where a known word is near, else nothing."""
    near = _near(word, known)
    return f"; did you mean {near[0]}?" if near else ""


def _near(word: str, known: Iterable[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(word, list(known), n=1, cutoff=0.6)


def line_of(text: str, path: tuple[str, ...]) -> int | None:
    """The line (from 1) on which `path` is set in a TOML text, or that of the table around it."""
    table: tuple[str, ...] = ()
    header = None
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.fullmatch(_HEADER, line.strip()):
            table = _parts(match[1])
            if table == path:
                return number
            if path[: len(table)] == table:
                header = number
        elif match := re.match(_ASSIGNMENT, line.strip()):
            full = table + _parts(match[1])
            if path[: len(full)] == full or full[: len(path)] == path:
                return number
    return header


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, text))


def flatten_keys(table: dict[str, Any]) -> dict[str, Any]:
    """The table with `[ui.keys] order.buy = "B"`, which TOML nests, as the one key `order.buy`."""
    ui = table.get("ui")
    keys = ui.get("keys") if isinstance(ui, dict) else None
    if not isinstance(ui, dict) or not isinstance(keys, dict):
        return table
    return table | {"ui": ui | {"keys": dict(_flat(keys, ""))}}


def _flat(table: dict[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_table(table: dict[str, Any], schema: dict[str, Any], path: Path, text: str) -> None:
    """Raise `ConfigError` for the first key of `table` that config.toml doesn't have or hold so."""

    def place(keys: tuple[str, ...]) -> str:
        line = line_of(text, keys)
        return f"{path}:{line}" if line else str(path)

    sections = {key: value for key, value in schema.items() if key != "profiles"}
    for key, value in table.items():
        if key != "profiles":
            _check(key, value, sections, (), place, sections)
            continue
        if not isinstance(value, dict):
            _refuse_kind("profiles", value, {}, place(("profiles",)))
        within = {name: part for name, part in sections.items() if name != "profile"}
        for name, overlay in value.items():
            if not isinstance(overlay, dict):
                _refuse_kind(f"profiles.{name}", overlay, {}, place(("profiles", name)))
            for inner, part in overlay.items():
                _check(inner, part, within, ("profiles", name), place, sections)


def _check(
    key: str,
    value: Any,
    schema: dict[str, Any],
    above: tuple[str, ...],
    place: Place,
    sections: dict[str, Any],
) -> None:
    keys = (*above, key)
    dotted = ".".join(keys)
    inner = ".".join(keys[2:] if keys[0] == "profiles" else keys)
    if key not in schema:
        raise _unknown(key, inner, schema, sections, place(keys))
    if not _fits(value, schema[key]):
        _refuse_kind(dotted, value, schema[key], place(keys))
    if inner == "risk.symbols":
        _check_symbols(value, keys, place)
    elif isinstance(value, dict) and not is_free_table(inner):
        for name, part in value.items():
            _check(name, part, schema[key], keys, place, sections)


def _check_symbols(table: dict[str, Any], keys: tuple[str, ...], place: Place) -> None:
    for symbol, limits in table.items():
        within = (*keys, symbol)
        if not isinstance(limits, dict):
            _refuse_kind(".".join(within), limits, {}, place(within))
        for name, value in limits.items():
            if name not in _SYMBOL_LIMITS:
                raise ConfigError(
                    ".".join((*within, name)),
                    "is no limit of a symbol",
                    f"known are {', '.join(_SYMBOL_LIMITS)}{suggestion(name, _SYMBOL_LIMITS)}",
                    origin=place((*within, name)),
                )
            if not _fits(value, 0):
                _refuse_kind(".".join((*within, name)), value, 0, place((*within, name)))


def _unknown(
    key: str, dotted: str, schema: Mapping[str, Any], sections: Mapping[str, Any], origin: str
) -> ConfigError:
    elsewhere = [
        f"{section}.{key}"
        for section, table in sections.items()
        if isinstance(table, dict) and key in table
    ]
    near = elsewhere or _near(key, schema)
    remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(schema)}"
    where = "section" if "." not in dotted else f"key of [{dotted.rpartition('.')[0]}]"
    return ConfigError(dotted, f"is no {where}", remedy, origin=origin)


def _fits(value: Any, default: Any) -> bool:
    """Whether `value` is of the kind of `default`; that a number be whole is checked later."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))


def _kind(default: Any) -> str:
    match default:
        case bool():
            return "true or false is wanted"
        case int() | float():
            return f"a number is wanted, such as {default}"
        case str():
            return "text in quotes is wanted"
        case list():
            return "a list is wanted, such as " + (shown(default) if default else '["IBM"]')
        case _:
            return "a table is wanted"


def _refuse_kind(dotted: str, value: Any, default: Any, origin: str) -> None:
    said = "…" if "secret" in dotted else shown(value)
    remedy = "take the quotes away" if isinstance(value, str) and _is_number(value) else "change it"
    raise ConfigError(f"{dotted} = {said}", _kind(default), remedy, origin=origin)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def value_of(
    keys: tuple[str, ...], text: str, schema: dict[str, Any], origin: str, name: str
) -> tuple[tuple[str, ...], Any, str]:
    """The path, the value that `text` stands for there, and its origin.

    Raises `ConfigError` for a path that config.toml doesn't have and for text of another kind.
    """
    sections = {key: part for key, part in schema.items() if key != "profiles"}
    keys = path_of(".".join(keys))
    here: Any = sections
    for i, key in enumerate(keys):
        if is_free_table(".".join(keys[:i])):
            here = "" if keys[0] == "ui" else 0
            if keys[0] == "risk" and (len(keys) != i + 2 or keys[-1] not in _SYMBOL_LIMITS):
                raise ConfigError(
                    name,
                    "is no limit of a symbol",
                    f"write risk.symbols.IBM.KEY with one of {', '.join(_SYMBOL_LIMITS)}",
                    origin=origin,
                )
            break
        if not isinstance(here, dict):
            raise ConfigError(
                name, f"{'.'.join(keys[:i])} has no parts", "name the setting alone", origin=origin
            )
        if key not in here:
            raise _unknown(key, ".".join(keys[: i + 1]), here, sections, f"{name}")
        here = here[key]
    if isinstance(here, dict):
        raise ConfigError(
            name,
            "is a section",
            f"name one of its settings: {', '.join(here) or 'KEY'}",
            origin=origin,
        )
    return keys, _parse(text, here, ".".join(keys), origin), origin


def _parse(text: str, default: Any, dotted: str, origin: str) -> Any:
    match default:
        case bool():
            word = text.lower()
            if word in _TRUE or word in _FALSE:
                return word in _TRUE
        case int() | float():
            for number in (int, float):
                try:
                    return number(text)
                except ValueError:
                    continue
        case list():
            if not text.startswith("["):
                return [part.strip() for part in text.split(",") if part.strip()]
            try:
                return tomli.loads(f"x = {text}")["x"]
            except tomli.TOMLDecodeError:
                pass
        case _:
            return text
    said = "…" if "secret" in dotted else text
    raise ConfigError(f"{dotted} = {said}", _kind(default), "change it", origin=origin)
