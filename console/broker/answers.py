"""What an HTTP answer means: exact numbers out of a body, a typed failure out of a status. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

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

BODY_KEPT = 2_000
_MESSAGE_KEPT = 300
_DEFAULT_RETRY_S = 3.0
_MAX_RETRY_S = 60.0

_decoder = msgspec.json.Decoder(float_hook=Decimal)


class UnreadableError(ValueError):
    """A body that is no JSON, or not of the shape that was asked for."""


def parse(body: bytes, shape: type | None = None) -> Any:
    """The JSON in `body`: whole numbers as int, all others as Decimal.

    Raises `UnreadableError` for anything else, for NaN and Infinity too, and where the outermost
    value is not of `shape` (dict or list).
    """
    try:
        value = _decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"no JSON ({error})") from None
    if shape is not None and not isinstance(value, shape):
        raise UnreadableError(
            f"a JSON {type(value).__name__} where a {shape.__name__} was expected"
        )
    return value


def no_answer(reason: str, *, changes: bool, status: int | None = None) -> BrokerError:
    """The failure of a request that got no usable answer. `changes`: it was no mere read."""
    kind = OutcomeUnknown if changes else BrokerUnavailable
    return kind(reason, status=status)


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    changes: bool,
    secrets: Sequence[str] = (),
) -> BrokerError:
    """The failure that an answer other than 2xx stands for.

    `changes` says whether the request asked for more than to read; `secrets` are blotted out of
    what the body says.
    """
    text = body[: 4 * BODY_KEPT].decode("utf-8", "replace")
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    kept = text[:BODY_KEPT]
    code, message = _code_and_message(text)
    message = message or f"the broker answered HTTP {status} without a reason"
    if status == 429:
        return BrokerRateLimited(
            message,
            retry_after_s=retry_after_s(headers),
            status=status,
            code=code,
            body=kept,
        )
    # A 403 without a code is about the keys, one with a code about the order; of one whose body
    # was cut, or is not the broker's, nobody can say which.
    unclear = status == 403 and text.strip() != "" and not _is_whole(text)
    if not 400 <= status < 500 or status == 408 or unclear:
        kind: type[BrokerError] = OutcomeUnknown if changes else BrokerUnavailable
    elif status == 401 or (status == 403 and code is None):
        kind = BrokerAuthError
    elif status == 404:
        kind = BrokerNotFound
    elif status == 422 and _is_duplicate(message):
        kind = DuplicateOrderId
    else:
        kind = BrokerRefused
    return kind(message, status=status, code=code, body=kept)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds until the broker takes requests again, 0.1 to 60, from a 429's headers.

    X-RateLimit-Reset is seconds since 1970 on the broker's own clock, so it is compared with the
    answer's Date, not with ours.
    """
    seconds = _number(headers.get("Retry-After"))
    if seconds is None and (reset := _number(headers.get("X-RateLimit-Reset"))) is not None:
        # Date has whole seconds only: one more, so as not to knock too early.
        seconds = reset - _answered_at(headers) + 1.0
    if seconds is None:
        seconds = _DEFAULT_RETRY_S
    return min(max(seconds, 0.1), _MAX_RETRY_S)


def remaining(headers: Mapping[str, str]) -> int | None:
    """X-RateLimit-Remaining, None where it is missing or odd."""
    value = _number(headers.get("X-RateLimit-Remaining"))
    return None if value is None else int(value)


def clean(text: str, limit: int = _MESSAGE_KEPT) -> str:
    """`text` on one line, without control or direction characters, at most `limit` long."""
    shown = (character if character.isprintable() else " " for character in text[: 4 * limit])
    text = " ".join("".join(shown).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _code_and_message(text: str) -> tuple[int | None, str]:
    try:
        value = _decoder.decode(text)
    except (ValueError, RecursionError):
        return None, "" if text.lstrip().startswith("<") else clean(text)
    if not isinstance(value, dict):
        return None, clean(text)
    code, message = value.get("code"), value.get("message")
    return (
        code if isinstance(code, int) and not isinstance(code, bool) else None,
        clean(message) if isinstance(message, str) else clean(text),
    )


def _is_whole(text: str) -> bool:
    """Whether it is an answer of the broker's own, to its last brace."""
    try:
        return isinstance(_decoder.decode(text), dict)
    except (ValueError, RecursionError):
        return False


def _is_duplicate(message: str) -> bool:
    lowered = message.lower()
    return "client_order_id" in lowered and ("unique" in lowered or "duplicate" in lowered)


def _answered_at(headers: Mapping[str, str]) -> float:
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC).timestamp()


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < 1e12 else None
