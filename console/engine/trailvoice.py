"""What is said of a trailing leg: its view, and the notices that a person should read."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from msgspec.structs import replace

from console.engine.clocks import Clocks, MarketClock
from console.engine.events import Severity, TrailChanged
from console.engine.facts import Facts
from console.engine.state import OrderView, TrailPhase, TrailView
from console.engine.trail import Decision, Plan

SAY_AFTER_S = 1.0
"""A fill in parts is often complete in a moment; what lasts longer is told."""
STANDS_SAID_AFTER_S = 10.0
"""How long a stop may stand still for want of something before a person is told."""
TOLD_EVERY_S = 1.0
"""How often a high without any other news is told."""


@dataclass(slots=True)
class Said:
    """What has been said of one leg."""

    view: TrailView | None = None
    at: float = -1e9
    once: set[str] = field(default_factory=set)
    bare_since: float | None = None
    stands_since: float | None = None


class Voice:
    """See the module."""

    def __init__(self, facts: Facts, clocks: Clocks, market: MarketClock) -> None:
        self._facts = facts
        self._clocks = clocks
        self._market = market

    def tell(
        self, said: Said, decision: Decision, before: TrailPhase, stop: OrderView | None
    ) -> None:
        """Tell everybody how it stands, and a person what matters; each once."""
        now = self._clocks.monotonic()
        view = view_of(decision, stop)
        known = said.view
        if view != known:
            same = known is not None and replace(known, high=view.high, text=view.text) == view
            if not same or now - said.at >= TOLD_EVERY_S:
                said.view, said.at = view, now
                self._facts.emit(TrailChanged(trail=view))
        self._say(said, decision, before, now)

    def notice(self, plan: Plan, severity: Severity, text: str) -> None:
        self._facts.notice(severity, f"trail {plan.entry}", f"{plan.symbol}: {text}")

    def _say(self, said: Said, decision: Decision, before: TrailPhase, now: float) -> None:
        plan, phase, words = decision.plan, decision.phase, in_words(decision)
        bare = decision.unprotected > 0 and not decision.settling
        said.bare_since = (said.bare_since or now) if bare else None
        if phase is TrailPhase.ENDED:
            if bare or before is not TrailPhase.WAITING:
                way_out = f"; close {plan.symbol}, or set a stop" if bare else ""
                severity = Severity.ERROR if bare else Severity.INFO
                self.notice(plan, severity, words + way_out)
            return
        if said.bare_since is not None:
            if phase is TrailPhase.EXPOSED:
                self._once(said, plan, f"bare {decision.note}", words)
            elif now - said.bare_since >= SAY_AFTER_S:
                self._once(said, plan, "bare in part", words)
        elif any(what.startswith("bare") for what in said.once):
            self.notice(plan, Severity.INFO, f"protected: {words}")
            _forget(said, "bare")
        stands = phase is TrailPhase.TRAILING and decision.note != ""
        if not stands or not self._market.is_open_at(now) or not self._market.speed:
            said.stands_since = None
            _forget(said, "stands")
            return
        said.stands_since = said.stands_since or now
        if now - said.stands_since >= STANDS_SAID_AFTER_S:
            self._once(said, plan, f"stands {decision.note}", words)

    def _once(self, said: Said, plan: Plan, what: str, words: str) -> None:
        if what not in said.once:
            said.once.add(what)
            self.notice(plan, Severity.WARNING, words)


def _forget(said: Said, what: str) -> None:
    said.once = {known for known in said.once if not known.startswith(what)}


def view_of(decision: Decision, stop: OrderView | None) -> TrailView:
    """What everybody may know of it."""
    plan = decision.plan
    return TrailView(
        entry=plan.entry,
        symbol=plan.symbol,
        side=plan.side,
        phase=decision.phase,
        trail_price=plan.trail_price,
        trail_percent=plan.trail_percent,
        high=plan.high,
        stop=plan.stop,
        take_profit=plan.take_profit,
        unprotected=decision.unprotected,
        stop_order=None if stop is None else stop.client_order_id,
        text=in_words(decision),
    )


def in_words(decision: Decision) -> str:
    """Who manages which leg, for people."""
    plan, phase = decision.plan, decision.phase
    if phase is TrailPhase.ENDED:
        left = _qty(decision.unprotected)
        bare = f"; UNPROTECTED {left} {plan.symbol}" if decision.unprotected else ""
        return f"trailing stop {plan.trail_text()}: ended, {plan.ended}{bare}"
    where = "waits at the broker" if phase is TrailPhase.WAITING else "at the broker"
    parts = []
    if plan.take_profit is not None:
        parts.append(f"take profit {plan.take_profit}: {where}")
    extreme = "high" if plan.sign > 0 else "low"
    stands = f"now {plan.stop}, {extreme} {plan.high}"
    if phase is TrailPhase.WAITING:
        stands = f"the stop {plan.stop} {where}"
    parts.append(f"trailing stop {plan.trail_text()}: engine, {stands}")
    if decision.unprotected > 0:
        parts.insert(0, f"UNPROTECTED {_qty(decision.unprotected)} {plan.symbol}")
    if decision.note:
        parts.append(decision.note)
    return " · ".join(parts)


def _qty(qty: Decimal) -> str:
    return f"{qty.normalize():f}"
