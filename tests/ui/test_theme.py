"""Themes: checked to the line, all of them legible, reloaded while they are edited."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pilots import MakeApp, connected, screen_text, until
from textual.color import Color

from console.ui.theme import PACKAGED, ROLES, ThemeError, Themes, load

GOOD = "dark = true\n[colors]\n" + "".join(f'{role} = "#123456"\n' for role in ROLES)
NAMES = sorted(path.stem for path in PACKAGED.glob("*.toml"))
MIN_CONTRAST = 4.5
"""Of text, after WCAG 2.1 (AA)."""


def contrast(first: str, second: str) -> float:
    def luminance(text: str) -> float:
        parts = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in Color.parse(text).normalized
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_themes_that_must_be_there_are() -> None:
    assert {"dark", "light", "high-contrast", "colour-blind", "sixteen"} <= set(NAMES)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sixteen"])
@pytest.mark.parametrize("ink", ["foreground", "muted", "accent", "up", "down", "warning", "error"])
def test_text_is_legible_on_every_ground_it_stands_on(name: str, ink: str) -> None:
    colours = load(PACKAGED / f"{name}.toml").theme.variables
    for ground in ("background", "panel"):
        assert contrast(colours[ink], colours[ground]) >= MIN_CONTRAST, (name, ink, ground)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sixteen"])
@pytest.mark.parametrize("badge", ["demo", "paper"])
def test_text_on_badges_is_legible(name: str, badge: str) -> None:
    colours = load(PACKAGED / f"{name}.toml").theme.variables
    assert contrast(colours["badge-text"], colours[badge]) >= MIN_CONTRAST, (name, badge)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("title = 1\n" + GOOD, 1, "title is 1, not a text"),
        ("title = \n", 1, "no TOML"),
        ("hue = 3\n" + GOOD, 1, "unknown key 'hue'"),
        (GOOD + 'glow = "#fff"\n', len(ROLES) + 3, "unknown colour 'glow'"),
        (GOOD.replace('up = "#123456"', 'up = "greenish"'), 2 + list(ROLES).index("up") + 1, "up is 'greenish'"),
        (GOOD.replace('down = "#123456"\n', ""), 2, "down missing"),
        ("dark = 1\n[colors]\n", 1, "dark is 1; write true or false"),
        ("dark = true\n", None, r"the table \[colors\] is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ThemeError, match=words) as caught:
        load(path)
    assert caught.value.line == line
    assert str(path) in str(caught.value)


def test_an_unknown_theme_names_those_there_are() -> None:
    with pytest.raises(ThemeError, match=r"no theme 'drak'; known are .*dark"):
        Themes().load("drak")


def test_a_persons_own_theme_goes_before_the_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "dark.toml").write_text(GOOD)
    assert Themes([tmp_path]).load("dark").theme.variables["up"] == "#123456"


async def test_an_edited_theme_is_reloaded_and_a_broken_one_is_named(
    make_app: MakeApp, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    app = make_app(theme="mine", themes_dir=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await connected(pilot)
        path.write_text(GOOD.replace('background = "#123456"', 'background = "#aa0000"'))
        os.utime(path, ns=(1, 1))  # another stamp, however coarse the file system's clock is
        app._watch_themes()
        await until(pilot, lambda: app.screen.styles.background.hex == "#AA0000")
        path.write_text("dark = maybe\n")
        os.utime(path, ns=(2, 2))
        app._watch_themes()
        await until(pilot, lambda: "mine.toml:1" in screen_text(app))
        assert app.screen.styles.background.hex == "#AA0000", "the last good one stays"


async def test_no_colour_leaves_signs_and_marks(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await connected(pilot)
        shown = screen_text(pilot.app)
        assert "▲+412" in shown
        assert "▸SPY" in shown
        colours = {
            segment.style.color.get_truecolor()
            for strip in pilot.app.screen._compositor.render_strips()
            for segment in strip.apply_filter(
                pilot.app._filters[-1], pilot.app.screen.styles.background
            )
            if segment.style is not None and segment.style.color is not None
        }
        assert all(abs(c.red - c.green) <= 2 and abs(c.green - c.blue) <= 2 for c in colours)


async def test_sixteen_colours_get_a_palette_of_their_own(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    from textual import constants

    monkeypatch.setattr(constants, "COLOR_SYSTEM", "standard")
    async with make_app().run_test(size=(80, 24)) as pilot:
        await connected(pilot)
        assert pilot.app.theme == "sixteen"
