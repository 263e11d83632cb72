"""The order state machine, drawn from its own table."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from console.engine.orders import (
    MOVES,
    RANK,
    STATUSES,
    OrderPayloadError,
    apply_payload,
    may_move,
    moved,
    open_qty,
    order_from_payload,
    order_request,
    same_order,
)
from console.engine.state import OrderClass, OrderState, OrderType, OrderView, Side, TimeInForce

NOW = datetime(2013, 6, 3, 14, 0, tzinfo=UTC)
D = Decimal
S = OrderState


def order(state: OrderState = S.WORKING, **fields) -> OrderView:
    return OrderView(
        **{
            "client_order_id": "ours-1",
            "id": "theirs-1",
            "symbol": "IBM",
            "side": Side.BUY,
            "order_type": OrderType.LIMIT,
            "time_in_force": TimeInForce.DAY,
            "qty": D(100),
            "limit_price": D("182.50"),
            "state": state,
            "created_at": NOW,
            "updated_at": NOW,
        }
        | fields
    )


def payload(status: str, filled: str = "0", average: str | None = None, **fields) -> dict:
    return {
        "id": "theirs-1",
        "client_order_id": "ours-1",
        "symbol": "IBM",
        "side": "buy",
        "type": "limit",
        "order_type": "limit",
        "time_in_force": "day",
        "qty": "100",
        "limit_price": "182.5",
        "status": status,
        "filled_qty": filled,
        "filled_avg_price": average,
    } | fields


# -- the table -----------------------------------------------------------------------------------


def test_the_table_names_every_state():
    assert set(MOVES) == set(OrderState) == set(RANK)


@pytest.mark.parametrize(
    ("before", "after"), [(a, b) for a, moves in MOVES.items() for b in sorted(moves)], ids=str
)
def test_every_move_goes_forward(before, after):
    assert RANK[after] > RANK[before]


@pytest.mark.parametrize("before", OrderState, ids=str)
@pytest.mark.parametrize("after", OrderState, ids=str)
def test_an_order_moves_as_the_table_says_and_no_other_way(before, after):
    result = moved(order(before), after, at=NOW, reason="because")
    if after in MOVES[before]:
        assert (result.state, result.reason) == (after, "because")
    else:
        assert result == order(before)


def test_every_state_is_reached_from_an_intent():
    reached, edge = {S.INTENT}, {S.INTENT}
    while edge:
        edge = {after for before in edge for after in MOVES[before]} - reached
        reached |= edge
    assert reached == set(OrderState)


def test_what_has_ended_moves_only_to_filled():
    for state in OrderState:
        if state.is_final:
            assert MOVES[state] <= {S.FILLED}


def test_doubt_can_end_in_any_way_a_sent_order_can():
    assert MOVES[S.UNKNOWN] == MOVES[S.SENDING] - {S.REFUSED, S.UNKNOWN}


def test_nothing_but_sending_leads_into_doubt():
    assert [state for state in OrderState if may_move(state, S.UNKNOWN)] == [S.SENDING]


# -- the broker's words --------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "state"), STATUSES.items())
def test_each_status_of_the_broker_moves_an_order_that_was_sent(status, state):
    filled = "100" if state is S.FILLED else "40" if state is S.PARTIAL else "0"
    average = None if filled == "0" else "182.4"
    after = apply_payload(order(S.SENDING), payload(status, filled, average), at=NOW)
    assert after.state is state


def test_a_status_that_nobody_knows_changes_nothing_but_the_fills():
    after = apply_payload(order(S.WORKING), payload("teleported", "40", "182.4"), at=NOW)
    assert (after.state, after.filled_qty) == (S.WORKING, D(40))


def test_a_late_fill_after_cancel_still_counts():
    canceled = order(S.CANCELED, filled_qty=D(40), filled_avg_price=D("182.40"))
    late = apply_payload(canceled, payload("canceled", "70", "182.45"), at=NOW)
    assert (late.state, late.filled_qty, late.filled_avg_price) == (S.CANCELED, D(70), D("182.45"))
    rest = apply_payload(late, payload("filled", "100", "182.46"), at=NOW)
    assert (rest.state, rest.filled_qty) == (S.FILLED, D(100))


def test_an_old_message_neither_takes_fills_back_nor_the_state():
    partial = order(S.PARTIAL, filled_qty=D(70), filled_avg_price=D("182.45"))
    assert apply_payload(partial, payload("new"), at=NOW) == partial
    assert apply_payload(partial, payload("partially_filled", "40", "182.4"), at=NOW) == partial


def test_a_cancel_asked_for_leaves_a_partly_filled_order_partial():
    partial = order(S.PARTIAL, filled_qty=D(70), filled_avg_price=D("182.45"))
    after = apply_payload(partial, payload("pending_cancel", "70", "182.45"), at=NOW)
    assert after.state is S.PARTIAL


def test_a_rejection_says_why():
    after = apply_payload(order(S.ACK), payload("rejected", reject_reason="halted"), at=NOW)
    assert (after.state, after.reason) == (S.REJECTED, "halted")


def test_a_person_who_settled_wrongly_is_corrected_by_the_fill():
    settled = order(S.REJECTED, reason="settled by keyboard")
    after = apply_payload(settled, payload("filled", "100", "182.4"), at=NOW)
    assert after.state is S.FILLED


_messages = st.lists(
    st.tuples(st.sampled_from(sorted(STATUSES)), st.integers(0, 10)), min_size=1, max_size=12
)


@given(_messages, st.sampled_from([s for s in OrderState if s not in (S.INTENT, S.REFUSED)]))
def test_no_order_of_messages_ever_goes_back(messages, start):
    current = order(start)
    for status, tens in messages:
        after = apply_payload(
            current, payload(status, str(tens * 10), "182.4" if tens else None), at=NOW
        )
        assert RANK[after.state] >= RANK[current.state]
        assert after.filled_qty == max(current.filled_qty, D(tens * 10))
        current = after


@given(_messages, st.randoms(use_true_random=False))
def test_doubled_and_shuffled_messages_count_every_share_once(messages, random):
    shuffled = [*messages, *messages]
    random.shuffle(shuffled)
    current = order(S.ACK)
    for status, tens in shuffled:
        current = apply_payload(current, payload(status, str(tens * 10), "182.4"), at=NOW)
    assert current.filled_qty == D(max(tens for _, tens in messages) * 10)
    if current.filled_qty == D(100):
        assert current.state is S.FILLED


# -- payloads ------------------------------------------------------------------------------------


def test_an_order_made_elsewhere_is_read_whole():
    made = order_from_payload(
        payload("partially_filled", "40", "182.4", client_order_id="x", trail_percent=None), at=NOW
    )
    assert (made.source, made.state, made.filled_qty) == ("external", S.PARTIAL, D(40))
    assert (made.qty, made.limit_price, made.id) == (D(100), D("182.5"), "theirs-1")


@pytest.mark.parametrize("broken", [{"id": None}, {"symbol": ""}, {"side": "sideways"}])
def test_an_order_that_lacks_what_an_order_has_is_refused(broken):
    with pytest.raises(OrderPayloadError):
        order_from_payload(payload("new") | broken, at=NOW)


def test_numbers_are_taken_as_text_int_or_decimal_and_never_as_nan():
    for qty in ("100", 100, D(100), "100.000000000"):
        assert same_order(order(), payload("new", qty=qty))
    assert apply_payload(order(), payload("new", filled_qty="NaN"), at=NOW).filled_qty == 0


@pytest.mark.parametrize(
    "other", [{"qty": "101"}, {"side": "sell"}, {"symbol": "BAC"}, {"limit_price": "182.51"}]
)
def test_another_order_under_our_id_is_told_apart(other):
    assert not same_order(order(), payload("new", **other))


@pytest.mark.parametrize("trail", [{"trail_percent": D(1)}, {"trail_price": D("1.80")}])
def test_a_trailing_stop_is_ours_wherever_the_broker_has_put_its_stop(trail):
    ours = order(order_type=OrderType.TRAILING_STOP, limit_price=None, **trail)
    theirs = payload("new", limit_price=None, order_type="trailing_stop", type="trailing_stop")
    theirs |= {"stop_price": "180.18", "hwm": "182", "trail_price": "1.8", "trail_percent": "1"}
    assert same_order(ours, theirs)
    (name,) = trail
    assert not same_order(ours, theirs | {name: "2"})
    assert not same_order(ours, theirs | {"qty": "7"})


def test_open_quantity_is_what_may_still_be_filled():
    assert open_qty(order(S.PARTIAL, filled_qty=D(40))) == D(60)
    assert open_qty(order(S.UNKNOWN)) == D(100)
    assert open_qty(order(S.CANCELED, filled_qty=D(40))) == 0


def test_the_request_carries_numbers_as_text_and_levels_of_a_bracket():
    bracket = replace(order(), order_class=OrderClass.BRACKET, qty=D("1E+2"))
    assert order_request(bracket, D("190"), D("180")) == {
        "client_order_id": "ours-1",
        "symbol": "IBM",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "qty": "100",
        "limit_price": "182.50",
        "order_class": "bracket",
        "take_profit": {"limit_price": "190"},
        "stop_loss": {"stop_price": "180"},
    }
