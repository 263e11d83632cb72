"""A trailing leg's decisions, without an engine: a table of situations, and what never happens."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from console.engine.commands import Level
from console.engine.state import (
    OrderState,
    OrderType,
    OrderView,
    Side,
    TimeInForce,
    TradingState,
    TrailPhase,
)
from console.engine.trail import (
    RETRY_S,
    SETTLE_S,
    Cut,
    Decision,
    End,
    Move,
    Plan,
    Protect,
    Sight,
    decide,
    distance,
    new_plan,
    reached,
    stop_for,
)
from console.engine.trailvoice import in_words

D = Decimal
S = OrderState
P = TrailPhase
NOW = datetime(2013, 10, 7, 14, 0, tzinfo=UTC)


def order(name: str = "entry", side: Side = Side.BUY, **fields: Any) -> OrderView:
    given_ = {
        "client_order_id": name,
        "id": f"theirs-{name}",
        "symbol": "IBM",
        "side": side,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.DAY,
        "qty": D(100),
        "limit_price": D("182.50"),
        "state": S.WORKING,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return OrderView(**(given_ | fields))


def plan(**fields: Any) -> Plan:
    level = Level(trail_percent=D(1))
    made = new_plan(
        entry=order(), level=level, price=D("182.50"), touch=None, take_profit=D("186.15")
    )
    return replace(made, **fields)


def stop(price: str = "180.67", **fields: Any) -> OrderView:
    return order(
        fields.pop("name", "stop"),
        Side.SELL,
        order_type=OrderType.STOP,
        limit_price=None,
        stop_price=D(price),
        parent="entry",
        **({"state": S.HELD} | fields),
    )


FILLED = order(state=S.FILLED, filled_qty=D(100), filled_avg_price=D("182.50"))
PARTIAL = order(state=S.PARTIAL, filled_qty=D(40), filled_avg_price=D("182.50"))
CUT = replace(PARTIAL, state=S.CANCELED)
HELD = {"filled": D(100), "held": D(100)}
PART = {"filled": D(40), "held": D(40)}
RESTING = {"entry": FILLED, "stops": (stop(),), **HELD}


def decided(sight: dict[str, Any], of: Plan | None = None) -> Decision:
    return decide(of or plan(), Sight(**sight), every_s=1.0, partial_s=3.0)


MOVE = Move(stop(), D("181.17"))
TABLE: dict[str, tuple[dict[str, Any], Plan | None, TrailPhase, Any]] = {
    "the entry waits": ({"entry": order()}, None, P.WAITING, None),
    "the entry is in doubt": ({"entry": order(state=S.UNKNOWN)}, None, P.WAITING, None),
    "killed before the entry was sent": ({"entry": None}, None, P.ENDED, End),
    "the entry is refused": ({"entry": order(state=S.REJECTED)}, None, P.ENDED, End),
    "the entry is canceled unfilled": ({"entry": order(state=S.CANCELED)}, None, P.ENDED, End),
    "filled in part, a moment ago": (
        {"entry": PARTIAL, **PART, "partial_for": 1.0, "price": D(182)}, None, P.PARTIAL, None),
    "filled in part for long": (
        {"entry": PARTIAL, **PART, "partial_for": 3.0, "price": D(182)}, None, P.PARTIAL, Cut),
    "filled in part, and the stop is reached": (
        {"entry": PARTIAL, **PART, "price": D("180.67")}, None, P.PARTIAL, Cut),
    "filled in part, without a price": (
        {"entry": PARTIAL, **PART, "partial_for": 3.0}, None, P.PARTIAL, Cut),
    "filled in part while halted: a cancel passes": (
        {"entry": PARTIAL, **PART, "partial_for": 3.0, "trading_state": TradingState.HALTED},
        None, P.PARTIAL, Cut),
    "the cancel was asked for just now": (
        {"entry": PARTIAL, **PART, "partial_for": 4.0, "since_cut": 1.0}, None, P.PARTIAL, None),
    "cut, and the legs hold what was bought": (
        {"entry": CUT, "stops": (stop(qty=D(40)),), **PART}, None, P.TRAILING, None),
    "filled, no fresh price": (RESTING, None, P.TRAILING, None),
    "no better price": (RESTING | {"price": D(182)}, None, P.TRAILING, None),
    "a better price, by less than a step": (
        RESTING | {"price": D("182.55")}, None, P.TRAILING, None),
    "a better price": (RESTING | {"price": D(183)}, None, P.TRAILING, MOVE),
    "it was moved a moment ago": (
        RESTING | {"price": D(183), "since_moved": 0.5}, None, P.TRAILING, None),
    "the market is closed": (
        RESTING | {"price": D(183), "market_open": False}, None, P.TRAILING, None),
    "halted": (
        RESTING | {"price": D(183), "trading_state": TradingState.HALTED},
        None, P.TRAILING, None),
    "reducing": (
        RESTING | {"price": D(183), "trading_state": TradingState.REDUCING},
        None, P.TRAILING, MOVE),
    "not reconciled": (RESTING | {"price": D(183), "blocked": "not yet"}, None, P.TRAILING, None),
    "the last move is on its way": (
        RESTING | {"price": D(183), "underway": stop(name="next", state=S.SENDING)},
        None, P.TRAILING, None),
    "the last move is in doubt": (
        RESTING | {"price": D(183), "underway": stop(name="next", state=S.UNKNOWN)},
        None, P.TRAILING, None),
    "the last move was refused": (
        RESTING | {"price": D(183), "underway": stop(name="next", state=S.REJECTED)},
        None, P.TRAILING, MOVE),
    "it fell below the stop, and the broker has not seen it": (
        RESTING | {"price": D("180.20")}, plan(high=D(183)), P.TRAILING, None),
    "it fell back below where the stop belongs": (
        RESTING | {"price": D(181)}, plan(high=D(183)), P.TRAILING, Move(stop(), D("180.99"))),
    "two stops: the one that lags is moved": (
        RESTING | {"stops": (stop("181.17", name="a", qty=D(60)), stop(qty=D(40))),
                   "price": D(183)},
        None, P.TRAILING, Move(stop(qty=D(40)), D("181.17"))),
    "the legs went with the entry": (
        {"entry": CUT, **PART, "lost": S.CANCELED, "price": D(182)},
        None, P.EXPOSED, Protect(D(40), at_market=False)),
    "the legs were rejected": (
        {"entry": FILLED, **HELD, "lost": S.REJECTED, "price": D(182)},
        plan(live=True), P.EXPOSED, Protect(D(100), at_market=False)),
    "exposed, and the stop is reached": (
        {"entry": FILLED, **HELD, "price": D(180)},
        None, P.EXPOSED, Protect(D(100), at_market=True)),
    "a stop covers a part": (
        {"entry": FILLED, "stops": (stop(qty=D(60)),), **HELD},
        None, P.EXPOSED, Protect(D(40), at_market=False)),
    "less is held than was bought": (
        {"entry": FILLED, "filled": D(100), "held": D(30)},
        None, P.EXPOSED, Protect(D(30), at_market=False)),
    "others sell some of it": (
        {"entry": FILLED, **HELD, "reserved": D(70)},
        None, P.EXPOSED, Protect(D(30), at_market=False)),
    "others sell all of it": (
        {"entry": FILLED, **HELD, "reserved": D(100)}, None, P.EXPOSED, None),
    "exposed while halted": (
        {"entry": FILLED, **HELD, "trading_state": TradingState.HALTED}, None, P.EXPOSED, None),
    "exposed while reducing": (
        {"entry": FILLED, **HELD, "trading_state": TradingState.REDUCING},
        None, P.EXPOSED, Protect(D(100), at_market=False)),
    "exposed and not ready": (
        {"entry": FILLED, **HELD, "blocked": "not yet"}, None, P.EXPOSED, None),
    "protection is on its way": (
        {"entry": FILLED, **HELD, "underway": stop(name="p", state=S.SENDING)},
        None, P.EXPOSED, None),
    "protection is acknowledged": (
        {"entry": FILLED, **HELD, "underway": order("p", Side.SELL, state=S.ACK)},
        None, P.EXPOSED, None),
    "protection is in doubt": (
        {"entry": FILLED, **HELD, "underway": stop(name="p", state=S.UNKNOWN)},
        None, P.EXPOSED, None),
    "protection was refused, a moment ago": (
        {"entry": FILLED, **HELD, "underway": stop(name="p", state=S.REJECTED),
         "attempts": 2, "since_attempt": 1.0}, None, P.EXPOSED, None),
    "protection was refused, a while ago": (
        {"entry": FILLED, **HELD, "underway": stop(name="p", state=S.REJECTED),
         "attempts": 2, "since_attempt": RETRY_S[2]},
        None, P.EXPOSED, Protect(D(100), at_market=False)),
    "a hand cancels the legs": (
        {"entry": FILLED, **HELD, "lost": S.CANCELED}, plan(released="cli"), P.EXPOSED, None),
    "a hand canceled the legs": (
        {"entry": FILLED, **HELD, "lost": S.CANCELED, "exposed_for": SETTLE_S},
        plan(released="cli"), P.ENDED, End),
    "another program canceled the legs": (
        {"entry": FILLED, **HELD, "lost": S.CANCELED, "exposed_for": SETTLE_S},
        plan(live=True), P.ENDED, End),
    "the legs expired": (
        {"entry": FILLED, **HELD, "lost": S.EXPIRED, "exposed_for": SETTLE_S},
        None, P.ENDED, End),
    "the stop was filled": (
        {"entry": FILLED, "filled": D(100), "exited": D(100), "lost": S.FILLED},
        plan(live=True), P.ENDED, End),
    "the profit leg filled a part": (
        RESTING | {"exited": D(40), "held": D(60), "price": D(182)}, None, P.TRAILING, None),
    "the position was closed otherwise": (
        {"entry": FILLED, "filled": D(100), "held": D(0), "exposed_for": SETTLE_S},
        None, P.ENDED, End),
    "the kill switch": (RESTING | {"flattening": True}, None, P.ENDED, End),
    "the kill switch, nothing filled": (
        {"entry": order(), "flattening": True}, None, P.WAITING, None),
}  # fmt: skip


@pytest.mark.parametrize("situation", TABLE)
def test_in_each_situation_one_thing_is_done(situation: str) -> None:
    sight, of, phase, action = TABLE[situation]
    decision = decided(sight, of)
    assert decision.phase is phase
    if isinstance(action, type):
        assert isinstance(decision.action, action)
    else:
        assert decision.action == action


def mirrored_price(price: Decimal | None) -> Decimal | None:
    return None if price is None else 2 * D("182.50") - price


def mirrored(one: OrderView | None) -> OrderView | None:
    if one is None:
        return None
    return replace(
        one,
        side=Side.SELL if one.side is Side.BUY else Side.BUY,
        stop_price=mirrored_price(one.stop_price),
    )


@pytest.mark.parametrize("situation", TABLE)
def test_a_short_entry_is_the_mirror_of_a_long_one(situation: str) -> None:
    sight, of, _, _ = TABLE[situation]
    by_amount = {"trail_percent": None, "trail_price": D("1.83")}
    long = replace(of or plan(), **by_amount)
    short = replace(
        long,
        side=Side.SELL,
        high=mirrored_price(long.high),
        stop=mirrored_price(long.stop),
        take_profit=mirrored_price(long.take_profit),
    )
    other = sight | {
        "entry": mirrored(sight["entry"]),
        "stops": tuple(mirrored(s) for s in sight.get("stops", ())),
        "underway": mirrored(sight.get("underway")),
        "held": -sight.get("held", D(0)),
        "price": mirrored_price(sight.get("price")),
    }
    one, two = decided(sight, long), decided(other, short)
    assert (one.phase, type(one.action), one.unprotected) == (
        two.phase, type(two.action), two.unprotected,
    )  # fmt: skip
    if isinstance(one.action, Move):
        assert isinstance(two.action, Move)
        assert two.action.stop == mirrored_price(one.action.stop)


@pytest.mark.parametrize(
    ("side", "price", "touch", "stop_at"),
    [
        (Side.BUY, "182.50", None, "180.67"),
        (Side.BUY, "182.50", ("182.30", "182.33"), "180.50"),
        (Side.BUY, "182.50", ("182.90", "182.95"), "180.67"),
        (Side.SELL, "182.50", None, "184.33"),
        (Side.SELL, "182.50", ("182.90", "182.95"), "184.73"),
    ],
    ids=["limit", "crosses the ask", "rests", "short", "crosses the bid"],
)
def test_the_first_stop_is_reckoned_from_what_is_paid(side, price, touch, stop_at) -> None:
    made = new_plan(
        entry=order(side=side),
        level=Level(trail_percent=D(1)),
        price=D(price),
        touch=None if touch is None else (D(touch[0]), D(touch[1])),
        take_profit=None,
    )
    assert made.stop == D(stop_at)


def test_a_trigger_is_not_what_crosses() -> None:
    made = new_plan(
        entry=order(order_type=OrderType.STOP, limit_price=None, stop_price=D(183)),
        level=Level(trail_price=D(1)),
        price=D(183),
        touch=(D(182), D("182.05")),
        take_profit=None,
    )
    assert made.stop == D(182)


@pytest.mark.parametrize(
    ("level", "price", "words"),
    [
        (Level(trail_price=D(200)), D("182.50"), "no price above zero"),
        (Level(trail_percent=D(1)), None, "needs a quote"),
    ],
)
def test_what_can_be_no_stop_is_refused(level: Level, price: Decimal | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        new_plan(entry=order(), level=level, price=price, touch=None, take_profit=None)


def test_a_stop_moved_back_by_hand_trails_on_from_there() -> None:
    sight = RESTING | {"stops": (stop("179.00"),), "price": D("180.50")}
    moved_back = decided(sight, plan(live=True))
    assert moved_back.plan.stop == D("179.00")
    assert moved_back.plan.high < D(181)
    assert moved_back.action is None


@pytest.mark.parametrize(
    ("sight", "of", "words"),
    [
        ({"entry": order()}, None,
         "take profit 186.15: waits at the broker · "
         "trailing stop 1 %: engine, the stop 180.67 waits at the broker"),
        (RESTING | {"price": D("183.03")}, None,
         "take profit 186.15: at the broker · "
         "trailing stop 1 %: engine, now 180.67, high 183.03"),
        ({"entry": PARTIAL, **PART, "partial_for": 1.0}, None,
         "UNPROTECTED 40 IBM · take profit 186.15: at the broker · "
         "trailing stop 1 %: engine, now 180.67, high 182.50 · "
         "the legs wait for the rest of the entry, which is canceled in 2 s"),
        ({"entry": FILLED, **HELD, "trading_state": TradingState.HALTED}, plan(take_profit=None),
         "UNPROTECTED 100 IBM · trailing stop 1 %: engine, now 180.67, high 182.50 · "
         "trading is HALTED, nothing is sent: resume or flatten"),
        ({"entry": FILLED, **HELD, "lost": S.EXPIRED, "exposed_for": 9.0}, None,
         "trailing stop 1 %: ended, its legs expired with the day (gtc ones stay); "
         "UNPROTECTED 100 IBM"),
    ],
)  # fmt: skip
def test_it_says_who_manages_which_leg(sight, of, words) -> None:
    assert in_words(decided(sight, of)) == words


# -- what never happens ----------------------------------------------------------------------------

cents = st.integers(9_000, 27_000).map(lambda n: D(n) / 100)


class Broker:
    """A broker with one bracket: what it is told and what becomes of it, as a market would have it.

    Legs take hold when the entry is complete or ends; or, where `faithless`, they go with it.
    """

    def __init__(self, side: Side, trail: Level, *, faithless: bool) -> None:
        self.entry = order(side=side, state=S.WORKING, limit_price=D(180), filled_avg_price=D(180))
        self.plan = new_plan(
            entry=self.entry, level=trail, price=D(180), touch=None, take_profit=None
        )
        self.faithless = faithless
        self.stops: dict[str, OrderView] = {"leg": self._stop("leg", self.plan.stop, D(100))}
        self.lost: OrderState | None = None
        self.sold = D(0)
        self.sent = 0
        self.clock = 0.0
        self.cut_at = self.moved_at = self.tried_at = -99.0
        self.partial_at: float | None = None
        self.attempts = 0

    def _stop(self, name: str, price: Decimal, qty: Decimal) -> OrderView:
        return replace(stop(str(price), name=name, qty=qty), side=self.plan.exit_side, state=S.HELD)

    @property
    def live(self) -> bool:
        return self.entry.state.is_final

    def fill(self, qty: int) -> None:
        if self.entry.state.is_final:
            return
        filled = min(D(100), self.entry.filled_qty + qty)
        state = S.FILLED if filled == 100 else S.PARTIAL
        self.entry = replace(self.entry, filled_qty=filled, state=state)
        self._took_hold()

    def _took_hold(self) -> None:
        if not self.entry.state.is_final or "leg" not in self.stops:
            return
        if self.faithless or self.entry.filled_qty == 0:
            del self.stops["leg"]
            self.lost = S.CANCELED
        else:
            self.stops["leg"] = replace(self.stops["leg"], qty=self.entry.filled_qty)

    def held(self) -> Decimal:
        return self.entry.filled_qty - self.sold

    def trade(self, price: Decimal) -> None:
        for name, one in list(self.stops.items()):
            own = name == "leg"
            if (self.live or not own) and self.plan.sign * (price - one.stop_price) <= 0:
                self.sold += one.qty
                del self.stops[name]
                self.lost = S.FILLED

    def look(self, price: Decimal | None, *, accept: bool) -> Decision:
        partly = not self.entry.state.is_final and self.entry.filled_qty > 0
        self.partial_at = (self.partial_at or self.clock) if partly else None
        at_work = tuple(s for n, s in self.stops.items() if self.live or n != "leg")
        decision = decide(
            self.plan,
            Sight(
                entry=self.entry,
                filled=self.entry.filled_qty,
                exited=self.sold,
                stops=at_work,
                lost=None if at_work else self.lost,
                held=self.plan.sign * self.held(),
                price=price,
                partial_for=0.0 if self.partial_at is None else self.clock - self.partial_at,
                since_cut=self.clock - self.cut_at,
                since_moved=self.clock - self.moved_at,
                since_attempt=self.clock - self.tried_at,
                attempts=self.attempts,
            ),
            every_s=1.0,
            partial_s=3.0,
        )
        self.plan = decision.plan
        if accept:
            self.do(decision)
        return decision

    def do(self, decision: Decision) -> None:
        match decision.action:
            case Cut():
                self.cut_at = self.clock
                self.entry = replace(self.entry, state=S.CANCELED)
                self._took_hold()
            case Move(order=old, stop=price):
                self.moved_at = self.clock
                self.stops[old.client_order_id] = replace(old, stop_price=price)
            case Protect(qty=qty, at_market=at_market):
                self.tried_at, self.attempts = self.clock, self.attempts + 1
                self.sent += 1
                if at_market:
                    self.sold += qty
                else:
                    name = f"protection-{self.sent}"
                    self.stops[name] = self._stop(name, self.plan.stop, qty)


events = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.integers(1, 100)),
        st.tuples(st.just("trade"), cents),
        st.tuples(st.just("stale"), st.none()),
        st.tuples(st.just("refused"), cents),
        st.tuples(st.just("seen"), cents),
    ),
    max_size=40,
)
trails = st.one_of(
    st.integers(1, 40).map(lambda n: Level(trail_percent=D(n) / 4)),
    st.integers(1, 500).map(lambda n: Level(trail_price=D(n) / 100)),
)


@settings(max_examples=300)
@given(st.sampled_from(Side), trails, st.booleans(), events)
def test_whatever_happens_it_never_loosens_never_oversells_and_hides_nothing(
    side: Side, trail: Level, faithless: bool, happenings: list[tuple[str, Any]]
) -> None:
    broker = Broker(side, trail, faithless=faithless)
    best = broker.plan.stop
    for what, value in happenings:
        broker.clock += 1.0
        if what == "fill":
            broker.fill(value)
        elif what in ("trade", "refused"):
            broker.trade(value)
        stood = {name: s.stop_price for name, s in broker.stops.items()}
        price = value if what in ("trade", "refused", "seen") else None
        decision = broker.look(price, accept=what != "refused")
        for name, one in broker.stops.items():
            assert broker.plan.sign * (one.stop_price - stood.get(name, best)) >= 0
        best = max(best, broker.plan.stop) if broker.plan.sign > 0 else min(best, broker.plan.stop)
        assert broker.plan.stop == best
        assert sum(s.qty for n, s in broker.stops.items() if n != "leg" or broker.live) <= (
            broker.held()
        )
        assert broker.held() >= 0
        if broker.held() > 0:
            covered = sum(s.qty for n, s in broker.stops.items() if n != "leg" or broker.live)
            underway = isinstance(decision.action, Cut | Protect)
            assert covered == broker.held() or underway or decision.unprotected > 0
            assert decision.unprotected == 0 or "UNPROTECTED" in in_words(decision)
        if decision.phase is P.ENDED:
            break


@given(st.sampled_from(Side), trails, cents)
def test_a_stop_is_never_closer_than_asked_for(side: Side, trail: Level, high: Decimal) -> None:
    entry = order(side=side)
    made = new_plan(entry=entry, level=trail, price=D(180), touch=None, take_profit=None)
    at = stop_for(made, high)
    assert made.sign * (high - at) >= distance(made, high)
    assert made.sign * (high - at) - distance(made, high) < D("0.01")
    assert not reached(replace(made, stop=at), high)
