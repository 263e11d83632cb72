"""Where a broker is and who we are there. Paper and loopback hosts only, whoever asks."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

PAPER_HOST = "paper-api.alpaca.markets"
DATA_HOST = "data.alpaca.markets"
STREAM_HOST = "stream.data.alpaca.markets"

PAPER_URL = f"https://{PAPER_HOST}"
DATA_URL = f"https://{DATA_HOST}"
STREAM_URL = f"wss://{STREAM_HOST}"


_ODD = re.compile(r"[\s\\\x00-\x20\x7f-\uffff]")
"""What parsers of URLs are known to disagree about; none of it belongs in one."""


class HostRefused(ValueError):
    """A URL that doesn't lead to Alpaca paper, its market data or loopback."""


class SecretHolder(Protocol):
    """Whatever keeps a secret out of `repr`: `Secret` here, or pydantic's `SecretStr`."""

    def get_secret_value(self) -> str: ...


class Secret:
    """A text that shows itself only when asked by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __str__(self) -> str:
        return "**********" if self._text else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is neither copied to disk nor sent to another process")


def is_loopback(host: str) -> bool:
    """True for `localhost` and addresses of 127.0.0.0/8 or ::1. No name is ever looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    if _ODD.search(url):
        raise HostRefused(
            f"{url!r} is no URL: blanks, backslashes and letters beyond ASCII don't belong in one"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise HostRefused(f"{url!r} is no URL: {error}") from error
    if "@" in parts.netloc:
        raise HostRefused("a URL with user or password in it is not taken")
    return parts


def _checked(url: str, host: str, secure: str, plain: str) -> str:
    """`url` without a trailing slash, if it is `secure://host` or `plain://loopback`."""
    parts = _split(url)
    if parts.query or parts.fragment:
        raise HostRefused(f"{url!r}: neither a query nor a fragment is taken")
    name = parts.hostname or ""
    if name == host and parts.scheme == secure and parts.port in (None, 443):
        if parts.path.strip("/"):
            raise HostRefused(f"{url!r}: the path {parts.path!r} doesn't belong there")
        return f"{secure}://{host}"
    if is_loopback(name) and parts.scheme in (plain, secure):
        return url.rstrip("/")
    raise HostRefused(
        f"{url!r} is neither {secure}://{host} nor {plain}:// on loopback "
        "(127.0.0.1, localhost, ::1)"
    )


def require_trading_url(url: str) -> str:
    """The URL without a trailing slash or `/v2`; raises `HostRefused` unless paper or loopback."""
    return _checked(url.rstrip("/").removesuffix("/v2"), PAPER_HOST, "https", "http")


def require_data_url(url: str) -> str:
    """Likewise for historical data; raises `HostRefused` unless Alpaca's data host or loopback."""
    return _checked(url.rstrip("/").removesuffix("/v2"), DATA_HOST, "https", "http")


def require_stream_url(url: str) -> str:
    """Likewise for the market-data websocket, without its feed; `http` is read as `ws`."""
    if url.lower().startswith("http"):
        url = "ws" + url[4:]
    return _checked(url.rstrip("/").removesuffix("/v2"), STREAM_HOST, "wss", "ws")


def allowed_host(url: str) -> bool:
    """Whether a request may go to `url` at all: the last check, made again for every request."""
    parts = _split(url)
    host = parts.hostname or ""
    if host in (PAPER_HOST, DATA_HOST, STREAM_HOST):
        return parts.scheme in ("https", "wss")
    return is_loopback(host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One account at one broker. Raises `HostRefused` for a host that isn't allowed.

    Empty URLs mean Alpaca's own; with a loopback `trading_url` the data comes from the same
    exchange unless told otherwise.
    """

    key_id: str = field(repr=False)
    secret_key: SecretHolder = field(repr=False)
    trading_url: str = PAPER_URL
    data_url: str = ""
    stream_url: str = ""
    feed: str = "iex"
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 10.0
    requests_per_minute: int = 200
    """What the account may ask a minute; 0: as much as it likes."""

    def __post_init__(self) -> None:
        if isinstance(self.secret_key, str):
            object.__setattr__(self, "secret_key", Secret(self.secret_key))
        trading = require_trading_url(self.trading_url or PAPER_URL)
        embedded = "" if trading == PAPER_URL else trading
        data = require_data_url(self.data_url or embedded or DATA_URL)
        stream = require_stream_url(self.stream_url or embedded or STREAM_URL)
        for name, value in (("trading_url", trading), ("data_url", data), ("stream_url", stream)):
            object.__setattr__(self, name, value)

    @property
    def is_alpaca(self) -> bool:
        """Whether the account is at Alpaca itself, not at an exchange on this machine."""
        return self.trading_url == PAPER_URL

    @property
    def updates_url(self) -> str:
        """The websocket of trade updates."""
        return "ws" + self.trading_url.removeprefix("http") + "/stream"

    @property
    def market_stream_url(self) -> str:
        """The websocket of market data, with its feed."""
        return f"{self.stream_url}/v2/{self.feed}"
