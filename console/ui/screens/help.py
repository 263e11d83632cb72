"""Help: every key and what it does, written from the registry."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from console.ui.actions import Action
from console.ui.screens.base import ConsoleScreen
from console.ui.store import Fact
from console.ui.widgets.page import Page
from console.ui.widgets.painted import TITLE, Span

_GRAMMAR = (
    ("buy 100 IBM", "at the market, for the day"),
    ("buy 100 IBM @ 182.50 +2% -1% gtc", "a bracket that stays"),
    ("buy 100 IBM @ 182.50 +2% trail 1%", "a bracket whose stop trails"),
    ("buy $10_000 BAC · buy 5% SPY @ mid", "for money, for a part of the equity"),
    ("sell half SPY · close IBM", "a part of the position, all of it"),
    ("buy 100 IBM if >= 183 @ 183.20", "once the price gets there"),
    ("sell 100 IBM trail 1%", "a trailing stop"),
    ("cancel 2 · cancel IBM · cancel all", "by row, by symbol, everything"),
    ("replace 2 @ 182.60", "another price"),
    ("halt · reduce · resume · flatten", "the trading state"),
    ("preview buy 100 IBM", "only the risk check"),
    ("alert IBM change < -1% · alert off", "says when a column gets there"),
    ("export", "the session as CSV and Markdown"),
)


WITH_IDS = 78
"""Columns from which an action's id stands behind what it does."""


def help_lines(actions: tuple[Action, ...], width: int) -> list[list[Span]]:
    """The page, in two columns where there is room for them."""
    groups: dict[str, list[Action]] = {}
    for action in actions:
        groups.setdefault(action.group, []).append(action)
    blocks: list[list[list[Span]]] = []
    column = width // 2 if width >= 110 else width
    for group, members in groups.items():
        block: list[list[Span]] = [[(f" {group.upper()}", TITLE)]]
        for action in members:
            room = column - 13
            words = action.tooltip
            spans: list[Span] = [
                (f" {action.key_text:<10} ", "accent bold"),
                (words if len(words) < room else words[: room - 1] + "…", ""),
            ]
            gap = room - len(words) - len(action.id) - 1
            if column >= WITH_IDS and gap > 0:
                spans.append((" " * gap + action.id, "muted"))
            block.append(spans)
        blocks.append([*block, []])
    grammar: list[list[Span]] = [[(" THE COMMAND LINE SPEAKS", TITLE)]]
    for line, meaning in _GRAMMAR:
        grammar.append([(f" {line:<36} ", "accent"), (meaning, "muted")])
    blocks.append(grammar)
    if column == width:
        return [line for block in blocks for line in block]
    left: list[list[Span]] = []
    right: list[list[Span]] = []
    for block in blocks:
        side = left if len(left) <= len(right) else right
        side += block
    return _beside(left, right, column)


def _beside(left: list[list[Span]], right: list[list[Span]], column: int) -> list[list[Span]]:
    lines: list[list[Span]] = []
    for i in range(max(len(left), len(right))):
        spans: list[Span] = [("", "")]
        for side in (left, right):
            line = side[i] if i < len(side) else []
            used = sum(len(text) for text, _ in line)
            ground = TITLE if line and line[0][1] == TITLE else ""
            spans += [*line, (" " * max(0, column - used), ground)]
        lines.append(spans)
    return lines


class Help(Page):
    SHOWS: ClassVar[Fact] = Fact.NOTHING

    def lines(self, width: int) -> list[list[Span]]:
        return [
            [
                (" KEYS", TITLE),
                (
                    "  rebind them in [ui.keys] of config.toml by id; ^p finds all, with ids",
                    "muted",
                ),
            ],
            [],
            *help_lines(self.app.actions, width),
        ]


class HelpScreen(ConsoleScreen):
    def body(self) -> ComposeResult:
        self.page = Help()
        yield self.page

    def on_mount(self) -> None:
        self.page.focus()
