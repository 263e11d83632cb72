"""The palette: every action that may be done now, found by its name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.app import App
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider

from console.ui.actions import Context

if TYPE_CHECKING:
    from console.ui.app import ConsoleApp

_OFFERED = (Context.SCREENS, Context.TRADE, Context.LIST, Context.EVERYWHERE)


class Actions(Provider):
    """The registry, and the themes."""

    @property
    def _console(self) -> ConsoleApp:
        from console.ui.app import ConsoleApp

        assert isinstance(self.app, ConsoleApp)
        return self.app

    def _offers(self) -> list[tuple[str, str, partial[None]]]:
        app = self._console
        offers = [
            (f"{a.label}  ({a.key_text})", f"{a.tooltip} · {a.id}", partial(app.perform, a))
            for a in app.actions
            if a.context in _OFFERED and a.id != "palette" and a.allowed(app)
        ]
        offers += [
            (f"theme: {name}", "Change the colours", partial(app.use_theme, name))
            for name in sorted(app.themes.paths())
        ]
        return offers

    async def discover(self) -> Hits:
        for title, tooltip, run in self._offers():
            yield DiscoveryHit(title, run, help=tooltip)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, tooltip, run in self._offers():
            score = matcher.match(f"{title} {tooltip}")
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, help=tooltip)


def open_palette(app: App[int]) -> None:
    """Show it over the present screen."""
    app.push_screen(CommandPalette(providers=[Actions], placeholder="what to do?"))
