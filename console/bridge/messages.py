"""The bus's messages: one frame `topic {json}`, the JSON tagged by `type`, flat.

`rust/common/src/messages.rs` is the same schema; `tests/vectors/bus_messages.json` holds both to
it. The classes below are for those who send; who receives gets the JSON itself as a dict, checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NotRequired, TypedDict, cast, get_type_hints

import msgspec
from msgspec import Meta, Struct

MARKET = "market"
SIGNAL = "signal"
ENGINE = "engine"
RISK = "risk"

MAX_FRAME = 1 << 20
MAX_SYMBOL = 16
MAX_TEXT = 1024
LARGEST = 1e13
"""No number in a message is larger; above it a float loses cents."""

_SYMBOL = re.compile(r"[A-Z0-9./-]{1,16}")
_TOPIC = re.compile(rb"[\x21-\x7e]{1,64}")
_EXACT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
_MAX_SEQ = (1 << 64) - 1
_KNOWN_AT_MOST = 100_000

Number = Annotated[float, Meta(ge=0, le=LARGEST)]
Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class MessageType(StrEnum):
    """The values of `type`."""

    BAR_UPDATE = "BarUpdate"
    QUOTE_UPDATE = "QuoteUpdate"
    TRADE_UPDATE = "TradeUpdate"
    HEARTBEAT = "Heartbeat"
    SIGNAL = "Signal"
    POSITION = "Position"
    RISK_UPDATE = "RiskUpdate"


class MalformedError(ValueError):
    """A frame that is no message of the schema, or a value that the bus doesn't carry."""


class Message(Struct, kw_only=True, frozen=True, tag_field="type"):
    """Base of all messages. `seq` and `ts` (wall clock, ns) are stamped by the publisher."""

    default_topic: ClassVar[str] = MARKET

    seq: Count = 0
    ts: Nanoseconds = 0


class BarUpdate(Message, tag="BarUpdate", frozen=True):
    """A bar that has ended. `timestamp` is when it began, ns since the epoch; prices in dollars."""

    symbol: str
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    timestamp: Nanoseconds
    trade_count: Count | None = None
    vwap: Number | None = None
    timeframe: Text = "1Min"
    source: Text = ""


class QuoteUpdate(Message, tag="QuoteUpdate", frozen=True):
    """The best bid and ask; sizes in shares, zero where a side is missing."""

    symbol: str
    bid_price: Number
    bid_size: Number
    ask_price: Number
    ask_size: Number
    timestamp: Nanoseconds


class TradeUpdate(Message, tag="TradeUpdate", frozen=True):
    """One print; `size` in shares."""

    symbol: str
    price: Number
    size: Number
    timestamp: Nanoseconds


class Heartbeat(Message, tag="Heartbeat", frozen=True):
    """Sent by every publisher while it has nothing else to say."""

    component: Text


class Signal(Message, tag="Signal", frozen=True):
    """What a strategy wants to hold; `strength` from 0 to 1 scales the size.

    `id` is the sender's own: the same id is acted on once. Raises `MalformedError` at once for a
    value that no reader would take.
    """

    default_topic: ClassVar[str] = SIGNAL

    symbol: str
    direction: Literal["long", "short", "flat"]
    strength: Annotated[float, Meta(ge=0, le=1)]
    timestamp: Nanoseconds
    strategy: Text = ""
    id: Text = ""
    traceparent: Text = ""
    """The W3C trace context of the sender, so that the order's trace goes on from there."""

    def __post_init__(self) -> None:
        check(self)


class Position(Message, tag="Position", frozen=True):
    """A holding; `qty` is signed, negative is short. Amounts are Decimal here and text in JSON."""

    default_topic: ClassVar[str] = SIGNAL

    symbol: str
    qty: Decimal
    side: Literal["long", "short"]
    avg_entry_price: Decimal
    market_value: Decimal
    unrealized_pl: Decimal
    timestamp: Nanoseconds


class RiskUpdate(Message, tag="RiskUpdate", frozen=True):
    """The account's risk; `drawdown_pct` in percent below the peak, `var_95` in dollars a day."""

    default_topic: ClassVar[str] = RISK

    equity: Decimal
    peak_equity: Decimal
    drawdown_pct: Decimal
    gross_exposure: Decimal
    net_exposure: Decimal
    var_95: Decimal
    trading_state: Literal["ACTIVE", "REDUCING", "HALTED"]
    timestamp: Nanoseconds
    reason: Text = ""


_TYPES: tuple[type[Message], ...] = (
    BarUpdate,
    QuoteUpdate,
    TradeUpdate,
    Heartbeat,
    Signal,
    Position,
    RiskUpdate,
)
_encoder = msgspec.json.Encoder()
_untyped = msgspec.json.Decoder(dict[str, Any])


def is_symbol(text: str) -> bool:
    """Whether the bus carries this symbol: 1 to 16 of A–Z, 0–9, `.`, `-`, `/`."""
    return _SYMBOL.fullmatch(text) is not None


def check(message: Message) -> None:
    """Raise `MalformedError` for a value that no reader would take."""
    parse_json(_encoded(message))


def _encoded(message: Message) -> bytes:
    """The JSON, `type` first, amounts written out. NaN becomes null, which no reader takes."""
    if not isinstance(message, Position | RiskUpdate):
        return _encoder.encode(message)
    fields: dict[str, Any] = {"type": kind(message)}
    for name, value in msgspec.structs.asdict(message).items():
        fields[name] = format(value, "f") if isinstance(value, Decimal) else value
    return _encoder.encode(fields)


def kind(message: Message) -> str:
    """The value of `type`."""
    return cast("str", message.__struct_config__.tag)


