"""Order entry: the ticket, the command line that mirrors it, and the risk line below both."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

import msgspec
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip

from console.engine import events as facts_of
from console.engine.commands import Ack, AnyCommand, SubmitOrder, preview_of
from console.engine.state import RiskReport, Side
from console.ui import format as text
from console.ui.draft import Draft, shares_at_risk
from console.ui.store import Fact
from console.ui.widgets.command_line import CommandLine
from console.ui.widgets.painted import Doer, Painted, Span, spread
from console.ui.widgets.ticket import Ticket
from console.ui.words import figures

if TYPE_CHECKING:
    from textual.timer import Timer

    from console.engine.grammar import GrammarError
    from console.ui.lines import FaceLine

PREVIEW_AFTER_S = 0.12
"""So long after the last key the risk check is asked."""
NEXT_AFTER_S = 0.01
"""Before the next one when the draft moved on while one was under way."""
PREVIEW_EVERY_S = 1.0
"""And so often again while the ticket stands open, for the market moves."""
NOTICE_S = 12.0
"""How long a notice stands when nothing newer comes."""
RISK_STEPS = (Decimal("0.25"), Decimal("0.5"), Decimal(1), Decimal(2))
"""Percent of equity that the size key `r` puts at risk, one after the other."""


class OrderEntry(Doer, Vertical):  # type: ignore[misc]
    """Owns the draft; its three lines show it. What comes out is a command to confirm."""

    SHOWS: ClassVar[Fact] = Fact.CLOCK | Fact.LINK | Fact.NOTICES | Fact.ORDERS | Fact.POSITIONS
    DEFAULT_CSS = """
    OrderEntry { dock: bottom; height: 3; margin-bottom: 1; }
    """

    class Entered(Message):
        """A whole command was entered and waits to be confirmed."""

        def __init__(self, command: AnyCommand, report: RiskReport | None) -> None:
            super().__init__()
            self.command, self.report = command, report

    def __init__(self) -> None:
        super().__init__(id="entry")
        self.draft = Draft()
        self.active = False
        self.order: SubmitOrder | None = None
        """The draft as the grammar understands it, None while it doesn't."""
        self.error: GrammarError | None = None
        self.report: RiskReport | None = None
        self.checking = False
        self._checked: SubmitOrder | None = None
        self._checked_at = float("-inf")
        self._timer: Timer | None = None
        self._risk_step = 0
        self.risk_note = ""

    def compose(self) -> ComposeResult:
        yield Ticket(self)
        yield CommandLine(self)
        yield RiskLine(self)

    @property
    def ticket(self) -> Ticket:
        return self.query_one(Ticket)

    @property
    def line(self) -> CommandLine:
        return self.query_one(CommandLine)

    def show(self, facts: Fact) -> None:
        # By query: while the app is being left, the lines may be gone before the entry.
        self.query(RiskLine).refresh()
        if facts & Fact.LINK:
            self.query(Ticket).refresh()
        due = self.app.store.now() - self._checked_at >= PREVIEW_EVERY_S
        if self.active and self.order is not None and due and self._timer is None:
            self._check_soon(again=True)

    # -- opening and leaving -----------------------------------------------------------------

    def open_ticket(self, side: Side, symbol: str) -> None:
        self.draft = Draft(side=side, symbol=symbol)
        self._opened()
        self.ticket.begin()

    def open_line(self, line: str = "", *, finding: bool = False) -> None:
        self._opened()
        self.line.begin(line, finding=finding)
        if not finding:
            self.line_changed(line)

    def _opened(self) -> None:
        self.active = True
        self.report, self.order, self.error = None, None, None
        self._checked = None
        self.risk_note = ""
        self.app.note_choice()

    def leave(self) -> None:
        """Nothing is being written any more."""
        self.active = False
        self.draft = Draft()
        self.order = self.error = self.report = None
        self.line.clear()
        self._stop_timer()
        self.app.focus_pane()
        self._redraw()

    def to_line(self) -> None:
        self.line.begin(self.draft.line())

    def to_ticket(self) -> None:
        self.ticket.begin(keep=True)

    # -- the draft changes -------------------------------------------------------------------

    def ticket_changed(self, draft: Draft) -> None:
        """The ticket was edited: the line follows."""
        self.draft = draft
        self.line.value = draft.line()
        self._understand(self.line.value)

    def line_changed(self, line: str) -> None:
        """The line was edited: the ticket follows as far as the line is an order."""
        self._understand(line)
        if self.order is not None:
            self.draft = Draft.from_order(self.order)
        elif not line.strip():
            self.draft = Draft()
        self._redraw()

    def _understand(self, line: str) -> None:
        from console.engine.grammar import GrammarError, parse_line

        self.order, self.error = None, None
        command: AnyCommand | None = None
        try:
            if line.strip() and not self._is_ours(line):
                command = parse_line(line, self.app)
        except GrammarError as error:
            self.error = error
            command = None
        if isinstance(command, SubmitOrder):
            self.order = command
            self._check_soon()
        else:
            self.report = None
            self._stop_timer()
        self._redraw()

    def _redraw(self) -> None:
        for widget in self.query(Painted):
            widget.refresh()

    # -- sizes -------------------------------------------------------------------------------

    def size_to_maximum(self) -> None:
        """The largest quantity that the risk check allows, as it said last."""
        if self.report is not None and self.report.max_qty is not None and self.report.max_qty > 0:
            self.ticket_changed(replace(self.draft, size=str(int(self.report.max_qty))))
            return
        self.ticket_changed(replace(self.draft, size=self.draft.size or "1"))
        self.risk_note = "the largest size comes with the risk check: m again"

    def size_by_risk(self) -> None:
        """So many shares that the stop loses a part of the equity; again for the next part."""
        account, levels = self.app.store.account, self._entry_and_stop()
        if account is None or levels is None:
            self.risk_note = "a size by risk needs a stop: set SL first, then r in the size field"
            self._redraw()
            return
        part = RISK_STEPS[self._risk_step % len(RISK_STEPS)]
        self._risk_step += 1
        shares = shares_at_risk(account.equity, part, *levels)
        self.risk_note = f"{part} % of equity at risk at the stop"
        if shares > 0:
            self.ticket_changed(replace(self.draft, size=str(shares)))
        self._redraw()

    def _entry_and_stop(self) -> tuple[Decimal, Decimal] | None:
        from console.engine.grammar import GrammarError, parse_line

        draft = replace(self.draft, size=self.draft.size or "1")
        try:
            order = parse_line(draft.line(), self.app)
        except GrammarError:
            return None
        if not isinstance(order, SubmitOrder) or order.stop_loss is None:
            return None
        entry = order.limit_price or order.stop_price or self.app.middle(order.symbol)
        if entry is None:
            return None
        stop = order.stop_loss
        if stop.price is not None:
            return entry, stop.price
        away = -1 if order.side is Side.BUY else 1
        if stop.trail_price is not None:
            return entry, entry + away * stop.trail_price
        percent = stop.percent if stop.trail_percent is None else away * stop.trail_percent
        return None if percent is None else (entry, entry * (1 + percent / 100))

    # -- the risk line -----------------------------------------------------------------------

    def _check_soon(self, *, again: bool = False) -> None:
        if not again and self.order is not None and self._checked == _comparable(self.order):
            return
        if not again:
            self.report = None
        self._stop_timer()
        delay = NEXT_AFTER_S if again else PREVIEW_AFTER_S
        self._timer = self.set_timer(delay, self._start_check)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _start_check(self) -> None:
        self._timer = None
        if self.order is None or self.checking or not self.app.connected:
            return
        self.checking = True
        self.run_worker(self._check(self.order), group="preview", exit_on_error=False)

    async def _check(self, order: SubmitOrder) -> None:
        """One preview under way at a time; if the draft moved on meanwhile, another follows."""
        try:
            ack = await self.app.request(preview_of(order), quiet=True)
        finally:
            self.checking = False
        self._checked_at = self.app.store.now()
        if self.order is None:
            return
        if _comparable(self.order) != _comparable(order):
            self._check_soon(again=True)
            return
        self._checked = _comparable(order)
        self.report = _report(ack)
        self._redraw()

    def _face_line(self, line: str) -> FaceLine | None:
        from console.ui.lines import parse_face_line

        return parse_face_line(line, self.app.store)

    def _is_ours(self, line: str) -> bool:
        return self._face_line(line) is not None

    # -- out ---------------------------------------------------------------------------------

    def submit(self, line: str) -> None:
        """The line as a command: on to the confirmation, or say where it is none."""
        from console.engine.grammar import GrammarError, parse_line

        try:
            ours = self._face_line(line)
            command = None if ours is not None else parse_line(line, self.app)
        except GrammarError as error:
            self.error = error
            self._redraw()
            return
        self.line.remember(line)
        if command is None:
            assert ours is not None
            self.leave()
            self.app.carry_out(ours)
            return
        self.post_message(self.Entered(command, self.report))


