"""Dialogs: a command is confirmed in words, stays open when refused, and says what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip

from console.engine.commands import (
    Ack,
    AnyCommand,
    Flatten,
    Outcome,
    SubmitOrder,
    new_id,
    preview_of,
)
from console.engine.state import RiskReport, TradingState
from console.ui import format as text
from console.ui.actions import Context, bindings
from console.ui.store import Fact
from console.ui.widgets.painted import Doer, Painted, Span
from console.ui.words import figures

WIDTH = 74
SENDING_AFTER_S = 0.05
"""An answer is mostly there before; drawing would only be in the command's way."""
PREVIEW_EVERY_S = 1.0
"""How often the figures of an order are asked anew while its dialog stands open."""


class Dialog(Doer, ModalScreen[bool], inherit_bindings=False):  # type: ignore[misc]
    """A box of lines over the screen below, which goes on living."""

    BINDINGS: ClassVar[list[Binding]] = bindings(Context.DIALOG)  # type: ignore[assignment]
    AUTO_FOCUS = ""
    CONTEXTS: ClassVar[frozenset[Context]] = frozenset({Context.DIALOG, Context.EVERYWHERE})
    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 40%; }
    Dialog #box { width: 76; max-width: 100%; height: auto; border: round $accent;
                  background: $background; }
    Dialog.-danger #box { border: round $error; }
    Dialog Lines { width: 100%; height: auto; }
    """

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Lines()

    def lines(self, width: int) -> list[list[Span]]:
        """What the box says."""
        raise NotImplementedError

    def show(self, facts: Fact) -> None:
        """Facts arrive while it stands open."""
        self.redraw()

    def redraw(self) -> None:
        for lines in self.query(Lines):  # none any more while it is being left
            lines.reflow()

    def on_mount(self) -> None:
        self.redraw()

    def act_dialog_cancel(self) -> None:
        self.dismiss(False)


class Lines(Painted):
    """The lines of the dialog around it."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[list[Span]] = []

    def reflow(self) -> None:
        screen = self.screen
        assert isinstance(screen, Dialog)
        lines = screen.lines(max(10, min(WIDTH, self.app.size.width - 2)))
        if lines != self._lines:
            taller = len(lines) != len(self._lines)
            self._lines = lines
            self.styles.height = len(lines)
            self.refresh(layout=taller)

    def on_resize(self) -> None:
        self.reflow()

    def render_line(self, y: int) -> Strip:
        return self.strip(self._lines[y] if y < len(self._lines) else (), self.size.width)


def wrapped(words: str, width: int, ink: str = "", indent: str = " ") -> list[list[Span]]:
    """Prose as lines."""
    lines: list[list[Span]] = []
    line = ""
    for word in words.split():
        if line and len(indent) + len(line) + 1 + len(word) > width - 1:
            lines.append([(indent, ""), (line, ink)])
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, [(indent, ""), (line, ink)]] if line else lines


class ConfirmDialog(Dialog):
    """Asks before a command is sent; dismissed with True once the engine has taken it."""

    def __init__(
        self,
        command: AnyCommand,
        words: str,
        *,
        danger: bool = False,
        report: RiskReport | None = None,
        answer: Ack | None = None,
    ) -> None:
        super().__init__(classes="-danger" if danger else "")
        self.command, self.words, self.report = command, words, report
        self.answer = answer
        self.sending = False
        self._checked_at = float("-inf")

    def show(self, facts: Fact) -> None:
        due = self.app.store.now() - self._checked_at >= PREVIEW_EVERY_S
        asking = self.answer is None and not self.sending
        if isinstance(self.command, SubmitOrder) and due and asking:
            self._checked_at = self.app.store.now()
            self.run_worker(self._preview(self.command), group="preview", exit_on_error=False)
        super().show(facts)

    async def _preview(self, order: SubmitOrder) -> None:
        """The market moves on while a person reads: what stands here is of this moment."""
        ack = await self.app.request(preview_of(order), quiet=True)
        if ack.risk is not None and self.is_attached:
            self.report = ack.risk
            self.redraw()

    def lines(self, width: int) -> list[list[Span]]:
        lines: list[list[Span]] = [[], *wrapped(self.words, width, "bold"), []]
        if self.report is not None and self.answer is None:
            lines += [*self._report(self.report, width, self._room), []]
        if self.sending:
            lines.append([(" sending… ", "warning"), ("esc leaves; the order goes on", "muted")])
        elif self.answer is not None:
            lines += self._answer(self.answer, width)
        else:
            lines.append(_keys("do it", "back"))
        return [*lines, []]

    @property
    def _room(self) -> int:
        """Lines for refusals, so that the box and what can be done stand on the screen."""
        return max(5, self.app.size.height - 10)

    @staticmethod
    def _report(report: RiskReport, width: int, room: int) -> list[list[Span]]:
        if not report.allowed:
            return refusal_lines(report, width, room)
        lines = wrapped(" · ".join(figures(report)), width, "muted")
        for warning in report.warnings:
            lines += wrapped(f"! {warning.message}", width, "warning")
        return lines

    def _answer(self, answer: Ack, width: int) -> list[list[Span]]:
        if answer.outcome is Outcome.UNKNOWN:
            words = answer.message or "the broker did not answer"
            return [
                [(" IN DOUBT ", "alarm")],
                *wrapped(words, width, "warning"),
                *wrapped("It may have been carried out. Don't send it again: look at the orders, "
                         "R there compares with the broker.", width),
                [],
                _keys(None, "back"),
            ]  # fmt: skip
        by_broker = any(refusal.check == "broker" for refusal in answer.refusals)
        said = ("REJECTED", "by the broker") if by_broker else ("REFUSED", "nothing was sent")
        lines: list[list[Span]] = [[(f" {said[0]} ", "alarm"), (f" {said[1]}", "muted")]]
        if answer.refusals:
            lines += refusal_lines(answer, width, self._room)
        else:
            lines += wrapped(answer.message or "no reason was given", width, "warning")
        return [*lines, [], _keys("try again", "back, to change it")]

    async def _send(self) -> None:
        if self.answer is not None:  # refused: asked anew, for the engine answers an id only once
            self.command = msgspec.structs.replace(self.command, id=new_id())
        self.sending, self.answer = True, None
        self.set_timer(SENDING_AFTER_S, self.redraw)
        answer = await self.app.request(self.command)
        self.sending = False
        if answer.outcome is Outcome.ACCEPTED:
            self.app.done(self.command, answer)
            if self.is_attached:
                self.dismiss(True)
            return
        self.answer = answer
        if self.is_attached:
            self.redraw()
        else:
            self.app.not_done(answer)

    def act_dialog_confirm(self) -> None:
        doubtful = self.answer is not None and self.answer.outcome is Outcome.UNKNOWN
        if not self.sending and not doubtful:
            self.app.run_worker(self._send(), group="send", exit_on_error=False)

    def act_dialog_cancel(self) -> None:
        self.dismiss(False)


