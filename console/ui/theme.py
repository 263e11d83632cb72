"""Themes: one TOML file each, with a colour for every role, checked to the line.

    title = "Dark"
    dark = true
    [colors]
    background = "#0b0e14"
    …

The file's name is the theme's name. A user's own files lie in `themes/` beside their config.toml
and go before the packaged ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli
from textual.color import Color, ColorParseError
from textual.theme import Theme

PACKAGED = Path(__file__).parent.parent / "themes"

ROLES = {
    "background": "behind everything",
    "panel": "behind titles, header and footer",
    "foreground": "text",
    "muted": "headings, labels, what matters less",
    "accent": "the focused pane, keys, the cursor",
    "selection": "behind the selected row",
    "rule": "lines between panes, axes",
    "up": "gains, rising bars",
    "down": "losses, falling bars",
    "warning": "what needs a look",
    "error": "what needs a hand",
    "stale": "numbers too old to trust",
    "demo": "the DEMO badge",
    "paper": "the PAPER badge",
    "badge-text": "text on a badge or on the accent",
    "volume": "volume in the chart",
    "input": "behind what is being typed",
}


class ThemeError(ValueError):
    """A theme that can't be used: file, line, value, rule."""

    def __init__(self, path: Path, line: int | None, message: str) -> None:
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {message}")
        self.path, self.line, self.message = path, line, message


@dataclass(frozen=True, slots=True)
class LoadedTheme:
    """A checked theme, as Textual takes it, and the file that it came from."""

    name: str
    title: str
    theme: Theme
    path: Path


def _line_of(text: str, key: str) -> int | None:
    pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    for number, line in enumerate(text.splitlines(), start=1):
        if pattern.match(line) or line.strip() == key:
            return number
    return None


def _table(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        raise ThemeError(path, int(found[1]) if found else None, f"no TOML: {error}") from None


def load(path: Path) -> LoadedTheme:
    """Read and check one file.

    Raises:
        ThemeError: unreadable, no TOML, an unknown key, a colour missing or no colour.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ThemeError(path, None, f"can't be read: {error}") from None
    table = _table(path, text)
    for key in table:
        if key not in ("title", "dark", "colors"):
            rule = f"unknown key {key!r}; known are title, dark, [colors]"
            raise ThemeError(path, _line_of(text, key) or _line_of(text, f"[{key}]"), rule)
    title, dark, colors = (
        table.get("title", path.stem),
        table.get("dark", True),
        table.get("colors"),
    )
    if not isinstance(title, str):
        raise ThemeError(path, _line_of(text, "title"), f"title is {title!r}, not a text")
    if not isinstance(dark, bool):
        raise ThemeError(path, _line_of(text, "dark"), f"dark is {dark!r}; write true or false")
    if not isinstance(colors, dict):
        raise ThemeError(path, None, "the table [colors] is missing")
    for role, value in colors.items():
        if role not in ROLES:
            rule = f"unknown colour {role!r}; known are {', '.join(ROLES)}"
            raise ThemeError(path, _line_of(text, role), rule)
        if not isinstance(value, str) or not _is_colour(value):
            rule = f'{role} is {value!r}, not a colour; write for example "#58a6ff"'
            raise ThemeError(path, _line_of(text, role), rule)
    if missing := [role for role in ROLES if role not in colors]:
        role = missing[0]
        rule = f"{', '.join(missing)} missing; {role} colours {ROLES[role]}"
        raise ThemeError(path, _line_of(text, "[colors]"), rule)
    return LoadedTheme(path.stem, title, _theme(path.stem, dark, colors), path)


def _is_colour(text: str) -> bool:
    try:
        Color.parse(text)
    except ColorParseError:
        return False
    return True


def _theme(name: str, dark: bool, colors: dict[str, str]) -> Theme:
    return Theme(
        name=name,
        primary=colors["accent"],
        accent=colors["accent"],
        foreground=colors["foreground"],
        background=colors["background"],
        surface=colors["background"],
        panel=colors["panel"],
        success=colors["up"],
        warning=colors["warning"],
        error=colors["error"],
        dark=dark,
        variables={
            **{role: colors[role] for role in ROLES},
            "block-cursor-background": colors["accent"],
            "block-cursor-foreground": colors["badge-text"],
            "scrollbar": colors["rule"],
            "scrollbar-background": colors["background"],
            "scrollbar-corner-color": colors["background"],
        },
    )


class Themes:
    """The themes that there are, by name; reloads those whose file changed."""

    def __init__(self, directories: Iterable[Path] = ()) -> None:
        self._directories = (*directories, PACKAGED)
        self._seen: dict[Path, tuple[int, int]] = {}

    def paths(self) -> dict[str, Path]:
        """Name → file; a user's own goes before a packaged one of the same name."""
        found: dict[str, Path] = {}
        for directory in self._directories:
            if directory.is_dir():
                for path in sorted(directory.glob("*.toml")):
                    found.setdefault(path.stem, path)
        return found

    def load(self, name: str) -> LoadedTheme:
        """The theme `name`. Raises ThemeError, which names those that there are."""
        for directory in self._directories:
            path = directory / f"{name}.toml"
            if path.is_file():
                self._seen[path] = _stamp(path)
                return load(path)
        known = ", ".join(self.paths())
        raise ThemeError(PACKAGED / f"{name}.toml", None, f"no theme {name!r}; known are {known}")

    def changed(self) -> Iterator[LoadedTheme | ThemeError]:
        """Themes that are new or were edited since they were read, or what is wrong in them."""
        for path in self.paths().values():
            try:
                stamp = _stamp(path)
            except FileNotFoundError:  # an editor that writes by renaming
                continue
            if self._seen.get(path) == stamp:
                continue
            self._seen[path] = stamp
            try:
                yield load(path)
            except ThemeError as error:
                yield error


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
