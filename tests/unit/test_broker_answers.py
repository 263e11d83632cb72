"""What an HTTP answer means, as a table."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.broker import answers
from console.broker.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerNotFound,
    BrokerRateLimited,
    BrokerRefused,
    BrokerUnavailable,
    DuplicateOrderId,
    OutcomeUnknown,
)


def body(code: int | None, message: str) -> bytes:
    return json.dumps({"code": code, "message": message} if code else {"message": message}).encode()


TABLE: list[tuple[int, bytes, type[BrokerError], type[BrokerError]]] = [
    # status, body, failure of a request that changes something, failure of a read
    (301, b"", OutcomeUnknown, BrokerUnavailable),
    (400, body(40010000, "bad request"), BrokerRefused, BrokerRefused),
    (401, body(None, "unauthorized."), BrokerAuthError, BrokerAuthError),
    (401, body(40110000, "request is not authorized"), BrokerAuthError, BrokerAuthError),
    (403, body(None, "forbidden."), BrokerAuthError, BrokerAuthError),
    (403, b"", BrokerAuthError, BrokerAuthError),
    (403, body(40310000, "insufficient")[:20], OutcomeUnknown, BrokerUnavailable),
    (403, b"<html>denied by the firewall</html>", OutcomeUnknown, BrokerUnavailable),
    (403, body(40310000, "insufficient buying power"), BrokerRefused, BrokerRefused),
    (404, body(40410000, "order not found"), BrokerNotFound, BrokerNotFound),
    (404, b"404 page not found", BrokerNotFound, BrokerNotFound),
    (405, b"", BrokerRefused, BrokerRefused),
    (408, b"", OutcomeUnknown, BrokerUnavailable),
    (422, body(40010001, "client_order_id must be unique"), DuplicateOrderId, DuplicateOrderId),
    (422, body(40010001, "qty must be > 0"), BrokerRefused, BrokerRefused),
    (422, body(42210000, "order is not cancelable"), BrokerRefused, BrokerRefused),
    (429, body(42910000, "rate limit exceeded"), BrokerRateLimited, BrokerRateLimited),
    (500, body(50010000, "internal server error"), OutcomeUnknown, BrokerUnavailable),
    (502, b"<html>bad gateway</html>", OutcomeUnknown, BrokerUnavailable),
    (503, b"", OutcomeUnknown, BrokerUnavailable),
    (504, b"", OutcomeUnknown, BrokerUnavailable),
]


@pytest.mark.parametrize(("status", "content", "changing", "reading"), TABLE)
def test_a_status_has_its_failure(
    status: int, content: bytes, changing: type[BrokerError], reading: type[BrokerError]
) -> None:
    for changes, kind in ((True, changing), (False, reading)):
        error = answers.refusal(status, {}, content, changes=changes)
        assert type(error) is kind
        assert error.status == status
        assert error.message
        assert "<" not in error.message


@given(st.integers(300, 599), st.binary(max_size=60), st.booleans())
def test_no_answer_breaks_the_reader(status: int, content: bytes, changes: bool) -> None:
    error = answers.refusal(
        status, {"Date": "nonsense", "Retry-After": "x"}, content, changes=changes
    )
    assert isinstance(error, BrokerError)
    assert error.message.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b'{"code":"40310000","message":"text for a code"}',
        b'{"code":true,"message":["no text"]}',
        b'{"code":null}',
        b'"only text"',
        b"[]",
        b"\xff\xfe",
    ],
)
def test_odd_bodies_of_refusals_are_read_as_far_as_they_go(content: bytes) -> None:
    error = answers.refusal(422, {}, content, changes=True)
    assert type(error) is BrokerRefused
    assert error.code is None


def test_a_message_is_one_short_harmless_line() -> None:
    error = answers.refusal(422, {}, body(1, "a\x1b[31m\r\nb\u202ec" + "x" * 5_000), changes=True)
    assert error.message.startswith("a [31m b c")
    assert len(error.message) == 300


def test_keys_are_blotted_out_of_what_the_broker_echoes() -> None:
    error = answers.refusal(
        422,
        {},
        body(1, "key PKABCDEF secret topsecret"),
        changes=True,
        secrets=["topsecret", "PKABCDEF"],
    )
    assert error.message == "key *** secret ***"
    assert "topsecret" not in error.body


DATE = "Tue, 24 Nov 2026 10:00:00 GMT"
NOW = 1795514400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 3.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.1),
        ({"Retry-After": "-5"}, 0.1),
        ({"Retry-After": "9999"}, 60.0),
        ({"Retry-After": "nan"}, 3.0),
        ({"Retry-After": "soon"}, 3.0),
        ({"X-RateLimit-Reset": str(NOW + 20), "Date": DATE}, 21.0),
        ({"X-RateLimit-Reset": str(NOW - 100), "Date": DATE}, 0.1),
        ({"X-RateLimit-Reset": "1e400", "Date": DATE}, 3.0),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], seconds: float) -> None:
    assert answers.retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("17", 17), ("0", 0), (None, None), ("", None), ("many", None), ("nan", None)],
)
def test_how_many_are_left(text: str | None, value: int | None) -> None:
    headers = {} if text is None else {"X-RateLimit-Remaining": text}
    assert answers.remaining(headers) == value


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=9, min_value=-(10**9), max_value=10**9
    )
)
def test_every_decimal_is_read_exactly(value: Decimal) -> None:
    read = answers.parse(b'{"v":%s}' % format(value, "f").encode())["v"]
    assert read == value
    assert not isinstance(read, float)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b'"\xff"', b"[" * 9_999]
)
def test_what_is_no_json_is_unreadable(content: bytes) -> None:
    with pytest.raises(answers.UnreadableError):
        answers.parse(content)


@pytest.mark.parametrize(("content", "shape"), [(b"[]", dict), (b"{}", list), (b"null", dict)])
def test_the_wrong_shape_is_unreadable(content: bytes, shape: Any) -> None:
    with pytest.raises(answers.UnreadableError):
        answers.parse(content, shape)
