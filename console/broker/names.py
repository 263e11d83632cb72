"""Host names resolved within a limit; the system's resolver has none that a program can set."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from concurrent.futures import Future

Addresses = tuple[str, ...]

_asked: dict[tuple[str, int], Future[Addresses]] = {}
_guard = threading.Lock()


def addresses(host: str, port: int, timeout_s: float | None) -> Addresses:
    """The addresses of `host`, in the order in which they should be tried.

    What doesn't answer within `timeout_s` is left to end by itself, on a thread that dies with the
    process; who asks for the same name meanwhile waits for the same answer.

    Raises:
        socket.gaierror: there are none, or nobody says so in time.
    """
    with contextlib.suppress(ValueError):
        return (str(ipaddress.ip_address(host.strip("[]"))),)
    key = host, port
    with _guard:
        answer = _asked.get(key)
        if answer is None:
            answer = _asked[key] = Future()
            threading.Thread(
                target=_resolve, args=(key, answer), name=f"name {host}", daemon=True
            ).start()
    try:
        return answer.result(timeout_s)
    except TimeoutError:
        raise socket.gaierror(
            socket.EAI_AGAIN, f"no answer within {timeout_s:g} s from the resolver of names"
        ) from None


def _resolve(key: tuple[str, int], answer: Future[Addresses]) -> None:
    try:
        found = socket.getaddrinfo(*key, type=socket.SOCK_STREAM)
        answer.set_result(tuple(dict.fromkeys(str(address[4][0]) for address in found)))
    except BaseException as error:  # noqa: BLE001 — it is raised again by whoever asked
        answer.set_exception(error)
    finally:
        with _guard:
            _asked.pop(key, None)
