"""The trailing leg of a bracket: what it knows, and what it wants done next. Pure.

The broker's brackets have a stop that stands still. So the order goes out as such a bracket, with
its stop as far behind the entry as it shall trail, and the engine moves that stop (replaces its
price) as the market makes new highs. Both legs rest at the broker from the first moment on: when no
engine runs, the stop stays where it was. What else there is to do is what the broker leaves open:

- an entry that is filled in part has no legs at work yet. After `partial_s`, or at once when the
  stop's price is reached, the rest of it is canceled, and they take hold of what was bought. What
  is left of a limit order is sent anew then, with legs of its own.
- legs that went with the entry, or were rejected, are sent anew for what was bought and is held.

`decide` says which, from a `Plan` (journaled) and a `Sight` (what is so at this moment). It never
moves a stop away from the market and never asks to sell more than is held.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct
from msgspec.structs import replace

from console.engine.commands import Level, SubmitOrder
from console.engine.state import (
    OrderClass,
    OrderState,
    OrderType,
    OrderView,
    Side,
    TimeInForce,
    TradingState,
    TrailPhase,
)

STEP_PART = Decimal("0.05")
"""Of the trailing distance: the least by which a stop is moved."""
RETRY_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before each attempt to protect; the last one repeats."""
CUT_AGAIN_S = 2.0
SETTLE_S = 1.5
"""How long news of what ended a stop may take, before the plan ends because of it."""

_ZERO = Decimal(0)


class Plan(Struct, frozen=True, kw_only=True):
    """What is remembered of a trailing leg: the body of its rows in the journal."""

    entry: str
    symbol: str
    side: Side
    time_in_force: TimeInForce
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    take_profit: Decimal | None = None
    high: Decimal
    """The best price known since the entry (the lowest for a short one)."""
    stop: Decimal
    """Where the stop is meant to stand: it only ever comes closer to the market."""
    sent: tuple[str, ...] = ()
    """Client order ids of protection that was sent beside the broker's own legs."""
    exits: tuple[str, ...] = ()
    """Client order ids of legs and protection that were filled, in whole or part."""
    sending: str | None = None
    """The order under way: a stop's successor, or protection."""
    live: bool = False
    """The legs were at work once: what ends them then is no mishap of the entry."""
    released: str = ""
    """Who took the legs in hand; their end is wanted then."""
    ended: str = ""
    text: str = ""

    @property
    def sign(self) -> int:
        """1 for a long entry, −1 for a short one."""
        return 1 if self.side is Side.BUY else -1

    @property
    def exit_side(self) -> Side:
        return Side.SELL if self.side is Side.BUY else Side.BUY

    def trail_text(self) -> str:
        """`1 %` or `0.75`."""
        if self.trail_percent is not None:
            return f"{self.trail_percent.normalize():f} %"
        return f"{self.trail_price}"


class Sight(Struct, frozen=True, kw_only=True):
    """What is so at this moment. Ages are seconds; `price` is the last trade, None unless fresh."""

    entry: OrderView | None
    """As it stands after replacements."""
    filled: Decimal = _ZERO
    """Of the entry, over all its replacements."""
    exited: Decimal = _ZERO
    """Filled of its legs and of the protection sent."""
    stops: tuple[OrderView, ...] = ()
    """Open stops of this plan that are at work."""
    underway: OrderView | None = None
    """The order named by `Plan.sending`; None where it is not known here."""
    profit: Decimal | None = None
    """Where the open profit leg stands."""
    lost: OrderState | None = None
    """How the newest stop ended, where none is open."""
    lost_at: Decimal | None = None
    """Where it stood."""
    held: Decimal = _ZERO
    """Signed position in the symbol."""
    reserved: Decimal = _ZERO
    """Open on the exit's side by orders that are not of this plan."""
    price: Decimal | None = None
    market_open: bool = True
    trading_state: TradingState = TradingState.ACTIVE
    blocked: str | None = None
    flattening: bool = False
    partial_for: float = 0.0
    since_cut: float = 1e9
    since_moved: float = 1e9
    since_attempt: float = 1e9
    attempts: int = 0
    exposed_for: float = 0.0


