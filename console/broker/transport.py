"""alpaca-py's clients, made safe: limits on every wait, nothing sent twice, paper and loopback
only.

Importing this module imports alpaca-py: some tenths of a second. Leave it to a broker thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from console.broker import answers
from console.broker.bounded_http import POOLS, last_word
from console.broker.endpoint import Endpoint, HostRefused, allowed_host
from console.broker.errors import BrokerError, BrokerUnavailable
from console.broker.lazy_pandas import pandas_on_demand

with pandas_on_demand():
    from alpaca.common.exceptions import APIError
    from alpaca.common.rest import RESTClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.trading.client import TradingClient

_LARGEST_BODY = 64 * 1024 * 1024
_CHUNK = 64 * 1024


class _ExactResponse(requests.Response):
    """An answer whose numbers don't pass through floats; alpaca-py asks for `text` and `json()`."""

    def json(self, **_: Any) -> Any:
        return answers.parse(self.content)


class _NoAnswer(Exception):
    """The request may have arrived, but nothing usable came back."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class _NotSent(Exception):
    """The connection was never made."""


FORBIDDEN = 403


class _BoundedAdapter(HTTPAdapter):
    """Every request checked against the allowed hosts, every wait limited, the body's length too.

    `read_timeout_s` limits an answer from its first byte to its last, and its body once more, so
    that a server which sends a byte now and then doesn't hold the caller for ever.
    """

    def __init__(self, connect_timeout_s: float, read_timeout_s: float) -> None:
        self._timeouts = (connect_timeout_s, read_timeout_s)
        self.headers: Mapping[str, str] = {}
        """Of the last answer."""
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        url = request.url or ""
        if not allowed_host(url):
            raise HostRefused(f"{url.split('?')[0]!r} is neither Alpaca paper nor loopback")
        self.headers = {}
        try:
            response = super().send(request, stream=True, timeout=self._timeouts, proxies={})
        except requests.exceptions.ConnectTimeout:
            raise _NotSent(f"no connection within {self._timeouts[0]:g} s") from None
        except requests.exceptions.ReadTimeout:
            raise _NoAnswer(f"no answer within {self._timeouts[1]:g} s") from None
        except requests.exceptions.ConnectionError as error:
            raise _connection_failure(error) from None
        self.headers = response.headers
        if 300 <= response.status_code < 400:
            response.close()
            raise _NoAnswer("the broker answered with a redirect", response.status_code)
        response._content = self._body(response)
        response._content_consumed = True  # type: ignore[attr-defined]
        return response

    def build_response(
        self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse
    ) -> requests.Response:
        response = super().build_response(req, resp)
        response.__class__ = _ExactResponse
        # Without it requests guesses the encoding from the bytes, which costs milliseconds.
        response.encoding = "utf-8"
        return response

    def _body(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + self._timeouts[1]
        parts: list[bytes] = []
        length = 0
        problem = ""
        late = f"the answer did not end within {self._timeouts[1]:g} s"
        try:
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                parts.append(chunk)
                length += len(chunk)
                if length > _LARGEST_BODY:
                    problem = f"an answer of more than {_LARGEST_BODY >> 20} MiB"
                elif time.monotonic() > deadline:
                    problem = late
                if problem:
                    break
        except urllib3.exceptions.ReadTimeoutError:
            problem = late
        except (urllib3.exceptions.HTTPError, OSError) as error:
            problem = f"the answer was cut off ({_name(error)})"
        if not problem:
            response.raw.release_conn()
            return b"".join(parts)
        response.raw.close()
        # The status of a refusal says enough, whatever became of its body; but of a 403 only the
        # body says whether it is about the keys.
        if 400 <= response.status_code < 500 and response.status_code != FORBIDDEN:
            return b"".join(parts)
        raise _NoAnswer(problem, response.status_code)


def _connection_failure(error: requests.exceptions.ConnectionError) -> Exception:
    """Whether the connection was never made, or broke with the request perhaps on its way."""
    cause = error.args[0] if error.args else error
    reason = getattr(cause, "reason", None)
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return _NotSent("the host's name could not be resolved")
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        why = str(reason).rpartition(": ")[2] or "no connection"
        return _NotSent(answers.clean(why, 120))
    if isinstance(reason, urllib3.exceptions.ConnectTimeoutError):
        return _NotSent("no connection in time")
    if isinstance(reason, urllib3.exceptions.SSLError) and "CERTIFICATE" in str(reason):
        return _NotSent("the host's certificate was not accepted")
    return _NoAnswer(f"the connection broke ({_name(cause)})")


def _name(error: object) -> str:
    args = getattr(error, "args", ())
    inner = args[-1] if args and isinstance(args[-1], BaseException) else error
    return type(inner).__name__


class Connection:
    """One thread's connection: a trading and a data client of alpaca-py over bounded adapters."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        secret = endpoint.secret_key.get_secret_value()
        self._secrets = (secret, endpoint.key_id)
        self._trading = TradingClient(
            api_key=endpoint.key_id,
            secret_key=secret,
            paper=True,
            raw_data=True,
            url_override=endpoint.trading_url,
        )
        self._data = StockHistoricalDataClient(
            api_key=endpoint.key_id,
            secret_key=secret,
            raw_data=True,
            url_override=endpoint.data_url,
        )
        self.remaining: int | None = None
        """The broker's own count of requests left, where its last answer gave one."""
        self._adapters = {
            id(client): self._disarm(client) for client in (self._trading, self._data)
        }

    def _disarm(self, client: RESTClient) -> _BoundedAdapter:
        adapter = _BoundedAdapter(self._endpoint.connect_timeout_s, self._endpoint.read_timeout_s)
        client._retry = 0
        client._retry_codes = []
        session = client._session
        session.trust_env = False
        session.adapters.clear()
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return adapter

    def send(
        self,
        method: str,
        path: str,
        fields: dict[str, Any],
        shape: type | None,
        *,
        market_data: bool,
        before: Callable[[], None] | None = None,
    ) -> object:
        """One request, one answer of `shape` (None: none is needed). Raises `BrokerError`.

        `before` is called when nothing but the bytes is left to do; what it raises comes out here,
        and then nothing was sent.
        """
        client = self._data if market_data else self._trading
        adapter = self._adapters[id(client)]
        changes = method != "GET"
        failure: BrokerError
        # Raised outside the handlers: an exception's context would hold the request with its keys.
        try:
            with last_word(before):
                answer = client._request(
                    method, path, _query(fields) if _in_query(method) else fields
                )
        except APIError as error:
            response = error.response
            failure = answers.refusal(
                response.status_code,
                response.headers,
                response.content,
                changes=changes,
                secrets=self._secrets,
            )
        except _NotSent as error:
            failure = BrokerUnavailable(f"{self._host(client)} was not reached: {error}")
        except _NoAnswer as error:
            failure = answers.no_answer(error.reason, changes=changes, status=error.status)
        except answers.UnreadableError as error:
            failure = answers.no_answer(f"the broker's answer is {error}", changes=changes)
        except requests.exceptions.RequestException as error:
            failure = answers.no_answer(f"the request failed ({_name(error)})", changes=changes)
        else:
            self._note(adapter.headers)
            if shape is None or isinstance(answer, shape):
                return answer
            what = "empty" if answer is None else f"a JSON {type(answer).__name__}"
            failure = answers.no_answer(
                f"the broker's answer is {what} where a {shape.__name__} was expected",
                changes=changes,
            )
        self._note(adapter.headers)
        raise failure

    def close(self) -> None:
        for client in (self._trading, self._data):
            client._session.close()

    def _note(self, headers: Mapping[str, str]) -> None:
        self.remaining = answers.remaining(CaseInsensitiveDict(headers))

    def _host(self, client: RESTClient) -> str:
        return str(client._base_url)


def _in_query(method: str) -> bool:
    return method in ("GET", "DELETE")


def _query(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: ("true" if value else "false") if isinstance(value, bool) else value
        for key, value in fields.items()
    }