def frame(message: Message, topic: str, seq: int, ts: int) -> bytes:
    """`topic {json}` with its stamp: `seq` counts from 1, `ts` is the wall clock in ns.

    Raises `MalformedError` for a value that the bus doesn't carry.
    """
    if not _TOPIC.fullmatch(topic.encode("utf-8", "replace")):
        _refuse("topic", topic, "1 to 64 printable ASCII characters without a blank")
    body = _encoded(msgspec.structs.replace(message, seq=seq, ts=ts))
    parse_json(body)
    if len(topic) + 1 + len(body) > MAX_FRAME:
        raise MalformedError(f"a frame of {len(body)} bytes; at most {MAX_FRAME} are taken")
    return topic.encode() + b" " + body


def parse(raw: bytes) -> tuple[str, dict[str, Any]]:
    """Take a frame apart: its topic, and its JSON as a dict with the defaults filled in.

    Market numbers are floats, money is text. `seq` and `ts` are 0 where the publisher said none.
    Raises `MalformedError` for anything that isn't a message of the schema.
    """
    if len(raw) > MAX_FRAME:
        raise MalformedError(f"a frame of {len(raw)} bytes; at most {MAX_FRAME} are taken")
    head, space, body = raw.partition(b" ")
    topic = _topics.get(head)
    if topic is None:
        topic = _topic(head, space)
    return topic, parse_json(body)


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON alone, as `parse` answers it."""
    decode = _by_start.get(body[:_START]) or _by_kind(body)
    return decode(body)


def parse_topic(head: bytes) -> str:
    """The topic of a frame, which is what stands before its first blank."""
    topic = _topics.get(head)
    return _topic(head, b" ") if topic is None else topic


def parse_any_json(body: bytes) -> dict[str, Any]:
    """A JSON object whose `type` isn't of this schema, such as the engine's events."""
    try:
        message = _untyped.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from None
    if not isinstance(message.get("type"), str):
        raise MalformedError("no `type`")
    if type(message.get("seq", 0)) is not int:
        _refuse("seq", message["seq"], "a whole number is taken")
    return message


_topics: dict[bytes, str] = {}
_symbols: set[str] = set()


def _topic(head: bytes, space: bytes) -> str:
    if not space or not _TOPIC.fullmatch(head):
        raise MalformedError("no `topic {json}` in one frame")
    topic = head.decode()
    if len(_topics) < 1_000:
        _topics[head] = topic
    return topic


def _by_kind(body: bytes) -> Callable[[bytes], dict[str, Any]]:
    """The slow way, for senders that put `type` elsewhere or write it otherwise."""
    try:
        value = _untyped.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from None
    name = value.get("type")
    decode = _decoders.get(name) if isinstance(name, str) else None
    if decode is None:
        raise MalformedError(f"type = {str(name)[:80]!r} is none of {', '.join(_decoders)}")
    return decode


def _reader(message_type: type[Message]) -> Callable[[bytes], dict[str, Any]]:
    """A decoder straight into a dict: as strict as the struct, and without a detour over it."""
    tag = cast("str", message_type.__struct_config__.tag)
    hints = get_type_hints(message_type, include_extras=True)
    shape: dict[str, Any] = {"type": Literal[tag]}
    defaults: dict[str, Any] = {}
    exact: list[str] = []
    texts: list[str] = []
    for field in msgspec.structs.fields(message_type):
        hint = hints[field.name]
        if hint is Decimal:
            exact.append(field.name)
            hint = str
        if hint is Text:
            texts.append(field.name)
        if field.required:
            shape[field.name] = hint
        else:
            shape[field.name] = NotRequired[hint]
            defaults[field.name] = field.default
    decoder = msgspec.json.Decoder(TypedDict(tag, shape))  # type: ignore[operator]
    whole = len(shape)
    has_symbol = "symbol" in shape

    def decode(body: bytes) -> dict[str, Any]:
        try:
            message: dict[str, Any] = decoder.decode(body)
        except (ValueError, RecursionError) as error:
            raise MalformedError(str(error)) from None
        if has_symbol and message["symbol"] not in _symbols:
            _learn_symbol(message["symbol"])
        if len(message) < whole:
            message = defaults | message
        # A text is never longer than the JSON that it stands in.
        if len(body) > MAX_TEXT:
            for name in texts:
                _check_text(name, message[name])
        for name in exact:
            if not _EXACT.fullmatch(message[name]) or len(message[name]) > 40:
                _refuse(name, message[name], "an amount as text is taken")
        if message["seq"] > _MAX_SEQ:
            _refuse("seq", message["seq"], "0 to 2^64-1 is taken")
        return message

    return decode


def _learn_symbol(symbol: str) -> None:
    if not is_symbol(symbol):
        _refuse("symbol", symbol, "1 to 16 capital letters, digits, '.', '-', '/'")
    if len(_symbols) < _KNOWN_AT_MOST:
        _symbols.add(symbol)


def _check_text(name: str, text: str) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        _refuse(name, text, "at most 1024 bytes of text")


def _refuse(name: str, value: object, rule: str) -> None:
    raise MalformedError(f"{name} = {str(value)[:80]!r}: {rule}")


_decoders: dict[str, Callable[[bytes], dict[str, Any]]] = {
    cast("str", message_type.__struct_config__.tag): _reader(message_type)
    for message_type in _TYPES
}
# Enough to tell the types apart; the decoder itself makes sure of the rest.
_START = 16
_by_start = {
    (b'{"type":"%s",' % tag.encode())[:_START]: decode for tag, decode in _decoders.items()
}
