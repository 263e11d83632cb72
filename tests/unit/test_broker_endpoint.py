"""Paper and loopback, and nothing else."""

import copy
import ipaddress
import pickle
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from console.broker.credentials import endpoint_from
from console.broker.endpoint import (
    DATA_URL,
    PAPER_URL,
    STREAM_URL,
    Endpoint,
    HostRefused,
    Secret,
    allowed_host,
    is_loopback,
    require_data_url,
    require_stream_url,
    require_trading_url,
)
from console.broker.errors import BrokerAuthError

KEYS = {"ALPACA_API_KEY": "PKTEST", "ALPACA_SECRET_KEY": "s3cret"}


@pytest.mark.parametrize(
    ("given_url", "taken"),
    [
        ("https://paper-api.alpaca.markets", PAPER_URL),
        ("https://paper-api.alpaca.markets/", PAPER_URL),
        ("https://paper-api.alpaca.markets/v2", PAPER_URL),
        ("https://paper-api.alpaca.markets:443/v2/", PAPER_URL),
        ("HTTPS://Paper-API.alpaca.markets", PAPER_URL),
        ("http://127.0.0.1:8090/", "http://127.0.0.1:8090"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://localhost:8090/v2", "http://localhost:8090"),
        ("http://[::1]:8090", "http://[::1]:8090"),
    ],
)
def test_paper_and_loopback_are_taken(given_url: str, taken: str) -> None:
    assert require_trading_url(given_url) == taken


@pytest.mark.parametrize(
    "url",
    [
        "https://api.alpaca.markets",
        "http://paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets.evil.com",
        "https://evil.com/paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets@evil.com",
        "https://user:pw@paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets:8443",
        "https://paper-api.alpaca.markets/elsewhere",
        "https://paper-api.alpaca.markets/?a=https://evil.com",
        "https://paper-api.alpaca.markets#x",
        "https://paper-api.alpaca.markets\\@evil.com",
        "https://paper-api.alpaca.markets\n.evil.com",
        "https://paper\u2010api.alpaca.markets",
        "https://data.alpaca.markets",
        "http://192.168.1.5:8090",
        "http://0.0.0.0:8090",
        "http://127.0.0.1.evil.com",
        "http://localhost.evil.com",
        "http://2130706433",
        "http://0x7f000001",
        "http://127.1",
        "http://127.0.0.1:99999",
        "http://local\thost:8090",
        "http://127.0.0.1:8090/\r\nHost: evil.com",
        "http://[::1",
        "ftp://127.0.0.1",
        "127.0.0.1:8090",
        "",
        " ",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(HostRefused):
        require_trading_url(url)


@given(
    st.from_regex(r"[a-z0-9.@:/\\?#\[\]%-]{1,40}", fullmatch=True),
    st.sampled_from(["http", "https"]),
)
def test_whatever_is_taken_leads_to_paper_or_loopback(rest: str, scheme: str) -> None:
    try:
        url = require_trading_url(f"{scheme}://{rest}")
    except HostRefused:
        return
    host = urlsplit(url).hostname or ""
    assert url == PAPER_URL or host == "localhost" or ipaddress.ip_address(host).is_loopback
    assert allowed_host(url + "/v2/orders")


@given(st.ip_addresses())
def test_only_loopback_addresses_are_loopback(address: ipaddress.IPv4Address) -> None:
    assert is_loopback(str(address)) == address.is_loopback


def test_a_loopback_exchange_serves_data_and_streams_too() -> None:
    endpoint = Endpoint(
        key_id="PK", secret_key=Secret("s"), trading_url="http://127.0.0.1:8090/v2/"
    )
    assert endpoint.data_url == "http://127.0.0.1:8090"
    assert endpoint.updates_url == "ws://127.0.0.1:8090/stream"
    assert endpoint.market_stream_url == "ws://127.0.0.1:8090/v2/iex"
    assert not endpoint.is_alpaca


@pytest.mark.parametrize(
    "url", ["", "https://paper-api.alpaca.markets", "https://PAPER-API.alpaca.markets:443/v2"]
)
def test_alpaca_has_its_own_hosts(url: str) -> None:
    endpoint = Endpoint(key_id="PK", secret_key=Secret("s"), trading_url=url, feed="sip")
    assert endpoint.is_alpaca
    assert (endpoint.data_url, endpoint.stream_url) == (DATA_URL, STREAM_URL)
    assert endpoint.updates_url == "wss://paper-api.alpaca.markets/stream"
    assert endpoint.market_stream_url == "wss://stream.data.alpaca.markets/v2/sip"


def test_data_and_stream_hosts_are_checked_too() -> None:
    for check in (require_data_url, require_stream_url):
        with pytest.raises(HostRefused):
            check("https://evil.com")
    assert require_stream_url("http://127.0.0.1:8090") == "ws://127.0.0.1:8090"


def test_a_secret_shows_in_no_text_and_leaves_no_process() -> None:
    endpoint = Endpoint(key_id="PKKEY", secret_key=Secret("s3cret"))
    assert "s3cret" not in f"{endpoint!r}{endpoint.secret_key!r}{endpoint.secret_key}"
    assert "PKKEY" not in repr(endpoint)
    with pytest.raises(TypeError):
        pickle.dumps(endpoint.secret_key)
    with pytest.raises(TypeError):
        copy.deepcopy(endpoint.secret_key)


def test_pydantics_secret_does_as_well() -> None:
    endpoint = Endpoint(key_id="PK", secret_key=SecretStr("s3cret"))
    assert endpoint.secret_key.get_secret_value() == "s3cret"


def test_the_endpoint_needs_neither_pydantic_nor_alpaca() -> None:
    code = (
        "import sys, console.broker.endpoint, console.broker.errors, console.broker.session;"
        "print([m for m in ('pydantic', 'alpaca', 'pandas', 'requests') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ALPACA_API_KEY": ""}, "ALPACA_API_KEY is not set"),
        ({"ALPACA_SECRET_KEY": ""}, "ALPACA_SECRET_KEY is not set"),
        ({"ALPACA_API_KEY": "AKLIVE"}, "live account"),
        ({"ALPACA_SECRET_KEY": "s3cret\n"}, "blanks"),
        ({"ALPACA_SECRET_KEY": "“s3cret”"}, "blanks"),
        ({"ALPACA_API_KEY": "PK TEST"}, "blanks"),
    ],
)
def test_keys_are_checked_before_any_use(changes: dict[str, str], said: str) -> None:
    with pytest.raises(BrokerAuthError, match=said) as caught:
        endpoint_from(environment=KEYS | changes)
    assert "s3cret" not in str(caught.value)


def test_the_environments_address_is_checked_too() -> None:
    endpoint = endpoint_from(environment=KEYS | {"ALPACA_BASE_URL": "http://127.0.0.1:8090"})
    assert endpoint.trading_url == "http://127.0.0.1:8090"
    with pytest.raises(HostRefused):
        endpoint_from(environment=KEYS | {"ALPACA_BASE_URL": "https://api.alpaca.markets"})