def _comparable(order: SubmitOrder) -> SubmitOrder:
    return msgspec.structs.replace(order, id="", preview=False)


def _report(ack: Ack) -> RiskReport | None:
    if ack.risk is not None:
        return ack.risk
    return RiskReport(allowed=False, refusals=ack.refusals) if ack.refusals else None


class RiskLine(Painted):
    """What the order would do, and whether it may; without an order, the newest notice."""

    DEFAULT_CSS = "RiskLine { height: 1; }"

    def __init__(self, entry: OrderEntry) -> None:
        super().__init__()
        self.entry = entry

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        entry = self.entry
        if not entry.active:
            return self.strip(self._notice(width), width)
        if entry.error is not None:
            return self.strip(self._error(entry.error), width)
        if entry.order is None:
            return self.strip([(f" {entry.risk_note}", "muted")], width)
        report = entry.report
        if report is None:
            words = "checking…" if self.app.connected else "no engine: nothing can be checked"
            return self.strip([(f" {words}", "muted")], width)
        return self.strip(self._risk(report, width), width)

    def _error(self, error: GrammarError) -> list[Span]:
        missing = self.entry.draft.missing() if self.entry.ticket.has_focus else None
        if missing is not None:
            return [(f" {self.entry.ticket.ask(missing)}", "muted")]
        return [(" ✗ ", "warning bold"), (text.cut(error.message, self.size.width - 4), "warning")]

    def _risk(self, report: RiskReport, width: int) -> list[Span]:
        if not report.allowed and report.refusals:
            first = report.refusals[0]
            more = f" (+{len(report.refusals) - 1} more)" if len(report.refusals) > 1 else ""
            remedy = f": {first.remedy}" if first.remedy else ""
            limit = f"max {text.quantity(report.max_qty)} " if report.max_qty is not None else ""
            room = width - len(first.check) - len(more) - len(limit) - 5
            if len(first.message) + len(remedy) > room and len(first.message) <= room:
                remedy = ""  # the dialog has it; half a sentence is no help
            left: list[Span] = [
                (" ✗ ", "error"),
                (f"{first.check} ", "error"),
                (text.cut(first.message + remedy, room) + more, "warning"),
            ]
            return spread(left, [(limit, "muted")], width)
        verdict: list[Span]
        if report.warnings:
            verdict = [(f"! {report.warnings[0].message} ", "warning")]
        else:
            verdict = [(f"✓ {report.checks_run} checks", "up")]
        if report.max_qty is not None:
            verdict.append((f" · max {text.quantity(report.max_qty)} ", "muted"))
        room = width - 3 - sum(len(words) for words, _ in verdict)
        spans: list[Span] = [(" ", "")]
        for i, figure in enumerate(figures(report)):
            room -= len(figure) + 3
            if room < 0:  # the verdict stays, the figures leave from the right
                break
            spans += [(" · ", "rule")] * bool(i) + [(figure, "" if i else "bold")]
        return spread(spans, verdict, width)

    def _notice(self, width: int) -> list[Span]:
        store = self.store
        doubtful = store.doubtful_orders()
        if doubtful:
            order = doubtful[0]
            what, way = f" {order.side.value} {order.symbol} is in doubt: ", "; R reconciles"
            reason = order.reason or "the broker did not answer"
            reason = text.cut(reason, width - 3 - len(what) - len(way))
            return [(" ! ", "alarm"), (what + reason + way, "warning")]
        if not store.notices or store.now() - store.notices[-1].at > NOTICE_S:
            return []
        notice = store.notices[-1]
        ink = {facts_of.Severity.ERROR: "error", facts_of.Severity.WARNING: "warning"}.get(
            notice.severity, ""
        )
        count = f" ×{notice.count}" if notice.count > 1 else ""
        mark = {"error": " ✗ ", "warning": " ! "}.get(ink, " · ")
        age = f"{text.age(store.now() - notice.at)} "
        words = text.cut(notice.text, width - len(mark) - len(count) - len(age) - 1) + count
        return spread([(mark, ink or "muted"), (words, ink)], [(age, "muted")], width)