class Cut(Struct, frozen=True):
    """Cancel what is left of the entry, so that the broker's legs take hold.

    `again`: what is left may be sent anew then, as an order of its own.
    """

    why: str
    again: bool = False


class Move(Struct, frozen=True):
    """Replace the price of a stop."""

    order: OrderView
    stop: Decimal


class Protect(Struct, frozen=True):
    """Send an exit for so many shares; `at_market` where the stop's price has been reached."""

    qty: Decimal
    at_market: bool


class End(Struct, frozen=True):
    """Nothing is left to do, or to be done by the engine."""

    why: str


Action = Cut | Move | Protect | End


class Decision(Struct, frozen=True, kw_only=True):
    plan: Plan
    phase: TrailPhase
    action: Action | None = None
    unprotected: Decimal = _ZERO
    note: str = ""
    """Why it doesn't trail, or what is awaited."""
    settling: bool = False
    """What ended the stop was wanted; whether the shares go too shows in a moment."""


# -- where a stop stands -------------------------------------------------------------------------


def rest_of(plan: Plan, entry: OrderView) -> SubmitOrder | None:
    """What was cut off an entry as a command of its own; None where it can't be sent anew.

    Its id names the entry, so that it is carried out once.
    """
    left = _open(entry)
    if left <= 0 or entry.order_type is not OrderType.LIMIT:
        return None
    profit = None if plan.take_profit is None else Level(price=plan.take_profit)
    return SubmitOrder(
        id=f"rest-of-{entry.client_order_id}",
        source=entry.source,
        symbol=plan.symbol,
        side=plan.side,
        qty=left,
        order_type=OrderType.LIMIT,
        limit_price=entry.limit_price,
        time_in_force=plan.time_in_force,
        order_class=OrderClass.OTO if profit is None else OrderClass.BRACKET,
        take_profit=profit,
        stop_loss=Level(trail_price=plan.trail_price, trail_percent=plan.trail_percent),
    )


def tick_of(price: Decimal) -> Decimal:
    return Decimal("0.01") if price >= 1 else Decimal("0.0001")


def distance(plan: Plan, high: Decimal) -> Decimal:
    """How far behind `high` the stop is meant to be."""
    if plan.trail_price is not None:
        return plan.trail_price
    return high * (plan.trail_percent or _ZERO) / 100


def stop_for(plan: Plan, high: Decimal) -> Decimal:
    """Where the stop belongs when the best price is `high`; never closer than asked for.

    Not above zero where the distance is more than the price.
    """
    raw = high - plan.sign * distance(plan, high)
    rounding = ROUND_FLOOR if plan.sign > 0 else ROUND_CEILING
    return raw.quantize(tick_of(raw), rounding=rounding)


def high_for(plan: Plan, stop: Decimal) -> Decimal:
    """The best price that a stop at `stop` belongs to."""
    if plan.trail_price is not None:
        return stop + plan.sign * plan.trail_price
    return stop / (1 - plan.sign * (plan.trail_percent or _ZERO) / 100)


def better(plan: Plan, one: Decimal, other: Decimal) -> Decimal:
    """Of two prices the one that is further in the entry's favour."""
    return max(one, other) if plan.sign > 0 else min(one, other)


def reached(plan: Plan, price: Decimal | None) -> bool:
    """Whether a trade at `price` sets the stop off."""
    return price is not None and plan.sign * (price - plan.stop) <= 0


def new_plan(
    *,
    entry: OrderView,
    level: Level,
    price: Decimal | None,
    touch: tuple[Decimal, Decimal] | None,
    take_profit: Decimal | None,
) -> Plan:
    """The plan of an order that is not sent yet.

    `price` is what a share of it is reckoned to cost. A limit that crosses the touch is filled at
    the touch, so the stop is reckoned from there and doesn't stand above what was paid.

    Raises:
        ValueError: there is no price to reckon from, or the stop would not be above zero.
    """
    if price is None:
        raise ValueError("a trailing stop needs a quote or a limit price to reckon from")
    sign = 1 if entry.side is Side.BUY else -1
    if entry.stop_price is None and touch is not None:
        meets = touch[1] if sign > 0 else touch[0]
        price = min(price, meets) if sign > 0 else max(price, meets)
    plan = Plan(
        entry=entry.client_order_id,
        symbol=entry.symbol,
        side=entry.side,
        time_in_force=entry.time_in_force,
        trail_price=level.trail_price,
        trail_percent=level.trail_percent,
        take_profit=take_profit,
        high=price,
        stop=price,
    )
    stop = stop_for(plan, price)
    if stop <= 0:
        raise ValueError(f"a trail of {plan.trail_text()} from {price} is no price above zero")
    return replace(plan, stop=stop)