def refusal_lines(
    source: Ack | RiskReport, width: int, room: int | None = None
) -> list[list[Span]]:
    """Each check that refused: its code, its words, its limit and value, and the way out.

    Where they take more than `room` lines, the later ones are named alone.
    """
    lines: list[list[Span]] = []
    for i, refusal in enumerate(source.refusals):
        told: list[list[Span]] = [[(f" ✗ {refusal.check}", "error")]]
        told += wrapped(refusal.message, width, "warning", "   ")
        if refusal.check != "broker" and (refusal.limit or refusal.value):
            told.append([("   ", ""), (f"limit {refusal.limit} · value {refusal.value}", "muted")])
        if refusal.remedy:
            told += wrapped(f"→ {refusal.remedy}", width, "", "   ")
        later = source.refusals[i:]
        if room is not None and i and len(lines) + len(told) + (len(later) > 1) > room:
            names = ", ".join(r.check for r in later)
            return [*lines, *wrapped(f"✗ and {names}", width, "error", " ")]
        lines += told
    return lines


def _keys(do: str | None, leave: str) -> list[Span]:
    spans: list[Span] = [(" ", "")]
    if do is not None:
        spans += [("⏎ ", "accent bold"), (f"{do}    ", "")]
    return [*spans, ("esc ", "accent bold"), (leave, "")]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


class KillDialog(Dialog):
    """The kill switch: the typed word sends `Flatten`, then the facts show how far it is."""

    WORD: ClassVar[str] = "flatten"

    def __init__(self) -> None:
        super().__init__(classes="-danger")
        self.typed = ""
        self.sending = False
        self.answer: Ack | None = None

    def on_key(self, event: events.Key) -> None:
        if self.take_key(event):
            event.stop()
            event.prevent_default()

    def take_key(self, event: events.Key) -> bool:
        """Write the word; False for a key that is no writing."""
        if self.sending or self.answer is not None:
            return False
        if event.key == "backspace":
            self.typed = self.typed[:-1]
        elif event.is_printable and event.character is not None:
            self.typed = (self.typed + event.character)[:20]
        else:
            return False
        self.redraw()
        return True

    def lines(self, width: int) -> list[list[Span]]:
        store = self.app.store
        orders, positions = len(store.open_orders()), len(store.positions)
        gross, _ = store.exposure()
        lines: list[list[Span]] = [[], [(" KILL SWITCH ", "alarm")], []]
        if self.answer is None and not self.sending:
            words = (
                f"Halts trading, cancels {_count(orders, 'open order')}, closes "
                f"{_count(positions, 'position')} worth {text.whole_money(gross)} at the market, "
                "and stays halted until you resume, over restarts too."
            )
            lines += [*wrapped(words, width), []]
            right = self.WORD.startswith(self.typed.lower())
            lines.append(
                [
                    (f" type {self.WORD}: ", "muted"),
                    (f"{self.typed}", "bold" if right else "error"),
                    ("▏", "accent"),
                ]
            )
            return [*lines, [], _keys("do it", "back, nothing happens"), []]
        halted = store.trading_state is TradingState.HALTED
        for done, words in (
            (halted, "trading is halted"),
            (not orders, "no order is open" if not orders else f"{orders} orders still open"),
            (not positions, "flat" if not positions else f"{positions} positions still held"),
        ):
            lines.append([(" ✓ " if done else " … ", "up" if done else "warning"), (words, "")])
        if self.answer is not None and self.answer.outcome is not Outcome.ACCEPTED:
            lines += [[], [(f" {self.answer.outcome.value.upper()} ", "alarm")]]
            lines += wrapped(self.answer.message, width, "warning")
            lines += refusal_lines(self.answer, width)
        elif self.answer is not None and self.answer.message:
            lines += [[], *wrapped(self.answer.message, width, "muted")]
        return [*lines, [], _keys(None, "back; it goes on" if self.sending else "back"), []]

    def act_dialog_confirm(self) -> None:
        if self.typed.lower().strip() == self.WORD and not self.sending and self.answer is None:
            self.sending = True
            self.redraw()
            self.app.run_worker(self._send(), group="send", exit_on_error=False)

    async def _send(self) -> None:
        self.answer = await self.app.request(Flatten(reason="kill switch"))
        self.sending = False
        if self.is_attached:
            self.redraw()
        elif self.answer.outcome is not Outcome.ACCEPTED:
            self.app.not_done(self.answer)


__all__: Sequence[str] = ("ConfirmDialog", "Dialog", "KillDialog", "refusal_lines", "wrapped")
