"""The bus's schema, held to the vectors that the Rust side is held to."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.bridge import messages
from console.bridge.messages import (
    BarUpdate,
    Heartbeat,
    MalformedError,
    MessageType,
    Position,
    QuoteUpdate,
    RiskUpdate,
    Signal,
    TradeUpdate,
    frame,
    parse,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "bus_messages.json").read_text("utf-8")
)


def raw(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["frame_hex"]) if "frame_hex" in vector else vector["frame"].encode()


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_every_valid_vector_is_read_as_it_says(vector: dict[str, Any]) -> None:
    topic, message = parse(raw(vector))
    assert topic == vector["topic"]
    for key, value in vector["message"].items():
        assert message[key] == value, key


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_every_invalid_vector_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse(raw(vector))


def test_the_vectors_are_many_and_of_every_type() -> None:
    seen = {vector["message"]["type"] for vector in VECTORS["valid"]}
    assert seen == {str(member) for member in MessageType}
    assert len(VECTORS["invalid"]) >= 30


SENT = [
    BarUpdate("AAPL", 150.0, 152.0, 149.0, 151.0, 1e6, 1234567890, vwap=150.5, trade_count=3),
    QuoteUpdate("IBM", 100.1, 200, 100.2, 300, 1),
    TradeUpdate("BRK.B", 195.0625, 100, 1),
    Heartbeat("test"),
    Signal("AAPL", "long", 0.8, 1_400_000_000_000_000_000, strategy="momentum", id="m-1"),
    Position(
        "IBM", Decimal("-1.5"), "short", Decimal("195.06"), Decimal("-292.59"), Decimal("1e-7"), 1
    ),
    RiskUpdate(*[Decimal("100000.00")] * 6, "REDUCING", 1, "daily loss"),
]


@pytest.mark.parametrize("sent", SENT, ids=messages.kind)
def test_a_message_comes_back_as_it_was_sent(sent: messages.Message) -> None:
    topic, message = parse(frame(sent, "market", 7, 9))
    assert (topic, message["type"], message["seq"], message["ts"]) == (
        "market",
        messages.kind(sent),
        7,
        9,
    )
    for name in sent.__struct_fields__:
        if name in ("seq", "ts"):
            continue
        value = getattr(sent, name)
        assert message[name] == (format(value, "f") if isinstance(value, Decimal) else value), name


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (BarUpdate("AAPL", math.nan, 1, 1, 1, 1, 1), "open"),
        (BarUpdate("AAPL", 1, math.inf, 1, 1, 1, 1), "high"),
        (BarUpdate("AAPL", 1, 1, -0.5, 1, 1, 1), "low"),
        (BarUpdate("AAPL", 1, 1, 1, 1, 1e14, 1), "volume"),
        (BarUpdate("AAPL", 1, 1, 1, 1, 1, -1), "timestamp"),
        (BarUpdate("aapl", 1, 1, 1, 1, 1, 1), "symbol"),
        (BarUpdate("AAPL", 1, 1, 1, 1, 1, 1, source="ä" * 600), "source"),
        (BarUpdate("AAPL", True, 1, 1, 1, 1, 1), "open"),
        (Position("IBM", Decimal("NaN"), "long", *[Decimal(1)] * 3, 1), "qty"),
    ],
)
def test_what_no_reader_would_take_is_not_sent(sent: messages.Message, field: str) -> None:
    with pytest.raises(MalformedError, match=field):
        frame(sent, "market", 1, 1)


@pytest.mark.parametrize(
    ("direction", "strength"), [("up", 0.5), ("long", 1.01), ("long", -0.1), ("long", math.nan)]
)
def test_a_signal_is_checked_when_it_is_made(direction: Any, strength: float) -> None:
    with pytest.raises(MalformedError):
        Signal("AAPL", direction, strength, 1)


@pytest.mark.parametrize("topic", ["", "two words", "ä", "x" * 65])
def test_a_topic_is_one_short_printable_word(topic: str) -> None:
    with pytest.raises(MalformedError, match="topic"):
        frame(Heartbeat("x"), topic, 1, 1)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for frame_bytes in (data, b"market " + data, b'market {"type":"Signal",' + data):
        try:
            parse(frame_bytes)
        except MalformedError:
            continue


@given(st.text(max_size=30))
def test_symbols_with_odd_characters_never_pass(symbol: str) -> None:
    body = json.dumps(
        {"type": "TradeUpdate", "symbol": symbol, "price": 1, "size": 1, "timestamp": 1}
    )
    if messages.is_symbol(symbol):
        assert parse(b"market " + body.encode())[1]["symbol"] == symbol
    else:
        with pytest.raises(MalformedError):
            parse(b"market " + body.encode())
