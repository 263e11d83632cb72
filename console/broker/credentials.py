"""Whose account: keys and addresses from arguments or the environment, checked before any use."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from console.broker.endpoint import Endpoint, Secret
from console.broker.errors import BrokerAuthError

KEY_VARIABLE = "ALPACA_API_KEY"
SECRET_VARIABLE = "ALPACA_SECRET_KEY"  # noqa: S105 - a variable's name
URL_VARIABLE = "ALPACA_BASE_URL"

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRET = re.compile(r"[\x21-\x7e]{1,256}")


def endpoint_from(
    key_id: str | None = None,
    secret_key: str | None = None,
    base_url: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    feed: str = "iex",
    connect_timeout_s: float = 3.0,
    read_timeout_s: float = 10.0,
    requests_per_minute: int = 200,
) -> Endpoint:
    """The account to trade with; what isn't given is looked up in the environment.

    Raises:
        BrokerAuthError: a key is missing, or can't be one; the text never shows it.
        HostRefused: the address is neither Alpaca's paper host nor loopback.
    """
    found = os.environ if environment is None else environment
    key_id = key_id or found.get(KEY_VARIABLE, "")
    secret_key = secret_key or found.get(SECRET_VARIABLE, "")
    for name, value, form in ((KEY_VARIABLE, key_id, _KEY), (SECRET_VARIABLE, secret_key, _SECRET)):
        if not value:
            raise BrokerAuthError(
                f"{name} is not set",
                remedy=f"put both keys of a paper account into {KEY_VARIABLE} and "
                f"{SECRET_VARIABLE}",
            )
        if not form.fullmatch(value):
            raise BrokerAuthError(
                f"{name} holds blanks or characters that no key has",
                remedy="copy it again, without quotes and line breaks",
            )
    if key_id.startswith("AK"):
        raise BrokerAuthError(
            f"{KEY_VARIABLE} is a key of a live account",
            remedy="only paper is traded here: take the paper account's keys, which begin with PK",
        )
    return Endpoint(
        key_id=key_id,
        secret_key=Secret(secret_key),
        trading_url=base_url or found.get(URL_VARIABLE, ""),
        feed=feed,
        connect_timeout_s=connect_timeout_s,
        read_timeout_s=read_timeout_s,
        requests_per_minute=requests_per_minute,
    )