# -- what to do next -----------------------------------------------------------------------------


def decide(plan: Plan, sight: Sight, *, every_s: float, partial_s: float) -> Decision:
    """What the plan wants done now, and how it stands."""
    if sight.flattening and sight.filled > 0:
        return _ended(plan, "the kill switch took over")
    entry = sight.entry
    if entry is None:
        return _ended(plan, "its entry was never sent")
    if entry.state.is_final and sight.filled == 0:
        return _ended(plan, f"its entry is {entry.state.value}")
    if sight.filled == 0:
        doubtful = entry.state is OrderState.UNKNOWN
        note = "it is not known whether the broker has the entry" if doubtful else ""
        return Decision(plan=plan, phase=TrailPhase.WAITING, note=note)
    plan = _taking_in(plan, sight, entry)
    bare = _bare(plan, sight)
    if not entry.state.is_final and (bare > 0 or not sight.stops):
        return _partly_filled(plan, sight, bare, partial_s)
    if bare > 0:
        return _exposed(plan, sight, bare)
    if not sight.stops:
        return _closed(plan, sight)
    return _trailing(plan, sight, every_s)


def _ended(plan: Plan, why: str, unprotected: Decimal = _ZERO) -> Decision:
    plan = replace(plan, ended=why)
    return Decision(plan=plan, phase=TrailPhase.ENDED, action=End(why), unprotected=unprotected)


def _taking_in(plan: Plan, sight: Sight, entry: OrderView) -> Plan:
    """The best price by what was paid and what is traded; the stop by what rests at the broker."""
    high, stop = plan.high, plan.stop
    resting = [s.stop_price for s in sight.stops if s.stop_price is not None]
    if resting:
        stop = min(resting) if plan.sign > 0 else max(resting)
        if plan.sign * (stop - plan.stop) < 0:
            # Only a hand moves it back; from there it trails on.
            high = high_for(plan, stop)
    elif sight.lost_at is not None:
        stop = better(plan, stop, sight.lost_at)
    for price in (sight.price, None if plan.live else entry.filled_avg_price):
        if price is not None:
            high = better(plan, high, price)
    live = plan.live or (entry.state.is_final and any(_at_work(s) for s in sight.stops))
    profit = plan.take_profit if sight.profit is None else sight.profit
    return replace(plan, high=high, stop=stop, live=live, take_profit=profit)


def _at_work(stop: OrderView) -> bool:
    return stop.state in (OrderState.WORKING, OrderState.PARTIAL, OrderState.HELD)


def _bare(plan: Plan, sight: Sight) -> Decimal:
    """Shares that the entry bought, that are still held, and that no stop covers."""
    held = max(_ZERO, plan.sign * sight.held)
    wanted = min(sight.filled - sight.exited, held)
    covered = sum((_open(stop) for stop in sight.stops), _ZERO)
    return max(_ZERO, wanted - covered)


def _open(order: OrderView) -> Decimal:
    return _ZERO if order.qty is None else max(_ZERO, order.qty - order.filled_qty)


def _partly_filled(plan: Plan, sight: Sight, bare: Decimal, partial_s: float) -> Decision:
    decision = Decision(plan=plan, phase=TrailPhase.PARTIAL, unprotected=bare)
    if bare == 0:
        return decision
    left = max(0.0, partial_s - sight.partial_for)
    if reached(plan, sight.price):
        action: Action = Cut(f"{sight.price} is at the stop")
    elif left == 0:
        action = Cut(f"it is filled in part for {partial_s:g} s", again=True)
    else:
        note = f"the legs wait for the rest of the entry, which is canceled in {left:.0f} s"
        return replace(decision, note=note)
    if sight.since_cut < CUT_AGAIN_S:
        return replace(decision, note="the rest of the entry is being canceled")
    return replace(decision, action=action, note="the rest of the entry is being canceled")


