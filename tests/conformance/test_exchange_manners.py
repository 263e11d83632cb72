"""What no client of Alpaca's sends, and what it would be refused: always JSON, never a hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.asking import Api, raw

KEYS = b"APCA-API-KEY-ID: PKMANNERS\r\nAPCA-API-SECRET-KEY: s\r\n"
END = b"Connection: close\r\n\r\n"
ORDER = b'{"symbol":"IBM","qty":1,"side":"buy","type":"market","time_in_force":"day"}'


@pytest.fixture(scope="module")
def port(make_exchange_once: Callable[..., Any]) -> int:
    exchange = make_exchange_once(paused=True, start="2013-10-07T14:00:00Z")
    return int(exchange.port)


def request(method: bytes, path: bytes, body: bytes = b"", more: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n".encode()
    line = method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n"
    return line + KEYS + more + length + END + body


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (request(b"GET", b"/v2/assets/%FF"), 404, 40410000),
        (request(b"GET", b"/v2/orders/%C3%28?nested=true"), 404, 40410000),
        (request(b"GET", b"/v2/stocks/%FF/bars?timeframe=1Min"), 404, 40410000),
        (request(b"GET", b"/%00"), 404, 40410000),
        (request(b"GET", b"/v2/assets/" + b"x" * 5000), 404, 40410000),
        (request(b"GET", b"/v2/account", more=b"X-A: 1\r\n" * 1000), 431, 43110000),
        (request(b"GET", b"/v2/account", more=b"X-A: 1\r\n" * 4000), 431, 43110000),
        (request(b"POST", b"/v2/orders"), 400, 40010000),
        (request(b"POST", b"/v2/orders", b"symbol=IBM&qty=1"), 400, 40010000),
        (request(b"POST", b"/v2/orders", b"[1]"), 400, 40010000),
        (request(b"POST", b"/v2/orders", b'{"symbol":"IBM"'), 400, 40010000),
        (request(b"POST", b"/v2/orders", b"\xff\xfe"), 400, 40010000),
        (request(b"POST", b"/v2/orders", b" " * (10 << 20)), 413, 41310000),
        (request(b"GET", b"/v2/account", b" " * (10 << 20)), 413, 41310000),
        (request(b"GET", b"/stream"), 400, None),
        (request(b"PATCH", b"/v2/clock"), 404, 40410000),
        (request(b"BREW", b"/v2/account"), 404, 40410000),
        (request(b"GET", b"/v2/options/contracts"), 404, 40410000),
        (request(b"GET", b"/v1beta1/news"), 404, 40410000),
        (request(b"GET", b"/index.html"), 404, 40410000),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_it_is_refused_in_alpacas_form(
    port: int, sent: bytes, status: int, code: int | None
) -> None:
    got, headers, body = raw(port, sent)
    assert got == status, body
    assert headers["content-type"] == "application/json"
    assert len(headers["x-request-id"]) == 32
    assert isinstance(body, dict), body
    assert isinstance(body["message"], str)
    assert code is None or body["code"] == code


def test_a_body_in_pieces_is_refused_when_it_grows_too_large(port: int) -> None:
    head = (
        b"POST /v2/orders HTTP/1.1\r\nHost: x\r\n" + KEYS + b"Transfer-Encoding: chunked\r\n" + END
    )
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    status, _, body = raw(port, head + piece * 160 + b"0\r\n\r\n")
    assert (status, body["code"]) == (413, 41310000)


@pytest.mark.parametrize(
    "kind", [b"", b"text/plain", b"application/x-www-form-urlencoded", b"\xff"]
)
def test_json_is_understood_whatever_it_is_called(port: int, kind: bytes) -> None:
    more = b"Content-Type: " + kind + b"\r\n" if kind else b""
    status, _, body = raw(port, request(b"POST", b"/v2/orders", ORDER, more))
    assert (status, body["status"]) == (200, "pending_new")


def test_unknown_fields_are_passed_over_and_wrong_types_named(port: int) -> None:
    extra = ORDER[:-1] + b',"colour":"blue"}'
    assert raw(port, request(b"POST", b"/v2/orders", extra))[0] == 200
    for wrong, name in [
        (ORDER.replace(b'"IBM"', b"7"), "symbol"),
        (ORDER.replace(b":1,", b":[1],"), "qty"),
        (ORDER.replace(b":1,", b":1e400,"), "qty"),
        (ORDER.replace(b":1,", b':"NaN",'), "qty"),
        (ORDER[:-1] + b',"extended_hours":"yes"}', "extended_hours"),
        (ORDER[:-1] + b',"take_profit":1}', "take_profit"),
    ]:
        status, _, body = raw(port, request(b"POST", b"/v2/orders", wrong))
        assert (status, body["code"]) == (422, 40010001)
        assert name in body["message"]


@pytest.fixture
def api(make_exchange: Callable[..., Any]) -> Api:
    exchange = make_exchange(paused=True, rate_limit=200, start="2013-10-07T14:00:00Z")
    return Api(exchange.url)


def test_a_key_may_ask_two_hundred_times_a_minute(api: Api) -> None:
    left = [api.answer("GET", "/v2/clock") for _ in range(201)]
    # The minute may have turned once on the way.
    refused = [answer for answer in left if answer.status_code == 429] or [
        answer for answer in (api.answer("GET", "/v2/clock") for _ in range(201))
        if answer.status_code == 429
    ]  # fmt: skip
    assert refused[0].json()["code"] == 42910000
    assert refused[0].headers["X-RateLimit-Limit"] == "200"
    assert refused[0].headers["X-RateLimit-Remaining"] == "0"
    assert int(refused[0].headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert {answer.headers["X-RateLimit-Limit"] for answer in left} == {"200"}
    assert Api(api.url, "PKCALM").answer("GET", "/v2/clock").status_code == 200
