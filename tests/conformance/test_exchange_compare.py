"""The script that compares the exchange with Alpaca's paper account finds what differs, and only that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.asking import Api
from tests.conformance.compare import Both, differences, requests_of, shape


def test_shapes_differ_by_names_and_types_and_not_by_values() -> None:
    ours = {"id": "a", "qty": "1", "legs": [{"x": 1}], "hwm": None, "extra": 1}
    theirs = {"id": "b", "qty": 2, "legs": [{"x": 7}, {"y": 1}], "hwm": "3", "missing": []}
    assert list(differences(shape(ours), shape(theirs))) == [
        "/extra: only here", "/missing: only at Alpaca", "/qty: text here, number at Alpaca",
    ]  # fmt: skip


def test_two_exchanges_answer_the_same_to_all_of_it(
    make_exchange: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    start = "2013-10-07T14:00:00Z"
    urls = [make_exchange(paused=True, start=start, rate_limit=200).url for _ in range(2)]
    other = Api(urls[1], "PKOTHER")
    both = Both(Api(urls[0], "PKONE"), other, other)
    for method, path, body in requests_of("SPY"):
        both.ask(method, path, body)
    assert (both.different, capsys.readouterr().out) == (0, "")
    assert both.count > 30
    both.ask("GET", "/v2/clock", other="/v2/account")
    assert "next_open: only here" in capsys.readouterr().out