def _exposed(plan: Plan, sight: Sight, bare: Decimal) -> Decision:
    decision = Decision(plan=plan, phase=TrailPhase.EXPOSED, unprotected=bare)
    underway = sight.underway
    if underway is not None and underway.state is OrderState.UNKNOWN:
        note = f"it is not known whether the broker has {underway.client_order_id}; settle it"
        return replace(decision, note=note)
    if underway is not None and not underway.state.is_final and not _is_among(underway, sight):
        return replace(decision, note="protection is being sent")
    if (why := _wanted(plan, sight)) is not None:
        if sight.exposed_for < SETTLE_S:
            return replace(decision, note=why, settling=True)
        return _ended(plan, why, bare)
    if sight.trading_state is TradingState.HALTED:
        return replace(decision, note="trading is HALTED, nothing is sent: resume or flatten")
    if sight.blocked is not None:
        return replace(decision, note=f"nothing is sent: {sight.blocked}")
    free = plan.sign * sight.held - sight.reserved
    free -= sum((_open(stop) for stop in sight.stops), _ZERO)
    qty = min(bare, free)
    if qty <= 0:
        return replace(decision, note="other orders hold the shares; cancel them")
    pause = RETRY_S[min(sight.attempts, len(RETRY_S) - 1)]
    if sight.since_attempt < pause:
        return replace(decision, note="protection is sent again in a moment")
    at_market = reached(plan, sight.price)
    return replace(decision, action=Protect(qty, at_market), note="protection is being sent")


def _is_among(order: OrderView, sight: Sight) -> bool:
    """Whether it, or its leg, is one of the stops at work."""
    return any(order.client_order_id in (s.client_order_id, s.parent) for s in sight.stops)


def _wanted(plan: Plan, sight: Sight) -> str | None:
    """Why the missing stop is missed by nobody; None where it has to be replaced."""
    if plan.released:
        return f"its legs were taken in hand: {plan.released}"
    if sight.lost is OrderState.EXPIRED:
        return "its legs expired with the day (gtc ones stay)"
    if plan.live and sight.lost is OrderState.CANCELED:
        return "its stop was canceled elsewhere"
    return None


def _closed(plan: Plan, sight: Sight) -> Decision:
    if sight.filled <= sight.exited:
        return _ended(
            plan, "its shares are sold" if plan.sign > 0 else "its shares are bought back"
        )
    if sight.exposed_for < SETTLE_S:
        return Decision(plan=plan, phase=TrailPhase.TRAILING, note="nothing of it is held")
    return _ended(plan, "nothing of it is held any more")


def _trailing(plan: Plan, sight: Sight, every_s: float) -> Decision:
    decision = Decision(plan=plan, phase=TrailPhase.TRAILING)
    underway = sight.underway
    if underway is not None and underway.state is OrderState.UNKNOWN:
        return replace(decision, note="it is not known whether its last move arrived; settle it")
    if underway is not None and underway.state is OrderState.SENDING:
        return decision
    if not sight.market_open:
        return replace(decision, note="the market is closed")
    if sight.trading_state is TradingState.HALTED:
        return replace(decision, note="trading is HALTED, so the stop stays")
    if sight.blocked is not None:
        return replace(decision, note=f"the stop stays: {sight.blocked}")
    if sight.price is None:
        return replace(decision, note="no fresh price, so the stop stays")
    worst = sight.stops[0]
    for stop in sight.stops[1:]:
        if plan.sign * ((stop.stop_price or _ZERO) - (worst.stop_price or _ZERO)) < 0:
            worst = stop
    if worst.stop_price is None or sight.since_moved < every_s:
        return decision
    target = stop_for(plan, plan.high)
    # The broker takes no stop at or beyond the market: then as close to it as it does.
    nearest = sight.price - plan.sign * tick_of(sight.price)
    if plan.sign * (target - nearest) > 0:
        target = nearest
    gain = plan.sign * (target - worst.stop_price)
    if gain < max(tick_of(target), distance(plan, plan.high) * STEP_PART):
        return decision
    return replace(decision, action=Move(worst, target))
